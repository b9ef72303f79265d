"""The queue as a table: a click on a row's button opens the user."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.components import formats
from dashboard.components.text import visible_frame
from lbsf_core.workspace import Summary

OPEN = "Open"
SORTS = {
    "Highest PD": ("pd", True),
    "Lowest PD": ("pd", False),
    "Most payments": ("payments", True),
    "Most money out": ("money_out", True),
    "Latest payment": ("last_payment", True),
    "Latest cutoff": ("cutoff", True),
    "User id": ("user_id", False),
}
#: Orders that only some workspaces have, and the columns that they are about.
CHANGE, LOSS = "Largest change since last scoring", "Largest expected loss"
METHODS = "Methods disagree most"
ABOUT = {
    CHANGE: ("previous_pd", "change"),
    LOSS: ("at_stake", "expected_loss"),
    METHODS: ("disagreement",),
}


def orders(summary: Summary) -> dict[str, tuple[str, bool]]:
    """Word on the screen -> column that it sorts by, and whether the largest come first."""
    found = dict(SORTS)
    if summary.scored_before:
        found[CHANGE] = ("change", True)
    if summary.at_stake:
        found[LOSS] = ("expected_loss", True)
    if summary.explained_twice:
        found[METHODS] = ("disagreement", True)
    return found


def show(rows: pd.DataFrame, currency: str, order: str) -> None:
    """Draw `Workspace.queue` rows; opens the user page when one is clicked.

    Args:
        rows: one page of the queue.
        currency: of the amounts.
        order: one of `orders`; what it is about stands beside the PD.
    """
    table = visible_frame(rows.drop(columns=["sample"], errors="ignore"))
    for share in ("pd", "previous_pd", "change", "disagreement"):
        table[share] = rows[share] * 100
    table.insert(0, "open", OPEN)
    st.dataframe(
        table,
        hide_index=True,
        height="content" if len(table) <= 10 else 388,
        row_height=35,
        alt="Queue of scored users, one row a user and cutoff",
        column_order=[
            "open", "rank", "user_id", "pd", *ABOUT.get(order, ()), "band", "label", "cutoff",
            "payments", "merchants", "activity", "money_out", "money_in", "top_merchant",
        ],
        column_config=_columns(currency),
    )  # fmt: skip
    click = st.session_state.get("queue_click")
    if click is not None and click["row"] < len(rows):
        row = rows.iloc[int(click["row"])]
        state.open_user_page(str(row["user_id"]), row["cutoff"].to_pydatetime())


def _columns(currency: str) -> dict[str, object]:
    kind = st.column_config
    return {
        "open": kind.ButtonColumn("", width=58, key="queue_click", pinned=True, type="tertiary"),
        "rank": kind.NumberColumn("Rank", format=formats.TABLE_COUNT, width=50),
        "user_id": kind.TextColumn("User", width=90),
        "pd": kind.ProgressColumn(
            "PD", min_value=0.0, max_value=100.0, format="%.1f%%", width=105,
            help="Calibrated probability of default.",
        ),
        "previous_pd": kind.NumberColumn(
            "PD before", format="%.1f%%", width=78, help="At the user's last scoring before."
        ),
        "change": kind.NumberColumn(
            "Change", format="%+.1f", width=66, help="In percentage points since then."
        ),
        "at_stake": kind.NumberColumn(
            f"At stake ({currency})", format=formats.TABLE_MONEY, width=100
        ),
        "expected_loss": kind.NumberColumn(
            f"Expected loss ({currency})", format=formats.TABLE_MONEY, width=128,
            help="PD times the amount at stake, were all of it lost.",
        ),
        "disagreement": kind.NumberColumn(
            "Disagreement", format="%.0f%%", width=104,
            help="How much of what gradients and removal say about the merchants is not said by "
            "the other: 0% the same story, 100% nothing in common.",
        ),
        "band": kind.TextColumn("Band", width=72),
        "label": kind.TextColumn("Label", width=68),
        "cutoff": kind.DatetimeColumn(
            "Cutoff", format=formats.TABLE_DATE, width=86, timezone="UTC"
        ),
        "payments": kind.NumberColumn("Payments", format=formats.TABLE_COUNT, width=74),
        "merchants": kind.NumberColumn("Merchants", format=formats.TABLE_COUNT, width=78),
        "activity": kind.AreaChartColumn(
            "Spend", width=100, y_min=0, help="Money out in each twelfth of the window."
        ),
        "money_out": kind.NumberColumn(f"Out ({currency})", format=formats.TABLE_MONEY, width=92),
        "money_in": kind.NumberColumn(f"In ({currency})", format=formats.TABLE_MONEY, width=92),
        "top_merchant": kind.TextColumn(
            "Strongest merchant", width=160, help="The merchant with the largest attribution."
        ),
    }  # fmt: skip
