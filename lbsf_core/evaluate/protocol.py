"""Repeated cross-validation by user, stratified: every sample is scored by models that never saw
its user. Everything learned, early stopping and calibration included, comes from the training
folds alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from lbsf_core.config import ModelConfig, TrainConfig
from lbsf_core.errors import LbsfError
from lbsf_core.evaluate.metrics import METRICS, Metric, bootstrap_rows
from lbsf_core.evaluate.report import Evaluation
from lbsf_core.fold.store import FoldedStore
from lbsf_core.score.calibration import fit_calibration
from lbsf_core.score.scorer import batch_logits
from lbsf_core.train.loop import Step, fit

#: Called with (fit running, fits in all, step of that fit).
Progress = Callable[[int, int, Step], None]


def cross_validate(
    store: FoldedStore,
    *,
    folds: int = 5,
    repeats: int = 1,
    seed: int = 0,
    model_config: ModelConfig | None = None,
    config: TrainConfig | None = None,
    bootstrap: int = 1000,
    progress: Progress | None = None,
) -> Evaluation:
    """Cross-validate a model on a store.

    Args:
        store: with labels.
        folds: stratified folds grouped by user.
        repeats: times the folds are drawn anew.
        seed: of folds, weights and bootstrap.
        model_config: sizes.
        config: how to train; `validation` is the inner share for early stopping and calibration.
        bootstrap: draws of the intervals, by user.
        progress: called after every step.

    Raises:
        LbsfError: fewer bad or good users than folds.
    """
    config = config or TrainConfig()
    labelled = np.flatnonzero(np.isfinite(store.samples["label"].to_numpy(dtype=np.float64)))
    batch = store.read(labelled)
    labels, users = batch.labels, np.asarray(batch.user_ids, dtype=object)
    for value, word in ((1, "bad"), (0, "good")):
        count = len(set(users[labels == value]))
        if count < folds:
            raise LbsfError(
                f"{store.path}: {count} {word} users can't fill {folds} folds. Use fewer folds "
                "(--cv) or give more labels."
            )
    rows = []
    for repeat in range(repeats):
        outer = StratifiedGroupKFold(folds, shuffle=True, random_state=seed + repeat)
        for number, (rest, test) in enumerate(outer.split(labels, labels, users)):
            fewest = min(len(set(users[rest][labels[rest] == value])) for value in (0, 1))
            parts = max(2, min(round(1 / config.validation), fewest))
            inner = StratifiedGroupKFold(parts, shuffle=True, random_state=seed + repeat)
            at = next(iter(inner.split(labels[rest], labels[rest], users[rest])))
            train, validation = rest[at[0]], rest[at[1]]
            run = repeat * folds + number

            def told(step: Step, run: int = run) -> None:
                if progress:
                    progress(run + 1, repeats * folds, step)

            settings = TrainConfig(**(config.to_dict() | {"seed": seed + run}))
            fitted = fit(
                batch,
                store.manifest.extra_fields,
                train,
                validation,
                model_config,
                settings,
                progress=told,
            )
            calibration = fit_calibration(fitted.validation_logits, labels[validation])
            logits = batch_logits(fitted.model, [batch.select(test)])
            rows.append(
                pd.DataFrame(
                    {
                        "repeat": repeat,
                        "fold": number,
                        "sample": batch.samples[test],
                        "user_id": users[test],
                        "cutoff": pd.to_datetime(batch.cutoffs[test], unit="us", utc=True),
                        "label": labels[test],
                        "logit": logits,
                        "pd": calibration.pd(logits),
                        "payments": batch.payment_counts[test],
                    }
                )
            )
    predictions = pd.concat(rows).sort_values(["repeat", "sample"], ignore_index=True)
    metrics, by_repeat = pooled(predictions, bootstrap, seed)
    protocol = {
        "folds": folds,
        "repeats": repeats,
        "seed": seed,
        "samples": len(labels),
        "bad": int(labels.sum()),
        "users": len(set(users)),
        "bootstrap": bootstrap,
        "model": (model_config or ModelConfig()).to_dict(),
        "train": config.to_dict(),
        "simulated": store.manifest.simulated,
        "proxy": store.manifest.proxy,
        "label": store.manifest.label,
    }
    return Evaluation(store.digest, protocol, metrics, by_repeat, predictions)


def pooled(
    predictions: pd.DataFrame, bootstrap: int, seed: int
) -> tuple[dict[str, Metric], dict[str, list[float]]]:
    """Metrics of pooled out-of-fold predictions: mean over repeats, bootstrapped by user.

    Args:
        predictions: repeat, sample, user_id, label, pd; the same samples in every repeat.
        bootstrap: draws.
        seed: of the draws.
    """
    parts = [part for _, part in predictions.sort_values("sample").groupby("repeat")]
    labels = parts[0]["label"].to_numpy(float)
    pds = [part["pd"].to_numpy(float) for part in parts]
    drawn = list(bootstrap_rows(labels, list(parts[0]["user_id"]), bootstrap, seed))
    metrics, by_repeat = {}, {}
    for name, (metric, _) in METRICS.items():
        values = [metric(labels, p) for p in pds]
        draws = [np.mean([metric(labels[r], p[r]) for p in pds]) for r in drawn]
        lo, hi = np.quantile(draws, [0.025, 0.975])
        metrics[name] = Metric(float(np.mean(values)), float(lo), float(hi))
        by_repeat[name] = [float(v) for v in values]
    return metrics, by_repeat
