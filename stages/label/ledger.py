"""From the answers of one problem to its row in the ledger. Pure: no files, no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...answers import GRADER_VERSION, Judge, equivalent, gold_answer, normalize, vote


@dataclass(frozen=True)
class Vote:
    """One sample as it counts: its answer (None: no vote) and whether it hit the token limit."""

    answer: str | None
    truncated: bool


def ledger_row(
    problem_id: str, votes: Sequence[Vote], gold: str | None, min_frequency: float, judge: Judge | None = None
) -> dict[str, Any]:
    """Plurality label of one problem and every count behind it (columns of schemas.LABELS).

    The label is the most common spelling of the largest class. It abstains on a tie, without answers or
    samples, and when the majority frequency (of all samples) is below `min_frequency`. Against gold:
    pass_rate is the share of samples equal to gold, reward_accuracy the share on which the label hands out the
    same reward as gold would (TTRL's "reward accuracy"). `judge` settles what canonical forms leave open.
    """
    answers = [vote_.answer for vote_ in votes]
    ballot = vote(answers, judge)
    label, reason = ballot.label, ballot.reason
    if not votes:
        reason = "no_samples"
    elif label is not None and ballot.majority_frequency < min_frequency:
        label, reason = None, "below_min_frequency"
    row: dict[str, Any] = {
        "problem_id": problem_id,
        "classes": [
            {
                "answer": group.representative,
                "canonical": group.canonical,
                "forms": sorted({normalize(answers[member] or "") for member in group.members}),
                "count": group.count,
                "correct": None,
            }
            for group in ballot.classes
        ],
        "label": label,
        "reason": reason,
        "majority_count": ballot.majority_count,
        "majority_frequency": ballot.majority_frequency,
        "answered_frequency": ballot.answered_frequency,
        "margin": ballot.margin,
        "entropy": ballot.entropy,
        "n_samples": ballot.n_samples,
        "n_answered": ballot.n_answered,
        "n_truncated": sum(vote_.truncated for vote_ in votes),
        "tie": ballot.tie,
        "unsure": ballot.unsure,
        "pass_rate": None,
        "label_correct": None,
        "reward_accuracy": None,
        "grader_version": GRADER_VERSION,
    }
    if gold is not None and votes:
        row |= _against_gold(row, gold_answer(gold), judge)
    return row


def _against_gold(row: dict[str, Any], gold: str, judge: Judge | None) -> dict[str, Any]:
    form = normalize(gold)
    classes = [
        {**group, "correct": form in group["forms"] or equivalent(gold, group["answer"], judge)}
        for group in row["classes"]
    ]
    n = row["n_samples"]
    right = sum(group["count"] for group in classes if group["correct"])
    found: dict[str, Any] = {"classes": classes, "pass_rate": right / n}
    if row["label"] is not None:
        correct = classes[0]["correct"]
        disagreeing = 0 if correct else right + row["majority_count"]
        # Two classes can both equal gold where nobody joined them: then the label rewards fewer than gold does.
        missed = right - row["majority_count"] if correct else 0
        found |= {"label_correct": correct, "reward_accuracy": 1 - (disagreeing + missed) / n}
    return found
