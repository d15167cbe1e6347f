"""Rows from the files that people have."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selftrain.data.errors import UserError
from selftrain.data.tabular import pick_column, read_rows

ROWS = [{"id": "1", "text": 'größe, "quoted"\nnext line'}, {"id": "2", "text": None}]
CSV = 'id,text\n1,"größe, ""quoted""\nnext line"\n2,\n'


def refused(path: Path) -> str:
    with pytest.raises(UserError) as refusal:
        list(read_rows(path))
    assert path.name in str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.jsonl.gz", "A.JSONL"])
def test_rows_come_back_as_they_were_written(tmp_path: Path, write_rows: Callable[..., Path], name: str) -> None:
    assert list(read_rows(write_rows(tmp_path / name, ROWS))) == ROWS


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_an_empty_field_of_a_csv_is_a_missing_value(tmp_path: Path, name: str) -> None:
    data = CSV.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert list(read_rows(tmp_path / name)) == ROWS


def test_csv_of_windows_reads_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,text\r\n1,x\r\n\r\n2,y\r\n")
    assert list(read_rows(tmp_path / "a.csv")) == [{"id": "1", "text": "x"}, {"id": "2", "text": "y"}]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path, name: str) -> None:
    text = "id,text\n1,x\n" if name == "a.csv" else '{"id": "1", "text": "x"}\n'
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert list(read_rows(tmp_path / name)) == [{"id": "1", "text": "x"}]


def test_blank_lines_between_json_rows_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('\n{"a": 1}\n  \n{"a": 2}', "utf-8")
    assert list(read_rows(tmp_path / "a.jsonl")) == [{"a": 1}, {"a": 2}]


def test_unicode_line_separators_do_not_end_a_json_row(tmp_path: Path) -> None:
    row = {"a": "one\u2028two\u0085three"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row, ensure_ascii=False), "utf-8")
    assert list(read_rows(tmp_path / "a.jsonl")) == [row]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "none.jsonl")


@pytest.mark.parametrize("name", ["a.txt", "a.json", "a", "a.jsonl.zip", "parquet"])
def test_an_unknown_ending_names_the_known_ones(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{}", "utf-8")
    said = refused(tmp_path / name)
    assert ".parquet, .jsonl, .jsonl.gz, .csv" in said


@pytest.mark.parametrize("line", ["{", '{"a": 1} x', "'a'", "[" * 100_000], ids=["open", "tail", "quotes", "deep"])
def test_a_broken_json_line_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n\n' + line + "\n", "utf-8")
    assert "line 3 is not JSON" in refused(tmp_path / "a.jsonl")


@pytest.mark.parametrize("line", ["[1]", "1", '"a"', "null"])
def test_a_json_line_that_is_no_object_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n' + line + "\n", "utf-8")
    assert "line 2 is not a JSON object" in refused(tmp_path / "a.jsonl")


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_a_file_in_another_encoding_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes('{"a": "é"}\n'.encode("latin-1"))
    assert "UTF-8" in refused(tmp_path / name)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.gz"])
def test_a_file_that_only_claims_to_be_gzip_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"a": 1}\n', "utf-8")
    refused(tmp_path / name)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.gz"])
def test_a_torn_gzip_file_is_refused(tmp_path: Path, name: str) -> None:
    data = gzip.compress(("a,b\n" if name == "a.csv.gz" else '{"a": 1}\n').encode() * 50, mtime=0)
    (tmp_path / name).write_bytes(data[:-9])
    refused(tmp_path / name)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.gz"])
def test_a_corrupted_gzip_file_is_refused(tmp_path: Path, name: str) -> None:
    lines = "".join(f"{n},{n * n}\n" if name == "a.csv.gz" else f'{{"a": {n * n}}}\n' for n in range(200))
    data = bytearray(gzip.compress(lines.encode(), mtime=0))
    data[10] = 0xFF  # a deflate block of a kind that does not exist
    (tmp_path / name).write_bytes(data)
    refused(tmp_path / name)


def test_a_torn_parquet_file_is_refused(tmp_path: Path, write_rows: Callable[..., Path]) -> None:
    path = write_rows(tmp_path / "a.parquet", ROWS)
    path.write_bytes(path.read_bytes()[:-20])
    assert "cannot be read as parquet" in refused(path)


@pytest.mark.parametrize("line", ["1", "1,2,3"], ids=["short", "long"])
def test_a_csv_line_with_other_fields_than_the_header_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.csv").write_text(f"id,text\n1,x\n{line}\n", "utf-8")
    assert "line 3 has not as many fields as the header" in refused(tmp_path / "a.csv")


def test_a_csv_quote_that_stays_open_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,text\n1,"x\n', "utf-8")
    assert "not readable as csv" in refused(tmp_path / "a.csv")


def test_rows_are_streamed(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\nbroken\n', "utf-8")
    rows = read_rows(tmp_path / "a.jsonl")
    assert next(rows) == {"a": 1}
    with pytest.raises(UserError):
        next(rows)


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.csv"):
        (tmp_path / name).write_bytes(b"")
        assert list(read_rows(tmp_path / name)) == []
    pq.write_table(pa.table({"a": pa.array([], pa.string())}), tmp_path / "a.parquet")
    assert list(read_rows(tmp_path / "a.parquet")) == []


@pytest.mark.parametrize(("wanted", "found"), [(None, "gold"), ("solution", "solution")], ids=["usual", "mapped"])
def test_a_column_is_found_by_map_or_by_its_usual_names(wanted: str | None, found: str) -> None:
    available: list[Any] = ["answer", "solution", "gold"]
    assert pick_column(available, "gold", wanted, ("gold", "answer"), "a.csv") == found


def test_a_column_that_is_nowhere_is_none_unless_it_was_mapped() -> None:
    assert pick_column(["x"], "gold", None, ("gold",), "a.csv") is None
    with pytest.raises(UserError, match=r"a\.csv has no column 'y' \(mapped to gold\); it has: x, z"):
        pick_column(["x", "z"], "gold", "y", ("gold",), "a.csv")
