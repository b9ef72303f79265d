"""The merchant-folded timeline: payments first, the explanation on the same lanes.

Three panels share their rows: every payment over time, what the merchant does to the score, and how
much the model looked at it. A row is read from left to right; nothing has to be matched by eye.
Above them stands the money in and out of each month or week, on the same axis of time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from dashboard.charts import style
from dashboard.charts.lanes import Lanes, thin

#: Of more payments each dot stands for all that lie around it. The graphics card could draw more,
#: but many offices' browsers have none.
DOTS = 2_500
ROW = 25
#: Height of the bars of money in and out, and the room below them, in pixels.
MONEY, BETWEEN = 62, 42
#: Shares of the width: payments, attribution, attention; and the room between them.
PANELS, ACROSS = (0.64, 0.2, 0.16), 0.018
#: Windows of at most so many days have their money by week.
WEEKS_UNTIL = 120
#: Days between payments of a regular series after which its line is broken: one is missing.
MISSED = 1.6
ATTRIBUTION_TITLE = "Pushes the score up / down<br>(attribution, logit)"
ATTENTION_TITLE = "Where the model looked<br>(attention, not a cause)"

Times = npt.NDArray[np.datetime64]


def timeline(
    lanes: Lanes,
    *,
    currency: str,
    start: pd.Timestamp | None = None,
    end: pd.Timestamp | None = None,
    selected: str | None = None,
    beside: str | None = None,
) -> go.Figure:
    """Lanes of payments with attribution and attention bars beside them.

    Args:
        lanes: from `arrange`.
        currency: for hover.
        start: left edge of time (the window's start); the first payment when None.
        end: right edge (the cutoff).
        selected: merchant whose lane stands out; the others step back.
        beside: a second one that stands out with it.
    """
    rows = lanes.merchants
    left, right = _span(lanes.payments, start, end)
    every = "week" if (right - left).days <= WEEKS_UNTIL else "month"
    shown = [name for name in (selected, beside) if name is not None]
    summed = rows["others"].to_numpy(dtype=bool)
    named, sums = rows[~summed], rows[summed]
    traces = [
        *_payments(lanes, currency, shown),
        *_bars(named, shown),
        *_series(lanes),
        *_money(lanes.payments, every, currency),
    ]
    inner = len(rows) * ROW
    whole = inner + MONEY + BETWEEN
    panels = [*_widths(PANELS, ACROSS), (0.0, _widths(PANELS, ACROSS)[0][1])]
    heights = [(0.0, inner / whole)] * 3 + [(1.0 - MONEY / whole, 1.0)]
    titles = (
        "Payments, one lane a merchant (↻ regular, its line broken where one is missing)",
        ATTRIBUTION_TITLE,
        ATTENTION_TITLE,
        f"Money in and out by {every} ({style.name(currency)})",
    )
    axes = [_time_axis(left, right), _effect_axis(named), _attention_axis(named), _money_time()]
    ups = [_lane_axis(rows), _lane_axis(rows, first=False), _lane_axis(rows, first=False)]
    ups.append(style.Y_AXIS | {"nticks": 4, "tickformat": "~s"})
    laid_out = style.layout(height=whole + 106, top=30)
    for at, (across, up) in enumerate(zip(axes, ups, strict=True)):
        number = str(at + 1) if at else ""
        laid_out[f"xaxis{number}"] = across | {"anchor": f"y{number}", "domain": panels[at]}
        laid_out[f"yaxis{number}"] = up | {"anchor": f"x{number}", "domain": heights[at]}
    laid_out["annotations"] = [
        {
            "text": title, "x": sum(panels[at]) / 2, "y": heights[at][1], "xref": "paper",
            "yref": "paper", "xanchor": "center", "yanchor": "bottom", "showarrow": False,
            "font": {"size": 12.5},
        }
        for at, title in enumerate(titles)
    ] + _others(sums)  # fmt: skip
    laid_out["shapes"] = [
        {
            "type": "line", "x0": 0, "x1": 0, "y0": 0, "y1": 1, "xref": f"x{at}",
            "yref": f"y{at} domain", "line": {"color": style.FAINT, "width": 1},
        }
        for at in (2, 3)
    ] + [
        {
            "type": "rect", "x0": 0, "x1": 1, "y0": lane - 0.5, "y1": lane + 0.5,
            "xref": f"x{at} domain", "yref": f"y{at}", "fillcolor": style.BAND,
            "line": {"width": 0}, "layer": "below",
        }
        for lane in (rows.index[rows["merchant"].isin(shown)] if shown else ())
        for at in ("", 2, 3)
    ]  # fmt: skip
    laid_out |= {
        "showlegend": True,
        "legend": laid_out["legend"] | {"y": 0, "yref": "container"},
        "margin": laid_out["margin"] | {"b": 68, "l": style.labels_width(ups[0]["ticktext"])},
    }
    return style.unchecked(traces, laid_out)


def _widths(shares: Sequence[float], between: float) -> list[tuple[float, float]]:
    """Where panels of these shares of the width begin and end, with room between them."""
    room = 1.0 - between * (len(shares) - 1)
    found, begin = [], 0.0
    for share in shares:
        end = begin + share / sum(shares) * room
        found.append((begin, min(end, 1.0)))
        begin = end + between
    return found


def _time_axis(left: pd.Timestamp, right: pd.Timestamp) -> dict[str, Any]:
    return style.X_AXIS | {
        "type": "date", "range": [left.isoformat(), right.isoformat()], "nticks": 8,
        "tickformatstops": [
            {"dtickrange": [None, "M1"], "value": "%Y-%m-%d"},
            {"dtickrange": ["M1", None], "value": "%Y-%m"},
        ],
    }  # fmt: skip


def _money_time() -> dict[str, Any]:
    return style.X_AXIS | {"matches": "x", "showticklabels": False, "showgrid": False}


def _attention_axis(named: pd.DataFrame) -> dict[str, Any]:
    reach = max(float(named["weight"].max()) * 1.08, 1e-6)
    return style.X_AXIS | {"tickformat": ".2~%", "range": [0, reach], "nticks": 4}


def _lane_axis(rows: pd.DataFrame, *, first: bool = True) -> dict[str, Any]:
    """The lanes from top to bottom; names stand beside the first panel only."""
    axis = style.Y_AXIS | {"range": [len(rows) - 0.4, -0.6], "showgrid": True, "ticks": ""}
    axis |= {"tickmode": "array", "tickvals": list(range(len(rows)))}
    if not first:
        return axis | {"matches": "y", "showticklabels": False}
    names = zip(rows["title"], rows["regular"], strict=True)
    return axis | {"ticktext": [style.name(name) + " ↻" * bool(again) for name, again in names]}


def dot_size(amounts: np.ndarray) -> np.ndarray:
    """Diameter in pixels: area grows with the amount, from a visible dot to most of a lane."""
    size = np.sqrt(np.abs(amounts))
    reference = float(np.quantile(size, 0.98)) if len(size) else 0.0
    if reference <= 0:
        return np.full(len(size), 7.0)
    return 4.5 + 14.5 * np.clip(size / reference, 0, 1)


def _money(payments: pd.DataFrame, every: str, currency: str) -> Iterator[dict[str, Any]]:
    """Bars of what came in, upwards, and went out, downwards, in each month or week."""
    begun, place = np.unique(_begun(_times(payments), every), return_inverse=True)
    amounts = payments["amount"].to_numpy()
    for title, colour, part in (
        ("Money in", style.MONEY_IN, np.maximum(amounts, 0.0)),
        ("Money out", style.MONEY_OUT, np.minimum(amounts, 0.0)),
    ):
        yield {
            "type": "bar",
            "x": begun,
            "y": np.bincount(place, part, minlength=len(begun)),
            "xaxis": "x4",
            "yaxis": "y4",
            "width": (6 if every == "week" else 26) * 86_400_000,
            "offset": 12 * 3_600_000,
            "marker": {"color": colour, "opacity": 0.72, "line": {"width": 0}},
            "hovertemplate": f"{title.lower()}, {every} of %{{x|%Y-%m-%d}}: %{{y:,.2f}} "
            f"{style.name(currency)}<extra></extra>",
            "showlegend": False,
        }


def _times(payments: pd.DataFrame) -> Times:
    times: Times = payments["timestamp"].to_numpy(dtype="datetime64[us]")
    return times


def _begun(times: Times, every: str) -> Times:
    """When the month, or the week from Monday on, of each instant began."""
    unit = times.astype("datetime64[M]" if every == "month" else "datetime64[D]")
    if every == "week":
        unit -= (unit.astype(np.int64) + 3) % 7  # 1970 began on a Thursday
    return unit.astype("datetime64[us]")


def _series(lanes: Lanes) -> Iterator[dict[str, Any]]:
    """A faint line through each merchant's payments that come regularly."""
    regular = np.flatnonzero(lanes.merchants["regular"].to_numpy(dtype=bool))
    if not len(regular):
        return
    times: list[object] = []
    places: list[float | None] = []
    when, lane = _times(lanes.payments), lanes.payments["lane"].to_numpy()
    for at in regular.tolist():
        own = when[lane == at]
        gaps = np.diff(own).astype(np.int64)
        late = np.flatnonzero(gaps > np.median(gaps) * MISSED) + 1 if len(gaps) else []
        for stretch in np.split(own, late):
            times += [*stretch.tolist(), None]
            places += [float(at)] * len(stretch) + [None]
    yield {
        "type": "scatter", "x": times, "y": places, "xaxis": "x", "yaxis": "y",
        "mode": "lines", "hoverinfo": "skip", "showlegend": False,
        "line": {"color": style.FAINT, "width": 1.5}, "connectgaps": False,
    }  # fmt: skip


def _payments(lanes: Lanes, currency: str, shown: list[str]) -> Iterator[dict[str, Any]]:
    payments = thin(lanes.payments, DOTS)
    hover = _hover_rows(payments)
    amounts, merchants = payments["amount"].to_numpy(), payments["merchant"].to_numpy()
    times, lane, sizes = _times(payments), payments["lane"].to_numpy(), dot_size(amounts).round(1)
    for title, colour, mask, symbol in (
        ("Money in", style.MONEY_IN, amounts > 0, "diamond"),
        ("Money out", style.MONEY_OUT, amounts <= 0, "circle"),
    ):
        rows = np.flatnonzero(mask)
        trace = {
            "type": "scatter",
            "x": times[rows],
            "y": lane[rows],
            "xaxis": "x",
            "yaxis": "y",
            "mode": "markers",
            "name": title,
            "marker": {
                "size": sizes[rows],
                "color": colour,
                "symbol": symbol,
                "opacity": 0.72,
                "line": {"width": 0},
            },
            "selected": {"marker": {"opacity": 0.9}},
            "unselected": {"marker": {"opacity": 0.15 if shown else 0.72}},
            "customdata": [hover[row] for row in rows.tolist()],
            "hovertemplate": "<b>%{customdata[1]}</b><br>%{customdata[2]}<br>%{customdata[3]} "
            f"{currency} · %{{x|%Y-%m-%d %H:%M}}<br>attribution %{{customdata[4]}}"
            "%{customdata[5]}<extra></extra>",
        }
        if shown:
            trace["selectedpoints"] = np.flatnonzero(np.isin(merchants[rows], shown)).tolist()
        yield trace


def _hover_rows(payments: pd.DataFrame) -> list[list[str]]:
    """customdata of the dots: the raw merchant to pick by, then what hover shows."""
    columns = ["merchant", "description", "amount", "attribution", "together"]
    rows = list(zip(*(payments[name].tolist() for name in columns), strict=True))
    texts = dict.fromkeys(text for row in rows for text in row[:2])
    shown = {text: style.hover_text(text) for text in texts}
    return [
        [
            merchant,
            shown[merchant],
            shown[description],
            f"{amount:+,.2f}",
            f"{value:+.2g}",
            "" if together == 1 else f"<br>the largest of {together:,} payments here",
        ]
        for merchant, description, amount, value, together in rows
    ]


def _bars(rows: pd.DataFrame, shown: list[str]) -> Iterator[dict[str, Any]]:
    opacity = [1.0 if not shown or merchant in shown else 0.3 for merchant in rows["merchant"]]
    titles = [style.hover_text(title) for title in rows["title"]]
    both = {
        "type": "bar",
        "y": rows.index.to_numpy(),
        "orientation": "h",
        "unselected": {"marker": {"opacity": 0.3}},
        "customdata": [[m, t] for m, t in zip(rows["merchant"], titles, strict=True)],
        "showlegend": False,
    }
    marker = {"opacity": opacity, "line": {"width": 0}}
    attribution = both | {
        "x": rows["attribution"].to_numpy(),
        "xaxis": "x2",
        "yaxis": "y2",
        "marker": marker | {"color": style.signed_colours(rows["attribution"])},
        "hovertemplate": "<b>%{customdata[1]}</b><br>attribution %{x:+.2r} logit<extra></extra>",
    }
    if (whiskers := _whiskers(rows)) is not None:
        attribution["error_x"] = whiskers
    yield attribution
    yield both | {
        "x": rows["weight"].to_numpy(),
        "xaxis": "x3",
        "yaxis": "y3",
        "marker": marker | {"color": style.GREY},
        "hovertemplate": "<b>%{customdata[1]}</b><br>%{x:.3p} of the attention<extra></extra>",
    }


def _whiskers(rows: pd.DataFrame) -> dict[str, Any] | None:
    """The 95 % intervals of sampled values; None where all are exact."""
    if not (rows["hi"] > rows["lo"]).any():
        return None
    return {
        "type": "data",
        "symmetric": False,
        "array": (rows["hi"] - rows["attribution"]).to_numpy(),
        "arrayminus": (rows["attribution"] - rows["lo"]).to_numpy(),
        "color": style.GREY,
        "thickness": 1.5,
        "width": 3,
    }


def _others(rest: pd.DataFrame) -> list[dict[str, Any]]:
    """The rest's sums in words: a bar for many merchants would shrink everybody else's."""
    return [
        {
            "x": 0, "y": at, "xref": f"x{column}", "yref": f"y{column}", "showarrow": False,
            "xanchor": "left", "text": f"together {text}".replace("-", "−"), "font": {"size": 11},
        }
        for at, value, weight in zip(rest.index, rest["attribution"], rest["weight"], strict=True)
        for column, text in ((2, f"{value:+.3f}"), (3, f"{weight:.0%}"))
    ]  # fmt: skip


def _effect_axis(named: pd.DataFrame) -> dict[str, Any]:
    """A symmetric axis, so that the length of a bar reads the same to both sides."""
    values = np.abs(named[["attribution", "lo", "hi"]].to_numpy(dtype=float))
    reach = float(np.nanmax(values, initial=0.0)) * 1.08
    reach = reach if reach > 0 else 1.0
    size = 10.0 ** np.floor(np.log10(reach))
    # A label near the end would run into the next panel's first one.
    step = next(s * size for s in (5, 2, 1, 0.5) if s * size <= 0.75 * reach)
    digits = max(0, int(-np.floor(np.log10(step))))
    ticks = (f"−{step:.{digits}f}", "0", f"+{step:.{digits}f}")
    return style.X_AXIS | {
        "range": [-reach, reach], "tickvals": [-step, 0, step], "ticktext": ticks,
    }  # fmt: skip


def _span(
    payments: pd.DataFrame, start: pd.Timestamp | None, end: pd.Timestamp | None
) -> tuple[pd.Timestamp, pd.Timestamp]:
    """The window, or the payments where no start is known, with a little air."""
    times = pd.to_datetime(payments["timestamp"])
    left = _naive(start) if start is not None else times.min()
    right = _naive(end) if end is not None else times.max()
    air = (right - left) * 0.015 + pd.Timedelta(hours=12)
    return left - air, right + air


def _naive(value: pd.Timestamp) -> pd.Timestamp:
    stamp = pd.Timestamp(value)
    return stamp.tz_convert(None) if stamp.tzinfo is not None else stamp
