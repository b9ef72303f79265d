"""What an evaluation found, as plain JSON values: metrics with intervals and curves to draw."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_auc_score, roc_curve

from lbsf_core.errors import LbsfError
from lbsf_core.evaluate.intervals import wilson
from lbsf_core.evaluate.metrics import METRICS, Metric, bootstrap_rows, evaluate
from lbsf_core.files import atomic_write, dump_json, read_json

REPORT, PREDICTIONS = "report.json", "predictions.parquet"
#: Borders of the history slices, in payments inside the window.
HISTORY = (0, 25, 50, 100, 200, 400, 800)
#: A slice has an AUC when it holds at least this many bad and this many good samples.
FEWEST = 5
#: Points of a drawn curve at most.
POINTS = 400
#: Bins of the drawn calibration and of the lift, of equal count.
BINS = 10
#: Lists of records in a performance.
PARTS = ("metrics", "roc", "pr", "ks", "lift", "calibration", "by_history")

Floats = npt.NDArray[np.float64]


def held_out(samples: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """The labelled samples of a workspace that training never saw, and what they are in words."""
    rows = samples[samples["part"].isin(("test", "new")) & (samples["label"] != "unknown")]
    bad = int((rows["label"] == "bad").sum())
    frame = pd.DataFrame(
        {
            "user_id": rows["user_id"],
            "label": (rows["label"] == "bad").astype(float),
            "pd": rows["pd"],
            "payments": rows["payments"],
        }
    )
    return f"held-out users ({len(rows):,} samples, {bad:,} bad)", frame.reset_index(drop=True)


def performance(
    source: str, frame: pd.DataFrame, metrics: dict[str, Metric] | None = None
) -> dict[str, Any]:
    """Metrics, curves, calibration and slices of scored, labelled samples.

    Args:
        source: what the samples are, in words.
        frame: user_id, label (0 or 1), pd, payments.
        metrics: when already computed (cross-validation); else on this frame.

    Returns:
        source, metrics, roc, pr, ks, lift, calibration, by_history (lists of records), warnings.
    """
    labels, pds = frame["label"].to_numpy(float), frame["pd"].to_numpy(float)
    bad = int(labels.sum())
    warnings: list[str] = []
    empty: dict[str, Any] = {name: [] for name in PARTS}
    if not 0 < bad < len(labels):
        warnings.append(
            f"{bad} bad and {len(labels) - bad} good samples: nothing can be measured. "
            "Give labels with both outcomes for users that training did not see."
        )
        return {"source": source, "warnings": warnings} | empty
    if bad < 50:
        warnings.append(
            f"Only {bad} bad samples: every figure here is uncertain; read the intervals."
        )
    found = metrics or evaluate(labels, pds, list(frame["user_id"]))
    fpr, tpr, thresholds = roc_curve(labels, pds, drop_intermediate=False)
    thin = np.unique(np.linspace(0, len(fpr) - 1, min(len(fpr), POINTS)).round().astype(int))
    widest = int(np.argmax(tpr - fpr))
    thin = np.union1d(thin, [widest])
    top = float(pds.max())
    curve = [
        {"threshold": float(min(thresholds[i], top)), "fpr": float(fpr[i]), "tpr": float(tpr[i])}
        for i in thin
    ]
    return {
        "source": source,
        "warnings": warnings,
        "metrics": [
            {"name": name, "better": METRICS[name][1]} | metric.to_dict()
            for name, metric in found.items()
        ],
        "roc": curve,
        "pr": precision_recall(labels, pds),
        "ks": [{"threshold": p["threshold"], "bad": p["tpr"], "good": p["fpr"]} for p in curve],
        "lift": lift(labels, pds),
        "calibration": calibration(labels, pds),
        "by_history": _by_history(frame),
    }


def precision_recall(labels: Floats, pds: Floats) -> list[dict[str, float]]:
    """Precision and recall of declining at or above a PD, recall falling; `POINTS` at most."""
    precision, recall, thresholds = precision_recall_curve(labels, pds)
    count = len(thresholds)  # the end that sklearn adds declines nobody
    thin = np.unique(np.linspace(0, count - 1, min(count, POINTS)).round().astype(int))
    return [
        {
            "threshold": float(thresholds[i]),
            "precision": float(precision[i]),
            "recall": float(recall[i]),
        }
        for i in thin
    ]


def lift(labels: Floats, pds: Floats) -> list[dict[str, float]]:
    """`BINS` parts of equal count, highest PDs first.

    Returns:
        Of each: part (1 = highest), samples, bad, rate, lift (rate over the rate of all), and
        captured (share of all bad in this part and those before it).
    """
    order = np.argsort(-pds, kind="stable")
    rows, found, mean, total = [], 0.0, float(labels.mean()), float(labels.sum())
    for number, at in enumerate(np.array_split(order, min(BINS, len(order)))):
        bad, rate = float(labels[at].sum()), float(labels[at].mean())
        found += bad
        row = {"part": number + 1, "samples": len(at), "bad": bad, "rate": rate}
        rows.append(row | {"lift": rate / mean, "captured": found / total})
    return rows


def calibration(labels: Floats, pds: Floats) -> list[dict[str, float]]:
    """`BINS` bins of equal count: mean PD, observed rate, its interval, samples."""
    order = np.argsort(pds, kind="stable")
    rows = []
    for number, at in enumerate(np.array_split(order, min(BINS, len(order)))):
        rate, lo, hi = wilson(int(labels[at].sum()), len(at))
        row = {"bin": number + 1, "pd": float(pds[at].mean()), "rate": rate, "lo": lo, "hi": hi}
        rows.append(row | {"samples": len(at)})
    return rows


def _by_history(frame: pd.DataFrame) -> list[dict[str, Any]]:
    edges = [*HISTORY, np.inf]
    rows = []
    for low, high in pairwise(edges):
        part = frame[(frame["payments"] >= low) & (frame["payments"] < high)]
        if part.empty:
            continue
        labels, pds = part["label"].to_numpy(float), part["pd"].to_numpy(float)
        row: dict[str, Any] = {
            "history": f"{low:g}+" if np.isinf(high) else f"{low:g}-{high - 1:g}",
            "samples": len(part),
            "bad": int(labels.sum()),
            "mean_pd": float(pds.mean()),
            "default_rate": float(labels.mean()),
            "auc": None,
            "lo": None,
            "hi": None,
        }
        if FEWEST <= labels.sum() <= len(labels) - FEWEST:
            draws = [
                roc_auc_score(labels[rows_], pds[rows_])
                for rows_ in bootstrap_rows(labels, list(part["user_id"]), 300, 0)
            ]
            lo, hi = np.quantile(draws, [0.025, 0.975])
            row |= {"auc": float(roc_auc_score(labels, pds)), "lo": float(lo), "hi": float(hi)}
        rows.append(row)
    return rows


@dataclass(frozen=True)
class Evaluation:
    """A cross-validation on disk: report.json and every out-of-fold prediction.

    Attributes:
        store: digest of the store it was made on.
        protocol: folds, repeats, seed and settings, in plain values.
        metrics: name -> mean over repeats with its 95 % interval.
        by_repeat: name -> one value a repeat.
        predictions: repeat, fold, sample, user_id, cutoff, label, logit, pd, payments.
    """

    store: str
    protocol: dict[str, Any]
    metrics: dict[str, Metric]
    by_repeat: dict[str, list[float]]
    predictions: pd.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """Everything but the predictions, as plain JSON values."""
        return {
            "store": self.store,
            "protocol": self.protocol,
            "metrics": {name: metric.to_dict() for name, metric in self.metrics.items()},
            "by_repeat": self.by_repeat,
        }

    def performance(self) -> dict[str, Any]:
        """What the Model page shows: curves over the pooled out-of-fold predictions."""
        p = self.protocol
        source = (
            f"{p['folds']}-fold cross-validation by user, {p['repeats']} repeats, pooled "
            f"out-of-fold ({p['samples']:,} samples, {p['bad']:,} bad)"
        )
        return performance(source, self.predictions, self.metrics)

    def save(self, out: str | Path) -> None:
        """Write report.json and predictions.parquet (atomically)."""
        with atomic_write(out) as folder:
            folder.mkdir()
            (folder / REPORT).write_text(dump_json(self.to_dict()), encoding="utf-8")
            self.predictions.to_parquet(folder / PREDICTIONS, index=False)

    @classmethod
    def load(cls, path: str | Path) -> Evaluation:
        """Read it back.

        Raises:
            LbsfError: the folder holds no evaluation.
        """
        path = Path(path)
        data = read_json(path / REPORT)
        if not (path / PREDICTIONS).is_file():
            raise LbsfError(f"{path}: no {PREDICTIONS}; run `lbsf evaluate --cv` again.")
        metrics = {name: Metric(**metric) for name, metric in data["metrics"].items()}
        predictions = pd.read_parquet(path / PREDICTIONS)
        return cls(data["store"], data["protocol"], metrics, data["by_repeat"], predictions)
