"""End to end with the real vLLM and the real TRL on the built-in checkpoint, driven as a user would: make and srt.

Engine and trainer run in processes of their own (vLLM's CPU worker replaces torch.set_num_threads, accelerate
reads torch.distributed), and the chain runs once for all tests of this file.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from selftrain.data import schemas, verify
from selftrain.data.store import sha256_of

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "reproduce.yaml"

pytest.importorskip("vllm", reason="needs the engine: run `make setup`")
pytest.importorskip("trl", reason="needs the trainer: run `make setup`")


def srt(*arguments: str | Path, check: bool = True, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "selftrain", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)
    if check:
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr[-4000:]}"
    return done


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"make {arguments}\n{done.stdout}\n{done.stderr[-4000:]}"
    return done


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of `make all` in small numbers. Tests that change files work on a copy."""
    run = tmp_path_factory.mktemp("chain") / "run"
    done = make("all", f"CONFIG={CONFIG}", f"RUN={run}")
    (run / "stdout.txt").write_text(done.stdout, "utf-8")
    return run


@pytest.fixture
def copied(chain: Path, tmp_path: Path) -> Path:
    run = tmp_path / "run"
    shutil.copytree(chain, run)
    return run


def states(run: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path.relative_to(run)): (sha256_of(path), path.stat().st_mtime_ns)
        for path in sorted(run.rglob("*"))
        if path.is_file()
    }


def test_make_all_writes_every_promised_file_with_its_schema(chain: Path) -> None:
    for name, spec in (
        ("problems.parquet", schemas.PROBLEMS),
        ("samples/chunk-00000.parquet", schemas.SAMPLES),
        ("answers.parquet", schemas.ANSWERS),
        ("labels.parquet", schemas.LABELS),
        ("curriculum.parquet", schemas.CURRICULUM),
        ("excluded.parquet", schemas.EXCLUDED),
        ("policy/metrics.parquet", schemas.METRICS),
        ("evals/base/test/labels.parquet", schemas.LABELS),
    ):
        assert pq.read_schema(chain / name).remove_metadata() == spec.schema, name
    for name in ("samples", "answers", "labels", "curriculum", "policy", "evals"):
        manifest = json.loads((chain / f"{name}.json").read_text("utf-8"))
        assert manifest["environment"]["packages"]["pyarrow"]
        assert manifest["seconds"] >= 0
    assert {path.name for path in (chain / "policy").glob("checkpoint-*")} == {"checkpoint-2", "checkpoint-4"}
    assert (chain / "policy/last/model.safetensors").is_file()
    assert (chain / "policy/best/model.safetensors").is_file()


def test_make_all_ends_with_the_table_of_stages_and_the_verdict(chain: Path) -> None:
    table = (chain / "stdout.txt").read_text("utf-8")
    for word in ("rows in", "rows out", "seconds", "generate", "label", "curate", "train", "eval", "avg@4", "base"):
        assert word in table, word
    assert "64 gold validation labels" in table


def test_samples_have_one_row_a_vote_and_seeds_by_identity(chain: Path) -> None:
    rows = pq.read_table(chain / "samples").to_pylist()
    problems = pq.read_table(chain / "problems.parquet").to_pylist()
    train = {row["problem_id"] for row in problems if row["split"] == "train"}
    assert {row["problem_id"] for row in rows} == train
    assert len(rows) == 8 * len(train)
    by_problem = [row for row in rows if row["problem_id"] == min(train)]
    assert [row["sample_index"] for row in by_problem] == list(range(8))
    assert [row["seed"] - by_problem[0]["seed"] for row in by_problem] == list(range(8))
    boxed = sum("\\boxed{" in row["response"] for row in rows)
    assert boxed >= 0.95 * len(rows)


def test_metrics_cover_every_step_once_and_validate_the_base(chain: Path) -> None:
    rows = pq.read_table(chain / "policy/metrics.parquet").to_pylist()
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["step"] for row in rows if row["validation_accuracy"] is not None] == [0, 2, 4]
    assert all(0 <= row["pseudo_reward"] <= 1 and 0 <= row["gold_accuracy"] <= 1 for row in rows[1:])


def test_evaluation_is_paired_and_carries_its_sampling(chain: Path) -> None:
    results = json.loads((chain / "evals.json").read_text("utf-8"))["summary"]["results"]
    base = results["base"]["test"]
    assert base["problems"] == base["with_gold"] > 0
    assert base["sampling"]["samples"] == 4
    for estimate in base["metrics"].values():
        assert estimate["low"] <= estimate["value"] <= estimate["high"]
    assert {"avg@4", "maj@4", "pass@2", "pass@4"} == set(base["metrics"])
    assert {"value", "low", "high", "excludes_0"} == set(results["last"]["test"]["paired_to_base"])


def test_a_second_make_all_rebuilds_nothing(chain: Path) -> None:
    before = states(chain)
    done = make("all", f"CONFIG={CONFIG}", f"RUN={chain}")
    assert states(chain) == before
    assert "srt generate" not in done.stdout


def test_a_touched_ledger_costs_skips_of_what_follows_and_then_silence(copied: Path) -> None:
    before = states(copied)
    (copied / "labels.json").touch()
    planned = make("-n", "all", f"CONFIG={CONFIG}", f"RUN={copied}").stdout
    assert "srt generate" not in planned
    assert "srt label" not in planned
    assert all(f"srt {stage}" in planned for stage in ("curate", "train", "eval"))
    make("all", f"CONFIG={CONFIG}", f"RUN={copied}")
    after = states(copied)
    assert {name: digest for name, (digest, _) in after.items()} == {n: digest for n, (digest, _) in before.items()}
    assert "srt curate" not in make("-n", "all", f"CONFIG={CONFIG}", f"RUN={copied}").stdout


