"""Metrics of a score, from scikit-learn, with bootstrap intervals by user."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    roc_auc_score,
    roc_curve,
)

from lbsf_core.errors import MetricError
from lbsf_core.evaluate.draws import metrics_of_draws

Floats = npt.NDArray[np.float64]

#: Bins of the expected calibration error: equal counts, so that no bin is nearly empty.
ECE_BINS = 10


@dataclass(frozen=True)
class Metric:
    """A figure with its 95 % interval."""

    value: float
    lo: float
    hi: float

    def to_dict(self) -> dict[str, float]:
        """As plain JSON values."""
        return {"value": self.value, "lo": self.lo, "hi": self.hi}


def auc(labels: Floats, pd: Floats) -> float:
    """Area under the ROC curve: chance that a bad sample scores above a good one."""
    return float(roc_auc_score(labels, pd))


def ks(labels: Floats, pd: Floats) -> float:
    """Kolmogorov-Smirnov: largest gap between the two cumulative distributions, ties together."""
    fpr, tpr, _ = roc_curve(labels, pd, drop_intermediate=False)
    return float(np.max(tpr - fpr))


def pr_auc(labels: Floats, pd: Floats) -> float:
    """Average precision."""
    return float(average_precision_score(labels, pd))


def brier(labels: Floats, pd: Floats) -> float:
    """Mean squared error of the PD."""
    return float(brier_score_loss(labels, pd))


def ece(labels: Floats, pd: Floats, bins: int = ECE_BINS) -> float:
    """Expected calibration error: mean |observed rate - mean PD| over `bins` bins of equal count.

    Samples are sorted by PD; a bin holds n / bins of them (equal PDs may straddle two bins, in
    the order of their label rate, which is their mean, so that the order of input never matters).
    """
    order = np.argsort(pd, kind="stable")
    p = pd[order]
    # Equal PDs share their mean label: otherwise the input's order would leak into the bins.
    _, group = np.unique(p, return_inverse=True)
    mean = np.bincount(group, weights=labels[order]) / np.bincount(group)
    y = mean[group]
    parts = np.array_split(np.arange(len(p)), min(bins, len(p)))
    return float(sum(abs(y[i].mean() - p[i].mean()) * len(i) for i in parts) / len(p))


def top_decile(labels: Floats, pd: Floats) -> float:
    """Share of all bad samples among the tenth with the highest PD (equal PDs count in part)."""
    size = len(pd) / 10
    order = np.argsort(-pd, kind="stable")
    _, group = np.unique(-pd[order], return_inverse=True)
    mean = np.bincount(group, weights=labels[order]) / np.bincount(group)
    whole = int(size)
    captured = mean[group][:whole].sum() + (size - whole) * mean[group][min(whole, len(pd) - 1)]
    return float(captured / labels.sum())


def calibration_slope(labels: Floats, pd: Floats) -> float:
    """Slope of the labels on the log-odds of the PD: 1 = right, below 1 = PDs too extreme."""
    p = np.clip(pd, 1e-6, 1 - 1e-6)
    odds = np.log(p / (1 - p))
    if np.ptp(odds) < 1e-9:
        return 0.0
    x = np.stack([np.ones_like(odds), odds], axis=1)
    weights = np.array([0.0, 1.0])
    for _ in range(20):  # Newton's method: two parameters, a few steps
        q = 0.5 * (1 + np.tanh(0.5 * (x @ weights)))
        curvature = x.T @ (x * (q * (1 - q) + 1e-9)[:, None])
        step = np.linalg.solve(curvature, x.T @ (labels - q))
        weights += np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-8:
            break
    return float(weights[1])


METRICS: dict[str, tuple[Callable[[Floats, Floats], float], str]] = {
    "AUC": (auc, "higher"),
    "KS": (ks, "higher"),
    "PR-AUC": (pr_auc, "higher"),
    "Top-decile capture": (top_decile, "higher"),
    "Brier": (brier, "lower"),
    "ECE": (ece, "lower"),
    "Calibration slope": (calibration_slope, "near 1"),
}


def evaluate(
    labels: npt.ArrayLike,
    pd: npt.ArrayLike,
    users: Sequence[str],
    *,
    repeats: int = 1000,
    seed: int = 0,
) -> dict[str, Metric]:
    """Every metric with a 95 % percentile interval, bootstrapped by user.

    Args:
        labels: (n,) 1 = bad, 0 = good.
        pd: (n,) probabilities of default.
        users: n user ids; a user's samples are drawn together.
        repeats: bootstrap draws (those with one class only are drawn again).
        seed: of the draws.

    Raises:
        MetricError: one class only, or values that are no labels or no probabilities.
    """
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(pd, dtype=np.float64)
    if not np.all(np.isin(y, (0, 1))) or len(np.unique(y)) < 2:
        raise MetricError(
            f"{int((y == 1).sum())} bad and {int((y == 0).sum())} good among {len(y)} samples: "
            "metrics need labels of 0 and 1 and at least one of each."
        )
    if not np.all((p >= 0) & (p <= 1)):
        raise MetricError("a PD lies outside [0, 1].")
    draws = metrics_of_draws(y, p, bootstrap_rows(y, users, repeats, seed), ECE_BINS)
    return {
        name: Metric(metric(y, p), *np.quantile(draws[name], [0.025, 0.975]).tolist())
        for name, (metric, _) in METRICS.items()
    }


def bootstrap_rows(
    labels: Floats, users: Sequence[str], repeats: int, seed: int
) -> Iterator[npt.NDArray[np.int64]]:
    """Rows of each bootstrap draw: users with replacement, all rows of a user together.

    One after another: a thousand draws of a large test part are more than its payments.
    """
    _, user = np.unique(np.asarray(users, dtype=object), return_inverse=True)
    order = np.argsort(user, kind="stable")
    counts = np.bincount(user)
    starts = np.cumsum(counts) - counts
    rng = np.random.default_rng(seed)
    drawn = 0
    while drawn < repeats:
        picked = rng.integers(0, len(counts), len(counts))
        total = np.cumsum(counts[picked])
        rows = order[
            np.arange(total[-1])
            + np.repeat(starts[picked] - (total - counts[picked]), counts[picked])
        ]
        if 0 < labels[rows].sum() < len(rows):
            drawn += 1
            yield rows
