"""Which merchants get a lane, in which order: the data behind the timeline."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd

#: What the lanes can be sorted by: words on the screen -> how to compute the key.
SORTS = ("Attribution", "Attention", "Spend", "Recency", "Kind")
OTHERS = "others"


@dataclass(frozen=True)
class Lanes:
    """Merchants from top to bottom, and every payment's lane.

    Attributes:
        merchants: one row a lane, top first: merchant (none where several are summed), title,
            payments, money_in, money_out, last, attribution, weight, regular, others (bool: a sum
            of several, either the rest or, sorted by kind, the line above a kind's merchants, in
            which no payment lies).
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
    always: Collection[str] = (),
) -> Lanes:
    """The `most` merchants by `sort`, and all the rest in one lane at the bottom.

    Args:
        merchants: `Explanation.merchants_frame()`.
        payments: `Explanation.payments_frame()`.
        sort: one of `SORTS`; attribution by its size, whichever way it pushes. By kind, the kind
            that moves the score most comes first, and each has a line with its sums.
        most: lanes before the rest is put together; one extra merchant never makes a rest.
        always: merchants that get a lane of their own in any case (the selected ones).
    """
    ordered = merchants.iloc[_key(merchants, sort).argsort(kind="stable")]
    if len(ordered) <= most + 1:
        top, rest = ordered, ordered.iloc[:0]
    else:
        keep = pd.Series(range(len(ordered)), index=ordered.index) < most
        keep |= ordered["merchant"].isin(always)
        top, rest = ordered[keep], ordered[~keep]
    top = top.assign(title=top["merchant"], others=False)
    groups = [top] if sort != "Kind" else _by_kind(top)
    if len(rest):
        groups.append(_together(rest, f"{len(rest)} others together"))
    rows = pd.concat(groups, ignore_index=True) if groups else top
    own = rows[~rows["others"].astype(bool)]
    lane_of = dict(zip(own["segment"], own.index, strict=True))
    lanes = payments["segment"].map(lane_of).fillna(len(rows) - 1).astype(int)
    return Lanes(rows, payments.assign(lane=lanes))


def _by_kind(top: pd.DataFrame) -> list[pd.DataFrame]:
    """Each kind's line and its merchants, one kind after another."""
    sums = top.groupby("kind")["attribution"].sum().abs()
    found = []
    for kind in sums.sort_values(ascending=False, kind="stable").index:
        own = top[top["kind"] == kind]
        found += [_together(own, f"{kind} ({len(own)})".upper()), own]
    return found


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


def _together(rest: pd.DataFrame, title: str) -> pd.DataFrame:
    """One row that sums several; attribution and weight add up, so nothing is lost."""
    sums = rest[["payments", "total", "money_in", "money_out", "attribution", "weight"]].sum()
    return pd.DataFrame(
        [
            {
                **sums,
                "payments": int(sums["payments"]),
                "segment": -1,
                "merchant": "",
                "title": title,
                "regular": False,
                "first": rest["first"].min(),
                "last": rest["last"].max(),
                "others": True,
            }
        ]
    )


def thin(payments: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most about `most` payments that stand for all: the largest in and out of each place.

    A place is a stretch of time in one lane; stretches grow until few enough are left.

    Args:
        payments: of `Lanes`.
        most: payments that can be drawn and told apart.

    Returns:
        Rows of `payments`, in their order, with a column `together`: how many each stands for.
    """
    if len(payments) <= most:
        return payments.assign(together=1)
    times = pd.to_datetime(payments["timestamp"]).astype("int64")
    since = (times - times.min()) / max(int(times.max() - times.min()), 1)
    size = payments["amount"].abs()
    stretches = 1024
    while True:
        place = [payments["lane"], (since * stretches).astype(int), payments["amount"] > 0]
        groups = size.groupby(place)
        if groups.ngroups <= most or stretches == 1:
            break
        stretches //= 2
    kept = groups.idxmax().to_numpy()
    counts = pd.Series(groups.size().to_numpy(), index=kept)
    return payments.loc[payments.index.isin(kept)].assign(together=counts)
