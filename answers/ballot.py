"""The majority vote over the sampled answers of one problem."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .canonical import normalize
from .equivalence import SHARED, Judge, Shared, settled, shared_judge
from .sandbox import EQUAL, UNEQUAL, UNKNOWN, Pair, Verdict

# A merged class may overtake with a third one what it could not with two, so questions come in rounds. Each needs
# a merge in the one before; recorded answers of 44 models needed no third.
_MAX_ROUNDS = 3
# More open pairs than this in one round are no vote but noise; at the limit of 2 s each, all would take days.
_MAX_PAIRS = 256
_NUMBER = re.compile(r"-?[0-9]+(?:/[0-9]+)?")


@dataclass(frozen=True)
class AnswerClass:
    """The samples whose answers are equal.

    `canonical` is the form that most of them share, the first in text order among equals. `representative` is
    the most common raw spelling of that form, again the first in text order; `members` are the indices of the
    samples, ascending. `settled_by` is "exact" when all members share the form, "math_verify" when verdicts
    brought in members of other forms.
    """

    representative: str
    canonical: str
    members: tuple[int, ...]
    count: int
    settled_by: str = "exact"


@dataclass(frozen=True)
class Ballot:
    """The outcome of one vote.

    `label` is the representative of the largest class, or None when the vote abstains; `reason` then says why
    ("no_answers" or "tie") and is None otherwise. `majority_frequency` divides by all samples, answered or not, and
    `answered_frequency` by the answered ones; both are 0.0 over nothing. `margin` is the lead of the
    largest class over the second as a share of all samples, and `entropy` is in nats over the classes of
    the answered samples.

    With a judge, `asked` counts the pairs of forms that were put to it, remembered or new, `faults` those of
    them that stayed unknown, and `unsure` says that an open pair touches the largest class or could have
    overtaken it: unknown, past the bounds on questions, or equal against another verdict.
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
    asked: int = 0
    faults: int = 0
    unsure: bool = False


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


class _Contest:
    """The vote on one problem while its pairs are asked: exact classes, and how verdicts group them.

    Everything goes in the order of the exact classes (count descending, then canonical text), so nothing
    depends on the order of the samples or on what the judge remembers.
    """

    def __init__(self, classes: Sequence[AnswerClass]) -> None:
        self.classes = classes
        self.groups: list[list[int]] = [[index] for index in range(len(classes))]
        self.verdicts: dict[tuple[int, int], Verdict] = {}
        self._numbers = [_NUMBER.fullmatch(c.canonical) is not None for c in classes]
        self._settled: dict[tuple[int, int], bool | None] = {}

    def pair(self, i: int, j: int) -> Pair:
        """The forms of two exact classes in text order, as a judge keys them."""
        a, b = self.classes[i].canonical, self.classes[j].canonical
        return (a, b) if a <= b else (b, a)

    def decided(self, i: int, j: int) -> bool | None:
        """What the forms of two exact classes alone decide."""
        if self._numbers[i] and self._numbers[j]:
            return False
        if (i, j) not in self._settled:
            self._settled[i, j] = settled(*self.pair(i, j))
        return self._settled[i, j]

    def needed(self) -> list[tuple[int, int]]:
        """Pairs not asked yet that touch a largest group or whose groups together reach it; at most 256."""
        found: list[tuple[int, int]] = []
        for left, right in self._that_matter():
            for i in left:
                for j in right:
                    key = (i, j) if i < j else (j, i)
                    if key not in self.verdicts and self.decided(*key) is None:
                        found.append(key)
                        if len(found) == _MAX_PAIRS:
                            return found
        return found

    def _that_matter(self) -> Iterator[tuple[list[int], list[int]]]:
        sizes = [self._size(group) for group in self.groups]
        for a, left in enumerate(self.groups):
            for b in range(a + 1, len(self.groups)):
                # The groups are in descending order: what cannot reach the top here cannot further on.
                if sizes[a] != sizes[0] and sizes[a] + sizes[b] < sizes[0]:
                    break
                yield left, self.groups[b]

    def _size(self, group: Sequence[int]) -> int:
        return sum(self.classes[index].count for index in group)

    def take(self, asked: Iterable[tuple[int, int]], verdicts: Mapping[Pair, Verdict]) -> None:
        """Add the verdicts of the asked pairs, and group anew by all of them."""
        for i, j in asked:
            self.verdicts[i, j] = verdicts[self.pair(i, j)]
        home = {index: [index] for index in range(len(self.classes))}
        for i, j in sorted(self.verdicts):
            if (
                self.verdicts[i, j].value == EQUAL
                and home[i] is not home[j]
                and not self._contradicted(home[i], home[j])
            ):
                merged = sorted(home[i] + home[j])
                home.update(dict.fromkeys(merged, merged))
        groups = [group for index, group in home.items() if group[0] == index]
        self.groups = sorted(groups, key=lambda group: (-self._size(group), group))

    def _contradicted(self, left: Sequence[int], right: Sequence[int]) -> bool:
        """Whether two groups hold a pair that is known to differ: math-verify's verdicts are not transitive."""
        for i in left:
            for j in right:
                key = (i, j) if i < j else (j, i)
                verdict = self.verdicts.get(key)
                if (verdict is None and self.decided(*key) is False) or (verdict and verdict.value == UNEQUAL):
                    return True
        return False

    def unsure(self) -> bool:
        """Whether an open pair touches a largest group or could overtake it."""
        for left, right in self._that_matter():
            between = (self.verdicts.get((min(i, j), max(i, j))) for i in left for j in right)
            if any(verdict is not None and verdict.value in (UNKNOWN, EQUAL) for verdict in between):
                return True
        return bool(self.verdicts and self.needed())

    def result(self) -> tuple[AnswerClass, ...]:
        """The classes after all merges, the largest first."""
        merged = []
        for group in self.groups:
            first = self.classes[group[0]]
            if len(group) > 1:
                members = sorted(index for at in group for index in self.classes[at].members)
                first = AnswerClass(first.representative, first.canonical, tuple(members), len(members), "math_verify")
            merged.append(first)
        return tuple(sorted(merged, key=lambda c: (-c.count, c.canonical)))


