"""Charts that hold the model against others: contestants, methods of explanation, later samples."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts import style

#: A population stability index by custom: from here on it is watched; from here on it is another.
WATCH, ANOTHER = 0.1, 0.25
_COLOURS = (style.BLUE, style.VERMILLION, style.GREEN, style.PURPLE, style.SKY, style.GREY)
_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "x")


def contestants(frame: pd.DataFrame) -> go.Figure:
    """AUC of every contestant with its interval, best at the top; controls in grey.

    Args:
        frame: `Performance.contestants`.
    """
    frame = frame[frame["name"] != "lightgbm"].sort_values("auc")  # it stands twice
    names = frame["about"].map(lambda text: style.name(text, 60))
    figure = go.Figure()
    for control, label, colour in (
        (False, "Contestant", style.BLUE),
        (True, "LBSF with something changed", style.GREY),
    ):
        rows = frame[frame["control"] == control]
        if rows.empty:
            continue
        figure.add_scatter(
            x=rows["auc"],
            y=names[rows.index],
            mode="markers",
            marker={"color": colour, "size": 9},
            error_x={
                "array": rows["hi"] - rows["auc"],
                "arrayminus": rows["auc"] - rows["lo"],
                "thickness": 1.5,
                "width": 0,
            },
            name=label,
            hovertemplate="%{y}: AUC %{x:.3f}<extra></extra>",
        )
    figure.update_yaxes(categoryorder="array", categoryarray=names.tolist(), automargin=True)
    figure.update_xaxes(title="AUC", tickformat=".2f")
    return style.finish(figure, height=120 + 26 * len(frame), legend=True)


def faithfulness(methods: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """What the score does when a method's first are taken out or kept alone, best at the top.

    Args:
        methods: name -> {"comprehensiveness", "sufficiency"}, each 0 = least, 1 = most.
    """
    names = sorted(methods, key=lambda name: methods[name]["comprehensiveness"])
    shown = [style.name(name.capitalize()) for name in names]
    figure = go.Figure()
    for key, label, colour, symbol in (
        ("comprehensiveness", "taken out (comprehensiveness)", style.BLUE, "circle"),
        ("sufficiency", "kept alone (sufficiency)", style.VERMILLION, "diamond"),
    ):
        figure.add_scatter(
            x=[methods[name][key] for name in names],
            y=shown,
            mode="markers",
            marker={"color": colour, "size": 10, "symbol": symbol},
            name=label,
            hovertemplate="%{y}: %{x:.2f}<extra></extra>",
        )
    figure.update_xaxes(
        range=[0, 1.02], tickformat=".1f", title="of the most that any order reaches"
    )
    return style.finish(figure, height=110 + 30 * len(names), legend=True)


def drift(frame: pd.DataFrame) -> go.Figure:
    """How far each period lies from the reference, by feature; hollow where it may be chance.

    Args:
        frame: `Drift.periods`.
    """
    if frame.empty:
        return style.nothing("No period has enough samples to be compared.")
    figure = go.Figure()
    for at, (feature, rows) in enumerate(frame.groupby("feature", sort=False)):
        colour, symbol = _COLOURS[at % len(_COLOURS)], _SYMBOLS[at % len(_SYMBOLS)]
        figure.add_scatter(
            x=rows["start"],
            y=rows["psi"],
            mode="lines+markers",
            line={"color": colour, "width": 1.5},
            marker={
                "size": 9,
                "color": colour,
                "symbol": [symbol if sure else f"{symbol}-open" for sure in rows["significant"]],
            },
            name=style.name(str(feature)),
            customdata=rows[["samples", "chance", "median", "reference"]].to_numpy(),
            hovertemplate="From %{x|%B %Y}: PSI %{y:.3f} (chance passes %{customdata[1]:.3f} once "
            "in twenty)<br>median %{customdata[2]:,.3~f}, in the reference "
            "%{customdata[3]:,.3~f}<br>"
            "%{customdata[0]:,} samples",
        )
    for level, words in ((WATCH, "watch"), (ANOTHER, "another population")):
        figure.add_hline(
            level, line={"color": style.GREY, "dash": "dash", "width": 1},
            annotation={"text": words, "font": {"size": 11}}, annotation_position="top left",
        )  # fmt: skip
    starts = frame["start"].drop_duplicates()
    figure.update_xaxes(
        tickvals=list(starts) if len(starts) <= 8 else None, tickformat="%b %Y", showgrid=False
    )
    top = max(float(frame["psi"].max()) * 1.1, ANOTHER * 1.2)
    figure.update_yaxes(title="PSI", range=[0, top], tickformat=".2f")
    return style.finish(figure, height=320, legend=True)
