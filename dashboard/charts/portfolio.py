"""Charts of the portfolio page: the score distribution and what a threshold would do."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts.style import (
    BAND,
    BLUE,
    GREY,
    LABEL_COLOURS,
    VERMILLION,
    finish,
    name,
    nothing,
)

#: Approved samples below which no rate is drawn.
FEWEST = 10
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
    figure = go.Figure()
    x = known["approved"]
    figure.add_scatter(
        x=[*x, *x[::-1]],
        y=[*known["hi"], *known["lo"][::-1]],
        fill="toself",
        fillcolor=BAND,
        line={"width": 0},
        hoverinfo="skip",
        name="95% interval",
    )
    figure.add_scatter(
        x=x,
        y=known["default_rate"],
        name="Default rate among approved",
        mode="lines",
        line={"color": VERMILLION, "width": 2.5},
        customdata=known[["lo", "hi", "threshold"]].to_numpy(),
        hovertemplate="%{x:.1%} approved below PD %{customdata[2]:.1%}<br>"
        "%{y:.1%} of them defaulted (%{customdata[0]:.1%} – %{customdata[1]:.1%})<extra></extra>",
    )
    figure.add_scatter(
        x=[chosen["approved"]],
        y=[chosen["default_rate"]],
        name="This threshold",
        mode="markers",
        marker={"size": 13, "color": GREY, "symbol": "diamond"},
        hovertemplate="%{x:.1%} approved, %{y:.1%} of them defaulted<extra></extra>",
    )
    figure.update_xaxes(title="Share approved", tickformat=".0%", range=[0, 1.02])
    top = max(float(known["default_rate"].max()) * 1.6, 0.01)
    figure.update_yaxes(title="Default rate", tickformat=".1~%", range=[0, min(top, 1.02)])
    return finish(figure, height=300, legend=True)


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
    figure = go.Figure()
    for column, label, colour, dash in (
        ("expected", "By PD", BLUE, "solid"),
        ("observed", "By label", VERMILLION, "dot"),
    ):
        rows = known.dropna(subset=[column])
        if rows.empty:
            continue
        figure.add_scatter(
            x=rows["approved"],
            y=rows[column],
            mode="lines",
            line={"color": colour, "width": 2.5, "dash": dash},
            name=label,
            customdata=rows["threshold"],
            hovertemplate=f"{label}: %{{y:,.2f}} a sample<br>%{{x:.1%}} approved below PD "
            "%{customdata:.1%}<extra></extra>",
        )
    best = known.loc[known["expected"].idxmin()]
    figure.add_scatter(
        x=[best["approved"]],
        y=[best["expected"]],
        mode="markers",
        marker={"size": 13, "color": BLUE, "symbol": "star"},
        name="Cheapest by PD",
        hovertemplate="%{y:,.2f} a sample at %{x:.1%} approved<extra></extra>",
    )
    figure.add_vline(approved, line={"color": GREY, "width": 2, "dash": "dash"})
    figure.update_xaxes(title="Share approved", tickformat=".0%", range=[0, 1.02])
    figure.update_yaxes(title=f"Cost a sample ({name(currency)})", rangemode="tozero")
    return finish(figure, height=280, legend=True)
