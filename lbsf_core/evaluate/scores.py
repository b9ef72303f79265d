"""What finished runs say together: pooled PDs, blends, metrics and differences with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lbsf_core.errors import LbsfError
from lbsf_core.evaluate.benchmark import Plan, Run
from lbsf_core.evaluate.contestants import BLENDS, Blend, Data
from lbsf_core.evaluate.metrics import METRICS, auc, bootstrap_rows
from lbsf_core.fold.batch import Ints
from lbsf_core.score.calibration import fit_calibration

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """A contestant's out-of-fold PDs of one label.

    Attributes:
        rows: (T,) the samples that were tested, of the dataset's B.
        pds: (R, T), one row a repeat.
    """

    rows: Ints
    pds: Floats


def read_scores(data: Data, plan: Plan, work: str | Path, label: str) -> dict[str, Scores]:
    """Every contestant with whole repeats in the working folder, blends included."""
    work = Path(work)
    raw: dict[str, dict[int, list[pd.DataFrame]]] = {}
    for name, repeats in plan.repeats.items():
        for repeat in range(repeats):
            files = [work / Run(label, name, repeat, fold).file for fold in range(plan.folds)]
            if all(path.is_file() for path in files):
                raw.setdefault(name, {})[repeat] = [pd.read_parquet(path) for path in files]
    found = {
        name: _pooled(data, label, [repeats[r] for r in sorted(repeats)])
        for name, repeats in raw.items()
    }
    for name, blend in BLENDS.items():
        if all(part in raw for part in blend.parts):
            common = sorted(set.intersection(*(set(raw[part]) for part in blend.parts)))
            mixed = [
                [
                    _blend(blend, {p: raw[p][r][fold] for p in blend.parts}, data.labels[label])
                    for fold in range(plan.folds)
                ]
                for r in common
            ]
            if mixed:
                found[name] = _pooled(data, label, mixed)
    if not found:
        raise LbsfError(f"{work}: no contestant has a whole repeat of '{label}' yet.")
    return found


def _blend(blend: Blend, frames: dict[str, pd.DataFrame], labels: Floats) -> pd.DataFrame:
    """The option that is best on the training rows, out of inner fold.

    Each part is brought to mean 0 and deviation 1 by its training rows.
    """
    first = next(iter(frames.values()))
    inside = ~first["test"].to_numpy()
    scaled = {}
    for name, frame in frames.items():
        logit = frame["logit"].to_numpy()
        scaled[name] = (logit - logit[inside].mean()) / max(float(logit[inside].std()), 1e-9)
    known = labels[first["row"].to_numpy()[inside]]
    means = [np.mean([scaled[name] for name in option], axis=0) for option in blend.options]
    best = int(np.argmax([auc(known, mean[inside]) for mean in means]))
    return first.assign(logit=means[best])


def _pooled(data: Data, label: str, repeats: list[list[pd.DataFrame]]) -> Scores:
    """PDs, each fold calibrated on its own training rows."""
    labels = data.labels[label]
    pds = np.full((len(repeats), len(labels)), np.nan)
    for number, folds in enumerate(repeats):
        for frame in folds:
            inside, test = frame[~frame["test"]], frame[frame["test"]]
            calibration = fit_calibration(
                inside["logit"].to_numpy(), labels[inside["row"].to_numpy()]
            )
            pds[number, test["row"].to_numpy()] = calibration.pd(test["logit"].to_numpy())
    rows = np.flatnonzero(np.isfinite(pds[0]))
    return Scores(rows, pds[:, rows])


def summarise(
    scores: dict[str, Scores],
    labels: Floats,
    users: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Metrics of every contestant and differences in AUC, with 95 % intervals by user.

    A draw takes users with replacement and is the same for all contestants, so that differences
    are paired; each figure is a mean over repeats of the pooled out-of-fold metric.

    Args:
        scores: by contestant, all of the same T samples.
        labels: (T,).
        users: T user ids.
        pairs: (better, worse) contestants to compare; those that are missing are left out.
        draws: bootstrap draws.
        seed: of the draws.

    Returns:
        {"contestants": {name: {"auc", "lo", "hi", "repeats", "metrics": {...}}},
        "differences": {"a - b": {"auc", "lo", "hi"}}}.
    """
    drawn = bootstrap_rows(labels, users, draws, seed)
    aucs: dict[str, Floats] = {}
    contestants: dict[str, Any] = {}
    for name, found in scores.items():
        metrics: dict[str, Any] = {}
        for metric, (function, _) in METRICS.items():
            value = float(np.mean([function(labels, p) for p in found.pds]))
            sample = np.array(
                [np.mean([function(labels[r], p[r]) for p in found.pds]) for r in drawn]
            )
            lo, hi = np.quantile(sample, [0.025, 0.975])
            metrics[metric] = {"value": value, "lo": float(lo), "hi": float(hi)}
            if metric == "AUC":
                aucs[name] = sample
        top = metrics["AUC"]
        contestants[name] = {
            "auc": top["value"],
            "lo": top["lo"],
            "hi": top["hi"],
            "repeats": len(found.pds),
            "metrics": metrics,
        }
    differences: dict[str, Any] = {}
    for one, other in pairs:
        if one in scores and other in scores:
            both = min(len(scores[one].pds), len(scores[other].pds))
            sample = aucs[one] - aucs[other]
            value = contestants[one]["auc"] - contestants[other]["auc"]
            if len(scores[one].pds) != len(scores[other].pds):  # the repeats that both have
                a, b = scores[one].pds[:both], scores[other].pds[:both]
                value = float(
                    np.mean([auc(labels, p) - auc(labels, q) for p, q in zip(a, b, strict=True)])
                )
                sample = np.array(
                    [
                        np.mean(
                            [
                                auc(labels[r], p[r]) - auc(labels[r], q[r])
                                for p, q in zip(a, b, strict=True)
                            ]
                        )
                        for r in drawn
                    ]
                )
            lo, hi = np.quantile(sample, [0.025, 0.975])
            differences[f"{one} - {other}"] = {
                "auc": float(value),
                "lo": float(lo),
                "hi": float(hi),
                "repeats": both,
            }
    return {"contestants": contestants, "differences": differences}
