"""Charts of the portfolio page: the score distribution and what a threshold would do."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts.style import BAND, FAINT, GREY, LABEL_COLOURS, VERMILLION, finish, nothing

LABEL_NAMES = {"good": "Good", "bad": "Bad", "unknown": "No label yet"}


def score_distribution(bins: pd.DataFrame, threshold: float | None = None) -> go.Figure:
    """Samples per PD bin, stacked by label, with the threshold as a line.

    Args:
        bins: `Workspace.score_distribution`: pd_low, pd_high, label, samples.
        threshold: PD at which a sample would be declined.
    """
    if bins.empty or not bins["samples"].sum():
        return nothing("No sample to count.")
    figure = go.Figure()
    for label, colour in LABEL_COLOURS.items():
        part = bins[(bins["label"] == label) & (bins["samples"] > 0)]
        if part.empty:
            continue
        figure.add_bar(
            x=(part["pd_low"] + part["pd_high"]) / 2,
            y=part["samples"],
            width=(part["pd_high"] - part["pd_low"]) * 0.92,
            name=LABEL_NAMES[label],
            marker={"color": colour, "line": {"width": 0}},
            customdata=part[["pd_low", "pd_high"]].to_numpy(),
            hovertemplate="PD %{customdata[0]:.1%} – %{customdata[1]:.1%}<br>"
            f"{LABEL_NAMES[label]}: %{{y:,}}<extra></extra>",
        )
    figure.update_layout(barmode="stack")
    if threshold is not None:
        figure.add_vline(threshold, line={"color": GREY, "width": 2, "dash": "dash"})
    top = float(bins.loc[bins["samples"] > 0, "pd_high"].max())
    figure.update_xaxes(
        title="Probability of default (PD)",
        tickformat=".0%",
        range=[0, min(1.0, max(top, threshold or 0.0) * 1.04)],
    )
    figure.update_yaxes(title="Samples", rangemode="tozero")
    return finish(figure, height=300, legend=True)


def threshold_curve(table: pd.DataFrame, threshold: float) -> go.Figure:
    """Observed default rate among the approved (with its interval) against the approval share.

    Args:
        table: `Workspace.thresholds`.
        threshold: the chosen PD; marked by a line.
    """
    known = table.dropna(subset=["approved"])
    if known.empty:
        return nothing("No sample to count.")
    figure = go.Figure()
    x = known["threshold"]
    figure.add_scatter(
        x=[*x, *x[::-1]],
        y=[*known["hi"], *known["lo"][::-1]],
        fill="toself",
        fillcolor=BAND,
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add_scatter(
        x=x,
        y=known["approved"],
        name="Approved",
        mode="lines",
        line={"color": LABEL_COLOURS["good"], "width": 2.5},
        hovertemplate="%{y:.1%} approved below PD %{x:.1%}<extra></extra>",
    )
    figure.add_scatter(
        x=x,
        y=known["default_rate"],
        name="Default rate among approved (95% interval)",
        mode="lines",
        line={"color": VERMILLION, "width": 2.5},
        customdata=known[["lo", "hi"]].to_numpy(),
        hovertemplate="%{y:.1%} of the approved defaulted "
        "(%{customdata[0]:.1%} – %{customdata[1]:.1%})<extra></extra>",
    )
    figure.add_scatter(
        x=x,
        y=known["capture"],
        name="Defaults declined",
        mode="lines",
        line={"color": FAINT, "width": 2, "dash": "dot"},
        hovertemplate="%{y:.1%} of all defaults declined<extra></extra>",
    )
    figure.add_vline(threshold, line={"color": GREY, "width": 2, "dash": "dash"})
    top = float(known.loc[known["approved"] < 1, "threshold"].max() if len(known) > 1 else 1.0)
    top = 1.0 if pd.isna(top) else top
    figure.update_xaxes(
        title="Threshold: approve below this PD",
        tickformat=".0%",
        range=[0, min(1.0, max(top, threshold) * 1.04)],
    )
    figure.update_yaxes(title="Share", tickformat=".0%", range=[0, 1.02])
    return finish(figure, height=300, legend=True)
