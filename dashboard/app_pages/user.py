"""User: the payments first, the explanation on them."""

import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.charts import lanes, relations
from dashboard.charts.history import score_history
from dashboard.charts.timeline import timeline
from dashboard.components import (
    case_header,
    engine,
    filters,
    formats,
    merchant_panel,
    reason_panel,
    shell,
    similar,
    states,
    take_away,
    what_if,
)
from dashboard.components.text import escape
from lbsf_core.workspace import Case, Explanation, SampleFilter, UnknownUserError

LANES = {"10": 10, "20": 20, "40": 40}


def main() -> None:
    """Settings, answers, drawing."""
    source = shell.choose_source()
    head = st.container()  # filled when the boxes below have said who is meant
    case = _choose_case(source)
    with head:
        title = "User" if case is None else f"User {escape(case.user_id, 'markdown', width=40)}"
        badges = None if case is None else lambda: case_header.badges(case)
        shell.heading(title, state.ask(source, "summary"), badges)
    if case is None:
        return
    header, reasons, why, lanes_of, table, between, edits, alike = shell.places(8)
    with header:
        case_header.figures(case)
    if not case.payments:
        states.empty(
            "No payment lies in this window, so there is nothing to draw",
            f"The score of {formats.percent(case.pd)} is what the model gives to an empty history: "
            "it says nothing about this user. Choose an earlier cutoff above if there is one.",
            icon="hourglass_empty",
        )
        return
    with reasons:
        words, line = st.columns([7, 3])
        with words:
            reason_panel.show(source, case)
        with line:
            _history(source, case)
    with why:
        method, baseline = engine.choose(source)
        opened = _opened(source, case, method, baseline)
        explanation = _explained(source, case, method, baseline, opened)
        case_header.additivity(explanation)
    merchants = explanation.merchants_frame()
    payments = explanation.payments_frame()
    with lanes_of:
        selected = _timeline(case, merchants, payments)
        if selected is not None:
            row = merchants[merchants["merchant"] == selected].iloc[0]
            merchant_panel.summary(row, explanation, case.currency)
    with table:
        _payments(case, payments, explanation, selected)
    with between:
        _relations(explanation, merchants, selected)
    with edits:
        what_if.show(source, case, merchants, take_away.Shown(method, baseline, opened))
    with alike:
        similar.show(source, case)


def _history(source: state.Source, case: Case) -> None:
    with st.container(border=True, height="stretch"):
        st.markdown(
            "**Score over time**",
            help="The same model, the cutoff moved back month by month. Hollow: the window then "
            "reached back before the payments that are kept here, so that some are missing.",
        )
        standings = state.ask(source, "score_history", case)
        if len(standings) < 2:
            st.caption("No earlier month has payments.")
            return
        st.plotly_chart(
            score_history(standings), key="history", config=state.picture("history"),
            alt="Probability of default at earlier cutoffs, month by month",
        )  # fmt: skip


def _opened(source: state.Source, case: Case, method: str, baseline: str | None) -> tuple[str, ...]:
    """By removal the payments of one merchant are valued: the selected one, or the strongest."""
    found = state.explanation(source, case, method, baseline)
    if method != "removal" or not found.merchants:
        return ()
    # The box is drawn later; when a link is opened only the address knows yet.
    selected = st.session_state.get("merchant") or st.query_params.get("merchant")
    if selected not in found.merchants:
        selected = found.merchants[int(abs(found.merchant_attributions).argmax())]
    return (str(selected),)


def _explained(
    source: state.Source,
    case: Case,
    method: str,
    baseline: str | None,
    opened: tuple[str, ...],
) -> Explanation:
    if not opened:
        return state.explanation(source, case, method, baseline)
    with st.spinner("Valuing the merchant's payments…", show_time=False):
        return state.explanation(source, case, method, baseline, opened)


