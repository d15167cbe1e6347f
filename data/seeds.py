"""Seeds from identity: the same sample has the same seed whatever ran before it, on whichever machine."""

from __future__ import annotations

import hashlib


def sample_seed(run_seed: int, problem_id: str, sample_index: int) -> int:
    """Seed of one sample: a 62-bit hash of run seed and problem id, plus the sample's index.

    62 bits leave room for the index below 2^63, the largest seed that vLLM takes. vLLM gives child i of an
    n-way request the request's seed + i, so an n-way request starting at index s is seeded with the seed of s.
    """
    digest = hashlib.sha256(f"{run_seed}\n{problem_id}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 2) + sample_index
