"""`lbsf bench update`: what one more payment costs, and whether the score is that of a refold."""

from __future__ import annotations

import statistics
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import torch

from lbsf_core.bench.data import folded_users
from lbsf_core.config import ModelConfig
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.machine import limits, machine
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.lbsf import LBSF
from lbsf_core.score.lean import Lean
from lbsf_core.score.live import LiveSample

#: Payments of the users that payments come to.
LENGTHS = (100, 1_000, 10_000)


def bench_update(*, updates: int = 100, rounds: int = 3, seed: int = 0) -> dict[str, Any]:
    """Give users of several lengths one payment after another; each is timed by itself.

    Payments go to merchants that the user knows, in turn, on random days of the history (late
    ones), every fourth is a repetition of the one before. Weights are random: they cost the same.
    The model runs in compiled loops, as in a service that keeps many samples; what the model itself
    takes is given too.

    Args:
        updates: payments that come to each user, of which the first ten are not counted.
        rounds: times that each length is measured, in turn; the median round counts.
        seed: of users, payments and weights.

    Returns:
        median_ms_<length> and p95_ms_<length>, ratio_10000_100 (of medians), model_ms_10000 (median
        without compiled loops), full_ms_10000 (the same user scored from folded payments in
        memory), max_diff (largest difference of a logit from all payments folded and scored from
        the start), merchants_<length>, the machine.
    """
    torch.manual_seed(seed)
    users = {length: folded_users(length, 1, seed + length) for length in LENGTHS}
    model = LBSF.fit(ModelConfig(), (), folded_users(2_000, 4, seed)).eval()
    bundle = Bundle(model, {"slope": 1.0, "intercept": 0.0}, {}, {}, {})
    lean = Lean(model)
    taken: dict[int, list[list[float]]] = {length: [] for length in LENGTHS}
    plain: list[float] = []
    worst = 0.0
    for number in range(rounds):
        for length, batch in users.items():
            seconds, miss = _round(bundle, lean, batch, updates, seed + number)
            taken[length].append(seconds[10:])
            worst = max(worst, miss)
        seconds, miss = _round(bundle, None, users[LENGTHS[-1]], updates, seed + number)
        plain.append(1000 * statistics.median(seconds[10:]))
        worst = max(worst, miss)
    found: dict[str, Any] = {}
    for length, several in taken.items():
        medians = [1000 * statistics.median(seconds) for seconds in several]
        found[f"median_ms_{length}"] = round(statistics.median(medians), 3)
        tails = [1000 * float(np.quantile(seconds, 0.95)) for seconds in several]
        found[f"p95_ms_{length}"] = round(statistics.median(tails), 3)
        found[f"merchants_{length}"] = len(users[length].merchants)
    found["ratio_10000_100"] = round(found["median_ms_10000"] / found["median_ms_100"], 3)
    found["model_ms_10000"] = round(statistics.median(plain), 3)
    full = [_timed(model, users[LENGTHS[-1]]) for _ in range(10)]
    found["full_ms_10000"] = round(1000 * statistics.median(full), 3)
    found["max_diff"] = worst
    about = {"updates": updates, "rounds": rounds, "threads": torch.get_num_threads()}
    return found | {"machine": machine() | limits() | about}


def _timed(model: LBSF, batch: FoldedBatch) -> float:
    start = time.perf_counter()
    with torch.inference_mode():
        model(batch)
    return time.perf_counter() - start


def _round(
    bundle: Bundle, lean: Lean | None, batch: FoldedBatch, updates: int, seed: int
) -> tuple[list[float], float]:
    """Seconds of each update, and how far the last logit is from a refold's."""
    rng = np.random.default_rng(seed)
    live, names = LiveSample(bundle, batch, lean=lean), batch.merchants.decode()
    cutoff = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(batch.cutoffs[0]))
    new: list[tuple[str, datetime, float, str]] = []
    seconds = []
    for number in range(updates):
        one = (
            names[number % len(names)],
            cutoff - timedelta(minutes=int(rng.integers(1, 400_000))),
            round(float(rng.normal(-30, 40)), 2),
            f"card {rng.integers(50)}",
        )
        new.append(new[-1] if number % 4 == 3 else one)
        start = time.perf_counter()
        live.pay(*new[-1])
        seconds.append(time.perf_counter() - start)
    merchant = batch.merchants.decode()
    rows = [
        (merchant[s], _text(t), float(a), d)
        for s, t, a, d in zip(
            batch.segment_of_payment.tolist(),
            batch.timestamps.tolist(),
            batch.amounts,
            batch.texts["description"].decode(),
            strict=True,
        )
    ]
    rows += [(m, when.replace(tzinfo=None).isoformat(), a, d) for m, when, a, d in new]
    user = (batch.user_ids[0], cutoff.replace(tzinfo=None).isoformat(), rows)
    whole = FoldedBatch.from_rows([user], timezone=batch.timezone)
    with torch.inference_mode():
        expected = float(bundle.model(whole)[0])
    return seconds, abs(live.logit - expected)


def _text(microseconds: int) -> str:
    return str(np.datetime64(microseconds, "us"))
