"""What a comparison found, as one JSON: contestants, differences, controls, slices and curves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

from lbsf_core.evaluate.benchmark import MEMBERS
from lbsf_core.evaluate.contestants import BLENDS, CONTESTANTS, Data
from lbsf_core.evaluate.draws import auc_of_draws
from lbsf_core.evaluate.metrics import auc, bootstrap_rows
from lbsf_core.evaluate.report import FEWEST, calibration
from lbsf_core.evaluate.scores import Scores, summarise
from lbsf_core.files import code_hash
from lbsf_core.fold.batch import FoldedBatch, Ints

Floats = npt.NDArray[np.float64]

#: (one, other): "one - other" is reported where both were run.
PAIRS: tuple[tuple[str, str], ...] = (
    ("lbsf", "lightgbm"),
    ("lbsf", "gru"),
    ("lbsf", "lightgbm_both"),
    ("lbsf", "lightgbm_gru"),
    ("lbsf_both", "lightgbm"),
    ("lbsf_pretrained", "lightgbm"),
    ("lbsf_pretrained", "gru"),
    ("lbsf_alone", "lightgbm"),
    ("lbsf_alone", "gru"),
    ("lbsf_alone", "random_merchants"),
    ("lbsf_alone", "no_fold"),
)
#: Contestants that curves and slices are drawn for.
DRAWN = ("lbsf", "lbsf_pretrained", "lbsf_alone", "lightgbm", "gru")
#: Points of a curve at most.
POINTS = 80


def compare(
    data: Data, label: str, scores: dict[str, Scores], *, draws: int = 1000
) -> dict[str, Any]:
    """Everything about one label of one dataset.

    Args:
        data: the dataset.
        label: which of its labels.
        scores: from `read_scores`.
        draws: bootstrap draws, by user.

    Returns:
        samples, bad, users, "contestants", "differences" (see `summarise`), "controls" (AUC of
        LBSF with something changed, and what that lost), "slices", "curves".
    """
    rows = next(iter(scores.values())).rows
    labels, batch = data.labels[label][rows], data.batch.select(rows)
    users = list(batch.user_ids)
    scores = _with_best_boosting(scores, labels)
    controls = [name for name in scores if name in CONTESTANTS and CONTESTANTS[name].control]
    pairs = [*PAIRS, *(("lbsf_alone", name) for name in controls)]
    found = summarise(scores, labels, users, list(dict.fromkeys(pairs)), draws=draws)
    for name, entry in found["contestants"].items():
        entry["about"] = _about(name)
        entry["control"] = name in controls
    drawn = {name: scores[name] for name in DRAWN if name in scores}
    return {
        "samples": len(labels),
        "bad": int(labels.sum()),
        "users": len(set(users)),
        **found,
        "slices": _slices(batch, labels, drawn),
        "curves": {name: _curves(labels, s.pds.mean(axis=0)) for name, s in drawn.items()},
    }


def _with_best_boosting(scores: dict[str, Scores], labels: Floats) -> dict[str, Scores]:
    """Add "lightgbm": the best of them, chosen by its result, in its favour."""
    both = [n for n in ("lightgbm_user", "lightgbm_merchant", "lightgbm_refit") if n in scores]
    if not both:
        return scores
    best = max(both, key=lambda name: np.mean([auc(labels, p) for p in scores[name].pds]))
    return {"lightgbm": scores[best], **scores}


def _about(name: str) -> str:
    if name == "lightgbm":
        return "the best of the LightGBMs"
    return BLENDS[name].about if name in BLENDS else CONTESTANTS[name].about


def _slices(batch: FoldedBatch, labels: Floats, scores: dict[str, Scores]) -> list[dict[str, Any]]:
    """AUC by length of history, number of merchants and month of the cutoff."""
    cutoffs = pd.DatetimeIndex(batch.cutoffs.view("datetime64[us]"))
    month = cutoffs.strftime("%Y-%m").to_numpy()
    quarter = _quarters(batch.payment_counts)
    merchants = _quarters(batch.segment_counts)
    found = []
    if len(set(month)) > 24:  # every user a cutoff of its own: by year
        month = np.array([key[:4] for key in month])
    for by, keys in (("payments", quarter), ("merchants", merchants), ("cutoff", month)):
        values = sorted(set(keys), key=lambda k: (len(k.split(" ")[0]), k))
        for value in values:
            rows = np.flatnonzero(keys == value)
            bad = int(labels[rows].sum())
            entry: dict[str, Any] = {"by": by, "slice": value, "samples": len(rows), "bad": bad}
            if FEWEST <= bad <= len(rows) - FEWEST:
                entry["auc"] = {
                    name: _slice_auc(batch, labels, s, rows) for name, s in scores.items()
                }
            found.append(entry)
    return found


def _quarters(counts: Ints) -> npt.NDArray[np.str_]:
    """(B,) "low to high" of the quarter of all counts that each lies in."""
    edges = np.unique(np.quantile(counts, [0, 0.25, 0.5, 0.75, 1]).astype(np.int64))
    at = np.clip(np.searchsorted(edges, counts, side="right") - 1, 0, max(len(edges) - 2, 0))
    ends = np.append(edges[1:-1] - 1, edges[-1]) if len(edges) > 1 else edges
    return np.array([f"{edges[i]} to {ends[i]}" for i in at])


def _slice_auc(batch: FoldedBatch, labels: Floats, scores: Scores, rows: Ints) -> dict[str, float]:
    some, users = labels[rows], [batch.user_ids[r] for r in rows]
    drawn = list(bootstrap_rows(some, users, 200, 0))
    values = np.mean([auc_of_draws(some, p[rows], drawn) for p in scores.pds], axis=0)
    lo, hi = np.quantile(values, [0.025, 0.975])
    value = float(np.mean([auc(some, p[rows]) for p in scores.pds]))
    return {"auc": value, "lo": float(lo), "hi": float(hi)}


def _curves(labels: Floats, pds: Floats) -> dict[str, Any]:
    """ROC, precision and recall, reliability and lift of one score (mean PD over repeats)."""
    fpr, tpr, _ = roc_curve(labels, pds)
    precision, recall, _ = precision_recall_curve(labels, pds)
    order = np.argsort(-pds, kind="stable")
    gained = np.cumsum(labels[order]) / labels.sum()
    share = np.arange(1, len(labels) + 1) / len(labels)
    first = len(labels) // 50  # of fewer than a fiftieth the lift jumps about
    return {
        "roc": _thin(fpr, tpr),
        "pr": _thin(recall[::-1], precision[::-1]),
        "lift": _thin(share[first:], (gained / share)[first:]),
        "reliability": calibration(labels, pds),
    }


def _thin(x: Floats, y: Floats) -> list[list[float]]:
    at = np.unique(np.linspace(0, len(x) - 1, min(len(x), POINTS)).round().astype(int))
    return [[round(float(x[i]), 5), round(float(y[i]), 5)] for i in at]


def about(datasets: Sequence[dict[str, Any]], machine: dict[str, Any]) -> dict[str, Any]:
    """The protocol in words, and what made the report."""
    return {
        "protocol": [
            "Folds by user, stratified by the labels, drawn anew for every repeat; the same for "
            "every contestant. A figure is the metric of the pooled out-of-fold PDs, mean over "
            "repeats.",
            f"Every contestant is an ensemble of {MEMBERS} members. Each is fitted without one "
            "inner part of the training users; what it says of that part chooses between settings "
            "and fits the calibration, and their mean scores the test users; pre-trained LBSF and "
            "one of the LightGBMs score them by fits on all training users instead. Nothing is "
            "learned from a test user, labelled or not.",
            "Intervals are 95 %, from 1,000 bootstrap draws of users; those of differences are "
            "paired. They speak of these users, not of other portfolios.",
            "LightGBM chooses from a grid of 3 settings by inner folds, the scorecard from 4. On "
            "Berka the networks choose from 3 as well, elsewhere they have one setting; all were "
            "laid down beforehand on other folds of the same users. Flat networks got more epochs, "
            'since they learn more slowly. "lightgbm" is the best of the LightGBMs by this very '
            "result, which favours it.",
            "A blend is the mean of the logits of some contestants; inner folds choose of which "
            "ones. Ours always has an LBSF in it; with LightGBM in it too, what it wins over "
            "LightGBM is what LBSF adds. Which means may be chosen, the boosted LBSF and the fit "
            "on all training users were settled after the first repeat of Birmingham had been "
            "looked at, which may flatter them.",
            "Pre-training asks what the payments of users outside the test do next; on "
            "Birmingham that is close to the labels themselves, which are proxies made of later "
            "payments. It is a fair use of unlabelled history there and says little about "
            "defaults; Berka has real ones.",
        ],
        "datasets": list(datasets),
        "code": code_hash(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
    }
