"""Generation in chunks, with an engine whose texts follow from the seeds: order, resume, repair, skip, refusal."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from selftrain.data.errors import UserError
from selftrain.data.manifest import load
from selftrain.data.schemas import PROBLEMS, SAMPLES
from selftrain.data.seeds import sample_seed
from selftrain.data.store import as_table, content_of, read_table
from selftrain.stages.config import Config
from selftrain.stages.generate import Request, Response, Sampling, run
from selftrain.stages.generate.chunks import Chunk, Task, cut, fault, run_chunk, save
from selftrain.stages.summary import Summary

N_PROBLEMS, N, SIZE = 7, 3, 2
CHUNKS = ["chunk-00000.parquet", "chunk-00001.parquet", "chunk-00002.parquet", "chunk-00003.parquet"]


class CrashError(Exception):
    pass


class SeededEngine:
    """Text and length of a sample are a function of its seed and of the sampling settings."""

    def __init__(self, fails_at_call: int | None = None) -> None:
        self.calls: list[list[Request]] = []
        self.sampling: Sampling | None = None
        self.closed = False
        self._fails_at = fails_at_call

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Response]]:
        self.calls.append(list(requests))
        self.sampling = sampling
        if len(self.calls) == self._fails_at:
            raise CrashError
        return [[self._respond(request.seed + i, sampling) for i in range(request.n)] for request in requests]

    def close(self) -> None:
        self.closed = True

    @staticmethod
    def _respond(seed: int, sampling: Sampling) -> Response:
        tokens = seed % sampling.max_tokens + 1
        text = rf"{seed} at {sampling.temperature}: \boxed{{{seed % 5}}} ½"
        return Response(text, tokens, "length" if tokens == sampling.max_tokens else "stop")


class Forbidden(SeededEngine):
    """Stands where no sample may be drawn."""

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Response]]:
        raise AssertionError("the engine was called")


@pytest.fixture
def problems_file(tmp_path: Path, write_rows: Callable[..., Path]) -> Path:
    rows = [{"id": f"p{n}", "problem": f"What is {n} ?", "answer": str(n), "split": "train"} for n in range(N_PROBLEMS)]
    rows.append({"id": "held", "problem": "What is it ?", "answer": "0", "split": "test"})
    return write_rows(tmp_path / "problems.jsonl", reversed(rows))


@pytest.fixture
def generate(
    tmp_path: Path, problems_file: Path, model_folder: Path, configured: Callable[..., Config]
) -> Callable[..., Summary]:
    """The whole stage on the seven problems, two a chunk, three samples each."""

    def generate(engine: Any, *overrides: str, folder: str = "run", overwrite: bool = False) -> Summary:
        config = configured(
            f"problems.path={problems_file}", f"model.path={model_folder}", f"generate.samples={N}",
            "generate.max_tokens=64", f"generate.chunk_size={SIZE}", *overrides,
        )  # fmt: skip
        return run(config, tmp_path / folder, overwrite=overwrite, engine=engine)

    return generate


def content(run: Path) -> str:
    return load(run / "samples.json").outputs["samples"].content


def chunk_names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "samples").iterdir())


def times(run: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (run / "samples").iterdir()}


def test_every_training_problem_is_sampled_in_order_with_its_own_seeds(
    tmp_path: Path, generate: Callable[..., Summary]
) -> None:
    engine = SeededEngine()
    summary = generate(engine, "seed=4", "generate.temperature=0.7", "generate.top_k=9")
    assert not summary.skipped
    run = tmp_path / "run"
    assert chunk_names(run) == CHUNKS
    rows = [row for name in CHUNKS for row in read_table(run / "samples" / name, SAMPLES).to_pylist()]
    assert [(row["problem_id"], row["sample_index"]) for row in rows] == [
        (f"p{n}", i) for n in range(N_PROBLEMS) for i in range(N)
    ]
    assert [row["seed"] for row in rows] == [sample_seed(4, row["problem_id"], row["sample_index"]) for row in rows]
    assert all(row["response"].startswith(f"{row['seed']} at 0.7: ") for row in rows)
    assert engine.sampling == Sampling(temperature=0.7, top_p=1.0, top_k=9, max_tokens=64)
    assert [len(call) for call in engine.calls] == [2, 2, 2, 1]
    assert {request.n for call in engine.calls for request in call} == {N}


def test_the_manifest_accounts_for_every_file_and_sample(tmp_path: Path, generate: Callable[..., Summary]) -> None:
    generate(SeededEngine())
    run = tmp_path / "run"
    manifest = load(run / "samples.json")
    tables = [read_table(run / "samples" / name, SAMPLES) for name in CHUNKS]
    rows = [row for table in tables for row in table.to_pylist()]
    assert list(manifest.outputs["samples"].files) == [f"samples/{name}" for name in CHUNKS]
    assert manifest.outputs["samples"].content == content_of(tables, SAMPLES)
    assert manifest.outputs["samples"].rows == len(rows) == N_PROBLEMS * N
    assert (manifest.value["rows_in"], manifest.value["rows_out"]) == (N_PROBLEMS, N_PROBLEMS * N)
    assert manifest.summary["response_tokens"] == sum(row["n_tokens"] for row in rows)
    truncated = sum(row["finish_reason"] == "length" for row in rows)
    assert manifest.summary["truncated_share"] == round(truncated / len(rows), 4)
    assert manifest.summary["overlong_prompts_skipped"] == 0
    problems = read_table(run / "problems.parquet", PROBLEMS)
    assert problems.column("problem_id").to_pylist() == ["held", *(f"p{n}" for n in range(N_PROBLEMS))]
    assert not list(run.glob(".*.tmp"))
    assert not (run / ".samples.partial.json").exists()


def test_a_crash_in_the_second_chunk_costs_that_chunk_only(tmp_path: Path, generate: Callable[..., Summary]) -> None:
    generate(SeededEngine(), folder="undisturbed")
    with pytest.raises(CrashError):
        generate(SeededEngine(fails_at_call=2))
    run = tmp_path / "run"
    assert chunk_names(run) == CHUNKS[:1]
    assert not (run / "samples.json").exists()
    before = times(run)
    resumed = SeededEngine()
    assert not generate(resumed).skipped
    assert len(resumed.calls) == 3
    assert times(run)[CHUNKS[0]] == before[CHUNKS[0]]
    assert content(run) == content(tmp_path / "undisturbed")


def test_the_content_does_not_depend_on_the_order_of_the_source(
    tmp_path: Path, problems_file: Path, generate: Callable[..., Summary]
) -> None:
    generate(SeededEngine(), folder="one")
    lines = problems_file.read_text("utf-8").splitlines(keepends=True)
    problems_file.write_text("".join(reversed(lines)), "utf-8")
    generate(SeededEngine(), folder="two")
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert (
        load(tmp_path / "one" / "samples.json").value["fingerprint"]
        == (load(tmp_path / "two" / "samples.json").value["fingerprint"])
    )


def test_samples_do_not_depend_on_the_size_of_chunks(tmp_path: Path, generate: Callable[..., Summary]) -> None:
    generate(SeededEngine(), folder="one")
    generate(SeededEngine(), "generate.chunk_size=100", folder="two")
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert chunk_names(tmp_path / "two") == CHUNKS[:1]


@pytest.mark.parametrize("damage", ["torn", "empty", "foreign", "other settings", "fewer rows", "no footer"])
def test_a_chunk_that_cannot_be_trusted_is_redone_and_the_others_are_kept(
    tmp_path: Path, generate: Callable[..., Summary], damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    generate(SeededEngine(), folder="undisturbed")
    with pytest.raises(CrashError):
        generate(SeededEngine(fails_at_call=4))
    run = tmp_path / "run"
    path = run / "samples" / CHUNKS[1]
    data = path.read_bytes()
    if damage == "torn":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "foreign":
        path.write_bytes((run / "samples" / CHUNKS[0]).read_bytes())
    elif damage == "other settings":
        pq.write_table(pq.read_table(path).replace_schema_metadata({"selftrain.fingerprint": "other"}), path)
    elif damage == "fewer rows":
        table = pq.read_table(path)
        pq.write_table(table.slice(0, table.num_rows - 1), path)
    else:
        pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    before = times(run)
    resumed = SeededEngine()
    generate(resumed)
    assert [[request.seed for request in call] for call in resumed.calls] == [
        [sample_seed(0, "p2", 0), sample_seed(0, "p3", 0)],
        [sample_seed(0, "p6", 0)],
    ]
    after = times(run)
    assert [after[name] == before.get(name) for name in CHUNKS] == [True, False, True, False]
    assert content(run) == content(tmp_path / "undisturbed")
    assert load(run / "samples.json").summary["torn_chunks_redone"] == 1
    assert CHUNKS[1] in capsys.readouterr().err.replace("\n", "")


def test_a_second_run_is_a_skip_that_calls_no_engine(
    tmp_path: Path, generate: Callable[..., Summary], snapshot: Callable[[Path], dict[str, bytes]]
) -> None:
    first = generate(SeededEngine())
    before = snapshot(tmp_path / "run")
    second = generate(Forbidden())
    assert second.skipped
    assert second.lines == first.lines
    assert snapshot(tmp_path / "run") == before


def test_all_chunks_present_need_no_engine(tmp_path: Path, generate: Callable[..., Summary]) -> None:
    generate(SeededEngine())
    run = tmp_path / "run"
    finished = load(run / "samples.json")
    expected = content(run)
    (run / "samples.json").rename(run / ".samples.partial.json")
    assert not generate(Forbidden()).skipped
    assert content(run) == expected
    assert load(run / "samples.json").value["fingerprint"] == finished.value["fingerprint"]


@pytest.mark.parametrize("finished", [True, False])
def test_another_temperature_is_refused_and_nothing_is_touched(
    tmp_path: Path,
    generate: Callable[..., Summary],
    snapshot: Callable[[Path], dict[str, bytes]],
    finished: bool,
) -> None:
    if finished:
        generate(SeededEngine())
    else:
        with pytest.raises(CrashError):
            generate(SeededEngine(fails_at_call=3))
    run = tmp_path / "run"
    before = snapshot(run)
    with pytest.raises(UserError, match=r"generate\.temperature: 1\.0 -> 0\.5"):
        generate(Forbidden(), "generate.temperature=0.5")
    assert snapshot(run) == before
    engine = SeededEngine()
    generate(engine, "generate.temperature=0.5", overwrite=True)
    assert len(engine.calls) == len(CHUNKS)
    assert all(" at 0.5: " in text for text in pq.read_table(run / "samples").column("response").to_pylist())


def test_fewer_chunks_after_overwriting_leave_no_old_ones(tmp_path: Path, generate: Callable[..., Summary]) -> None:
    generate(SeededEngine())
    generate(SeededEngine(), "generate.chunk_size=100", overwrite=True)
    assert chunk_names(tmp_path / "run") == CHUNKS[:1]


def test_changed_problems_are_refused_as_an_input(problems_file: Path, generate: Callable[..., Summary]) -> None:
    generate(SeededEngine())
    problems_file.write_text(problems_file.read_text("utf-8").replace("What is 3 ?", "What is three ?"), "utf-8")
    with pytest.raises(UserError, match=r"input problems\.parquet has changed"):
        generate(Forbidden())


def test_a_file_that_vanished_can_be_made_again_as_the_message_says(
    tmp_path: Path, generate: Callable[..., Summary]
) -> None:
    generate(SeededEngine())
    run = tmp_path / "run"
    expected = content(run)
    (run / "samples" / CHUNKS[2]).unlink()
    generate(SeededEngine(), overwrite=True)
    assert chunk_names(run) == CHUNKS
    assert content(run) == expected


def test_prompts_without_room_for_a_response_are_skipped_and_listed(
    tmp_path: Path, problems_file: Path, generate: Callable[..., Summary]
) -> None:
    long = {"id": "p00", "problem": "word " * 600, "answer": "1", "split": "train"}
    problems_file.write_text(problems_file.read_text("utf-8") + json.dumps(long) + "\n", "utf-8")
    engine = SeededEngine()
    generate(engine)
    manifest = load(tmp_path / "run" / "samples.json")
    assert manifest.summary["overlong"] == ["p00"]
    assert manifest.summary["overlong_prompts_skipped"] == 1
    assert manifest.summary["problems"] == N_PROBLEMS
    assert "p00" in read_table(tmp_path / "run" / "problems.parquet", PROBLEMS).column("problem_id").to_pylist()
    assert max(len(request.prompt_ids) for call in engine.calls for request in call) + 64 <= 512


def test_the_longest_prompt_that_fits_is_sampled(tmp_path: Path, generate: Callable[..., Summary]) -> None:
    engine = SeededEngine()
    generate(engine)
    longest = max(len(request.prompt_ids) for call in engine.calls for request in call)
    generate(SeededEngine(), f"vllm.max_model_len={longest + 64}", folder="fits")
    assert load(tmp_path / "fits" / "samples.json").summary["overlong"] == []
    with pytest.raises(UserError, match="every prompt is longer than"):
        generate(Forbidden(), f"vllm.max_model_len={longest + 63}", folder="too-short")
    assert not (tmp_path / "too-short").exists()


@pytest.mark.parametrize("max_tokens", [512, 600])
def test_a_response_as_long_as_the_context_is_refused_before_anything_is_written(
    tmp_path: Path, generate: Callable[..., Summary], max_tokens: int
) -> None:
    with pytest.raises(UserError, match=f"max_tokens {max_tokens} leaves no room for a prompt: .* 512 tokens"):
        generate(Forbidden(), f"generate.max_tokens={max_tokens}")
    assert not (tmp_path / "run").exists()


def test_problems_without_a_training_split_are_refused(
    tmp_path: Path, problems_file: Path, generate: Callable[..., Summary]
) -> None:
    problems_file.write_text(problems_file.read_text("utf-8").replace('"train"', '"test"'), "utf-8")
    with pytest.raises(UserError, match="no problem of split 'train'"):
        generate(Forbidden())
    assert not (tmp_path / "run").exists()


def test_samples_that_nobody_accounts_for_are_not_touched(tmp_path: Path, generate: Callable[..., Summary]) -> None:
    stray = tmp_path / "run" / "samples" / "mine.parquet"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"mine")
    with pytest.raises(UserError, match="no manifest says how it was made"):
        generate(Forbidden())
    assert stray.read_bytes() == b"mine"


def test_an_engine_that_was_handed_in_is_not_closed(generate: Callable[..., Summary]) -> None:
    engine = SeededEngine()
    generate(engine)
    assert not engine.closed


@pytest.mark.parametrize(("n", "sizes"), [(0, []), (1, [1]), (4, [4]), (5, [4, 1]), (9, [4, 4, 1])])
def test_chunks_are_cut_in_order_with_the_rest_at_the_end(tmp_path: Path, n: int, sizes: list[int]) -> None:
    tasks = [Task(f"p{number}", [number]) for number in range(n)]
    chunks = cut(tasks, 4, tmp_path)
    assert [len(chunk.tasks) for chunk in chunks] == sizes
    assert [task for chunk in chunks for task in chunk.tasks] == tasks
    assert [chunk.path.name for chunk in chunks] == [f"chunk-{number:05d}.parquet" for number in range(len(sizes))]


def test_a_saved_chunk_has_no_fault_and_an_absent_one_is_missing(tmp_path: Path) -> None:
    chunk = Chunk(tmp_path / "c.parquet", (Task("b", [1]), Task("a", [2])))
    assert fault(chunk, 2, "f") == "missing"
    save(chunk, run_chunk(chunk, 2, Sampling(1.0, 1.0, 0, 8), 0, SeededEngine()), "f")
    assert fault(chunk, 2, "f") is None
    assert fault(chunk, 3, "f") == "holding other samples than expected"
    assert fault(chunk, 2, "g") == "made with other settings"
    assert fault(Chunk(chunk.path, chunk.tasks[::-1]), 2, "f") == "holding other samples than expected"
    chunk.path.write_bytes(b"PAR1")
    assert (fault(chunk, 2, "f") or "").startswith("unreadable")
    pq.write_table(as_table([], PROBLEMS), chunk.path)
    assert (fault(chunk, 2, "f") or "").startswith("unreadable")


@pytest.mark.parametrize("short", ["a request", "a sample"])
def test_an_engine_that_answers_too_little_is_an_error(tmp_path: Path, short: str) -> None:
    class Short(SeededEngine):
        def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Response]]:
            answered = super().generate(requests, sampling)
            return answered[1:] if short == "a request" else [answered[0][1:], *answered[1:]]

    chunk = Chunk(tmp_path / "c.parquet", (Task("a", [1]), Task("b", [1])))
    with pytest.raises(RuntimeError, match="did not return 2 responses for each of 2 requests"):
        run_chunk(chunk, 2, Sampling(1.0, 1.0, 0, 8), 0, Short())
