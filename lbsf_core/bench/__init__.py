"""Benches: the same work for us and for named peers in one run, as JSON with the machine's facts.

    dashboard.py `bench_dashboard`: what a person waits for, in a real browser
    e2e.py     `lbsf fold`, then `lbsf score`, as a user runs them
    fold.py    `bench_fold`: our fold against pandas, Parquet to Parquet
    frontier.py  models of several sizes: how well they rank real payments, how fast they score
    memory.py  what scoring and training hold, the more users there are
    tiles.py   the dashboard's workspace, its users many times over
    explain.py `bench_explain`: seconds to say why, by removal and by gradients
    score.py   `bench_score`: our model against a flat Transformer and a GRU, payments to logits
    train.py   `bench_train`: the same three while they train

Imports happen on first use, so that a child process that measures the memory of a fold does not
measure that of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lbsf_core.bench.explain import bench_explain
    from lbsf_core.bench.fold import bench_fold
    from lbsf_core.bench.score import bench_score
    from lbsf_core.bench.train import bench_train

__all__ = ["bench_explain", "bench_fold", "bench_score", "bench_train"]

_HOMES = {
    "bench_explain": "lbsf_core.bench.explain",
    "bench_fold": "lbsf_core.bench.fold",
    "bench_score": "lbsf_core.bench.score",
    "bench_train": "lbsf_core.bench.train",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any of `__all__`
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
