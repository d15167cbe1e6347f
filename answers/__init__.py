"""Answers: find them in responses, decide which are equal, and vote.

The label, the training reward and the evaluation all use this one component, so that a label is always
reachable by the reward. `extract` finds the answer of a response, `normalize` gives its canonical form,
`equivalent` compares canonical forms and `vote` counts them. Everything is deterministic, needs only the
standard library, and is bounded in time on any input.
"""

from .ballot import AnswerClass, Ballot, vote
from .canonical import equivalent, normalize
from .extraction import DEFAULT_RULES, Extraction, extract, find, gold_answer

# Stored with every output. Raise it whenever a rule of extraction or of the canonical form changes.
GRADER_VERSION: str = "1"

__all__ = [
    "DEFAULT_RULES",
    "GRADER_VERSION",
    "AnswerClass",
    "Ballot",
    "Extraction",
    "equivalent",
    "extract",
    "find",
    "gold_answer",
    "normalize",
    "vote",
]
