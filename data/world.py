"""The built-in world: arithmetic word problems of graded difficulty, made from a seed.

A problem is a chain of additions and subtractions on small numbers. Half of the problems are written as
`Compute 17 + 25 - 8.`, half as a short story. No intermediate result is negative. A level fixes the number
of steps and the largest number in the text:

| level | steps | largest number | used in |
|---|---|---|---|
| 1 | 1 | 9 | train, validation, test |
| 2 | 2 | 9 | train, validation, test |
| 3 | 2 | 20 | train, validation, test |
| 4 | 3 | 20 | train, validation, test |
| 5 | 3 | 40 | train, validation, test |
| 6 | 4 | 40 | train, validation, test |
| 7 | 5 | 20 | longer |
| 8 | 6 | 20 | longer |

`longer` is out of distribution for everything that trains on `train`: no problem there has more than four
steps. The built-in checkpoint has seen a few long chains (data/pretrain.py), else it would score 0.02 here,
where only a rise could show and no loss.

`python -m selftrain.data.world` writes the shipped set, `arithmetic.jsonl`, beside this file.
"""

import hashlib
import json
import random
from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

BUILTIN_PATH = Path(__file__).with_name("arithmetic.jsonl")

LEVELS: dict[int, tuple[int, int]] = {
    1: (1, 9),
    2: (2, 9),
    3: (2, 20),
    4: (3, 20),
    5: (3, 40),
    6: (4, 40),
    7: (5, 20),
    8: (6, 20),
}
"""Level to (steps, largest number)."""

SEEN_LEVELS = (1, 2, 3, 4, 5, 6)
LONGER_LEVELS = (7, 8)

SPLITS: dict[str, tuple[int, tuple[int, ...]]] = {
    "train": (400, SEEN_LEVELS),
    "validation": (64, SEEN_LEVELS),
    "test": (240, SEEN_LEVELS),
    "longer": (120, LONGER_LEVELS),
}
"""Split to (problems, levels); the levels take turns, so `test` has 40 problems of each."""

# The whole vocabulary of the stories: it must fit the 512-token tokenizer of the built-in checkpoint with
# every word a single token.
NAMES = ("Ana", "Ben", "Eva", "Ida", "Leo", "Max", "Mia", "Sam", "Tom", "Zoe")
OBJECTS = ("apples", "books", "cards", "coins", "eggs", "pens", "shells", "stones")
GAINS = ("buys {} more", "finds {} more", "gets {} more", "wins {} more")
LOSSES = ("breaks {}", "gives away {}", "loses {}", "sells {}")


@dataclass(frozen=True, slots=True)
class ArithmeticProblem:
    """One problem: its text, the right answer as a decimal string, its level, and a worked solution.

    The solution is what the built-in checkpoint is taught: `17+25=42; 42-8=34. The answer is \\boxed{34}`.
    """

    problem: str
    gold: str
    level: int
    solution: str


def seeded(*identity: str | int) -> random.Random:
    """A generator seeded by a digest of the identity, so that it depends on nothing but its name.

    Integer seeds, `randrange` and `getrandbits` give the same sequence in every supported Python; seeding by
    a string and `shuffle` or `sample` carry no such promise, so this module does without them.
    """
    digest = hashlib.sha256("/".join(map(str, identity)).encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))


def stream(level: int, seed: str | int, exclude: Container[str] = frozenset()) -> Iterator[ArithmeticProblem]:
    """Endless problems of one level, `Compute` texts and stories in turn, none whose text is in `exclude`.

    `exclude` is looked at for each problem: a caller who adds every problem it takes gets distinct texts.
    Level 1 has only 126 distinct `Compute` texts; a caller who excludes them all waits for ever.
    """
    rng = seeded("arithmetic", seed, level)
    story = False
    while True:
        problem = _draw(rng, level, story)
        if problem.problem not in exclude:
            yield problem
            story = not story


def generate(level: int, n: int, seed: str | int, exclude: Container[str] = frozenset()) -> list[ArithmeticProblem]:
    """The first `n` problems of `stream(level, seed, exclude)`; equal arguments give equal problems."""
    return list(islice(stream(level, seed, exclude), n))


def builtin_problems() -> dict[str, list[ArithmeticProblem]]:
    """The shipped set by split: train 400, validation 64, test 240, longer 120.

    The levels of a split take turns, half of each level are stories, and no text occurs twice over all
    splits. Two texts may still ask for the same sum: level 1 has 126 sums and 118 problems.
    """
    taken: set[str] = set()
    splits: dict[str, list[ArithmeticProblem]] = {}
    for split, (size, levels) in SPLITS.items():
        streams = [stream(level, f"builtin/{split}", taken) for level in levels]
        splits[split] = []
        for index in range(size):
            problem = next(streams[index % len(streams)])
            taken.add(problem.problem)
            splits[split].append(problem)
    return splits


def builtin_jsonl() -> bytes:
    """The shipped set as the bytes of `arithmetic.jsonl`: one problem a line, keys in a fixed order."""
    lines = []
    for split, problems in builtin_problems().items():
        for number, problem in enumerate(problems, start=1):
            row = {
                "problem_id": f"{split}-{number:04d}",
                "problem": problem.problem,
                "gold": problem.gold,
                "source": "arithmetic",
                "level": problem.level,
                "split": split,
            }
            lines.append(json.dumps(row) + "\n")
    return "".join(lines).encode("ascii")


def _draw(rng: random.Random, level: int, story: bool) -> ArithmeticProblem:
    start, changes = _chain(rng, level)
    steps = []
    value = start
    for change in changes:
        steps.append(f"{value}{change:+d}={value + change}")
        value += change
    text = _story(rng, start, changes) if story else _compute(start, changes)
    solution = f"{'; '.join(steps)}. The answer is \\boxed{{{value}}}"
    return ArithmeticProblem(problem=text, gold=str(value), level=level, solution=solution)


def _chain(rng: random.Random, level: int) -> tuple[int, list[int]]:
    """A start and signed changes, none of them zero, whose running sum never falls below zero."""
    steps, largest = LEVELS[level]
    start = value = 1 + rng.randrange(largest)
    changes = []
    for _ in range(steps):
        subtract = rng.randrange(2) == 1 and value > 0
        change = -1 - rng.randrange(min(value, largest)) if subtract else 1 + rng.randrange(largest)
        changes.append(change)
        value += change
    return start, changes


def _compute(start: int, changes: list[int]) -> str:
    terms = [f"{'-' if change < 0 else '+'} {abs(change)}" for change in changes]
    return f"Compute {' '.join([str(start), *terms])}."


def _story(rng: random.Random, start: int, changes: list[int]) -> str:
    name = _choice(rng, NAMES)
    objects = _choice(rng, OBJECTS)
    sentences = [f"{name} has {start} {objects if start > 1 else objects[:-1]}."]
    for change in changes:
        phrase = _choice(rng, LOSSES if change < 0 else GAINS).format(abs(change))
        sentences.append(f"{name} {phrase}.")
    sentences.append(f"How many {objects} does {name} have?")
    return " ".join(sentences)


def _choice(rng: random.Random, options: tuple[str, ...]) -> str:
    return options[rng.randrange(len(options))]


if __name__ == "__main__":
    BUILTIN_PATH.write_bytes(builtin_jsonl())