def _choose_case(source: state.Source) -> Case | None:
    """The user and cutoff boxes, bound to the link, with previous and next in the queue."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        user = st.text_input(
            "User id", key="user", bind="query-params", type="search", width=220,
            placeholder="whole id, or a part to search", on_change=_new_user,
        )  # fmt: skip
        cases = _cases(source, user)
        if cases:
            labels = _labels(cases)
            state.first_if_stale("cutoff", list(labels))
            chosen = st.selectbox(
                "Cutoff", list(labels), key="cutoff", bind="query-params", width=190,
                help="The last instant that the model may see; the latest comes first.",
                on_change=state.new_case,
            )  # fmt: skip
            case = labels.get(chosen or "", cases[0])
            _steps(source, case)
            return case
    if user:
        states.unknown_user(user, state.ask(source, "find_users", user, limit=8))
    else:
        first = state.ask(source, "queue", SampleFilter(), limit=8)
        states.no_user(list(zip(first["user_id"], first["cutoff"], strict=True)))
    return None


def _cases(source: state.Source, user: str | None) -> list[Case]:
    try:
        return state.ask(source, "cases", user) if user else []
    except UnknownUserError:
        return []


def _new_user() -> None:
    st.session_state["cutoff"] = None
    state.new_case()


def _labels(cases: list[Case]) -> dict[str, Case]:
    labels = {state.cutoff_label(case.cutoff): case for case in cases}
    if len(labels) < len(cases):  # cutoffs within one minute of each other
        labels = {case.cutoff.isoformat(): case for case in cases}
    return labels


def _steps(source: state.Source, case: Case) -> None:
    where, sort, descending = state.queue_in_view()
    previous, following = state.ask(
        source, "neighbours", case, where, sort=sort, descending=descending
    )
    for label, icon, shortcut, target in (
        ("Previous", "arrow_back", "Alt+Up", previous),
        ("Next", "arrow_forward", "Alt+Down", following),
    ):
        st.button(
            label, icon=f":material/{icon}:", key=f"step_{label}", disabled=target is None,
            on_click=state.show_case, args=target or ("", None),
            help=f"In the portfolio's queue: {filters.in_words(where)}.", shortcut=shortcut,
        )  # fmt: skip


def _timeline(case: Case, merchants: pd.DataFrame, payments: pd.DataFrame) -> str | None:
    """The lanes with their controls; returns the selected merchant."""
    shell.section(
        "Payments by merchant, and what each merchant does to the score",
        "Every dot is a payment, its area the amount. Click a dot or a bar to follow one merchant "
        "through the page, or choose it in the list.",
    )
    options = sorted(merchants["merchant"])
    state.drop_stale("merchant", options)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        selected = st.selectbox(
            "Merchant", options, index=None, key="merchant", bind="query-params", width=300,
            format_func=escape, placeholder="all merchants",
        )  # fmt: skip
        st.button(
            "Clear", icon=":material/close:", key="clear_merchant", disabled=selected is None,
            on_click=state.clear_merchant,
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
    arranged = lanes.arrange(
        merchants, payments, sort=sort or "Attribution", most=LANES[most or "20"], always=selected
    )
    figure = timeline(
        arranged,
        currency=case.currency,
        start=case.window_start,
        end=case.cutoff,
        selected=selected,
    )
    st.plotly_chart(
        figure, key="timeline", on_select=_picked("timeline"), selection_mode="points",
        config=state.picture("timeline"),
        alt="Payments over time, one lane a merchant, with its attribution and attention beside it",
    )  # fmt: skip
    return selected


def _picked(chart: str):  # noqa: ANN202 - a callback
    return lambda: state.pick_merchant(chart)


def _payments(
    case: Case, payments: pd.DataFrame, explanation: Explanation, selected: str | None
) -> None:
    rows = payments if selected is None else payments[payments["merchant"] == selected]
    if selected is None and explanation.opened is not None:  # removal values one merchant's
        rows = payments[explanation.opened[payments["segment"]]]
        selected = str(rows["merchant"].iloc[0])
    title = "Payments with their attribution" + ", whole and per field" * bool(explanation.fields)
    shell.section(
        title,
        f"{formats.plural(len(rows), 'payment')}"
        + ("" if selected is None else f" at {escape(selected, 'markdown', width=60)}")
        + f" · together {formats.effect(float(rows['attribution'].sum()))} logit · "
        + escape(formats.money(float(rows["amount"].sum()), case.currency), "markdown"),
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        sort = st.segmented_control(
            "Order", merchant_panel.TABLE_SORTS, default="Largest effect", required=True,
            key="table_sort", bind="query-params", label_visibility="collapsed",
        )  # fmt: skip
        st.download_button(
            "CSV", lambda: merchant_panel.csv(rows), file_name="payments.csv", mime="text/csv",
            on_click="ignore", icon=":material/download:", type="tertiary",
        )  # fmt: skip
    shown = f"{case.sample}_{'all' if selected is None else rows['segment'].iloc[0]}_{sort}"
    ticked = merchant_panel.payments_table(
        rows, explanation.fields, list(explanation.extras), case.currency,
        sort or "Largest effect", f"payments_table_{shown}",
    )  # fmt: skip
    if ticked:
        line = "remove rows " + ",".join(str(number) for number in sorted(ticked))
        st.button(
            f"Take out the {formats.plural(len(ticked), 'ticked payment')} under what if",
            icon=":material/playlist_add:", on_click=state.add_edits, args=([line],),
            key="take_out_ticked", type="tertiary",
        )  # fmt: skip


def _relations(explanation: Explanation, merchants: pd.DataFrame, selected: str | None) -> None:
    shell.section(
        "Relations between merchants",
        "How much the model looks from one merchant to another when it puts the history together. "
        "Where it looked, not a cause.",
    )
    if len(merchants) < 2:
        st.caption("One merchant only: there is no relation to show.")
        return
    chosen = relations.pick(merchants, always=selected)
    weights = explanation.relations[chosen][:, chosen]
    rows = merchants.set_index("segment", drop=False).loc[chosen]
    left, right = st.columns(2)
    with left:
        st.caption("Row looks at column. Click a square to follow the row's merchant.")
        st.plotly_chart(
            relations.heat_map(weights, rows["merchant"].tolist(), selected), key="relation_map",
            on_select=_picked("relation_map"), selection_mode="points",
            config=state.picture("relation_map"),
            alt="Relation weights between merchants as a heat map",
        )  # fmt: skip
    with right:
        st.caption(
            "Size: money moved. Colour: pushes the score :orange[up] or :blue[down]. "
            "Click one to follow it."
        )
        st.plotly_chart(
            relations.graph(weights, rows, selected), key="relation_graph",
            on_select=_picked("relation_graph"), selection_mode="points",
            config=state.picture("relation_graph"),
            alt="Strongest relations between merchants as a graph",
        )  # fmt: skip
    if len(chosen) < len(merchants):
        st.caption(
            f"The {len(chosen)} merchants with the most attention and attribution, of "
            f"{len(merchants)}."
        )


main()
