"""Where the samples come from: this run's own chunks, or a file of another engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data.errors import UserError
from ...data.manifest import load
from ...data.problems import USUAL_COLUMNS, Problems, read_problems
from ...data.schemas import SAMPLES
from ...data.store import read_table
from ...data.tabular import pick_column, read_rows, require_text
from ..config import Config

# Columns of an outside file beside the problem's own; first match wins, unless samples.columns maps them.
_SAMPLE_COLUMNS: dict[str, tuple[str, ...]] = {
    "response": ("response", "completion", "output", "generation", "text"),
    "sample_index": ("sample_index",),
    "finish_reason": ("finish_reason",),
}

_LARGEST_INDEX = 2**31 - 1  # the column is a 32-bit integer


@dataclass(frozen=True)
class Sample:
    """One response on its way to an answer; its text is dropped as soon as the answer is found."""

    problem_id: str
    sample_index: int
    response: str
    truncated: bool


def own_samples(run: Path) -> Iterator[Sample]:
    """The run's generated samples, chunk by chunk."""
    files = load(run / "samples.json").outputs["samples"].files
    for relative in sorted(files):
        for row in read_table(run / relative, SAMPLES).to_pylist():
            yield Sample(row["problem_id"], row["sample_index"], row["response"], row["finish_reason"] == "length")


def outside_problems(path: Path, config: Config) -> Problems:
    """The problems named in a samples file: every row repeats its problem, whatever columns of it there are."""
    _require_known(config)
    columns = {key: value for key, value in config.samples.columns.items() if key not in _SAMPLE_COLUMNS}
    return read_problems(
        read_rows(path),
        where=str(path),
        columns=columns,
        gold_after=config.problems.gold_after,
        from_samples=True,
    )


def outside_samples(path: Path, config: Config) -> Iterator[Sample]:
    """Samples of a user's file; without a sample_index column they are numbered in order within a problem.

    Raises UserError on a missing column, a response that is no text, or a (problem_id, sample_index) that repeats.
    """
    mapping: dict[str, str | None] = {}
    id_column: str | None = None
    counted: Counter[str] = Counter()
    seen: set[tuple[str, int]] = set()
    for number, row in enumerate(read_rows(path), 1):
        if number == 1:
            mapping = _mapping(row, config, path)
            id_column = pick_column(
                list(row),
                "problem_id",
                config.samples.columns.get("problem_id"),
                USUAL_COLUMNS["problem_id"],
                str(path),
            )
            if id_column is None:
                raise UserError(
                    f"{path} has no problem id: looked for columns {', '.join(USUAL_COLUMNS['problem_id'])}; "
                    f"map one with --set samples.columns.problem_id=NAME"
                )
        response = row.get(mapping["response"] or "")
        if response is None and ".csv" in path.name.lower():
            response = ""  # a csv file has no other way to write an empty response
        response = require_text(response, f"{path} row {number}: the response")
        problem_id = str(row.get(id_column or "")).strip()
        index = _index(row, mapping["sample_index"], counted[problem_id], path, number)
        counted[problem_id] += 1
        if (problem_id, index) in seen:
            raise UserError(f"{path} row {number}: sample {index} of problem '{problem_id}' appears twice")
        seen.add((problem_id, index))
        reason = row.get(mapping["finish_reason"]) if mapping["finish_reason"] else None
        yield Sample(problem_id, index, response, reason == "length")


def _require_known(config: Config) -> None:
    unknown = set(config.samples.columns) - set(_SAMPLE_COLUMNS) - set(USUAL_COLUMNS)
    if unknown:
        known = ", ".join([*_SAMPLE_COLUMNS, *USUAL_COLUMNS])
        raise UserError(f"samples.columns maps {', '.join(sorted(unknown))}; the fields are {known}")


def _mapping(row: Mapping[str, Any], config: Config, path: Path) -> dict[str, str | None]:
    asked = config.samples.columns
    mapping = {
        field: pick_column(list(row), field, asked.get(field), usual, str(path))
        for field, usual in _SAMPLE_COLUMNS.items()
    }
    if mapping["response"] is None:
        raise UserError(
            f"{path} has no response: looked for columns {', '.join(_SAMPLE_COLUMNS['response'])} among "
            f"{', '.join(row)}; map one with --set samples.columns.response=NAME"
        )
    return mapping


def _index(row: Mapping[str, Any], column: str | None, position: int, path: Path, number: int) -> int:
    if column is None:
        return position
    value = row.get(column)
    text = str(value).strip()
    if isinstance(value, bool) or not text.removeprefix("-").isdecimal():
        raise UserError(f"{path} row {number}: sample_index {value!r} is not a whole number")
    index = int(text) if len(text) < 12 else _LARGEST_INDEX + 1
    if not 0 <= index <= _LARGEST_INDEX:
        raise UserError(f"{path} row {number}: sample_index {text} is {'negative' if index < 0 else 'too large'}")
    return index
