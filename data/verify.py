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

# Inputs that may come from outside the run folder: the base model, and samples of another engine.
_FROM_OUTSIDE = ("model", "samples")


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
    findings: list[Finding] = []
    files = 0
    for manifest in found:
        label = str(manifest.path.relative_to(run))
        own = [_key(run, manifest, name) for name in manifest.outputs]
        if digest_of(manifest.value["payload"]) != manifest.value["fingerprint"]:
            findings.append(Finding(label, "the manifest was edited", _dependents(run, found, own)))
        for name, output in manifest.outputs.items():
            files += len(output.files)
            altered = list(_altered(run, manifest, output))
            if not altered and _content(manifest, name, output) != output.content:
                altered = [(label, f"the content digest of {name} was edited")]
            after = _dependents(run, found, [_key(run, manifest, name)]) if altered else ()
            findings += [Finding(path, what, after) for path, what in altered]
        for name, digest in manifest.value["payload"]["inputs"].items():
            key = str((manifest.path.parent / name).relative_to(run))
            if contents.get(key) == digest or (key not in contents and name in _FROM_OUTSIDE):
                continue
            if key not in contents:
                findings.append(Finding(key, "no manifest vouches for it", _dependents(run, found, [key])))
            else:
                what = f"made from another {key} than the folder now holds"
                findings.append(Finding(label, what, _dependents(run, found, own)))
    return files, findings


def _content(manifest: Manifest, name: str, output: Output) -> str:
    """The content digest of an output whose files are as they were written, computed anew."""
    paths = [manifest.path.parent / relative for relative in sorted(output.files)]
    if name == "samples":
        return content_of((pq.read_table(path) for path in paths), schemas.SAMPLES)
    spec = _spec_of(paths)
    if spec is not None:
        return content_of([pq.read_table(paths[0])], spec)
    if len(paths) == 1 and paths[0].suffix == ".json":
        return digest_of(json.loads(paths[0].read_text("utf-8")))
    return digest_of({path.name: digest for path, digest in zip(paths, map(sha256_of, paths), strict=True)})


def _spec_of(paths: list[Path]) -> schemas.TableSpec | None:
    """The table that a single file holds, by its name."""
    return next((s for s in schemas.ALL if len(paths) == 1 and Path(s.name).name == paths[0].name), None)


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
    spec = schemas.SAMPLES if path.parent.name == "samples" else _spec_of([path])
    if spec is None:
        return "its bytes differ"
    try:
        content = content_of([pq.read_table(path)], spec)
    except (pa.ArrowException, OSError, KeyError, UnicodeDecodeError):
        return "it no longer reads as parquet"
    if len(output.files) != 1:
        return "its bytes differ"
    return "its bytes differ, its rows do not" if content == output.content else "its rows differ"


def _dependents(run: Path, found: list[Manifest], keys: list[str]) -> tuple[str, ...]:
    """Outputs made, directly or through others, from the outputs `keys`."""
    stale: list[str] = []
    waiting = list(keys)
    while waiting:
        current = waiting.pop()
        for manifest in found:
            inputs = {
                str((manifest.path.parent / name).relative_to(run)) for name in manifest.value["payload"]["inputs"]
            }
            if current in inputs:
                new = [_key(run, manifest, name) for name in manifest.outputs]
                new = [name for name in new if name not in stale and name not in keys]
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
