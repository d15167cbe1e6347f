"""Tests that take minutes each: `make test-slow`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from selftrain.data.store import sha256_of

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


def test_make_all_raises_the_accuracy_of_the_built_in_model(tmp_path: Path) -> None:
    pytest.importorskip("vllm", reason="needs the engine: run `make setup`")
    run = tmp_path / "run"
    done = subprocess.run(["make", "all", f"RUN={run}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((run / "evals.json").read_text("utf-8"))["summary"]["results"]
    difference = results["best"]["test"]["paired_to_base"]
    assert difference["excludes_0"]
    assert difference["low"] > 0
    base = results["base"]["test"]["metrics"]
    assert 0.35 <= base["avg@16"]["value"] <= 0.65
    assert base["maj@16"]["value"] >= base["avg@16"]["value"] + 0.10
    assert "excludes 0" in done.stdout


def test_pretraining_gives_the_same_weights_twice(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs torch: run `make setup`")
    digests = []
    for name in ("a", "b"):
        out = tmp_path / name
        command = [sys.executable, "-m", "selftrain.data.pretrain", "--out", str(out), "--steps", "20"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        digests.append(sha256_of(out / "model.safetensors"))
    assert digests[0] == digests[1]
