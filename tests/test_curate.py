"""The curriculum: which problems, in which order, and why each other one is out."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selftrain.data.errors import UserError
from selftrain.data.manifest import load
from selftrain.data.schemas import CURRICULUM, EXCLUDED
from selftrain.data.store import read_table
from selftrain.stages import curate
from selftrain.stages.config import Config
from selftrain.stages.curate import easiest

Row = dict[str, Any]


def entry(problem_id: str, frequency: float, label: str | None = "1", reason: str | None = None) -> Row:
    """What `easiest` reads of a ledger row."""
    classes = [] if label is None else [{"forms": [label, f"{label}+0"]}]
    return {
        "problem_id": problem_id,
        "majority_frequency": frequency,
        "label": label,
        "reason": reason,
        "classes": classes,
    }


def problem(problem_id: str, text: str | None = "text") -> Row:
    return {"problem_id": problem_id, "problem": text, "gold": "g", "level": "3", "split": "train"}


def choose(ledger: list[Row], fraction: float, seed: int = 0, **texts: str | None) -> tuple[list[Row], list[Row]]:
    problems = {row["problem_id"]: problem(row["problem_id"], texts.get(row["problem_id"], "text")) for row in ledger}
    return easiest(ledger, problems, fraction, seed)


LEDGERS = st.lists(
    st.tuples(st.sampled_from([0.25, 0.5, 0.75, 1.0]), st.sampled_from([None, "tie", "no_answers"]), st.booleans()),
    max_size=30,
)


def test_the_easiest_share_is_kept_from_easy_to_hard() -> None:
    ledger = [entry("a", 0.2), entry("b", 0.9), entry("c", 0.6), entry("d", 0.7), entry("e", 0.1), entry("f", 0.3)]
    chosen, excluded = choose(ledger, 0.5)
    assert [(row["problem_id"], row["rank"], row["majority_frequency"]) for row in chosen] == [
        ("b", 0, 0.9), ("d", 1, 0.7), ("c", 2, 0.6),
    ]  # fmt: skip
    assert {(row["problem_id"], row["reason"]) for row in excluded} == {(key, "beyond_fraction") for key in "aef"}


def test_a_chosen_problem_carries_its_text_label_and_gold() -> None:
    (row,), _ = choose([entry("a", 0.5, label="42")], 1.0)
    assert row == {
        "problem_id": "a", "problem": "text", "gold": "g", "level": "3", "label": "42",
        "label_forms": ["42", "42+0"],
        "majority_frequency": 0.5, "rank": 0,
    }  # fmt: skip


def test_the_share_is_of_the_problems_that_can_be_trained_on() -> None:
    ledger = [entry(f"u{n}", 0.9, None, "tie") for n in range(6)] + [entry(f"l{n}", 0.5) for n in range(4)]
    chosen, _ = choose(ledger, 0.5)
    assert len(chosen) == 2
    assert all(row["problem_id"].startswith("l") for row in chosen)


@pytest.mark.parametrize(
    ("n", "fraction", "kept"), [(1, 0.01, 1), (5, 0.01, 1), (9, 1 / 3, 3), (10, 1 / 3, 3), (7, 1.0, 7)]
)
def test_at_least_one_problem_is_kept(n: int, fraction: float, kept: int) -> None:
    chosen, excluded = choose([entry(str(number), 0.5) for number in range(n)], fraction)
    assert (len(chosen), len(excluded)) == (kept, n - kept)


def test_every_excluded_problem_has_its_reason() -> None:
    ledger = [
        entry("tie", 0.4, None, "tie"),
        entry("none", 0.0, None, "no_answers"),
        entry("rare", 0.3, None, "below_min_frequency"),
        entry("unsampled", 0.0, None, "no_samples"),
        entry("textless", 0.9),
        entry("hard", 0.5),
        entry("easy", 0.8),
    ]
    chosen, excluded = choose(ledger, 0.5, textless=None)
    assert [row["problem_id"] for row in chosen] == ["easy"]
    assert {row["problem_id"]: row["reason"] for row in excluded} == {
        "tie": "tie",
        "none": "no_answers",
        "rare": "below_min_frequency",
        "unsampled": "no_samples",
        "textless": "no_text",
        "hard": "beyond_fraction",
    }


def test_nothing_to_choose_from_chooses_nothing() -> None:
    assert choose([], 1.0) == ([], [])
    assert choose([entry("a", 0.5, None, "tie")], 1.0)[0] == []


def test_ties_are_broken_by_a_seeded_hash_of_the_id() -> None:
    ledger = [entry(f"p{n}", 0.5) for n in range(20)]
    chosen, _ = choose(ledger, 0.25, seed=3)
    by_hand = sorted((f"p{n}" for n in range(20)), key=lambda key: hashlib.sha256(f"3:{key}".encode()).digest())
    assert [row["problem_id"] for row in chosen] == by_hand[:5]
    assert [row["problem_id"] for row in choose(ledger, 0.25, seed=4)[0]] != by_hand[:5]


@given(LEDGERS, st.floats(min_value=0.01, max_value=1.0), st.randoms(use_true_random=False))
def test_every_problem_is_either_chosen_or_excluded(
    drawn: list[tuple[float, str | None, bool]], fraction: float, random: Any
) -> None:
    ledger = [
        entry(f"p{n}", frequency, None if reason else "1", reason) for n, (frequency, reason, _) in enumerate(drawn)
    ]
    problems = {f"p{n}": problem(f"p{n}", "text" if text else None) for n, (_, _, text) in enumerate(drawn)}
    chosen, excluded = easiest(ledger, problems, fraction, 0)
    both = [row["problem_id"] for row in chosen + excluded]
    assert sorted(both) == sorted(problems)
    assert len(set(both)) == len(both)
    assert all(row["label"] and row["problem"] for row in chosen)
    beyond = [row["majority_frequency"] for row in excluded if row["reason"] == "beyond_fraction"]
    frequencies = [row["majority_frequency"] for row in chosen]
    assert frequencies == sorted(frequencies, reverse=True)
    assert not beyond or min(frequencies) >= max(beyond)
    shuffled = ledger.copy()
    random.shuffle(shuffled)
    again, _ = easiest(shuffled, problems, fraction, 0)
    assert again == chosen


# The stage on files.


@pytest.fixture
def make_run(
    labelled_run: Callable[..., Path],
    problem_row: Callable[..., Row],
    ledger_of: Callable[..., Row],
) -> Callable[..., Path]:
    """A labelled run from the answers of each problem; `problem_values` go into every problem."""

    def make(answers: dict[str, list[str | None]], gold: str | None = None, **values: Row) -> Path:
        problems = [problem_row(key, gold=gold, **values.get(key, {})) for key in sorted(answers)]
        return labelled_run(problems, [ledger_of(key, answers[key], gold) for key in sorted(answers)])

    return make


ANSWERS: dict[str, list[str | None]] = {
    "a": ["1", "1", "1", "2"],
    "b": ["1", "1", "1", "1"],
    "c": ["2", "2", None, None],
    "d": ["1", "2", None, None],
}


def test_the_stage_writes_both_files_and_counts_them(
    make_run: Callable[..., Path], configured: Callable[..., Config]
) -> None:
    run = make_run(ANSWERS, "1", a={"level": "2"}, b={"level": "1"})
    summary = curate.run(configured("curate.fraction=0.67"), run)
    assert summary.file == run / "curriculum.parquet"
    chosen = read_table(run / "curriculum.parquet", CURRICULUM).to_pylist()
    excluded = read_table(run / "excluded.parquet", EXCLUDED).to_pylist()
    assert [(row["problem_id"], row["rank"], row["label"], row["gold"]) for row in chosen] == [
        ("b", 0, "1", "1"), ("a", 1, "1", "1"),
    ]  # fmt: skip
    assert [(row["problem_id"], row["reason"]) for row in excluded] == [("c", "beyond_fraction"), ("d", "tie")]
    counted = load(run / "curriculum.json").summary
    assert counted["chosen"] == 2
    assert counted["excluded"] == {"beyond_fraction": 1, "tie": 1}
    assert counted["lowest_majority_frequency"] == 0.75
    assert counted["ties_at_the_cut"] == 0
    assert (counted["label_accuracy"], counted["label_accuracy_of_all"]) == (1.0, round(2 / 3, 4))
    assert counted["levels"] == {"1": 1, "2": 1}


def test_ties_at_the_cut_are_counted(make_run: Callable[..., Path], configured: Callable[..., Config]) -> None:
    run = make_run({key: ["1", "1", "2"] for key in "abcd"})
    curate.run(configured("curate.fraction=0.25"), run)
    counted = load(run / "curriculum.json").summary
    assert (counted["chosen"], counted["ties_at_the_cut"]) == (1, 3)
    assert counted["label_accuracy"] is None


def test_a_second_run_is_a_skip_and_another_fraction_is_refused(
    make_run: Callable[..., Path],
    configured: Callable[..., Config],
    snapshot: Callable[[Path], dict[str, bytes]],
) -> None:
    run = make_run(ANSWERS)
    curate.run(configured(), run)
    before = snapshot(run)
    assert curate.run(configured(), run).skipped
    with pytest.raises(UserError, match=r"curate\.fraction: 0\.333\d* -> 1\.0"):
        curate.run(configured("curate.fraction=1.0"), run)
    assert snapshot(run) == before
    assert not curate.run(configured("curate.fraction=1.0"), run, overwrite=True).skipped
    assert read_table(run / "curriculum.parquet", CURRICULUM).num_rows == 3


def test_without_a_labelled_problem_there_is_nothing_to_curate(
    make_run: Callable[..., Path],
    configured: Callable[..., Config],
    snapshot: Callable[[Path], dict[str, bytes]],
) -> None:
    run = make_run({"a": ["1", "2"], "b": [None], "c": ["3", "4"]})
    before = snapshot(run)
    with pytest.raises(UserError, match=r"labels\.parquet can be trained on \(2 tie, 1 no_answers\)"):
        curate.run(configured(), run)
    assert snapshot(run) == before


def test_labels_without_texts_cannot_be_trained_on(
    make_run: Callable[..., Path], configured: Callable[..., Config]
) -> None:
    run = make_run({"a": ["1"]}, a={"problem": None})
    with pytest.raises(UserError, match="1 no_text"):
        curate.run(configured(), run)


def test_a_folder_without_a_ledger_names_the_command(tmp_path: Path, configured: Callable[..., Config]) -> None:
    with pytest.raises(UserError, match="run `srt label` on this folder first"):
        curate.run(configured(), tmp_path)


def test_an_altered_ledger_is_refused(make_run: Callable[..., Path], configured: Callable[..., Config]) -> None:
    run = make_run(ANSWERS)
    (run / "labels.parquet").write_bytes((run / "labels.parquet").read_bytes() + b" ")
    with pytest.raises(UserError, match=r"labels\.parquet was altered since `srt label` wrote it"):
        curate.run(configured(), run)
    assert not (run / "curriculum.parquet").exists()


@pytest.mark.parametrize("split", ["test", "validation"])
def test_a_held_out_problem_never_enters_the_curriculum(
    make_run: Callable[..., Path], configured: Callable[..., Config], split: str
) -> None:
    run = make_run(ANSWERS, b={"split": split})
    curate.run(configured("curate.fraction=1.0"), run)
    chosen = read_table(run / "curriculum.parquet", CURRICULUM).column("problem_id").to_pylist()
    assert sorted(chosen) == ["a", "c"]
