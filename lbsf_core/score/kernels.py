"""Loops over payments and texts, compiled on first use and kept on the disk (Numba).

Each goes over its rows once, so that what a row becomes on the way stays in the cache; torch's
operations, each over all rows, write and read a batch some thirty times between them. They run
without Python's lock, so that each thread has a core. `lean.py` says what they are for; the model
in `model/` says what they must compute.

Logarithms and exponentials are not here: torch has vector instructions for them, Numba has none.
`gelu` does without either.
"""

# ruff: noqa: ANN401 - Numba has no types
from __future__ import annotations

from typing import Any

import numba
import numpy as np

from lbsf_core.fold.batch import DAY
from lbsf_core.model.text import _INVERSE, MAX_BYTES, NGRAMS

#: Sums may be taken in another order, which vector instructions need; NaN keeps its meaning.
_MATHS = {"reassoc", "contract", "arcp", "nsz"}
_SHORTEST, _LONGEST = NGRAMS[0], NGRAMS[-1]
_STEP, _STEP2, _STEP3, _STEP4 = (np.uint64(int(_INVERSE) ** n % 2**64) for n in range(1, 5))
_ONE, _S30, _S27, _S31 = np.uint64(1), np.uint64(30), np.uint64(27), np.uint64(31)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_WORD, _EMPTY = np.uint64(100), np.uint64(7)
_HOUR = DAY // 24
#: erf(x) = x P(x^2) / Q(x^2) within [-4, 4], beyond which single precision knows only 1 (Eigen,
#: `generic_fast_erf_float`); the highest power first.
_P = tuple(
    np.float32(value)
    for value in (
        *(-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06),
        *(-5.69250639462346e-05, -7.34990630326855e-04, -2.95459980854025e-03),
        -1.60960333262415e-02,
    )
)
_Q = tuple(
    np.float32(value)
    for value in (
        *(-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03),
        *(-7.37332916720468e-03, -1.42647390514189e-02),
    )
)
#: Least variance within a merchant, and what is added to it.
_NONE, _LEAST = np.float32(0), np.float32(1e-4)
_HALF, _ROOT_HALF, _FARTHEST = np.float32(0.5), np.float32(0.5**0.5), np.float32(4)
#: Days from 0000-03-01 to 1970-01-01, and in 400, 100 and 4 years; see `_day_of_month`.
_TO_1970, _DAYS_400, _DAYS_100, _DAYS_4 = 719_468, 146_097, 36_524, 1_460


def compiled(function: Any) -> Any:
    """A loop in machine code, which lets other threads run meanwhile."""
    return numba.njit(nogil=True, cache=True, fastmath=_MATHS, error_model="numpy")(function)


@compiled
def _mix(value: Any) -> Any:
    value = value ^ (value >> _S30)
    value = value * _FIRST
    value = value ^ (value >> _S27)
    value = value * _SECOND
    return value ^ (value >> _S31)


@compiled
def _bucket(value: Any, kind: Any, buckets: Any) -> Any:
    value = _mix(value + kind)
    if buckets & (buckets - _ONE):
        return np.int64(value % buckets)
    return np.int64(value & (buckets - _ONE))  # a power of two needs no division


@compiled
def _last_few(text: Any, i: Any, size: Any, weight: Any, row: Any) -> Any:
    """Add the n-grams that begin near the end of a text; returns how many."""
    buckets, count = np.uint64(weight.shape[0]), 0
    value, place = text[i] + _ONE, _STEP
    for n in range(2, size - i + 1):
        value += (text[i + n - 1] + _ONE) * place
        place *= _STEP
        if n >= _SHORTEST:
            other = weight[_bucket(value, np.uint64(n), buckets)]
            for d in range(len(row)):
                row[d] += other[d]
            count += 1
    return count


