"""Chunks of problems: the unit of work, commit and recovery of generation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ...data.errors import UserError
from ...data.schemas import SAMPLES
from ...data.seeds import sample_seed
from ...data.store import as_table, file_metadata, read_table, write_table
from .engine import Engine, Request, Sampling

_FINGERPRINT = "selftrain.fingerprint"


@dataclass(frozen=True)
class Task:
    """One problem ready to be sampled."""

    problem_id: str
    prompt_ids: list[int]


@dataclass(frozen=True)
class Chunk:
    """A contiguous run of the problems in id order, and the file that will hold its samples."""

    path: Path
    tasks: tuple[Task, ...]


def cut(tasks: Sequence[Task], size: int, folder: Path) -> list[Chunk]:
    """Chunks of at most `size` problems. Ids are global, so a chunk means the same in every process."""
    return [
        Chunk(folder / f"chunk-{start // size:05d}.parquet", tuple(tasks[start : start + size]))
        for start in range(0, len(tasks), size)
    ]


def run_chunk(chunk: Chunk, n: int, sampling: Sampling, run_seed: int, engine: Engine) -> pa.Table:
    """Sample every problem of a chunk n times in one engine call.

    Raises RuntimeError when the engine breaks its contract: fewer samples would pass for more certain votes.
    """
    requests = [Request(task.prompt_ids, n, sample_seed(run_seed, task.problem_id, 0)) for task in chunk.tasks]
    answered = engine.generate(requests, sampling)
    if [len(responses) for responses in answered] != [n] * len(requests):
        raise RuntimeError(f"the engine did not return {n} responses for each of {len(requests)} requests")
    rows = [
        {
            "problem_id": task.problem_id,
            "sample_index": index,
            "response": response.text,
            "n_tokens": response.n_tokens,
            "finish_reason": response.finish_reason,
            "seed": request.seed + index,
        }
        for task, request, responses in zip(chunk.tasks, requests, answered, strict=True)
        for index, response in enumerate(responses)
    ]
    return as_table(rows, SAMPLES)


def save(chunk: Chunk, table: pa.Table, fingerprint: str) -> None:
    write_table(chunk.path, table, SAMPLES, {_FINGERPRINT: fingerprint})


def fault(chunk: Chunk, n: int, fingerprint: str) -> str | None:
    """Why a chunk's file cannot be trusted, or None. A missing file is a fault named "missing"."""
    if not chunk.path.is_file():
        return "missing"
    try:
        table = read_table(chunk.path, SAMPLES)
        found = file_metadata(chunk.path).get(_FINGERPRINT)
    except (UserError, pa.ArrowException) as error:
        return f"unreadable ({type(error).__name__})"
    if found != fingerprint:
        return "made with other settings"
    expected = [(task.problem_id, index) for task in chunk.tasks for index in range(n)]
    keys = list(zip(table.column("problem_id").to_pylist(), table.column("sample_index").to_pylist(), strict=True))
    return None if keys == expected else "holding other samples than expected"


def read_chunks(paths: Iterable[Path]) -> Iterator[pa.Table]:
    """The tables of chunk files, one at a time."""
    for path in paths:
        yield read_table(path, SAMPLES)
