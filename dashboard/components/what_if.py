"""What if: take merchants out and see the PD move; look for the smallest change; what is enough."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.components import edit_list, formats, shell, take_away
from dashboard.components.text import escape
from lbsf_core.workspace import Case, LbsfError

#: PD under which a user is approved, before the reader says otherwise.
THRESHOLD = 0.1
#: Where what was looked for last is kept, so that it stays when an answer is applied.
_LOOKED = "looked_for"


@st.fragment
@shell.guarded()  # an error in here does not come out to the page
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
        edits = _moved(source, case, edit_list.show(case, merchants))
    with right:
        _threshold(source, case)
    take_away.show(source, case, shown, edits)


def _moved(source: state.Source, case: Case, lines: list[str]) -> list[dict[str, object]]:
    """The PD before and after; returns the edits, none where a line can't be followed."""
    if not lines:
        st.caption(
            "Choose merchants, a shorter history, or another change: the PD shows here what it "
            "becomes."
        )
        return []
    try:
        edits: list[dict[str, object]] = state.ask(source, "edits", lines)
        found = state.ask(source, "what_if", case, edits)
    except LbsfError as error:
        st.error(escape(str(error), "markdown"), icon=":material/error:")
        return []
    told = formats.listing([edit.words() for edit in found.edits])
    st.caption(escape(told, "markdown", width=600))
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
    left = f" {formats.plural(found.edited.left, 'payment')} moved out of the history."
    st.caption(
        f"{formats.plural(rest, 'payment')} now, {case.payments:,} before."
        + left * bool(found.edited.left)
    )
    return edits


def _threshold(source: state.Source, case: Case) -> None:
    percent = st.number_input(
        "Approved below a PD of (%)", min_value=0.1, max_value=99.0, step=1.0, format="%.1f",
        value=100 * THRESHOLD, key="approve", bind="query-params",
    )  # fmt: skip
    threshold = float(percent) / 100
    with st.container(horizontal=True):
        for label, icon, what in (
            ("What would change it", ":material/search:", "change"),
            ("What alone keeps it", ":material/filter_alt:", "enough"),
        ):
            if st.button(label, icon=icon, key=f"find_{what}"):
                st.session_state[_LOOKED] = (case.sample, threshold, what)
    looked = st.session_state.get(_LOOKED)
    if looked is None or looked[:2] != (case.sample, threshold):
        st.caption(
            "The smallest change of payments that crosses the threshold, or the fewest "
            "payments that alone stay on this side of it. Regular payments are left alone."
        )
        return
    try:
        if looked[2] == "change":
            with st.spinner("Folding and scoring combinations of changes…"):
                answers = state.ask(source, "counterfactuals", case, threshold)
            _changes(source, answers)
        else:
            with st.spinner("Looking for the fewest payments…"):
                found = state.ask(source, "sufficient", case, threshold)
            st.markdown(escape(found.words(), "markdown"))
            st.caption(
                formats.listing([escape(name, "markdown", width=40) for name in found.merchants])
            )
    except LbsfError as error:
        st.error(escape(str(error), "markdown"), icon=":material/error:")


def _changes(source: state.Source, found) -> None:  # noqa: ANN001 - Counterfactuals of the facade
    if found.told:
        st.markdown(escape(found.told, "markdown"))
    for number, answer in enumerate(found.answers, 1):
        with st.container(border=True):
            words = "; ".join(change.edit.words() for change in answer.changes)
            st.markdown(f"**{number}.** {escape(words, 'markdown', width=400)}")
            with st.container(horizontal=True, vertical_alignment="center"):
                st.caption(
                    f"PD {formats.percent(answer.result.pd_before)} → "
                    f"**{formats.percent(answer.result.pd_after)}**, verified by scoring the "
                    f"changed history · touches {formats.percent(answer.size)} of it"
                )
                lines = state.ask(source, "lines", [c.edit.to_dict() for c in answer.changes])
                st.button(
                    "Apply", key=f"apply_{number}", icon=":material/playlist_add_check:",
                    on_click=state.set_edits, args=(lines, edit_list.WHOLE),
                    help="Make these the changes under what if.",
                )  # fmt: skip
