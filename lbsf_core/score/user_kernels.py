"""Loops over merchants and users, compiled on first use and kept on the disk (Numba).

See `kernels.py`, whose loops go over payments and texts; `related.py` says what these are for.
"""

# ruff: noqa: ANN401 - Numba has no types
from __future__ import annotations

from typing import Any

import numpy as np

from lbsf_core.score.kernels import compiled, mean_and_scale

#: exp(x) = 2^k exp(r) with k whole and |r| <= log(2) / 2, by a polynomial to single precision's
#: last bits (Cephes, `expf`); beyond the ends it would be 0 or infinite.
_LOWEST, _HIGHEST = np.float32(-87.0), np.float32(88.0)
_LOG2_E, _HALF = np.float32(1.44269504088896341), np.float32(0.5)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_EXP = tuple(
    np.float32(value)
    for value in (
        *(1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3),
        *(4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1),
    )
)
_ONE = np.float32(1)
#: Queries of a user that are answered together, at most; and what their number is filled up to:
#: vector instructions take eight numbers, and loops of two of them were the fastest.
_QUERIES, _LANES = 256, 16


@compiled
def norm(rows: Any, epsilon: Any, gain: Any, bias: Any, later: Any, normed: Any) -> None:
    """Layer norm, and a bias added to the rows themselves after it.

    Args:
        rows: (n, D) float32.
        epsilon: added to the variance.
        gain, bias: (D,) float32, of the norm.
        later: (D,) float32, added to `rows`: the bias of the product that is added to them next.
        normed: (n, D) float32, written.
    """
    width = rows.shape[1]
    for i in range(len(rows)):
        x, y = rows[i], normed[i]
        mean, scale = mean_and_scale(x, epsilon)
        for d in range(width):
            y[d] = (x[d] - mean) * scale * gain[d] + bias[d]
            x[d] += later[d]


