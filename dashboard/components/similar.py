"""Who is like this user, and how they turned out."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.components import formats, shell
from dashboard.components.text import visible_frame
from lbsf_core.workspace import Case

OPEN = "Open"


def show(source: state.Source, case: Case) -> None:
    """The nearest users as a table whose button opens one."""
    shell.section(
        "Users like this one",
        "Nearest by what the model makes of their payments. It says what the model holds to be "
        "alike, and proves nothing about either user.",
    )
    rows = state.ask(source, "similar", case)
    if rows.empty:
        st.caption("Nobody else here has payments.")
        return
    st.markdown(f"{_outcomes(rows)}.")
    table = visible_frame(rows[[name for name in rows if name != "sample"]])
    table["pd"] = rows["pd"].to_numpy() * 100
    table["open"] = OPEN
    kind = st.column_config
    st.dataframe(
        table,
        hide_index=True,
        height="content",
        alt="Users whose payments the model holds to be most alike, with their outcomes",
        column_order=[
            "open", "user_id", "similarity", "pd", "label", "cutoff", "payments", "top_merchant",
        ],
        column_config={
            "open": kind.ButtonColumn(
                "", width=58, key="similar_click", pinned=True, type="tertiary"
            ),
            "user_id": kind.TextColumn("User", width=110),
            "similarity": kind.NumberColumn(
                "Similarity", format="%.2f", width=90,
                help="Cosine between the two representations; 1 = the same direction.",
            ),
            "pd": kind.ProgressColumn(
                "PD", min_value=0.0, max_value=100.0, format="%.1f%%", width=120
            ),
            "label": kind.TextColumn("Label", width=90),
            "cutoff": kind.DatetimeColumn(
                "Cutoff", format=formats.TABLE_DATE, width=100, timezone="UTC"
            ),
            "payments": kind.NumberColumn("Payments", format=formats.TABLE_COUNT, width=90),
            "top_merchant": kind.TextColumn("Strongest merchant", width=220),
        },
    )  # fmt: skip
    click = st.session_state.get("similar_click")
    if click is not None and click["row"] < len(rows):
        row = rows.iloc[int(click["row"])]
        state.open_user_page(str(row["user_id"]), row["cutoff"].to_pydatetime())


def _outcomes(rows: pd.DataFrame) -> str:
    """How the nearest turned out, as a sentence without a full stop."""
    known = [label for label in rows["label"].tolist() if label != "unknown"]
    if not known:
        return f"Of the {len(rows)} nearest none has a label yet"
    bad = known.count("bad")
    return f"Of the {len(rows)} nearest {len(known)} have a label, and **{bad} defaulted**"
