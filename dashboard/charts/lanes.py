"""Which merchants get a lane, in which order: the data behind the timeline."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

#: What the lanes can be sorted by: words on the screen -> how to compute the key.
SORTS = ("Attribution", "Attention", "Spend", "Recency", "Kind")
#: What a line of several merchants sums.
SUMS = ("payments", "total", "money_in", "money_out", "attribution", "weight")

Columns = dict[str, npt.NDArray[Any]]
Rows = npt.NDArray[np.int64]


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
    order = _key(merchants, sort).argsort(kind="stable")
    top, rest = order, order[:0]
    if len(order) > most + 1:
        keep = (np.arange(len(order)) < most) | merchants["merchant"].isin(always).to_numpy()[order]
        top, rest = order[keep], order[~keep]
    # Column by column: to put frames together, and one row for each sum, takes four times as long.
    columns = {name: merchants[name].to_numpy() for name in merchants.columns}
    parts = [_own(columns, top)] if sort != "Kind" else _by_kind(columns, top)
    if len(rest):
        parts.append(_together(columns, rest, f"{len(rest)} others together"))
    rows = pd.DataFrame({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    own = np.flatnonzero(~rows["others"].to_numpy())
    lane_of = np.full(int(merchants["segment"].max()) + 1 if len(merchants) else 0, len(rows) - 1)
    lane_of[rows["segment"].to_numpy()[own]] = own
    return Lanes(rows, payments.assign(lane=lane_of[payments["segment"].to_numpy()]))


def _own(columns: Columns, rows: Rows) -> Columns:
    """A line each."""
    count = len(rows)
    found = {name: values[rows] for name, values in columns.items()}
    return found | {"title": found["merchant"], "others": np.zeros(count, dtype=bool)}


def _by_kind(columns: Columns, top: Rows) -> list[Columns]:
    """Each kind's line and its merchants, one kind after another."""
    kinds, kind = np.unique(columns["kind"][top].astype(str), return_inverse=True)
    sums = np.abs(np.bincount(kind, columns["attribution"][top], minlength=len(kinds)))
    found = []
    for at in np.argsort(-sums, kind="stable"):
        own = top[kind == at]
        title = f"{kinds[at]} ({len(own)})".upper()
        found += [_together(columns, own, title), _own(columns, own)]
    return found


def _key(merchants: pd.DataFrame, sort: str) -> npt.NDArray[Any]:
    """Ascending sort key, so that the most important comes first."""
    if sort == "Attention":
        return -merchants["weight"].to_numpy()
    if sort == "Spend":
        return -(merchants["money_in"] + merchants["money_out"]).to_numpy()
    if sort == "Recency":
        return -merchants["last"].to_numpy().astype(np.int64)
    return -np.abs(merchants["attribution"].to_numpy())


def _together(columns: Columns, rows: Rows, title: str) -> Columns:
    """One line that sums several; attribution and weight add up, so nothing is lost."""
    told: dict[str, Any] = {"segment": -1, "merchant": "", "regular": False}
    told |= {"title": title, "others": True}
    told |= {name: columns[name][rows].sum() for name in SUMS}
    told |= {"first": columns["first"][rows].min(), "last": columns["last"][rows].max()}
    # Nobody's kind, and no interval.
    missing = {name: np.nan if values.dtype == float else None for name, values in columns.items()}
    return {name: np.array([value]) for name, value in (missing | told).items()}


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
