"""Rows from the files that people have: parquet, jsonl, csv (jsonl and csv also as .gz)."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .errors import UserError

# What a damaged or foreign file raises while its text is read.
UNREADABLE = (UnicodeDecodeError, gzip.BadGzipFile, zlib.error, EOFError)
FORMATS = (".parquet", ".jsonl", ".jsonl.gz", ".csv", ".csv.gz")


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a file as dictionaries, streamed. Raises UserError naming the file and line on anything unreadable."""
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    name = path.name.lower()
    if name.endswith(".parquet"):
        yield from _parquet_rows(path)
    elif name.endswith((".jsonl", ".jsonl.gz")):
        yield from _json_rows(path)
    elif name.endswith((".csv", ".csv.gz")):
        yield from _csv_rows(path)
    else:
        raise UserError(f"{path} is none of {', '.join(FORMATS)}")


def _open_text(path: Path) -> io.TextIOWrapper:
    raw = gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")  # noqa: SIM115 - the wrapper closes it
    return io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")  # type: ignore[arg-type]


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read as parquet: {error}") from error


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with _open_text(path) as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise UserError(f"{path} line {number} is not JSON: {error}") from error
                if not isinstance(row, dict):
                    raise UserError(f"{path} line {number} is not a JSON object")
                yield row
    except UNREADABLE as error:
        raise UserError(f"{path} is not UTF-8 text: {error}") from error


def require_text(value: Any, where: str) -> str:
    """The value if it is text that a UTF-8 file can hold, else UserError. JSON can spell half a surrogate pair."""
    if not isinstance(value, str):
        raise UserError(f"{where} is {type(value).__name__}, not text")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise UserError(f"{where} holds half a surrogate pair, which is no text")
    return value


def _csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with _open_text(path) as lines:
            reader = csv.DictReader(lines, strict=True)
            for row in reader:
                if None in row or None in row.values():
                    raise UserError(f"{path} line {reader.line_num} has not as many fields as the header")
                # A csv file has no null: an empty field is a missing value.
                yield {key: value if value != "" else None for key, value in row.items()}
    except csv.Error as error:
        raise UserError(f"{path} is not readable as csv: {error}") from error
    except UNREADABLE as error:
        raise UserError(f"{path} is not UTF-8 text: {error}") from error


def pick_column(available: list[str], field: str, wanted: str | None, usual: tuple[str, ...], where: str) -> str | None:
    """The user's column for one of our fields: the mapped one (which must exist), else the first usual name.

    Raises UserError when a mapped column is missing.
    """
    if wanted is not None:
        if wanted not in available:
            raise UserError(f"{where} has no column '{wanted}' (mapped to {field}); it has: {', '.join(available)}")
        return wanted
    return next((name for name in usual if name in available), None)
