"""Metrics against brute force and counting by hand; the training log as rows; the choice of the checkpoint."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selftrain.data.models import Model
from selftrain.data.schemas import METRICS
from selftrain.data.store import as_table, content_of
from selftrain.stages.eval.metrics import (
    SuiteScores,
    label_free,
    majority_right,
    mean_interval,
    paired,
    pass_at,
    scores,
)
from selftrain.stages.train.stage import _choose, metrics_rows

Ledger = Callable[..., dict[str, Any]]


# pass@k


@given(st.integers(min_value=1, max_value=7), st.data())
def test_pass_at_k_is_the_share_of_subsets_with_a_right_sample(n: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(min_value=0, max_value=n))
    k = data.draw(st.integers(min_value=1, max_value=n))
    subsets = list(itertools.combinations([True] * right + [False] * (n - right), k))
    assert pass_at(n, right, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_pass_at_1_is_the_mean_and_pass_at_n_is_any() -> None:
    for right in range(9):
        assert pass_at(8, right, 1) == pytest.approx(right / 8)
        assert pass_at(8, right, 8) == (1.0 if right else 0.0)


def test_pass_at_k_of_large_n_does_not_overflow() -> None:
    exact = 1 - math.comb(990, 500) / math.comb(1000, 500)
    assert pass_at(1000, 10, 500) == pytest.approx(exact)


@pytest.mark.parametrize(("n", "k"), [(4, 5), (0, 1), (4, 0)])
def test_pass_at_more_than_there_are_samples_does_not_exist(n: int, k: int) -> None:
    with pytest.raises(ValueError, match=f"pass@{k} needs"):
        pass_at(n, 0, k)


# maj@k


@pytest.mark.parametrize(
    ("answers", "gold", "value"),
    [
        (["4", "4.0", "5"], "4", 1.0),
        (["5", "5", "4"], "4", 0.0),
        (["4", "4", "5", "5.0"], "4", 0.5),
        (["4", "5", "6"], "4", 1 / 3),
        (["5", "6", "4", "4", "5"], "6", 0.0),
        ([None, None], "4", 0.0),
        ([], "4", 0.0),
        (["0.5", None, None], r"so \boxed{\frac12}", 1.0),
    ],
)
def test_tied_majorities_share_the_point(ledger_of: Ledger, answers: list[str | None], gold: str, value: float) -> None:
    assert majority_right(ledger_of("p", answers, gold)) == pytest.approx(value)


# Intervals

VALUES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=3, max_size=30)


@settings(max_examples=25)
@given(VALUES)
def test_an_interval_contains_its_mean_and_is_the_same_every_time(values: list[float]) -> None:
    estimate = mean_interval(np.array(values))
    assert estimate.value == pytest.approx(sum(values) / len(values))
    assert estimate.low - 1e-12 <= estimate.value <= estimate.high + 1e-12
    assert estimate == mean_interval(np.array(values))


@pytest.mark.parametrize(("n", "beyond"), [(1, 0.975), (40, 0.0881), (120, 0.0303)])
def test_equal_values_leave_room_for_problems_that_were_not_seen(n: int, beyond: float) -> None:
    none, every = mean_interval(np.zeros(n)), mean_interval(np.ones(n))
    assert (none.low, none.value, none.high) == (0.0, 0.0, pytest.approx(beyond, abs=1e-4))
    assert (every.low, every.value, every.high) == (pytest.approx(1 - beyond, abs=1e-4), 1.0, 1.0)


def test_no_values_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no problems"):
        mean_interval(np.array([]))


def test_an_interval_narrows_with_more_problems_and_shifts_with_the_values() -> None:
    few = np.random.default_rng(1).uniform(size=40)
    one, many = mean_interval(few), mean_interval(np.tile(few, 16))
    moved = mean_interval(few + 3, highest=4.0)
    assert (many.high - many.low) < (one.high - one.low) / 3
    assert moved.low == pytest.approx(one.low + 3)
    assert moved.high == pytest.approx(one.high + 3)


def test_an_interval_of_even_values_is_that_of_students_t() -> None:
    values = np.random.default_rng(2).normal(size=200)
    estimate = mean_interval(values, lowest=-10.0, highest=10.0)
    half = 1.972 * values.std(ddof=1) / 200**0.5
    assert estimate.low == pytest.approx(values.mean() - half, abs=half / 8)
    assert estimate.high == pytest.approx(values.mean() + half, abs=half / 8)


def test_an_interval_reaches_further_to_the_side_of_the_long_tail() -> None:
    tail = np.random.default_rng(4).exponential(size=40)
    right, left = mean_interval(tail, highest=99.0), mean_interval(-tail, lowest=-99.0, highest=0.0)
    assert right.high - right.value > 1.2 * (right.value - right.low)
    assert left.value - left.low > 1.2 * (left.high - left.value)


def test_an_interval_ends_where_the_values_must() -> None:
    nearly_all = np.array([1.0] * 59 + [0.9])
    assert mean_interval(nearly_all).high <= 1.0
    assert mean_interval(1 - nearly_all).low >= 0.0


def test_intervals_cover_the_truth_about_19_times_of_20() -> None:
    rng = np.random.default_rng(3)
    n = 200
    hits = sum(
        estimate.low <= 0.7 <= estimate.high
        for estimate in (mean_interval(rng.binomial(8, 0.7, size=30) / 8) for _ in range(n))
    )
    # Five standard deviations below 0.95.
    assert hits / n > 0.95 - 5 * (0.95 * 0.05 / n) ** 0.5


def test_two_problems_that_differ_leave_doubt() -> None:
    estimate = mean_interval(np.array([0.1, 0.3]))
    assert estimate.low < estimate.value < estimate.high


@pytest.mark.parametrize("hits", [1, 59])
def test_one_hit_or_one_miss_of_sixty_leaves_doubt_on_both_sides(hits: int) -> None:
    estimate = mean_interval(np.array([1.0] * hits + [0.0] * (60 - hits)))
    assert estimate.low < estimate.value < estimate.high


# Scores of a suite


def test_an_unsampled_problem_counts_as_not_solved(ledger_of: Ledger) -> None:
    gold = {"a": "1", "b": "2", "c": "3"}
    ledger = [ledger_of("b", ["2", "2", "5", None], "2"), ledger_of("c", [], "3"), ledger_of("a", ["1"] * 4, "1")]
    found = scores([*ledger, ledger_of("without gold", ["1"] * 4)], gold, 4)
    assert found.problem_ids == ("a", "b", "c")
    assert found.avg_P.tolist() == [1.0, 0.5, 0.0]
    assert found.maj_P.tolist() == [1.0, 1.0, 0.0]
    assert found.right_P.tolist() == [4, 2, 0]
    metrics = found.metrics()
    assert metrics["avg@4"]["value"] == 0.5
    assert metrics["maj@4"]["value"] == round(2 / 3, 4)
    assert metrics["pass@2"]["value"] == round((1 + 5 / 6 + 0) / 3, 4)
    assert metrics["pass@4"]["value"] == round(2 / 3, 4)


def test_counts_of_right_samples_survive_the_division(ledger_of: Ledger) -> None:
    for right in range(50):
        row = ledger_of("a", ["1"] * right + ["2"] * (49 - right), "1")
        assert scores([row], {"a": "1"}, 49).right_P.tolist() == [right]


def suite(values: list[float], k: int = 8, ids: str | None = None) -> SuiteScores:
    array = np.array(values)
    return SuiteScores(tuple(ids or map(str, range(len(values)))), k, array, array, np.rint(array * k))


@pytest.mark.parametrize(("k", "names"), [(8, {"pass@2", "pass@4", "pass@8"}), (12, {"pass@12"}), (3, {"pass@3"})])
def test_pass_at_the_number_of_samples_is_always_there(k: int, names: set[str]) -> None:
    metrics = suite([0.0, 1.0, 1.0, 0.0], k).metrics()
    assert {f"avg@{k}", f"maj@{k}", *names} <= set(metrics)
    assert not {name for name in metrics if int(name.split("@")[1]) > k}


def test_a_paired_difference_is_that_of_the_problems(ledger_of: Ledger) -> None:
    base = suite([0.2, 0.4, 0.6, 0.1, 0.9, 0.5])
    better = suite([0.3, 0.5, 0.8, 0.2, 0.9, 0.6])
    found = paired(better, base)
    assert found["value"] == pytest.approx(0.1)
    assert found["low"] > 0
    assert found["excludes_0"] is True
    assert paired(base, better)["value"] == pytest.approx(-0.1)
    assert paired(base, better)["excludes_0"] is True
    assert paired(base, base)["value"] == 0.0
    assert paired(base, base)["excludes_0"] is False


def test_a_difference_that_cancels_out_does_not_exclude_0() -> None:
    assert paired(suite([0.2, 0.8, 0.5, 0.4]), suite([0.8, 0.2, 0.4, 0.5]))["excludes_0"] is False


@pytest.mark.parametrize("ids", ["acb", "abd"])
def test_policies_on_different_problems_are_not_compared(ids: str) -> None:
    with pytest.raises(ValueError, match="same problems"):
        paired(suite([0.1, 0.2, 0.3], ids="abc"), suite([0.1, 0.2, 0.3], ids=ids))


def test_agreement_without_gold_is_counted_by_hand(ledger_of: Ledger) -> None:
    ledger = [ledger_of("a", ["1", "1.0", "1", "2"]), ledger_of("b", ["3", "4", None, None]), ledger_of("c", [])]
    assert label_free(ledger) == {
        "majority_frequency": round((0.75 + 0.25 + 0) / 3, 4),
        # Ordered pairs of samples with one answer: 6 of 12, 0 of 12; an unsampled problem has no pairs.
        "pair_agreement": 0.25,
        "answered_share": 0.75,
        "truncated_share": 0.0,
    }
    assert label_free([ledger_of("a", ["1"])])["pair_agreement"] == 0.0


# The training log


def test_the_validation_of_a_step_stands_beside_its_training_values() -> None:
    step = {"step": 1, "epoch": 0.1, "reward": 0.5, "reward_std": 0.4, "loss": 0.0, "completions/clipped_ratio": 0.25}
    history = [
        {"step": 0, "eval_reward": 0.3, "eval_loss": 9.0, "eval_kl": 9.0},
        {**step, "kl": 0.001, "completions/mean_length": 30.0, "learning_rate": 1e-6, "answered": 0.9},
        {"step": 1, "eval_reward": 0.6},
        {"step": 2, "reward": 0.75},
        {"step": 2, "train_runtime": 12.0, "train_loss": 0.1},
    ]
    rows = metrics_rows(history)
    assert as_table(rows, METRICS).num_rows == 3
    assert [row["step"] for row in rows] == [0, 1, 2]
    assert [row["validation_accuracy"] for row in rows] == [0.3, 0.6, None]
    assert [row["pseudo_reward"] for row in rows] == [None, 0.5, 0.75]
    assert (rows[0]["loss"], rows[0]["kl"]) == (None, None)
    assert (rows[1]["truncated"], rows[1]["completion_length"], rows[1]["kl"]) == (0.25, 30.0, 0.001)
    assert (rows[1]["answered"], rows[1]["gold_accuracy"]) == (0.9, None)
    assert metrics_rows(history[:2] + history[:2]) == [rows[0], {**rows[1], "validation_accuracy": None}]


def test_a_step_that_diverged_does_not_cost_the_whole_log() -> None:
    rows = metrics_rows(
        [{"step": 1, "reward": 0.5}, {"step": 2, "reward": 0.5, "loss": math.nan, "grad_norm": math.inf}]
    )
    assert content_of([as_table(rows, METRICS)], METRICS)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    for name in ("base", "policy/checkpoint-20", "policy/checkpoint-40"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_text(name, "utf-8")
        (folder / "config.json").write_text("{}", "utf-8")
        (folder / "optimizer.pt").write_text("state", "utf-8")
    return tmp_path / "policy"


@pytest.mark.parametrize(
    ("accuracies", "step", "source"),
    [
        ({0: 0.5, 20: 0.7, 40: 0.6}, 20, "policy/checkpoint-20"),
        ({0: 0.5, 20: 0.6, 40: 0.7}, 40, "policy/checkpoint-40"),
        ({0: 0.8, 20: 0.7, 40: 0.6}, 0, "base"),
        ({0: 0.7, 20: 0.7, 40: 0.6}, 0, "base"),
    ],
)
def test_the_best_checkpoint_must_beat_the_base(
    policy: Path, accuracies: dict[int, float], step: int, source: str
) -> None:
    history = [{"step": number, "eval_reward": value} for number, value in accuracies.items()]
    state = SimpleNamespace(best_global_step=20 if accuracies[20] >= accuracies[40] else 40)
    for _ in range(2):
        found = _choose(state, history, policy, Model("base", policy.parent / "base", "sha256:0"))
        assert found["chosen_step"] == step
        assert found["validation_accuracy_base"] == accuracies[0]
        assert found["validation_accuracy_best"] == accuracies[step]
        assert ("the base" in found["choice"]) == (step == 0)
        assert (policy / "best" / "model.safetensors").read_text("utf-8") == source
        assert sorted(path.name for path in (policy / "best").iterdir()) == ["config.json", "model.safetensors"]
