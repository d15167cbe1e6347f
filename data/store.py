"""Files: atomic writes, one parquet writer, and the two digests of every file.

`sha256` is the digest of the bytes (was the file altered?). `content` is a digest of the rows in key order
(do two files say the same?), so it does not depend on how rows were cut into files, on compression or on
the pyarrow version.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .errors import UserError
from .schemas import TableSpec

_ROWS_AT_ONCE = 8_192  # bounds memory while hashing: 8,192 long responses are some tens of MB


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path in the folder of `path` that becomes `path` when the block ends without an error.

    The file is flushed to disk before it is renamed, so that a power cut leaves the old file or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON atomically. Raises ValueError on NaN, TypeError on values without a JSON form."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")


def as_table(rows: Iterable[Mapping[str, Any]], spec: TableSpec) -> pa.Table:
    """Rows as an arrow table with exactly the spec's columns, refusing null where it is not allowed."""
    table = pa.Table.from_pylist(list(rows), schema=spec.schema)
    table.validate(full=True)
    for field in spec.schema:
        _require_values(table.column(field.name).combine_chunks(), field, f"{spec.name}: column {field.name}")
    return table


def _require_values(array: pa.Array, field: pa.Field, where: str) -> None:
    """Raise ValueError where a field that may not be null is, inside lists and structs too (arrow does not look)."""
    if not field.nullable and array.null_count:
        raise ValueError(f"{where} has no value in some row")
    if pa.types.is_list(field.type):
        _require_values(array.flatten(), field.type.value_field, where)
    elif pa.types.is_struct(field.type):
        for child in field.type:
            _require_values(array.field(child.name), child, f"{where}.{child.name}")


def write_table(path: Path, table: pa.Table, spec: TableSpec, metadata: Mapping[str, str] | None = None) -> None:
    """Write one parquet file atomically with the project's fixed settings; `metadata` goes into its footer."""
    if table.schema.remove_metadata() != spec.schema:
        raise ValueError(f"{path.name} would not have the columns of {spec.name}")
    table = table.replace_schema_metadata(dict(metadata) if metadata else None)
    with atomic(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=65_536)


def read_table(path: Path, spec: TableSpec) -> pa.Table:
    """Read a file that `write_table` wrote. Raises UserError when it is missing, torn or has other columns."""
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read as parquet ({error}); run its stage again with --overwrite") from error
    if table.schema.remove_metadata() != spec.schema:
        raise UserError(f"{path} does not have the columns of {spec.name}; run its stage again with --overwrite")
    return table


def file_metadata(path: Path) -> dict[str, str]:
    """The footer metadata that `write_table` was given. Raises pyarrow's ArrowInvalid on a torn file."""
    metadata = pq.read_schema(path).metadata or {}
    return {key.decode(): value.decode() for key, value in metadata.items()}


def sha256_of(path: Path) -> str:
    """Digest of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def content_of(tables: Iterable[pa.Table], spec: TableSpec) -> str:
    """Digest of rows in key order: `tables` must be ordered among themselves, each is sorted here by its key."""
    digest = hashlib.sha256()
    for table in tables:
        ordered = table.sort_by([(column, "ascending") for column in spec.key])
        for batch in ordered.to_batches(max_chunksize=_ROWS_AT_ONCE):
            for row in batch.to_pylist():
                digest.update(canonical_json(row).encode())
                digest.update(b"\n")
    return digest.hexdigest()


def canonical_json(value: Any) -> str:
    """The one spelling of a plain value. Raises TypeError or ValueError on anything without a canonical form.

    A permissive fallback such as `default=str` would let two runs with different meaning share a fingerprint,
    or one meaning have two.
    """
    return json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def digest_of(value: Any) -> str:
    """sha256 of a plain value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
