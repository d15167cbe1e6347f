"""Equality of answers: the canonical form first, then remembered verdicts, then math-verify in its sandbox."""

import atexit
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Protocol

from . import canonical
from .canonical import normalize
from .expression import FUNCTIONS
from .sandbox import EQUAL, UNKNOWN, Pair, Sandbox, Verdict

_ABSENT = Verdict(UNKNOWN, "absent")
# math-verify takes 10% for both 10 and 1/10, and a number in base 8 for the one with the same digits in base 9:
# through such an answer, unequal ones would join one class.
# It also reads the range `10-15` as -5 (and equal to `20-25`), `0.5 (50)` as a product and `(10,000)` as (10, 0).
_NEVER_ASKED = re.compile(r"%|[0-9)]_|^(?:text:)?[0-9.]+(?:-[0-9.]+)+$|[0-9] ?\(|,0[0-9]")
_TEXT = "text:"
_PLAIN_ROOT = "sqrt("
_SPELLINGS = {"<=": r"\le ", ">=": r"\ge ", "!=": r"\ne ", "*": r" \cdot "}
_NAMES = "|".join(sorted(FUNCTIONS, key=lambda name: (-len(name), name)))
_PIECE = re.compile(rf"(?<![\\A-Za-z])(?:(?P<name>{_NAMES})(?![A-Za-z])|(?P<root>sqrt\())|(?P<power>\^\()|[<>!]=|[*()]")


class Asker(Protocol):
    """What a judge asks: a `Sandbox`, or anything with its two methods."""

    def ask(self, pairs: Iterable[Pair]) -> list[Verdict]: ...

    def close(self) -> None: ...


def as_latex(form: str) -> str:
    """A canonical form as LaTeX: `sqrt(x+1)^(-1)*sin(x)` is `\\sqrt{x+1}^{-1} \\cdot \\sin(x)`."""
    closers: list[str] = []

    def piece(match: re.Match[str]) -> str:
        token = match[0]
        if match["name"]:
            return "\\" + token
        if token == ")":
            return closers.pop() if closers else ")"
        if token in _SPELLINGS:
            return _SPELLINGS[token]
        closers.append(")" if token == "(" else "}")
        return r"\sqrt{" if match["root"] else "^{" if match["power"] else "("

    return _PIECE.sub(piece, form.removeprefix(_TEXT))


class Judge:
    """Decides whether answers are equal and remembers every verdict it had to ask for.

    A verdict belongs to a pair of canonical forms and is asked for once, also when it is "unknown", so that a
    later vote, reward or evaluation with the same memo decides alike, however loaded the machine is. Without
    an `asker` only the memo speaks, and pairs outside it are unknown ("absent", which is not remembered).
    The judge closes its asker.
    """

    def __init__(self, asker: Asker | None = None) -> None:
        self._asker = asker
        self._memo: dict[Pair, Verdict] = {}

    @classmethod
    def start(cls, *, workers: int = 1, seconds: float = 2.0, memory: int = 2 << 30) -> "Judge":
        """A judge with a `Sandbox` of these limits; its workers start at the first question."""
        return cls(Sandbox(workers=workers, seconds=seconds, memory=memory))

    def __enter__(self) -> "Judge":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers; the memo stays, and a later question starts them again."""
        if self._asker is not None:
            self._asker.close()

    def known(self, a: str, b: str) -> Verdict | None:
        """The remembered verdict of two answers, or None."""
        return self._memo.get(_pair(normalize(a), normalize(b)))

    def rows(self) -> list[dict[str, str | None]]:
        """The memo as rows of form_a, form_b, verdict and fault, form_a before form_b, in text order."""
        return [
            {"form_a": a, "form_b": b, "verdict": verdict.value, "fault": verdict.fault}
            for (a, b), verdict in sorted(self._memo.items())
        ]

    def load(self, rows: Iterable[Mapping[str, str | None]]) -> None:
        """Remember the rows of another judge. Raises ValueError for a row that contradicts the memo or itself."""
        for row in rows:
            a, b, value = row["form_a"], row["form_b"], row["verdict"]
            if a is None or b is None or value is None:
                raise ValueError(f"verdict row has an empty form or verdict: {dict(row)}")
            verdict = Verdict(value, row["fault"])
            if self._memo.setdefault(_pair(a, b), verdict) != verdict:
                raise ValueError(f"two verdicts of {a!r} and {b!r}: {self._memo[_pair(a, b)]} and {verdict}")

    def ask(self, pairs: Iterable[Pair]) -> dict[Pair, Verdict]:
        """The verdicts of pairs of canonical forms, each pair in text order.

        What the memo does not hold is asked in one batch, in text order of the pairs. Raises SandboxError when
        no worker can start.
        """
        wanted = sorted({_pair(a, b) for a, b in pairs})
        new = [pair for pair in wanted if pair not in self._memo]
        if new and self._asker is not None:
            latex = [(as_latex(a), as_latex(b)) for a, b in new]
            self._memo.update(zip(new, self._asker.ask(latex), strict=True))
        return {pair: self._memo.get(pair, _ABSENT) for pair in wanted}

    def equal(self, a: str, b: str) -> bool:
        """Whether two raw answers are equal; unknown counts as not. Reflexive and symmetric."""
        return self.equal_all([(a, b)])[0]

    def equal_all(self, pairs: Sequence[Pair]) -> list[bool]:
        """`equal` for many pairs of raw answers in one batch."""
        forms = [_pair(normalize(a), normalize(b)) for a, b in pairs]
        decided = [settled(a, b) for a, b in forms]
        verdicts = self.ask(pair for pair, done in zip(forms, decided, strict=True) if done is None)
        return [
            verdicts[pair].value == EQUAL if done is None else done for pair, done in zip(forms, decided, strict=True)
        ]


def settled(form_a: str, form_b: str) -> bool | None:
    """What canonical forms alone decide; None where math-verify may be asked. Percent and bases never are.

    Of forms and not of raw answers, so that label and reward decide alike about every spelling of a form.
    """
    if form_a == form_b:
        return True
    if _NEVER_ASKED.search(form_a) or _NEVER_ASKED.search(form_b):
        return False
    decided = canonical.settled(form_a, form_b)
    if decided is False and _PLAIN_ROOT in form_a + form_b:
        # Forms spell roots as plain text, which math-verify misreads in an answer; but it is asked in LaTeX.
        decided = False if canonical.settled(as_latex(form_a), as_latex(form_b)) is False else None
    return decided


class Shared(Enum):
    """The judge of whoever names none: one for the process, with the default limits, started when first needed."""

    JUDGE = "shared"


SHARED = Shared.JUDGE


@cache
def shared_judge() -> Judge:
    """The process's own judge; its workers start at the first open pair and end with the process."""
    judge = Judge.start()
    atexit.register(judge.close)
    return judge


def equivalent(a: str, b: str, judge: Judge | Shared | None = SHARED) -> bool:
    """Whether two raw answers are equal: by canonical form, and where that leaves it open by verdict.

    With `judge=None` canonical forms alone decide. Reflexive, symmetric and deterministic. Raises SandboxError
    when a worker is needed and none can start.
    """
    if normalize(a) == normalize(b):
        return True
    if judge is None:
        return False
    return (shared_judge() if isinstance(judge, Shared) else judge).equal(a, b)


def _pair(a: str, b: str) -> Pair:
    return (a, b) if a <= b else (b, a)
