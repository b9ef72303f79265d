"""Has the population moved since training? Score and activity of later samples, month by month.

Held against the samples that the model was fitted on (part "train"). A workspace that holds none
of them, as after scoring new users alone, holds later months against its own first one, which
shows movement but says nothing of the training.
"""

from __future__ import annotations

import pandas as pd

from lbsf_core.workspace.cohorts import FEATURES, shifts
from lbsf_core.workspace.queries import Tables
from lbsf_core.workspace.types import Drift

#: A month, or a reference, of fewer samples says nothing: chance alone gives large figures.
FEWEST = 30
#: Latest months that are shown.
MONTHS = 24
COLUMNS = (*("month", "samples", "feature", "psi", "chance", "significant", "median", "reference"),)


def drift(tables: Tables) -> Drift:
    """Months of the samples that training never saw, each against the reference."""
    samples = tables.ask(
        """SELECT date_trunc('month', cutoff)::DATE AS month, part, pd, payments, merchants,
                  money_in, money_out, (epoch(cutoff) - epoch(last_payment)) / 86400 AS idle_days
           FROM read_parquet($samples)"""
    )
    samples["month"] = pd.to_datetime(samples["month"])
    trained = bool((samples["part"] == "train").sum() >= FEWEST)
    if trained:
        reference = samples[samples["part"] == "train"]
        later = samples[samples["part"].isin(("test", "new"))]
        told = f"the {len(reference):,} samples that the model was trained on"
    else:
        sizes = samples.groupby("month").size()
        enough = sizes[sizes >= FEWEST]
        first = enough.index.min() if len(enough) else None
        reference = samples[samples["month"] == first]
        later = samples[samples["month"] > first] if first is not None else samples.iloc[:0]
        told = f"the {len(reference):,} samples of {first:%B %Y}" if first is not None else ""
    rows, left_out = [], 0
    for month, side in list(later.groupby("month"))[-MONTHS:]:
        if len(side) < FEWEST:
            left_out += 1
            continue
        found = shifts(reference, side).rename(
            columns={"median_a": "reference", "median_b": "median"}
        )
        rows.append(found.assign(month=month, samples=len(side)))
    order = {name: at for at, name in enumerate(FEATURES)}
    frame = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=[*COLUMNS])
    frame = frame.sort_values(
        ["month", "feature"], key=lambda c: c.map(order) if c.name == "feature" else c
    )
    return Drift(told, trained, frame[[*COLUMNS]].reset_index(drop=True), left_out)
