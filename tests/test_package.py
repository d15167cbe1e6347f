"""What ships: wheel and sdist hold the package and nothing else, and work outside the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("build")
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def test_the_wheel_holds_the_package_its_data_and_nothing_else(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert all(name.startswith("selftrain/") for name in names)
    for name in ("cli.py", "py.typed", "answers/ballot.py", "stages/curate.py", "stages/eval/metrics.py"):
        assert f"selftrain/{name}" in names
    assert "selftrain/data/arithmetic.jsonl" in names
    assert "selftrain/data/checkpoint/model.safetensors" in names
    top = {name.split("/")[1] for name in names}
    assert top == {"__init__.py", "__main__.py", "cli.py", "py.typed", "answers", "data", "stages"}


def test_the_sdist_holds_tests_configs_and_the_lock(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"Makefile", "LICENSE", "requirements/cpu.txt", "configs/tiny.yaml", "tests/test_package.py"} <= names
    assert not any(name.startswith(("runs/", ".venv/")) for name in names)


def test_the_wheel_labels_a_samples_file_in_an_unrelated_folder(dist: Path, tmp_path: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    work = tmp_path / "work"
    work.mkdir()
    samples = [
        {"problem_id": "p", "problem": "1 + 1?", "response": f"\\boxed{{{answer}}}", "answer": "2"}
        for answer in ("2", "2.0", "3")
    ]
    (work / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in samples))
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    where = subprocess.run(
        [sys.executable, "-c", "import selftrain; print(selftrain.__file__)"],
        cwd=work, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(site))
    for arguments in (["--help"], ["label", "--run", "out", "--set", "samples.path=samples.jsonl"]):
        done = subprocess.run(
            [sys.executable, "-m", "selftrain", *arguments], cwd=work, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    import pyarrow.parquet as pq

    (row,) = pq.read_table(work / "out" / "labels.parquet").to_pylist()
    assert (row["majority_count"], row["n_samples"], row["label_correct"]) == (2, 3, True)
