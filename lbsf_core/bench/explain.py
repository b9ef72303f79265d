"""`lbsf bench explain`: seconds to say why, for one user and for many."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from lbsf_core.bench.data import folded_users
from lbsf_core.config import ModelConfig
from lbsf_core.explain.batch import explain_batch
from lbsf_core.explain.gradient import explain
from lbsf_core.explain.removal import Coalitions
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.machine import machine
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.lbsf import LBSF

#: Payments of a user of many, about the median of a year of purchase cards.
MANY_PAYMENTS = 96


def bench_explain(
    *,
    payments: int = 1000,
    merchants: int = 60,
    coalitions: int = 2000,
    many: int = 256,
    rounds: int = 5,
    width: int = 64,
    seed: int = 0,
) -> dict[str, Any]:
    """Time the engines on invented payments; weights are random, and cost the same.

    Args:
        payments: of the one user.
        merchants: of the one user.
        coalitions: that Shapley values are made of.
        many: users that are explained at merchant level.
        rounds: counted rounds after one that is not; the median counts.
        width: of the model.
        seed: of payments and weights.

    Returns:
        Seconds, samples per second and the machine. A figure is None where what it would measure
        is not built (counterfactual search) or not installed (TimeSHAP).
    """
    one = folded_users(payments, 1, seed, merchants)
    crowd = folded_users(MANY_PAYMENTS, many, seed)
    torch.manual_seed(seed)
    model = LBSF.fit(ModelConfig(width=width), (), FoldedBatch.concat([one, crowd])).eval()
    bundle = Bundle(model, {"slope": 1.0, "intercept": 0.0})
    found = Coalitions(model, one)
    asked = found.shapley(budget=coalitions, seed=seed).coalitions
    largest = int(np.argmax(np.diff(one.offsets)))

    def shapley() -> None:
        Coalitions(model, one).shapley(budget=coalitions, seed=seed)

    def edit() -> None:
        """Take one merchant's payments out: fold again and score."""
        with torch.inference_mode():
            model(one.keep(one.segment_of_payment != largest))

    taken = {
        "shapley_2000_s": _seconds(shapley, rounds) * coalitions / asked,
        "payments_of_a_merchant_s": _seconds(lambda: found.payments(largest), rounds),
        "interactions_s": _seconds(found.interactions, rounds),
        "gradient_s": _seconds(lambda: explain(bundle, one), rounds),
        "whatif_s": _seconds(edit, rounds),
    }
    crowd_s = _seconds(lambda: explain_batch(bundle, crowd), rounds)
    about = {"rounds": rounds, "payments": payments, "merchants": found.merchants, "width": width}
    about |= {"coalitions": asked, "threads": torch.get_num_threads()}
    about |= {"many": many, "many_payments": MANY_PAYMENTS}
    return {
        **taken,
        "counterfactual_s": None,
        "timeshap_ratio": None,
        "explain_all_per_s": many / crowd_s,
        "machine": machine() | about,
    }


def _seconds(work: Callable[[], object], rounds: int) -> float:
    taken = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])
