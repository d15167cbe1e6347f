"""The command line: its help, its exit codes and what it leaves alone."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import selftrain
from selftrain import cli
from selftrain.stages.config import Config

STAGES = ("generate", "label", "curate", "train", "eval")


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["srt", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


@pytest.fixture(autouse=True)
def _unchanged_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage sets variables for the libraries below it; they go with the test."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


def test_help_lists_the_stages_and_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from selftrain.cli import main\n"
        "sys.argv = ['srt', '--help']\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    heavy = {'torch', 'vllm', 'pyarrow', 'transformers', 'numpy', 'pydantic'} & set(sys.modules)\n"
        "    print('HEAVY', sorted(heavy))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert all(f" {stage} " in done.stdout for stage in (*STAGES, "status", "verify"))
    assert "HEAVY []" in done.stdout


def test_the_module_runs_as_the_command_does(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "selftrain", "--version"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == f"selftrain {selftrain.__version__}\n"
    assert done.stderr == ""


def test_a_users_mistake_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "selftrain", "label", "--run", "run", "--set", "label.min_freqency=0.5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == ("srt: unknown key label.min_freqency in the defaults; did you mean label.min_frequency?\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stage", ["label", "curate", "eval", "train"])
def test_a_stage_on_an_empty_folder_names_the_one_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, stage: str
) -> None:
    run = tmp_path / "run"
    assert call(monkeypatch, stage, "--run", run) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert output.err.startswith(f"srt: {run} has no finished ")
    assert "run `srt " in output.err
    assert not run.exists()


@pytest.mark.parametrize("command", [("status",), ("verify",)])
def test_a_folder_without_a_run_is_a_users_mistake(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, command: tuple[str, ...]
) -> None:
    assert call(monkeypatch, *command, "--run", tmp_path) == 2
    assert "no finished stage" in capsys.readouterr().err


@pytest.mark.parametrize("stage", STAGES)
def test_a_dry_run_prints_the_resolved_settings_and_writes_nothing(tmp_path: Path, stage: str) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("generate: {samples: 5}\n", "utf-8")
    arguments = [stage, "--run", str(tmp_path / "run"), "--config", str(config), "--set", "seed=3", "--dry-run"]
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 0
    resolved: dict[str, Any] = json.loads(done.stdout)
    assert resolved["generate"]["samples"] == 5
    assert Config.model_validate(resolved) == Config.model_validate({"generate": {"samples": 5}, "seed": 3})
    assert f"srt {stage}" in done.stderr
    assert list(tmp_path.iterdir()) == [config]


def test_a_dry_run_refuses_what_a_run_would_refuse(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ("generate", "--run", tmp_path / "run", "--set", "generate.samples=0", "--dry-run")
    assert call(monkeypatch, *arguments) == 2
    assert capsys.readouterr().err.startswith("srt: generate.samples: ")


@pytest.mark.parametrize("arguments", [("label",), ("nonsense",), ("label", "--run", "x", "--nonsense")])
def test_a_command_of_another_form_exits_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    assert call(monkeypatch, *arguments) == 2
    assert "Usage" in capsys.readouterr().err


def test_labelling_and_curating_a_file_ends_in_a_table_and_exit_code_0(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    write_rows: Callable[..., Path],
) -> None:
    rows = [{"id": key, "problem": f"{key}?", "response": rf"\boxed{{{n // 2}}}"} for key in "abc" for n in range(3)]
    file = write_rows(tmp_path / "s.jsonl", rows)
    run = tmp_path / "run"
    settings = ("--set", f"samples.path={file}", "--set", "threads=2")
    for stage, said in (("label", "label: done"), ("label", "label: up to date"), ("curate", "curate: done")):
        assert call(monkeypatch, stage, "--run", run, *settings) == 0
        assert said in capsys.readouterr().out
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert call(monkeypatch, "curate", "--run", run, "--set", "curate.fraction=1") == 2
    assert "curate.fraction: 0.333" in capsys.readouterr().err
    assert call(monkeypatch, "curate", "--run", run, "--set", "curate.fraction=1", "--overwrite") == 0
    assert call(monkeypatch, "status", "--run", run) == 0
    assert "curriculum.parquet" in capsys.readouterr().out
    assert call(monkeypatch, "verify", "--run", run) == 0


def test_a_skip_refreshes_the_time_of_its_manifest_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    file = write_rows(tmp_path / "s.jsonl", [{"id": "a", "problem": "a?", "response": r"\boxed{1}"}])
    run = tmp_path / "run"
    command = ("label", "--run", run, "--set", f"samples.path={file}")
    call(monkeypatch, *command)
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    for name in before:
        os.utime(run / name, (1_000, 1_000))
    # A refusal leaves the time alone: make must try again.
    assert call(monkeypatch, *command, "--set", "label.min_frequency=1") == 2
    assert (run / "labels.json").stat().st_mtime == 1_000
    assert call(monkeypatch, *command) == 0
    assert (run / "labels.json").stat().st_mtime > 1_000
    assert (run / "labels.parquet").stat().st_mtime == 1_000
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_an_error_that_is_no_users_mistake_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from selftrain.stages import curate

    def breaks(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(curate, "run", breaks)
    monkeypatch.setattr(sys, "argv", ["srt", "curate", "--run", str(tmp_path)])
    with pytest.raises(ZeroDivisionError):
        cli.main()
