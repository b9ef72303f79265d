"""The edits of a case: boxes that make them, and the list of them that the link carries."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.components.text import escape
from lbsf_core.workspace import Case

WHOLE = "whole window"
WINDOWS = {WHOLE: None, "last 90 days": 90, "last 30 days": 30}
#: What can be done to a merchant's payments, beside taking them all out.
SCALE, STOP, MOVE, ADD = "Scale amounts", "Stop from a date", "Move in time", "Add payments"


def show(case: Case, merchants: pd.DataFrame) -> list[str]:
    """The boxes, all of them part of the link, and the edits that they mean, as lines."""
    options = sorted(merchants["merchant"])
    state.drop_stale_many("without", options)
    gone = st.multiselect(
        "Take out all payments at", options, key="without", bind="query-params",
        format_func=escape, placeholder="choose merchants",
    )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom"):
        window = st.segmented_control(
            "History", list(WINDOWS), default=WHOLE, required=True, key="shortened",
            bind="query-params",
        )  # fmt: skip
        with st.popover("Change more", icon=":material/tune:"):
            _more(case, options)
    further = st.multiselect(
        "Further changes", state.chosen(state.EDITS), key=state.EDITS, bind="query-params",
        format_func=escape, accept_new_options=True, max_selections=state.MOST_EDITS,
        placeholder="none; or type one: scale 0.5 at NAME",
        help="One change a line: `remove since 2024-05-01 at NAME`, `scale 0.5 at NAME`, "
        "`shift -30 at NAME`, `add -20 on 2024-05-01 at NAME`, `remove rows 3,5`.",
    )  # fmt: skip
    lines = [f"remove at {name}" for name in gone] + list(further)
    if days := WINDOWS[window or WHOLE]:
        lines.append(f"window {days}")
    return lines


def _more(case: Case, options: list[str]) -> None:
    """One further change, put into the list by its button."""
    what = st.segmented_control(
        "What", [SCALE, STOP, MOVE, ADD], default=SCALE, required=True, key="change_what",
        label_visibility="collapsed",
    )  # fmt: skip
    if what != ADD:  # who is paid anew may be somebody whom the user never paid
        state.drop_stale("change_who", options)
    who = st.selectbox(
        "Paid at" if what == ADD else "Payments at", options, key="change_who",
        format_func=escape, accept_new_options=what == ADD, placeholder="choose a merchant",
        index=None,
    )  # fmt: skip
    lines = _lines(what or SCALE, who or "", case)
    st.button(
        "Put into the list", icon=":material/playlist_add:", disabled=not who,
        on_click=state.add_edits, args=(lines,), key="change_add",
    )  # fmt: skip


def _lines(what: str, who: str, case: Case) -> list[str]:
    """The boxes of one kind of change, and the edits that they mean."""
    last = (case.cutoff - timedelta(days=1)).date()
    first = case.window_start.date() if case.window_start else None
    if what == SCALE:
        percent = st.number_input("To percent of what they were", 0, 1000, 50, 10)
        return [f"scale {percent / 100:g} at {who}"]
    if what == MOVE:
        days = st.number_input("Days later (before 0: earlier)", -3650, 3650, 30, 1)
        return [f"shift {days:g} at {who}"]
    if what == STOP:
        usual = max(last - timedelta(days=60), first or date.min)
        since = st.date_input("None from this day on", usual, first, last)
        return [f"remove since {(since or last).isoformat()} at {who}"]
    amount = st.number_input(
        f"Amount in {escape(case.currency)} (below 0: money out)", value=-100.0, step=10.0
    )
    when = st.date_input("On this day", last, first, last) or last
    times = st.number_input("How many, a month apart going back", 1, 12, 1)
    stamps = [pd.Timestamp(when) - pd.DateOffset(months=back) for back in range(int(times))]
    earliest = datetime.combine(first or date.min, time())
    return [
        f"add {amount:g} on {stamp:%Y-%m-%d} at {who}"
        for stamp in reversed(stamps)
        if stamp.to_pydatetime() >= earliest
    ]