@compiled
def text_vectors(data: Any, starts: Any, ends: Any, weight: Any, found: Any) -> None:
    """Mean n-gram vector of each text: `model.text.hash_texts` and a bag of rows in one.

    Args:
        data: bytes of all texts, lower case.
        starts, ends: (U,) where each text lies.
        weight: (buckets, W) float32.
        found: (U, W) float32, written.
    """
    buckets = np.uint64(weight.shape[0])
    width = weight.shape[1]
    text = np.empty(MAX_BYTES + 2, dtype=np.uint64)
    for u in range(len(starts)):
        size = min(ends[u] - starts[u], MAX_BYTES) + 2
        text[0], text[size - 1] = 2, 3
        for i in range(size - 2):
            text[i + 1] = data[starts[u] + i]
        row = found[u]
        row[:] = 0
        count = 0
        word, power = np.uint64(0), _ONE
        in_word = False
        for i in range(size):
            here = text[i]
            three = here + _ONE
            if size - i >= _LONGEST:  # all but the last few: three n-grams begin here
                three += (text[i + 1] + _ONE) * _STEP + (text[i + 2] + _ONE) * _STEP2
                four = three + (text[i + 3] + _ONE) * _STEP3
                five = four + (text[i + 4] + _ONE) * _STEP4
                one = weight[_bucket(three, np.uint64(3), buckets)]
                two = weight[_bucket(four, np.uint64(4), buckets)]
                other = weight[_bucket(five, np.uint64(5), buckets)]
                for d in range(width):
                    row[d] += one[d] + two[d] + other[d]
                count += 3
            else:
                count += _last_few(text, i, size, weight, row)
            if here not in (2, 3, 32):
                word += (here + _ONE) * power
                power *= _STEP
                in_word = True
            elif in_word:
                other = weight[_bucket(word, _WORD, buckets)]
                for d in range(width):
                    row[d] += other[d]
                count += 1
                word, power = np.uint64(0), _ONE
                in_word = False
        if size == 2:
            row[:] = weight[_bucket(_EMPTY, np.uint64(0), buckets)]
            count = 1
        share = np.float32(1.0 / count)
        for d in range(width):
            row[d] *= share


@compiled
def gelu(rows: Any, bias: Any) -> None:
    """Add a bias and apply GELU (by the error function, to 1e-6), in place.

    Args:
        rows: (n, H) float32.
        bias: (H,) float32.
    """
    for i in range(rows.shape[0]):
        row = rows[i]
        for d in range(rows.shape[1]):
            value = row[d] + bias[d]
            x = value * _ROOT_HALF
            x = min(x, _FARTHEST)
            x = max(x, -_FARTHEST)
            z = x * x
            p = _P[0] * z + _P[1]
            p = (((p * z + _P[2]) * z + _P[3]) * z + _P[4]) * z + _P[5]
            p = (p * z + _P[6]) * x
            q = (((_Q[0] * z + _Q[1]) * z + _Q[2]) * z + _Q[3]) * z + _Q[4]
            row[d] = _HALF * value + _HALF * value * (p / q)


@compiled
def distances(times: Any, offsets: Any, cutoffs: Any, recency: Any, gap: Any) -> None:
    """Days from each payment to its cutoff, and since the one before at its merchant.

    Args:
        times: (N,) microseconds.
        offsets: (S + 1,).
        cutoffs: (S,) of each segment.
        recency, gap: (N,) float64, written; a first payment's gap is NaN.
    """
    for s in range(len(cutoffs)):
        before = times[offsets[s]]
        for i in range(offsets[s], offsets[s + 1]):
            recency[i] = (cutoffs[s] - times[i]) / DAY
            gap[i] = (times[i] - before) / DAY
            before = times[i]
        gap[offsets[s]] = np.nan


