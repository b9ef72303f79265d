"""Charts of the portfolio page: the score distribution and what a threshold would do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.charts.style import (
    BAND,
    BLUE,
    GREY,
    LABEL_COLOURS,
    VERMILLION,
    name,
    nothing,
    titled,
)

#: Approved samples below which no rate is drawn.
FEWEST = 10
#: The axis of what a threshold approves.
SHARE = {"title": {"text": "Share approved"}, "tickformat": ".0%", "range": [0, 1.02]}
LABEL_NAMES = {"good": "Good", "bad": "Bad", "unknown": "No label yet"}


def score_distribution(bins: pd.DataFrame, threshold: float | None = None) -> go.Figure:
    """Samples per PD bin, stacked by label, with the threshold as a line.

    Args:
        bins: `Workspace.score_distribution`: pd_low, pd_high, label, samples.
        threshold: PD at which a sample would be declined.
    """
    if bins.empty or not bins["samples"].sum():
        return nothing("No sample to count.")
    traces = []
    for label, colour in LABEL_COLOURS.items():
        part = bins[(bins["label"] == label) & (bins["samples"] > 0)]
        if part.empty:
            continue
        traces.append(
            {
                "type": "bar",
                "x": ((part["pd_low"] + part["pd_high"]) / 2).to_numpy(),
                "y": part["samples"].to_numpy(),
                "width": ((part["pd_high"] - part["pd_low"]) * 0.92).to_numpy(),
                "name": LABEL_NAMES[label],
                "marker": {"color": colour, "line": {"width": 0}},
                "customdata": part[["pd_low", "pd_high"]].to_numpy(),
                "hovertemplate": "PD %{customdata[0]:.1%} – %{customdata[1]:.1%}<br>"
                f"{LABEL_NAMES[label]}: %{{y:,}}<extra></extra>",
            }
        )
    top = float(bins.loc[bins["samples"] > 0, "pd_high"].max())
    across = {
        "title": {"text": "Probability of default (PD)"},
        "tickformat": ".0%",
        "range": [0, min(1.0, max(top, threshold or 0.0) * 1.04)],
    }
    up = {"title": {"text": "Samples"}, "rangemode": "tozero"}
    marked = {"barmode": "stack", "shapes": [] if threshold is None else [_mark(threshold)]}
    return titled(traces, across, up, height=300, more=marked)


def _mark(x: float) -> dict[str, Any]:
    """A dashed line from the bottom to the top of a chart."""
    return {
        "type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "y domain",
        "line": {"color": GREY, "width": 2, "dash": "dash"},
    }  # fmt: skip


def threshold_curve(table: pd.DataFrame, chosen: dict[str, float]) -> go.Figure:
    """Observed default rate among the approved, with its interval, against the approval share.

    Over the share and not over the PD: where PDs crowd near zero, the curve still has room.

    Args:
        table: `Workspace.thresholds`.
        chosen: `Workspace.threshold` of the chosen PD; marked on the curve.
    """
    known = table.dropna(subset=["approved", "default_rate"]).drop_duplicates("approved")
    # A rate among a handful says nothing, and its interval would fill the chart.
    known = known[known["approved"] * known["labelled"] >= FEWEST]
    if known.empty:
        return nothing("Fewer than ten approved samples have a label.")
    x, hi, lo = (known[name].to_numpy() for name in ("approved", "hi", "lo"))
    interval = {
        "type": "scatter",
        "x": np.concatenate([x, x[::-1]]),
        "y": np.concatenate([hi, lo[::-1]]),
        "fill": "toself",
        "fillcolor": BAND,
        "line": {"width": 0},
        "hoverinfo": "skip",
        "name": "95% interval",
    }
    rate = {
        "type": "scatter",
        "x": x,
        "y": known["default_rate"].to_numpy(),
        "name": "Default rate among approved",
        "mode": "lines",
        "line": {"color": VERMILLION, "width": 2.5},
        "customdata": known[["lo", "hi", "threshold"]].to_numpy(),
        "hovertemplate": "%{x:.1%} approved below PD %{customdata[2]:.1%}<br>"
        "%{y:.1%} of them defaulted (%{customdata[0]:.1%} – %{customdata[1]:.1%})<extra></extra>",
    }
    here = {
        "type": "scatter",
        "x": [chosen["approved"]],
        "y": [chosen["default_rate"]],
        "name": "This threshold",
        "mode": "markers",
        "marker": {"size": 13, "color": GREY, "symbol": "diamond"},
        "hovertemplate": "%{x:.1%} approved, %{y:.1%} of them defaulted<extra></extra>",
    }
    top = max(float(known["default_rate"].max()) * 1.6, 0.01)
    up = {"title": {"text": "Default rate"}, "tickformat": ".1~%", "range": [0, min(top, 1.02)]}
    return titled([interval, rate, here], SHARE, up, height=300)


def costs(table: pd.DataFrame, approved: float, currency: str) -> go.Figure:
    """Mean cost a sample for every share approved, the cheapest marked.

    Args:
        table: `Workspace.costs`.
        approved: share that the chosen threshold approves.
        currency: of the costs.
    """
    known = table.dropna(subset=["approved", "expected"]).drop_duplicates("approved")
    if known.empty:
        return nothing("No sample to count.")
    traces = []
    for column, label, colour, dash in (
        ("expected", "By PD", BLUE, "solid"),
        ("observed", "By label", VERMILLION, "dot"),
    ):
        rows = known.dropna(subset=[column])
        if rows.empty:
            continue
        traces.append(
            {
                "type": "scatter",
                "x": rows["approved"].to_numpy(),
                "y": rows[column].to_numpy(),
                "mode": "lines",
                "line": {"color": colour, "width": 2.5, "dash": dash},
                "name": label,
                "customdata": rows["threshold"].to_numpy(),
                "hovertemplate": f"{label}: %{{y:,.2f}} a sample<br>%{{x:.1%}} approved below PD "
                "%{customdata:.1%}<extra></extra>",
            }
        )
    best = known.loc[known["expected"].idxmin()]
    cheapest = {
        "type": "scatter",
        "x": [best["approved"]],
        "y": [best["expected"]],
        "mode": "markers",
        "marker": {"size": 13, "color": BLUE, "symbol": "star"},
        "name": "Cheapest by PD",
        "hovertemplate": "%{y:,.2f} a sample at %{x:.1%} approved<extra></extra>",
    }
    up = {"title": {"text": f"Cost a sample ({name(currency)})"}, "rangemode": "tozero"}
    marked = {"shapes": [_mark(approved)]}
    return titled([*traces, cheapest], SHARE, up, height=280, more=marked)
