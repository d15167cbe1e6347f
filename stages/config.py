"""The typed configuration: one YAML an experiment, one section a stage.

Precedence: defaults here < the file < `--set section.key=value`. An unknown key is an error. All models are
frozen; a stage gets the whole `Config` and reads its own sections.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..answers import find
from ..data import models, problems
from ..data.errors import UserError
from ..data.prompts import PAPER_SUFFIX

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )


class ProblemsSection(_Section):
    path: str | None = problems.BUILTIN
    """A parquet, jsonl or csv file, or builtin:arithmetic."""
    hub: str | None = None
    """A data set of the Hugging Face Hub (set path to null)."""
    subset: str | None = None
    hub_split: str = "train"
    revision: str | None = None
    columns: dict[str, str] = {}
    """Our field: the source's column, for problem_id, problem, gold, source, level, split."""
    gold_after: str | None = None
    """Take the gold answer from behind the last occurrence of this marker (GSM8K: "####")."""
    limit: Count | None = None
    """Keep the first rows of the source."""
    held_out: dict[str, Share] = {"validation": 0.1, "test": 0.2}
    """Shares set aside by a seeded hash of problem_id where the source has no split column."""

    @field_validator("held_out")
    @classmethod
    def _some_left(cls, held_out: dict[str, float]) -> dict[str, float]:
        if sum(held_out.values()) >= 1:
            raise ValueError("the shares held out must leave problems to train on")
        return held_out


class ModelSection(_Section):
    path: str = models.BUILTIN
    """A folder, a Hub id (org/name), or builtin:tiny."""
    revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"


class PromptSection(_Section):
    template: Literal["chat", "plain"] = "chat"
    """chat: the model's own template; plain: the text as it is, for base models without one."""
    system: str | None = None
    suffix: str | None = PAPER_SUFFIX
    chat_template_kwargs: dict[str, Any] = {}


class AnswersSection(_Section):
    rules: Annotated[tuple[str, ...], Field(min_length=1)] = ("boxed",)
    """Extraction rules, in order; the first that finds an answer decides."""

    verifier: Literal["math_verify", "none"] = "math_verify"
    """Who is asked about pairs that canonical forms leave open and that could change a vote or a reward."""
    verify_seconds: Positive = 2.0
    """Wall-clock limit of one comparison; then its worker is killed and the verdict is unknown."""

    @field_validator("rules")
    @classmethod
    def _known_rules(cls, rules: tuple[str, ...]) -> tuple[str, ...]:
        find("", rules=rules)  # raises ValueError on an unknown rule, naming the known ones
        return rules


class VllmSection(_Section):
    max_model_len: Count | None = None
    max_num_seqs: Count = 256
    block_size: Count | None = None
    """null: 32 on CPU (the default 128 is longer than most prompts, so n-way requests would share no prefix)."""
    kv_cache_gib: Count = 1
    """KV cache on CPU."""
    gpu_memory_utilization: Share = 0.9
    tensor_parallel_size: Count = 1
    enforce_eager: bool = True
    """No graph capture: the same numbers at every batch size, and no minutes of compilation on CPU."""


class _Sampling(_Section):
    samples: Count
    temperature: Annotated[float, Field(ge=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=0)] = 0
    """0: off."""
    max_tokens: Count = 3072
    chunk_size: Count = 64
    """Problems a chunk: the unit of work, commit and recovery."""


class GenerateSection(_Sampling):
    samples: Count = 32
    """Votes a problem."""


class LabelSection(_Section):
    min_frequency: Share = 0.0
    """Abstain below this majority frequency (of all samples); 0.6 is the paper's online filter."""


class CurateSection(_Section):
    fraction: Annotated[float, Field(gt=0, le=1)] = 1 / 3
    """Keep this share of the labelled problems, the easiest by majority frequency (paper I.3: a third)."""


