"""The built-in world: the shipped problems are what the generator says they are."""

import json
import re
from collections import Counter

import pytest

from selftrain.data.world import (
    BUILTIN_PATH,
    LEVELS,
    SPLITS,
    builtin_jsonl,
    builtin_problems,
    generate,
    stream,
)

ROWS = [json.loads(line) for line in BUILTIN_PATH.read_text(encoding="ascii").splitlines()]
GAIN = re.compile(r"(?:buys|finds|gets|wins) (\d+) more\.")
LOSS = re.compile(r"(?:breaks|gives away|loses|sells) (\d+)\.")


def signed_terms(text: str) -> list[int]:
    """The numbers of a problem with their signs, read from its text without the generator's help."""
    if text.startswith("Compute "):
        assert re.fullmatch(r"Compute \d+( [+-] \d+)+\.", text)
        return [int(sign + digits) for sign, digits in re.findall(r"([+-]?) ?(\d+)", text)]
    opening, *sentences, question = re.split(r"(?<=[.?]) ", text)
    start = re.fullmatch(r"([A-Z][a-z]+) has (\d+) ([a-z]+)\.", opening)
    assert start is not None
    name, amount, objects = start.groups()
    assert question == f"How many {objects if amount != '1' else objects + 's'} does {name} have?"
    terms = [int(amount)]
    for sentence in sentences:
        gain, loss = GAIN.search(sentence), LOSS.search(sentence)
        assert sentence.startswith(f"{name} ")
        assert (gain is None) != (loss is None)
        terms.append(int(gain[1]) if gain else -int(loss[1]))
    return terms


def test_committed_bytes_are_regenerated() -> None:
    assert builtin_jsonl() == BUILTIN_PATH.read_bytes()


def test_no_text_and_no_id_occurs_twice() -> None:
    assert len({row["problem"] for row in ROWS}) == len(ROWS)
    assert len({row["problem_id"] for row in ROWS}) == len(ROWS)


def test_splits_and_levels_have_their_sizes() -> None:
    counts = Counter((row["split"], row["level"]) for row in ROWS)
    assert {split: sum(n for (s, _), n in counts.items() if s == split) for split in SPLITS} == {
        "train": 400,
        "validation": 64,
        "test": 240,
        "longer": 120,
    }
    assert [counts["test", level] for level in range(1, 7)] == [40] * 6
    assert [counts["longer", level] for level in (7, 8)] == [60, 60]
    assert {counts["train", level] for level in range(1, 7)} == {66, 67}
    assert {counts["validation", level] for level in range(1, 7)} == {10, 11}


def test_half_of_each_level_are_stories() -> None:
    for split in ("test", "longer"):
        computes = Counter(
            row["level"] for row in ROWS if row["split"] == split and row["problem"].startswith("Compute ")
        )
        levels = Counter(row["level"] for row in ROWS if row["split"] == split)
        assert computes == {level: n // 2 for level, n in levels.items()}


@pytest.mark.parametrize("row", ROWS[::7], ids=lambda row: row["problem_id"])
def test_rows_have_the_promised_keys(row: dict[str, object]) -> None:
    assert list(row) == ["problem_id", "problem", "gold", "source", "level", "split"]
    assert row["source"] == "arithmetic"
    assert re.fullmatch(rf"{row['split']}-\d{{4}}", str(row["problem_id"]))


def test_gold_steps_and_sizes_recomputed_from_the_text() -> None:
    for row in ROWS:
        terms = signed_terms(row["problem"])
        steps, largest = LEVELS[row["level"]]
        assert len(terms) == steps + 1
        assert all(1 <= abs(term) <= largest for term in terms)
        assert all(sum(terms[: end + 1]) >= 0 for end in range(len(terms)))
        assert row["gold"] == str(sum(terms))


@pytest.mark.parametrize("level", LEVELS)
def test_solutions_are_true_chains(level: int) -> None:
    for problem in generate(level, 50, "test"):
        chain, boxed = problem.solution.split(". The answer is ")
        value = signed_terms(problem.problem)[0]
        for term, step in zip(signed_terms(problem.problem)[1:], chain.split("; "), strict=True):
            assert step == f"{value}{term:+d}={value + term}"
            value += term
        assert boxed == f"\\boxed{{{problem.gold}}}"
        assert problem.gold == str(value)


def test_equal_seeds_give_equal_problems_and_others_do_not() -> None:
    assert generate(4, 20, 7) == generate(4, 20, 7)
    assert generate(4, 20, 7) != generate(4, 20, 8)
    assert generate(4, 20, 7)[:5] == generate(4, 5, 7)


def test_excluded_texts_do_not_occur() -> None:
    shipped = {problem.problem for split in builtin_problems().values() for problem in split}
    fresh = generate(1, 500, "other", exclude=shipped)
    assert len(fresh) == 500
    assert not shipped & {problem.problem for problem in fresh}
    taken: set[str] = set()
    problems = stream(1, "distinct", exclude=taken)
    for _ in range(200):
        taken.add(next(problems).problem)
    assert len(taken) == 200
