"""What the words on the screen mean, and a short tour of the pages."""

from __future__ import annotations

from time import time

import streamlit as st

from dashboard.layers import FIRST_VISIT

#: Word -> what it means here, in one sentence.
WORDS = {
    "Attention": "where the model looked: weights of a user's merchants, or of one merchant's "
    "payments, that sum to 1; never a cause.",
    "Attribution": "what a merchant, payment or field adds to the logit compared with the "
    "baseline; a user's attributions sum to logit minus baseline.",
    "AUC": "how often the model puts a bad sample above a good one; 0.5 is guessing.",
    "Band": "place of a score among this workspace's samples, from the safest fifth to the "
    "riskiest twentieth.",
    "Baseline": "what a score is held against: a typical payment, a typical user, or no history.",
    "Cohort": "samples that have something in common.",
    "Cutoff": "the last instant the model may see; itself not included.",
    "ECE": "how far scores lie from what happened, on average over bins of scores.",
    "Faithfulness": "whether taking out what an explanation names moves the score as much as it "
    "says; measured against random and against attention.",
    "Interaction": "what two merchants are worth together beyond each alone, measured by taking "
    "out each and both.",
    "KS": "largest gap between the shares of bad and of good samples below a score.",
    "Logit": "the model's raw output, in which attributions add up; calibration makes it a PD.",
    "PD": "calibrated probability of default, as the workspace's label defines it.",
    "PSI": "population stability index: how far two distributions lie apart.",
    "Reason code": "a sentence whose payments, taken out, lower the score, as scored again.",
    "Relation": "how much the model looks from one merchant to another; not a cause.",
    "Sample": "one user at one cutoff.",
    "Window": "the days of payments before the cutoff that the model sees.",
}
#: Heading of a step of the tour -> what it says.
TOUR = {
    "Portfolio: who first?": "The riskiest users come first; **Open** shows one. Filters, order "
    "and threshold are part of the address: copy it to show somebody the same view. The slider "
    "says what approving everybody below a PD would have meant.",
    "User: why?": "Reasons first, each proved by scoring without its payments. Then every payment, "
    "one lane a merchant, with what the merchant does to the score. Click a dot or a bar and the "
    "page follows that merchant. Below: each payment, how the score adds up, relations.",
    "User: is it true?": "The badge beside the engine says how faithful it was measured to be on "
    "this model. Under **What if** take payments out or change them and see the score move; then "
    "take the case away: `lbsf replay` checks that a dossier still says the same.",
    "Cohorts and model": "Compare two groups chosen by filters, ids or a line on a map, with "
    "intervals and a control of false discoveries. The Model page shows how well scores rank, how "
    "true they are, what other models reach, and whether the population has moved.",
}
_STEP = "tour_step"
#: Seconds after which nobody is new any more.
NEW_S = 600


def show() -> None:
    """A popover with the words, and the button that starts the tour."""
    with st.popover("Help", icon=":material/help:"):
        st.markdown("  \n".join(f"**{word}**: {means}" for word, means in WORDS.items()))
    # Not in the popover, which would lie over the tour.
    new = _STEP not in st.session_state and _first_visit(
        st.context.cookies.get(FIRST_VISIT), time()
    )
    if st.button(
        "New here? Take the tour" if new else "Tour", icon=":material/explore:", key="tour",
        type="secondary" if new else "tertiary",
    ):  # fmt: skip
        st.session_state[_STEP] = 0
        tour()


def _first_visit(since: str | None, now: float) -> bool:
    """Whether this browser came here for the first time a moment ago, by its cookie."""
    return since is not None and since.isdecimal() and 0 <= now - int(since) < NEW_S


@st.dialog("A tour in four steps", width="medium")
def tour() -> None:
    """One step at a time; closed by its cross or after the last."""
    at = min(st.session_state.get(_STEP, 0), len(TOUR) - 1)
    title = list(TOUR)[at]
    st.progress((at + 1) / len(TOUR), text=f"{at + 1} of {len(TOUR)}")
    st.subheader(title, anchor=False)
    st.markdown(TOUR[title])
    with st.container(horizontal=True):
        st.button("Back", key="tour_back", disabled=at == 0, on_click=_go, args=(at - 1,))
        if at + 1 < len(TOUR):
            st.button("Next", key="tour_next", type="primary", on_click=_go, args=(at + 1,))
        elif st.button("Done", key="tour_done", type="primary"):
            st.rerun()


def _go(step: int) -> None:
    st.session_state[_STEP] = step
