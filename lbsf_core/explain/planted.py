"""Planted causes: does a method name the merchant that the simulator made the cause?

Only simulated payments have known causes (`causes.parquet`), so these figures say whether an
explanation finds what its model found; how good models are on real payments they don't say.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lbsf_core.errors import LbsfError
from lbsf_core.evaluate.intervals import wilson
from lbsf_core.explain.faithfulness import METHODS, rank
from lbsf_core.explain.removal import Coalitions
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.score.stream import score_stream

Progress = Callable[[int, int], None]

#: Places in which the true merchant counts as named.
PLACES = 3


def planted(
    store: FoldedStore,
    bundle: Bundle,
    causes: str | Path,
    *,
    budget: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """How often every method names the planted merchant among its first three.

    Counted are true positives: bad samples with a planted cause whose score is among the highest,
    as many as there are bad samples. Of a pair both merchants must be among the first three.

    Args:
        store: folded from simulated payments.
        bundle: the model.
        causes: `causes.parquet` of `lbsf simulate`.
        budget: coalitions of a removal.
        seed: of removal and of random orders.
        progress: called with (samples done, samples in all).

    Returns:
        {"samples", "methods": {name: {"found", "lo", "hi", "recall", "precision"}}, "causes":
        {cause: {"samples", name: share}}, "pairs": {"samples", "first": {"found", "lo", "hi"}}};
        intervals are Wilson's. "recall" is the share of true merchants among the first three,
        "precision" that of the first one (of a pair, the first two) that are true.
        "first" is how often the largest of all measured interactions is the planted one.

    Raises:
        LbsfError: no true positive has a planted cause that its window still shows.
    """
    scores = score_stream(store, bundle).to_pandas()
    flagged = scores.nlargest(int((scores["label"] == 1).sum()), "logit")
    known = pd.read_parquet(
        causes, columns=["user_id", "cutoff", "cause", "merchant", "merchant_2"]
    )
    found = flagged[flagged["label"] == 1].merge(known, on=["user_id", "cutoff"])
    hits: list[dict[str, Any]] = []
    shares: list[list[list[int]]] = []  # of each sample and method: true ones named, named at once
    sizes: list[int] = []
    pairs: list[bool] = []
    for done, row in enumerate(found.to_dict("records")):
        batch = store.read([int(row["sample"])])
        names = batch.merchants.decode()
        true = {name for name in (row["merchant"], row["merchant_2"]) if isinstance(name, str)}
        if true and true <= set(names):
            coalitions = Coalitions(bundle.model, batch)
            merchants, _ = rank(coalitions, budget=budget, seed=seed, risky=True)
            first = np.argsort(-merchants, axis=1, kind="stable")[:, :PLACES]
            told = [[names[at] for at in places] for places in first]
            named = [true <= set(places) for places in told]
            hits.append({"cause": row["cause"]} | dict(zip(METHODS, named, strict=True)))
            shares.append(
                [[len(true & set(places)), len(true & set(places[: len(true)]))] for places in told]
            )
            sizes.append(len(true))
            if len(true) == 2:
                size = np.triu(np.abs(coalitions.interactions()), 1)
                at = np.unravel_index(int(np.argmax(size)), size.shape)
                pairs.append({names[int(i)] for i in at} == true)
        if progress:
            progress(done + 1, len(found))
    if not hits:
        raise LbsfError(
            f"{causes}: no bad sample of this store that the model scores high has a planted cause "
            "in its window. Give the causes of the same simulation, or a model that finds them."
        )
    frame = pd.DataFrame(hits)
    recall, precision = (np.sum(shares, axis=0) / np.sum(sizes)).T
    return {
        "samples": len(frame),
        "methods": {
            name: _share(int(frame[name].sum()), len(frame))
            | {"recall": float(recall[at]), "precision": float(precision[at])}
            for at, name in enumerate(METHODS)
        },
        "causes": {
            str(cause): {"samples": len(part)}
            | {name: float(part[name].mean()) for name in METHODS}
            for cause, part in frame.groupby("cause")
        },
        "pairs": {"samples": len(pairs), "first": _share(sum(pairs), len(pairs))},
    }


def _share(found: int, total: int) -> dict[str, float | None]:
    """A share and its interval; None where there is nothing to count."""
    if not total:
        return {"found": None, "lo": None, "hi": None}
    share, lo, hi = wilson(found, total)
    return {"found": share, "lo": lo, "hi": hi}
