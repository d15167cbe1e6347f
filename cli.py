"""The command `srt`: parse, call one stage, print one table.

Heavy imports (pydantic, pyarrow, torch, vllm) happen inside the commands, so that `srt --help` stays quick.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from .stages.summary import Summary

app = typer.Typer(
    name="srt",
    help="Self-Rewarded Training, offline: make a reasoning model better without ground-truth labels.\n\n"
    "The stages, in order: generate, label, curate, train, eval. Each reads and writes files of one run folder, "
    "skips work that is already done under the same settings, and refuses to replace results made under others.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

RunOption = Annotated[Path, typer.Option("--run", help="The run folder.", metavar="DIR", show_default=False)]
ConfigOption = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads this annotation at run time
    typer.Option("--config", help="A YAML file; without one the defaults hold.", metavar="FILE"),
]
SetOption = Annotated[
    list[str], typer.Option("--set", help="Override one setting (repeatable).", metavar="SECTION.KEY=VALUE")
]
OverwriteOption = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace this stage's results if they were made with other settings."),
]
DryRunOption = Annotated[
    bool,
    typer.Option("--dry-run", help="Check the configuration, print it resolved, read and write nothing else."),
]


def _version(wanted: bool) -> None:
    if wanted:
        from . import __version__

        typer.echo(f"selftrain {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options before the command; their own callbacks act on them."""


@app.command()
def generate(
    run: RunOption,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006 - typer copies it
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """A frozen model answers every problem N times (vLLM)."""
    _stage("generate", "generate", run, config, set_, overwrite, dry_run)


@app.command()
def label(
    run: RunOption,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """The majority answer of each problem becomes its pseudo-label."""
    _stage("label", "label", run, config, set_, overwrite, dry_run)


@app.command()
def curate(
    run: RunOption,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """The easiest share of the labelled problems becomes the curriculum."""
    _stage("curate", "curate", run, config, set_, overwrite, dry_run)


@app.command()
def train(
    run: RunOption,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """GRPO (TRL) trains a policy on the pseudo-labels."""
    _stage("train", "train", run, config, set_, overwrite, dry_run)


@app.command("eval")
def evaluate(
    run: RunOption,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Base, best and last policy on held-out problems, with intervals."""
    _stage("eval", "eval", run, config, set_, overwrite, dry_run)


@app.command()
def answers(
    first: Annotated[str, typer.Argument(metavar="A", help="An answer or a response.", show_default=False)] = "",
    second: Annotated[str, typer.Argument(metavar="B", help="The other one.", show_default=False)] = "",
    rule: Annotated[
        list[str], typer.Option("--rule", help="Extraction rules, in order (repeatable).", metavar="NAME")
    ] = ["boxed"],  # noqa: B006 - typer copies it
) -> None:
    """Why two answers did or did not merge: extraction, canonical forms, verdict. Reads piped jsonl pairs {a, b}."""
    import json

    from .data.errors import UserError
    from .stages.explain import explain, read_pairs

    if first or second:
        pairs = [(first, second)]
    elif sys.stdin.isatty():
        raise UserError("srt answers takes two answers, or jsonl lines with a and b on standard input")
    else:
        pairs = read_pairs(sys.stdin)
    for line in explain(pairs, rule):
        typer.echo(json.dumps(line, ensure_ascii=False))


@app.command()
def status(run: RunOption) -> None:
    """One table: each finished stage with its rows, seconds and file, and base against trained accuracy."""
    from .stages.status import show

    show(run)


@app.command()
def verify(
    run: RunOption,
    same_as: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--same-as", help="Compare the contents with this other run folder.", metavar="DIR"),
    ] = None,
) -> None:
    """Recompute all digests and fingerprints of a run folder; exit 1 when something is not as its manifest says."""
    from .data.verify import compare
    from .data.verify import verify as check

    files, findings = check(run)
    if same_as is not None:
        findings += check(same_as)[1]
    for finding in findings:
        typer.echo(str(finding))
    if same_as is not None:
        contents, difference = compare(run, same_as)
        for name, content in contents:
            typer.echo(f"{content[:16]}  {name}")
        if difference:
            typer.echo(f"different: {difference}")
            raise typer.Exit(1)
        typer.echo(f"{run} and {same_as} hold the same results")
    if findings:
        raise typer.Exit(1)
    typer.echo(f"{run}: {files} files are as their manifests say")


def _stage(
    name: str,
    module: str,
    run: Path,
    config: Path | None,
    overrides: list[str],
    overwrite: bool,
    dry_run: bool,
) -> None:
    from .data.errors import UserError
    from .stages.config import load_config

    resolved = load_config(config, overrides)
    if run.exists() and not run.is_dir():
        raise UserError(f"--run {run} is a file, not a folder")
    if dry_run:
        typer.echo(resolved.model_dump_json(indent=2))
        typer.echo(f"dry run: `srt {name}` on {run} would use these settings; nothing was read or written", err=True)
        return
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # Our own bars and tables tell the story; torch's C++ notes (NUMA policy) and loading bars would bury it.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    # OpenMP reads this once, when torch is first imported: later is too late, and idle threads that spin on the
    # same cores cost a factor of 6 (measured: 20 s instead of 3 s for 800 samples with another busy process).
    os.environ["OMP_NUM_THREADS"] = str(resolved.threads)
    stage = importlib.import_module(f".stages.{module}", __package__)
    summary = stage.run(resolved, run, overwrite=overwrite)
    if summary.skipped:
        # make compares times: a stage that had nothing to do must still be newer than its inputs.
        os.utime(summary.manifest)
    _print(summary)


def _print(summary: Summary) -> None:
    from rich.console import Console
    from rich.table import Table

    state = "up to date, nothing to do" if summary.skipped else "done"
    table = Table(title=f"{summary.stage}: {state}", title_justify="left", show_header=False)
    for line in summary.lines:
        table.add_row(*line)
    table.add_row("file", str(summary.file))
    Console().print(table)


def main() -> None:
    """Entry point: a user's mistake ends in one sentence on standard error and exit code 2."""
    from .data.errors import UserError

    try:
        app()
    except UserError as error:
        typer.echo(f"srt: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
