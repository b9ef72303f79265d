"""When people pay and how much: days of the week and month, hours, amounts."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from lbsf_core.payments.simulate.causes import Span
from lbsf_core.payments.simulate.kinds import HOUR, SIGMA, SIGN, SPREAD, STEP

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MINUTES_A_DAY = 1440
_PAYDAY_ROW = 3
_PULLS = np.array(
    [  # of Monday to Sunday; one row for each rhythm of `kinds`
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        [0.6, 0.6, 0.7, 0.9, 1.5, 1.8, 1.2],
        [1.3, 1.3, 1.3, 1.3, 1.2, 0.5, 0.3],
        [0.9, 0.9, 0.9, 1.0, 1.3, 1.2, 0.9],
    ]
)


def _weekday(days: Ints) -> Ints:
    return (days + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0


@cache
def _month_starts() -> Ints:
    """Local day of the first of each month, 1970 to 2069."""
    months = np.arange(np.datetime64("1970-01"), np.datetime64("2070-01"))
    return months.astype("datetime64[D]").astype(np.int64)


def monthly_days(rng: np.random.Generator, span: Span, first: Ints, end: Ints) -> tuple[Ints, Ints]:
    """Paydays of monthly contracts, never on a weekend.

    Args:
        rng: the user's stream.
        span: the user's time.
        first, end: (contracts,) local days `[first, end)` in which each one runs.

    Returns:
        (n,) contract and (n,) local day of each payment.
    """
    starts = _month_starts()
    low = max(0, int(np.searchsorted(starts, span.first)) - 1)
    inside = starts[low : np.searchsorted(starts, span.end)]
    days = inside[None, :] + rng.integers(0, 28, len(first))[:, None]  # (contracts, months)
    weekday = _weekday(days)
    days = days + np.where(weekday == 5, 2, np.where(weekday == 6, 1, 0))
    contract, month = np.nonzero((days >= first[:, None]) & (days < end[:, None]))
    return contract.astype(np.int64), days[contract, month]


def free_days(
    rng: np.random.Generator, span: Span, rhythm: Ints, between: tuple[Ints, Ints], *, payday: int
) -> Ints:
    """A day for each free payment, drawn by its rhythm.

    Args:
        rng: the user's stream.
        span: the user's time.
        rhythm: (n,) of each payment.
        between: (n,) first day and (n,) day after the last, for each payment.
        payday: a local day on which the user was paid.
    """
    first, end = between
    days = np.arange(span.first, span.end)
    pulls = _PULLS[:, _weekday(days)].copy()
    pulls[_PAYDAY_ROW] *= np.where((days - payday) % 30 < 6, 2.0, 0.8)
    width = len(days) + 1
    cumulative = np.zeros((len(pulls), width))
    np.cumsum(pulls, axis=1, out=cumulative[:, 1:])
    low, high = cumulative[rhythm, first - span.first], cumulative[rhythm, end - span.first]
    # One search for all rhythms: each has its own stretch of the number line.
    stretch = float(cumulative.max()) + 1.0
    line = (cumulative + np.arange(len(pulls))[:, None] * stretch).ravel()
    target = low + (high - low) * rng.random(len(rhythm)) + rhythm * stretch
    found = np.searchsorted(line, target, side="right") - 1 - rhythm * width
    day: Ints = np.clip(found + span.first, first, end - 1)
    return day


def minutes(rng: np.random.Generator, kind: Ints, day: Ints) -> Ints:
    """Local wall-clock minutes since 1970 for payments at these kinds on these days."""
    hour = HOUR[kind] + SPREAD[kind] * rng.standard_normal(len(kind))
    return day * MINUTES_A_DAY + (hour * 60).astype(np.int64)  # late evenings run past midnight


def free_pence(rng: np.random.Generator, kind: Ints, price: Floats) -> Ints:
    """Signed amounts around `price` (pounds), in the steps of their kind."""
    amount = price * np.exp(SIGMA[kind] * 0.8 * rng.standard_normal(len(kind))) * 100
    step = STEP[kind]
    pence = np.maximum(1, np.rint(amount / step)).astype(np.int64) * step
    pence -= (step == 100) & (rng.random(len(kind)) < 0.7)  # shop prices end in .99
    return pence * SIGN[kind]


def contract_pence(
    rng: np.random.Generator, kind: Ints, price: Floats, which: Ints, years: Ints
) -> Ints:
    """Signed amounts of contracts: the same each month, 4 % more each year.

    Args:
        rng: the user's stream.
        kind, price: (contracts,) kind and price level in pounds.
        which, years: (n,) contract and full years since the beginning, for each payment.
    """
    base = price * np.exp(SIGMA[kind] * rng.standard_normal(len(kind))) * 100
    step = STEP[kind]
    fixed = np.maximum(1, np.rint(base / step)).astype(np.int64) * step
    return np.rint(fixed[which] * (1 + 0.04 * years)).astype(np.int64) * SIGN[kind[which]]