@compiled
def _day_of_month(day: Any) -> Any:
    """1 to 31, from days since 1970: years begin in March, so that a leap day comes last."""
    in_era = (day + _TO_1970) % _DAYS_400
    year = (in_era - in_era // _DAYS_4 + in_era // _DAYS_100 - in_era // (_DAYS_400 - 1)) // 365
    in_year = in_era - (365 * year + year // 4 - year // 100)
    month = (5 * in_year + 2) // 153
    return in_year - (153 * month + 2) // 5 + 1


@compiled
def _between(value: Any, knots: Any, count: Any) -> Any:
    """The knot below a value and how far it is towards the next; beyond the ends the end knot."""
    low = 0
    for j in range(1, count - 1):  # few knots: counting them beats a search
        low += value >= knots[j]
    share = (value - knots[low]) / (knots[low + 1] - knots[low])
    return low, min(max(share, 0.0), 1.0)


@compiled
def mean_and_scale(x: Any, epsilon: Any) -> Any:
    """What layer norm takes from a (D,) float32 row, and what it multiplies the rest by."""
    total = np.float32(0)
    for d in range(len(x)):
        total += x[d]
    mean = total / np.float32(len(x))
    square = np.float32(0)
    for d in range(len(x)):
        square += (x[d] - mean) * (x[d] - mean)
    return mean, np.float32(1.0) / np.sqrt(square / np.float32(len(x)) + np.float32(epsilon))


@compiled
def encode(
    first: Any,
    last: Any,
    segment: Any,
    offsets: Any,
    table: Any,
    segment_rows: Any,
    singles: Any,
    values: Any,
    knots: Any,
    sizes: Any,
    starts: Any,
    wall: Any,
    calendar: Any,
    later: Any,
    epsilon: Any,
    fused: Any,
    normed: Any,
) -> None:
    """Payments `first` to `last` as vectors: the gated sum of their fields, and its layer norm.

    Args:
        first, last: of the N payments of a batch, n of them.
        segment: of the first.
        offsets: (S + 1,).
        table: (R, D) float32, rows of all fields, gates multiplied in.
        segment_rows: (S,) the row of each segment's merchant.
        singles: (K, N) a row of each payment, for each field that has one.
        values: (M, N) float64 numbers on the scale of their knots; NaN = missing.
        knots: (M, most) knots of each number.
        sizes, starts: (M,) how many knots, and the row for "missing"; the knots' rows follow.
        wall: (N,) microseconds since 1970 of the local clock.
        calendar: row of hour 0; the weekdays and days of the month follow.
        later: (D,) added to `fused` after the norm: the payment block's last bias.
        epsilon: of the norm.
        fused, normed: (n, D) float32, written; the norm without its gain and bias.
    """
    width = table.shape[1]
    for i in range(first, last):
        while offsets[segment + 1] <= i:
            segment += 1
        x = fused[i - first]
        row = table[segment_rows[segment]]
        day = wall[i] // DAY
        hour = table[calendar + (wall[i] - day * DAY) // _HOUR]
        weekday = table[calendar + 24 + (day + 3) % 7]
        month = table[calendar + 31 + _day_of_month(day) - 1]
        for d in range(width):
            x[d] = row[d] + hour[d] + weekday[d] + month[d]
        for k in range(len(singles)):
            row = table[singles[k, i]]
            for d in range(width):
                x[d] += row[d]
        for k in range(len(values)):
            value = values[k, i]
            if not np.isfinite(value):
                row = table[starts[k]]
                for d in range(width):
                    x[d] += row[d]
                continue
            low, share = _between(value, knots[k], sizes[k])
            upper, lower = np.float32(share), np.float32(1.0 - share)
            row, other = table[starts[k] + 1 + low], table[starts[k] + 2 + low]
            for d in range(width):
                x[d] += lower * row[d] + upper * other[d]
        mean, scale = mean_and_scale(x, epsilon)
        y = normed[i - first]
        for d in range(width):
            y[d] = (x[d] - mean) * scale
            x[d] += later[d]


@compiled
def pool(
    first: Any,
    last: Any,
    segment: Any,
    offsets: Any,
    payments: Any,
    weights: Any,
    sums: Any,
    shares: Any,
) -> None:
    """Add payments `first` to `last` to what is summed of their segments.

    Args:
        first, last, segment, offsets: as in `encode`.
        payments: (n, D) float32.
        weights: (n, H) float32, not yet divided by their sum.
        sums: (S, H + 2, D) float32: by each weight, by none, and of squares.
        shares: (S, H) float32 sums of the weights.
    """
    width, heads = payments.shape[1], weights.shape[1]
    for i in range(first, last):
        while offsets[segment + 1] <= i:
            segment += 1
        x, of, into = payments[i - first], weights[i - first], sums[segment]
        for h in range(heads):
            weight = of[h]
            shares[segment, h] += weight
            for d in range(width):
                into[h, d] += weight * x[d]
        for d in range(width):
            into[heads, d] += x[d]
            into[heads + 1, d] += x[d] * x[d]


@compiled
def divide(offsets: Any, shares: Any, sums: Any) -> None:
    """Make means and deviations of what `pool` has summed.

    Args:
        offsets: (S + 1,).
        shares: (S, H) float32 and more.
        sums: (S, H + 2, D) float32 and more, written over.
    """
    heads, width = shares.shape[1], sums.shape[2]
    for s in range(len(offsets) - 1):
        into, count = sums[s], np.float32(offsets[s + 1] - offsets[s])
        for h in range(heads):
            share = shares[s, h]
            for d in range(width):
                into[h, d] /= share
        for d in range(width):
            mean, square = into[heads, d] / count, into[heads + 1, d] / count
            into[heads, d] = mean
            into[heads + 1, d] = np.sqrt(max(square - mean * mean, _NONE) + _LEAST)


@compiled
def figures(times: Any, offsets: Any, cutoffs: Any, amounts: Any, near: Any, found: Any) -> None:
    """What `model.merchant.segment_statistics` counts of each segment, before its logarithms.

    Args:
        times: (N,).
        offsets: (S + 1,).
        cutoffs: (S,).
        amounts: (N,).
        near: microseconds before the cutoff that are recent.
        found: (S, 11), written.
    """
    for s in range(len(cutoffs)):
        begin, end = offsets[s], offsets[s + 1]
        total, least, most, out, recent = 0.0, amounts[begin], amounts[begin], 0, 0
        gaps, squares = 0.0, 0.0
        before = times[begin]
        for i in range(begin, end):
            amount = amounts[i]
            total += amount
            least, most = min(least, amount), max(most, amount)
            out += amount < 0
            recent += cutoffs[s] - times[i] < near
            gap = (times[i] - before) / DAY
            gaps += gap
            squares += gap * gap
            before = times[i]
        count = end - begin
        between = max(count - 1, 1)
        mean = gaps / between
        spread = np.sqrt(max(squares / between - mean * mean, 0.0))
        row = found[s]
        row[0], row[1], row[2] = count, total, total / count
        row[3], row[4], row[5] = least, most, out / count
        row[6], row[7] = (before - times[begin]) / DAY, (cutoffs[s] - before) / DAY
        row[8], row[9], row[10] = mean, spread / max(mean, 1e-3), recent / count


@compiled
def bins(
    offsets: Any,
    recency: Any,
    knots: Any,
    amounts: Any,
    size: Any,
    largest: Any,
    raw: Any,
    levels: Any,
    highs: Any,
    found: Any,
) -> None:
    """What rhythm and levels sum of each segment in soft bins of recency.

    Args:
        offsets: (S + 1,).
        recency: (N,) on the scale of the bins' middles.
        knots: (bins,) those middles.
        amounts: (N,).
        size: (N,) signed logarithms of the amounts.
        largest: an amount beyond counts as this much.
        raw: (F, N) numbers whose levels are counted; NaN = unknown.
        levels: (F, N) the same, scaled and cut off.
        highs: (F, N) what is averaged for the high; its inverse is for the low.
        found: (S, bins, 4 + 6 F), written.
    """
    count, most = len(knots), np.log1p(largest)
    one = np.zeros(found.shape[2])
    for s in range(len(offsets) - 1):
        into = found[s]
        into[:] = 0
        for i in range(offsets[s], offsets[s + 1]):
            low, share = _between(recency[i], knots, count)
            amount = min(max(amounts[i], -largest), largest)
            one[0], one[1] = 1.0, min(abs(size[i]), most)
            one[2], one[3] = max(-amount, 0.0), max(amount, 0.0)
            for f in range(len(raw)):
                at = 4 + 6 * f
                if np.isfinite(raw[f, i]):
                    level, high = levels[f, i], highs[f, i]
                    one[at], one[at + 1], one[at + 2] = 1.0, level, level * level
                    one[at + 3], one[at + 4] = 1.0 / high, high
                    one[at + 5] = 1.0 if raw[f, i] < 0 else 0.0
                else:
                    one[at : at + 6] = 0.0
            near, far = into[low], into[low + 1]
            rest = 1.0 - share
            for c in range(len(one)):
                near[c] += rest * one[c]
                far[c] += share * one[c]
