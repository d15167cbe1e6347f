"""`srt verify`: what it finds in a run folder that is not as the manifests say, and what it compares."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from selftrain import cli
from selftrain.data.errors import UserError
from selftrain.data.manifest import load
from selftrain.data.store import digest_of
from selftrain.data.verify import Finding, compare, verify
from selftrain.stages import curate
from selftrain.stages.config import Config

DOWNSTREAM = ("curriculum.parquet", "excluded.parquet")


@pytest.fixture
def make_run(
    tmp_path: Path,
    labelled_run: Callable[..., Path],
    problem_row: Callable[..., dict[str, Any]],
    ledger_of: Callable[..., dict[str, Any]],
    configured: Callable[..., Config],
) -> Callable[..., Path]:
    """A curated run of four problems; `last` is the answer to the last of them."""

    def make(name: str = "run", last: str = "7") -> Path:
        ids = ("a", "b", "c", "d")
        ledger = [ledger_of(key, ["1"] * (4 - place) + ["2"] * place) for place, key in enumerate(ids[:2])]
        ledger += [ledger_of("c", ["5", "5", "5", "6"]), ledger_of("d", [last] * 4)]
        run = labelled_run([problem_row(key) for key in ids], ledger, tmp_path / name)
        curate.run(configured("curate.fraction=0.5"), run)
        return run

    return make


def change(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(path.read_text("utf-8"))
    edit(value)
    path.write_text(json.dumps(value), "utf-8")


def flip(path: Path, at: int = 40) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


def exit_code(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["srt", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def by_path(findings: list[Finding]) -> Mapping[str, Finding]:
    assert len({finding.path for finding in findings}) == len(findings)
    return {finding.path: finding for finding in findings}


def test_an_untouched_run_is_as_its_manifests_say(make_run: Callable[..., Path]) -> None:
    assert verify(make_run()) == (5, [])


def test_a_flipped_byte_is_found_with_everything_made_from_it(make_run: Callable[..., Path]) -> None:
    run = make_run()
    flip(run / "labels.parquet")
    _, findings = verify(run)
    (finding,) = findings
    assert finding.path == "labels.parquet"
    assert finding.what.startswith("altered since label wrote it")
    assert set(finding.dependents) == set(DOWNSTREAM)
    assert "labels.parquet: altered" in str(finding)
    assert all(name in str(finding) for name in DOWNSTREAM)


def test_what_was_made_through_others_is_named_as_well(make_run: Callable[..., Path]) -> None:
    run = make_run()
    flip(run / "answers.parquet")
    (finding,) = verify(run)[1]
    assert set(finding.dependents) == {"labels.parquet", *DOWNSTREAM}


@pytest.mark.parametrize("part", ["first", "middle", "last"])
def test_a_flipped_byte_is_found_wherever_it_is(make_run: Callable[..., Path], part: str) -> None:
    run = make_run()
    size = (run / "problems.parquet").stat().st_size
    flip(run / "problems.parquet", {"first": 0, "middle": size // 2, "last": size - 1}[part])
    _, findings = verify(run)
    assert [finding.path for finding in findings] == ["problems.parquet"]
    assert set(findings[0].dependents) == {"labels.parquet", *DOWNSTREAM}


def test_other_bytes_with_the_same_rows_are_told_from_other_rows(make_run: Callable[..., Path]) -> None:
    import pyarrow.parquet as pq

    run = make_run()
    table = pq.read_table(run / "labels.parquet")
    pq.write_table(table, run / "labels.parquet", compression="none")
    assert "its bytes differ, its rows do not" in verify(run)[1][0].what
    pq.write_table(table.slice(1), run / "labels.parquet")
    assert "its rows differ" in verify(run)[1][0].what
    (run / "labels.parquet").write_bytes(b"")
    assert "no longer reads as parquet" in verify(run)[1][0].what


def test_a_missing_file_is_found(make_run: Callable[..., Path]) -> None:
    run = make_run()
    (run / "labels.parquet").unlink()
    (finding,) = verify(run)[1]
    assert (finding.path, finding.what) == ("labels.parquet", "missing")
    assert set(finding.dependents) == set(DOWNSTREAM)


@pytest.mark.parametrize("name", ["answers.json", "labels.json"])
def test_an_edited_configuration_in_a_manifest_is_found(make_run: Callable[..., Path], name: str) -> None:
    run = make_run()
    change(run / name, lambda value: value["payload"]["config"].update(label={"min_frequency": 0.9}))
    found = by_path(verify(run)[1])[name]
    assert found.what == "the manifest was edited"
    assert set(found.dependents) >= set(DOWNSTREAM)


def test_an_edited_manifest_names_what_was_made_from_any_of_its_outputs(make_run: Callable[..., Path]) -> None:
    run = make_run()
    later = {
        "stage": "train",
        "fingerprint": "",
        "payload": {
            "inputs": {"curriculum.parquet": load(run / "curriculum.json").outputs["curriculum.parquet"].content}
        },
        "outputs": {"policy/last": {"content": "w", "files": {}}},
        "summary": {},
    }
    later["fingerprint"] = digest_of(later["payload"])
    (run / "policy.json").write_text(json.dumps(later), "utf-8")
    change(run / "curriculum.json", lambda value: value["payload"]["config"].update(seed=5))
    findings = [finding for finding in verify(run)[1] if finding.path == "curriculum.json"]
    assert "policy/last" in {name for finding in findings for name in finding.dependents}


def test_an_edited_content_digest_in_a_manifest_is_found(make_run: Callable[..., Path]) -> None:
    run = make_run()
    change(run / "curriculum.json", lambda value: value["outputs"]["curriculum.parquet"].update(content="0" * 64))
    assert verify(run)[1]


def test_an_output_made_from_another_input_is_found(make_run: Callable[..., Path]) -> None:
    run, other = make_run("run"), make_run("other", last="8")
    for name in ("labels.parquet", "labels.json"):
        (run / name).write_bytes((other / name).read_bytes())
    (finding,) = verify(run)[1]
    assert finding.path == "curriculum.json"
    assert finding.what == "made from another labels.parquet than the folder now holds"


def test_a_torn_manifest_is_refused_by_name(make_run: Callable[..., Path]) -> None:
    run = make_run()
    text = (run / "labels.json").read_text("utf-8")
    (run / "labels.json").write_text(text[: len(text) // 2], "utf-8")
    with pytest.raises(UserError, match=r"labels\.json is not a selftrain manifest"):
        verify(run)


def test_other_json_files_and_begun_work_are_passed_over(make_run: Callable[..., Path]) -> None:
    run = make_run()
    (run / "policy").mkdir()
    (run / "policy" / "config.json").write_text("{}", "utf-8")
    (run / "policy" / "broken.json").write_text("{", "utf-8")
    (run / ".policy.partial.json").write_text((run / "labels.json").read_text("utf-8"), "utf-8")
    assert verify(run) == (5, [])


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no finished stage"):
        verify(tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        verify(tmp_path / "none")


def test_two_runs_of_one_configuration_hold_the_same_results(make_run: Callable[..., Path]) -> None:
    contents, difference = compare(make_run("one"), make_run("two"))
    assert difference is None
    assert {name for name, _ in contents} == {"answers.parquet", "problems.parquet", "labels.parquet", *DOWNSTREAM}


def test_the_first_difference_between_two_runs_is_named(make_run: Callable[..., Path]) -> None:
    one, two = make_run("one"), make_run("two", last="8")
    assert (compare(one, two)[1] or "").startswith("curriculum.parquet: ")


def test_an_output_that_only_one_run_has_is_a_difference(make_run: Callable[..., Path]) -> None:
    one, two = make_run("one"), make_run("two")
    (two / "curriculum.json").unlink()
    assert f"missing in {two}" in (compare(one, two)[1] or "")
    assert f"missing in {two}" in (compare(two, one)[1] or "")


def test_the_command_exits_with_0_1_or_2(
    make_run: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    run = make_run()
    assert exit_code(monkeypatch, "verify", "--run", run) == 0
    assert "5 files are as their manifests say" in capsys.readouterr().out
    flip(run / "labels.parquet")
    assert exit_code(monkeypatch, "verify", "--run", run) == 1
    said = capsys.readouterr().out
    assert "labels.parquet: altered since label wrote it" in said
    assert "curriculum.parquet" in said
    assert exit_code(monkeypatch, "verify", "--run", tmp_path / "none") == 2
    assert capsys.readouterr().err.startswith("srt: ")


def test_the_command_compares_two_runs(
    make_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two, other = make_run("one"), make_run("two"), make_run("other", last="8")
    assert exit_code(monkeypatch, "verify", "--run", one, "--same-as", two) == 0
    assert "hold the same results" in capsys.readouterr().out
    assert exit_code(monkeypatch, "verify", "--run", one, "--same-as", other) == 1
    assert "different: " in capsys.readouterr().out


def test_runs_are_not_the_same_when_files_of_the_second_were_altered(
    make_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = make_run("one"), make_run("two")
    flip(two / "curriculum.parquet")
    assert exit_code(monkeypatch, "verify", "--run", one, "--same-as", two) == 1


def test_an_output_that_lost_its_manifest_is_named_with_what_was_made_from_it(make_run: Callable[..., Path]) -> None:
    run = make_run()
    (run / "labels.json").unlink()
    findings = {finding.path: finding for finding in verify(run)[1]}
    assert "no manifest vouches for it" in findings["labels.parquet"].what
    assert "curriculum.parquet" in findings["labels.parquet"].dependents
