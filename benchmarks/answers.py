"""Measure the answer component on recorded responses: CPU seconds from text to ballots, and what the votes say.

    python benchmarks/answers.py RESPONSES.jsonl.gz [--problems N] [--pairs PAIRS.jsonl] [--markdown TABLE.md]

Rows of RESPONSES hold problem_id, response and answer (the gold text). Three ways to vote are compared:

- selftrain: extract, canonical forms, `votes` with a judge, from a cold memo and cold caches;
- math-verify: `parse` every response and cluster each problem by `verify` against one member of each cluster,
  on a sample of problems that is cut off after --naive-seconds, for it takes minutes to hours on all;
- raw strings: extract and count spellings.

Take ratios from it: the absolute speed is that of one machine under one load.
"""

import argparse
import gc
import gzip
import json
import multiprocessing
import resource
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selftrain.answers import (
    Ballot,
    Judge,
    Sandbox,
    algebra,
    canonical,
    equivalence,
    expression,
    extract,
    gold_answer,
    normalize,
    notation,
    units,
    votes,
)
from selftrain.answers.equivalence import settled
from selftrain.answers.sandbox import _WARM_UP

REPEATS = 3
# The limit that math-verify gets for one call in the naive run, in seconds; its own default is 5.
NAIVE_LIMIT = 2


@dataclass
class Problem:
    """The responses to one problem, and its gold answer."""

    problem_id: str
    gold: str
    responses: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """The label of one problem (None for an abstention) and the share of all responses that voted for it."""

    label: str | None
    frequency: float


def read_problems(path: Path, limit: int | None) -> list[Problem]:
    """The problems of a file in the order of their first response; `limit` keeps the first ones."""
    found: dict[str, Problem] = {}
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            gold = str(row["answer"]).rpartition("#")[2].strip()
            found.setdefault(row["problem_id"], Problem(row["problem_id"], gold)).responses.append(row["response"])
    return list(found.values())[:limit]


def cpu_seconds() -> float:
    """CPU seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def clear_caches() -> None:
    """Empty every functools cache of the answer component."""
    for module in (algebra, canonical, equivalence, expression, notation, units):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


@dataclass(frozen=True)
class OwnRun:
    """One run of the component: ballots, the memo's size, and CPU seconds with and without starting workers."""

    ballots: list[Ballot]
    extracted: list[list[str | None]]
    cpu: float
    start: float
    workers: int


def run_own(problems: Sequence[Problem]) -> OwnRun:
    """Text to ballots, from cold caches and an empty memo."""
    clear_caches()
    gc.collect()
    began = cpu_seconds()
    sandbox = Sandbox()
    with Judge(sandbox) as judge:
        extracted = [[extract(text) for text in problem.responses] for problem in problems]
        ballots = votes(extracted, judge)
    return OwnRun(ballots, extracted, cpu_seconds() - began, sandbox.start_seconds, sandbox.started)


def run_raw(problems: Sequence[Problem]) -> tuple[list[Outcome], float]:
    """Extract and count spellings; a tie abstains, as in ours. Returns outcomes and CPU seconds."""
    began = cpu_seconds()
    outcomes = []
    for problem in problems:
        counts = Counter(answer for text in problem.responses if (answer := extract(text)) is not None)
        outcomes.append(_leader(counts.most_common(2), len(problem.responses)))
    return outcomes, cpu_seconds() - began


def _leader(most: Sequence[tuple[str | None, int]], n_samples: int) -> Outcome:
    tie = len(most) > 1 and most[0][1] == most[1][1]
    return Outcome(None if tie or not most else most[0][0], most[0][1] / n_samples if most else 0.0)


def _naive_worker(connection: Any, problems: Sequence[Problem]) -> None:
    from math_verify import parse, verify

    # As the sandbox does before it counts: sympy and antlr load much of themselves at the first use.
    for a, b in _WARM_UP:
        verify(parse(rf"\boxed{{{a}}}"), parse(rf"\boxed{{{b}}}"))
    for index, problem in enumerate(problems):
        began = time.process_time()
        clusters: list[list[Any]] = []
        for text in problem.responses:
            parsed = parse(text, parsing_timeout=NAIVE_LIMIT)
            home = (
                next((c for c in clusters if verify(c[0], parsed, timeout_seconds=NAIVE_LIMIT)), None) if parsed else []
            )
            if home is None:
                clusters.append([parsed, text, 1])
            elif home:
                home[2] += 1
        seconds = time.process_time() - began
        most = sorted(((extract(c[1]) or str(c[0][-1]), c[2]) for c in clusters), key=lambda c: -c[1])[:2]
        connection.send((index, most, seconds))
    connection.close()


