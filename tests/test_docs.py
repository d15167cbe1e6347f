"""The README and CONTRIBUTING say nothing that the project does not do."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from selftrain.data import schemas

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def commands(text: str) -> list[str]:
    """Commands of the indented blocks, continuation lines joined, remarks dropped."""
    joined = re.sub(r"\\\n\s+", " ", text)
    lines = [line.strip() for line in joined.splitlines() if line.startswith("    ")]
    return [re.sub(r"\s+# .*", "", line) for line in lines if re.match(r"(make|srt|python|pip) ", line)]


SRT = [line for line in commands(README) if line.startswith("srt ")]
MAKE = [line for line in commands(README + CONTRIBUTING) if line.startswith("make ")]


def test_the_readme_shows_commands() -> None:
    assert len(SRT) >= 4
    assert {"make all", "make test"} <= set(MAKE)


@pytest.mark.parametrize("line", SRT)
def test_every_srt_command_of_the_readme_is_understood(line: str, tmp_path: Path) -> None:
    arguments = shlex.split(line)[1:]
    if arguments[0] != "answers":
        arguments.append("--dry-run")
    done = subprocess.run([sys.executable, "-m", "selftrain", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", MAKE)
def test_every_make_command_of_the_docs_has_a_recipe(line: str, tmp_path: Path) -> None:
    arguments = shlex.split(line)[1:]
    if not any(argument.startswith("RUN=") for argument in arguments):
        arguments.append(f"RUN={tmp_path / 'run'}")
    arguments = [re.sub(r"^RUN=(?!/)", f"RUN={tmp_path}/", argument) for argument in arguments]
    if "reproduce" in arguments:
        # Its recipe calls make again, which -n would follow.
        assert "reproduce:" in (ROOT / "Makefile").read_text("utf-8")
        return
    done = subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_readmes_table_of_files_is_the_schemas_own() -> None:
    assert schemas.markdown() in README


def test_every_path_of_the_readmes_tree_exists() -> None:
    tree = README.split("## The tree", 1)[1].split("##", 1)[0]
    folder = ROOT
    for line in tree.splitlines():
        match = re.match(r"    (  )?(\S+)", line)
        if not match:
            continue
        indented, first = match.groups()
        names = re.findall(r"[\w.-]+\.(?:yaml|py|jsonl)", line) if first.endswith(",") else [first]
        if not indented:
            folder = ROOT / first if first.endswith("/") else ROOT
        for name in names:
            assert (folder if indented else ROOT).joinpath(name).exists(), line


def test_every_target_of_make_help_is_documented_once() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("setup", "lock", "all", "status", "verify", "reproduce", "checkpoint", "lint", "test", "build"):
        assert len(re.findall(rf"^  {target} ", done.stdout, re.MULTILINE)) == 1, target
