"""Charts of the cohort page: two to four groups, each always in its colour, with intervals.

Charts of all groups take their names in order. Charts of two say by `at` which two of them these
are: their colours, and the letters that the page calls them by.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.charts import style

COLOURS = style.COHORTS
SYMBOLS = ("circle", "diamond", "square", "triangle-up")
LETTERS = "ABCD"
Pair = tuple[int, int]


def scores(frame: pd.DataFrame, names: Sequence[str]) -> go.Figure:
    """Share of each cohort per PD bin, as outlines that stay readable where they cross.

    Args:
        frame: `CohortComparison.scores`.
        names: of the cohorts.
    """
    if frame.empty or not frame["samples"].sum():
        return style.nothing("No cohort holds a sample.")
    figure = go.Figure()
    for name, colour in zip(names, COLOURS, strict=False):
        part = frame[frame["cohort"] == name].sort_values("pd_low")
        if part.empty:
            continue
        figure.add_scatter(
            x=[*part["pd_low"], part["pd_high"].iloc[-1]],
            y=[*part["share"], part["share"].iloc[-1]],
            mode="lines",
            line={"shape": "hv", "color": colour, "width": 2.5},
            fill="tozeroy",
            fillcolor=_fade(colour),
            name=style.name(name),
            hovertemplate="PD from %{x:.1%}: %{y:.1%} of the cohort<extra></extra>",
        )
    used = frame[frame["samples"] > 0]
    figure.update_xaxes(
        title="Probability of default (PD)",
        tickformat=".0%",
        range=[0, min(1.0, float(used["pd_high"].max()) * 1.04)],
    )
    figure.update_yaxes(title="Share of cohort", tickformat=".0%", rangemode="tozero")
    return style.finish(figure, height=300, legend=True)


def default_rates(sizes: pd.DataFrame, names: Sequence[str]) -> go.Figure:
    """Observed default rate with its 95% interval, one row a cohort, beside the mean PD."""
    figure = go.Figure()
    for at, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
        row = sizes[sizes["cohort"] == name].iloc[0]
        if row["labelled"]:
            figure.add_scatter(
                x=[row["default_rate"]],
                y=[at],
                error_x=_error(row["default_rate"], row["lo"], row["hi"], colour),
                mode="markers",
                marker={"size": 13, "color": colour, "symbol": SYMBOLS[at]},
                name="Observed default rate",
                customdata=[[row["lo"], row["hi"], row["bad"], row["labelled"]]],
                hovertemplate="%{x:.1%} (%{customdata[0]:.1%} – %{customdata[1]:.1%})<br>"
                "%{customdata[2]:,} of %{customdata[3]:,} labelled<extra></extra>",
                showlegend=at == 0,
            )
        if row["samples"]:
            figure.add_scatter(
                x=[row["mean_pd"]],
                y=[at],
                mode="markers",
                marker={
                    "size": 16,
                    "color": style.GREY,
                    "symbol": "line-ns-open",
                    "line": {"width": 3},
                },
                name="Mean PD",
                hovertemplate="Mean PD %{x:.1%}<extra></extra>",
                showlegend=at == 0,
            )
    top = max(float(sizes[["hi", "mean_pd"]].max(axis=None)), 0.01)
    figure.update_yaxes(
        range=[len(names) - 0.4, -0.6], tickvals=list(range(len(names))),
        ticktext=[style.name(n) for n in names], ticks="",
    )  # fmt: skip
    figure.update_xaxes(
        title="Share that defaulted", tickformat=".1~%", range=[-0.03 * top, 1.06 * top]
    )
    return style.finish(figure, height=300, legend=True)


def over_representation(
    frame: pd.DataFrame, names: tuple[str, str], most: int = 10, at: Pair = (0, 1)
) -> go.Figure:
    """Merchants by how many times as often A pays there as B, on a log axis, with intervals.

    Args:
        frame: `CohortComparison.merchants`.
        names: of both.
        most: merchants drawn from each end: those whose interval lies farthest from no difference,
            because the largest ratios alone are those of the rarest merchants.
        at: which two.
    """
    if frame.empty:
        return style.nothing("No merchant to compare.")
    rows = _best_supported(frame, most).reset_index(drop=True)
    figure = go.Figure()
    for title, mask, opacity in (
        ("Differs (false discovery under 5%)", rows["significant"].astype(bool), 1.0),
        ("May be chance", ~rows["significant"].astype(bool), 0.45),
    ):
        part = rows[mask]
        if part.empty:
            continue
        colours = [COLOURS[at[0] if r > 1 else at[1]] for r in part["ratio"]]
        figure.add_scatter(
            x=part["ratio"],
            y=part.index,
            mode="markers",
            marker={
                "size": 10,
                "color": colours if opacity == 1.0 else style.GREY,
                "symbol": "circle" if opacity == 1.0 else "circle-open",
            },
            error_x={
                "type": "data",
                "symmetric": False,
                "array": part["hi"] - part["ratio"],
                "arrayminus": part["ratio"] - part["lo"],
                "color": style.FAINT,
                "thickness": 1.6,
                "width": 3,
            },
            name=title,
            customdata=[
                [style.hover_text(m), f"{a:.1%}", f"{b:.1%}", f"{lo:.2f}", f"{hi:.2f}"]
                for m, a, b, lo, hi in zip(
                    part["merchant"], part["share_a"], part["share_b"], part["lo"], part["hi"],
                    strict=True,
                )
            ],
            hovertemplate="<b>%{customdata[0]}</b><br>%{x:.2f} times as often "
            "(%{customdata[3]} – %{customdata[4]})<br>"
            f"{style.name(names[0])}: %{{customdata[1]}}, "
            f"{style.name(names[1])}: %{{customdata[2]}}<extra></extra>",
        )  # fmt: skip
    figure.add_vline(1, line={"color": style.FAINT, "width": 1.5})
    _merchant_rows(figure, rows["merchant"].tolist())
    reach = float(np.log10(np.nanmax([rows["hi"].max(), 1 / max(rows["lo"].min(), 1e-3), 2.0])))
    reach = min(reach * 1.05, 1.5)
    steps = (0.1, 0.3, 1, 3, 10) if reach > 0.9 else (0.25, 0.5, 1, 2, 4)
    ticks = [v for v in steps if abs(np.log10(v)) <= reach]
    figure.update_xaxes(
        type="log",
        range=[-reach, reach],
        tickvals=ticks,
        ticktext=[f"{v:g}×" for v in ticks],
        title=f"← more in {LETTERS[at[1]]}   ·   more in {LETTERS[at[0]]} →",
    )
    return style.finish(figure, height=110 + 24 * max(len(rows), 5), legend=True)


def spend(frame: pd.DataFrame, names: Sequence[str], currency: str) -> go.Figure:
    """Mean money out per sample and month that its window covers.

    Args:
        frame: `CohortComparison.spend`.
    """
    if frame.empty:
        return style.nothing("No payment in any cohort.")
    figure = go.Figure()
    for name, colour, symbol in zip(names, COLOURS, SYMBOLS, strict=False):
        part = frame[frame["cohort"] == name].sort_values("month")
        figure.add_scatter(
            x=part["month"],
            y=part["spend"],
            mode="lines+markers",
            line={"color": colour, "width": 2.5},
            marker={"size": 6, "symbol": symbol},
            name=style.name(name),
            customdata=part[["payments"]].to_numpy(),
            hovertemplate=f"%{{x|%Y-%m}}: %{{y:,.2f}} {currency}<br>%{{customdata[0]:.1f}} payments"
            "<extra></extra>",
        )
    figure.update_yaxes(title=f"{currency} a month and user", tickformat=",.0f", rangemode="tozero")
    figure.update_xaxes(type="date", tickformat="%Y-%m")
    return style.finish(figure, height=300, legend=True)


def attributions(
    frame: pd.DataFrame,
    names: tuple[str, str],
    most: int = 15,
    of: str = "merchant",
    at: Pair = (0, 1),
) -> go.Figure:
    """Mean attribution in both cohorts, with intervals, largest difference first.

    Args:
        frame: `CohortComparison.attributions`, or of `Workspace.compare_importance`.
        names: of the cohorts.
        most: rows drawn.
        of: column that names a row.
        at: which two.
    """
    if frame.empty:
        return style.nothing("No attribution to compare.")
    rows = frame.head(most).reset_index(drop=True)
    figure = go.Figure()
    for side, name, place, shift in zip("ab", names, at, (-0.14, 0.14), strict=True):
        colour, symbol = COLOURS[place], SYMBOLS[place]
        mean, lo, hi = rows[f"mean_{side}"], rows[f"lo_{side}"], rows[f"hi_{side}"]
        figure.add_scatter(
            x=mean,
            y=rows.index + shift,
            mode="markers",
            marker={"size": 9, "color": colour, "symbol": symbol},
            error_x={
                "type": "data", "symmetric": False, "array": hi - mean, "arrayminus": mean - lo,
                "color": colour, "thickness": 1.4, "width": 2,
            },
            name=style.name(name),
            customdata=[
                [style.hover_text(m), f"{a:+.2g}", f"{b:+.2g}", f"{n:,}"]
                for m, a, b, n in zip(
                    rows[of], lo, hi, rows[f"samples_{side}"], strict=True
                )
            ],
            hovertemplate="<b>%{customdata[0]}</b><br>%{x:+.2r} logit "
            "(%{customdata[1]} – %{customdata[2]})<br>%{customdata[3]} samples have such payments"
            "<extra></extra>",
        )  # fmt: skip
    figure.add_vline(0, line={"color": style.FAINT, "width": 1.5})
    _merchant_rows(figure, rows[of].tolist())
    figure.update_xaxes(
        title="← lowers the score   ·   mean attribution (logit)   ·   raises it →",
        tickformat="+.2~r",
    )
    return style.finish(figure, height=110 + 27 * max(len(rows), 5), legend=True)


def reason_mix(
    frame: pd.DataFrame, names: tuple[str, str], most: int = 12, at: Pair = (0, 1)
) -> go.Figure:
    """How often a reason code is given in both cohorts, with intervals, largest difference first.

    Args:
        frame: of `Workspace.compare_reasons`.
        names: of both.
        most: codes drawn.
        at: which two.
    """
    if frame.empty:
        return style.nothing("No reason code was asked of these samples.")
    rows = frame.head(most).to_dict("records")
    figure = go.Figure()
    for side, name, place, shift in zip("ab", names, at, (-0.14, 0.14), strict=True):
        shares = [row[f"share_{side}"] for row in rows]
        ends = [(row[f"lo_{side}"], row[f"hi_{side}"]) for row in rows]
        figure.add_scatter(
            x=shares,
            y=[at_row + shift for at_row in range(len(rows))],
            mode="markers",
            marker={
                "size": 9, "color": COLOURS[place], "symbol": SYMBOLS[place],
                "opacity": [1.0 if row["significant"] else 0.5 for row in rows],
            },
            error_x={
                "type": "data", "symmetric": False,
                "array": [hi - share for share, (_, hi) in zip(shares, ends, strict=True)],
                "arrayminus": [share - lo for share, (lo, _) in zip(shares, ends, strict=True)],
                "color": COLOURS[place], "thickness": 1.4, "width": 2,
            },
            name=style.name(name),
            customdata=[
                [style.hover_text(_reason(row)), f"{row[f'given_{side}']:,}",
                 f"{row[f'asked_{side}']:,}", f"{lo:.1%}", f"{hi:.1%}"]
                for row, (lo, hi) in zip(rows, ends, strict=True)
            ],
            hovertemplate="<b>%{customdata[0]}</b><br>%{x:.1%} (%{customdata[3]} – "
            "%{customdata[4]})<br>%{customdata[1]} of %{customdata[2]} samples asked"
            "<extra></extra>",
        )  # fmt: skip
    _merchant_rows(figure, [_reason(row) for row in rows])
    figure.update_xaxes(
        title="share of samples with this reason (pale: may be chance)", tickformat=".0%",
        rangemode="tozero",
    )  # fmt: skip
    return style.finish(figure, height=110 + 27 * max(len(rows), 5), legend=True)


def _reason(row: Mapping[Hashable, object]) -> str:
    """A reason code in words: of which kind of merchant, and what."""
    what = str(row["code"]).replace("-", " ")
    return f"{row['kind']}: {what}" if row["kind"] else what


def shifts(frame: pd.DataFrame, at: Pair = (0, 1)) -> go.Figure:
    """How far score and activity lie apart (PSI), beside what chance alone would give.

    Args:
        frame: `CohortComparison.shifts`.
        at: which two.
    """
    if frame.empty:
        return style.nothing("Nothing to compare.")
    rows = frame.reset_index(drop=True)
    least = 1e-3  # of the axis, which is a log one: PD may lie a hundred times as far as the rest
    figure = go.Figure()
    figure.add_scatter(
        x=rows["psi"].clip(lower=least),
        y=rows.index,
        mode="markers",
        marker={
            "size": 12,
            "color": [style.BLUE if found else style.FAINT for found in rows["significant"]],
        },
        name="PSI (pale: may be chance)",
        customdata=[
            [style.hover_text(name), f"{psi:.3f}", f"{a:,.4g}", f"{b:,.4g}"]
            for name, psi, a, b in zip(
                rows["feature"], rows["psi"], rows["median_a"], rows["median_b"], strict=True
            )
        ],
        hovertemplate="<b>%{customdata[0]}</b>: PSI %{customdata[1]}<br>median %{customdata[2]} "
        f"in {LETTERS[at[0]]}, %{{customdata[3]}} in {LETTERS[at[1]]}<extra></extra>",
    )
    figure.add_scatter(
        x=rows["chance"].clip(lower=least),
        y=rows.index,
        mode="markers",
        marker={
            "size": 14,
            "color": style.VERMILLION,
            "symbol": "line-ns-open",
            "line": {"width": 3},
        },
        name="passed once in twenty by chance",
        hovertemplate="%{x:.3f} by chance<extra></extra>",
    )
    for value in (0.1, 0.25):
        figure.add_vline(value, line={"color": style.FAINT, "width": 1.2, "dash": "dot"})
    _merchant_rows(figure, rows["feature"].tolist())
    ticks = [0.001, 0.01, 0.1, 0.25, 1, 10]
    top = max(float(rows["psi"].max()), 0.5)
    figure.update_xaxes(
        type="log",
        range=[np.log10(least * 0.8), np.log10(top * 1.4)],
        tickvals=ticks,
        ticktext=[f"{value:g}" for value in ticks],
        title="population stability index (log scale)",
    )
    return style.finish(figure, height=110 + 27 * max(len(rows), 5), legend=True)


def _best_supported(frame: pd.DataFrame, most: int) -> pd.DataFrame:
    """The best supported merchants of each side, by ratio."""
    more, less = frame[frame["ratio"] > 1], frame[frame["ratio"] <= 1]
    rows = pd.concat(
        [
            more.sort_values("lo", ascending=False, kind="stable").head(most),
            less.sort_values("hi", kind="stable").head(most),
        ]
    )
    return rows.sort_values("ratio", ascending=False, kind="stable")


def _merchant_rows(figure: go.Figure, merchants: list[str]) -> None:
    figure.update_yaxes(
        range=[len(merchants) - 0.4, -0.6],
        tickvals=list(range(len(merchants))),
        ticktext=[style.name(m) for m in merchants],
        ticks="",
    )


def _error(value: float, lo: float, hi: float, colour: str) -> dict[str, object]:
    return {
        "type": "data", "symmetric": False, "array": [hi - value], "arrayminus": [value - lo],
        "color": colour, "thickness": 2, "width": 6,
    }  # fmt: skip


def _fade(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.12)"
