"""Where the time of scoring goes: `python -m tests.bench.score_profile`, on one core.

Each stage of `lbsf_core.score.lean` by itself, over users of 2,048 payments: medians, as shares of
a whole pass with every text new.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from lbsf_core.bench.data import folded_users
from lbsf_core.config import ModelConfig
from lbsf_core.memory import TUNABLES, at_start
from lbsf_core.model.lbsf import LBSF
from lbsf_core.model.ragged import segment_sum
from lbsf_core.score import kernels, lean
from lbsf_core.score.lean import BLOCK, Lean, _Read

USERS, PAYMENTS, ROUNDS = 12, 2_048, 15


def seconds(run: Callable[[], object]) -> float:
    run()
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def main() -> None:
    torch.set_num_threads(1)
    batch = folded_users(PAYMENTS, USERS, 0)
    torch.manual_seed(0)
    model = LBSF.fit(ModelConfig(), (), batch)
    one = Lean(model)
    blocks = USERS * PAYMENTS / BLOCK

    def cold() -> None:
        one.clear()
        one.logits(batch)

    with torch.inference_mode():
        read, width = _Read(batch), model.config.width
        x, hidden = torch.randn(BLOCK, width), torch.randn(BLOCK, 2 * width)
        weights, normed = torch.ones(BLOCK, model.config.heads), torch.empty(BLOCK, width)
        states = one.states(batch)
        users = torch.from_numpy(batch.user_offsets)
        totals = segment_sum(states.sums, users)
        sums, shares = one._payments(batch, read)
        warm = seconds(lambda: one._table(batch))

        def texts() -> None:
            one.clear()
            one._table(batch)

        def products() -> None:
            torch.mm(normed, one._into, out=hidden)
            x.mul_(0.0).addmm_(hidden, one._back)
            torch.addmm(one._scores_bias, x, one._scores, out=weights)

        table, of_segments, singles = one._table(batch)
        values = np.stack(
            [read.number(e) for e, _ in one._numbers] + [read.distance(n) for n in one._distances]
        )
        parts = {
            "texts, all new: hashed and read": seconds(texts) - warm,
            "tables of this pass": warm,
            "fields summed and normed": blocks
            * seconds(
                lambda: kernels.encode(
                    *(0, BLOCK, 0, batch.offsets, table, of_segments, singles, values),
                    *(one._knots, one._sizes, one._starts, read.wall_clock(), one._calendar),
                    *(one._back_bias, lean.NORM_EPSILON, x.numpy(), normed.numpy()),
                )
            ),
            "matrix products of payments": blocks * seconds(products),
            "GELU of payments": blocks
            * seconds(lambda: kernels.gelu(hidden.numpy(), one._into_bias)),
            "attention and sums over segments": blocks
            * seconds(
                lambda: (
                    weights.fill_(0.1).tanh_().mul_(10.0).exp_(),
                    kernels.pool(
                        *(0, BLOCK, 0, batch.offsets, x.numpy(), weights.numpy()),
                        *(sums.numpy(), shares.numpy()),
                    ),
                )
            ),
            "times read; rhythm and levels": seconds(lambda: one._over_time(batch, _Read(batch))),
            "merchant vectors": seconds(
                lambda: one._merchants(batch, read, sums.clone(), shares.clone())
            ),
            "relations, users, head": seconds(
                lambda: one._related.logits(states.vectors, states.days, batch.user_offsets, totals)
            ),
        }
        whole = seconds(cold)
    for name, taken in parts.items():
        print(f"{taken / whole:6.1%}  {name}")
    print(f"{1 - sum(parts.values()) / whole:6.1%}  the rest")
    print(f"{USERS * PAYMENTS / whole:,.0f} payments a second on one core")


if __name__ == "__main__":
    if at_start() and TUNABLES not in os.environ:  # as `lbsf` begins
        words = [sys.executable, "-m", "tests.bench.score_profile"]
        os.execve(sys.executable, words, at_start() | os.environ)  # noqa: S606 - its own words
    main()
