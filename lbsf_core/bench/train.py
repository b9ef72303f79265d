"""`lbsf bench train`: payments trained on a second, against a flat Transformer and a flat GRU.

Each contestant trains in a process of its own (`python -m lbsf_core.bench.train NAME ...`), so that
its peak memory is its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from lbsf_core.errors import LbsfError
from lbsf_core.machine import limits, machine

NAMES = ("lbsf", "transformer", "gru")


def bench_train(
    lengths: Sequence[int],
    *,
    payments: int = 65_536,
    steps: int = 4,
    width: int = 64,
    seed: int = 0,
) -> dict[str, Any]:
    """Train LBSF and flat peers of the same width on the same payments, in turn.

    A step is a forward pass, its derivative and an update of AdamW, encoding of the fields
    included. The first step is not counted.

    Args:
        lengths: payments of each user, one measurement a length.
        payments: payments of all steps together, at least one user a step.
        steps: counted steps.
        width: of every model.
        seed: of payments and weights.

    Returns:
        length -> name -> {"payments_per_s", "peak_rss_gb"} and "ratios" of LBSF to the peers;
        "long_over_short": LBSF's rate at the greatest length over that at the least (a step that
        is quadratic in the length would bring it near 0); and the machine.

    Raises:
        LbsfError: a length is below 1, or a contestant failed.
    """
    if not lengths or min(lengths) < 1:
        raise LbsfError("bench train needs lengths of at least 1.")
    found: dict[str, Any] = {}
    for length in lengths:
        sizes = (length, max(1, payments // length // steps), steps, width, seed)
        entry: dict[str, Any] = {name: _run(name, sizes) for name in NAMES}
        own = entry["lbsf"]["payments_per_s"]
        entry["ratios"] = {
            name: round(own / entry[name]["payments_per_s"], 2) for name in NAMES[1:]
        }
        found[str(length)] = entry
    rates = [found[str(n)]["lbsf"]["payments_per_s"] for n in (max(lengths), min(lengths))]
    about = {"payments": payments, "steps": steps, "width": width}
    return found | {
        "long_over_short": round(rates[0] / rates[1], 2),
        "machine": machine() | limits() | about,
    }


def _run(name: str, sizes: tuple[int, ...]) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "lbsf_core.bench.train", name, *map(str, sizes)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"it was ended ({done.returncode})"])[-1]
        raise LbsfError(f"bench train: {name} failed: {reason}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _main(name: str, length: int, users: int, steps: int, width: int, seed: int) -> None:
    import numpy as np
    import torch
    import torch.nn.functional as F

    from lbsf_core.bench.contestants import peak_rss_gb
    from lbsf_core.bench.data import folded_users
    from lbsf_core.bench.score import LAYERS
    from lbsf_core.config import ModelConfig
    from lbsf_core.evaluate.peers import FlatPeer, GRUBody, TransformerBody
    from lbsf_core.model.lbsf import LBSF

    batch = folded_users(length, users * (steps + 1), seed)
    torch.manual_seed(seed)
    config = ModelConfig(width=width)
    model: torch.nn.Module = LBSF.fit(config, (), batch)
    if name != "lbsf":
        assert isinstance(model, LBSF)  # noqa: S101 - made a line before
        body = (
            GRUBody(width, width) if name == "gru" else TransformerBody(width, config.heads, LAYERS)
        )
        model = FlatPeer(model, body)
    optimizer = torch.optim.AdamW(model.parameters())
    model.train()
    start = 0.0
    for step in range(steps + 1):
        if step == 1:
            start = time.perf_counter()
        part = batch.select(np.arange(step * users, (step + 1) * users))
        target = torch.arange(users) % 2
        loss = F.binary_cross_entropy_with_logits(model(part), target.float())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    seconds = time.perf_counter() - start
    rate = round(users * length * steps / seconds)
    print(json.dumps({"payments_per_s": rate, "peak_rss_gb": round(peak_rss_gb(), 3)}))


if __name__ == "__main__":
    _main(sys.argv[1], *map(int, sys.argv[2:]))
