"""`python -m selftrain` is `srt`."""

from .cli import main

main()
