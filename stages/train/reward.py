"""The reward: does the rollout's answer equal the label? The same `answers` as vote and evaluation, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...answers import equivalent, extract, gold_answer

Reward = Callable[..., list[float | None]]


def label_reward(rules: Sequence[str], max_completion_length: int, eos_token_ids: Sequence[int]) -> Reward:
    """A TRL reward function: 1.0 where the rollout's answer equals its row's `label`, else 0.0.

    A row without a label gives None, which TRL leaves out of the group's baseline. `gold` is a monitor: it is
    logged inside this one function, never rewarded (a second, zero-weight reward function would turn an
    abstention into reward 0, since TRL skips a row only when all functions return None).
    In TRL's evaluation rows the label is the gold answer of the validation set.
    """
    stops = set(eos_token_ids)

    def reward(
        completions: list[Any],
        completion_ids: list[list[int]],
        label: list[str | None],
        gold: list[str | None],
        log_metric: Callable[[str, float], None],
        **_: Any,
    ) -> list[float | None]:
        answers = [
            extract(
                _text(completion),
                truncated=len(ids) >= max_completion_length and ids[-1] not in stops,
                rules=rules,
            )
            for completion, ids in zip(completions, completion_ids, strict=True)
        ]
        log_metric("answered", sum(answer is not None for answer in answers) / len(answers))
        known = [
            _hit(answer, gold_answer(truth)) for answer, truth in zip(answers, gold, strict=True) if truth is not None
        ]
        if known:
            log_metric("gold_accuracy", sum(known) / len(known))
        return [None if target is None else _hit(answer, target) for answer, target in zip(answers, label, strict=True)]

    # TRL names its metrics after the function.
    reward.__name__ = "label"
    return reward


def _hit(answer: str | None, target: str) -> float:
    return float(answer is not None and equivalent(answer, target))


def _text(completion: Any) -> str:
    """TRL hands over a string, or the assistant message of a conversation."""
    return completion if isinstance(completion, str) else completion[0]["content"]
