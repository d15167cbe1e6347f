"""train: curriculum.parquet in, policy/ out (best/, last/, metrics.parquet, timing.jsonl, checkpoints).

TRL's GRPOTrainer as it is; ours are the reward, the data, the choice of the checkpoint and the defaults.
Where the validation split carries gold, the best checkpoint on it becomes policy/best; without gold there is
no choice, only policy/last.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

from ...answers import GRADER_VERSION
from ...data.errors import UserError
from ...data.manifest import (
    Manifest,
    Output,
    Step,
    begin,
    commit,
    finished,
    input_content,
    require_free,
    table_output,
)
from ...data.models import Model, file_digests, find_model
from ...data.schemas import CURRICULUM, METRICS, PROBLEMS
from ...data.store import as_table, digest_of, read_table, write_table
from ..config import Config
from ..label import judge_of
from ..progress import progress
from ..summary import Summary, summarize

# Our column of metrics.parquet: the name in TRL's log.
_LOGGED = {
    "epoch": "epoch",
    "pseudo_reward": "reward",
    "pseudo_reward_std": "reward_std",
    "zero_std_share": "frac_reward_zero_std",
    "gold_accuracy": "gold_accuracy",
    "answered": "answered",
    "truncated": "completions/clipped_ratio",
    "completion_length": "completions/mean_length",
    "entropy": "entropy",
    "kl": "kl",
    "loss": "loss",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
}


def run(config: Config, run: Path, *, overwrite: bool = False) -> Summary:
    """Train a policy from the frozen model on the curriculum; resumes from the last complete checkpoint.

    Raises UserError on the user's mistakes, before any model loads.
    """
    model = find_model(config.model.path, config.model.revision, run)
    maker = "samples" if (run / "samples.json").is_file() else "answers"
    step = Step(
        "policy",
        "train",
        run,
        config={
            **config.sections("seed", "threads", "prompt", "answers", "train"),
            "model": {"dtype": config.model.dtype},
            "grader_version": GRADER_VERSION,
        },
        inputs={
            "curriculum.parquet": input_content(run, "curriculum", "curriculum.parquet", "srt curate"),
            "problems.parquet": input_content(run, maker, "problems.parquet", "srt label"),
            "model": model.identity,
        },
        owns=("policy",),
    )
    manifest = finished(step, overwrite=overwrite)
    if manifest:
        return summarize(manifest, "policy", skipped=True)
    require_free(step, overwrite=overwrite)
    curriculum = read_table(run / "curriculum.parquet", CURRICULUM).to_pylist()
    problems = read_table(run / "problems.parquet", PROBLEMS).to_pylist()
    validation = [row for row in problems if row["split"] == "validation" and row["gold"] and row["problem"]]
    manifest = _train(config, step, model, curriculum, validation, overwrite)
    return summarize(manifest, "policy", skipped=False)


def _train(
    config: Config,
    step: Step,
    model: Model,
    curriculum: list[dict[str, Any]],
    validation: list[dict[str, Any]],
    overwrite: bool,
) -> Manifest:
    try:
        from .trainer import Watch, grpo_config, make_trainer
    except ModuleNotFoundError as error:
        raise UserError(
            f"training needs {error.name}: pip install 'selftrain[train]' or run `make setup` in a checkout"
        ) from error
    if len(curriculum) < config.train.prompts_per_step:
        raise UserError(
            f"the curriculum has {len(curriculum)} problems, fewer than train.prompts_per_step "
            f"{config.train.prompts_per_step}: lower it, or raise curate.fraction"
        )
    policy = step.run / "policy"
    args = grpo_config(config, policy, len(validation))
    begin(step, overwrite=overwrite)
    policy.mkdir(exist_ok=True)
    with judge_of(config.answers, step.run / "verdicts.parquet") as judge:
        trainer = make_trainer(config, args, model, curriculum, validation, judge)
        resume = _last_checkpoint(policy)
        total = config.train.max_steps or _steps(config, len(curriculum))
        with progress(f"train {step.run.name}", total) as advance:
            if resume:
                # The base was validated by the run that began this one.
                trainer.args.eval_on_start = False
                advance(_step_of(resume), "resumed")
            trainer.add_callback(Watch(policy / "timing.jsonl", advance))
            trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    return _finish(config, step, model, trainer, curriculum, validation)


def _finish(
    config: Config,
    step: Step,
    model: Model,
    trainer: Any,
    curriculum: list[dict[str, Any]],
    validation: list[dict[str, Any]],
) -> Manifest:
    """Save last and best, the metrics, and the manifest of a training that has come to its end."""
    policy = step.run / "policy"
    history = trainer.state.log_history
    trainer.save_model(str(policy / "last"))
    chosen = _choose(trainer.state, history, policy, model) if validation else None
    metrics = as_table(metrics_rows(history), METRICS)
    write_table(policy / "metrics.parquet", metrics, METRICS)
    outputs = {
        "policy/metrics.parquet": table_output(step.run, "policy/metrics.parquet", metrics, METRICS),
        "policy/last": _weights(step.run, "policy/last"),
    }
    if validation:
        outputs["policy/best"] = _weights(step.run, "policy/best")
    rewards = [row["pseudo_reward"] for row in metrics.to_pylist() if row["pseudo_reward"] is not None]
    summary = {
        "steps": trainer.state.global_step,
        "rollouts": trainer.state.global_step * config.train.prompts_per_step * config.train.num_generations,
        "pseudo_reward_first": round(rewards[0], 4),
        "pseudo_reward_last": round(rewards[-1], 4),
        "gold_labels_used_to_choose": len(validation),
        **(chosen or {"chosen_step": None, "choice": "none: no gold validation, policy/last is the result"}),
    }
    return commit(step, outputs, rows_in=len(curriculum), rows_out=trainer.state.global_step, summary=summary)


def _choose(state: Any, history: list[dict[str, Any]], policy: Path, base: Model) -> dict[str, Any]:
    """Copy the checkpoint with the highest validation accuracy to policy/best; the base where none beats it."""
    scores = {log["step"]: log["eval_reward"] for log in history if "eval_reward" in log}
    at_base = scores.get(0, float("-inf"))
    step = state.best_global_step
    if step is None or scores[step] <= at_base:
        step, source = 0, base.folder
    else:
        source = policy / f"checkpoint-{step}"
    best = policy / "best"
    shutil.rmtree(best, ignore_errors=True)
    best.mkdir()
    for name in file_digests(source):
        shutil.copyfile(source / name, best / name)
    return {
        "chosen_step": step,
        "validation_accuracy_base": round(at_base, 4),
        "validation_accuracy_best": round(scores[step], 4),
        "choice": "highest validation avg@k" if step else "the base: no checkpoint beat it on validation",
    }


def metrics_rows(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """TRL's log as rows of METRICS: one a step, the validation of a step beside its training values.

    What is not a finite number (the loss of a step that diverged) becomes null.
    """
    rows: dict[int, dict[str, Any]] = {}
    for log in history:
        empty = dict.fromkeys((*_LOGGED, "validation_accuracy"))
        row = rows.setdefault(log["step"], {"step": log["step"], **empty})
        if "eval_reward" in log:
            row["validation_accuracy"] = log["eval_reward"]
        elif "reward" in log:
            row |= {column: _finite(log.get(name)) for column, name in _LOGGED.items()}
    return [rows[step] for step in sorted(rows)]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _weights(run: Path, relative: str) -> Output:
    """Digests of a saved policy; its content digest is that of its files, as for any model folder."""
    digests = file_digests(run / relative)
    return Output(digest_of(digests), {f"{relative}/{name}": digest for name, digest in digests.items()})


def _steps(config: Config, problems: int) -> int:
    """Optimizer steps of the configured epochs: TRL drops an incomplete last batch of prompts."""
    return int(config.train.num_train_epochs * (problems // config.train.prompts_per_step))


def _last_checkpoint(policy: Path) -> Path | None:
    """The newest complete checkpoint: trainer_state.json is the last file that the trainer writes into one."""
    found = [path for path in policy.glob("checkpoint-*") if _is_json(path / "trainer_state.json")]
    return max(found, key=_step_of, default=None)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rsplit("-", 1)[1])
