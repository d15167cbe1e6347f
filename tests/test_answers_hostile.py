"""Two hundred hostile answers: nothing hangs, nothing crashes, and what stayed open is counted."""

from __future__ import annotations

import importlib.util
import sys
import time

import pytest

from selftrain.answers import Judge, extract, normalize, vote, votes
from selftrain.answers.sandbox import Sandbox

# CPU seconds. The canonical form takes microseconds to a few milliseconds; this is a bound on hanging, not on speed.
SLOW_SECONDS = 2.0

EXPLOSIVE = [
    *(f"{n}^{{{n}^{{{n}}}}}" for n in range(2, 12)),
    *(f"{n}^{n}^{n}" for n in range(7, 12)),
    *(f"{n}**{n}**{n}" for n in range(7, 12)),
    *(f"{n}^{{10^{{{n}}}}}" for n in range(5, 12)),
    r"\dfrac{5^{(5^{(5^{(5^5)})} - 4)} - 5}{16}",
    r"\frac{7^{(7^{(7^7)})} - 7}{3}",
    "2^2^2^2^2^2",
    *(f"10^{{{n}}}!" for n in (3, 1000, 100000, 10**9)),
    *(f"(10^{n})!" for n in range(5, 10)),
    *(f"{n}!!!" for n in (3, 9, 99, 10**9)),
    *(rf"\binom{{10^{n}}}{{5 \cdot 10^{n - 1}}}" for n in range(6, 11)),
    r"\sum_{k=1}^{10^9} \frac{1}{k}",
    r"\prod_{k=1}^{10^5} \sin(k)",
    "(x+y+z+w)^{40}",
    "(x+y+z)^{40}",
    r"\int_0^1 \frac{\sin(x^5) e^{x}}{x^7+\ln(x+2)} dx",
    "1e400000000",
    "1e-400000000",
    "9" * 1_000_000,
    "0." + "0" * 100_000 + "1",
    "1/" + "3" * 4000,
]
NESTED = [
    *(
        opener * n + "1" + closer * n
        for n in (50, 2000, 20_000)
        for opener, closer in ("()", "{}", "[]", ("\\{", "\\}"))
    ),
    *("\\frac{1}{" * n + "2" + "}" * n for n in (30, 300)),
    *("\\sqrt{" * n + "2" + "}" * n for n in (30, 500)),
    *("x^{" * n + "2" + "}" * n for n in (10, 500)),
    "-" * 10_000 + "1",
    "1" + "+1" * 20_000,
    "|" * 5000,
    "(1, " * 1000 + "2" + ")" * 1000,
    ", ".join(map(str, range(10_000))),
    r"\begin{pmatrix}"
    + r"\\".join("&".join("xyzw"[(i * j) % 4] for i in range(8)) for j in range(8))
    + r"\end{pmatrix}",
    r"\begin{matrix}" * 200,
]
LONG = [
    "1 " * 500_000,
    "the answer " * 100_000,
    "\\[" * 50_000,
    "\\boxed{1}" * 20_000,
    "$" * 100_000,
    "\\" * 100_000,
    "{" * 1_000_000,
    " " * 1_000_000 + "1",
    "é" * 500_000,
]
DIGITS = [
    "\uff11\uff12",
    "\u0661\u0662",
    "\u0967\u0968",
    "\u00b9\u00b2",
    "\u2460",
    "\u2167",
    "\u00bd",
    "\U0001d7d7",
    "\u4e00\u4e8c",
]
LOOK_ALIKES = [
    "\u0445+1",
    "\u0391",
    "\u039f",
    "l00",
    "1O",
    "\u2212\u0031",
    "\u20131",
    "1\u20442",
    "2\u00d73",
    "\u221a2",
    "\u221e",
    "\uff08\uff11\uff0c\uff12\uff09",
]
CONTROL = [
    f"1{chr(code)}2"
    for code in (*range(0, 32), 127, 0x85, 0xAD, 0x200B, 0x200E, 0x200F, 0x2028, 0x202E, 0x2066, 0xFEFF)
]
CODE = [
    "__import__('os')",
    "__import__('os').system('exit 3')",
    "().__class__.__bases__[0].__subclasses__()",
    "exec('raise SystemExit')",
    "eval(input())",
    "lambda: 0",
    r"\input{/etc/passwd}",
    r"\write18{exit}",
    r"\def\x{\x\x}\x",
    "%s%s%s%n",
    "{0.__class__}",
    "text:text:1",
    "'; DROP TABLE labels; --",
    "<script>1</script>",
    '"]\n["equal", null]\n',
]
_BROKEN = r"""
} { }{ \boxed{ \frac \frac{ \frac{1} \frac{1}{ \frac{1}{0} \sqrt \sqrt[ ^ _ ^^ x^ 1/ /1 1//2 0/0 0^0 0^{-1} nan inf
-inf \infty-\infty 1.2.3 1,2,,3 .. = == x== < <= <=> ( )( [1,2 (1,2] | \left( \left \right) \begin{ \text{ $ $$ \ \\ &
# ~ % 10%% \tan \log_ \lim_{x\to0} i^i \pm 1\pm ! 1! x! != ' " ` @ ; : 1: :1 1:0 \cup A\cup \in x\in \{ \} \{\} [] ()
"""
BROKEN = _BROKEN.split()
STRANGE = ["", " ", "\n", "\t1\t", "\ud800", "\udfff1", "\U0010ffff", "\U0001f468\u200d\U0001f469", "1\x00" * 50]
HOSTILE = [*EXPLOSIVE, *NESTED, *LONG, *DIGITS, *LOOK_ALIKES, *CONTROL, *CODE, *BROKEN, *STRANGE]