def _ballot(n_samples: int, classes: tuple[AnswerClass, ...], contest: _Contest | None) -> Ballot:
    n_answered = sum(c.count for c in classes)
    first = classes[0].count if classes else 0
    second = classes[1].count if len(classes) > 1 else 0
    tie = first > 0 and first == second
    verdicts = contest.verdicts.values() if contest else ()
    return Ballot(
        label=None if tie or not classes else classes[0].representative,
        reason="tie" if tie else None if classes else "no_answers",
        classes=classes,
        n_samples=n_samples,
        n_answered=n_answered,
        majority_count=first,
        majority_frequency=first / n_samples if n_samples else 0.0,
        answered_frequency=first / n_answered if n_answered else 0.0,
        margin=(first - second) / n_samples if n_samples else 0.0,
        entropy=sum(c.count / n_answered * math.log(n_answered / c.count) for c in classes),
        tie=tie,
        asked=len(verdicts),
        faults=sum(verdict.value == UNKNOWN for verdict in verdicts),
        unsure=contest.unsure() if contest else False,
    )


def votes(problems: Iterable[Sequence[str | None]], judge: Judge | Shared | None = SHARED) -> list[Ballot]:
    """`vote` on many problems, with at most three batches of questions to the judge for all of them together.

    The first batch holds the open pairs of exact classes that matter in any problem. Where its verdicts merged
    classes, further pairs may matter, and a second and third batch ask them; what is open then is `unsure`.
    Raises what the judge raises when no worker can start.
    """
    problems = list(problems)
    exact = [_classes(answers) for answers in problems]
    if judge is None:
        return [_ballot(len(answers), classes, None) for answers, classes in zip(problems, exact, strict=True)]
    contests = [_Contest(classes) for classes in exact]
    live = contests
    for _ in range(_MAX_ROUNDS):
        # A contest without open questions stays as it is.
        asked = [(contest, needed) for contest in live if (needed := contest.needed())]
        live = [contest for contest, _ in asked]
        if not asked:
            break
        if isinstance(judge, Shared):
            judge = shared_judge()
        verdicts = judge.ask(contest.pair(i, j) for contest, needed in asked for i, j in needed)
        for contest, needed in asked:
            contest.take(needed, verdicts)
    return [_ballot(len(answers), c.result(), c) for answers, c in zip(problems, contests, strict=True)]


def vote(answers: Sequence[str | None], judge: Judge | Shared | None = SHARED) -> Ballot:
    """Count the extracted answers of one problem by equality; with `judge=None` by canonical form alone.

    Takes one entry a sample, in sample order, None where no answer was found. A sample without an answer
    does not vote but stays in `n_samples`. Two largest classes of one size abstain. Apart from `members`,
    nothing depends on the order of the samples. Never raises on text.

    A judge is asked only about pairs that the forms leave open (never about percents and bases) and that could
    change the outcome: one is the largest class, or both together are as large. Classes join on "equal" alone,
    and not against a pair that is known to differ. Many problems are cheaper in one call of `votes`.
    """
    return votes([answers], judge)[0]
