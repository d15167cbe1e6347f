#!/usr/bin/env bash
# Makes the environment of `make setup`. Called with PYTHON and VENV.
#
# CPU: every package at the locked version and hash, without the resolver. GPU (nvidia-smi answers): the extras
# of pyproject.toml, resolved by pip, since the CUDA build depends on the machine.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
pip() { "$VENV/bin/python" -m pip --disable-pip-version-check "$@"; }

"$PYTHON" - <<'PY'
import sys
if sys.version_info < (3, 11):
    sys.exit(f"make setup needs Python 3.11 or newer, this is {sys.version.split()[0]}: use PYTHON=/path/to/python3.11")
PY
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"

if command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; then
  echo "setup: GPU found, installing the extras train, vllm and dev (resolved by pip, not locked)"
  pip install -q -e "$here[train,vllm,dev]"
  exit 0
fi

if ! "$VENV/bin/python" - <<'PY'
import platform, sys
known = sys.platform == "linux" and platform.machine() == "x86_64" and (3, 11) <= sys.version_info < (3, 14)
sys.exit(0 if known else 1)
PY
then
  echo "setup: the CPU lock is for CPython 3.11 to 3.13 on x86-64 Linux; elsewhere install torch, vLLM and '.[train,dev]' by hand" >&2
  exit 1
fi

echo "setup: installing the CPU lock into $VENV (about 2 GB of downloads on a new machine)"
torch=(install -q --no-deps --require-hashes -r "$here/requirements/torch-cpu.txt")
# Only a missing wheel is repeated from PyTorch's own index, and only for this one package.
pip "${torch[@]}" 2>"$VENV/torch.log" \
  || { echo "setup: torch's CPU build is not on the configured index, trying PyTorch's own"; \
       pip "${torch[@]}" --index-url https://download.pytorch.org/whl/cpu; }
pip install -q --no-deps --require-hashes --only-binary=:all: -r "$here/requirements/cpu.txt"
pip install -q --no-deps --no-build-isolation -e "$here"