def run_naive(problems: Sequence[Problem], seconds: float) -> tuple[list[Outcome], float]:
    """math-verify alone, in a process that is killed after `seconds` of wall clock: outcomes and CPU seconds."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_naive_worker, args=(there, problems), daemon=True)
    process.start()
    there.close()
    outcomes, cpu, until = [], 0.0, time.monotonic() + seconds
    try:
        while len(outcomes) < len(problems) and here.poll(max(0.0, until - time.monotonic())):
            _, most, spent = here.recv()
            outcomes.append(_leader(most, len(problems[len(outcomes)].responses)))
            cpu += spent
    finally:
        process.kill()
        process.join()
    return outcomes, cpu


def own_outcomes(ballots: Sequence[Ballot]) -> list[Outcome]:
    """Labels and majority frequencies of ballots."""
    return [Outcome(ballot.label, ballot.majority_frequency) for ballot in ballots]


def quality(outcomes: Sequence[Outcome], problems: Sequence[Problem], judge: Judge) -> tuple[float, float, int]:
    """Share of problems whose label equals gold, mean majority frequency, and number of abstentions."""
    right = judge.equal_all(
        [
            (outcome.label, gold_answer(problem.gold))
            for outcome, problem in zip(outcomes, problems, strict=True)
            if outcome.label is not None
        ]
    )
    frequency = statistics.fmean(outcome.frequency for outcome in outcomes)
    return sum(right) / len(problems), frequency, sum(outcome.label is None for outcome in outcomes)


def agreement(ours: Sequence[Outcome], theirs: Sequence[Outcome], judge: Judge) -> float:
    """Share of problems with equal labels; two abstentions agree."""
    both = [(a.label, b.label) for a, b in zip(ours, theirs, strict=True)]
    equal = judge.equal_all([(a, b) for a, b in both if a is not None and b is not None])
    return (sum(equal) + sum(a is None and b is None for a, b in both)) / len(both)


def settled_share(ballots: Sequence[Ballot]) -> tuple[float, float, float]:
    """Shares settled by canonical forms: of responses, of pairs of different forms in one problem, of problems.

    A response is settled when no verdict merged its class; a problem when nothing was asked about it.
    """
    answered = sum(ballot.n_answered for ballot in ballots)
    exact = sum(c.count for ballot in ballots for c in ballot.classes if c.settled_by == "exact")
    pairs = done = 0
    for ballot in ballots:
        forms = [c.canonical for c in ballot.classes]
        for i, form in enumerate(forms):
            pairs += len(forms) - i - 1
            done += sum(settled(form, other) is not None for other in forms[i + 1 :])
    silent = sum(ballot.asked == 0 for ballot in ballots) / max(len(ballots), 1)
    return exact / max(answered, 1), done / max(pairs, 1), silent


def pairs_table(path: Path) -> list[tuple[str, str]]:
    """Agreement with the expected verdicts of a pairs file, for ours and for math-verify in both directions."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    # A row of kind "wrapped" holds a whole response, which is extraction's business.
    rows = [row for row in rows if row.get("kind", "answer") == "answer"]
    lines = []
    with Judge(Sandbox()) as judge, Sandbox() as alone:
        for title, chosen in (("core", [r for r in rows if r["core"]]), ("all", rows)):
            texts = [(gold_answer(row["a"]), gold_answer(row["b"])) for row in chosen]
            expected = [row["equal"] for row in chosen]
            for name, got in (
                ("selftrain", judge.equal_all(texts)),
                ("selftrain, forms alone", [normalize(a) == normalize(b) for a, b in texts]),
                ("math-verify", [verdict.value == "equal" for verdict in alone.ask(texts)]),
            ):
                right = sum(a == b for a, b in zip(got, expected, strict=True))
                merged = sum(a and not b for a, b in zip(got, expected, strict=True))
                value = f"{right} of {len(chosen)} right ({right / len(chosen):.1%}), {merged} false merges"
                lines.append((f"{title} pairs: {name}", value))
    return lines


