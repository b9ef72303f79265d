"""How the score adds up: from the baseline to the user, level by level.

The first level goes merchant by merchant, a merchant opens to its payments, and a payment to its
fields. Each level sums to the bar it was opened from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.charts import style
from lbsf_core.workspace import Explanation

#: Bars of a level before the rest is put together; one more never makes a rest.
MOST = 12
ROW = 26


@dataclass(frozen=True)
class Level:
    """One level of the tree.

    Attributes:
        start: logit units where it begins: the baseline's logit, or 0 inside a merchant.
        ends: words of its beginning and its end.
        steps: one row a bar, largest first: title (data text), detail (for hover), value (logit
            units), pick (merchant, or number of the payment; "" = can't be opened).
    """

    start: float
    ends: tuple[str, str]
    steps: pd.DataFrame

    @property
    def total(self) -> float:
        """Logit units where it ends."""
        return self.start + float(self.steps["value"].sum())


def of_merchants(explanation: Explanation) -> Level:
    """From the baseline's logit to the user's."""
    rows = [
        (name, "1 payment" if count == 1 else f"{count:,} payments", float(value), name)
        for name, count, value in zip(
            explanation.merchants,
            np.diff(explanation.offsets),
            explanation.merchant_attributions,
            strict=True,
        )
    ]
    if explanation.others:
        rows.append(("not paying where the baseline pays", "", explanation.others, ""))
    ends = ("Baseline", "This user")
    return Level(explanation.baseline_logit, ends, _largest(rows))


def of_payments(explanation: Explanation, merchant: str) -> Level:
    """From 0 to what a merchant does."""
    at = explanation.merchants.index(merchant)
    rows = [
        (
            _when(explanation, n),
            f"{explanation.amounts[n]:+,.2f} {explanation.descriptions[n]}",
            float(explanation.payment_attributions[n]),
            str(n),
        )
        for n in range(int(explanation.offsets[at]), int(explanation.offsets[at + 1]))
    ]
    return Level(0.0, ("Nothing", "The merchant"), _largest(rows))


def of_fields(explanation: Explanation, payment: int) -> Level:
    """From 0 to what a payment does; no bar where the engine does not go down to fields."""
    values = explanation.field_attributions[payment]
    rows = [(name, "", float(v), "") for name, v in zip(explanation.fields, values, strict=True)]
    return Level(0.0, ("Nothing", "The payment"), _largest(rows))


def _when(explanation: Explanation, payment: int) -> str:
    stamp = np.datetime_as_string(explanation.timestamps[payment], unit="m").replace("T", " ")
    return f"{stamp}  {explanation.amounts[payment]:+,.2f}"


def _largest(rows: list[tuple[str, str, float, str]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["title", "detail", "value", "pick"])
    order = frame["value"].abs().sort_values(ascending=False, kind="stable").index
    frame = frame.loc[order].reset_index(drop=True)
    if len(frame) <= MOST + 1:
        return frame
    rest = frame.iloc[MOST:]
    together = (f"{len(rest)} others together", "", float(rest["value"].sum()), "")
    return pd.concat(
        [frame.iloc[:MOST], pd.DataFrame([together], columns=frame.columns)], ignore_index=True
    )


def waterfall(level: Level) -> go.Figure:
    """Bars one below another, each beginning where the one above ended."""
    steps, count = level.steps, len(level.steps)
    ends = level.start + steps["value"].cumsum()
    begins = ends - steps["value"]
    shown = [style.hover_text(title) for title in steps["title"]]
    figure = go.Figure()
    figure.add_bar(
        x=steps["value"],
        base=begins,
        y=np.arange(1, count + 1),
        orientation="h",
        marker={"color": style.signed_colours(steps["value"]), "line": {"width": 0}},
        unselected={"marker": {"opacity": 1.0}},
        text=[f"{value:+.3f}".replace("-", "−") for value in steps["value"]],
        textposition="outside",
        cliponaxis=False,
        customdata=[
            [pick, title, style.hover_text(detail), f"{value:+.4f}"]
            for pick, title, detail, value in zip(
                steps["pick"], shown, steps["detail"], steps["value"], strict=True
            )
        ],
        hovertemplate="<b>%{customdata[1]}</b><br>%{customdata[2]}<br>%{customdata[3]} logit"
        "<extra></extra>",
        showlegend=False,
    )
    marks = [level.start, level.total]
    figure.add_scatter(
        x=marks,
        y=[0, count + 1],
        mode="markers+text",
        marker={"symbol": "diamond", "size": 11, "color": style.GREY},
        text=[f"  {value:.3f}".replace("-", "−") for value in marks],
        textposition="middle right",
        hoverinfo="skip",
        showlegend=False,
        cliponaxis=False,
    )
    for at, x in enumerate([level.start, *ends]):
        figure.add_shape(
            type="line", x0=x, x1=x, y0=at, y1=at + 1, line={"color": style.FAINT, "width": 1},
            layer="below",
        )  # fmt: skip
    reach = np.array([*marks, *begins, *ends])
    air = max(float(np.ptp(reach)), 1e-6) * 0.14
    figure.update_xaxes(
        range=[reach.min() - air, reach.max() + air], title={"text": "logit", "standoff": 4}
    )
    figure.update_yaxes(
        range=[count + 1.6, -0.6],
        tickvals=list(range(count + 2)),
        ticktext=[level.ends[0], *(style.name(title) for title in steps["title"]), level.ends[1]],
        showgrid=False,
        ticks="",
    )
    return style.finish(figure, height=(count + 2) * ROW + 62)
