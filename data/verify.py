"""Is a run folder still what its manifests say, and do two runs hold the same results?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from . import schemas
from .errors import UserError
from .manifest import Manifest, Output, load
from .store import content_of, digest_of, sha256_of


@dataclass(frozen=True)
class Finding:
    """One thing that is not as a manifest says, and the later outputs that were made from it."""

    path: str
    what: str
    dependents: tuple[str, ...]

    def __str__(self) -> str:
        after = f"; made from it: {', '.join(self.dependents)}" if self.dependents else ""
        return f"{self.path}: {self.what}{after}"


def manifests(run: Path) -> list[Manifest]:
    """All manifests below a run folder, in path order. Raises UserError when there is none."""
    if not run.is_dir():
        raise UserError(f"{run} is not a folder")
    found = [load(path) for path in sorted(run.rglob("*.json")) if _is_manifest(path)]
    if not found:
        raise UserError(f"{run} holds no finished stage (no manifest)")
    return found


def _is_manifest(path: Path) -> bool:
    """True for files of the manifest's form; model folders hold other JSON files."""
    if path.name.startswith("."):
        return False
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError:
        # A torn manifest must be reported, not passed over: every manifest has its output as a sibling.
        return path.with_suffix("").is_dir() or path.with_suffix(".parquet").is_file()
    return isinstance(value, dict) and {"fingerprint", "payload", "outputs"} <= value.keys()


def verify(run: Path) -> tuple[int, list[Finding]]:
    """Recompute every digest and fingerprint of a run folder.

    Returns the number of files looked at and what was found: altered and missing files, rows that differ,
    manifests that were edited, and outputs made from inputs that have changed since.
    """
    found = manifests(run)
    contents = {_key(run, m, name): output.content for m in found for name, output in m.outputs.items()}
    problems: list[tuple[str, str, str]] = []  # key of the output (or manifest), path, what
    files = 0
    for manifest in found:
        label = str(manifest.path.relative_to(run))
        if digest_of(manifest.value["payload"]) != manifest.value["fingerprint"]:
            problems += [(_key(run, manifest, name), label, "the manifest was edited") for name in manifest.outputs]
        for name, output in manifest.outputs.items():
            files += len(output.files)
            key = _key(run, manifest, name)
            problems += [(key, path, what) for path, what in _altered(run, manifest, output)]
        for name, digest in manifest.value["payload"]["inputs"].items():
            key = str((manifest.path.parent / name).relative_to(run))
            if contents.get(key, digest) != digest:
                first = next(iter(manifest.outputs), manifest.path.stem)
                problems.append(
                    (_key(run, manifest, first), label, f"made from another {key} than the folder now holds")
                )
    unique = {(path, what): key for key, path, what in problems}
    return files, [Finding(path, what, _dependents(run, found, key)) for (path, what), key in unique.items()]


def _key(run: Path, manifest: Manifest, name: str) -> str:
    return str((manifest.path.parent / name).relative_to(run))


def _altered(run: Path, manifest: Manifest, output: Output) -> Iterator[tuple[str, str]]:
    for relative, digest in output.files.items():
        path = manifest.path.parent / relative
        shown = str(path.relative_to(run))
        if not path.is_file():
            yield shown, "missing"
        elif sha256_of(path) != digest:
            yield shown, f"altered since {manifest.value['stage']} wrote it ({_row_change(path, output)})"


def _row_change(path: Path, output: Output) -> str:
    spec = next((spec for spec in schemas.ALL if Path(spec.name).name == path.name), None)
    if spec is None or len(output.files) != 1:
        return "its bytes differ"
    try:
        same = content_of([pq.read_table(path)], spec) == output.content
    except (pa.ArrowException, OSError, KeyError, UnicodeDecodeError):
        return "it no longer reads as parquet"
    return "its bytes differ, its rows do not" if same else "its rows differ"


def _dependents(run: Path, found: list[Manifest], key: str) -> tuple[str, ...]:
    """Outputs made, directly or through others, from the output `key`."""
    stale, waiting = [], [key]
    while waiting:
        current = waiting.pop()
        for manifest in found:
            inputs = {
                str((manifest.path.parent / name).relative_to(run)) for name in manifest.value["payload"]["inputs"]
            }
            if current in inputs:
                new = [_key(run, manifest, name) for name in manifest.outputs]
                new = [name for name in new if name not in stale and name != key]
                stale += new
                waiting += new
    return tuple(stale)


def compare(run: Path, other: Path) -> tuple[list[tuple[str, str]], str | None]:
    """Content digests of every output of `run`, and the first difference to `other` (None when they agree).

    Digests are of rows and weights, so two runs on one machine under one configuration must agree in all.
    """
    here, there = ({_key(r, m, n): o.content for m in manifests(r) for n, o in m.outputs.items()} for r in (run, other))
    for name in (*here, *(set(there) - set(here))):
        if here.get(name) != there.get(name):
            return list(
                here.items()
            ), f"{name}: {here.get(name, 'missing')} in {run}, {there.get(name, 'missing')} in {other}"
    return list(here.items()), None
