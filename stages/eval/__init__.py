"""eval: base, best and last policy on held-out problems, with intervals."""

from .stage import run

__all__ = ["run"]
