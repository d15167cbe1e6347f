"""TRL glue: our sections as a GRPOConfig, the curriculum as a data set, progress and timing as a callback."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import PrinterCallback, TrainerCallback
from transformers.utils import logging as transformers_logging
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from ...answers import Judge, gold_answer
from ...data.errors import UserError
from ...data.models import Model
from ...data.prompts import prompt_of
from ..config import Config, TrainSection
from ..generate import load_tokenizer
from ..progress import Advance
from .reward import label_reward

# GRPOConfig fields that the train section, the seed or the run folder decide.
_OURS = frozenset(
    """output_dir seed per_device_train_batch_size per_device_eval_batch_size gradient_accumulation_steps
    generation_batch_size steps_per_generation num_generations num_generations_eval num_train_epochs max_steps
    learning_rate lr_scheduler_type weight_decay max_grad_norm beta epsilon loss_type scale_rewards temperature
    max_completion_length eval_strategy eval_steps eval_on_start save_strategy save_steps logging_steps
    metric_for_best_model greater_is_better load_best_model_at_end chat_template_kwargs remove_unused_columns
    """.split()  # noqa: SIM905 - a list of 31 quoted names reads worse
)


def _require_known_fields(extra: dict[str, Any]) -> None:
    """Raise UserError when `train.trl` names a field that TRL does not have or that the train section decides."""
    fields = {field.name for field in dataclasses.fields(GRPOConfig)}
    for name in extra:
        if name in _OURS:
            raise UserError(f"train.trl.{name} is decided by the train section; set it there")
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f"; did you mean train.trl.{near[0]}?" if near else ""
            raise UserError(f"unknown key train.trl.{name}: this TRL's GRPOConfig has no such field{hint}")


def grpo_config(config: Config, output: Path, n_validation: int) -> GRPOConfig:
    """The section `train` as TRL arguments; writes nothing.

    One optimizer step uses `prompts_per_step` x `num_generations` rollouts, in pieces of `micro_batch_size`
    (fully on-policy: one update for each generation, as in the paper's B.1). Raises UserError on a field or
    value that TRL refuses.
    """
    section = config.train
    _require_known_fields(section.trl)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rows = section.prompts_per_step * section.num_generations
    micro = section.micro_batch_size or rows // world
    if rows % (micro * world):
        raise UserError(
            f"{rows} rollouts a step (prompts_per_step x num_generations) are not divided by "
            f"{world} processes x micro_batch_size {micro}"
        )
    dtype = {} if config.model.dtype == "auto" else {"dtype": config.model.dtype}
    defaults: dict[str, Any] = {
        "bf16": False, "gradient_checkpointing": False, "report_to": "none", "disable_tqdm": True,
        "save_total_limit": 2, "use_cpu": not torch.cuda.is_available(), "dataloader_pin_memory": False,
        "model_init_kwargs": dtype or None,
    }  # fmt: skip
    arguments: dict[str, Any] = dict(
        output_dir=str(output),
        seed=config.seed,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=rows // (micro * world),
        num_generations=section.num_generations,
        num_train_epochs=section.num_train_epochs,
        max_steps=section.max_steps or -1,
        learning_rate=section.learning_rate,
        lr_scheduler_type=section.lr_scheduler_type,
        weight_decay=section.weight_decay,
        max_grad_norm=section.max_grad_norm,
        beta=section.beta,
        epsilon=section.epsilon,
        loss_type=section.loss_type,
        scale_rewards=section.scale_rewards,
        temperature=section.temperature,
        max_completion_length=section.max_completion_length,
        chat_template_kwargs=config.prompt.chat_template_kwargs or None,
        save_strategy="steps",
        save_steps=section.eval_every,
        logging_steps=1,
        **_validation(section, n_validation),
        **{**defaults, **section.trl},
    )
    try:
        return GRPOConfig(**arguments)
    except (ValueError, TypeError) as error:
        raise UserError(f"train: TRL refuses these settings: {error}") from error


def _validation(section: TrainSection, n_validation: int) -> dict[str, Any]:
    """Validation at every checkpoint and before the first step, where there are gold validation problems."""
    if not n_validation:
        return {}
    # Whole groups of validation samples; near 256 rows, since larger batches of a small model are bound by
    # copies of the KV cache on CPU.
    groups = max(1, (section.micro_batch_size or 256) // section.validation_samples)
    return {
        "eval_strategy": "steps",
        "eval_steps": section.eval_every,
        "eval_on_start": True,
        "num_generations_eval": section.validation_samples,
        "per_device_eval_batch_size": groups * section.validation_samples,
        "metric_for_best_model": "eval_reward",
        "greater_is_better": True,
    }


def as_dataset(rows: Sequence[dict[str, Any]], config: Config) -> datasets.Dataset:
    """Columns prompt, label (what the reward compares with), its forms, and gold. A row without a label is a validation
    problem: its label is its gold answer."""
    features = datasets.Features(
        {
            "prompt": datasets.Value("string")
            if config.prompt.template == "plain"
            else [{"role": datasets.Value("string"), "content": datasets.Value("string")}],
            "label": datasets.Value("string"),
            "label_forms": [datasets.Value("string")],
            "gold": datasets.Value("string"),
        }
    )
    return datasets.Dataset.from_list(
        [
            {
                "prompt": prompt_of(row["problem"], config.prompt),
                "label": row["label"] if "label" in row else gold_answer(row["gold"]),
                "label_forms": row.get("label_forms", []),
                "gold": row["gold"],
            }
            for row in rows
        ],
        features=features,
    )


class Watch(TrainerCallback):
    """Moves the progress bar and writes seconds and memory of each step to timing.jsonl (never into parquet)."""

    def __init__(self, timing: Path, advance: Advance) -> None:
        self._timing, self._advance = timing, advance
        self._since = time.monotonic()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._since = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        record = {
            "step": state.global_step,
            "seconds": round(time.monotonic() - self._since, 3),
            "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
        with self._timing.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(record) + "\n")
        last = next((log for log in reversed(state.log_history) if "reward" in log), {})
        reward = last.get("reward")
        self._advance(1, f"pseudo-reward {reward:.3f}" if reward is not None else "")


def make_trainer(
    config: Config,
    args: GRPOConfig,
    model: Model,
    curriculum: list[dict[str, Any]],
    validation: list[dict[str, Any]],
    judge: Judge | None,
) -> GRPOTrainer:
    """A GRPOTrainer over curriculum rows, with gold validation rows where there are any."""
    torch.set_num_threads(config.threads)
    transformers_logging.disable_progress_bar()
    tokenizer = load_tokenizer(model)
    tokenizer.padding_side = "left"
    stops = _stop_ids(model, tokenizer)
    reward = label_reward(config.answers.rules, config.train.max_completion_length, stops, judge)
    trainer = GRPOTrainer(
        model=str(model.folder),
        reward_funcs=reward,
        args=args,
        train_dataset=as_dataset(curriculum, config),
        eval_dataset=as_dataset(validation, config) if validation else None,
        processing_class=tokenizer,
    )
    # Without transformers' own progress bar it would print every step's log as a line.
    trainer.remove_callback(PrinterCallback)
    return trainer


def _stop_ids(model: Model, tokenizer: Any) -> list[int]:
    """Every token that ends a response: the tokenizer's and those of generation_config.json, as TRL and vLLM use."""
    path = model.folder / "generation_config.json"
    ids = json.loads(path.read_text("utf-8")).get("eos_token_id") if path.is_file() else None
    return [tokenizer.eos_token_id, *([ids] if isinstance(ids, int) else ids or [])]
