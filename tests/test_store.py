"""Files: what an interrupted write leaves, and what the content digest does and does not see."""

import hashlib
import math
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selftrain.data import schemas
from selftrain.data.errors import UserError
from selftrain.data.schemas import CURRICULUM, LABELS, SAMPLES, TableSpec
from selftrain.data.store import (
    as_table,
    atomic,
    canonical_json,
    content_of,
    digest_of,
    file_metadata,
    read_table,
    sha256_of,
    write_json,
    write_table,
)

TEXT = st.text(max_size=30)
INT32 = st.integers(min_value=-(2**31), max_value=2**31 - 1)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
ANSWER_CLASS = st.fixed_dictionaries(
    {
        "answer": TEXT,
        "canonical": TEXT,
        "forms": st.lists(TEXT, max_size=2),
        "count": INT32,
        "correct": st.none() | st.booleans(),
    }
)


def value_of(field: pa.Field) -> st.SearchStrategy[Any]:
    kinds: dict[pa.DataType, st.SearchStrategy[Any]] = {
        pa.string(): TEXT,
        pa.int32(): INT32,
        pa.int64(): st.integers(min_value=-(2**63), max_value=2**63 - 1),
        pa.float64(): FINITE,
        pa.bool_(): st.booleans(),
        CURRICULUM.schema.field("label_forms").type: st.lists(TEXT, max_size=3),
    }
    value = kinds[field.type] if field.type in kinds else st.lists(ANSWER_CLASS, max_size=3)
    return st.none() | value if field.nullable else value


def rows_of(spec: TableSpec) -> st.SearchStrategy[list[dict[str, Any]]]:
    row = st.fixed_dictionaries({field.name: value_of(field) for field in spec.schema})
    return st.lists(row, max_size=6, unique_by=lambda row: tuple(row[column] for column in spec.key))


def sample(index: int = 0, **values: Any) -> dict[str, Any]:
    fixed = {"problem_id": "p", "response": "r", "n_tokens": 1, "finish_reason": "stop", "seed": 7}
    return {**fixed, "sample_index": index, **values}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_finished_block_replaces_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "made" / "a.txt"
    for text in ("old", "new"):
        with atomic(target) as temporary:
            temporary.write_text(text)
    assert target.read_text() == "new"
    assert names(target.parent) == ["a.txt"]


def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: order.append("fsync") or fsync(handle))
    monkeypatch.setattr(os, "replace", lambda *paths: order.append("replace") or replace(*paths))
    write_json(tmp_path / "a.json", {})
    assert order[:2] == ["fsync", "replace"]


@pytest.mark.parametrize("old", ["old", None])
def test_a_block_that_raises_leaves_what_was_there_before(tmp_path: Path, old: str | None) -> None:
    target = tmp_path / "a.txt"
    if old is not None:
        target.write_text(old)

    def interrupted() -> None:
        with atomic(target) as temporary:
            temporary.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(tmp_path) == ([] if old is None else ["a.txt"])
    assert old is None or target.read_text() == old


