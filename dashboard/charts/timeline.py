"""The merchant-folded timeline: payments first, the explanation on the same lanes.

Three panels share their rows: every payment over time, what the merchant does to the score, and how
much the model looked at it. A row is read from left to right; nothing has to be matched by eye.
Above them stands the money in and out of each month or week, on the same axis of time.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboard.charts import style
from dashboard.charts.lanes import Lanes, thin

#: Of more payments each dot stands for all that lie around it. The graphics card could draw more,
#: but many offices' browsers have none.
DOTS = 2_500
ROW = 25
#: Height of the bars of money in and out, and the room below them, in pixels.
MONEY, BETWEEN = 62, 42
#: Windows of at most so many days have their money by week.
WEEKS_UNTIL = 120
#: Days between payments of a regular series after which its line is broken: one is missing.
MISSED = 1.6
ATTRIBUTION_TITLE = "Pushes the score up / down<br>(attribution, logit)"
ATTENTION_TITLE = "Where the model looked<br>(attention, not a cause)"


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
    inner = len(rows) * ROW
    every = "week" if (right - left).days <= WEEKS_UNTIL else "month"
    figure = make_subplots(
        rows=2,
        cols=3,
        start_cell="bottom-left",  # the lanes' axes stay the first ones
        specs=[[{}, {}, {}], [{}, None, None]],
        shared_yaxes=True,
        column_widths=[0.64, 0.2, 0.16],
        row_heights=[inner, MONEY],
        horizontal_spacing=0.018,
        vertical_spacing=BETWEEN / (inner + MONEY + BETWEEN),
        subplot_titles=(
            "Payments, one lane a merchant (↻ regular, its line broken where one is missing)",
            ATTRIBUTION_TITLE,
            ATTENTION_TITLE,
            f"Money in and out by {every} ({style.name(currency)})",
        ),
    )
    shown = [name for name in (selected, beside) if name is not None]
    _payments(figure, lanes, currency, shown)
    _bars(figure, rows[~rows["others"].astype(bool)], shown)
    _series(figure, lanes)
    _money(figure, lanes.payments, every, currency)
    _others(figure, rows[rows["others"].astype(bool)])
    for column in (2, 3):
        figure.add_vline(0, line={"color": style.FAINT, "width": 1}, row=1, col=column)
    for at in rows.index[rows["merchant"].isin(shown)]:
        for column in (1, 2, 3):
            figure.add_hrect(
                at - 0.5, at + 0.5, fillcolor=style.BAND, line_width=0, layer="below",
                row=1, col=column,
            )  # fmt: skip
    figure.update_yaxes(
        range=[len(rows) - 0.4, -0.6],
        tickmode="array",
        tickvals=list(range(len(rows))),
        ticktext=[
            style.name(title) + " ↻" * bool(again)
            for title, again in zip(rows["title"], rows["regular"], strict=True)
        ],
        showgrid=True,
        ticks="",
        row=1,
    )
    figure.update_xaxes(
        range=[left, right], type="date", nticks=8, row=1, col=1,
        tickformatstops=[
            {"dtickrange": [None, "M1"], "value": "%Y-%m-%d"},
            {"dtickrange": ["M1", None], "value": "%Y-%m"},
        ],
    )  # fmt: skip
    named = rows[~rows["others"].astype(bool)]
    ends = pd.concat([named["attribution"], named["lo"], named["hi"]])
    figure.update_xaxes(_effect_axis(ends), row=1, col=2)
    reach = max(float(named["weight"].max()) * 1.08, 1e-6)
    figure.update_xaxes(tickformat=".2~%", range=[0, reach], nticks=4, row=1, col=3)
    style.finish(figure, height=inner + MONEY + BETWEEN + 96, top=30)
    figure.update_layout(
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": -0.0, "yref": "container", "yanchor": "bottom"},
        margin={"b": 58},
    )
    for title in figure.layout.annotations[:4]:
        title.font = {"size": 12.5}
    return figure


def dot_size(amounts: np.ndarray) -> np.ndarray:
    """Diameter in pixels: area grows with the amount, from a visible dot to most of a lane."""
    size = np.sqrt(np.abs(amounts))
    reference = float(np.quantile(size, 0.98)) if len(size) else 0.0
    if reference <= 0:
        return np.full(len(size), 7.0)
    return 4.5 + 14.5 * np.clip(size / reference, 0, 1)


def _money(figure: go.Figure, payments: pd.DataFrame, every: str, currency: str) -> None:
    """Bars of what came in, upwards, and went out, downwards, in each month or week."""
    start = pd.to_datetime(payments["timestamp"]).dt.to_period(every[0].upper()).dt.start_time
    for title, colour, amounts in (
        ("Money in", style.MONEY_IN, payments["amount"].clip(lower=0)),
        ("Money out", style.MONEY_OUT, payments["amount"].clip(upper=0)),
    ):
        sums = amounts.groupby(start).sum()
        figure.add_trace(
            go.Bar(
                x=sums.index.to_numpy(),
                y=sums.to_numpy(),
                width=[(6 if every == "week" else 26) * 86_400_000] * len(sums),
                offset=12 * 3_600_000,
                marker={"color": colour, "opacity": 0.72, "line": {"width": 0}},
                hovertemplate=f"{title.lower()}, {every} of %{{x|%Y-%m-%d}}: %{{y:,.2f}} "
                f"{style.name(currency)}<extra></extra>",
                showlegend=False,
            ),
            row=2,
            col=1,
        )
    figure.update_xaxes(matches="x", showticklabels=False, showgrid=False, row=2, col=1)
    figure.update_yaxes(nticks=4, tickformat="~s", row=2, col=1)


def _series(figure: go.Figure, lanes: Lanes) -> None:
    """A faint line through each merchant's payments that come regularly."""
    rows = lanes.merchants
    times: list[object] = []
    places: list[float | None] = []
    for at in rows.index[rows["regular"].astype(bool)]:
        own = pd.to_datetime(lanes.payments.loc[lanes.payments["lane"] == at, "timestamp"])
        gaps = own.diff()
        late = gaps > gaps.median() * MISSED
        for when, broken in zip(own, late, strict=True):
            if broken:
                times.append(None)
                places.append(None)
            times.append(when.to_pydatetime())
            places.append(float(at))
        times.append(None)
        places.append(None)
    if times:
        figure.add_trace(
            go.Scatter(
                x=times, y=places, mode="lines", hoverinfo="skip", showlegend=False,
                line={"color": style.FAINT, "width": 1.5}, connectgaps=False,
            ),
            row=1, col=1,
        )  # fmt: skip


