"""curate: the ledger in, the curriculum out: the easiest share of the labelled problems, and why each other is out.

The paper's appendix I.3 keeps the easiest third of the training set, by majority frequency of the base model
(label-free); it released the subsets but no code. Ties at the cut are broken by a seeded hash of the problem id
and counted.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

from ..data.errors import UserError
from ..data.manifest import Step, begin, commit, finished, input_content, require_free, table_output
from ..data.schemas import CURRICULUM, EXCLUDED, LABELS, PROBLEMS
from ..data.store import as_table, read_table, write_table
from .config import Config
from .summary import Summary, summarize


def run(config: Config, run: Path, *, overwrite: bool = False) -> Summary:
    """Write curriculum.parquet, in order from easy to hard, and excluded.parquet.

    Raises UserError when the ledger is missing or no problem carries a label.
    """
    labelled_here = "samples" if (run / "samples.json").is_file() else "answers"
    step = Step(
        "curriculum",
        "curate",
        run,
        config=config.sections("seed", "curate"),
        inputs={
            "labels.parquet": input_content(run, "labels", "labels.parquet", "srt label"),
            "problems.parquet": input_content(run, labelled_here, "problems.parquet", "srt label"),
        },
        owns=("excluded.parquet", "curriculum.parquet"),
    )
    manifest = finished(step, overwrite=overwrite)
    if manifest:
        return summarize(manifest, "curriculum.parquet", skipped=True)
    require_free(step, overwrite=overwrite)
    ledger = read_table(run / "labels.parquet", LABELS).to_pylist()
    problems = {row["problem_id"]: row for row in read_table(run / "problems.parquet", PROBLEMS).to_pylist()}
    chosen, excluded = easiest(ledger, problems, config.curate.fraction, config.seed)
    if not chosen:
        counts = ", ".join(f"{count} {reason}" for reason, count in Counter(row["reason"] for row in excluded).items())
        raise UserError(f"no problem of {run / 'labels.parquet'} can be trained on ({counts}): nothing to curate")
    curriculum, left_out = as_table(chosen, CURRICULUM), as_table(excluded, EXCLUDED)
    begin(step, overwrite=overwrite)
    write_table(run / "excluded.parquet", left_out, EXCLUDED)
    write_table(run / "curriculum.parquet", curriculum, CURRICULUM)
    outputs = {
        "curriculum.parquet": table_output(run, "curriculum.parquet", curriculum, CURRICULUM),
        "excluded.parquet": table_output(run, "excluded.parquet", left_out, EXCLUDED),
    }
    summary = _statistics(ledger, chosen, excluded)
    manifest = commit(step, outputs, rows_in=len(ledger), rows_out=len(chosen), summary=summary)
    return summarize(manifest, "curriculum.parquet", skipped=False)


def easiest(
    ledger: list[dict[str, Any]], problems: dict[str, dict[str, Any]], fraction: float, seed: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Split ledger rows into curriculum rows (easy to hard) and excluded rows with their reason.

    `fraction` is of the training problems that have a label and a text; at least one of them is kept.
    """
    reasons = {row["problem_id"]: _reason(row, problems[row["problem_id"]]) for row in ledger}
    usable = [row for row in ledger if reasons[row["problem_id"]] is None]
    usable.sort(key=lambda row: (-row["majority_frequency"], _coin(seed, row["problem_id"])))
    keep = max(1, round(fraction * len(usable))) if usable else 0
    chosen = [
        {
            **{key: problems[row["problem_id"]][key] for key in ("problem_id", "problem", "gold", "level")},
            "label": row["label"],
            "label_forms": row["classes"][0]["forms"],
            "majority_frequency": row["majority_frequency"],
            "rank": rank,
        }
        for rank, row in enumerate(usable[:keep])
    ]
    kept = {row["problem_id"] for row in chosen}
    excluded = [
        {
            "problem_id": row["problem_id"],
            "reason": reasons[row["problem_id"]] or "beyond_fraction",
            "majority_frequency": row["majority_frequency"],
        }
        for row in ledger
        if row["problem_id"] not in kept
    ]
    return chosen, excluded


def _reason(row: dict[str, Any], problem: dict[str, Any]) -> str | None:
    """Why a ledger row cannot be trained on, or None."""
    if problem["split"] != "train":
        return "held_out"
    return row["reason"] or (None if problem["problem"] else "no_text")


def _coin(seed: int, problem_id: str) -> bytes:
    return hashlib.sha256(f"{seed}:{problem_id}".encode()).digest()


def _statistics(
    ledger: list[dict[str, Any]], chosen: list[dict[str, Any]], excluded: list[dict[str, Any]]
) -> dict[str, Any]:
    cut = chosen[-1]["majority_frequency"]
    correct = {row["problem_id"]: row["label_correct"] for row in ledger if row["label_correct"] is not None}
    judged = [correct[row["problem_id"]] for row in chosen if row["problem_id"] in correct]
    return {
        "chosen": len(chosen),
        "excluded": dict(Counter(row["reason"] for row in excluded)),
        "lowest_majority_frequency": cut,
        "ties_at_the_cut": sum(
            row["majority_frequency"] == cut for row in excluded if row["reason"] == "beyond_fraction"
        ),
        "label_accuracy": round(sum(judged) / len(judged), 4) if judged else None,
        "label_accuracy_of_all": round(sum(correct.values()) / len(correct), 4) if correct else None,
        "levels": dict(sorted(Counter(row["level"] for row in chosen if row["level"]).items())),
    }
