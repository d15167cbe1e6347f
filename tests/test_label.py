"""From votes to the ledger, and labelling a file of samples that another engine made."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selftrain.answers import GRADER_VERSION, equivalent, gold_answer
from selftrain.data.errors import UserError
from selftrain.data.manifest import load
from selftrain.data.schemas import ANSWERS, LABELS, PROBLEMS, SAMPLES, TableSpec
from selftrain.data.store import as_table, content_of, read_table
from selftrain.stages import label
from selftrain.stages.config import Config
from selftrain.stages.generate import Request, Response, Sampling
from selftrain.stages.generate import run as generate
from selftrain.stages.label.ledger import Vote, ledger_row
from selftrain.stages.summary import Summary

RESPONSES = [r"So \boxed{4}", r"\boxed{4.0}", r"\boxed{5}", "no idea"]
VOTES = st.lists(
    st.builds(Vote, st.sampled_from([None, "1", "1.0", "2", r"\frac12", "0.5"]), st.booleans()), max_size=9
)


def row_of(answers: Iterable[str | None], gold: str | None = None, min_frequency: float = 0.0) -> dict[str, Any]:
    return ledger_row("p", [Vote(answer, truncated=False) for answer in answers], gold, min_frequency)


def outside(problem_id: str, responses: Iterable[str] = RESPONSES, **more: Any) -> list[dict[str, Any]]:
    return [{"problem_id": problem_id, "response": response, **more} for response in responses]


# The ledger of one problem.


def test_the_largest_class_is_the_label_with_every_count_behind_it() -> None:
    row = row_of(["0.5", "3", r"\frac12", None, "0.5"], gold=None)
    assert row["label"] == "0.5"
    assert row["reason"] is None
    assert row["classes"] == [
        {"answer": "0.5", "canonical": "1/2", "forms": ["1/2"], "count": 3, "correct": None},
        {"answer": "3", "canonical": "3", "forms": ["3"], "count": 1, "correct": None},
    ]
    assert (row["majority_count"], row["n_samples"], row["n_answered"]) == (3, 5, 4)
    assert (row["majority_frequency"], row["answered_frequency"]) == (3 / 5, 3 / 4)
    assert row["margin"] == pytest.approx(2 / 5)
    assert row["entropy"] == pytest.approx(0.5623351446)
    assert (row["pass_rate"], row["label_correct"], row["reward_accuracy"]) == (None, None, None)
    assert row["grader_version"] == GRADER_VERSION
    assert not row["tie"]


@pytest.mark.parametrize(
    ("answers", "reason", "tie"),
    [
        (["1", "2", "1", "2", "3"], "tie", True),
        (["1", "2"], "tie", True),
        ([None, None], "no_answers", False),
        ([], "no_samples", False),
    ],
)
def test_an_undecided_vote_abstains_and_says_why(answers: list[str | None], reason: str, tie: bool) -> None:
    row = row_of(answers)
    assert (row["label"], row["reason"], row["tie"]) == (None, reason, tie)
    assert row["n_samples"] == len(answers)


def test_a_majority_below_the_asked_frequency_abstains() -> None:
    answers = ["1", "1", "1", None, "2"]
    assert row_of(answers, min_frequency=0.6)["label"] == "1"
    row = row_of(answers, min_frequency=0.61)
    assert (row["label"], row["reason"]) == (None, "below_min_frequency")
    assert row["majority_frequency"] == 0.6
    assert row_of(["1", "2"], min_frequency=0.9)["reason"] == "tie"
    assert row_of([None], min_frequency=0.9)["reason"] == "no_answers"


def test_a_right_label_gives_the_same_rewards_as_gold() -> None:
    row = row_of(["4", "4.0", "4", "5", None], gold="4")
    assert (row["pass_rate"], row["label_correct"], row["reward_accuracy"]) == (0.6, True, 1.0)


def test_a_wrong_label_misrewards_its_own_votes_and_the_right_ones() -> None:
    row = row_of(["5", "5", "5", "4", "6", "6", None, None], gold="4")
    assert (row["label"], row["label_correct"]) == ("5", False)
    assert row["pass_rate"] == 1 / 8
    # Label and gold differ on the three 5s and the one 4, and agree (no reward) on the other four.
    assert row["reward_accuracy"] == 4 / 8


def test_an_abstention_has_a_pass_rate_and_no_label_to_judge() -> None:
    row = row_of(["4", "5"], gold="4")
    assert (row["pass_rate"], row["label_correct"], row["reward_accuracy"]) == (0.5, None, None)
    row = row_of([], gold="4")
    assert (row["pass_rate"], row["label_correct"]) == (None, None)
    assert row_of([None, None], gold="4")["pass_rate"] == 0.0


def test_the_gold_answer_is_taken_from_its_box() -> None:
    solution = r"We get $x = 2$, so the answer is \boxed{\frac{1}{2}}."
    assert gold_answer(solution) == r"\frac{1}{2}"
    assert gold_answer(" 42") == " 42"
    assert row_of(["0.5"], gold=solution)["label_correct"] is True


def test_truncated_samples_are_counted_whether_they_vote_or_not() -> None:
    row = ledger_row("p", [Vote("1", True), Vote(None, True), Vote("1", False)], None, 0.0)
    assert (row["n_truncated"], row["n_answered"], row["label"]) == (2, 2, "1")


@given(VOTES, st.sampled_from([None, "1", "0.5", "7"]), st.sampled_from([0.0, 0.5, 1.0]))
def test_the_ledger_agrees_with_counting_rewards_by_hand(
    votes: list[Vote], gold: str | None, min_frequency: float
) -> None:
    row = ledger_row("p", votes, gold, min_frequency)
    assert as_table([row], LABELS).num_rows == 1
    assert (row["label"] is None) == (row["reason"] is not None)

    def rewards(target: str) -> list[bool]:
        return [vote.answer is not None and equivalent(vote.answer, target) for vote in votes]

    if row["label"] is not None:
        assert sum(rewards(row["label"])) == row["majority_count"]
        assert row["majority_frequency"] >= min_frequency
    if gold is None or not votes:
        assert row["pass_rate"] is None
        return
    assert row["pass_rate"] == pytest.approx(sum(rewards(gold)) / len(votes))
    if row["label"] is not None:
        same = sum(a == b for a, b in zip(rewards(row["label"]), rewards(gold), strict=True))
        assert row["reward_accuracy"] == pytest.approx(same / len(votes))


# Samples of another engine.


@pytest.fixture
def relabel(tmp_path: Path, configured: Callable[..., Config]) -> Callable[..., Summary]:
    """Run the stage on the folder `run`, on a file of samples where one is given."""

    def relabel(file: Path | None, *overrides: str, overwrite: bool = False) -> Summary:
        paths = [f"samples.path={file}"] if file else []
        return label.run(configured(*paths, *overrides), tmp_path / "run", overwrite=overwrite)

    return relabel


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[TableSpec], list[dict[str, Any]]]:
    """The rows of one of the run's files."""
    return lambda spec: read_table(tmp_path / "run" / spec.name, spec).to_pylist()


