"""Problems from anywhere (built-in, a file, a Hub data set) as one checked table.

Rules. Identical rows are merged and counted (DAPO's original data repeats each problem about 100 times). The
same id with another text or gold, and the same text with another gold or in another split, are refused: either
would let one problem vote under two labels or stand in training and test at once. Rows are sorted by id, so the
table does not depend on the order of the source.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from .errors import UserError
from .schemas import PROBLEMS
from .store import as_table
from .tabular import pick_column, read_rows

BUILTIN = "builtin:arithmetic"
_BUILTIN_FILE = Path(__file__).parent / "arithmetic.jsonl"

# Our field: the column names it is looked for under, first match wins, unless problems.columns maps it.
USUAL_COLUMNS: dict[str, tuple[str, ...]] = {
    "problem_id": ("problem_id", "id", "unique_id"),
    "problem": ("problem", "question", "Problem", "prompt"),
    "gold": ("gold", "answer", "Answer"),
    "source": ("source", "data_source"),
    "level": ("level", "difficulty"),
    "split": ("split",),
}


@dataclass(frozen=True)
class Problems:
    """The problem table and what was found while reading it. `merged` counts repeated rows."""

    table: pa.Table
    merged: int

    @property
    def n_gold(self) -> int:
        return self.table.num_rows - self.table.column("gold").null_count


def read_problems(
    rows: Iterable[Mapping[str, Any]],
    *,
    where: str,
    columns: Mapping[str, str] | None = None,
    gold_after: str | None = None,
    limit: int | None = None,
    held_out: Mapping[str, float] | None = None,
    seed: int = 0,
    text_required: bool = True,
) -> Problems:
    """Check, merge and split rows of any source into the PROBLEMS table.

    `columns` maps our fields to the source's columns, `gold_after` takes the gold answer from behind the last
    occurrence of a marker (GSM8K's "####"), `limit` keeps the first rows of the source. Where the source has no
    split column, `held_out` sets aside shares per split by a seeded hash of problem_id; the rest is "train".
    Raises UserError naming `where` and the row on any violation of the module's rules.
    """
    merged = 0
    found: dict[str, dict[str, Any]] = {}
    by_text: dict[str, dict[str, Any]] = {}
    mapping: dict[str, str | None] | None = None
    for number, raw in enumerate(rows, 1):
        if limit is not None and number > limit:
            break
        if mapping is None:
            mapping = _map_columns(list(raw), columns or {}, where, text_required)
        row = _clean(raw, mapping, where, number, gold_after, text_required)
        known = found.get(row["problem_id"]) or (by_text.get(row["problem"]) if row["problem"] is not None else None)
        if known is None:
            found[row["problem_id"]] = row
            if row["problem"] is not None:
                by_text[row["problem"]] = row
        else:
            _require_same(known, row, where, number)
            merged += 1
    if not found:
        raise UserError(f"{where} holds no problems")
    ordered = [found[key] for key in sorted(found)]
    if mapping is not None and mapping["split"] is None:
        _assign_splits(ordered, held_out or {}, seed)
    return Problems(as_table(ordered, PROBLEMS), merged)


def _map_columns(
    available: list[str], columns: Mapping[str, str], where: str, text_required: bool
) -> dict[str, str | None]:
    unknown = set(columns) - set(USUAL_COLUMNS)
    if unknown:
        raise UserError(
            f"problems.columns maps {', '.join(sorted(unknown))}; the fields are {', '.join(USUAL_COLUMNS)}"
        )
    mapping = {
        field: pick_column(available, field, columns.get(field), usual, where) for field, usual in USUAL_COLUMNS.items()
    }
    if mapping["problem"] is None and text_required:
        raise UserError(
            f"{where} has no problem text: looked for columns {', '.join(USUAL_COLUMNS['problem'])} among "
            f"{', '.join(available)}; map one with --set problems.columns.problem=NAME"
        )
    return mapping


def _clean(
    raw: Mapping[str, Any],
    mapping: Mapping[str, str | None],
    where: str,
    number: int,
    gold_after: str | None,
    text_required: bool,
) -> dict[str, Any]:
    def value(field: str) -> str | None:
        column = mapping[field]
        if column is None or raw.get(column) is None:
            return None
        if isinstance(raw[column], (list, dict, bytes)):
            raise UserError(f"{where} row {number}: column '{column}' holds a {type(raw[column]).__name__}, not text")
        return str(raw[column]).strip()

    text = value("problem")
    if text_required and not text:
        raise UserError(f"{where} row {number} has an empty problem")
    gold = value("gold") or None
    if gold is not None and gold_after is not None:
        if gold_after not in gold:
            raise UserError(f"{where} row {number}: gold has no '{gold_after}' (problems.gold_after)")
        gold = gold.rsplit(gold_after, 1)[1].strip() or None
    source = value("source") or Path(where).name.split(".")[0]
    problem_id = value("problem_id")
    if mapping["problem_id"] is not None and not problem_id:
        raise UserError(f"{where} row {number} has an empty problem id")
    if problem_id is None:
        problem_id = hashlib.sha256(f"{source}\n{text}".encode()).hexdigest()[:16]
    return {
        "problem_id": problem_id,
        "problem": text or None,
        "gold": gold,
        "source": source,
        "level": value("level"),
        "split": value("split") or "train",
    }


def _require_same(known: Mapping[str, Any], row: Mapping[str, Any], where: str, number: int) -> None:
    """Raise UserError unless a row that shares its id or text with a known one says the same."""
    same_id = known["problem_id"] == row["problem_id"]
    name = f"problem id '{row['problem_id']}'" if same_id else f"the text of problem '{known['problem_id']}'"
    for field in ("problem", "gold", "split"):
        if known[field] != row[field]:
            raise UserError(f"{where} row {number}: {name} appears twice, with different {field}")


def _assign_splits(rows: list[dict[str, Any]], held_out: Mapping[str, float], seed: int) -> None:
    """Set aside the asked shares (each rounded, at least 1 of 4 or more rows), in an order fixed by seed and id."""
    order = sorted(rows, key=lambda row: hashlib.sha256(f"{seed}:{row['problem_id']}".encode()).digest())
    taken = 0
    for split, share in held_out.items():
        size = round(share * len(rows))
        if share > 0 and size == 0 and len(rows) >= 4:
            size = 1
        for row in order[taken : taken + size]:
            row["split"] = split
        taken += size


def open_source(
    *, path: str | None, hub: str | None, subset: str | None, hub_split: str, revision: str | None
) -> tuple[Iterator[Mapping[str, Any]], str]:
    """Rows of the configured problem source and the name it has in messages.

    Raises UserError when neither or both are set, or the source cannot be had.
    """
    if path is not None and hub is not None:
        raise UserError("problems.path and problems.hub are both set: drop one (--set problems.path=null)")
    if path == BUILTIN:
        return read_rows(_BUILTIN_FILE), BUILTIN
    if path is not None:
        return read_rows(Path(path).expanduser()), path
    if hub is not None:
        return _hub_rows(hub, subset, hub_split, revision), hub
    raise UserError("no problems: set problems.path (a file, or builtin:arithmetic) or problems.hub")


def _hub_rows(hub: str, subset: str | None, split: str, revision: str | None) -> Iterator[Mapping[str, Any]]:
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise UserError("problems.hub needs the package datasets: pip install 'selftrain[train]'") from error
    try:
        data = datasets.load_dataset(hub, subset, split=split, revision=revision)
    # The library raises these for an unknown name, subset, split or revision, and when it cannot reach the Hub.
    except (FileNotFoundError, ConnectionError, ValueError) as error:
        raise UserError(f"data set {hub} cannot be loaded from the Hub: {error}") from error
    return iter(data)  # type: ignore[arg-type]