def measure(problems: Sequence[Problem], naive_seconds: float, sample: int) -> list[tuple[str, str]]:
    """All lines of the report on one set of problems."""
    n = sum(len(problem.responses) for problem in problems)
    runs = [run_own(problems) for _ in range(REPEATS)]
    own = sorted(runs, key=lambda run: run.cpu)[REPEATS // 2]
    raw_runs = [run_raw(problems) for _ in range(REPEATS)]
    raw, raw_cpu = raw_runs[0][0], statistics.median(cpu for _, cpu in raw_runs)
    step = max(1, len(problems) // sample)
    chosen = list(range(0, len(problems), step))[:sample]
    naive, naive_cpu = run_naive([problems[index] for index in chosen], naive_seconds)
    chosen = chosen[: len(naive)]
    sampled = [problems[index] for index in chosen]
    n_naive = sum(len(problem.responses) for problem in sampled)
    work = own.cpu - own.start
    speed, raw_speed, naive_speed = n / work, n / raw_cpu, n_naive / max(naive_cpu, 1e-9)
    exact, pairs, silent = settled_share(own.ballots)
    spread = ", ".join(f"{run.cpu - run.start:.2f}" for run in runs)
    lines = [
        ("responses, problems", f"{n:,}, {len(problems):,}"),
        ("selftrain: CPU seconds, parent and workers", f"{work:.2f} (median of {spread})"),
        (
            "selftrain: start of workers and import of math-verify",
            f"{own.start:.2f} s for {own.workers} (not in the above)",
        ),
        ("selftrain: responses per CPU second", f"{speed:,.0f}"),
        ("selftrain: the same with the start of workers", f"{n / own.cpu:,.0f}"),
        ("math-verify: responses per CPU second", f"{naive_speed:,.0f} ({n_naive:,} responses, {len(naive)} problems)"),
        ("raw strings: responses per CPU second", f"{raw_speed:,.0f}"),
        ("selftrain : math-verify", f"{speed / naive_speed:.1f}"),
        ("selftrain : raw strings", f"{speed / raw_speed:.2f}"),
        ("settled by canonical forms", f"{exact:.2%} of responses, {pairs:.2%} of pairs, {silent:.2%} of problems"),
        ("pairs asked, unknown; unsure ballots", _asked(own.ballots)),
    ]
    ours = own_outcomes(own.ballots)
    with Judge(Sandbox()) as judge:
        lines += _qualities(f"all {len(problems):,} problems", problems, judge, {"selftrain": ours, "raw strings": raw})
        if naive:
            picked = {"selftrain": [ours[i] for i in chosen], "raw strings": [raw[i] for i in chosen]}
            title = f"sample of {len(chosen)} problems"
            lines += _qualities(title, sampled, judge, {**picked, "math-verify": naive})
    return lines


def _asked(ballots: Sequence[Ballot]) -> str:
    counts = [sum(number(ballot) for ballot in ballots) for number in _COUNTS]
    return "{:,}, {:,}; {:,}".format(*counts)


_COUNTS: tuple[Callable[[Ballot], int], ...] = (lambda b: b.asked, lambda b: b.faults, lambda b: int(b.unsure))


def _qualities(
    title: str, problems: Sequence[Problem], judge: Judge, methods: dict[str, list[Outcome]]
) -> list[tuple[str, str]]:
    lines = []
    for name, outcomes in methods.items():
        right, frequency, abstained = quality(outcomes, problems, judge)
        value = f"label right {right:.2%}, mean majority frequency {frequency:.3f}, {abstained} abstain"
        if name != "selftrain":
            value += f", {agreement(methods['selftrain'], outcomes, judge):.2%} of labels as selftrain"
        lines.append((f"{title}: {name}", value))
    return lines


def main() -> None:
    """Read the arguments, measure, print, and write the table where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("responses", type=Path)
    parser.add_argument("--problems", type=int, help="only the first N problems")
    parser.add_argument("--pairs", type=Path, help="pairs with expected verdicts: rows of a, b, equal, core")
    parser.add_argument("--sample", type=int, default=200, help="problems of the naive run, evenly spread (200)")
    parser.add_argument("--naive-seconds", type=float, default=90.0, help="wall clock of the naive run (90)")
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    arguments = parser.parse_args()
    lines = measure(read_problems(arguments.responses, arguments.problems), arguments.naive_seconds, arguments.sample)
    if arguments.pairs:
        lines += pairs_table(arguments.pairs)
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        print(f"{name:<{width}}  {value}")
    if arguments.markdown:
        table = ["| measure | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in lines)]
        arguments.markdown.write_text("\n".join(table) + "\n", "utf-8")


if __name__ == "__main__":
    main()