@pytest.mark.parametrize("name", ["s.jsonl", "s.jsonl.gz", "s.parquet"])
def test_a_file_of_samples_becomes_answers_and_a_ledger(
    tmp_path: Path,
    write_rows: Callable[..., Path],
    relabel: Callable[..., Summary],
    stored: Callable[[TableSpec], list[dict[str, Any]]],
    name: str,
) -> None:
    rows = outside("b", problem="2 + 2?", answer="4", source="mine") + outside(
        "a", [r"\boxed{1}"] * 2 + [r"\boxed{2}"] * 2, problem="1?", answer="1", source="mine"
    )
    summary = relabel(write_rows(tmp_path / name, rows))
    assert (summary.file, summary.skipped) == (tmp_path / "run" / "labels.parquet", False)
    assert [(row["problem_id"], row["sample_index"], row["answer"]) for row in stored(ANSWERS)] == [
        ("a", 0, "1"), ("a", 1, "1"), ("a", 2, "2"), ("a", 3, "2"),
        ("b", 0, "4"), ("b", 1, "4.0"), ("b", 2, "5"), ("b", 3, None),
    ]  # fmt: skip
    assert [row["class_id"] for row in stored(ANSWERS)] == [0, 0, 1, 1, 0, 0, 1, None]
    assert [row["how"] for row in stored(ANSWERS)] == ["boxed"] * 7 + [None]
    first, second = stored(LABELS)
    assert (first["problem_id"], first["label"], first["reason"], first["pass_rate"]) == ("a", None, "tie", 0.5)
    assert (second["problem_id"], second["label"], second["label_correct"]) == ("b", "4", True)
    assert [(row["problem_id"], row["problem"], row["gold"]) for row in stored(PROBLEMS)] == [
        ("a", "1?", "1"), ("b", "2 + 2?", "4"),
    ]  # fmt: skip


