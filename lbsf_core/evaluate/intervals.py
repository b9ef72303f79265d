"""Intervals of rates. Apart from the metrics, whose library takes a second to load."""

from __future__ import annotations

from math import sqrt

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are first used

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Standard deviations to either side that hold 95 % of a normal distribution.
Z95 = 1.959963984540054


def wilson(bad: int, total: int) -> tuple[float, float, float]:
    """A rate and its 95 % Wilson interval; all NaN when there is nothing to count."""
    if not total:
        return float("nan"), float("nan"), float("nan")
    interval = scipy.stats.binomtest(int(bad), int(total)).proportion_ci(0.95, method="wilson")
    return bad / total, float(interval.low), float(interval.high)


def wilsons(bad: Ints, total: Ints) -> tuple[Floats, Floats, Floats]:
    """`wilson` of many rates at once: scipy takes one at a time, a millisecond each."""
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = bad / total
        z2 = Z95**2 / total
        middle = (rate + z2 / 2) / (1 + z2)
        half = np.sqrt(rate * (1 - rate) * z2 + (z2 / 2) ** 2) / (1 + z2)
    return rate, np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)


def auc_interval(auc: float, bad: int, good: int) -> tuple[float, float]:
    """95 % interval of an AUC without draws, for many samples at once (Hanley and McNeil, 1982).

    Takes samples for independent: several of one user make it too narrow.

    Args:
        auc: 0 to 1.
        bad, good: samples of each kind, one at least.
    """
    one, other = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = auc * (1 - auc) + (bad - 1) * (one - auc**2) + (good - 1) * (other - auc**2)
    half = Z95 * sqrt(max(spread, 0.0) / (bad * good))
    return max(auc - half, 0.0), min(auc + half, 1.0)
