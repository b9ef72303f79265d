"""Charts of how well a model ranks, separates and is calibrated, and by length of history."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboard.charts import style


def roc(frame: pd.DataFrame) -> go.Figure:
    """The ROC curve against the diagonal of a model that guesses.

    Args:
        frame: `Performance.roc`.
    """
    if frame.empty:
        return style.nothing("Too few labels to draw it.")
    figure = _diagonal("Guessing")
    figure.add_scatter(
        x=frame["fpr"],
        y=frame["tpr"],
        mode="lines",
        line={"color": style.BLUE, "width": 2.5},
        name="Model",
        hovertemplate="%{y:.1%} of the bad found at %{x:.1%} of the good<extra></extra>",
    )
    _unit_axes(figure, "Good declined", "Bad declined")
    return style.finish(figure, height=320, legend=True)


def ks(frame: pd.DataFrame) -> go.Figure:
    """Shares of bad and good at or above each PD; the widest gap is the KS statistic.

    Args:
        frame: `Performance.ks`.
    """
    if frame.empty:
        return style.nothing("Too few labels to draw it.")
    figure = go.Figure()
    for column, label, colour in (("bad", "Bad", style.VERMILLION), ("good", "Good", style.BLUE)):
        figure.add_scatter(
            x=frame["threshold"],
            y=frame[column],
            mode="lines",
            line={"color": colour, "width": 2.5, "shape": "hv"},
            name=label,
            hovertemplate=f"{label}: %{{y:.1%}} at or above PD %{{x:.1%}}<extra></extra>",
        )
    at = (frame["bad"] - frame["good"]).idxmax()
    row = frame.loc[at]
    left, right = _moving(frame)
    figure.add_scatter(
        x=[row["threshold"]] * 2, y=[row["good"], row["bad"]], mode="lines", hoverinfo="skip",
        line={"color": style.GREY, "width": 2, "dash": "dash"},
        name=f"Gap at {row['threshold']:.1%}",
    )  # fmt: skip
    figure.update_xaxes(
        title="Probability of default (PD)", tickformat=".2~%", nticks=6, range=[left, right]
    )
    figure.update_yaxes(title="Share at or above", tickformat=".0%", range=[0, 1.02])
    return style.finish(figure, height=320, legend=True)


def _moving(frame: pd.DataFrame) -> tuple[float, float]:
    """The stretch of PD over which either share still changes, with a little air."""
    shares = frame[["bad", "good"]]
    moving = frame.loc[(shares.min(axis=1) < 1) & (shares.max(axis=1) > 0), "threshold"]
    if moving.empty:
        return 0.0, 1.0
    air = max(float(moving.max() - moving.min()) * 0.06, 0.005)
    return max(float(moving.min()) - air, 0.0), min(float(moving.max()) + air, 1.02)


def calibration(frame: pd.DataFrame) -> go.Figure:
    """Observed default rate against the mean PD of each bin, with intervals.

    Args:
        frame: `Performance.calibration`.
    """
    if frame.empty:
        return style.nothing("Too few labels to draw it.")
    figure = _diagonal("PD exactly right")
    figure.add_scatter(
        x=frame["pd"],
        y=frame["rate"],
        mode="markers+lines",
        line={"color": style.BLUE, "width": 1.5, "dash": "dot"},
        marker={"size": 9, "color": style.BLUE},
        error_y={
            "type": "data", "symmetric": False, "array": frame["hi"] - frame["rate"],
            "arrayminus": frame["rate"] - frame["lo"], "color": style.BLUE, "thickness": 1.4,
        },
        name="Observed",
        customdata=frame[["lo", "hi", "samples"]].to_numpy(),
        hovertemplate="Predicted %{x:.1%}, observed %{y:.1%} "
        "(%{customdata[0]:.1%} – %{customdata[1]:.1%})<br>%{customdata[2]:,} samples"
        "<extra></extra>",
    )  # fmt: skip
    top = min(1.0, max(float(frame["hi"].max()), float(frame["pd"].max())) * 1.05)
    _unit_axes(figure, "Predicted (mean PD of the bin)", "Observed default rate", top)
    figure.update_xaxes(range=[0, min(top, float(frame["pd"].max()) * 1.25)])
    figure.update_yaxes(range=[-0.03 * top, top])
    return style.finish(figure, height=320, legend=True)


def by_history(frame: pd.DataFrame) -> go.Figure:
    """AUC with interval, and observed against predicted rate, by payments in the window.

    Args:
        frame: `Performance.by_history`.
    """
    if frame.empty:
        return style.nothing("Too few labels to draw it.")
    figure = make_subplots(rows=1, cols=2, subplot_titles=("AUC (95% interval)", "Default rate"))
    frame = frame.reset_index(drop=True).rename_axis("place").reset_index()
    known = frame.dropna(subset=["auc"])
    # Numbered places, so that a history without an AUC keeps its own.
    figure.update_xaxes(
        tickvals=list(range(len(frame))), ticktext=frame["history"].tolist(),
        range=[-0.5, len(frame) - 0.5], title="Payments in the window", showgrid=False,
    )  # fmt: skip
    figure.add_scatter(
        x=known["place"],
        y=known["auc"],
        mode="markers",
        marker={"size": 11, "color": style.BLUE},
        error_y={
            "type": "data", "symmetric": False, "array": known["hi"] - known["auc"],
            "arrayminus": known["auc"] - known["lo"], "color": style.BLUE, "thickness": 1.6,
        },
        customdata=known[["lo", "hi", "samples", "bad"]].to_numpy(),
        hovertemplate="AUC %{y:.3f} (%{customdata[0]:.3f} – %{customdata[1]:.3f})<br>"
        "%{customdata[2]:,} samples, %{customdata[3]:,} bad<extra></extra>",
        showlegend=False,
        row=1, col=1,
    )  # fmt: skip
    figure.add_hline(0.5, line={"color": style.FAINT, "dash": "dash"}, row=1, col=1)
    for column, label, colour, symbol, width in (
        ("mean_pd", "Predicted (mean PD)", style.GREY, "line-ew-open", 3),
        ("default_rate", "Observed", style.VERMILLION, "circle", 0),
    ):
        figure.add_scatter(
            x=frame["place"],
            y=frame[column],
            mode="markers",
            marker={"size": 12, "color": colour, "symbol": symbol, "line": {"width": width}},
            name=label,
            hovertemplate=f"{label}: %{{y:.1%}}<extra></extra>",
            row=1, col=2,
        )  # fmt: skip
    figure.update_yaxes(
        range=[min(0.45, float(known["lo"].min()) - 0.03) if len(known) else 0.45, 1.05],
        tickformat=".1f",
        row=1,
        col=1,
    )
    top = max(float(frame[["mean_pd", "default_rate"]].max(axis=None)), 0.01)
    figure.update_yaxes(tickformat=".0%", range=[-0.05 * top, 1.12 * top], row=1, col=2)
    figure.update_annotations(font={"size": 13})
    style.finish(figure, height=320, top=30)
    figure.update_layout(
        showlegend=True,
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.0, "yref": "container",
                "yanchor": "top"},
        margin={"t": 64},
    )  # fmt: skip
    return figure


def precision_recall(frame: pd.DataFrame) -> go.Figure:
    """Precision against recall, and the share of bad that guessing would give.

    Args:
        frame: `Performance.pr`.
    """
    if frame.empty:
        return style.nothing("Make the workspace again to draw it.")
    # Who declines everybody finds the share of bad among all.
    rate = float(frame.loc[frame["threshold"].idxmin(), "precision"])
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1], y=[rate, rate], mode="lines", hoverinfo="skip", name="Guessing",
        line={"color": style.GREY, "width": 1.5, "dash": "dash"},
    )  # fmt: skip
    figure.add_scatter(
        x=frame["recall"],
        y=frame["precision"],
        mode="lines",
        line={"color": style.BLUE, "width": 2.5, "shape": "hv"},
        name="Model",
        customdata=frame["threshold"],
        hovertemplate="Declined from PD %{customdata:.1%}: %{y:.1%} of them bad, "
        "%{x:.1%} of all bad<extra></extra>",
    )
    _unit_axes(figure, "Bad declined (recall)", "Bad among declined (precision)")
    return style.finish(figure, height=320, legend=True)


def lift(frame: pd.DataFrame) -> go.Figure:
    """How many times as many bad each tenth holds as all samples do, highest PDs first.

    Args:
        frame: `Performance.lift`.
    """
    if frame.empty:
        return style.nothing("Make the workspace again to draw it.")
    figure = go.Figure()
    figure.add_bar(
        x=frame["part"],
        y=frame["lift"],
        marker={"color": style.BLUE},
        customdata=frame[["samples", "bad", "rate", "captured"]].to_numpy(),
        hovertemplate="Tenth %{x}: %{customdata[1]:,.0f} bad of %{customdata[0]:,.0f} "
        "(%{customdata[2]:.1%}), %{y:.1f} times the mean<br>%{customdata[3]:.1%} of all bad up to "
        "here<extra></extra>",
        name="Lift",
    )
    figure.add_hline(1, line={"color": style.GREY, "dash": "dash"})
    figure.update_xaxes(
        title="Tenth of the samples, highest PD first",
        tickvals=frame["part"].tolist(),
        ticktext=[
            f"{row.part}<br>{row.captured:.0%}" for row in frame[["part", "captured"]].itertuples()
        ],
        showgrid=False,
    )
    figure.update_yaxes(title="Times the mean default rate", rangemode="tozero")
    return style.finish(figure, height=320, top=26)


def _diagonal(label: str) -> go.Figure:
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": style.GREY, "width": 1.5, "dash": "dash"},
        name=label,
        hoverinfo="skip",
    )
    return figure


def _unit_axes(figure: go.Figure, x: str, y: str, top: float = 1.0) -> None:
    edge = [0, top if top < 1 else 1.02]
    figure.update_xaxes(title=x, tickformat=".0%", range=edge)
    figure.update_yaxes(title=y, tickformat=".0%", range=edge)
