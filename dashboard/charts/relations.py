"""Relation weights between merchants: as a heat map that can be clicked, and as a graph."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from dashboard.charts import style

Floats = npt.NDArray[np.float64]
#: Merchants drawn: more squares than this can be neither read nor hit.
MOST = 14
#: Lines drawn at most: more than this hide each other.
LINES = 40


def pick(merchants: pd.DataFrame, *, most: int = MOST, always: Collection[str] = ()) -> list[int]:
    """Segments worth drawing: by attention and size of attribution, the selected ones included.

    Args:
        merchants: `Explanation.merchants_frame()`.
    """
    effect = merchants["attribution"].abs()
    score = merchants["weight"] / max(merchants["weight"].max(), 1e-12) + effect / max(
        effect.max(), 1e-12
    )
    order = score.sort_values(ascending=False, kind="stable").index[:most]
    chosen = [int(s) for s in merchants.loc[order, "segment"]]
    wanted = merchants.loc[merchants["merchant"].isin(always), "segment"]
    missing = [int(segment) for segment in wanted if int(segment) not in chosen]
    return chosen + missing if len(chosen) < most else chosen[: most - len(missing)] + missing


def heat_map(weights: Floats, names: list[str], selected: str | None = None) -> go.Figure:
    """Row = the merchant that looks, column = the merchant looked at.

    Heat maps do not report clicks, so every cell carries an invisible square that does: it picks
    the merchant of its row, and that of its column beside it.

    Args:
        weights: (K, K) relation weights.
        names: (K,) raw merchant names.
        selected: merchant whose row and column are framed.
    """
    count = len(names)
    ticks = [style.name(n, 20) for n in names]
    grid = np.indices((count, count)).reshape(2, -1)
    figure = go.Figure()
    figure.add_heatmap(
        z=weights,
        colorscale="Cividis",
        xgap=1,
        ygap=1,
        hoverinfo="skip",
        colorbar={
            "tickformat": _ticks(weights),
            "thickness": 10,
            "outlinewidth": 0,
            "title": {"text": ""},
        },
    )
    figure.add_scatter(
        x=grid[1],
        y=grid[0],
        mode="markers",
        marker={"symbol": "square", "size": 20, "color": "rgba(0,0,0,0)", "opacity": 0.01},
        selected={"marker": {"opacity": 0.01}},
        unselected={"marker": {"opacity": 0.01}},
        customdata=[
            [
                names[r],
                names[c],
                style.hover_text(names[r]),
                style.hover_text(names[c]),
                f"{weights[r, c]:.2%}",
            ]
            for r, c in grid.T
        ],
        hovertemplate="<b>%{customdata[2]}</b> looks at<br><b>%{customdata[3]}</b>: "
        "%{customdata[4]}<extra></extra>",
        showlegend=False,
    )
    if selected in names:
        at = names.index(selected)
        frame = {"line": {"color": style.VERMILLION, "width": 2}, "fillcolor": "rgba(0,0,0,0)"}
        figure.add_shape(type="rect", x0=-0.5, x1=count - 0.5, y0=at - 0.5, y1=at + 0.5, **frame)
        figure.add_shape(type="rect", x0=at - 0.5, x1=at + 0.5, y0=-0.5, y1=count - 0.5, **frame)
    places = list(range(count))
    figure.update_yaxes(
        range=[count - 0.5, -0.5], tickvals=places, ticktext=ticks, showgrid=False, ticks=""
    )
    figure.update_xaxes(
        range=[-0.5, count - 0.5], tickvals=places, ticktext=ticks, tickangle=-50, showgrid=False,
        ticks="",
    )  # fmt: skip
    return style.finish(figure, height=_height(count))


def _ticks(weights: Floats) -> str:
    """As many decimals as it takes to tell the colours apart."""
    spread = float(weights.max() - weights.min()) if weights.size else 1.0
    return ".0%" if spread > 0.08 else ".1%" if spread > 0.008 else ".2%"


def _height(count: int) -> int:
    return 190 + 22 * max(count, 4)


def graph(
    weights: Floats,
    merchants: pd.DataFrame,
    selected: str | None = None,
    *,
    interactions: Floats | None = None,
    weakest: float = 0.4,
) -> go.Figure:
    """The strongest relations as lines between merchants on a circle.

    Nodes are sized by money moved and coloured by what they do to the score; a line's width is the
    stronger of its two directions. The middle of a line tells both directions and picks both ends.

    Args:
        weights: (K, K) relation weights.
        merchants: (K) rows of `Explanation.merchants_frame()`, in the order of `weights`.
        selected: the merchant whose lines stand out.
        interactions: (K, K) logit units, measured: what two are worth together beyond each alone.
        weakest: line that is drawn, 0-1 on the way from the weakest of all pairs to the strongest.
    """
    count = len(merchants)
    names = merchants["merchant"].tolist()
    angle = np.pi / 2 - 2 * np.pi * np.arange(count) / max(count, 1)
    x, y = np.cos(angle), np.sin(angle)
    figure = go.Figure()
    drawn = strongest(weights, weakest, _place(names, selected))
    for a, b, strength in drawn:
        near = selected is None or selected in (names[a], names[b])
        figure.add_scatter(
            x=[x[a], x[b]],
            y=[y[a], y[b]],
            mode="lines",
            line={"width": 0.8 + 6 * strength, "color": style.GREY},
            opacity=(0.25 + 0.6 * strength) if near else 0.08,
            hoverinfo="skip",
            showlegend=False,
        )
    figure.add_scatter(
        x=[(x[a] + x[b]) / 2 for a, b, _ in drawn],
        y=[(y[a] + y[b]) / 2 for a, b, _ in drawn],
        mode="markers",
        marker={"size": 14, "opacity": 0.01, "color": style.GREY},
        selected={"marker": {"opacity": 0.01}},
        unselected={"marker": {"opacity": 0.01}},
        customdata=[
            [names[a], names[b], *(style.hover_text(names[at], 40) for at in (a, b)),
             relation_words(weights, a, b), interaction_words(interactions, a, b)]
            for a, b, _ in drawn
        ],
        hovertemplate="<b>%{customdata[2]}</b> and <b>%{customdata[3]}</b><br>%{customdata[4]}<br>"
        "%{customdata[5]}<extra></extra>",
        showlegend=False,
    )  # fmt: skip
    moved = np.sqrt((merchants["money_in"] + merchants["money_out"]).to_numpy(dtype=float))
    size = 12 + 20 * (moved / moved.max() if count and moved.max() > 0 else np.zeros(count))
    figure.add_scatter(
        x=x,
        y=y,
        mode="markers",
        marker={
            "size": size,
            "color": style.signed_colours(merchants["attribution"]),
            "opacity": [
                1.0 if selected is None or linked(weights, names, n, selected) else 0.3
                for n in names
            ],
            "line": {"width": [3 if n == selected else 0 for n in names], "color": style.GREY},
        },
        unselected={"marker": {"opacity": 0.3}},
        customdata=[
            [n, "", style.hover_text(n), f"{v:+.3f}", f"{w:.1%}"]
            for n, v, w in zip(names, merchants["attribution"], merchants["weight"], strict=True)
        ],
        hovertemplate="<b>%{customdata[2]}</b><br>attribution %{customdata[3]} logit<br>"
        "attention %{customdata[4]}<extra></extra>",
        showlegend=False,
    )
    for at, label in enumerate(names):
        side = "left" if x[at] > 0.15 else "right" if x[at] < -0.15 else "center"
        figure.add_annotation(
            x=x[at] * 1.13, y=y[at] * 1.13, text=style.name(label, 20), showarrow=False,
            xanchor=side, font={"size": 12},
            yanchor="middle" if side != "center" else ("bottom" if y[at] > 0 else "top"),
        )  # fmt: skip
    figure.update_xaxes(range=[-2.15, 2.15], visible=False)
    figure.update_yaxes(range=[-1.32, 1.32], visible=False)
    return style.finish(figure, height=_height(count))


def _place(names: list[str], selected: str | None) -> int | None:
    return names.index(selected) if selected in names else None


def relation_words(weights: Floats, a: int, b: int) -> str:
    """How much two merchants look at each other, there and back."""
    return f"looks {weights[a, b]:.1%}, looked at {weights[b, a]:.1%}"


def interaction_words(interactions: Floats | None, a: int, b: int) -> str:
    """What was measured of the two together."""
    if interactions is None:
        return ""
    return f"together beyond each alone {interactions[a, b]:+.3f} logit".replace("-", "−")


def strongest(
    weights: Floats, weakest: float = 0.0, selected: int | None = None
) -> list[tuple[int, int, float]]:
    """(a, b, strength 0-1) of the strongest pairs, weakest first; 0 is the weakest of all pairs.

    Those of a strength of `weakest` and more, `LINES` at most; the five strongest pairs of
    `selected` are always among them.
    """
    both = np.maximum(weights, weights.T)
    a, b = np.triu_indices(len(weights), 1)
    if not len(a):
        return []
    values = both[a, b]
    low, top = float(values.min()), float(values.max())
    # Weights that hardly differ must not look as if they did.
    strength = (values - low) / max(top - low, 0.25 * top, 1e-12)
    order = np.argsort(-values, kind="stable")
    own = order[(a[order] == selected) | (b[order] == selected)][:5]
    reach = weakest * float(strength.max())
    kept = np.unique(np.concatenate([order[strength[order] >= reach][:LINES], own]))
    order = kept[np.argsort(values[kept], kind="stable")]
    return [(int(a[i]), int(b[i]), float(strength[i])) for i in order]


def linked(weights: Floats, names: list[str], name: str, selected: str | None) -> bool:
    """Whether `name` is the selected merchant, or among the five that go with it most."""
    if selected not in names:
        return True
    both = np.maximum(weights, weights.T)[names.index(selected)].copy()
    both[names.index(selected)] = 0
    best = {names[i] for i in np.argsort(-both)[:5]}
    return name == selected or name in best
