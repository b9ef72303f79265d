"""`lbsf bench score`: payments scored a second, against a flat Transformer and a flat GRU."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lbsf_core.bench.data import folded_users
from lbsf_core.config import ModelConfig
from lbsf_core.errors import LbsfError
from lbsf_core.evaluate.peers import FlatPeer, GRUBody, TransformerBody
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.machine import machine
from lbsf_core.model.fields import TextEncoder
from lbsf_core.model.lbsf import LBSF
from lbsf_core.score.scorer import BATCH_PAYMENTS

#: Layers of the flat Transformer: its smallest serious size.
LAYERS = 2
#: Payments in one forward pass. Each peer gets what suits it: a GRU goes through time step by
#: step and gains from many users side by side, so it gets all of them at once.
PASS_PAYMENTS = {"lbsf": BATCH_PAYMENTS, "transformer": 16_384, "gru": 2**62}


def bench_score(
    lengths: Sequence[int],
    *,
    payments: int = 98_304,
    rounds: int = 5,
    width: int = 64,
    seed: int = 0,
    threads: int | None = None,
) -> dict[str, Any]:
    """Score the same users with LBSF and with flat peers of the same width, in turn.

    From a folded batch in memory to logits: encoding of texts, amounts and times included, for all
    alike. The peers sort the payments by time first. Texts that a model remembers are forgotten
    before every round, so that each distinct text costs its full price once a round. Weights are
    random: they cost the same.

    Args:
        lengths: payments of each user, one measurement a length.
        payments: payments scored in a round (at least one user).
        rounds: counted rounds after one that is not; the median counts.
        width: of every model.
        seed: of payments and weights.
        threads: of torch; by default as many as it has.

    Returns:
        length -> {"lbsf", "transformer", "gru"} in payments per second, "flops_per_payment" of
        LBSF's matrix products (counted by torch), "matmul_share": of the machine's measured rate of
        large fp32 matrix products, the share that they reach; and the machine, with that rate.

    Raises:
        LbsfError: a length is below 1.
    """
    if not lengths or min(lengths) < 1:
        raise LbsfError("bench score needs lengths of at least 1.")
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        rate = matmul_rate()
        found: dict[str, Any] = {}
        for length in lengths:
            one = _bench_length(length, max(1, payments // length), rounds, width, seed)
            share = one["lbsf"] * one["flops_per_payment"] / rate
            one["matmul_share"] = float(f"{share:.3g}")
            found[str(length)] = one
        about = {"rounds": rounds, "payments": payments, "width": width, "layers": LAYERS}
        about["threads"] = torch.get_num_threads()
        measured = {"matmul_gflops": round(rate / 1e9, 1)}
    finally:
        torch.set_num_threads(before)
    return found | {"machine": machine() | about | measured}


def matmul_rate(size: int = 2048, rounds: int = 5) -> float:
    """Floating-point operations a second of a large fp32 matrix product: the best of some."""
    left, right = torch.randn(size, size), torch.randn(size, size)
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        torch.mm(left, right)
        seconds.append(time.perf_counter() - start)
    return float(2 * size**3 / min(seconds[1:]))


def _bench_length(
    length: int, users: int, rounds: int, width: int, seed: int
) -> dict[str, int | float]:
    batch = folded_users(length, users, seed)
    torch.manual_seed(seed)
    config = ModelConfig(width=width)
    model = LBSF.fit(config, (), batch)
    contestants: dict[str, nn.Module] = {
        "lbsf": model,
        "transformer": FlatPeer(model, TransformerBody(width, config.heads, LAYERS)),
        "gru": FlatPeer(model, GRUBody(width, width)),
    }
    passes = {name: list(_passes(batch, length, PASS_PAYMENTS[name])) for name in contestants}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds + 1):
        for name, contestant in contestants.items():
            seconds[name].append(timed(contestant.eval(), passes[name]))
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        for part in passes["lbsf"]:
            model(part)
    flops = counter.get_total_flops() / (users * length)
    found: dict[str, int | float] = {"flops_per_payment": round(flops)}
    for name, taken in seconds.items():
        found[name] = round(users * length / statistics.median(taken[1:]))
    return found


def _passes(batch: FoldedBatch, length: int, payments: int) -> Iterator[FoldedBatch]:
    step = max(1, payments // length)
    for begin in range(0, len(batch), step):
        yield batch.select(np.arange(begin, min(begin + step, len(batch))))


def timed(model: nn.Module, passes: list[FoldedBatch]) -> float:
    """Seconds of scoring these batches, every distinct text at its full price."""
    for part in model.modules():
        if isinstance(part, TextEncoder):
            part.cache.clear()
    start = time.perf_counter()
    with torch.inference_mode():
        for batch in passes:
            model(batch)
    return time.perf_counter() - start
