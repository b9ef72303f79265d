"""Which merchants get a lane, in which order: the data behind the timeline."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

#: What the lanes can be sorted by: words on the screen -> how to compute the key.
SORTS = ("Attribution", "Attention", "Spend", "Recency")
OTHERS = "others"


@dataclass(frozen=True)
class Lanes:
    """Merchants from top to bottom, and every payment's lane.

    Attributes:
        merchants: one row a lane, top first: merchant ("others" carries none), title, payments,
            money_in, money_out, last, attribution, weight, others (bool).
        payments: the payments with a `lane` column (0 = top).
    """

    merchants: pd.DataFrame
    payments: pd.DataFrame


def arrange(
    merchants: pd.DataFrame,
    payments: pd.DataFrame,
    *,
    sort: str = "Attribution",
    most: int = 20,
    always: str | None = None,
) -> Lanes:
    """The `most` merchants by `sort`, and all the rest in one lane at the bottom.

    Args:
        merchants: `Explanation.merchants_frame()`.
        payments: `Explanation.payments_frame()`.
        sort: one of `SORTS`; attribution by its size, whichever way it pushes.
        most: lanes before the rest is put together; one extra merchant never makes a rest.
        always: a merchant that gets a lane of its own in any case (the selected one).
    """
    ordered = merchants.iloc[_key(merchants, sort).argsort(kind="stable")]
    if len(ordered) <= most + 1:
        top, rest = ordered, ordered.iloc[:0]
    else:
        keep = pd.Series(range(len(ordered)), index=ordered.index) < most
        keep |= ordered["merchant"] == always
        top, rest = ordered[keep], ordered[~keep]
    rows = top.assign(title=top["merchant"], others=False)
    if len(rest):
        rows = pd.concat([rows, _together(rest)], ignore_index=True)
    rows = rows.reset_index(drop=True)
    lane_of = dict(zip(top["segment"], range(len(top)), strict=True))
    lanes = payments["segment"].map(lane_of).fillna(len(top)).astype(int)
    return Lanes(rows, payments.assign(lane=lanes))


def _key(merchants: pd.DataFrame, sort: str) -> pd.Series:
    """Ascending sort key, so that the most important comes first."""
    if sort == "Attention":
        return -merchants["weight"]
    if sort == "Spend":
        return -(merchants["money_in"] + merchants["money_out"])
    if sort == "Recency":
        last = pd.to_datetime(merchants["last"])
        return -last.astype("int64")
    return -merchants["attribution"].abs()


def _together(rest: pd.DataFrame) -> pd.DataFrame:
    """One row that sums the rest; attribution and weight add up, so nothing is lost."""
    sums = rest[["payments", "total", "money_in", "money_out", "attribution", "weight"]].sum()
    return pd.DataFrame(
        [
            {
                **sums,
                "payments": int(sums["payments"]),
                "segment": -1,
                "merchant": "",
                "title": f"{len(rest)} others together",
                "first": rest["first"].min(),
                "last": rest["last"].max(),
                "others": True,
            }
        ]
    )
