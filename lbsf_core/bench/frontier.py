"""`lbsf bench frontier`: how well models of several sizes rank, against how fast they score.

On a store of real payments: the same folds for all, AUC with its interval and the difference to the
default model on the same samples; payments a second of scoring that store, one model after the
other, in turn.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lbsf_core.bench.score import timed
from lbsf_core.config import ModelConfig, TrainConfig
from lbsf_core.errors import LbsfError
from lbsf_core.evaluate.metrics import auc, bootstrap_rows
from lbsf_core.evaluate.protocol import cross_validate
from lbsf_core.fold.batch import Floats, FoldedBatch
from lbsf_core.fold.store import FoldedStore
from lbsf_core.machine import machine
from lbsf_core.model.lbsf import LBSF
from lbsf_core.score.scorer import passes
from lbsf_core.train.loop import Step

#: The default model first, which the others are held against.
MODELS: dict[str, ModelConfig] = {
    "default": ModelConfig(),
    "width 16": ModelConfig(width=16),
    "width 32": ModelConfig(width=32),
    "width 128": ModelConfig(width=128),
    "no relations": ModelConfig(relation_layers=0),
    "no rhythm, no levels": ModelConfig(rhythm=False, levels="none"),
}
#: Rounds of scoring that are counted, after one that is not.
ROUNDS = 5
#: Draws of users, of every interval.
DRAWS = 1_000

#: Called with (what is being done, done, in all).
Progress = Callable[[str, int, int], None]


def bench_frontier(
    store: FoldedStore,
    *,
    names: Sequence[str] = tuple(MODELS),
    folds: int = 5,
    repeats: int = 1,
    seed: int = 0,
    config: TrainConfig | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Cross-validate and time each model.

    Args:
        store: with labels.
        names: of `MODELS`; the first is what the others are held against.
        folds, repeats, seed: of the cross-validation by user, the same for all.
        config: how to train.
        progress: called after every step of training.

    Returns:
        name -> {"auc", "lo", "hi" (95 %, bootstrap by user), "gain", "gain_lo", "gain_hi" (to the
        first, on the same draws), "payments_per_s" (a folded batch in memory to logits, texts
        forgotten before), "parameters"}, and what it was measured on.

    Raises:
        LbsfError: a name is unknown, or the store has too few labels.
    """
    unknown = [name for name in names if name not in MODELS]
    if unknown or not names:
        raise LbsfError(f"No model '{' '.join(unknown)}'; choose among {', '.join(MODELS)}.")
    draws: dict[str, Floats] = {}
    found: dict[str, dict[str, Any]] = {}
    for at, name in enumerate(names):

        def told(fit: int, fits: int, step: Step, at: int = at, name: str = name) -> None:
            if progress:
                done = (at * fits + fit - 1) * step.total + step.done
                progress(f"training {name}", done, len(names) * fits * step.total)

        evaluation = cross_validate(
            store, folds=folds, repeats=repeats, seed=seed, model_config=MODELS[name],
            config=config, bootstrap=2, progress=told,
        )  # fmt: skip
        whole, draws[name] = _aucs(evaluation.predictions, seed)
        against = found[names[0]]["auc"] if at else whole
        found[name] = {
            "auc": whole,
            **_interval(draws[name]),
            "gain": whole - against,
            **_interval(draws[name] - draws[names[0]], "gain_"),
        }
    labelled = np.flatnonzero(np.isfinite(store.samples["label"].to_numpy(float)))
    batch = store.read(labelled)
    for name, speed in _speeds(batch, store, names).items():
        found[name] |= speed
    about = {"folds": folds, "repeats": repeats, "seed": seed, "samples": len(labelled)}
    about |= {"payments": len(batch.amounts), "proxy": store.manifest.proxy}
    return found | {"machine": machine() | about}


def _aucs(predictions: pd.DataFrame, seed: int) -> tuple[float, Floats]:
    """AUC of out-of-fold predictions, mean over repeats; and that of 1,000 draws of users."""
    parts = [part for _, part in predictions.sort_values("sample").groupby("repeat")]
    labels = parts[0]["label"].to_numpy(float)
    pds = [part["pd"].to_numpy(float) for part in parts]
    rows = bootstrap_rows(labels, list(parts[0]["user_id"]), DRAWS, seed)
    drawn = [np.mean([auc(labels[at], pd[at]) for pd in pds]) for at in rows]
    return float(np.mean([auc(labels, pd) for pd in pds])), np.array(drawn)


def _interval(drawn: Floats, prefix: str = "") -> dict[str, float]:
    low, high = np.quantile(drawn, (0.025, 0.975))
    return {f"{prefix}lo": float(low), f"{prefix}hi": float(high)}


def _speeds(
    batch: FoldedBatch, store: FoldedStore, names: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Payments a second, and size, of each model; weights are random: they cost the same."""
    cut = passes(batch, np.arange(len(batch)))
    extra = store.manifest.extra_fields
    models = {name: LBSF.fit(MODELS[name], extra, batch).eval() for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(ROUNDS + 1):
        for name, model in models.items():
            seconds[name].append(timed(model, cut))
    return {
        name: {
            "payments_per_s": round(len(batch.amounts) / statistics.median(taken[1:])),
            "parameters": sum(p.numel() for p in models[name].parameters()),
        }
        for name, taken in seconds.items()
    }
