"""What if: take merchants out and see the PD move; look for the smallest change; what is enough."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.components import formats, shell, take_away
from dashboard.components.text import escape
from lbsf_core.workspace import Case, LbsfError

#: PD under which a user is approved, before the reader says otherwise.
THRESHOLD = 0.1
WHOLE = "whole window"
WINDOWS = {WHOLE: None, "last 90 days": 90, "last 30 days": 30}


@st.fragment
def show(source: state.Source, case: Case, merchants: pd.DataFrame, shown: take_away.Shown) -> None:
    """The section and what can be taken away of it; it runs by itself, so that an edit does not
    draw the page anew."""
    shell.section(
        "What if",
        "Every edit folds the history again and scores it from the start. It says what the model "
        "would answer, not what the user would become.",
    )
    left, right = st.columns(2)
    with left:
        edits = _edits(merchants)
        _moved(source, case, edits)
    with right:
        _threshold(source, case)
    take_away.show(source, case, shown, edits)


def _edits(merchants: pd.DataFrame) -> list[dict[str, object]]:
    """The boxes, bound to the link, and the edits that they mean."""
    options = sorted(merchants["merchant"])
    state.drop_stale_many("without", options)
    gone = st.multiselect(
        "Take out all payments at", options, key="without", bind="query-params",
        format_func=escape, placeholder="choose merchants",
    )  # fmt: skip
    window = st.segmented_control(
        "History", list(WINDOWS), default=WHOLE, required=True, key="shortened",
        bind="query-params",
    )  # fmt: skip
    edits: list[dict[str, object]] = [{"kind": "remove", "merchant": name} for name in gone]
    if days := WINDOWS[window or WHOLE]:
        edits.append({"kind": "window", "days": days})
    return edits


def _moved(source: state.Source, case: Case, edits: list[dict[str, object]]) -> None:
    """The PD before and after."""
    if not edits:
        st.caption("Choose merchants, or a shorter history, and the PD shows here what it becomes.")
        return
    found = state.ask(source, "what_if", case, edits)
    change = 100 * (found.pd_after - found.pd_before)
    with st.container(horizontal=True):
        st.metric("PD as it is", formats.percent(found.pd_before), border=True,
                  height="stretch")  # fmt: skip
        st.metric(
            "PD after the edit",
            formats.percent(found.pd_after),
            f"{change:+.1f} points",  # a hyphen: Streamlit reads the way of the arrow from it
            delta_color="inverse",
            border=True,
            height="stretch",
        )
    rest = len(found.edited.batch.amounts)
    st.caption(f"{formats.plural(rest, 'payment')} of {case.payments:,} left.")


def _threshold(source: state.Source, case: Case) -> None:
    percent = st.number_input(
        "Approved below a PD of (%)", min_value=0.1, max_value=99.0, step=1.0, format="%.1f",
        value=100 * THRESHOLD, key="approve", bind="query-params",
    )  # fmt: skip
    threshold = float(percent) / 100
    with st.container(horizontal=True):
        change = st.button("What would change it", icon=":material/search:", key="find_change")
        enough = st.button("What alone keeps it", icon=":material/filter_alt:", key="find_enough")
    try:
        if change:
            with st.spinner("Folding and scoring combinations of changes…"):
                _changes(state.ask(source, "counterfactuals", case, threshold))
        elif enough:
            with st.spinner("Looking for the fewest payments…"):
                found = state.ask(source, "sufficient", case, threshold)
            st.markdown(escape(found.words(), "markdown"))
            st.caption(
                formats.listing([escape(name, "markdown", width=40) for name in found.merchants])
            )
        else:
            st.caption(
                "The smallest change of payments that crosses the threshold, or the fewest "
                "payments that alone stay on this side of it. Regular payments are left alone."
            )
    except LbsfError as error:
        st.error(escape(str(error), "markdown"), icon=":material/error:")


def _changes(found) -> None:  # noqa: ANN001 - Counterfactuals, which the facade hands out
    if found.told:
        st.markdown(escape(found.told, "markdown"))
    for number, answer in enumerate(found.answers, 1):
        with st.container(border=True):
            words = "; ".join(change.edit.words() for change in answer.changes)
            st.markdown(f"**{number}.** {escape(words, 'markdown', width=400)}")
            st.caption(
                f"PD {formats.percent(answer.result.pd_before)} → "
                f"**{formats.percent(answer.result.pd_after)}**, verified by scoring the changed "
                f"history · touches {formats.percent(answer.size)} of it"
            )
