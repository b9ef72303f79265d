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
from lbsf_core.evaluate.draws import metrics_of_draws
from lbsf_core.evaluate.metrics import ECE_BINS, METRICS, auc, bootstrap_rows
from lbsf_core.evaluate.predictions import read_run
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
                raw.setdefault(name, {})[repeat] = [read_run(path) for path in files]
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
    drawn = list(bootstrap_rows(labels, users, draws, seed))
    by_repeat = {name: _by_repeat(labels, found.pds, drawn) for name, found in scores.items()}
    contestants: dict[str, Any] = {}
    for name, measured in by_repeat.items():
        metrics = {
            metric: _figure([one[metric] for one in measured], "value") for metric in METRICS
        }
        top = metrics["AUC"]
        contestants[name] = {
            "auc": top["value"],
            "lo": top["lo"],
            "hi": top["hi"],
            "repeats": len(measured),
            "metrics": metrics,
        }
    differences: dict[str, Any] = {}
    for one, other in pairs:
        if one in scores and other in scores:
            # The repeats that both have.
            both = list(zip(by_repeat[one], by_repeat[other], strict=False))
            gaps = [(a["AUC"][0] - b["AUC"][0], a["AUC"][1] - b["AUC"][1]) for a, b in both]
            differences[f"{one} - {other}"] = _figure(gaps, "auc") | {"repeats": len(both)}
    return {"contestants": contestants, "differences": differences}


#: A figure, and (D,) what each draw says of it.
_Measured = tuple[float, Floats]


def _by_repeat(labels: Floats, pds: Floats, drawn: Sequence[Ints]) -> list[dict[str, _Measured]]:
    """Every metric of each repeat, and of each of its draws."""
    found = []
    for p in pds:
        of_draws = metrics_of_draws(labels, p, drawn, ECE_BINS)
        found.append(
            {
                metric: (function(labels, p), of_draws[metric])
                for metric, (function, _) in METRICS.items()
            }
        )
    return found


def _figure(repeats: Sequence[_Measured], name: str) -> dict[str, Any]:
    """The mean over repeats with its 95 % interval over draws."""
    value = float(np.mean([value for value, _ in repeats]))
    lo, hi = np.quantile(np.mean([draws for _, draws in repeats], axis=0), [0.025, 0.975])
    return {name: value, "lo": float(lo), "hi": float(hi)}
