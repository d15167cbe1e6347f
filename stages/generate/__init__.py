"""generate: a frozen model answers every training problem N times."""

from .engine import Engine, Request, Response, Sampling
from .stage import draw, load_tokenizer, run, vllm_engine

__all__ = ["Engine", "Request", "Response", "Sampling", "draw", "load_tokenizer", "run", "vllm_engine"]
