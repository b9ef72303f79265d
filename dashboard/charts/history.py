"""Score over time: the PD as it stood at earlier cutoffs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import plotly.graph_objects as go

from dashboard.charts import style
from dashboard.components import formats


class Standing(Protocol):
    """A score at a cutoff, as the workspace hands it out."""

    cutoff: datetime
    pd: float
    payments: int
    whole: bool


def score_history(standings: Sequence[Standing]) -> go.Figure:
    """The PD month by month; hollow where payments before the window's start are not known.

    Args:
        standings: oldest first; the last is today's.
    """
    line = {
        "type": "scatter",
        "x": [one.cutoff for one in standings],
        "y": [one.pd for one in standings],
        "mode": "lines+markers",
        "line": {"color": style.GREY, "width": 2},
        "marker": {
            "size": 8,
            "color": style.BLUE,
            "symbol": ["circle" if one.whole else "circle-open" for one in standings],
        },
        "customdata": [
            [
                formats.day(one.cutoff),
                formats.percent(one.pd),
                formats.plural(one.payments, "payment"),
            ]
            for one in standings
        ],
        "hovertemplate": "%{customdata[0]}: PD %{customdata[1]}<br>%{customdata[2]}<extra></extra>",
    }
    # Plotly's own ticks name a month twice where there are few.
    named = sorted({0, len(standings) // 2, len(standings) - 1})
    ticks = [standings[at].cutoff for at in named]
    axes = {
        "xaxis": style.X_AXIS | {"tickvals": ticks, "tickformat": "%b %Y"},
        "yaxis": style.Y_AXIS | {"tickformat": ".0%", "rangemode": "tozero", "nticks": 4},
    }
    return style.unchecked(
        [line], style.layout(height=150, left=style.NUMBERS, bottom=style.BELOW) | axes
    )
