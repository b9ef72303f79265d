"""One look for all charts: colours that hold on white and on black, margins, readable hover.

Colours are Okabe and Ito's; text, grid and background are left to Streamlit's template, which
follows the light or dark theme. Data text in a figure always comes through `name`.
"""

from __future__ import annotations

import html
import math
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
from _plotly_utils.utils import to_typed_array_spec

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

_NARROW, _WIDE = frozenset("fijlrtI.,:;'|!()[]-· "), frozenset("mwMW@%—…↻")
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
    bottom: int = 10,
) -> dict[str, Any]:
    """Margins, legend above the plot (never over data) and a calm hover."""
    return {
        "height": height,
        "margin": {"l": left, "r": right, "t": top + (28 if legend else 0), "b": bottom},
        "showlegend": legend,
        "legend": {
            "orientation": "h", "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom",
            "title": {"text": ""}, "itemsizing": "constant", "traceorder": "normal",
        },
        "hoverlabel": {"align": "left"},
        "bargap": 0.15,
        "dragmode": "zoom",
    }  # fmt: skip


#: What every axis has, across and up. A margin that turns out too narrow grows, but then the chart
#: is drawn twice: `finish` and `labels_width` leave room enough from the start.
X_AXIS: dict[str, Any] = {"zeroline": False, "automargin": "height"}
Y_AXIS: dict[str, Any] = {"zeroline": False, "automargin": "width", "ticklabeloverflow": "allow"}
#: Room for tick labels that are numbers, beside and below a chart, and for an axis's title.
NUMBERS, BELOW, TITLE = 52, 38, 28


def labels_width(labels: Iterable[str], size: float = 12.0) -> int:
    """About how wide the widest of some tick labels is, in pixels; rather too wide."""
    widest = max((sum(map(_letter, html.unescape(label))) for label in labels), default=0.0)
    return math.ceil(widest * size) + 22


def _letter(letter: str) -> float:
    """Width of a letter over the size of its font."""
    if letter in _NARROW:
        return 0.3
    if letter in _WIDE or unicodedata.east_asian_width(letter) in "WF":
        return 0.95
    return 0.62 if letter.isupper() else 0.47


def finish(
    figure: go.Figure,
    *,
    height: int,
    legend: bool = False,
    left: int = 10,
    right: int = 14,
    top: int = 14,
) -> go.Figure:
    """A figure with `layout` and both axes, and room for its labels; returns `figure`."""
    laid_out = layout(height=height, legend=legend, left=left, right=right, top=top)
    across = figure.layout.xaxis
    if across.visible is not False:
        laid_out["margin"] |= {
            "l": max(left, _beside(figure.layout.yaxis)),
            "b": BELOW + TITLE * bool(across.title.text),
        }
    figure.update_layout(laid_out)
    figure.update_xaxes(X_AXIS)
    figure.update_yaxes(Y_AXIS)
    return figure


def _beside(axis: Any) -> int:  # noqa: ANN401 - plotly's axes
    """Room for an axis's labels and title, in pixels."""
    if axis.visible is False or axis.showticklabels is False:
        return 0
    named = axis.ticktext is not None
    return (labels_width(axis.ticktext) if named else NUMBERS) + TITLE * bool(axis.title.text)


class Plain(go.Figure):  # type: ignore[misc]
    """A figure of plain traces and layout, which becomes plotly's own when somebody asks more of it
    than to be sent.

    Plotly looks at every property that is set, and copies all of them twice before they are sent:
    the timeline takes 76 ms with the first, and 9 and not 5 with the second alone. The tests check
    each such figure instead.
    """

    def __init__(self, data: Sequence[dict[str, Any]], laid_out: dict[str, Any]) -> None:
        self.__dict__["_plain"] = {"data": list(data), "layout": laid_out}

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a figure has
        plain = self.__dict__.pop("_plain", None)
        if plain is None:
            raise AttributeError(name)
        super().__init__(plain, _validate=False)
        return getattr(self, name)

    def to_dict(self) -> dict[str, Any]:
        """As plotly writes it, arrays in its own short form."""
        if "_plain" in self.__dict__:
            found: dict[str, Any] = _sendable(self.__dict__["_plain"])
            return found | {
                "layout": {"template": _template(pio.templates.default)} | found["layout"]
            }
        return dict(super().to_dict())


@lru_cache
def _template(name: str) -> dict[str, Any]:
    """Plotly's template of this name: what every figure begins with."""
    found = pio.templates[name]
    return dict(found if isinstance(found, dict) else found.to_plotly_json())


def _sendable(value: Any) -> Any:  # noqa: ANN401 - any part of a figure
    """A copy whose arrays are written as plotly.js reads them."""
    if isinstance(value, dict):
        return {name: _sendable(part) for name, part in value.items()}
    if isinstance(value, np.ndarray):
        return to_typed_array_spec(value)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [_sendable(part) for part in value]
    return value


def unchecked(data: Sequence[dict[str, Any]], laid_out: dict[str, Any]) -> go.Figure:
    """A figure from plain traces and layout, for charts that a click draws anew; see `Plain`."""
    return Plain(data, laid_out)


def titled(
    data: Sequence[dict[str, Any]],
    across: dict[str, Any],
    up: dict[str, Any],
    *,
    height: int,
    more: dict[str, Any] | None = None,
) -> go.Figure:
    """An `unchecked` chart of one panel whose axes have titles, with its legend above.

    Args:
        data: traces.
        across, up: the axes.
        height: in pixels.
        more: of the layout.
    """
    room = {"left": NUMBERS + TITLE, "bottom": BELOW + TITLE}
    laid_out = layout(height=height, legend=True, **room) | (more or {})
    return unchecked(data, laid_out | {"xaxis": X_AXIS | across, "yaxis": Y_AXIS | up})


def nothing(sentence: str, *, height: int = 160) -> go.Figure:
    """An empty figure that says why it is empty, in our own words."""
    figure = go.Figure()
    figure.add_annotation(text=sentence, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return finish(figure, height=height)
