"""Engines: token ids in, sampled texts out."""

from __future__ import annotations

import gc
import logging
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ...data.errors import UserError
from ...data.models import Model

if TYPE_CHECKING:
    from ..config import ModelSection, VllmSection


@dataclass(frozen=True)
class Request:
    """One problem to be sampled n times; sample i of it is drawn with seed + i."""

    prompt_ids: list[int]
    n: int
    seed: int


@dataclass(frozen=True)
class Sampling:
    """How to sample: top_k 0 is off, max_tokens counts response tokens."""

    temperature: float
    top_p: float
    top_k: int
    max_tokens: int


@dataclass(frozen=True)
class Response:
    text: str
    n_tokens: int
    finish_reason: str


class Engine(Protocol):
    """What generation needs of a backend."""

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Response]]:
        """Responses of each request, in order of sample index."""
        ...

    def close(self) -> None:
        """Give back the memory of the model."""
        ...


class VllmEngine:
    """vLLM in this process. The model is loaded at the first `generate`.

    On CPU, chunked prefill is off: a per-request seed crashes the CPU worker when a prompt is prefilled in
    pieces ("CPU Generator does not use offset", vLLM 0.31). In-process scheduling
    (VLLM_ENABLE_V1_MULTIPROCESSING=0) makes batches, hence results, the same in every run.
    """

    def __init__(self, model: Model, model_section: ModelSection, section: VllmSection, max_model_len: int) -> None:
        self._model, self._model_section, self._section = model, model_section, section
        self._max_model_len = max_model_len
        self._llm: Any = None

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Response]]:
        llm = self._llm or self._load()
        from vllm import SamplingParams
        from vllm.inputs import TokensPrompt

        params = [
            SamplingParams(
                n=request.n, seed=request.seed, temperature=sampling.temperature, top_p=sampling.top_p,
                top_k=sampling.top_k, max_tokens=sampling.max_tokens,
            )
            for request in requests
        ]  # fmt: skip
        # A chunk must not depend on which chunks ran before it in this process.
        llm.reset_prefix_cache()
        prompts = [TokensPrompt(prompt_token_ids=request.prompt_ids) for request in requests]
        outputs = llm.generate(prompts, params, use_tqdm=False)
        return [
            [
                Response(child.text, len(child.token_ids), child.finish_reason or "unknown")
                for child in sorted(output.outputs, key=lambda child: child.index)
            ]
            for output in outputs
        ]

    def close(self) -> None:
        if self._llm is None:
            return
        from vllm.distributed import cleanup_dist_env_and_memory

        self._llm = None
        gc.collect()
        cleanup_dist_env_and_memory()

    def _load(self) -> Any:
        section = self._section
        _hush()
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(section.kv_cache_gib)
        llm_class = _import_vllm()
        from vllm.platforms import current_platform

        on_cpu = current_platform.is_cpu()
        options: dict[str, Any] = {
            "model": str(self._model.folder),
            "dtype": self._model_section.dtype,
            "max_model_len": self._max_model_len,
            "max_num_seqs": section.max_num_seqs,
            "tensor_parallel_size": section.tensor_parallel_size,
            "enforce_eager": section.enforce_eager,
            "seed": 0,
            "use_tqdm_on_load": False,
            # The model's own generation_config must not change what the configuration says.
            "generation_config": "vllm",
        }
        if on_cpu:
            options["block_size"] = section.block_size or 32
            options["enable_chunked_prefill"] = False
            options["max_num_batched_tokens"] = max(8192, self._max_model_len)
        else:
            options["gpu_memory_utilization"] = section.gpu_memory_utilization
            if section.block_size:
                options["block_size"] = section.block_size
        self._llm = llm_class(**options)
        return self._llm


def _hush() -> None:
    """Silence what vLLM 0.31 and torch say on every CPU start and no user can act on."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="vllm")
    logging.getLogger("torch._library.triton").setLevel(logging.ERROR)


def _import_vllm() -> Any:
    try:
        from vllm import LLM
    except ModuleNotFoundError as error:
        raise UserError(
            "vLLM is not installed in this environment: run `make setup` in a checkout (CPU or GPU), "
            "or `pip install 'selftrain[vllm,train]'` on a CUDA machine"
        ) from error
    return LLM
