"""Answers: find them in responses, decide which are equal, and vote.

The label, the training reward and the evaluation all use this one component, so that a label is always
reachable by the reward. `extract` finds the answer of a response, `normalize` gives its canonical form,
`equivalent` compares canonical forms and `vote` counts them. Everything is deterministic, needs only the
standard library, and is bounded in time on any input. A `Judge` adds math-verify for the pairs that canonical
forms leave open: behind a `Sandbox` whose workers can be killed, with a memo of its verdicts.
"""

from .ballot import AnswerClass, Ballot, vote, votes
from .canonical import normalize
from .equivalence import Judge, equivalent
from .extraction import DEFAULT_RULES, Extraction, extract, find, gold_answer
from .sandbox import Sandbox, SandboxError, Verdict

# Stored with every output. Raise it whenever a rule of extraction or of the canonical form changes.
GRADER_VERSION: str = "2"

__all__ = [
    "DEFAULT_RULES",
    "GRADER_VERSION",
    "AnswerClass",
    "Ballot",
    "Extraction",
    "Judge",
    "Sandbox",
    "SandboxError",
    "Verdict",
    "equivalent",
    "extract",
    "find",
    "gold_answer",
    "normalize",
    "vote",
    "votes",
]
