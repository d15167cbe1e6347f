"""The majority vote over the sampled answers of one problem."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from .canonical import normalize


@dataclass(frozen=True)
class AnswerClass:
    """The samples whose answers share one canonical form.

    `representative` is their most common raw spelling, the first in text order among equals; `members` are
    the indices of the samples, ascending.
    """

    representative: str
    canonical: str
    members: tuple[int, ...]
    count: int


@dataclass(frozen=True)
class Ballot:
    """The outcome of one vote.

    `label` is the representative of the largest class, or None when the vote abstains; `reason` then says why
    ("no_answers" or "tie") and is None otherwise. `majority_frequency` divides by all samples, answered or not, and
    `answered_frequency` by the answered ones; both are 0.0 over nothing. `margin` is the lead of the
    largest class over the second as a share of all samples, and `entropy` is in nats over the classes of
    the answered samples.
    """

    label: str | None
    reason: str | None
    classes: tuple[AnswerClass, ...]
    n_samples: int
    n_answered: int
    majority_count: int
    majority_frequency: float
    answered_frequency: float
    margin: float
    entropy: float
    tie: bool


def _classes(answers: Sequence[str | None]) -> tuple[AnswerClass, ...]:
    members: defaultdict[str, list[int]] = defaultdict(list)
    for index, answer in enumerate(answers):
        if answer is not None:
            members[normalize(answer)].append(index)
    classes = []
    for canonical, indices in members.items():
        spellings = Counter(answers[index] or "" for index in indices)
        representative = min(spellings, key=lambda spelling: (-spellings[spelling], spelling))
        classes.append(AnswerClass(representative, canonical, tuple(indices), len(indices)))
    return tuple(sorted(classes, key=lambda c: (-c.count, c.canonical)))


def vote(answers: Sequence[str | None]) -> Ballot:
    """Count the extracted answers of one problem by canonical form.

    Takes one entry a sample, in sample order, None where no answer was found. A sample without an answer
    does not vote but stays in `n_samples`. Two largest classes of one size abstain. Apart from `members`,
    nothing depends on the order of the samples. Never raises on text.
    """
    classes = _classes(answers)
    n_samples = len(answers)
    n_answered = sum(c.count for c in classes)
    first = classes[0].count if classes else 0
    second = classes[1].count if len(classes) > 1 else 0
    tie = first > 0 and first == second
    reason = "tie" if tie else None if classes else "no_answers"
    return Ballot(
        label=None if tie or not classes else classes[0].representative,
        reason=reason,
        classes=classes,
        n_samples=n_samples,
        n_answered=n_answered,
        majority_count=first,
        majority_frequency=first / n_samples if n_samples else 0.0,
        answered_frequency=first / n_answered if n_answered else 0.0,
        margin=(first - second) / n_samples if n_samples else 0.0,
        entropy=sum(c.count / n_answered * math.log(n_answered / c.count) for c in classes),
        tie=tie,
    )
