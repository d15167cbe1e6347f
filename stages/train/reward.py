"""The reward: does the rollout's answer equal the label? The same `answers` as vote and evaluation, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...answers import Judge, equivalent, extract, gold_answer, normalize

Reward = Callable[..., list[float | None]]


def label_reward(
    rules: Sequence[str], max_completion_length: int, eos_token_ids: Sequence[int], judge: Judge | None = None
) -> Reward:
    """A TRL reward function: 1.0 where the rollout's answer equals its row's `label`, else 0.0.

    An answer equals the label when its canonical form is one of `label_forms` (those that voted for it) or when
    the judge says so. A row without a label gives None, which TRL leaves out of the group's baseline. `gold` is
    a monitor: it is logged inside this one function, never rewarded (a second, zero-weight reward function would
    turn an abstention into reward 0, since TRL skips a row only when all functions return None).
    In TRL's evaluation rows the label is the gold answer of the validation set.
    """
    stops = set(eos_token_ids)

    def reward(
        completions: list[Any],
        completion_ids: list[list[int]],
        label: list[str | None],
        label_forms: list[list[str]],
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
        truths = [None if text is None else gold_answer(text) for text in gold]
        known = [hit for hit in _hits(answers, truths, [[] for _ in answers], judge) if hit is not None]
        if known:
            log_metric("gold_accuracy", sum(known) / len(known))
        return _hits(answers, label, label_forms, judge)

    # TRL names its metrics after the function.
    reward.__name__ = "label"
    return reward


def _hits(
    answers: Sequence[str | None], targets: Sequence[str | None], forms: Sequence[Sequence[str]], judge: Judge | None
) -> list[float | None]:
    """1.0 or 0.0 for each answer, None without a target; open pairs go to the judge in one batch."""
    hits: list[float | None] = []
    open_pairs: list[tuple[int, str, str]] = []
    for index, (answer, target, known) in enumerate(zip(answers, targets, forms, strict=True)):
        if target is None:
            hits.append(None)
        elif answer is None:
            hits.append(0.0)
        elif normalize(answer) in known or equivalent(answer, target, judge=None):
            hits.append(1.0)
        else:
            hits.append(0.0)
            open_pairs.append((index, answer, target))
    if judge is not None and open_pairs:
        equal = judge.equal_all([(answer, target) for _, answer, target in open_pairs])
        for (index, _, _), same in zip(open_pairs, equal, strict=True):
            hits[index] = float(same)
    return hits


def _text(completion: Any) -> str:
    """TRL hands over a string, or the assistant message of a conversation."""
    return completion if isinstance(completion, str) else completion[0]["content"]
