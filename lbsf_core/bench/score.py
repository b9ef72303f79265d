"""`lbsf bench score`: payments scored a second, against a flat Transformer and a flat GRU."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
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
from lbsf_core.machine import MATMUL_FLOPS, limits, machine, matmul_seconds
from lbsf_core.model.fields import TextEncoder
from lbsf_core.model.lbsf import LBSF
from lbsf_core.score.lean import Lean
from lbsf_core.score.stream import threads_of_one_core

#: Layers of the flat Transformer: its smallest serious size.
LAYERS = 2
#: Payments in one forward pass. Each gets what suits it: a GRU goes through time step by step and
#: gains from many users side by side, so it gets all of them at once; LBSF gives a core a pass of
#: its own, and of a round's payments each of two cores one. (`lbsf score`, which has many more,
#: takes 32,768 at a time.)
PASS_PAYMENTS = {"lbsf": 49_152, "transformer": 16_384, "gru": 2**62}


def bench_score(
    lengths: Sequence[int],
    *,
    payments: int = 98_304,
    rounds: int = 5,
    width: int = 64,
    seed: int = 0,
    threads: int | None = None,
) -> dict[str, Any]:
    """Score the same users with LBSF and with flat peers of the same width, all lengths in turn.

    From a folded batch in memory to logits: encoding of texts, amounts and times included. LBSF as
    `lbsf score` runs it (`score/lean.py`); the peers read payments through the same encoders as
    torch runs them, and sort them by time first. What they would do if reading cost nothing is
    given too. Texts that are remembered are forgotten before every round, so that each distinct
    text costs its full price once a round. Weights are random: they cost the same.

    Args:
        lengths: payments of each user, one measurement a length, side by side: a machine that
            becomes faster or slower meanwhile does so for all of them.
        payments: payments scored in a round (at least one user).
        rounds: counted rounds after one that is not; the median counts.
        width: of every model.
        seed: of payments and weights.
        threads: of torch; by default as many as it has.

    Returns:
        length -> {"lbsf", "transformer", "gru"} in payments per second; "transformer_body" and
        "gru_body", from vectors in order of time to states, nothing else; "ratios" of LBSF to
        them; "flops_per_payment" of LBSF's matrix products (counted by torch), "matmul_share": of
        the machine's measured rate of large fp32 matrix products, the share that they reach; and
        the machine, with that rate.

    Raises:
        LbsfError: a length is below 1.
    """
    if not lengths or min(lengths) < 1:
        raise LbsfError("bench score needs lengths of at least 1.")
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        every = {each: _Runs.of(each, max(1, payments // each), width, seed) for each in lengths}
        products = []
        for _ in range(rounds + 1):
            products.append(matmul_seconds())
            for one in every.values():
                one.run()
        rate = MATMUL_FLOPS / min(products[1:])
        found: dict[str, Any] = {str(each): one.found(rate) for each, one in every.items()}
        about = {"rounds": rounds, "payments": payments, "width": width, "layers": LAYERS}
        about["threads"] = torch.get_num_threads()
        measured = limits() | {"matmul_gflops": round(rate / 1e9, 1)}
    finally:
        torch.set_num_threads(before)
    return found | {"machine": machine() | about | measured}


@dataclass(frozen=True)
class _Runs:
    """What is timed on users of one length.

    Attributes:
        payments: of all users.
        flops: of LBSF's matrix products, a payment.
        runs: name -> seconds of one run.
        seconds: name -> what its runs took.
    """

    payments: int
    flops: int
    runs: dict[str, Callable[[], float]]
    seconds: dict[str, list[float]]

    @classmethod
    def of(cls, length: int, users: int, width: int, seed: int) -> _Runs:
        batch = folded_users(length, users, seed)
        torch.manual_seed(seed)
        config = ModelConfig(width=width)
        model = LBSF.fit(config, (), batch).eval()
        peers = {
            "transformer": FlatPeer(model, TransformerBody(width, config.heads, LAYERS)).eval(),
            "gru": FlatPeer(model, GRUBody(width, width)).eval(),
        }
        passes = {name: list(_passes(batch, length, PASS_PAYMENTS[name])) for name in PASS_PAYMENTS}
        lean = Lean(model)
        runs: dict[str, Callable[[], float]] = {"lbsf": lambda: _lean(lean, passes["lbsf"])}
        for name, peer in peers.items():
            runs[name] = partial(timed, peer, passes[name])
            runs[f"{name}_body"] = partial(_body, peer, passes[name])
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            for part in passes["lbsf"]:
                model(part)
        payments = users * length
        flops = round(counter.get_total_flops() / payments)
        return cls(payments, flops, runs, {name: [] for name in runs})

    def run(self) -> None:
        """Each once, in turn."""
        for name, run in self.runs.items():
            self.seconds[name].append(run())

    def found(self, rate: float) -> dict[str, Any]:
        """What `bench_score` says of a length, from all runs but the first.

        Args:
            rate: floating-point operations a second of large matrix products.
        """
        rates = {name: self.payments / statistics.median(s[1:]) for name, s in self.seconds.items()}
        others = [name for name in self.runs if name != "lbsf"]
        return {
            "flops_per_payment": self.flops,
            **{name: round(each) for name, each in rates.items()},
            "ratios": {name: _three(rates["lbsf"] / rates[name]) for name in others},
            "matmul_share": _three(rates["lbsf"] * self.flops / rate),
        }


def _three(value: float) -> float:
    """To three digits."""
    return float(f"{value:.3g}")


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


def _lean(model: Lean, passes: list[FoldedBatch]) -> float:
    """Seconds of scoring these batches as `score_stream` does: on every core one."""
    model.clear()
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threads_of_one_core(cores) as pool:
            start = time.perf_counter()
            list(pool.map(model.logits, passes))
            return time.perf_counter() - start
    finally:
        torch.set_num_threads(cores)


def _body(peer: FlatPeer, passes: list[FoldedBatch]) -> float:
    """Seconds of a peer's sequence model alone, its input given."""
    width = peer.encoder.config.width
    given = [
        (torch.randn(len(batch.amounts), width), torch.from_numpy(batch.payment_counts))
        for batch in passes
    ]
    start = time.perf_counter()
    with torch.inference_mode():
        for fused, lengths in given:
            peer.body(fused, lengths)
    return time.perf_counter() - start