def test_changed_settings_over_old_results_are_refused_and_nothing_is_touched(chain: Path) -> None:
    before = states(chain)
    for stage, override, named in (
        ("generate", "generate.temperature=0.5", "generate.temperature: 1.0 -> 0.5"),
        ("label", "label.min_frequency=0.5", "label.min_frequency: 0.0 -> 0.5"),
        ("curate", "curate.fraction=0.25", "curate.fraction: 0.5 -> 0.25"),
        ("train", "train.learning_rate=1e-5", "train.learning_rate: 0.0001 -> 1e-05"),
        ("eval", "eval.samples=2", "eval.samples: 4 -> 2"),
    ):
        done = srt(stage, "--config", CONFIG, "--run", chain, "--set", override, check=False)
        assert done.returncode == 2, stage
        assert named in done.stderr
        assert "Traceback" not in done.stderr
    assert states(chain) == before


def test_overwriting_labels_redoes_only_what_follows(copied: Path) -> None:
    before = states(copied)
    arguments = ("--config", CONFIG, "--run", copied, "--set", "label.min_frequency=0.6", "--overwrite")
    srt("label", *arguments)
    refused = srt("curate", "--config", CONFIG, "--run", copied, check=False)
    assert refused.returncode == 2
    assert "input labels.parquet has changed" in refused.stderr
    srt("curate", *arguments)
    after = states(copied)
    untouched = [name for name in before if name.startswith(("samples", "answers", "problems", "policy", "evals"))]
    assert all(before[name] == after[name] for name in untouched)
    assert before["labels.parquet"][0] != after["labels.parquet"][0]


def test_verify_finds_one_flipped_byte_and_what_depends_on_it(copied: Path) -> None:
    assert verify.verify(copied)[1] == []
    path = copied / "labels.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    done = srt("verify", "--run", copied, check=False)
    assert done.returncode == 1
    assert "labels.parquet" in done.stdout
    assert all(name in done.stdout for name in ("curriculum.parquet", "policy/last", "evals"))


def test_problems_without_gold_run_through_and_the_summary_says_so(tmp_path: Path) -> None:
    problems = tmp_path / "mine.jsonl"
    with (ROOT / "data" / "arithmetic.jsonl").open(encoding="utf-8") as lines, problems.open("w") as out:
        for number, line in enumerate(lines):
            row = json.loads(line)
            del row["gold"]
            if number % 8 == 0:
                out.write(json.dumps(row) + "\n")
    run = tmp_path / "run"
    settings = f"problems.path={problems} train.max_steps=2 generate.samples=6"
    table = make("all", f"CONFIG={CONFIG}", f"RUN={run}", f"SET={settings}").stdout
    assert "no gold" in table
    assert "accuracy is unknown" in table
    assert "No gold label was used" in table
    assert not (run / "policy/best").exists()
    assert set(pq.read_table(run / "problems.parquet").column("gold").to_pylist()) == {None}


def killed(stage: str, run: Path, seen: Path) -> None:
    """Start a stage and kill it with SIGKILL as soon as a file of its first piece of work is there."""
    command = [sys.executable, "-m", "selftrain", stage, "--config", str(CONFIG), "--run", str(run)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not seen.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert seen.exists()


def test_a_killed_generation_resumes_to_the_same_content(chain: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = run / "samples" / "chunk-00000.parquet"
    killed("generate", run, first)
    assert not (run / "samples.json").exists()
    kept = first.stat().st_mtime_ns
    srt("generate", "--config", CONFIG, "--run", run)
    assert first.stat().st_mtime_ns == kept
    content = json.loads((run / "samples.json").read_text("utf-8"))["outputs"]["samples"]["content"]
    assert content == json.loads((chain / "samples.json").read_text("utf-8"))["outputs"]["samples"]["content"]


def test_a_killed_training_resumes_to_the_same_weights_and_metrics(chain: Path, copied: Path) -> None:
    shutil.rmtree(copied / "policy")
    (copied / "policy.json").unlink()
    killed("train", copied, copied / "policy" / "checkpoint-2" / "trainer_state.json")
    assert not (copied / "policy.json").exists()
    srt("train", "--config", CONFIG, "--run", copied)
    resumed, whole = (json.loads((run / "policy.json").read_text("utf-8"))["outputs"] for run in (copied, chain))
    assert resumed == whole


def test_generate_and_train_show_the_model_the_same_ids(tmp_path: Path) -> None:
    script = tmp_path / "ids.py"
    script.write_text(
        """
import sys
from pathlib import Path
from selftrain.data.models import find_model
from selftrain.data.prompts import render
from selftrain.stages.config import load_config
from selftrain.stages.generate import load_tokenizer
from selftrain.stages.train.trainer import grpo_config, make_trainer

out = Path(sys.argv[1])
for settings in ([], ["prompt.template=plain"], ["prompt.suffix=Think."]):
    config = load_config(Path(sys.argv[2]), settings)
    model = find_model(config.model.path, None, out)
    row = {"problem": "Compute 17 + 25 - 8.", "label": "34", "gold": "34"}
    trainer = make_trainer(config, grpo_config(config, out, 0), model, [row] * 8, [], None)
    theirs = trainer._tokenize_prompts([trainer.train_dataset[0]["prompt"]])[0][0]
    ours = render(row["problem"], config.prompt, load_tokenizer(model))
    assert list(theirs) == ours, (settings, list(theirs), ours)
print("same ids")
"""
    )
    done = subprocess.run(
        [sys.executable, script, tmp_path / "out", CONFIG], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.strip().endswith("same ids"), done.stderr[-3000:]
