"""How the score adds up, opened level by level: merchants, a merchant's payments, their fields."""

from __future__ import annotations

import streamlit as st

from dashboard import state
from dashboard.charts import waterfall
from dashboard.components import formats, shell
from dashboard.components.text import escape
from lbsf_core.workspace import Explanation


def show(explanation: Explanation, selected: str | None) -> None:
    """The level that is open, and the boxes that open and close one."""
    shell.section(
        "From the baseline to this user",
        "Each bar begins where the one above ends. Click one to open it: a merchant to its "
        "payments, a payment to its fields; or choose in the lists.",
    )
    opened = explanation.opened
    if selected is None:
        level, alt = waterfall.of_merchants(explanation), "the merchants"
    else:
        at = explanation.merchants.index(selected)
        if opened is not None and not opened[at]:
            st.caption("The payments of this merchant were not valued.")
            return
        payment = _payment(explanation, selected)
        if payment is not None and explanation.fields:
            level, alt = waterfall.of_fields(explanation, payment), "one payment's fields"
        else:
            level, alt = waterfall.of_payments(explanation, selected), "one merchant's payments"
            if payment is not None:
                st.caption("Removal values whole payments: it names no fields. Gradient does.")
    st.plotly_chart(
        waterfall.waterfall(level), key="adds_up", on_select=lambda: state.pick_step("adds_up"),
        selection_mode="points", config=state.picture("adds_up"),
        alt=f"How the score adds up, by {alt}",
    )  # fmt: skip


def _payment(explanation: Explanation, merchant: str) -> int | None:
    """Which of the merchant's payments is open, if one is."""
    at = explanation.merchants.index(merchant)
    numbers = range(int(explanation.offsets[at]), int(explanation.offsets[at + 1]))
    options = sorted(
        (str(n) for n in numbers), key=lambda n: -abs(explanation.payment_attributions[int(n)])
    )
    state.drop_stale("payment", options)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox(
            f"Payment at {escape(merchant, 'markdown', width=40)}", options, index=None,
            key="payment", bind="query-params", width=420, placeholder="all payments",
            format_func=lambda n: _words(explanation, int(n)),
        )  # fmt: skip
        st.button(
            "Back", icon=":material/arrow_back:", key="adds_up_back", on_click=_back,
            help="One level up.",
        )  # fmt: skip
    return None if chosen is None else int(chosen)


def _back() -> None:
    if st.session_state.get("payment"):
        st.session_state["payment"] = None
    else:
        state.select(None)


def _words(explanation: Explanation, payment: int) -> str:
    when = formats.instant(explanation.timestamps[payment].astype("datetime64[s]").item())
    return escape(
        f"{when}  {explanation.amounts[payment]:+,.2f}  {explanation.descriptions[payment]}",
        width=60,
    )
