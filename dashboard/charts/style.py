"""One look for all charts: colours that hold on white and on black, margins, readable hover.

Colours are Okabe and Ito's; text, grid and background are left to Streamlit's template, which
follows the light or dark theme. Data text in a figure always comes through `name`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go

from dashboard.components.text import escape

BLUE = "#0072B2"
VERMILLION = "#D55E00"
GREEN = "#009E73"
PURPLE = "#CC79A7"
SKY = "#56B4E9"
ORANGE = "#E69F00"
GREY = "#8A94A0"
#: Riskier is vermillion and safer is blue, wherever an effect on the score is drawn.
UP, DOWN = VERMILLION, BLUE
MONEY_IN, MONEY_OUT = GREEN, PURPLE
#: None of them reads as riskier or safer than another.
COHORTS = (GREEN, PURPLE, SKY, ORANGE)
LABEL_COLOURS = {"good": BLUE, "bad": VERMILLION, "unknown": GREY}
FAINT = "rgba(138,148,160,0.55)"
BAND = "rgba(138,148,160,0.16)"

#: Longest name on an axis, in characters; hover shows all of it.
NAME_WIDTH = 28
#: How a chart is taken away as a picture.
PICTURES = ("PNG", "SVG")


def name(text: object, width: int | None = NAME_WIDTH) -> str:
    """Data text for a tick, an annotation or hover."""
    return escape(text, "chart", width=width)


def config(chart: str, picture: str = PICTURES[0]) -> dict[str, Any]:
    """Plotly's own settings: one button, shown while the pointer is on the chart, saves it.

    Args:
        chart: what it shows; the name of the file.
        picture: one of `PICTURES`.
    """
    return {
        "displaylogo": False,
        "responsive": True,
        "modeBarButtons": [["toImage"]],
        "toImageButtonOptions": {
            "format": picture.lower(), "filename": f"lbsf-{chart}", "scale": 2,
        },
    }  # fmt: skip


def hover_text(text: object, line: int = 60) -> str:
    """Data text for hover: whole, but broken into lines that fit beside the pointer."""
    shown = escape(text)
    lines = [shown[i : i + line] for i in range(0, min(len(shown), 4 * line), line)] or [""]
    return "<br>".join(escape(part, "chart") for part in lines)


def signed_colours(values: Iterable[float]) -> list[str]:
    """`UP` for values that raise the score, `DOWN` for the others."""
    return [UP if value > 0 else DOWN for value in values]


def layout(
    *,
    height: int,
    legend: bool = False,
    left: int = 10,
    right: int = 14,
    top: int = 14,
) -> dict[str, Any]:
    """Margins, legend above the plot (never over data) and a calm hover."""
    return {
        "height": height,
        "margin": {"l": left, "r": right, "t": top + (26 if legend else 0), "b": 10},
        "showlegend": legend,
        "legend": {
            "orientation": "h", "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom",
            "title": {"text": ""}, "itemsizing": "constant", "traceorder": "normal",
        },
        "hoverlabel": {"align": "left"},
        "bargap": 0.15,
        "dragmode": "zoom",
    }  # fmt: skip


#: What every axis has.
AXIS: dict[str, Any] = {"automargin": True, "zeroline": False}


def finish(
    figure: go.Figure,
    *,
    height: int,
    legend: bool = False,
    left: int = 10,
    right: int = 14,
    top: int = 14,
) -> go.Figure:
    """A figure with `layout` and `AXIS`; returns `figure`."""
    figure.update_layout(layout(height=height, legend=legend, left=left, right=right, top=top))
    figure.update_xaxes(AXIS)
    figure.update_yaxes(AXIS)
    return figure


def unchecked(data: Sequence[dict[str, Any]], laid_out: dict[str, Any]) -> go.Figure:
    """A figure from plain traces and layout, for charts that a click draws anew.

    Plotly looks at every property that is set; of the timeline that is 70 ms, with this it is 5.
    The tests check each such figure instead.
    """
    return go.Figure({"data": list(data), "layout": laid_out}, _validate=False)


def nothing(sentence: str, *, height: int = 160) -> go.Figure:
    """An empty figure that says why it is empty, in our own words."""
    figure = go.Figure()
    figure.add_annotation(text=sentence, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return finish(figure, height=height)