def test_ids_and_responses_alone_are_enough(
    tmp_path: Path,
    write_rows: Callable[..., Path],
    relabel: Callable[..., Summary],
    stored: Callable[[TableSpec], list[dict[str, Any]]],
) -> None:
    relabel(write_rows(tmp_path / "s.jsonl", outside("a")))
    (row,) = stored(LABELS)
    assert (row["label"], row["n_samples"], row["pass_rate"]) == ("4", 4, None)
    assert stored(PROBLEMS)[0]["problem"] is None


def test_a_column_map_reaches_samples_and_problems(
    tmp_path: Path,
    write_rows: Callable[..., Path],
    relabel: Callable[..., Summary],
    stored: Callable[[TableSpec], list[dict[str, Any]]],
) -> None:
    rows = [
        {"key": "a", "reply": r"\boxed{3}", "text": r"\boxed{9}", "n": n, "why": why, "truth": "3", "task": "1 + 2?"}
        for n, why in ((1, "length"), (0, "stop"))
    ]
    columns = (
        "samples.columns={problem_id: key, response: reply, sample_index: n, finish_reason: why, gold: truth, "
        "problem: task}"
    )
    relabel(write_rows(tmp_path / "s.jsonl", rows), columns)
    assert [(row["sample_index"], row["truncated"]) for row in stored(ANSWERS)] == [(0, False), (1, True)]
    (row,) = stored(LABELS)
    assert (row["label"], row["label_correct"], row["n_truncated"]) == ("3", True, 1)
    assert stored(PROBLEMS)[0]["problem"] == "1 + 2?"


def test_a_truncated_response_without_a_complete_box_does_not_vote(
    tmp_path: Path,
    write_rows: Callable[..., Path],
    relabel: Callable[..., Summary],
    stored: Callable[[TableSpec], list[dict[str, Any]]],
) -> None:
    responses = ["The answer is 12", r"\boxed{12", r"\boxed{12} and more"]
    rows = outside("a", responses, finish_reason="length") + outside("b", responses[:1], finish_reason="stop")
    relabel(write_rows(tmp_path / "s.jsonl", rows), "answers.rules=[boxed, answer_is]")
    assert [row["answer"] for row in stored(ANSWERS)] == [None, None, "12", "12"]
    assert [row["how"] for row in stored(ANSWERS)] == [None, None, "boxed", "answer_is"]


def test_indices_are_counted_within_a_problem_where_the_file_has_none(
    tmp_path: Path,
    write_rows: Callable[..., Path],
    relabel: Callable[..., Summary],
    stored: Callable[[TableSpec], list[dict[str, Any]]],
) -> None:
    rows = [*outside("a", [r"\boxed{1}"]), *outside("b", [r"\boxed{2}"]), *outside("a", [r"\boxed{3}"])]
    relabel(write_rows(tmp_path / "s.jsonl", rows))
    assert [(row["problem_id"], row["sample_index"], row["answer"]) for row in stored(ANSWERS)] == [
        ("a", 0, "1"), ("a", 1, "3"), ("b", 0, "2"),
    ]  # fmt: skip


