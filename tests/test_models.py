"""Which model exactly: completeness, identity and the cache of digests."""

import json
import os
import shutil
from pathlib import Path

import pytest

from selftrain.data import models
from selftrain.data.errors import UserError
from selftrain.data.models import BUILTIN, file_digests, find_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for name, text in {
        "config.json": "{}",
        "model.safetensors": "weights",
        "tokenizer.json": "{}",
        "tokenizer_config.json": "{}",
        "chat_template.jinja": "{{ messages }}",
        "README.md": "a card",
        "optimizer.pt": "state",
    }.items():
        (folder / name).write_text(text, "utf-8")
    return folder


def identity(folder: Path, cache: Path | None = None) -> str:
    return find_model(str(folder), None, cache or folder.parent / "no-cache").identity


def test_the_built_in_model_is_complete(tmp_path: Path) -> None:
    model = find_model(BUILTIN, None, tmp_path)
    assert model.name == BUILTIN
    assert model.identity.startswith("sha256:")
    assert (model.folder / "config.json").is_file()


@pytest.mark.parametrize("name", ["/no/such/folder", "./none", "../none", "~/no-such-model-folder", "none", "a/b/c"])
def test_a_name_that_is_neither_folder_nor_hub_id_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="neither a folder nor a Hub id"):
        find_model(name, None, tmp_path)


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("config.json", r"has no config\.json"),
        ("model.safetensors", "has no weights"),
        ("tokenizer.json", "has no tokenizer"),
    ],
)
def test_an_incomplete_folder_says_what_it_lacks(folder: Path, gone: str, said: str) -> None:
    (folder / gone).unlink()
    with pytest.raises(UserError, match=said) as refusal:
        identity(folder)
    assert str(folder) in str(refusal.value)


@pytest.mark.parametrize("tokenizer", ["tokenizer.model", "vocab.json", "spiece.model"])
def test_other_kinds_of_weights_and_tokenizers_are_accepted(folder: Path, tokenizer: str) -> None:
    (folder / "tokenizer.json").rename(folder / tokenizer)
    (folder / "model.safetensors").rename(folder / "pytorch_model-00001-of-00002.bin")
    assert set(file_digests(folder)) >= {tokenizer, "pytorch_model-00001-of-00002.bin"}
    assert identity(folder)


def test_the_identity_does_not_depend_on_the_place(folder: Path) -> None:
    copy = folder.parent / "elsewhere" / "renamed"
    shutil.copytree(folder, copy)
    assert identity(copy) == identity(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer_config.json", "chat_template.jinja"])
def test_a_changed_byte_is_another_model(folder: Path, name: str) -> None:
    before = identity(folder)
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(data)
    assert identity(folder) != before


def test_a_file_more_that_matters_is_another_model(folder: Path) -> None:
    before = identity(folder)
    (folder / "generation_config.json").write_text("{}", "utf-8")
    assert identity(folder) != before


@pytest.mark.parametrize("name", ["README.md", "optimizer.pt"])
def test_files_that_do_not_decide_the_output_do_not_count(folder: Path, name: str) -> None:
    before = identity(folder)
    (folder / name).write_text("other", "utf-8")
    assert identity(folder) == before


def test_digests_are_read_from_the_cache_while_size_and_time_stay(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "run"
    cache.mkdir()
    first = identity(folder, cache)
    hashed: list[str] = []
    real = models.sha256_of
    monkeypatch.setattr(models, "sha256_of", lambda path: hashed.append(path.name) or real(path))
    assert identity(folder, cache) == first
    assert hashed == []
    stat = (folder / "config.json").stat()
    (folder / "config.json").write_text("[]", "utf-8")
    os.utime(folder / "config.json", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    changed = identity(folder, cache)
    assert hashed == ["config.json"]
    assert changed != first
    assert changed == identity(folder)


def test_a_change_of_size_alone_is_noticed(folder: Path, tmp_path: Path) -> None:
    first = identity(folder, tmp_path)
    stat = (folder / "config.json").stat()
    (folder / "config.json").write_text("{ }", "utf-8")
    os.utime(folder / "config.json", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert identity(folder, tmp_path) != first


def test_the_cache_keeps_models_apart(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    (other / "model.safetensors").write_text("WEIGHTS", "utf-8")
    stat = (folder / "model.safetensors").stat()
    os.utime(other / "model.safetensors", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    cache = tmp_path / "run"
    cache.mkdir()
    assert identity(folder, cache) != identity(other, cache)
    assert identity(folder, cache) == identity(folder)


def test_no_folder_is_made_for_the_cache(folder: Path, tmp_path: Path) -> None:
    identity(folder, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_cache_is_plain_json_beside_the_run(folder: Path, tmp_path: Path) -> None:
    identity(folder, tmp_path)
    (cache,) = tmp_path.glob(".*.json")
    stored = json.loads(cache.read_text("utf-8"))
    assert set(stored.values()) == set(file_digests(folder).values())
