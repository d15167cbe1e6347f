"""What a stage returns and the command line prints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.manifest import Manifest


@dataclass(frozen=True)
class Summary:
    """Outcome of a stage: `manifest` marks its completion, `lines` are (name, value) pairs for the table at its end."""

    stage: str
    manifest: Path
    file: Path
    skipped: bool
    lines: list[tuple[str, str]]


def summarize(manifest: Manifest, file: str, *, skipped: bool) -> Summary:
    """The summary of a finished stage, read from its manifest (so a skipped stage shows the same numbers)."""
    lines = [(name.replace("_", " "), _shown(value)) for name, value in manifest.summary.items() if _plain(value)]
    return Summary(manifest.value["stage"], manifest.path, manifest.path.parent / file, skipped, lines)


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float))


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return value
