"""Every metric of every bootstrap draw at once: the figures of `metrics.py`, some hundred times
faster.

A draw takes each row some number of times, so its metrics are those of the same rows with these
numbers as weights: one sort by PD serves all draws, and equal PDs are one group. What a resample
would say is found from running sums over the groups; the tests hold each figure against the
functions of `metrics.py` on the resampled rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Rows of all draws that are worked on together: few enough to stay near the cache.
BLOCK = 2**18
#: Steps of Newton's method at most, the size of one, and the step that is none: see
#: `metrics.calibration_slope`.
_STEPS, _STEP, _SMALL = 20, 2.0, 1e-8


def auc_of_draws(labels: Floats, pd: Floats, drawn: Iterable[Ints]) -> Floats:
    """(D,) AUC of each draw; arguments as of `metrics_of_draws`."""
    return np.concatenate([_auc(groups) for groups in _blocks(labels, pd, drawn)])


def metrics_of_draws(
    labels: Floats, pd: Floats, drawn: Iterable[Ints], bins: int
) -> dict[str, Floats]:
    """Every metric of every draw.

    Args:
        labels: (n,) 1 = bad, 0 = good.
        pd: (n,) probabilities of default.
        drawn: the rows of each of D draws, both classes in each, from `bootstrap_rows`.
        bins: of the expected calibration error.

    Returns:
        name -> (D,), in the order and with the meaning of `metrics.METRICS`.
    """
    parts = [_metrics(groups, bins) for groups in _blocks(labels, pd, drawn)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _blocks(labels: Floats, pd: Floats, drawn: Iterable[Ints]) -> Iterator[_Groups]:
    order = np.argsort(pd, kind="stable")
    labels = labels[order]
    levels, first = np.unique(pd[order], return_index=True)
    step, left = max(1, BLOCK // len(pd)), iter(drawn)
    while rows := list(islice(left, step)):
        counts = np.stack([np.bincount(one, minlength=len(pd)) for one in rows])
        yield _Groups(labels, levels, first, counts[:, order].astype(np.float64))


class _Groups:
    """Draws by groups of equal PD, lowest first: (D, G) of each group and up to it, (D, 1) of all.

    `taken` says how often each of D draws takes each of n rows, ordered by PD as `labels` are;
    group g has the PD `pd[g]` and begins at row `first[g]`.
    """

    def __init__(self, labels: Floats, pd: Floats, first: Ints, taken: Floats) -> None:
        self.pd = pd
        bad = taken * labels
        if len(first) < len(labels):
            taken, bad = (np.add.reduceat(part, first, axis=1) for part in (taken, bad))
        self.count, self.bad, self.good = taken, bad, taken - bad
        # Plural: of all groups up to each, itself included.
        self.counts, self.bads = np.cumsum(taken, axis=1), np.cumsum(bad, axis=1)
        self.goods = self.counts - self.bads
        self.n, self.all_bad = self.counts[:, -1:], self.bads[:, -1:]
        self.all_good = self.goods[:, -1:]


def _metrics(groups: _Groups, bins: int) -> dict[str, Floats]:
    error = groups.bad @ (1 - groups.pd) ** 2 + groups.good @ groups.pd**2
    calibration_error, captured = _of_places(groups, bins)
    return {
        "AUC": _auc(groups),
        "KS": _ks(groups),
        "PR-AUC": _average_precision(groups),
        "Top-decile capture": captured,
        "Brier": error / groups.n[:, 0],
        "ECE": calibration_error,
        "Calibration slope": _slope(groups),
    }


def _auc(groups: _Groups) -> Floats:
    """A bad row wins over the good ones below its group, and half over those inside it."""
    below = groups.goods - 0.5 * groups.good
    won: Floats = np.einsum("dg,dg->d", groups.bad, below)
    return won / (groups.all_bad * groups.all_good)[:, 0]


def _ks(groups: _Groups) -> Floats:
    gap = groups.goods / groups.all_good - groups.bads / groups.all_bad
    found: Floats = np.maximum(gap.max(axis=1), 0.0)
    return found


def _average_precision(groups: _Groups) -> Floats:
    """Each group's share of the bad rows, at the precision of all rows from it upwards."""
    above = groups.n - groups.counts + groups.count
    bad_above = groups.all_bad - groups.bads + groups.bad
    precision = bad_above / np.maximum(above, 1)  # nothing above: nothing bad in the group either
    found: Floats = np.einsum("dg,dg->d", groups.bad, precision)
    return found / groups.all_bad[:, 0]


def _of_places(groups: _Groups, bins: int) -> tuple[Floats, Floats]:
    """Expected calibration error and top-decile capture: what lies between places of the order.

    Inside a group every place is worth the same, so that sums up to a place are linear there.
    """
    draws = len(groups.n)
    start = np.zeros((draws, 1))
    places, bads, pds = (
        np.concatenate([start, part], axis=1)
        for part in (groups.counts, groups.bads, np.cumsum(groups.count * groups.pd, axis=1))
    )
    errors, captured = np.empty(draws), np.empty(draws)
    for draw, n in enumerate(groups.n[:, 0]):
        size, more = divmod(int(n), min(bins, int(n)))  # as `np.array_split` cuts
        number = np.arange(min(bins, int(n)) + 1)
        at = np.append(number * size + np.minimum(number, more), n - n / 10)
        bad = np.interp(at, places[draw], bads[draw])
        pd = np.interp(at[:-1], places[draw], pds[draw])
        errors[draw] = np.abs(np.diff(bad[:-1]) - np.diff(pd)).sum() / n
        captured[draw] = 1 - bad[-1] / bads[draw, -1]
    return errors, captured


def _slope(groups: _Groups) -> Floats:
    """Newton's method for all draws, each until it has stopped moving."""
    p = np.clip(groups.pd, 1e-6, 1 - 1e-6)
    odds = np.log(p / (1 - p))
    powers = np.stack([np.ones_like(odds), odds, odds**2], axis=1)  # (G, 3)
    there = groups.count > 0
    lowest, highest = there.argmax(axis=1), there.shape[1] - 1 - there[:, ::-1].argmax(axis=1)
    going = np.flatnonzero(odds[highest] - odds[lowest] >= 1e-9)
    weights = np.zeros((len(there), 2))
    weights[going, 1] = 1.0
    target = groups.bad @ powers[:, :2]
    for _ in range(_STEPS):
        if not len(going):
            break
        count = groups.count[going]
        q = 0.5 * (1 + np.tanh(0.5 * (weights[going] @ powers[:, :2].T)))
        gradient = target[going] - (count * q) @ powers[:, :2]
        moments = (count * (q * (1 - q) + 1e-9)) @ powers
        curvature = moments[:, [[0, 1], [1, 2]]]
        step = np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0]
        weights[going] += np.clip(step, -_STEP, _STEP)
        going = going[np.abs(step).max(axis=1) >= _SMALL]
    return weights[:, 1]
