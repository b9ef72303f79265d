"""Group payments by merchant: the fold itself, on numbers alone.

One stable sort does it. Rows come by user, then time, so sorting them by (sample, merchant) puts
them by segment and leaves time in order. Only payments of one merchant at the same instant are
compared again, by the fields that break ties, so that the order of the input never matters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lbsf_core.config import FoldConfig
from lbsf_core.fold.batch import DAY, Floats, Ints, expand

#: Gives, for these rows, the keys that break ties, the most significant first.
TieKeys = Callable[[Ints], list[npt.NDArray[np.generic]]]


@dataclass(frozen=True)
class Grouped:
    """Which rows go where, in the order of the store: M rows kept, of K samples.

    Attributes:
        rows: (M,) row of the input.
        sample: (M,) number of the sample among those given, 0 to K - 1.
        segment: (M,) number of the segment in its sample, most recently paid merchant first.
        dropped_payments, dropped_merchants, dropped_amount: (K,) what the caps cut off.
    """

    rows: Ints
    sample: Ints
    segment: Ints
    dropped_payments: Ints
    dropped_merchants: Ints
    dropped_amount: Floats


def group_payments(
    user: Ints,
    time: Ints,
    merchant: Ints,
    amount: Floats,
    *,
    sample_user: Ints,
    cutoff: Ints,
    config: FoldConfig,
    tie_keys: TieKeys,
) -> Grouped:
    """Fold the payments of some users at their cutoffs.

    Args:
        user: (N,) number of the payer, never falling.
        time: (N,) microseconds UTC; in order of time for each user or not.
        merchant: (N,) number of the merchant, in the order of their names; negative = none, and
            the payment belongs to no segment.
        amount: (N,) signed.
        sample_user: (K,) user of each sample, never falling.
        cutoff: (K,) microseconds UTC, exclusive.
        config: window and caps.
        tie_keys: compares payments of one segment at the same instant.
    """
    rows, sample = _seen(user, time, merchant, sample_user, cutoff, config.window_days)
    order, starts = _by_segment(sample, merchant[rows])
    rows, sample = rows[order], sample[order]
    counts = np.diff(np.append(starts, len(rows)))
    # Most recent payment first; equal ones stay in the order of their merchants.
    last = time[rows[starts + counts - 1]]
    turn = np.lexsort((-last, sample[starts]))
    order = expand(starts[turn], counts[turn])
    rows, sample, counts = rows[order], sample[order], counts[turn]
    starts = np.cumsum(counts) - counts
    number = np.arange(len(starts))
    first = np.ones(len(starts), dtype=bool)
    first[1:] = sample[starts[1:]] != sample[starts[:-1]]
    segment_of_start = number - number[first][np.cumsum(first) - 1]
    segment = np.repeat(segment_of_start, counts)
    _break_ties(rows, time, np.repeat(number, counts), tie_keys)
    kept = np.ones(len(rows), dtype=bool)
    if config.max_merchants:
        kept &= segment < config.max_merchants
    if config.max_payments:  # the newest stay
        kept &= np.repeat(starts + counts, counts) - np.arange(len(rows)) <= config.max_payments
    size = len(sample_user)
    lost = sample[~kept]
    far = segment_of_start >= (config.max_merchants or len(rows) + 1)
    return Grouped(
        rows=rows[kept],
        sample=sample[kept],
        segment=segment[kept],
        dropped_payments=np.bincount(lost, minlength=size),
        dropped_merchants=np.bincount(sample[starts][far], minlength=size),
        dropped_amount=np.bincount(lost, np.abs(amount[rows[~kept]]), size).astype(np.float64),
    )


def _seen(
    user: Ints, time: Ints, merchant: Ints, sample_user: Ints, cutoff: Ints, window: int | None
) -> tuple[Ints, Ints]:
    """The rows that each sample may see, by sample, then time; a row may stand in several."""
    # A stable sort: rows of one user at one instant keep their order until ties are broken.
    falls = (np.diff(time) < 0) & (np.diff(user) == 0)
    by_time = np.lexsort((time, user)) if falls.any() else np.arange(len(user))
    low, high = (np.searchsorted(user, sample_user, side=s) for s in ("left", "right"))
    counts = high - low
    rows = by_time
    if not (len(low) and low[0] == 0 and high[-1] == len(user) and (low[1:] == high[:-1]).all()):
        rows = by_time[expand(low, counts)]  # users with several samples, or with none
    when = time[rows]
    seen = (when < np.repeat(cutoff, counts)) & (merchant[rows] >= 0)
    if window:
        seen &= when >= np.repeat(cutoff - window * DAY, counts)
    return rows[seen], np.repeat(np.arange(len(sample_user)), counts)[seen]


def _by_segment(sample: Ints, merchant: Ints) -> tuple[Ints, Ints]:
    """The order by (sample, merchant), what is equal left in place, and where segments start."""
    group = sample * (int(merchant.max(initial=0)) + 1) + merchant
    bits = len(group).bit_length()
    if int(group.max(initial=0)).bit_length() + bits < 64:
        # Numbers that hold group and row, which no two have alike: processors sort numbers eight at
        # a time, and places only with what they stand for (1 million: 18 ms against 59).
        order = group << bits | np.arange(len(group))
        order.sort()
        group = order >> bits
        order &= (1 << bits) - 1
    else:
        order = np.argsort(group, kind="stable")
        group = group[order]
    begins = np.ones(len(group), dtype=bool)
    begins[1:] = group[1:] != group[:-1]
    return order, np.flatnonzero(begins)


def _break_ties(rows: Ints, time: Ints, segment: Ints, tie_keys: TieKeys) -> None:
    """Put payments of one segment at one instant in the order of the fields, in place."""
    when = time[rows]
    same = (when[1:] == when[:-1]) & (segment[1:] == segment[:-1])
    if not same.any():
        return
    tied = np.zeros(len(rows), dtype=bool)
    tied[1:] |= same
    tied[:-1] |= same
    places = np.flatnonzero(tied)
    # A run of ties starts where a row is not tied to the one before.
    run = np.cumsum(~np.append(False, same)[places])
    among = rows[places]
    rows[places] = among[np.lexsort((*reversed(tie_keys(among)), run))]
