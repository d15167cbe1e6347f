"""Metrics of repeated sampling and their intervals. Pure numpy.

Axes: P problems, k samples of each. Intervals resample problems only: a problem's mean over its samples already
carries the sampling noise, so resampling samples too would over-cover.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_RESAMPLES = 10_000


@dataclass(frozen=True)
class Estimate:
    """A mean over problems with its 95% interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        return {"value": round(self.value, 4), "low": round(self.low, 4), "high": round(self.high, 4)}


def mean_interval(values_P: np.ndarray, *, lowest: float = 0.0, highest: float = 1.0, seed: int = 0) -> Estimate:
    """Mean over problems with a 95% interval, for values between `lowest` and `highest`.

    Studentised bootstrap (bootstrap-t, 10,000 seeded resamples). Where more than 1 in 100 resamples has no
    spread (few problems, or nearly all equal) that breaks down, and Student's t takes its place. Equal values
    have no spread at all: the interval is then what one value unlike them among all problems could move, at
    the 97.5% limit 1 - 0.025^(1/P) of the share of such problems (0 of 120 right: 0 to 0.030).
    Raises ValueError on an empty array.
    """
    n = values_P.size
    if n == 0:
        raise ValueError("no problems to average")
    mean = float(values_P.mean())
    error = float(values_P.std(ddof=1)) / n**0.5 if n > 1 else 0.0
    if np.ptp(values_P) == 0.0:
        unseen = 1 - 0.025 ** (1 / n)
        return Estimate(mean, mean - unseen * (mean - lowest), mean + unseen * (highest - mean))
    means, spread = _resample(values_P, seed)
    if (spread < 1e-12).mean() > 0.01:
        from scipy import stats

        low, high = -stats.t.ppf(0.975, n - 1), stats.t.ppf(0.975, n - 1)
    else:
        usable = spread >= 1e-12
        low, high = np.quantile((means[usable] - mean) / spread[usable], [0.025, 0.975])
    return Estimate(mean, max(lowest, mean - float(high) * error), min(highest, mean - float(low) * error))


def _resample(values_P: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard errors of the resamples, in blocks of at most 2 million values (16 MB)."""
    n = values_P.size
    rng = np.random.default_rng(seed)
    block = max(1, 2_000_000 // n)
    means, errors = [], []
    for start in range(0, _RESAMPLES, block):
        draws = values_P[rng.integers(n, size=(min(block, _RESAMPLES - start), n))]
        means.append(draws.mean(axis=1))
        errors.append(draws.std(axis=1, ddof=1) / n**0.5)
    return np.concatenate(means), np.concatenate(errors)


def pass_at(n: int, c: int, k: int) -> float:
    """Unbiased pass@k of one problem with c right of n samples: 1 - C(n-c, k) / C(n, k) (Chen et al. 2021).

    Raises ValueError when k > n: the estimate does not exist.
    """
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs at least {k} samples, there are {n}")
    if n - c < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


def majority_right(row: Mapping[str, Any]) -> float:
    """maj@n of one ledger row with gold: 1 when the largest class equals gold; of tied classes each counts 1/tied."""
    top = [bool(group["correct"]) for group in row["classes"] if group["count"] == row["majority_count"]]
    return sum(top) / len(top) if top else 0.0


@dataclass(frozen=True)
class SuiteScores:
    """Per-problem values of one policy on one suite, in problem-id order (arrays of length P).

    A problem that could not be sampled (its prompt is too long) counts as not solved.
    """

    problem_ids: tuple[str, ...]
    k: int
    avg_P: np.ndarray
    maj_P: np.ndarray
    right_P: np.ndarray

    def metrics(self) -> dict[str, dict[str, float]]:
        """avg@k (which is pass@1), maj@k and pass@j for j = 2, 4, … and k, each with its 95% interval."""
        found = {f"avg@{self.k}": self.avg_P, f"maj@{self.k}": self.maj_P}
        powers = {2**exponent for exponent in range(1, self.k.bit_length()) if 2**exponent <= self.k}
        for j in sorted({*powers, self.k} - {1}):
            found[f"pass@{j}"] = np.array([pass_at(self.k, int(c), j) for c in self.right_P])
        return {name: mean_interval(values).as_dict() for name, values in found.items()}


def scores(ledger: Sequence[Mapping[str, Any]], with_gold: Container[str], k: int) -> SuiteScores:
    """Scores of a suite's ledger rows on the problems that have gold (their ids)."""
    rows = sorted((row for row in ledger if row["problem_id"] in with_gold), key=lambda row: row["problem_id"])
    rates = np.array([row["pass_rate"] or 0.0 for row in rows])
    return SuiteScores(
        problem_ids=tuple(row["problem_id"] for row in rows),
        k=k,
        avg_P=rates,
        maj_P=np.array([majority_right(row) for row in rows]),
        right_P=np.rint(rates * np.array([row["n_samples"] for row in rows])),
    )


def paired(trained: SuiteScores, base: SuiteScores) -> dict[str, Any]:
    """Difference of avg@k between two policies, paired by problem, and whether its interval excludes 0.

    Raises ValueError when the two were not scored on the same problems.
    """
    if trained.problem_ids != base.problem_ids:
        raise ValueError("the two policies were not scored on the same problems")
    estimate = mean_interval(trained.avg_P - base.avg_P, lowest=-1.0)
    return {**estimate.as_dict(), "excludes_0": bool(estimate.low > 0 or estimate.high < 0)}


def label_free(ledger: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What can be said without gold: agreement of the samples with each other, never their correctness."""
    n = sum(row["n_samples"] for row in ledger)
    pairs = [
        sum(group["count"] * (group["count"] - 1) for group in row["classes"])
        / (row["n_samples"] * (row["n_samples"] - 1))
        for row in ledger
        if row["n_samples"] > 1
    ]
    return {
        "majority_frequency": round(float(np.mean([row["majority_frequency"] for row in ledger])), 4),
        "pair_agreement": round(float(np.mean(pairs)), 4) if pairs else 0.0,
        "answered_share": round(sum(row["n_answered"] for row in ledger) / max(n, 1), 4),
        "truncated_share": round(sum(row["n_truncated"] for row in ledger) / max(n, 1), 4),
    }