def test_the_order_of_an_indexed_file_does_not_matter(
    tmp_path: Path,
    write_rows: Callable[..., Path],
    configured: Callable[..., Config],
) -> None:
    rows = [{**row, "sample_index": n} for key in "ab" for n, row in enumerate(outside(key))]
    for name, ordered in (("one", rows), ("two", rows[::-1])):
        file = write_rows(tmp_path / f"{name}.jsonl", ordered)
        label.run(configured(f"samples.path={file}"), tmp_path / name)
    for spec in (ANSWERS, LABELS):
        one, two = (read_table(tmp_path / name / spec.name, spec) for name in ("one", "two"))
        assert content_of([one], spec) == content_of([two], spec)


def no_response(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        row["reply"] = row.pop("response")


def no_id(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        row["key"] = row.pop("problem_id")


def number(rows: list[dict[str, Any]]) -> None:
    rows[2]["response"] = 7


def null(rows: list[dict[str, Any]]) -> None:
    rows[2]["response"] = None


def twice(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        row["sample_index"] = 0


def negative(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        row["sample_index"] = -1


def no_number(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        row["sample_index"] = "first"


def a_half(rows: list[dict[str, Any]]) -> None:
    for place, row in enumerate(rows):
        row["sample_index"] = place + 0.5


def huge(rows: list[dict[str, Any]]) -> None:
    for place, row in enumerate(rows):
        row["sample_index"] = place + 2**31


def half_a_pair(rows: list[dict[str, Any]]) -> None:
    rows[2]["response"] = "\\boxed{\ud83d}"


def two_golds(rows: list[dict[str, Any]]) -> None:
    for place, row in enumerate(rows):
        row["gold"] = str(place)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (no_response, "has no response: looked for columns response, completion, output, generation, text among"),
        (no_id, "problem id"),
        (number, "row 3: the response is int, not text"),
        (null, "row 3: the response is NoneType, not text"),
        (twice, "row 2: sample 0 of problem 'a' appears twice"),
        (negative, "row 1: sample_index -1 is negative"),
        (no_number, "row 1: sample_index 'first' is not a whole number"),
        (a_half, "row 1: sample_index 0.5 is not a whole number"),
        (huge, "row 1: sample_index 2147483648"),
        (half_a_pair, "row 3"),
        (two_golds, "row 2: problem id 'a' appears twice, with different gold"),
        (list.clear, "holds no problems"),
    ],
)
def test_a_file_that_cannot_be_labelled_is_refused_before_anything_is_written(
    tmp_path: Path,
    write_rows: Callable[..., Path],
    relabel: Callable[..., Summary],
    spoil: Callable[[list[dict[str, Any]]], None],
    said: str,
) -> None:
    rows = outside("a")
    spoil(rows)
    file = write_rows(tmp_path / "s.jsonl", rows)
    with pytest.raises(UserError) as refusal:
        relabel(file)
    assert said in str(refusal.value)
    assert str(file) in str(refusal.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("columns", ["response: reply", "finish_reason: why", "gold: truth"])
def test_a_mapped_column_that_is_absent_is_named(
    tmp_path: Path, write_rows: Callable[..., Path], relabel: Callable[..., Summary], columns: str
) -> None:
    with pytest.raises(UserError, match=f"has no column '{columns.split()[1]}'"):
        relabel(write_rows(tmp_path / "s.jsonl", outside("a")), f"samples.columns={{{columns}}}")
    assert not (tmp_path / "run").exists()


def test_an_unknown_field_of_the_map_is_named_where_it_stands(
    tmp_path: Path, write_rows: Callable[..., Path], relabel: Callable[..., Summary]
) -> None:
    with pytest.raises(UserError, match=r"samples\.columns maps respnse; the fields are response, sample_index"):
        relabel(write_rows(tmp_path / "s.jsonl", outside("a")), "samples.columns={respnse: x}")


def test_a_missing_file_and_a_run_without_samples_are_refused(tmp_path: Path, relabel: Callable[..., Summary]) -> None:
    with pytest.raises(UserError, match=r"samples\.path: .*none\.jsonl does not exist"):
        relabel(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match="no finished samples: run `srt generate`"):
        relabel(None)
    assert not (tmp_path / "run").exists()


def test_labels_of_unknown_origin_are_refused_before_the_answers_are_written(
    tmp_path: Path, write_rows: Callable[..., Path], relabel: Callable[..., Summary]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "labels.parquet").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"labels\.parquet exists but no manifest says how it was made"):
        relabel(write_rows(tmp_path / "s.jsonl", outside("a")))
    assert [path.name for path in run.iterdir()] == ["labels.parquet"]


def test_an_empty_response_of_a_csv_is_a_response_without_an_answer(
    tmp_path: Path, relabel: Callable[..., Summary], stored: Callable[[TableSpec], list[dict[str, Any]]]
) -> None:
    (tmp_path / "s.csv").write_text("problem_id,response\na,\\boxed{1}\na,\n", "utf-8")
    relabel(tmp_path / "s.csv")
    assert [row["answer"] for row in stored(ANSWERS)] == ["1", None]


def test_two_ids_with_one_text_lose_no_sample(
    tmp_path: Path,
    write_rows: Callable[..., Path],
    relabel: Callable[..., Summary],
    stored: Callable[[TableSpec], list[dict[str, Any]]],
) -> None:
    file = write_rows(tmp_path / "s.jsonl", outside("a", problem="2 + 2?") + outside("b", problem="2 + 2?"))
    try:
        relabel(file)
    except UserError:
        assert not (tmp_path / "run").exists()
        return
    assert sum(row["n_samples"] for row in stored(LABELS)) == 8


def test_a_second_run_is_a_skip(
    tmp_path: Path,
    write_rows: Callable[..., Path],
    relabel: Callable[..., Summary],
    snapshot: Callable[[Path], dict[str, bytes]],
) -> None:
    file = write_rows(tmp_path / "s.jsonl", outside("a"))
    first = relabel(file)
    before = snapshot(tmp_path / "run")
    second = relabel(file)
    assert second.skipped
    assert second.lines == first.lines
    assert snapshot(tmp_path / "run") == before


def test_another_label_rule_redoes_the_ledger_but_not_the_answers(
    tmp_path: Path,
    write_rows: Callable[..., Path],
    relabel: Callable[..., Summary],
    snapshot: Callable[[Path], dict[str, bytes]],
    stored: Callable[[TableSpec], list[dict[str, Any]]],
) -> None:
    file = write_rows(tmp_path / "s.jsonl", outside("a"))
    relabel(file)
    run = tmp_path / "run"
    before = snapshot(run)
    with pytest.raises(UserError, match=r"label\.min_frequency: 0\.0 -> 0\.9"):
        relabel(file, "label.min_frequency=0.9")
    assert snapshot(run) == before
    written = (run / "answers.parquet").stat().st_mtime_ns
    relabel(file, "label.min_frequency=0.9", overwrite=True)
    after = snapshot(run)
    assert [name for name in after if after[name] != before[name]] == ["labels.json", "labels.parquet"]
    assert (run / "answers.parquet").stat().st_mtime_ns == written
    assert [row["reason"] for row in stored(LABELS)] == ["below_min_frequency"]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("answers.rules=[hash]", "answers.rules"),
        ("samples.columns={response: response, level: id2}", "samples.columns"),
    ],
)
def test_another_way_to_read_the_samples_is_refused(
    tmp_path: Path, write_rows: Callable[..., Path], relabel: Callable[..., Summary], override: str, said: str
) -> None:
    file = write_rows(tmp_path / "s.jsonl", outside("a", id2="x"))
    relabel(file)
    with pytest.raises(UserError, match=said):
        relabel(file, override)


def test_another_marker_of_gold_is_not_taken_for_the_same_labels(
    tmp_path: Path,
    write_rows: Callable[..., Path],
    relabel: Callable[..., Summary],
    stored: Callable[[TableSpec], list[dict[str, Any]]],
) -> None:
    file = write_rows(tmp_path / "s.jsonl", outside("a", answer="2 + 2 = 4\n#### 4"))
    relabel(file)
    assert stored(LABELS)[0]["label_correct"] is False
    with pytest.raises(UserError, match="gold_after"):
        relabel(file, "problems.gold_after='####'")
    relabel(file, "problems.gold_after='####'", overwrite=True)
    assert stored(LABELS)[0]["label_correct"] is True


def test_another_file_is_refused_as_an_input(
    tmp_path: Path, write_rows: Callable[..., Path], relabel: Callable[..., Summary]
) -> None:
    relabel(write_rows(tmp_path / "s.jsonl", outside("a")))
    with pytest.raises(UserError, match="input samples has changed"):
        relabel(write_rows(tmp_path / "s.jsonl", outside("a")[1:]))


@pytest.mark.parametrize("name", ["labels.parquet", "answers.parquet"])
def test_an_output_that_vanished_is_made_again_as_the_message_says(
    tmp_path: Path, write_rows: Callable[..., Path], relabel: Callable[..., Summary], name: str
) -> None:
    file = write_rows(tmp_path / "s.jsonl", outside("a"))
    relabel(file)
    path = tmp_path / "run" / name
    before = path.read_bytes()
    path.unlink()
    relabel(file, overwrite=True)
    assert path.read_bytes() == before


# Samples of the run itself.


class Counting:
    """Sample i of a problem says i, the last one is cut off."""

    def generate(self, requests: list[Request], sampling: Sampling) -> list[list[Response]]:
        return [
            [Response(rf"\boxed{{{i // 2}}}", 3, "length" if i == r.n - 1 else "stop") for i in range(r.n)]
            for r in requests
        ]

    def close(self) -> None:
        return


@pytest.fixture
def generated(
    tmp_path: Path, write_rows: Callable[..., Path], model_folder: Path, configured: Callable[..., Config]
) -> Path:
    rows: list[Mapping[str, Any]] = [
        {"id": key, "problem": f"{key} ?", "answer": "0", "split": split}
        for key, split in (("a", "train"), ("b", "train"), ("c", "test"))
    ]
    rows.append({"id": "z", "problem": "word " * 600, "answer": "1", "split": "train"})
    file = write_rows(tmp_path / "p.jsonl", rows)
    config = configured(
        f"problems.path={file}", f"model.path={model_folder}", "generate.samples=3", "generate.max_tokens=64",
        "generate.chunk_size=1",
    )  # fmt: skip
    generate(config, tmp_path / "run", engine=Counting())  # type: ignore[arg-type]
    return tmp_path / "run"


def test_generated_samples_are_labelled_and_unsampled_training_problems_listed(
    generated: Path, relabel: Callable[..., Summary], stored: Callable[[TableSpec], list[dict[str, Any]]]
) -> None:
    relabel(None)
    assert [(row["problem_id"], row["label"], row["reason"]) for row in stored(LABELS)] == [
        ("a", "0", None), ("b", "0", None), ("z", None, "no_samples"),
    ]  # fmt: skip
    assert [row["truncated"] for row in stored(ANSWERS)] == [False, False, True] * 2
    assert load(generated / "labels.json").summary["abstained"] == {"no_samples": 1}
    assert load(generated / "labels.json").summary["label_accuracy"] == 1.0


def test_an_altered_chunk_is_refused(generated: Path, relabel: Callable[..., Summary]) -> None:
    path = generated / "samples" / "chunk-00001.parquet"
    table = pq.read_table(path)
    texts = pa.array([r"\boxed{9}"] * table.num_rows)
    pq.write_table(table.set_column(2, SAMPLES.schema.field("response"), texts), path)
    with pytest.raises(UserError, match=r"chunk-00001\.parquet was altered since `srt generate` wrote it"):
        relabel(None)
    assert not (generated / "answers.parquet").exists()


def test_a_file_is_not_labelled_into_a_generated_run(
    tmp_path: Path, generated: Path, write_rows: Callable[..., Path], relabel: Callable[..., Summary]
) -> None:
    with pytest.raises(UserError, match="holds generated samples"):
        relabel(write_rows(tmp_path / "s.jsonl", outside("a")), overwrite=True)
    assert json.loads((generated / "samples.json").read_text("utf-8"))


def test_a_damaged_memo_of_verdicts_is_a_users_error(
    tmp_path: Path, write_rows: Callable[..., Path], relabel: Callable[..., Summary]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "verdicts.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(UserError, match=r"verdicts\.parquet is damaged: delete it"):
        relabel(write_rows(tmp_path / "s.jsonl", outside("a")))
