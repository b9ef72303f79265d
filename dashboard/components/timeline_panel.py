"""The payments as lanes, one a merchant, and the boxes that say which merchants are followed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time

import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.charts import lanes
from dashboard.charts.timeline import DOTS, timeline
from dashboard.components import formats, shell
from dashboard.components.text import escape
from lbsf_core.workspace import Case

LANES = {"10": 10, "20": 20, "40": 40, "All": 1_000_000}


def show(case: Case, merchants: pd.DataFrame, payments: pd.DataFrame) -> tuple[str | None, ...]:
    """The lanes with their controls.

    Returns:
        The merchant that is followed, and the one beside it; None where there is none.
    """
    shell.section(
        "Payments by merchant, and what each merchant does to the score",
        "Every dot is a payment, its area the amount. Click a dot or a bar to follow one merchant "
        "through the page, or choose it in the list.",
    )
    options = sorted(merchants["merchant"])
    for key in ("merchant", "beside"):
        state.drop_stale(key, options)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        selected = st.selectbox(
            "Merchant", options, index=None, key="merchant", bind="query-params", width=185,
            format_func=escape, placeholder="all merchants", on_change=_other_merchant,
        )  # fmt: skip
        beside = st.selectbox(
            "and beside it", options, index=None, key="beside", bind="query-params", width=185,
            format_func=escape, placeholder="nobody", on_change=_other_merchant,
        )  # fmt: skip
        st.button(
            "Clear", icon=":material/close:", key="clear_merchant", disabled=selected is None,
            on_click=state.select, args=(None,),
        )  # fmt: skip
        sort = st.segmented_control(
            "Sort lanes by", lanes.SORTS, default="Attribution", required=True, key="lanes",
            bind="query-params",
        )  # fmt: skip
        most = "20"
        if len(merchants) > 11:
            most = st.segmented_control(
                "Lanes", list(LANES), default="20", required=True, key="most", bind="query-params"
            )
    beside = None if selected is None or beside == selected else beside
    arranged = lanes.arrange(
        merchants,
        payments,
        sort=sort or "Attribution",
        most=LANES[most or "20"],
        always=[name for name in (selected, beside) if name is not None],
    )
    start, end = case.window_start, case.cutoff
    if len(payments) > DOTS:
        start, end, arranged = _zoom(case, arranged)
    figure = timeline(
        arranged,
        currency=case.currency,
        start=start,
        end=end,
        selected=selected,
        beside=beside,
    )
    st.plotly_chart(
        figure, key="timeline", on_select=lambda: state.pick_merchant("timeline"),
        selection_mode="points", config=state.picture("timeline"),
        alt="Payments over time, one lane a merchant, with its attribution and attention beside it",
    )  # fmt: skip
    return selected, beside


def _zoom(case: Case, arranged: lanes.Lanes) -> tuple[datetime | None, datetime, lanes.Lanes]:
    """Days to draw, where there are more payments than dots; what lies outside is not drawn."""
    times = pd.to_datetime(arranged.payments["timestamp"]).dt.date
    days = sorted(set(times))
    whole = (days[0], days[-1])
    state.whole_if_stale(state.DAYS, whole, days)
    chosen = st.select_slider(
        "Days", days, value=whole, key=state.DAYS, bind="query-params", format_func=formats.day,
        width=420,
        help="Each dot is the largest payment of its place. Choose fewer days to see every one; "
        "bars, sums and the table below are of all days.",
    )  # fmt: skip
    inside = arranged.payments[(times >= chosen[0]) & (times <= chosen[1])]
    drawn = min(len(lanes.thin(inside, DOTS)), len(inside))
    st.caption(
        f"{formats.count(drawn)} dots for {formats.plural(len(inside), 'payment')}"
        + ("" if chosen == whole else f" of {len(arranged.payments):,}")
        + "."
    )
    if chosen == whole:
        return case.window_start, case.cutoff, arranged
    first = datetime.combine(chosen[0], time(), tzinfo=UTC)
    last = datetime.combine(chosen[1], time.max, tzinfo=UTC)
    return first, last, replace(arranged, payments=inside)


def _other_merchant() -> None:
    """A second one without a first is the first."""
    first, second = st.session_state["merchant"], st.session_state["beside"]
    state.select(first or second, second if first else None)
