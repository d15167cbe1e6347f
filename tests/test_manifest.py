"""Skip, refuse, resume and commit."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from selftrain.data import manifest as manifest_module
from selftrain.data.errors import UserError
from selftrain.data.manifest import (
    Output,
    Step,
    begin,
    commit,
    differences,
    finished,
    input_content,
    load,
    require_free,
)
from selftrain.data.store import sha256_of

Snapshot = Callable[[Path], dict[str, bytes]]


def step_of(run: Path, **values: Any) -> Step:
    fixed: dict[str, Any] = {
        "name": "out",
        "stage": "make",
        "run": run,
        "config": {"make": {"temperature": 1.0, "n": 4}, "seed": 0},
        "inputs": {"in.parquet": "aaa", "model": "sha256:1"},
        "owns": ("notes.txt", "out.txt"),
    }
    return Step(**{**fixed, **values})


def work(step: Step, text: str = "result") -> None:
    """A whole stage: begin, write, commit."""
    begin(step, overwrite=False)
    (step.run / "out.txt").write_text(text)
    output = Output("content", {"out.txt": sha256_of(step.run / "out.txt")}, 1)
    commit(step, {"out.txt": output}, rows_in=2, rows_out=1, summary={"share": 0.5})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_commit_leaves_output_and_manifest_only(tmp_path: Path) -> None:
    work(step_of(tmp_path))
    assert names(tmp_path) == ["out.json", "out.txt"]
    stored = load(tmp_path / "out.json")
    assert stored.outputs["out.txt"].rows == 1
    assert stored.summary == {"share": 0.5}
    assert (stored.value["rows_in"], stored.value["rows_out"]) == (2, 1)
    assert stored.value["payload"] == step_of(tmp_path).payload
    assert stored.value["environment"]["packages"]["pyarrow"]


def test_nothing_is_finished_in_an_empty_folder(tmp_path: Path) -> None:
    assert finished(step_of(tmp_path), overwrite=False) is None
    require_free(step_of(tmp_path), overwrite=False)
    assert names(tmp_path) == []


def test_finished_work_is_found_again_and_not_touched(tmp_path: Path) -> None:
    work(step_of(tmp_path))
    for name in names(tmp_path):
        os.utime(tmp_path / name, (1_000, 1_000))
    before = (tmp_path / "out.json").read_bytes()
    found = finished(step_of(tmp_path), overwrite=False)
    assert found is not None
    assert found.summary == {"share": 0.5}
    assert [path.stat().st_mtime for path in tmp_path.iterdir()] == [1_000, 1_000]
    assert (tmp_path / "out.json").read_bytes() == before


def test_a_changed_setting_is_refused_by_name_with_both_values(tmp_path: Path, snapshot: Snapshot) -> None:
    work(step_of(tmp_path))
    before = snapshot(tmp_path)
    changed = step_of(tmp_path, config={"make": {"temperature": 0.5, "n": 4}, "seed": 3})
    assert finished(changed, overwrite=False) is None
    with pytest.raises(UserError) as refusal:
        begin(changed, overwrite=False)
    message = str(refusal.value)
    assert "make.temperature: 1.0 -> 0.5; seed: 0 -> 3" in message
    assert "make.n" not in message
    assert "out.txt was made with other settings" in message
    assert "--overwrite" in message
    assert snapshot(tmp_path) == before


def test_a_changed_input_is_named_without_its_digests(tmp_path: Path) -> None:
    work(step_of(tmp_path))
    changed = step_of(tmp_path, inputs={"in.parquet": "bbb", "model": "sha256:1"})
    with pytest.raises(UserError, match=r"\(input in\.parquet has changed\)"):
        require_free(changed, overwrite=False)


def test_a_refused_skip_does_not_refresh_the_manifest(tmp_path: Path) -> None:
    work(step_of(tmp_path))
    os.utime(tmp_path / "out.json", (1_000, 1_000))
    assert finished(step_of(tmp_path, config={"seed": 1}), overwrite=False) is None
    assert (tmp_path / "out.json").stat().st_mtime == 1_000


def test_overwriting_deletes_what_the_step_owns_and_nothing_else(tmp_path: Path) -> None:
    work(step_of(tmp_path))
    (tmp_path / "mine.txt").write_text("mine")
    folder = tmp_path / "pieces"
    folder.mkdir()
    (folder / "old").write_text("old")
    changed = step_of(tmp_path, config={"seed": 1}, owns=("pieces", "out.txt"))
    assert begin(changed, overwrite=True) is False
    assert names(tmp_path) == [".out.partial.json", "mine.txt"]


def test_the_old_manifest_goes_before_the_outputs_it_vouches_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(step_of(tmp_path))
    gone: list[str] = []
    unlink = Path.unlink

    def spy(path: Path, missing_ok: bool = False) -> None:
        gone.append(path.name)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", spy)
    begin(step_of(tmp_path, config={"seed": 1}), overwrite=True)
    assert gone.index("out.json") < gone.index("out.txt")


def test_begun_work_is_resumed_under_the_same_fingerprint(tmp_path: Path) -> None:
    assert begin(step_of(tmp_path), overwrite=False) is False
    (tmp_path / "out.txt").write_text("half")
    assert begin(step_of(tmp_path), overwrite=False) is True
    assert begin(step_of(tmp_path), overwrite=True) is True
    assert (tmp_path / "out.txt").read_text() == "half"
    assert finished(step_of(tmp_path), overwrite=False) is None


def test_begun_work_of_other_settings_is_refused(tmp_path: Path, snapshot: Snapshot) -> None:
    begin(step_of(tmp_path), overwrite=False)
    (tmp_path / "out.txt").write_text("half")
    before = snapshot(tmp_path)
    changed = step_of(tmp_path, config={"make": {"temperature": 0.5, "n": 4}, "seed": 0})
    with pytest.raises(UserError, match=r"was begun with other settings \(make\.temperature: 1\.0 -> 0\.5\)"):
        begin(changed, overwrite=False)
    assert snapshot(tmp_path) == before
    assert begin(changed, overwrite=True) is False
    assert not (tmp_path / "out.txt").exists()


@pytest.mark.parametrize("owned", ["notes.txt", "out.txt"])
def test_outputs_that_no_manifest_accounts_for_are_refused(tmp_path: Path, owned: str) -> None:
    (tmp_path / owned).write_text("who made this?")
    with pytest.raises(UserError, match=f"{owned} exists but no manifest says how it was made"):
        begin(step_of(tmp_path), overwrite=False)
    assert names(tmp_path) == [owned]
    begin(step_of(tmp_path), overwrite=True)
    assert names(tmp_path) == [".out.partial.json"]


def test_the_manifest_is_the_last_file_of_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = step_of(tmp_path)
    begin(step, overwrite=False)
    assert not step.manifest_path.exists()
    (tmp_path / "out.txt").write_text("result")

    def fails() -> dict[str, Any]:
        raise OSError("no space left on device")

    monkeypatch.setattr(manifest_module, "environment", fails)
    with pytest.raises(OSError, match="no space"):
        commit(step, {"out.txt": Output("c", {})}, rows_in=0, rows_out=0, summary={})
    assert not step.manifest_path.exists()
    assert begin(step, overwrite=False) is True


def test_a_summary_that_is_no_json_leaves_no_manifest(tmp_path: Path) -> None:
    step = step_of(tmp_path)
    begin(step, overwrite=False)
    with pytest.raises(ValueError, match="JSON"):
        commit(step, {}, rows_in=0, rows_out=0, summary={"share": float("nan")})
    assert names(tmp_path) == [".out.partial.json"]


def test_the_fingerprint_covers_settings_and_inputs_but_no_path(tmp_path: Path) -> None:
    one = step_of(tmp_path / "a")
    assert one.fingerprint == step_of(tmp_path / "b", owns=("other",)).fingerprint
    other_settings = {"make": {"temperature": 1.0, "n": 5}, "seed": 0}
    assert one.fingerprint != step_of(tmp_path / "a", config=other_settings).fingerprint
    assert one.fingerprint != step_of(tmp_path / "a", inputs={"in.parquet": "aaa"}).fingerprint
    assert one.fingerprint != step_of(tmp_path / "a", name="other").fingerprint


def test_a_setting_without_a_canonical_form_has_no_fingerprint(tmp_path: Path) -> None:
    with pytest.raises((TypeError, ValueError)):
        _ = step_of(tmp_path, config={"make": {"path": tmp_path}}).fingerprint


def test_the_content_of_a_finished_output_is_handed_on(tmp_path: Path) -> None:
    work(step_of(tmp_path))
    assert input_content(tmp_path, "out", "out.txt", "srt make") == "content"


def test_an_output_that_was_never_made_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no finished out\.txt: run `srt make` on this folder first"):
        input_content(tmp_path, "out", "out.txt", "srt make")
    work(step_of(tmp_path))
    with pytest.raises(UserError, match=r"out\.json does not list more\.txt"):
        input_content(tmp_path, "out", "more.txt", "srt make")


def test_work_that_has_only_begun_is_no_input(tmp_path: Path) -> None:
    begin(step_of(tmp_path), overwrite=False)
    (tmp_path / "out.txt").write_text("half")
    with pytest.raises(UserError, match="run `srt make`"):
        input_content(tmp_path, "out", "out.txt", "srt make")


def test_an_altered_or_missing_input_is_refused(tmp_path: Path) -> None:
    work(step_of(tmp_path), "result")
    (tmp_path / "out.txt").write_text("resulT")
    with pytest.raises(UserError, match=r"out\.txt was altered since `srt make` wrote it"):
        input_content(tmp_path, "out", "out.txt", "srt make")
    (tmp_path / "out.txt").unlink()
    with pytest.raises(UserError, match=r"out\.txt is missing since `srt make` wrote it"):
        input_content(tmp_path, "out", "out.txt", "srt make")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"fingerprint": "x"}', "null"])
def test_a_file_that_is_no_manifest_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "out.json").write_text(text)
    with pytest.raises(UserError, match=r"out\.json is not a selftrain manifest"):
        load(tmp_path / "out.json")


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"out\.json does not exist"):
        load(tmp_path / "out.json")


def test_differences_name_added_and_dropped_keys() -> None:
    old = {"config": {"a": {"x": 1, "gone": "g"}}, "inputs": {"m": "1"}, "format": 1}
    new = {"config": {"a": {"x": 1, "new": [1]}}, "inputs": {"m": "1", "n": "2"}, "format": 2}
    assert differences(old, new) == [
        'a.gone: "g" -> null',
        "a.new: null -> [1]",
        "format: 1 -> 2",
        "input n has changed",
    ]
    assert differences(old, json.loads(json.dumps(old))) == []
