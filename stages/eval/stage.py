"""eval: base, best and last policy on the held-out splits -> evals/<policy>/<split>/ and evals.json.

Evaluation is generation and labelling on a held-out split, then one metrics function: every policy has a folder
of the same files as a run (samples, answers, labels), so there is no second way to sample or to grade.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

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
    load,
    require_free,
)
from ...data.models import Model, find_model
from ...data.schemas import LABELS, PROBLEMS
from ...data.store import digest_of, read_table, sha256_of, write_json
from .. import label
from ..config import Config, LabelSection, SamplesSection
from ..generate import Engine, draw, vllm_engine
from ..summary import Summary, summarize
from .metrics import SuiteScores, label_free, paired, scores


@dataclass(frozen=True)
class Policy:
    """A model to evaluate and the name of its folder."""

    name: str
    model: Model


def run(config: Config, run: Path, *, overwrite: bool = False) -> Summary:
    """Evaluate the base and, where a policy was trained, best and last, on `eval.splits`.

    Without gold the evaluation is label-free and says so. Raises UserError on the user's mistakes, before any
    model loads.
    """
    base = find_model(config.model.path, config.model.revision, run)
    inputs = {
        "problems.parquet": input_content(run, _maker(run), "problems.parquet", "srt generate"),
        "model": base.identity,
    }
    policies = [Policy("base", base)]
    if (run / "policy.json").is_file():
        for output in load(run / "policy.json").outputs:
            name = output.removeprefix("policy/")
            if name in ("best", "last"):
                content = input_content(run, "policy", output, "srt train")
                inputs[output] = content
                policies.append(Policy(name, Model(output, run / output, f"sha256:{content}")))
    policies.sort(key=lambda policy: ("base", "best", "last").index(policy.name))
    step = Step(
        "evals",
        "eval",
        run,
        config={
            **config.sections("seed", "threads", "prompt", "answers", "vllm", "eval"),
            "model": {"dtype": config.model.dtype},
            "grader_version": GRADER_VERSION,
        },
        inputs=inputs,
        owns=("evals",),
    )
    manifest = finished(step, overwrite=overwrite)
    if manifest:
        return _summary(manifest, skipped=True)
    require_free(step, overwrite=overwrite)
    problems = read_table(run / "problems.parquet", PROBLEMS)
    suites = {split: problems.filter(pc.field("split") == split) for split in config.eval.splits}
    for split, suite in suites.items():
        if not suite.num_rows:
            known = sorted(set(problems.column("split").to_pylist()))
            raise UserError(f"eval.splits names '{split}', but the problems have only: {', '.join(known)}")
    begin(step, overwrite=overwrite)
    return _summary(_evaluate(config, step, policies, suites), skipped=False)


def _maker(run: Path) -> str:
    return "samples" if (run / "samples.json").is_file() else "answers"


def _evaluate(config: Config, step: Step, policies: list[Policy], suites: dict[str, pa.Table]) -> Manifest:
    """Every policy on every suite, the base first; the same weights under a second name are not run again."""
    judged: dict[tuple[str, str], SuiteScores] = {}
    results: dict[str, dict[str, Any]] = {}
    outputs: dict[str, Output] = {}
    first_name: dict[str, str] = {}
    memo = step.run / "verdicts.parquet"
    rows = 0
    for policy in policies:
        twin = first_name.setdefault(policy.model.identity, policy.name)
        if twin != policy.name:
            results[policy.name] = {split: {**results[twin][split], "same_weights_as": twin} for split in suites}
            continue
        engine = vllm_engine(config, policy.model)
        results[policy.name] = {}
        for split, suite in suites.items():
            folder = step.run / "evals" / policy.name / split
            samples, ledger = _sample_and_label(config, folder, suite, split, policy.model, engine, memo)
            result, found = _judge(suite, ledger, samples, config.eval.samples)
            if found is not None:
                judged[policy.name, split] = found
                if policy.name != "base":
                    result["paired_to_base"] = paired(found, judged["base", split])
            results[policy.name][split] = result
            rows += samples.value["rows_out"]
            write_json(folder / "metrics.json", result)
            relative = str((folder / "metrics.json").relative_to(step.run))
            outputs[relative] = Output(digest_of(result), {relative: sha256_of(folder / "metrics.json")})
        engine.close()
    summary = {"headline": _headline(config, results), "results": results, "k": config.eval.samples}
    return commit(step, outputs, rows_in=sum(s.num_rows for s in suites.values()), rows_out=rows, summary=summary)


def _sample_and_label(
    config: Config, folder: Path, suite: pa.Table, split: str, model: Model, engine: Engine, memo: Path
) -> tuple[Manifest, list[dict[str, Any]]]:
    """The samples' manifest and the ledger of one policy on one suite; finished pieces are kept."""
    samples, _ = draw(config, folder, suite, model, config.eval, split=split, overwrite=True, engine=engine)
    # Rules that make pseudo-labels abstain are no business of a test set.
    plain = config.model_copy(update={"label": LabelSection(), "samples": SamplesSection()})
    label.run(plain, folder, overwrite=True, memo=memo)
    return samples, read_table(folder / "labels.parquet", LABELS).to_pylist()


def _judge(
    suite: pa.Table, ledger: list[dict[str, Any]], samples: Manifest, k: int
) -> tuple[dict[str, Any], SuiteScores | None]:
    """What metrics.json holds, and the scores by problem where the suite has gold."""
    gold = {row["problem_id"] for row in suite.to_pylist() if row["gold"]}
    result: dict[str, Any] = {
        "problems": suite.num_rows,
        "with_gold": len(gold),
        "label_free": label_free(ledger),
        "mean_response_tokens": samples.summary["mean_response_tokens"],
        "sampling": samples.summary["sampling"],
    }
    if not gold:
        return result, None
    found = scores(ledger, gold, k)
    return {**result, "metrics": found.metrics()}, found


def _headline(config: Config, results: dict[str, dict[str, Any]]) -> str:
    """One sentence: did self-training help on the first split?"""
    split, k = config.eval.splits[0], config.eval.samples
    name = next((name for name in ("best", "last") if name in results), None)
    base = results["base"][split]
    if "metrics" not in base:
        said = f"{split} has no gold: accuracy is unknown, only agreement was measured"
        if name:
            before, after = (results[p][split]["label_free"]["majority_frequency"] for p in ("base", name))
            said += f" (majority frequency {before:.3f} -> {after:.3f} for {name}; agreement is not accuracy)"
        return said
    before = base["metrics"][f"avg@{k}"]["value"]
    if name is None:
        return f"{split} avg@{k} {before:.3f} (base; no policy was trained)"
    after = results[name][split]["metrics"][f"avg@{k}"]["value"]
    difference = results[name][split].get("paired_to_base")
    if difference is None:
        return f"{split} avg@{k} {before:.3f}: {name} is the base itself, no checkpoint beat it on validation"
    verdict = "excludes 0" if difference["excludes_0"] else "does not exclude 0"
    return (
        f"{split} avg@{k} {before:.3f} (base) -> {after:.3f} ({name}): paired difference {difference['value']:+.3f}, "
        f"95% interval [{difference['low']:+.3f}, {difference['high']:+.3f}] {verdict}"
    )


def _summary(manifest: Manifest, *, skipped: bool) -> Summary:
    return summarize(manifest, "evals", skipped=skipped)