class TrainSection(_Section):
    """GRPO settings under TRL's names; defaults are the paper's (its §B.1, §B.3 and scripts) where it has one."""

    prompts_per_step: Count = 16
    num_generations: Annotated[int, Field(ge=2)] = 32
    """Rollouts a prompt."""
    micro_batch_size: Count | None = None
    """Rollouts a device holds at once in the backward pass; null: all of a step."""
    num_train_epochs: Positive = 1.0
    max_steps: Count | None = None
    """Overrides num_train_epochs."""
    learning_rate: Positive = 1e-6
    lr_scheduler_type: str = "constant"
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    max_grad_norm: Positive = 1.0
    beta: Annotated[float, Field(ge=0)] = 0.001
    """KL coefficient (k3 in the loss); 0 needs no reference model."""
    epsilon: Positive = 0.2
    loss_type: Literal["grpo", "dr_grpo", "dapo", "bnpo"] = "dapo"
    """dapo is the token mean of the paper's code; grpo is the paper's formula."""
    scale_rewards: Literal["group", "batch", "none"] = "none"
    """none: RLOO up to the factor G / (G - 1)."""
    temperature: Positive = 1.0
    max_completion_length: Count = 3072
    eval_every: Count = 100
    """Steps between validations and checkpoints."""
    validation_samples: Annotated[int, Field(ge=2)] = 16
    """Rollouts a validation problem (avg@k at the training temperature)."""
    trl: dict[str, Any] = {}
    """More GRPOConfig fields under TRL's names: bf16, gradient_checkpointing, use_vllm, report_to, …"""

    @model_validator(mode="after")
    def _whole_groups(self) -> TrainSection:
        rows = self.prompts_per_step * self.num_generations
        if self.micro_batch_size is not None and rows % self.micro_batch_size:
            raise ValueError(
                f"micro_batch_size {self.micro_batch_size} does not divide the {rows} rollouts of a step "
                f"(prompts_per_step x num_generations)"
            )
        return self


class EvalSection(_Sampling):
    samples: Count = 16
    """k of avg@k, maj@k and pass@k."""
    splits: Annotated[tuple[str, ...], Field(min_length=1)] = ("test",)
    """Held-out splits of problems.parquet to evaluate on; the first is the headline."""


class SamplesSection(_Section):
    path: str | None = None
    """Samples of another engine to label: parquet, jsonl or csv with a problem id and a response column."""
    columns: dict[str, str] = {}
    """Our field: the file's column, for problem_id, response, sample_index, finish_reason and the problem fields."""


class Config(_Section):
    seed: Annotated[int, Field(ge=0)] = 0
    threads: Count = 1
    """OpenMP threads of engine and trainer; part of their fingerprints since sums may depend on it."""
    problems: ProblemsSection = ProblemsSection()
    model: ModelSection = ModelSection()
    prompt: PromptSection = PromptSection()
    samples: SamplesSection = SamplesSection()
    answers: AnswersSection = AnswersSection()
    vllm: VllmSection = VllmSection()
    generate: GenerateSection = GenerateSection()
    label: LabelSection = LabelSection()
    curate: CurateSection = CurateSection()
    train: TrainSection = TrainSection()
    eval: EvalSection = EvalSection()

    def sections(self, *names: str) -> dict[str, Any]:
        """Plain resolved values of the named sections, for a fingerprint."""
        values = self.model_dump(mode="json")
        return {name: values[name] for name in names}


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file (none: defaults only), apply `section.key=value` overrides, check everything.

    Values of overrides are read as YAML. Raises UserError naming the key, its place and the nearest known one.
    """
    raw: Any = {}
    where = "the defaults"
    if path is not None:
        where = str(path)
        if not path.is_file():
            raise UserError(f"config file {path} does not exist")
        try:
            raw = yaml.safe_load(path.read_text("utf-8")) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"{path} is not readable as YAML: {' '.join(str(error).split())}") from error
        if not isinstance(raw, dict):
            raise UserError(f"{path} must hold sections (key: value), not a {type(raw).__name__}")
    for override in overrides:
        _apply(raw, override)
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise UserError(_explain(error, where)) from error


def _apply(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise UserError(f"--set {override}: write it as section.key=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"--set {override}: the value is not readable as YAML") from error
    if value is None and text.strip().lower() not in ("", "~", "null"):
        value = text.strip()  # such as ####, which YAML takes for a comment
    target = raw
    for part in parts[:-1]:
        if not isinstance(target.get(part) or {}, dict):
            raise UserError(f"--set {override}: {part} is a value, not a section")
        # A copy, since a YAML anchor may have given two sections one mapping.
        target[part] = dict(target.get(part) or {})
        target = target[part]
    target[parts[-1]] = value


def _explain(error: ValidationError, where: str) -> str:
    first = error.errors()[0]
    keys = [str(part) for part in first["loc"]]
    name = ".".join(keys)
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(keys[-1], _known_keys(keys[:-1]), n=1, cutoff=0.5)
        hint = (
            f"; did you mean {'.'.join([*keys[:-1], near[0]])}?"
            if near
            else f"; known: {', '.join(_known_keys(keys[:-1]))}"
        )
        return f"unknown key {name} in {where}{hint}"
    message = first["msg"].removeprefix("Value error, ")
    value = "" if isinstance(first["input"], dict) else f" (it is {first['input']!r})"
    return f"{name or 'config'}: {message[0].lower()}{message[1:]}{value}, in {where} or --set"


def _known_keys(path: list[str]) -> list[str]:
    model: type[BaseModel] = Config
    for part in path:
        annotation = model.model_fields[part].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)
