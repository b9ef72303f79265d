"""What a page shows when there is nothing to draw: what happened, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import streamlit as st

from dashboard import state
from dashboard.components.text import escape
from lbsf_core.workspace import LbsfError


def empty(what: str, do: str, *, icon: str = "filter_alt_off") -> None:
    """Nothing matches: say what was asked for, and how to widen it. Both texts are our own."""
    with st.container(border=True, key=f"state_{icon}"):
        st.markdown(f":material/{icon}: **{what}**")
        st.caption(do)


def unknown_user(user: str, suggestions: Sequence[str]) -> None:
    """The link or the search names a user that this workspace does not hold."""
    with st.container(border=True, key="state_unknown_user"):
        st.markdown(
            f":material/person_off: **No user “{escape(user, 'markdown', width=80)}” here**"
        )
        st.caption(
            "The id must match exactly. Check the link, choose another workspace in the sidebar if "
            "there is one, or look the user up in the portfolio."
        )
        if suggestions:
            st.caption("Ids that contain what you typed:")
            _buttons([(name, None) for name in suggestions])


def no_user(riskiest: Sequence[tuple[str, datetime]]) -> None:
    """Nobody is chosen yet: offer the top of the queue."""
    with st.container(border=True, key="state_no_user"):
        st.markdown(":material/person_search: **No user is chosen yet**")
        st.caption("Type an id above, open one from the portfolio, or start with the riskiest:")
        _buttons(riskiest)


def _buttons(cases: Sequence[tuple[str, datetime | None]]) -> None:
    with st.container(horizontal=True):
        for i, (user, cutoff) in enumerate(cases):
            st.button(
                escape(user, "markdown", width=40),
                key=f"suggest_{i}",
                on_click=state.show_case,
                args=(user, cutoff),
            )


def problem(error: LbsfError) -> None:
    """A workspace that can't be opened or read: the library's own words, kept literal."""
    with st.container(border=True, key="state_problem"):
        st.markdown(":material/error: **The workspace can’t be read**")
        st.text(escape(error))
        st.caption(
            "Nothing is shown rather than something wrong. Make the workspace again with "
            "`lbsf workspace STORE BUNDLE --out DIR`, or start the dashboard on another folder: "
            "`lbsf dashboard DIR`."
        )


def warnings(sentences: Sequence[str]) -> None:
    """Plain sentences that the library attached to a result; several in one box."""
    if sentences:
        st.warning("  \n".join(escape(s, "markdown") for s in sentences), icon=":material/warning:")
