"""generate: problems and a model in, problems.parquet and samples/ out.

What it is not: it knows nothing of answers or labels, and a response is stored as the model gave it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ...data.errors import UserError
from ...data.manifest import Manifest, Output, Step, begin, commit, finished, require_free, table_output
from ...data.models import Model, find_model
from ...data.problems import open_source, read_problems
from ...data.prompts import render
from ...data.schemas import PROBLEMS, SAMPLES
from ...data.store import content_of, sha256_of, write_table
from ..config import Config, EvalSection, GenerateSection
from ..progress import progress
from ..summary import Summary, summarize
from .chunks import Chunk, Task, cut, fault, read_chunks, run_chunk, save
from .engine import Engine, Sampling, VllmEngine


def run(config: Config, run: Path, *, overwrite: bool = False, engine: Engine | None = None) -> Summary:
    """Sample every problem of the split "train" `generate.samples` times.

    Writes problems.parquet (all splits), samples/chunk-*.parquet and samples.json below `run`. Work already
    done under the same fingerprint is kept. `engine` replaces vLLM. Raises UserError on the user's mistakes,
    before anything is written.
    """
    section = config.problems
    rows, where = open_source(
        path=section.path, hub=section.hub, subset=section.subset,
        hub_split=section.hub_split, revision=section.revision,
    )  # fmt: skip
    problems = read_problems(
        rows, where=where, columns=section.columns, gold_after=section.gold_after, limit=section.limit,
        held_out=section.held_out, seed=config.seed,
    )  # fmt: skip
    if "train" not in problems.table.column("split").to_pylist():
        raise UserError(f"{where} has no problem of split 'train' to generate for")
    model = find_model(config.model.path, config.model.revision, run)
    manifest, skipped = draw(
        config, run, problems.table, model, config.generate,
        split="train", merged=problems.merged, overwrite=overwrite, engine=engine,
    )  # fmt: skip
    return summarize(manifest, "samples", skipped=skipped)


def draw(
    config: Config,
    run: Path,
    problems: pa.Table,
    model: Model,
    sampling: GenerateSection | EvalSection,
    *,
    split: str,
    merged: int = 0,
    overwrite: bool = False,
    engine: Engine | None = None,
) -> tuple[Manifest, bool]:
    """Sample the problems of one split into the folder `run`; returns the manifest and whether it was there.

    Used by generate on a run folder and by eval on one folder for each policy and suite.
    """
    stage = "generate" if isinstance(sampling, GenerateSection) else "eval"
    settings = sampling.model_dump(mode="json", exclude={"splits"})
    step = Step(
        "samples",
        stage,
        run,
        config={
            **config.sections("seed", "threads", "prompt", "vllm"),
            stage: settings,
            "model": {"dtype": config.model.dtype},
            "split": split,
        },
        inputs={"problems.parquet": content_of([problems], PROBLEMS), "model": model.identity},
        owns=("problems.parquet", "samples"),
    )  # fmt: skip
    manifest = finished(step, overwrite=overwrite)
    if manifest:
        return manifest, True
    require_free(step, overwrite=overwrite)
    chosen = problems.filter(pc.field("split") == split)
    tasks, overlong = _render(config, model, chosen, sampling.max_tokens)
    begin(step, overwrite=overwrite)
    write_table(run / "problems.parquet", problems, PROBLEMS)
    chunks = cut(tasks, sampling.chunk_size, run / "samples")
    redone = _fill(config, step, chunks, sampling, model, engine)
    outputs = {
        "problems.parquet": table_output(run, "problems.parquet", problems, PROBLEMS),
        "samples": _samples_output(run, chunks),
    }
    by_split = Counter(problems.column("split").to_pylist())
    summary = _totals(chunks, tasks) | {
        "splits": ", ".join(f"{name} {count:,}" for name, count in by_split.most_common()),
        "repeated_rows_merged": merged,
        "overlong_prompts_skipped": len(overlong),
        "overlong": overlong,
        "torn_chunks_redone": redone,
        "sampling": settings,
        "model": model.name,
        "identity": model.identity,
    }
    rows_out = outputs["samples"].rows or 0
    return commit(step, outputs, rows_in=chosen.num_rows, rows_out=rows_out, summary=summary), False


def vllm_engine(config: Config, model: Model) -> VllmEngine:
    """vLLM for a model under the configuration; nothing is loaded yet."""
    return VllmEngine(model, config.model, config.vllm, context_length(config, model))


def context_length(config: Config, model: Model) -> int:
    """Tokens of prompt and response together: vllm.max_model_len, else what the model's config.json says."""
    stated = json.loads((model.folder / "config.json").read_text("utf-8")).get("max_position_embeddings")
    return config.vllm.max_model_len or stated or 4096