needs_math_verify = pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None, reason="math-verify is not installed"
)


def test_there_are_two_hundred_of_them() -> None:
    assert len(set(HOSTILE)) >= 200


@pytest.mark.parametrize("index", range(len(HOSTILE)))
def test_the_canonical_form_alone_handles_each(index: int) -> None:
    answer = HOSTILE[index]
    began = time.process_time()
    form = normalize(answer)
    assert normalize(form) == form
    ballot = vote([answer, "1", answer, None], judge=None)
    assert ballot.n_answered == 3
    assert ballot.label is not None
    extract("\\boxed{" + answer + "} and \\boxed{" + answer)
    assert time.process_time() - began < SLOW_SECONDS
    assert sys.getrecursionlimit() >= 1000


@needs_math_verify
def test_votes_with_a_judge_end_and_count_their_faults() -> None:
    """Each answer against a number, an open answer and another hostile one, in one call for all problems."""
    problems = [[answer, answer, "1", r"\sin(x)^2", HOSTILE[i - 1]] for i, answer in enumerate(HOSTILE)]
    with Judge(Sandbox(seconds=0.5)) as judge:
        ballots = votes(problems, judge)
        rows = judge.rows()
        assert votes(problems, judge) == ballots
        assert judge.rows() == rows
        # The worker is well, and whatever was asked did not become "equal" to a plain number by accident.
        assert judge.equal(r"\tan^2(y)+1", r"\sec^2(y)")
    assert len(ballots) == len(HOSTILE)
    unknown = [row for row in rows if row["verdict"] == "unknown"]
    assert unknown
    assert all(row["fault"] for row in unknown)
    assert sum(ballot.faults for ballot in ballots) >= len(unknown)
    assert all(ballot.faults <= ballot.asked for ballot in ballots)
    for answers, ballot in zip(problems, ballots, strict=True):
        assert sum(c.count for c in ballot.classes) == len(answers)
        if ballot.unsure:
            assert ballot.asked
    tower = ballots[HOSTILE.index(r"\dfrac{5^{(5^{(5^{(5^5)})} - 4)} - 5}{16}")]
    assert tower.faults
    assert tower.unsure
    assert tower.classes[0].settled_by == "exact"


@needs_math_verify
def test_what_the_guard_lets_through_is_killed() -> None:
    """The kill alone, without the cheap guard in front of it, on the inputs that burn math-verify's own limit."""
    with Sandbox(seconds=0.5) as box:
        box._rejects = lambda text: False
        began = time.monotonic()
        answers = ["9^{9^{9}}", "10^{100000}!", r"\binom{10^9}{5 \cdot 10^8}", "(x+y+z+w)^{40}"]
        for number, answer in enumerate(answers):
            (verdict,) = box.ask([(answer, rf"\frac{{x+1}}{{{number + 3}}}")])
            assert verdict.value == "unknown"
            assert verdict.fault in ("timeout", "crash", "memory", "error")
        assert time.monotonic() - began < 60
