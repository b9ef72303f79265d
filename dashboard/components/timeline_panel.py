"""The payments as lanes, one a merchant, and the boxes that say which merchants are followed."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.charts import lanes
from dashboard.charts.timeline import timeline
from dashboard.components import shell
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
    figure = timeline(
        arranged,
        currency=case.currency,
        start=case.window_start,
        end=case.cutoff,
        selected=selected,
        beside=beside,
    )
    st.plotly_chart(
        figure, key="timeline", on_select=lambda: state.pick_merchant("timeline"),
        selection_mode="points", config=state.picture("timeline"),
        alt="Payments over time, one lane a merchant, with its attribution and attention beside it",
    )  # fmt: skip
    return selected, beside


def _other_merchant() -> None:
    """A second one without a first is the first."""
    first, second = st.session_state["merchant"], st.session_state["beside"]
    state.select(first or second, second if first else None)
