"""Which model exactly: a local folder by the digest of its files, a Hub model by its commit."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from .errors import UserError
from .store import digest_of, sha256_of, write_json

BUILTIN = "builtin:tiny"
BUILTIN_FOLDER = Path(__file__).parent / "checkpoint"

# What decides a model's output: weights, architecture, tokenizer, template, default generation settings.
_IDENTITY_FILES = (
    *("*.safetensors", "pytorch_model*.bin", "adapter_model.bin", "*.index.json", "config.json"),
    *("generation_config.json", "adapter_config.json", "tokenizer*", "special_tokens_map.json", "*.model"),
    *("added_tokens.json", "vocab*", "merges.txt", "chat_template*", "*.py"),
)
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "tekken.json",
)
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
# One copy of the weights is enough: safetensors are on the Hub for every model this is meant for.
_UNUSED_ON_HUB = ["*.bin", "*.pth", "*.gguf", "*.onnx"]
_CACHE = ".model-digests.json"


@dataclass(frozen=True)
class Model:
    """A model on disk. `identity` is "hub:NAME@COMMIT" or "sha256:DIGEST" and does not depend on the path."""

    name: str
    folder: Path
    identity: str


def find_model(name: str, revision: str | None, cache: Path) -> Model:
    """Locate a model and establish its identity without loading it.

    `name` is `builtin:tiny`, a folder, or a Hub id (downloaded when not cached). `cache` is the folder that
    keeps digests of large files, by size and time, so that 15 GB are not hashed at every stage.
    Raises UserError when there is no such model, or it lacks config, weights or tokenizer.
    """
    if name == BUILTIN:
        return _local(name, BUILTIN_FOLDER, cache)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _local(name, folder, cache)
    if name.startswith(("/", "./", "../", "~")) or not _HUB_ID.fullmatch(name):
        raise UserError(f"model.path: {name} is neither a folder nor a Hub id (org/name)")
    return _from_hub(name, revision)


def _local(name: str, folder: Path, cache: Path) -> Model:
    require_complete(folder)
    return Model(name, folder, f"sha256:{digest_of(file_digests(folder, cache))}")


def require_complete(folder: Path) -> None:
    """Raise UserError when a model folder has no configuration, weights or tokenizer."""
    if not (folder / "config.json").is_file():
        raise UserError(f"model folder {folder} has no config.json")
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("pytorch_model*.bin")):
        raise UserError(f"model folder {folder} has no weights (*.safetensors)")
    if not any((folder / file).is_file() for file in _TOKENIZER_FILES):
        raise UserError(f"model folder {folder} has no tokenizer ({', '.join(_TOKENIZER_FILES[:3])}, …)")


def file_digests(folder: Path, cache: Path | None = None) -> dict[str, str]:
    """sha256 of each file of a model folder that decides its output, by name.

    With `cache`, digests are reused while a file's size and modification time stay the same.
    """
    stored = cache / _CACHE if cache else None
    known: dict[str, str] = json.loads(stored.read_text("utf-8")) if stored and stored.is_file() else {}
    digests, fresh = {}, {}
    for path in sorted({path for pattern in _IDENTITY_FILES for path in folder.glob(pattern) if path.is_file()}):
        stat = path.stat()
        key = f"{path.resolve()}:{stat.st_size}:{stat.st_mtime_ns}"
        digests[path.name] = fresh[key] = known.get(key) or sha256_of(path)
    if stored and stored.parent.is_dir() and not fresh.keys() <= known.keys():
        write_json(stored, known | fresh)
    return digests


def _from_hub(name: str, revision: str | None) -> Model:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ModuleNotFoundError as error:
        raise UserError("a model from the Hub needs huggingface_hub: pip install 'selftrain[train]'") from error
    try:
        folder = Path(
            snapshot_download(name, revision=revision, ignore_patterns=["*.bin", "*.pth", "*.gguf", "*.onnx"])
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, ConnectionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"model.path: {name} is no folder here and cannot be had from the Hub: {reason}") from error
    require_complete(folder)
    return Model(name, folder, f"hub:{name}@{folder.name}")