def _render(config: Config, model: Model, problems: pa.Table, max_tokens: int) -> tuple[list[Task], list[str]]:
    """Token ids of each problem's prompt, and the ids of problems whose prompt leaves no room for max_tokens."""
    limit = context_length(config, model)
    if max_tokens >= limit:
        raise UserError(
            f"max_tokens {max_tokens} leaves no room for a prompt: the context of {model.name} is {limit} tokens "
            f"(vllm.max_model_len)"
        )
    tokenizer = load_tokenizer(model)
    tasks, overlong = [], []
    for row in problems.to_pylist():
        ids = render(row["problem"], config.prompt, tokenizer)
        if len(ids) + max_tokens > limit:
            overlong.append(row["problem_id"])
        else:
            tasks.append(Task(row["problem_id"], ids))
    if not tasks:
        raise UserError(f"every prompt is longer than {limit} - {max_tokens} tokens (vllm.max_model_len, max_tokens)")
    return tasks, overlong


def load_tokenizer(model: Model) -> Any:
    """The model's tokenizer. Raises UserError when transformers cannot load it from the folder's files."""
    try:
        from transformers import AutoTokenizer
    except ModuleNotFoundError as error:
        raise UserError("transformers is not installed: pip install 'selftrain[train]' or `make setup`") from error
    try:
        return AutoTokenizer.from_pretrained(model.folder)
    except (OSError, ValueError) as error:
        raise UserError(f"the tokenizer of {model.folder} cannot be loaded: {error}") from error


def _fill(
    config: Config,
    step: Step,
    chunks: list[Chunk],
    sampling: GenerateSection | EvalSection,
    model: Model,
    engine: Engine | None,
) -> int:
    """Run every chunk that is not there yet; returns how many files had to be redone because they were torn."""
    faults = {chunk.path.name: fault(chunk, sampling.samples, step.fingerprint) for chunk in chunks}
    missing = [chunk for chunk in chunks if faults[chunk.path.name]]
    torn = {name: why for name, why in faults.items() if why not in (None, "missing")}
    for name, why in torn.items():
        from rich.console import Console

        Console(stderr=True).print(f"{step.run / 'samples' / name} is {why}: generating it again", soft_wrap=True)
    if not missing:
        return len(torn)
    own = engine is None
    engine = engine or vllm_engine(config, model)
    how = Sampling(sampling.temperature, sampling.top_p, sampling.top_k, sampling.max_tokens)
    title = f"{step.stage} {step.run.name}"
    with progress(title, sum(len(chunk.tasks) for chunk in missing) * sampling.samples) as advance:
        for chunk in missing:
            table = run_chunk(chunk, sampling.samples, how, config.seed, engine)
            save(chunk, table, step.fingerprint)
            advance(table.num_rows, "samples")
    if own:
        engine.close()
    return len(torn)


def _samples_output(run: Path, chunks: list[Chunk]) -> Output:
    rows = 0

    def tables() -> Iterator[pa.Table]:
        nonlocal rows
        for table in read_chunks(chunk.path for chunk in chunks):
            rows += table.num_rows
            yield table

    content = content_of(tables(), SAMPLES)
    return Output(content, {str(c.path.relative_to(run)): sha256_of(c.path) for c in chunks}, rows)


def _totals(chunks: list[Chunk], tasks: list[Task]) -> dict[str, Any]:
    """Counts that people want to see: samples, tokens, truncated share."""
    reasons: Counter[str] = Counter()
    tokens, n = 0, 0
    for table in read_chunks(chunk.path for chunk in chunks):
        reasons.update(table.column("finish_reason").to_pylist())
        tokens += sum(table.column("n_tokens").to_pylist())
        n += table.num_rows
    return {
        "problems": len(tasks),
        "samples": n,
        "chunks": len(chunks),
        "prompt_tokens": sum(len(task.prompt_ids) for task in tasks),
        "response_tokens": tokens,
        "mean_response_tokens": round(tokens / max(n, 1), 1),
        "truncated_share": round(reasons["length"] / max(n, 1), 4),
    }