def _payments(figure: go.Figure, lanes: Lanes, currency: str, shown: list[str]) -> None:
    payments = thin(lanes.payments, DOTS)
    sizes = pd.Series(dot_size(payments["amount"].to_numpy()), index=payments.index)
    for title, colour, mask, symbol in (
        ("Money in", style.MONEY_IN, payments["amount"] > 0, "diamond"),
        ("Money out", style.MONEY_OUT, payments["amount"] <= 0, "circle"),
    ):
        part = payments[mask]
        chosen = None
        if shown:
            chosen = np.flatnonzero(part["merchant"].isin(shown).to_numpy()).tolist()
        figure.add_trace(
            go.Scatter(
                x=part["timestamp"].to_numpy(),
                y=part["lane"].to_numpy(),
                mode="markers",
                name=title,
                marker={
                    "size": sizes[mask].round(1).to_numpy(),
                    "color": colour,
                    "symbol": symbol,
                    "opacity": 0.72,
                    "line": {"width": 0},
                },
                selectedpoints=chosen,
                selected={"marker": {"opacity": 0.9}},
                unselected={"marker": {"opacity": 0.15 if shown else 0.72}},
                customdata=_hover_rows(part),
                hovertemplate="<b>%{customdata[1]}</b><br>%{customdata[2]}<br>%{customdata[3]} "
                f"{currency} · %{{x|%Y-%m-%d %H:%M}}<br>attribution %{{customdata[4]}}"
                "%{customdata[5]}<extra></extra>",
            ),
            row=1,
            col=1,
        )


def _hover_rows(part: pd.DataFrame) -> list[list[str]]:
    """customdata of the dots: the raw merchant to pick by, then what hover shows."""
    shown = {m: style.hover_text(m) for m in part["merchant"].unique()}
    return [
        [
            merchant,
            shown[merchant],
            style.hover_text(description),
            f"{amount:+,.2f}",
            f"{value:+.2g}",
            "" if together == 1 else f"<br>the largest of {together:,} payments here",
        ]
        for merchant, description, amount, value, together in part[
            ["merchant", "description", "amount", "attribution", "together"]
        ].itertuples(index=False)
    ]


def _bars(figure: go.Figure, rows: pd.DataFrame, shown: list[str]) -> None:
    opacity = [1.0 if not shown or merchant in shown else 0.3 for merchant in rows["merchant"]]
    titles = [style.hover_text(title) for title in rows["title"]]
    custom = [[m, t] for m, t in zip(rows["merchant"], titles, strict=True)]
    figure.add_trace(
        go.Bar(
            x=rows["attribution"],
            y=rows.index,
            orientation="h",
            marker={
                "color": style.signed_colours(rows["attribution"]),
                "opacity": opacity,
                "line": {"width": 0},
            },
            unselected={"marker": {"opacity": 0.3}},
            customdata=custom,
            hovertemplate="<b>%{customdata[1]}</b><br>attribution %{x:+.2r} logit<extra></extra>",
            error_x=_whiskers(rows),
            showlegend=False,
        ),
        row=1,
        col=2,
    )
    figure.add_trace(
        go.Bar(
            x=rows["weight"],
            y=rows.index,
            orientation="h",
            marker={"color": style.GREY, "opacity": opacity, "line": {"width": 0}},
            unselected={"marker": {"opacity": 0.3}},
            customdata=custom,
            hovertemplate="<b>%{customdata[1]}</b><br>%{x:.3p} of the attention<extra></extra>",
            showlegend=False,
        ),
        row=1,
        col=3,
    )


def _whiskers(rows: pd.DataFrame) -> dict[str, object] | None:
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


def _others(figure: go.Figure, rest: pd.DataFrame) -> None:
    """The rest's sums in words: a bar for many merchants would shrink everybody else's."""
    for at, row in rest.iterrows():
        for column, text in ((2, f"{row['attribution']:+.3f}"), (3, f"{row['weight']:.0%}")):
            figure.add_annotation(
                x=0, y=at, row=1, col=column, showarrow=False, xanchor="left",
                text=f"together {text}".replace("-", "−"), font={"size": 11},
            )  # fmt: skip


def _effect_axis(values: pd.Series) -> dict[str, object]:
    """A symmetric axis, so that the length of a bar reads the same to both sides."""
    reach = float(values.abs().max()) * 1.08 if len(values) else 0.0
    reach = reach if reach > 0 else 1.0
    size = 10.0 ** np.floor(np.log10(reach))
    step = next(s * size for s in (5, 2, 1, 0.5) if s * size <= reach)
    digits = max(0, int(-np.floor(np.log10(step))))
    ticks = (f"−{step:.{digits}f}", "0", f"+{step:.{digits}f}")
    return {"range": [-reach, reach], "tickvals": [-step, 0, step], "ticktext": ticks}


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
