"""`lbsf bench memory`: does scoring or training hold more, the more users there are?"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lbsf_core.bench.contestants import WINDOW_DAYS
from lbsf_core.bench.data import write_payments
from lbsf_core.bench.e2e import random_bundle, run_command
from lbsf_core.errors import LbsfError
from lbsf_core.machine import machine

#: `lbsf train` beside its store: a small model and large steps, so that a million samples are
#: passed in minutes; what is held of the store does not depend on them.
TRAIN = ("--epochs", "1", "--width", "16", "--batch-samples", "1024")


def bench_memory(
    users: Sequence[int],
    *,
    per_user: int = 20,
    train: bool = True,
    seed: int = 0,
    workdir: str | Path | None = None,
) -> dict[str, Any]:
    """Score, and train on, stores of several sizes, each by the command that a user runs.

    Args:
        users: of each store, one sample each.
        per_user: payments of a user on average.
        train: training too, once over the samples.
        seed: of payments and weights.
        workdir: where the files are made and removed again; by default the temporary folder.

    Returns:
        "score_growth" and "train_growth": peak memory of the last store over that of the first;
        users -> {"score_peak_rss_gb", "score_s", "train_peak_rss_gb", "train_s"}; and the machine.

    Raises:
        LbsfError: a command failed, or there are no two stores to compare.
    """
    if len(users) < 2 or min(users) < 1 or per_user < 1:
        raise LbsfError("bench memory compares two numbers of users, each with a payment at least.")
    found: dict[int, dict[str, float]] = {}
    for count in users:
        with tempfile.TemporaryDirectory(prefix="lbsf-bench-", dir=workdir) as name:
            found[count] = _measure(Path(name), count, per_user, train, seed)
    growth = {
        f"{what}_growth": round(found[users[-1]][key] / found[users[0]][key], 3)
        for what in ("score", "train")
        if (key := f"{what}_peak_rss_gb") in found[users[0]]
    }
    sizes = {str(count): figures for count, figures in found.items()}
    about = {"payments_per_user": per_user, "train": " ".join(TRAIN) if train else None}
    return growth | sizes | about | {"machine": machine()}


def _measure(folder: Path, users: int, per_user: int, train: bool, seed: int) -> dict[str, float]:
    payments, _ = write_payments(folder, users * per_user, users, seed)
    fold = ["fold", payments.name, "--labels", "labels.parquet", "--out", "store"]
    run_command([*fold, "--window-days", str(WINDOW_DAYS)], folder)
    payments.unlink()
    bundle = random_bundle(seed).save(folder / "bundle")
    commands = {"score": ["score", "store", bundle.name, "--out", "scores.parquet"]}
    if train:
        commands["train"] = ["train", "store", "--out", "trained", *TRAIN]
    found: dict[str, float] = {}
    for what, words in commands.items():
        ran = run_command(words, folder)
        found[f"{what}_peak_rss_gb"] = round(ran.peak_rss_gb, 3)
        found[f"{what}_s"] = round(ran.seconds, 1)
    return found
