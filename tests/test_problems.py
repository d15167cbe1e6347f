"""Problems from anywhere: columns, merging, refusals and splits."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selftrain.data.errors import UserError
from selftrain.data.problems import BUILTIN, Problems, open_source, read_problems
from selftrain.data.schemas import PROBLEMS
from selftrain.data.tabular import read_rows

HELD_OUT = {"validation": 0.1, "test": 0.25}


def read(rows: Iterable[Mapping[str, Any]], where: str = "own.jsonl", **how: Any) -> Problems:
    return read_problems(rows, where=where, **how)


def table(rows: Iterable[Mapping[str, Any]], **how: Any) -> list[dict[str, Any]]:
    return read(rows, **how).table.to_pylist()


def refused(rows: Iterable[Mapping[str, Any]], **how: Any) -> str:
    with pytest.raises(UserError) as refusal:
        read(rows, **how)
    return str(refusal.value)


def source_of(**values: Any) -> tuple[Any, str]:
    return open_source(**{"path": None, "hub": None, "subset": None, "hub_split": "train", "revision": None, **values})


def test_usual_columns_are_found_without_a_map() -> None:
    rows = [{"unique_id": 7, "question": " How many? ", "answer": 12, "difficulty": 3, "split": "test", "more": [1]}]
    assert table(rows) == [
        {"problem_id": "7", "problem": "How many?", "gold": "12", "source": "own", "level": "3", "split": "test"}
    ]


def test_the_table_has_the_schema_of_the_contract() -> None:
    assert read([{"problem": "p"}]).table.schema == PROBLEMS.schema


def test_a_column_map_goes_before_the_usual_names() -> None:
    rows = [{"problem": "wrong", "text": "right", "answer": "wrong", "solution": "right"}]
    (row,) = table(rows, columns={"problem": "text", "gold": "solution"})
    assert (row["problem"], row["gold"]) == ("right", "right")


def test_a_mapped_column_that_is_absent_is_named_with_those_there_are() -> None:
    said = refused([{"problem": "p", "x": 1}], columns={"gold": "solution"})
    assert "own.jsonl has no column 'solution' (mapped to gold)" in said
    assert "problem, x" in said


def test_an_unknown_field_in_the_map_is_named_with_the_known_ones() -> None:
    said = refused([{"problem": "p"}], columns={"answer": "a"})
    assert "maps answer" in said
    assert "problem_id, problem, gold, source, level, split" in said


def test_missing_text_says_what_was_looked_for_and_what_is_there() -> None:
    said = refused([{"body": "p", "gold": "1"}])
    assert "looked for columns problem, question, Problem, prompt among body, gold" in said
    assert "--set problems.columns.problem=NAME" in said


@pytest.mark.parametrize("text", ["", "  \n", None])
def test_an_empty_problem_is_named_by_its_row(text: str | None) -> None:
    assert "row 2 has an empty problem" in refused([{"problem": "p"}, {"problem": text}])


def test_text_may_be_missing_where_only_samples_are_known() -> None:
    (row,) = table([{"id": "a", "response": "r"}], from_samples=True)
    assert (row["problem_id"], row["problem"], row["gold"], row["split"]) == ("a", None, None, "train")


def test_an_empty_id_is_named_by_its_row() -> None:
    assert "row 2 has an empty problem id" in refused([{"id": "a", "problem": "p"}, {"id": " ", "problem": "q"}])


@pytest.mark.parametrize("value", [["p"], {"content": "p"}, b"p"])
def test_a_value_that_is_no_text_is_named(value: Any) -> None:
    said = refused([{"prompt": value}])
    assert "row 1: column 'prompt' holds a " in said


def test_no_rows_are_refused() -> None:
    assert "own.jsonl holds no problems" in refused([])


def test_the_gold_answer_is_taken_from_behind_the_last_marker() -> None:
    rows = [{"problem": "p", "answer": "3 #### 4 = 12\n#### 12 "}]
    assert table(rows, gold_after="####")[0]["gold"] == "12"
    assert table([{"problem": "p", "answer": "12 ####"}], gold_after="####")[0]["gold"] is None
    assert table([{"problem": "p", "answer": None}], gold_after="####")[0]["gold"] is None
    said = refused([*rows, {"problem": "q", "answer": "12"}], gold_after="####")
    assert "row 2: gold has no '####' (problems.gold_after)" in said


def test_a_limit_keeps_the_first_rows_and_reads_no_further() -> None:
    def rows() -> Iterable[Mapping[str, Any]]:
        yield {"id": "b", "problem": "p"}
        yield {"id": "a", "problem": "q"}
        yield {"id": "b", "problem": "another"}

    assert [row["problem_id"] for row in table(rows(), limit=2)] == ["a", "b"]
    with pytest.raises(UserError):
        read(rows(), limit=3)


def test_repeated_rows_are_merged_and_counted() -> None:
    rows = [{"problem": "p", "gold": "1"}, {"problem": "q", "gold": "2"}] * 50
    problems = read(rows)
    assert (problems.table.num_rows, problems.merged, problems.n_gold) == (2, 98, 2)


def test_the_same_text_under_two_ids_is_one_problem() -> None:
    problems = read([{"id": "a", "problem": "p"}, {"id": "b", "problem": " p "}])
    assert problems.table.column("problem_id").to_pylist() == ["a"]
    assert problems.merged == 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"problem": "q"}, "problem id 'a' appears twice, with different problem"),
        ({"gold": "2"}, "problem id 'a' appears twice, with different gold"),
        ({"split": "test"}, "problem id 'a' appears twice, with different split"),
        ({"id": "b", "gold": "2"}, "the text of problem 'a' appears twice, with different gold"),
        ({"id": "b", "gold": None}, "the text of problem 'a' appears twice, with different gold"),
        ({"id": "b", "split": "test"}, "the text of problem 'a' appears twice, with different split"),
    ],
)
def test_rows_that_contradict_each_other_are_refused(changed: Mapping[str, Any], said: str) -> None:
    first = {"id": "a", "problem": "p", "gold": "1", "split": "train"}
    rows = [first, {"id": "c", "problem": "other"}, {**first, **changed}]
    assert f"own.jsonl row 3: {said}" in refused(rows)


def test_a_new_id_with_the_text_of_another_known_problem_is_refused() -> None:
    rows = [{"id": "a", "problem": "p", "gold": "1"}, {"id": "b", "problem": "q", "gold": "2"}]
    assert "with different problem" in refused([*rows, {"id": "b", "problem": "p", "gold": "1"}])


def test_an_id_that_was_merged_into_another_keeps_its_text() -> None:
    rows = [{"id": "a", "problem": "p"}, {"id": "b", "problem": "p"}, {"id": "b", "problem": "q"}]
    assert "problem id 'b' appears twice, with different problem" in refused(rows)


def test_ids_are_a_stable_hash_of_source_and_text() -> None:
    (row,) = table([{"problem": "Compute 3 + 7."}], where="some/folder/own.v2.jsonl")
    assert row["problem_id"] == hashlib.sha256(b"own\nCompute 3 + 7.").hexdigest()[:16] == "cab235b228d5c1be"
    assert (
        table([{"problem": " Compute 3 + 7. \n", "source": "own"}], where="x.csv")[0]["problem_id"] == row["problem_id"]
    )
    assert table([{"problem": "Compute 3 + 7."}], where="other.jsonl")[0]["problem_id"] != row["problem_id"]


def test_gold_is_optional_and_counted() -> None:
    problems = read([{"problem": "p", "gold": ""}, {"problem": "q", "gold": "1"}, {"problem": "r", "gold": None}])
    assert problems.n_gold == 1
    assert read([{"problem": "p"}]).n_gold == 0


def test_a_column_that_the_first_row_lacks_is_not_silently_dropped() -> None:
    rows = [{"id": "a", "problem": "p"}, {"id": "b", "problem": "q", "gold": "5", "split": "test"}]
    try:
        found = {row["problem_id"]: row for row in table(rows)}
    except UserError:
        return
    assert (found["b"]["gold"], found["b"]["split"]) == ("5", "test")


def test_text_that_no_file_can_hold_is_a_users_error() -> None:
    with pytest.raises(UserError):
        read([{"problem": "half a surrogate pair: \ud83d"}])


def test_a_split_column_decides_alone() -> None:
    rows = [{"id": str(n), "problem": str(n), "split": "test" if n < 2 else None} for n in range(10)]
    splits = [row["split"] for row in table(rows, held_out=HELD_OUT)]
    assert splits == ["test"] * 2 + ["train"] * 8


@settings(max_examples=50)
@given(n=st.integers(min_value=1, max_value=60), seed=st.integers(min_value=0, max_value=3), data=st.data())
def test_held_out_shares_do_not_depend_on_the_order_of_rows(n: int, seed: int, data: st.DataObject) -> None:
    rows = [{"id": f"p{number}", "problem": f"text {number}"} for number in range(n)]
    expected = table(rows, held_out=HELD_OUT, seed=seed)
    assert table(data.draw(st.permutations(rows)), held_out=HELD_OUT, seed=seed) == expected
    splits = [row["split"] for row in expected]
    for split, share in HELD_OUT.items():
        size = round(share * n)
        assert splits.count(split) == (1 if size == 0 and n >= 4 else size)
    assert splits.count("train") == n - splits.count("validation") - splits.count("test")


def test_another_seed_holds_out_other_problems() -> None:
    rows = [{"id": str(n), "problem": str(n)} for n in range(40)]
    assert table(rows, held_out=HELD_OUT, seed=0) != table(rows, held_out=HELD_OUT, seed=1)
    assert {row["split"] for row in table(rows, held_out={"test": 0.0})} == {"train"}
    assert {row["split"] for row in table(rows)} == {"train"}


def test_a_row_more_changes_few_splits() -> None:
    rows = [{"id": str(n), "problem": str(n)} for n in range(101)]
    before = {row["problem_id"]: row["split"] for row in table(rows[:100], held_out={"test": 0.2})}
    after = {row["problem_id"]: row["split"] for row in table(rows, held_out={"test": 0.2})}
    assert sum(before[key] != after[key] for key in before) <= 1


def test_a_file_is_opened_by_its_path(tmp_path: Path, write_rows: Callable[..., Path]) -> None:
    path = write_rows(tmp_path / "mine.jsonl.gz", [{"problem": "p", "gold": "1"}])
    rows, where = source_of(path=str(path))
    assert where == str(path)
    assert table(rows, where=where)[0]["source"] == "mine"


def test_the_built_in_problems_are_read_by_their_name() -> None:
    rows, where = source_of(path=BUILTIN)
    problems = read(rows, where=where)
    assert (problems.merged, problems.n_gold) == (0, problems.table.num_rows)
    assert {"train", "validation", "test"} <= set(problems.table.column("split").to_pylist())


def test_no_source_and_two_sources_are_refused() -> None:
    with pytest.raises(UserError, match=r"set problems\.path .*or problems\.hub"):
        source_of()
    with pytest.raises(UserError, match="both set"):
        source_of(path="a.jsonl", hub="org/name")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    rows, _ = source_of(path=str(tmp_path / "none.jsonl"))
    with pytest.raises(UserError, match=r"none\.jsonl does not exist"):
        list(rows)


def test_a_broken_line_of_a_file_stops_the_reading(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"problem": "p"}\n{"problem"\n', "utf-8")
    with pytest.raises(UserError, match="line 2"):
        read(read_rows(path))
