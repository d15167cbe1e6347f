"""Fixtures that several test files share: a fake model folder, small runs made by hand, files of rows."""

import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings

from selftrain.data.manifest import Step, begin, commit, table_output
from selftrain.data.schemas import ANSWERS, LABELS, PROBLEMS
from selftrain.data.store import as_table, write_table
from selftrain.stages.config import Config, load_config
from selftrain.stages.label.ledger import Vote, ledger_row

# No deadline: a busy machine is no failure.
settings.register_profile("selftrain", deadline=None)
settings.load_profile("selftrain")

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|> {{ message.content }} {% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CONTEXT = 512

Rows = list[dict[str, Any]]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that passes for a model: a real word tokenizer, a context of 512 tokens and empty weights."""
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    folder = tmp_path_factory.mktemp("model")
    words = ["<unk>", "<|user|>", "<|system|>", "<|assistant|>", "<|end|>"]
    raw = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>")
    )
    raw.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>", eos_token="<|end|>")
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": CONTEXT}), "utf-8")
    (folder / "model.safetensors").write_bytes(b"")
    return folder


@pytest.fixture(scope="session")
def write_rows() -> Callable[[Path, Iterable[Mapping[str, Any]]], Path]:
    """Write rows as the format that the file's name says (parquet, jsonl, jsonl.gz)."""

    def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
        rows = [dict(row) for row in rows]
        if path.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
            return path
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
        return path

    return write


@pytest.fixture(scope="session")
def configured() -> Callable[..., Config]:
    """The default configuration with `section.key=value` overrides."""
    return lambda *overrides: load_config(None, overrides)


@pytest.fixture(scope="session")
def problem_row() -> Callable[..., dict[str, Any]]:
    """A row of PROBLEMS; anything may be named otherwise."""

    def row(problem_id: str, **values: Any) -> dict[str, Any]:
        return {
            "problem_id": problem_id,
            "problem": f"What is {problem_id}?",
            "gold": None,
            "source": "made",
            "level": None,
            "split": "train",
            **values,
        }

    return row


@pytest.fixture(scope="session")
def ledger_of() -> Callable[..., dict[str, Any]]:
    """A row of LABELS from the answers of one problem."""

    def row(problem_id: str, answers: Iterable[str | None], gold: str | None = None, **how: Any) -> dict[str, Any]:
        votes = [Vote(answer, truncated=False) for answer in answers]
        return ledger_row(problem_id, votes, gold, how.get("min_frequency", 0.0))

    return row


@pytest.fixture
def labelled_run(tmp_path: Path) -> Callable[..., Path]:
    """A run folder as `srt label` leaves it (samples of another engine), with the given problems and ledger."""

    def make(problems: Rows, ledger: Rows, folder: Path | None = None) -> Path:
        run = folder or tmp_path / "run"
        answers = as_table([], ANSWERS)
        first = Step("answers", "label", run, {}, {"samples": "0"}, ("problems.parquet", "answers.parquet"))
        begin(first, overwrite=False)
        table = as_table(problems, PROBLEMS)
        write_table(run / "problems.parquet", table, PROBLEMS)
        write_table(run / "answers.parquet", answers, ANSWERS)
        outputs = {
            "answers.parquet": table_output(run, "answers.parquet", answers, ANSWERS),
            "problems.parquet": table_output(run, "problems.parquet", table, PROBLEMS),
        }
        commit(first, outputs, rows_in=0, rows_out=0, summary={})
        inputs = {name: output.content for name, output in outputs.items()}
        second = Step("labels", "label", run, {"label": {"min_frequency": 0.0}}, inputs, ("labels.parquet",))
        begin(second, overwrite=False)
        labels = as_table(ledger, LABELS)
        write_table(run / "labels.parquet", labels, LABELS)
        output = table_output(run, "labels.parquet", labels, LABELS)
        commit(second, {"labels.parquet": output}, rows_in=0, rows_out=len(ledger), summary={})
        return run

    return make


@pytest.fixture(scope="session")
def snapshot() -> Callable[[Path], dict[str, bytes]]:
    """Every file below a folder with its bytes; the cache of model digests may come and go."""

    def take(folder: Path) -> dict[str, bytes]:
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".model-digests.json")
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    return take
