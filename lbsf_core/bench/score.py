"""`lbsf bench score`: payments scored a second, against a flat Transformer and a flat GRU."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from lbsf_core.bench.data import folded_users
from lbsf_core.bench.machine import machine
from lbsf_core.bench.peers import FlatPeer, GRUBody, TransformerBody
from lbsf_core.config import ModelConfig
from lbsf_core.errors import LbsfError
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.model.lbsf import LBSF
from lbsf_core.score.scorer import BATCH_PAYMENTS

#: Layers of the flat Transformer: its smallest serious size.
LAYERS = 2


def bench_score(
    lengths: Sequence[int],
    *,
    payments: int = 65_536,
    rounds: int = 3,
    width: int = 64,
    seed: int = 0,
) -> dict[str, Any]:
    """Score the same users with LBSF and with flat peers of the same width, in turn.

    From a folded batch in memory to logits: encoding of texts, amounts and times included, for all
    alike. The peers sort the payments by time first. Weights are random: they cost the same.

    Args:
        lengths: payments of each user, one measurement a length.
        payments: payments scored in a round (at least one user).
        rounds: counted rounds after one that is not; the median counts.
        width: of every model.
        seed: of payments and weights.

    Returns:
        length -> {"lbsf", "transformer", "gru"} in payments per second, and the machine.

    Raises:
        LbsfError: a length is below 1.
    """
    if not lengths or min(lengths) < 1:
        raise LbsfError("bench score needs lengths of at least 1.")
    found: dict[str, Any] = {}
    for length in lengths:
        users = max(1, payments // length)
        batch = folded_users(length, users, seed)
        step = max(1, BATCH_PAYMENTS // length)
        parts = [
            batch.select(range(begin, min(begin + step, users))) for begin in range(0, users, step)
        ]
        torch.manual_seed(seed)
        config = ModelConfig(width=width)
        model = LBSF.fit(config, (), parts[0])
        contestants: dict[str, nn.Module] = {
            "lbsf": model,
            "transformer": FlatPeer(model, TransformerBody(width, config.heads, LAYERS)),
            "gru": FlatPeer(model, GRUBody(width)),
        }
        seconds: dict[str, list[float]] = {name: [] for name in contestants}
        for counted in range(-1, rounds):
            for name, contestant in contestants.items():
                taken = _time(contestant.eval(), parts)
                if counted >= 0:
                    seconds[name].append(taken)
        found[str(length)] = {
            name: round(users * length / statistics.median(taken))
            for name, taken in seconds.items()
        }
    about = {"rounds": rounds, "payments": payments, "width": width, "layers": LAYERS}
    return found | {"machine": machine() | about | {"threads": torch.get_num_threads()}}


def _time(model: nn.Module, parts: list[FoldedBatch]) -> float:
    start = time.perf_counter()
    with torch.inference_mode():
        for part in parts:
            model(part)
    return time.perf_counter() - start
