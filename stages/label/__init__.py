"""label: samples in, answers and the ledger of votes out."""

from .stage import run

__all__ = ["run"]
