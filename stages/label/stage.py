"""label: samples -> answers.parquet (one row a sample) -> labels.parquet (the ledger, one row a problem).

Two steps with a manifest each, so that a new rule re-reads the small answers file, never the responses.
Deviation from the paper's code: votes are exact answer classes rather than raw strings, a response without an
answer does not vote but stays in the denominator, and a tie abstains rather than taking the first answer seen.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from ...answers import GRADER_VERSION, Judge, find, gold_answer, votes
from ...data.errors import UserError
from ...data.manifest import (
    Manifest,
    Step,
    begin,
    commit,
    finished,
    input_content,
    load,
    refuse_strays,
    require_free,
    table_output,
)
from ...data.problems import Problems
from ...data.schemas import ANSWERS, LABELS, PROBLEMS
from ...data.store import as_table, read_table, sha256_of, write_table
from ..config import Config
from ..progress import progress
from ..summary import Summary, summarize
from .ledger import Vote, ledger_row
from .sources import Sample, outside_problems, outside_samples, own_samples
from .verdicts import judge_of

_REPORT_EVERY = 1_000  # samples between two movements of the progress bar


def run(config: Config, run: Path, *, overwrite: bool = False, memo: Path | None = None) -> Summary:
    """Extract the answer of every sample, vote, and write the ledger.

    `memo` is where verdicts are kept, the run's own verdicts.parquet unless given.

    Reads samples/ of the run, or the file `samples.path` of another engine (then problems.parquet is made from
    that file). Needs neither torch nor vLLM. Raises UserError on the user's mistakes, before anything is written.
    """
    outside = Path(config.samples.path).expanduser() if config.samples.path else None
    if not overwrite:
        refuse_strays(run, "labels", ("labels.parquet",))
    memo = memo or run / "verdicts.parquet"
    _answers(config, run, outside, overwrite, memo)
    manifest, skipped = _labels(config, run, overwrite, memo)
    return summarize(manifest, "labels.parquet", skipped=skipped)


def _answers(config: Config, run: Path, outside: Path | None, overwrite: bool, memo: Path) -> None:
    if outside is None:
        content = input_content(run, "samples", "samples", "srt generate")
    elif (run / "samples.json").is_file():
        raise UserError(f"{run} holds generated samples; label the file {outside} in another --run folder")
    elif not outside.is_file():
        raise UserError(f"samples.path: {outside} does not exist")
    else:
        content = sha256_of(outside)
    # How an outside file is read decides the problems too; of generated samples the problems are an input.
    reading = {"samples": {"columns": config.samples.columns}, "problems": {"gold_after": config.problems.gold_after}}
    step = Step(
        "answers",
        "label",
        run,
        config={**config.sections("answers"), **(reading if outside else {}), "grader_version": GRADER_VERSION},
        inputs={"samples": content},
        owns=("answers.parquet",) if outside is None else ("problems.parquet", "answers.parquet"),
    )
    if finished(step, overwrite=overwrite):
        return
    require_free(step, overwrite=overwrite)
    if outside:
        problems = outside_problems(outside, config)
        samples, total = outside_samples(outside, config), problems.table.num_rows + problems.merged
    else:
        problems = None
        samples, total = own_samples(run), load(run / "samples.json").value["rows_out"]
    by_problem: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with progress(f"label {run.name}", total) as advance:
        for number, sample in enumerate(samples, 1):
            by_problem[sample.problem_id].append(_answer(sample, config))
            if number % _REPORT_EVERY == 0:
                advance(_REPORT_EVERY, "answers")
        advance(total % _REPORT_EVERY, "answers")
    with judge_of(config.answers, memo) as judge:
        _number_classes(list(by_problem.values()), judge)
    _commit_answers(run, step, problems, by_problem, overwrite)


def _answer(sample: Sample, config: Config) -> dict[str, Any]:
    found = find(sample.response, truncated=sample.truncated, rules=config.answers.rules)
    return {
        "problem_id": sample.problem_id,
        "sample_index": sample.sample_index,
        "answer": found.answer if found else None,
        "how": found.how if found else None,
        "class_id": None,
        "settled_by": None,
        "truncated": sample.truncated,
    }


def _number_classes(problems: list[list[dict[str, Any]]], judge: Judge | None) -> None:
    """Give the rows of each problem, in sample order, their class ids: 0 is the largest class."""
    for rows in problems:
        rows.sort(key=lambda row: row["sample_index"])
    ballots = votes([[row["answer"] for row in rows] for rows in problems], judge)
    for rows, ballot in zip(problems, ballots, strict=True):
        for class_id, group in enumerate(ballot.classes):
            for member in group.members:
                rows[member] |= {"class_id": class_id, "settled_by": group.settled_by}


def _commit_answers(
    run: Path,
    step: Step,
    problems: Problems | None,
    by_problem: dict[str, list[dict[str, Any]]],
    overwrite: bool,
) -> None:
    table = as_table((row for key in sorted(by_problem) for row in by_problem[key]), ANSWERS)
    begin(step, overwrite=overwrite)
    write_table(run / "answers.parquet", table, ANSWERS)
    outputs = {"answers.parquet": table_output(run, "answers.parquet", table, ANSWERS)}
    if problems is not None:
        write_table(run / "problems.parquet", problems.table, PROBLEMS)
        outputs["problems.parquet"] = table_output(run, "problems.parquet", problems.table, PROBLEMS)
    how = Counter(value or "none" for value in table.column("how").to_pylist())
    n = max(table.num_rows, 1)
    summary = {
        "samples": table.num_rows,
        "answered_share": round(1 - how["none"] / n, 4),
        "found_by": dict(how),
    }
    commit(step, outputs, rows_in=table.num_rows, rows_out=table.num_rows, summary=summary)


def _labels(config: Config, run: Path, overwrite: bool, memo: Path) -> tuple[Manifest, bool]:
    made_problems = "answers" if config.samples.path else "samples"
    step = Step(
        "labels",
        "label",
        run,
        config=config.sections("answers", "label"),
        inputs={
            "answers.parquet": input_content(run, "answers", "answers.parquet", "srt label"),
            "problems.parquet": input_content(run, made_problems, "problems.parquet", "srt label"),
        },
        owns=("labels.parquet",),
    )
    manifest = finished(step, overwrite=overwrite)
    if manifest:
        return manifest, True
    require_free(step, overwrite=overwrite)
    problems = {row["problem_id"]: row for row in read_table(run / "problems.parquet", PROBLEMS).to_pylist()}
    cast: dict[str, list[Vote]] = defaultdict(list)
    for row in read_table(run / "answers.parquet", ANSWERS).to_pylist():
        cast[row["problem_id"]].append(Vote(row["answer"], row["truncated"]))
    splits = {problems[problem_id]["split"] for problem_id in cast}
    with judge_of(config.answers, memo) as judge:
        if judge is not None:
            _ask_about_gold(judge, problems, cast)
        rows = [
            ledger_row(problem_id, cast.get(problem_id, []), problem["gold"], config.label.min_frequency, judge)
            for problem_id, problem in sorted(problems.items())
            if problem["split"] in splits
        ]
    table = as_table(rows, LABELS)
    begin(step, overwrite=overwrite)
    write_table(run / "labels.parquet", table, LABELS)
    outputs = {"labels.parquet": table_output(run, "labels.parquet", table, LABELS)}
    n_samples = sum(len(group) for group in cast.values())
    return commit(step, outputs, rows_in=n_samples, rows_out=len(rows), summary=_statistics(table)), False


def _ask_about_gold(judge: Judge, problems: dict[str, dict[str, Any]], cast: dict[str, list[Vote]]) -> None:
    """Let the judge see every pair of gold and answer in one batch: one trip a problem would cost most of the time."""
    judge.equal_all(
        [
            (gold_answer(problems[problem_id]["gold"]), answer)
            for problem_id, group in cast.items()
            if problems[problem_id]["gold"]
            for answer in sorted({vote.answer for vote in group if vote.answer is not None})
        ]
    )


def _statistics(table: pa.Table) -> dict[str, Any]:
    """What the ledger as a whole says; means are over problems, accuracies only where there is gold."""
    rows = table.to_pylist()
    labelled = [row for row in rows if row["label"] is not None]
    judged = [row for row in labelled if row["label_correct"] is not None]
    n_samples = sum(row["n_samples"] for row in rows)
    return {
        "problems": len(rows),
        "labelled": len(labelled),
        "abstained": dict(Counter(row["reason"] for row in rows if row["reason"])),
        "abstained_total": len(rows) - len(labelled),
        "unsure": sum(row["unsure"] for row in rows),
        "mean_majority_frequency": mean([row["majority_frequency"] for row in rows]),
        "answered_share": round(sum(row["n_answered"] for row in rows) / max(n_samples, 1), 4),
        "truncated_share": round(sum(row["n_truncated"] for row in rows) / max(n_samples, 1), 4),
        "pass_rate": mean([row["pass_rate"] for row in rows if row["pass_rate"] is not None]),
        "label_accuracy": mean([float(row["label_correct"]) for row in judged]),
        "reward_accuracy": mean([row["reward_accuracy"] for row in judged]),
    }


def mean(values: list[float]) -> float | None:
    """Mean to 4 places, None of nothing."""
    return round(sum(values) / len(values), 4) if values else None
