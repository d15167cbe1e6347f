"""train: the curriculum in, a policy out (TRL GRPO with pseudo-labels as reward)."""

from .stage import run

__all__ = ["run"]
