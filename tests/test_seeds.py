"""Seeds from identity."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from selftrain.data.seeds import sample_seed


@given(st.integers(min_value=0), st.text(), st.integers(min_value=0, max_value=2**31 - 1))
def test_a_seed_fits_what_vllm_takes(run_seed: int, problem_id: str, index: int) -> None:
    first = sample_seed(run_seed, problem_id, 0)
    assert 0 <= first < 2**62
    assert sample_seed(run_seed, problem_id, index) == first + index < 2**63


def test_seeds_of_a_run_are_distinct() -> None:
    seeds = {sample_seed(run, f"p{n}", i) for run in range(3) for n in range(300) for i in range(32)}
    assert len(seeds) == 3 * 300 * 32


def test_run_seed_and_problem_id_do_not_run_into_each_other() -> None:
    assert sample_seed(1, "2", 0) != sample_seed(12, "", 0)
    assert sample_seed(0, "p", 0) != sample_seed(1, "p", 0)


def test_a_seed_is_the_same_on_every_machine() -> None:
    digest = hashlib.sha256("3\nträin-0001".encode()).digest()
    assert sample_seed(3, "träin-0001", 5) == (int.from_bytes(digest[:8], "big") >> 2) + 5
    assert sample_seed(0, "train-0001", 0) == 1247248330016293084