@compiled
def attend(read: Any, offsets: Any, heads: Any, scale: Any, mixed: Any) -> None:
    """Attention of each user's merchants over all of them.

    Args:
        read: (n, 3 D) float32 queries, keys and values of all heads.
        offsets: (B + 1,) where the merchants of each user begin.
        heads: number of heads.
        scale: of the scores; 0 = every merchant looks at all of them alike.
        mixed: (n, D) float32, written.
    """
    width = mixed.shape[1]
    size = width // heads
    most = 1
    for u in range(len(offsets) - 1):
        most = max(most, offsets[u + 1] - offsets[u])
    room = min(_QUERIES, -(-most // _LANES) * _LANES)
    queries = np.zeros((size, room), dtype=np.float32)
    into = np.empty((size, room), dtype=np.float32)
    line = np.empty(room, dtype=np.float32)
    scores, powers = np.empty(most * room, np.float32), np.empty(most * room, np.int32)
    scales = powers.view(np.float32)
    for u in range(len(offsets) - 1):
        begin, end = offsets[u], offsets[u + 1]
        for h in range(heads):
            first = h * size
            for at in range(begin, end, _QUERIES):
                some = min(_QUERIES, end - at)
                lanes = -(-some // _LANES) * _LANES
                for i in range(some):
                    for d in range(size):
                        queries[d, i] = read[at + i, first + d] * np.float32(scale)
                of = scores[: (end - begin) * lanes].reshape((end - begin, lanes))
                _score(queries, read, begin, width + first, of)
                _from_highest(of, line)
                _exp(scores, (end - begin) * lanes, powers, scales)
                _weigh(of, read, begin, 2 * width + first, into)
                _totals(of, line)
                for i in range(some):
                    for d in range(size):
                        mixed[at + i, first + d] = into[d, i] / line[i]


@compiled
def _score(queries: Any, read: Any, begin: Any, first: Any, scores: Any) -> None:
    """(keys, lanes) products of (size, lanes) queries with keys that begin in column `first`.

    Four numbers of a key at a time, so that a score is written less often.
    """
    count, lanes = scores.shape
    size = len(queries)
    fours = size // 4 * 4
    for j in range(count):
        row = begin + j
        for i in range(lanes):
            scores[j, i] = 0
        for d in range(0, fours, 4):
            a, b = read[row, first + d], read[row, first + d + 1]
            c, e = read[row, first + d + 2], read[row, first + d + 3]
            for i in range(lanes):
                scores[j, i] += (
                    a * queries[d, i]
                    + b * queries[d + 1, i]
                    + c * queries[d + 2, i]
                    + e * queries[d + 3, i]
                )
        for d in range(fours, size):
            a = read[row, first + d]
            for i in range(lanes):
                scores[j, i] += a * queries[d, i]


@compiled
def _from_highest(scores: Any, line: Any) -> None:
    """Take each query's highest score from all of its (keys, lanes) scores."""
    count, lanes = scores.shape
    for i in range(lanes):
        line[i] = -np.inf
    for j in range(count):
        for i in range(lanes):
            score = scores[j, i]
            line[i] = score if score > line[i] else line[i]
    for j in range(count):
        for i in range(lanes):
            scores[j, i] -= line[i]


@compiled
def _totals(weights: Any, line: Any) -> None:
    """Sum of each query's weights."""
    count, lanes = weights.shape
    for i in range(lanes):
        line[i] = 0
    for j in range(count):
        for i in range(lanes):
            line[i] += weights[j, i]


@compiled
def _weigh(weights: Any, read: Any, begin: Any, first: Any, into: Any) -> None:
    """(size, lanes) sums of values that begin in column `first`, by (keys, lanes) weights.

    Four keys at a time, so that a sum is written less often.
    """
    count, lanes = weights.shape
    fours = count // 4 * 4
    for d in range(len(into)):
        for i in range(lanes):
            into[d, i] = 0
        for j in range(0, fours, 4):
            row = begin + j
            a, b = read[row, first + d], read[row + 1, first + d]
            c, e = read[row + 2, first + d], read[row + 3, first + d]
            for i in range(lanes):
                into[d, i] += (
                    a * weights[j, i]
                    + b * weights[j + 1, i]
                    + c * weights[j + 2, i]
                    + e * weights[j + 3, i]
                )
        for j in range(fours, count):
            a = read[begin + j, first + d]
            for i in range(lanes):
                into[d, i] += a * weights[j, i]


@compiled
def _exp(values: Any, count: Any, powers: Any, scales: Any) -> None:
    """Exponentials of float32 values, in place.

    Args:
        values: (count,) and more.
        powers: int32 room of the same size.
        scales: the same memory as float32: a power of 2 is written as the bits of its exponent.
    """
    for j in range(count):
        x = values[j]
        x = min(x, _HIGHEST)
        x = max(x, _LOWEST)
        whole = np.floor(x * _LOG2_E + _HALF)
        powers[j] = np.int32((np.int32(whole) + np.int32(127)) << np.int32(23))
        r = x - whole * _LN2_HIGH - whole * _LN2_LOW
        p = ((_EXP[0] * r + _EXP[1]) * r + _EXP[2]) * r + _EXP[3]
        p = (p * r + _EXP[4]) * r + _EXP[5]
        values[j] = p * r * r + r + _ONE
    for j in range(count):
        values[j] *= scales[j]


@compiled
def pool_users(merchants: Any, weights: Any, signals: Any, offsets: Any, users: Any) -> None:
    """What `model.relation.UserPooling` sums over each user's merchants.

    Args:
        merchants: (n, D) float32.
        weights: (n,) float32, not yet divided by their sum.
        signals: (n, D) float32.
        offsets: (B + 1,).
        users: (B, 4 D) float32, written: by weight, mean, sum by the root of their number, and the
            sum of the signals. 0 where a user has no merchant.
    """
    width = merchants.shape[1]
    for u in range(len(offsets) - 1):
        into = users[u]
        into[:] = 0
        count = offsets[u + 1] - offsets[u]
        whole = np.float32(0)
        for i in range(offsets[u], offsets[u + 1]):
            weight, x, signal = weights[i], merchants[i], signals[i]
            whole += weight
            for d in range(width):
                into[d] += weight * x[d]
            for d in range(width):
                into[width + d] += x[d]
            for d in range(width):
                into[3 * width + d] += signal[d]
        if count:
            by_weight, by_count = _ONE / whole, _ONE / np.float32(count)
            by_root = np.float32(0.25) / np.sqrt(np.float32(count))
            for d in range(width):
                into[d] *= by_weight
                into[2 * width + d] = into[width + d] * by_root
                into[width + d] *= by_count