def test_the_target_is_untouched_while_the_block_runs(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with atomic(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
        assert temporary.parent == tmp_path


def test_a_failing_write_json_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_json(target, {"a": "ä"})
    before = target.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        write_json(target, {"a": math.nan})
    with pytest.raises(TypeError):
        write_json(target, {"a": Path("x")})
    assert target.read_bytes() == before
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("spec", schemas.ALL, ids=lambda spec: spec.name)
@settings(max_examples=15)
@given(data=st.data())
def test_every_schema_survives_a_file(
    tmp_path_factory: pytest.TempPathFactory, spec: TableSpec, data: st.DataObject
) -> None:
    rows = data.draw(rows_of(spec))
    path = tmp_path_factory.mktemp("store") / "t.parquet"
    table = as_table(rows, spec)
    write_table(path, table, spec, {"a": "ü"})
    read = read_table(path, spec)
    assert read.to_pylist() == rows
    assert content_of([read], spec) == content_of([table], spec)
    assert file_metadata(path)["a"] == "ü"


@settings(max_examples=50)
@given(rows=rows_of(SAMPLES), data=st.data())
def test_the_digest_does_not_depend_on_the_order_of_rows(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(rows))
    assert content_of([as_table(shuffled, SAMPLES)], SAMPLES) == content_of([as_table(rows, SAMPLES)], SAMPLES)


@settings(max_examples=50)
@given(rows=rows_of(SAMPLES), data=st.data())
def test_the_digest_does_not_depend_on_how_rows_are_cut(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    rows.sort(key=lambda row: (row["problem_id"].encode(), row["sample_index"]))
    at = data.draw(st.integers(min_value=0, max_value=len(rows)))
    whole = as_table(rows, SAMPLES)
    parts = [as_table(rows[:at], SAMPLES), as_table(rows[at:], SAMPLES)]
    assert content_of(parts, SAMPLES) == content_of([whole], SAMPLES)
    assert content_of([pa.concat_tables(parts)], SAMPLES) == content_of([whole], SAMPLES)


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip"])
def test_the_digest_does_not_depend_on_the_files_form(tmp_path: Path, compression: str) -> None:
    table = as_table([sample(i, response=f"é {i}") for i in range(50)], SAMPLES)
    write_table(tmp_path / "ours.parquet", table, SAMPLES)
    pq.write_table(table, tmp_path / "theirs.parquet", compression=compression, row_group_size=7)
    ours, theirs = (read_table(tmp_path / name, SAMPLES) for name in ("ours.parquet", "theirs.parquet"))
    assert content_of([ours], SAMPLES) == content_of([theirs], SAMPLES)
    assert sha256_of(tmp_path / "ours.parquet") != sha256_of(tmp_path / "theirs.parquet")


@settings(max_examples=60)
@given(rows=rows_of(LABELS).filter(bool), data=st.data())
def test_the_digest_changes_with_any_value(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    at = data.draw(st.integers(min_value=0, max_value=len(rows) - 1))
    field = data.draw(st.sampled_from([field for field in LABELS.schema if field.name != "problem_id"]))
    # repr tells -0.0 from 0.0, as the digest does.
    value = data.draw(value_of(field).filter(lambda value: repr(value) != repr(rows[at][field.name])))
    changed = [{**row, field.name: value} if number == at else row for number, row in enumerate(rows)]
    assert content_of([as_table(changed, LABELS)], LABELS) != content_of([as_table(rows, LABELS)], LABELS)


def test_the_digest_sees_a_missing_row_and_a_row_too_many() -> None:
    one, two = as_table([sample(0)], SAMPLES), as_table([sample(0), sample(1)], SAMPLES)
    assert content_of([one], SAMPLES) != content_of([two], SAMPLES)
    assert content_of([], SAMPLES) != content_of([one], SAMPLES)
    assert content_of([], SAMPLES) == content_of([as_table([], SAMPLES)], SAMPLES)


def test_the_digest_is_that_of_the_rows_as_json_lines_in_key_order() -> None:
    table = as_table([sample(1, response="zwölf"), sample(0)], SAMPLES)
    lines = (
        '{"finish_reason":"stop","n_tokens":1,"problem_id":"p","response":"r","sample_index":0,"seed":7}\n'
        '{"finish_reason":"stop","n_tokens":1,"problem_id":"p","response":"zw\\u00f6lf","sample_index":1,"seed":7}\n'
    )
    assert content_of([table], SAMPLES) == hashlib.sha256(lines.encode("ascii")).hexdigest()


@pytest.mark.parametrize("column", [field.name for field in SAMPLES.schema])
def test_a_column_without_a_value_is_refused_by_name(column: str) -> None:
    with pytest.raises(ValueError, match=column):
        as_table([sample(0), sample(1, **{column: None})], SAMPLES)
    row = sample(0)
    del row[column]
    with pytest.raises(ValueError, match=column):
        as_table([row], SAMPLES)


def test_values_that_do_not_fit_their_column_are_refused() -> None:
    with pytest.raises((pa.ArrowException, OverflowError)):
        as_table([sample(2**31)], SAMPLES)
    with pytest.raises((pa.ArrowException, TypeError)):
        as_table([sample(0, response=5)], SAMPLES)


def test_a_table_of_another_kind_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="columns"):
        write_table(tmp_path / "t.parquet", as_table([], SAMPLES), LABELS)
    assert names(tmp_path) == []


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.parquet does not exist"):
        read_table(tmp_path / "none.parquet", SAMPLES)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.99])
def test_a_torn_file_is_named(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "t.parquet"
    write_table(path, as_table([sample(i) for i in range(20)], SAMPLES), SAMPLES)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(UserError, match=r"t\.parquet cannot be read as parquet.*--overwrite"):
        read_table(path, SAMPLES)


def test_a_file_with_other_columns_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_table(path, as_table([], SAMPLES), SAMPLES)
    with pytest.raises(UserError, match=r"t\.parquet does not have the columns of labels\.parquet"):
        read_table(path, LABELS)


def test_a_write_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    table = as_table([sample(i) for i in range(20)], SAMPLES)
    for name in ("a", "b"):
        write_table(tmp_path / name, table, SAMPLES, {"k": "v"})
    assert sha256_of(tmp_path / "a") == sha256_of(tmp_path / "b")


@pytest.mark.parametrize("value", [math.nan, math.inf, Path("x"), {1, 2}, b"x", object()], ids=repr)
def test_a_value_without_one_spelling_has_no_digest(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        canonical_json({"a": [value]})


def test_the_order_of_keys_does_not_change_a_digest() -> None:
    assert digest_of({"a": 1, "b": [1, "ü"]}) == digest_of({"b": [1, "ü"], "a": 1})
    assert digest_of({"a": 1, "b": [1, "ü"]}) != digest_of({"a": 1, "b": ["ü", 1]})
    assert canonical_json({"b": [1, "ü"], "a": None}) == '{"a":null,"b":[1,"\\u00fc"]}'


def test_the_table_of_the_readme_lists_every_column() -> None:
    lines = schemas.markdown().splitlines()
    assert len(lines) == 2 + len(schemas.ALL)
    for spec, line in zip(schemas.ALL, lines[2:], strict=True):
        assert spec.name in line
        assert all(field.name in line for field in spec.schema)
        assert set(spec.key) <= set(spec.schema.names)


@pytest.mark.parametrize(
    "classes", [[None], [{"answer": None, "canonical": "x", "forms": [], "count": 1}]], ids=["class", "answer"]
)
def test_a_missing_value_inside_a_list_is_refused_as_well(classes: list[Any]) -> None:
    row: dict[str, Any] = {field.name: None for field in LABELS.schema}
    for name in ("majority_count", "majority_frequency", "answered_frequency", "margin", "entropy"):
        row[name] = 0
    row |= dict.fromkeys(("n_samples", "n_answered", "n_truncated"), 0)
    row |= {"problem_id": "p", "grader_version": "1", "tie": False, "unsure": False}
    assert as_table([{**row, "classes": []}], LABELS).num_rows == 1
    with pytest.raises((ValueError, pa.ArrowException)):
        as_table([{**row, "classes": classes}], LABELS)
