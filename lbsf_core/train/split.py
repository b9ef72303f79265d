"""Which part of training sees a sample: a rule small enough to travel in the bundle.

By user: a user's hash (seeded SHA-256, in [0, 1)) is compared with two borders, one pair for users
who are ever bad and one for the others, so that both parts hold their share of bad users. Any store
can be asked later: a user whose hash says "train" is never counted as unseen.
By time: early cutoffs train, later ones validate, the last ones test.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lbsf_core.config import TrainConfig
from lbsf_core.errors import LbsfError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Names of the parts; `parts` gives their numbers.
PARTS = ("train", "validation", "test")


def user_hashes(user_ids: Sequence[str], seed: int) -> Floats:
    """(n,) a number in [0, 1) for each user, the same on every machine."""
    first = (hashlib.sha256(f"{seed}:{u}".encode()).digest()[:8] for u in user_ids)
    numbers = (int.from_bytes(digest) for digest in first)
    return np.fromiter(numbers, dtype=np.float64, count=len(user_ids)) / 2.0**64


def ever_bad(user_ids: Sequence[str], labels: Floats) -> npt.NDArray[np.bool_]:
    """(n,) whether the user of each sample is bad at any cutoff."""
    bad = {user for user, label in zip(user_ids, labels, strict=True) if label == 1}
    return np.fromiter((user in bad for user in user_ids), dtype=bool, count=len(user_ids))


def make_rule(
    user_ids: Sequence[str], cutoffs: Ints, labels: Floats, config: TrainConfig
) -> dict[str, Any]:
    """The split rule of these samples, as JSON values. Unlabelled samples play no part.

    Raises:
        LbsfError: there are too few users or cutoffs to split.
    """
    known = np.isfinite(labels)
    shares = [config.validation + config.test, config.test]
    if config.split_by == "time":
        values, counts = np.unique(cutoffs[known], return_counts=True)
        if len(values) < 3:
            raise LbsfError("split_by 'time' needs at least three cutoffs; use 'user'.")
        # A cutoff is never split, and each part gets one at least.
        ends = np.cumsum(counts) / counts.sum()
        last = len(values) - 1 - bool(config.test)
        first = min(int(np.argmin(np.abs(ends - (1 - shares[0])))), last - 1)
        second = min(max(int(np.argmin(np.abs(ends - (1 - shares[1])))), first + 1), last)
        return {"by": "time", "borders": [int(values[first]), int(values[second])]}
    hashes, bad = user_hashes(user_ids, config.seed), ever_bad(user_ids, labels)
    borders_of: dict[str, list[float]] = {}
    for name, group in (("bad", bad & known), ("good", ~bad & known)):
        values = np.unique(hashes[group])  # one value a user
        at = [round(len(values) * (1 - share)) for share in shares]
        edges = np.concatenate([values, [1.0]])
        borders_of[name] = [float(edges[min(i, len(values))]) for i in at]
    return {"by": "user", "seed": config.seed, "borders": borders_of}


def parts(
    user_ids: Sequence[str], cutoffs: Ints, labels: Floats, rule: dict[str, Any]
) -> npt.NDArray[np.int64]:
    """(n,) part of each sample: 0 train, 1 validation, 2 test (see `PARTS`)."""
    if rule["by"] == "time":
        return np.searchsorted(np.array(rule["borders"]), cutoffs, side="left").astype(np.int64)
    hashes, bad = user_hashes(user_ids, rule["seed"]), ever_bad(user_ids, labels)
    found = np.zeros(len(hashes), dtype=np.int64)
    for name, group in (("bad", bad), ("good", ~bad)):
        borders = np.array(rule["borders"][name])
        found[group] = np.searchsorted(borders, hashes[group], side="right")
    return found
