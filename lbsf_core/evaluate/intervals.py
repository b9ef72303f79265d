"""Intervals of rates. Apart from the metrics, whose library takes a second to load."""

from __future__ import annotations

from scipy.stats import binomtest


def wilson(bad: int, total: int) -> tuple[float, float, float]:
    """A rate and its 95 % Wilson interval; all NaN when there is nothing to count."""
    if not total:
        return float("nan"), float("nan"), float("nan")
    interval = binomtest(int(bad), int(total)).proportion_ci(0.95, method="wilson")
    return bad / total, float(interval.low), float(interval.high)
