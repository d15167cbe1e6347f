"""label: samples in, answers and the ledger of votes out."""

from .stage import run
from .verdicts import judge_of

__all__ = ["judge_of", "run"]
