"""User: the payments first, the explanation on them."""

import streamlit as st

from dashboard import state
from dashboard.charts.history import score_history
from dashboard.components import (
    adds_up,
    case_header,
    engine,
    filters,
    formats,
    merchant_panel,
    reason_panel,
    relations_panel,
    shell,
    similar,
    states,
    take_away,
    timeline_panel,
    what_if,
)
from dashboard.components.text import escape
from lbsf_core.workspace import Case, Explanation, SampleFilter, UnknownUserError

#: What stands under the lanes, one at a time.
PANELS = ("Payments", "How it adds up", "Relations")


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
    header, reasons, why, explored, edits, alike = shell.places(6)
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
    shown = take_away.Shown(method, baseline, opened)
    with explored:
        _explore(source, case, shown, explanation)
    with edits:
        what_if.show(source, case, explanation.merchants_frame(), shown)
    with alike:
        similar.show(source, case)


@st.fragment
@shell.guarded()  # an error in here does not come out to the page
def _explore(
    source: state.Source, case: Case, shown: take_away.Shown, explanation: Explanation
) -> None:
    """The lanes and the panel under them, which follow one selection; they run by themselves, so
    that a click does not draw the rest of the page anew."""
    if _opened(source, case, shown.method, shown.baseline) != shown.opened:
        st.rerun()  # another merchant's payments are valued: that is said above and below too
    merchants = explanation.merchants_frame()
    payments = explanation.payments_frame()
    lanes_of, panels = shell.places(2)
    with lanes_of:
        selected, beside = timeline_panel.show(case, merchants, payments)
        for name, what in ((selected, "Selected"), (beside, "Beside")):
            if name is not None:
                row = merchants[merchants["merchant"] == name].iloc[0]
                merchant_panel.summary(row, explanation, case.currency, what)
    with panels:
        # Only the open one is computed and drawn: a click elsewhere need not wait for the others.
        table, steps, between = st.tabs(list(PANELS), key="panel", bind="query-params")
        if table.open:
            with table:
                merchant_panel.payments(case, payments, explanation, selected, beside)
        if steps.open:
            with steps:
                adds_up.show(explanation, selected)
        if between.open:
            with between:
                relations_panel.show(source, case, explanation, merchants, selected, beside)


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
    """By removal the payments of few merchants are valued: the followed ones, or the strongest."""
    found = state.explanation(source, case, method, baseline)
    if method != "removal" or not found.merchants:
        return ()
    # The box is drawn later; when a link is opened only the address knows yet.
    selected = st.session_state.get("merchant") or st.query_params.get("merchant")
    if selected not in found.merchants:
        selected = found.merchants[int(abs(found.merchant_attributions).argmax())]
    beside = st.session_state.get("beside") or st.query_params.get("beside")
    both = dict.fromkeys((str(selected), *([beside] if beside in found.merchants else [])))
    return tuple(both)


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


main()
