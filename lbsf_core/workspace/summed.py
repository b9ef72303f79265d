"""What a workspace holds, counted once when it is built: every first page shows it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

import pandas as pd

from lbsf_core.explain.result import TOLERANCE
from lbsf_core.fold.store import StoreManifest
from lbsf_core.workspace.queries import Tables
from lbsf_core.workspace.types import Summary


def summarise(tables: Tables, about: StoreManifest, name: str) -> Summary:
    """Count what the tables of a workspace hold."""
    row = tables.one(
        """SELECT count(*) AS samples, count(DISTINCT user_id) AS users,
                  coalesce(sum(payments), 0) AS payments,
                  count(*) FILTER (label <> 'unknown') AS labelled,
                  count(*) FILTER (label = 'bad') AS bad,
                  min(cutoff) AS first_cutoff, max(cutoff) AS last_cutoff,
                  count(*) FILTER (part IN ('train', 'validation')) AS seen,
                  coalesce(sum(dropped_payments), 0) AS dropped,
                  count(previous_pd) AS scored_before, count(at_stake) AS at_stake,
                  count(disagreement) AS explained_twice,
                  coalesce(max(abs(delta)), 0) AS max_delta,
                  coalesce(avg((abs(delta) <= $tolerance)::INTEGER), 1) AS additive
           FROM samples""",
        tolerance=TOLERANCE,
    )
    merchants = tables.one("SELECT count(DISTINCT merchant) AS n FROM read_parquet($merchants)")
    warnings = []
    if row["additive"] < 1:
        warnings.append(
            f"{1 - row['additive']:.1%} of the explanations miss their total by more than "
            f"{TOLERANCE:g} (largest error {row['max_delta']:.4f})."
        )
    if row["seen"]:
        warnings.append(
            f"The model was built with {int(row['seen']):,} of these {int(row['samples']):,} "
            "samples: default rates by score look better here than they would on new users. "
            "Filter by part 'test', or see the Model page."
        )
    if row["dropped"]:
        warnings.append(f"The fold's caps dropped {int(row['dropped']):,} payments.")
    return Summary(
        name=name,
        samples=int(row["samples"]),
        users=int(row["users"]),
        payments=int(row["payments"]),
        merchants=int(merchants["n"]),
        labelled=int(row["labelled"]),
        bad=int(row["bad"]),
        currency=about.currency,
        window_days=about.fold["window_days"],
        first_cutoff=_instant(row["first_cutoff"]),
        last_cutoff=_instant(row["last_cutoff"]),
        label=about.label,
        proxy=about.proxy,
        simulated=about.simulated,
        extra_fields=tuple(field.name for field in about.extra_fields),
        dropped_payments=int(row["dropped"]),
        max_delta=float(row["max_delta"]),
        additive_share=float(row["additive"]),
        warnings=tuple(warnings),
        scored_before=int(row["scored_before"]),
        at_stake=int(row["at_stake"]),
        explained_twice=int(row["explained_twice"]),
    )


def to_json(summary: Summary) -> dict[str, Any]:
    """As plain JSON values."""
    values = asdict(summary)
    for name in ("first_cutoff", "last_cutoff"):
        values[name] = values[name].isoformat() if values[name] else None
    return values


def from_json(values: dict[str, Any]) -> Summary:
    """The summary that `to_json` wrote."""
    instants = {
        name: datetime.fromisoformat(values[name]) if values[name] else None
        for name in ("first_cutoff", "last_cutoff")
    }
    lists = {name: tuple(values[name]) for name in ("extra_fields", "warnings")}
    return Summary(**values | instants | lists)


def _instant(value: pd.Timestamp | None) -> datetime | None:
    if value is None or pd.isna(value):
        return None
    stamp = value if value.tzinfo else value.tz_localize("UTC")
    found: datetime = stamp.tz_convert("UTC").to_pydatetime()
    return found
