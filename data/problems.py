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
from .tabular import pick_column, read_rows, require_text

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
    from_samples: bool = False,
) -> Problems:
    """Check, merge and split rows of any source into the PROBLEMS table.

    `columns` maps our fields to the source's columns, `gold_after` takes the gold answer from behind the last
    occurrence of a marker (GSM8K's "####"), `limit` keeps the first rows of the source. Where the source has no
    split column, `held_out` sets aside shares per split by a seeded hash of problem_id; the rest is "train".
    `from_samples`: each row is a sample that repeats its problem; the text may be missing, and two ids with one
    text stay apart, since each has votes of its own.
    Raises UserError naming `where` and the row on any violation of the module's rules.
    """
    reader = _Reader(where, columns or {}, gold_after, from_samples)
    found: dict[str, dict[str, Any]] = {}
    by_text: dict[str, dict[str, Any]] = {}
    merged_ids: dict[str, dict[str, Any]] = {}
    merged = 0
    for number, raw in enumerate(rows, 1):
        if limit is not None and number > limit:
            break
        row = reader.clean(raw, number)
        known = found.get(row["problem_id"]) or merged_ids.get(row["problem_id"])
        if known is None and not from_samples:
            known = by_text.get(row["problem"])
            if known is not None:
                merged_ids[row["problem_id"]] = row
        if known is None:
            found[row["problem_id"]] = by_text[row["problem"]] = row
        else:
            _require_same(known, row, where, number)
            merged += 1
    if not found:
        raise UserError(f"{where} holds no problems")
    ordered = [found[key] for key in sorted(found)]
    if not reader.has_split:
        _assign_splits(ordered, held_out or {}, seed)
    return Problems(as_table(ordered, PROBLEMS), merged)


class _Reader:
    """Turns the source's rows into ours. Rows of a jsonl file may differ in their keys, so each set of keys is
    mapped once; a column that the user names must be in the first row."""

    def __init__(self, where: str, columns: Mapping[str, str], gold_after: str | None, from_samples: bool) -> None:
        unknown = set(columns) - set(USUAL_COLUMNS)
        if unknown:
            known = ", ".join(USUAL_COLUMNS)
            raise UserError(f"problems.columns maps {', '.join(sorted(unknown))}; the fields are {known}")
        self._where, self._columns, self._gold_after = where, columns, gold_after
        self._from_samples = from_samples
        self._mappings: dict[tuple[str, ...], dict[str, str | None]] = {}

    @property
    def has_split(self) -> bool:
        return any(mapping["split"] for mapping in self._mappings.values())

    def clean(self, raw: Mapping[str, Any], number: int) -> dict[str, Any]:
        """One row of PROBLEMS, checked on its own."""
        where = f"{self._where} row {number}"
        mapping = self._mapping(tuple(raw))
        values = {field: _text(raw, column, where) for field, column in mapping.items()}
        if not values["problem"] and not self._from_samples:
            raise UserError(f"{where} has an empty problem")
        if mapping["problem_id"] is not None and not values["problem_id"]:
            raise UserError(f"{where} has an empty problem id")
        source = values["source"] or Path(self._where).name.split(".")[0]
        identity = hashlib.sha256(f"{source}\n{values['problem']}".encode()).hexdigest()[:16]
        return {
            "problem_id": values["problem_id"] or identity,
            "problem": values["problem"] or None,
            "gold": self._gold(values["gold"], where),
            "source": source,
            "level": values["level"],
            "split": values["split"] or "train",
        }

    def _mapping(self, available: tuple[str, ...]) -> dict[str, str | None]:
        if available not in self._mappings:
            first = not self._mappings
            names = list(available)
            mapping = {
                field: pick_column(names, field, self._asked(field, names, first), usual, self._where)
                for field, usual in USUAL_COLUMNS.items()
            }
            if first and mapping["problem"] is None and not self._from_samples:
                raise UserError(
                    f"{self._where} has no problem text: looked for columns {', '.join(USUAL_COLUMNS['problem'])} "
                    f"among {', '.join(names)}; map one with --set problems.columns.problem=NAME"
                )
            self._mappings[available] = mapping
        return self._mappings[available]

    def _asked(self, field: str, available: list[str], first: bool) -> str | None:
        asked = self._columns.get(field)
        return asked if first or asked in available else None

    def _gold(self, gold: str | None, where: str) -> str | None:
        if not gold or self._gold_after is None:
            return gold or None
        if self._gold_after not in gold:
            raise UserError(f"{where}: gold has no '{self._gold_after}' (problems.gold_after)")
        return gold.rsplit(self._gold_after, 1)[1].strip() or None


def _text(raw: Mapping[str, Any], column: str | None, where: str) -> str | None:
    """A cell as stripped text, None where there is none."""
    value = raw.get(column) if column is not None else None
    if value is None:
        return None
    if isinstance(value, (list, dict, bytes)):
        raise UserError(f"{where}: column '{column}' holds a {type(value).__name__}, not text")
    return require_text(str(value).strip(), f"{where}: column '{column}'")


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
