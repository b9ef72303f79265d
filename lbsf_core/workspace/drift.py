"""Has the population moved since training? Score and activity of later samples over time.

Held against the samples that the model was fitted on (part "train"). A workspace that holds none
of them, as after scoring new users alone, holds later samples against its own first month, which
shows movement but says nothing of the training.
"""

from __future__ import annotations

import pandas as pd

from lbsf_core.workspace.cohorts import FEATURES, shifts
from lbsf_core.workspace.queries import Tables
from lbsf_core.workspace.types import Drift

#: A period, or a reference, of fewer samples says nothing: chance alone gives large figures.
FEWEST = 30
#: Latest periods that are shown.
SHOWN = 24
#: In words -> as pandas calls them.
PERIODS = {"month": "M", "quarter": "Q", "year": "Y"}
#: Share of samples that may lie in periods with too few, before longer ones are taken.
MOST_LEFT_OUT = 0.2
COLUMNS = ["start", "samples", "feature", "psi", "chance", "significant", "median", "reference"]


def drift(tables: Tables) -> Drift:
    """Periods of the samples that training never saw, each against the reference."""
    samples = tables.ask(
        """SELECT date_trunc('month', cutoff)::DATE AS month, part, pd, payments, merchants,
                  money_in, money_out, (epoch(cutoff) - epoch(last_payment)) / 86400 AS idle_days
           FROM samples"""
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
    per, periods = _periods(later["month"])
    rows, left_out = [], 0
    for start, side in list(later.groupby(periods))[-SHOWN:]:
        if len(side) < FEWEST:
            left_out += 1
            continue
        found = shifts(reference, side).rename(
            columns={"median_a": "reference", "median_b": "median"}
        )
        rows.append(found.assign(start=start, samples=len(side)))
    order = {name: at for at, name in enumerate(FEATURES)}
    frame = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=COLUMNS)
    frame = frame.sort_values(
        ["start", "feature"], key=lambda c: c.map(order) if c.name == "feature" else c
    )
    return Drift(told, trained, per, frame[COLUMNS].reset_index(drop=True), left_out)


def _periods(months: pd.Series) -> tuple[str, pd.Series]:
    """The shortest periods that leave out few samples for being too few together."""
    for per, code in PERIODS.items():
        starts = months.dt.to_period(code).dt.start_time
        sizes = starts.map(starts.value_counts())
        if per == "year" or (sizes < FEWEST).mean() <= MOST_LEFT_OUT:
            break
    return per, starts
