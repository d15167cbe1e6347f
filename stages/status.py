"""The story of a run in one table, read from its manifests alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from ..data.errors import UserError
from ..data.manifest import Manifest, load

_STEPS = (
    ("samples", "samples/"),
    ("answers", "answers.parquet"),
    ("labels", "labels.parquet"),
    ("curriculum", "curriculum.parquet"),
    ("policy", "policy/"),
    ("evals", "evals/"),
)


def show(run: Path) -> None:
    """Print stage, rows in, rows out, seconds and file of every finished step, then the evaluation.

    Raises UserError when the folder holds no finished stage.
    """
    found = {name: load(run / f"{name}.json") for name, _ in _STEPS if (run / f"{name}.json").is_file()}
    if not found:
        raise UserError(f"{run} holds no finished stage: run `srt generate --run {run}` first")
    console = Console()
    if not console.is_terminal:
        console = Console(width=100)
    table = _table(f"{run}", ("stage", "rows in", "rows out", "seconds", "file"))
    for name, file in _STEPS:
        if name in found:
            value = found[name].value
            counts = (f"{value['rows_in']:,}", f"{value['rows_out']:,}", f"{value['seconds']:,.1f}")
            table.add_row(value["stage"], *counts, file)
    console.print(table)
    if "evals" in found:
        for split in found["evals"].summary["results"]["base"]:
            console.print(_evaluation(found["evals"], split))
        console.print(found["evals"].summary["headline"], highlight=False)
    if "policy" in found:
        console.print(_choice(found["policy"].summary), highlight=False)


def _table(title: str, headings: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number in (0, len(headings) - 1) else "right", no_wrap=True)
    return table


def _evaluation(manifest: Manifest, split: str) -> Table:
    """Base, best and last side by side on one split; every accuracy carries its 95% interval below it."""
    k, results = manifest.summary["k"], manifest.summary["results"]
    size = results["base"][split]["problems"]
    names = (f"avg@{k}", f"maj@{k}", f"pass@{k}")[: 3 if k > 1 else 2]
    table = _table(
        f"{split}: {size} problems, 95% intervals over problems", ("policy", *names, "agreement", "avg paired to base")
    )
    for policy, suites in results.items():
        result = suites[split]
        metrics = result.get("metrics", {})
        twin = f"\n= {result['same_weights_as']}" if "same_weights_as" in result else ""
        cells = [_interval(metrics.get(name)) for name in names]
        agreement = f"{result['label_free']['majority_frequency']:.3f}"
        table.add_row(policy + twin, *cells, agreement, _paired(result.get("paired_to_base")))
    return table


def _interval(estimate: dict[str, float] | None) -> str:
    if estimate is None:
        return "no gold"
    return f"{estimate['value']:.3f}\n{estimate['low']:.3f}-{estimate['high']:.3f}"


def _paired(difference: dict[str, Any] | None) -> str:
    if difference is None:
        return ""
    mark = "excludes 0" if difference["excludes_0"] else "includes 0"
    return f"{difference['value']:+.3f} {mark}\n{difference['low']:+.3f} to {difference['high']:+.3f}"


def _choice(summary: dict[str, Any]) -> str:
    """How the checkpoint was chosen, and what it cost in gold labels."""
    used = summary["gold_labels_used_to_choose"]
    if not used:
        return "No gold label was used: `last` is the final checkpoint, and there is no `best`."
    return (
        f"`best` is step {summary['chosen_step']} of {summary['steps']}, chosen with {used} gold validation labels "
        f"({summary['choice']}); `last` is the final checkpoint and used none."
    )
