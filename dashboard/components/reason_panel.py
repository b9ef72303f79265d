"""Reason codes: in plain sentences, what raises the score and what speaks for the user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from dashboard import state
from dashboard.components import formats
from dashboard.components.text import escape
from lbsf_core.workspace import Case, LbsfError

_HELP = (
    "Each reason cites payments. Without them, folded again, the score moves by the figure beside "
    "it; a sentence that fails this test is not shown."
)


def show(source: state.Source, case: Case) -> None:
    """Two columns: reasons for the risk, and what speaks against it."""
    try:
        found = state.ask(source, "reasons", case, always=True)
    except LbsfError as error:  # the rest of the page does not hang on it
        st.caption(f":material/info: No reason codes: {escape(str(error), 'markdown')}")
        return
    left, right = st.columns(2)
    with left:
        high = found.pd >= found.threshold
        title = "Why the score is high" if high else "What raises the score, low as it is"
        _list(title, found.risk, "No payments by themselves raise this score.")
    with right:
        _list(
            "What speaks for the user",
            found.protective,
            "No payments by themselves lower this score.",
        )


def _list(title: str, rows: Sequence[Any], nothing: str) -> None:
    with st.container(border=True, height="stretch"):
        st.markdown(f"**{title}**", help=_HELP)
        if not rows:
            st.caption(nothing)
        for row in rows:
            sentence = row.text[:1].upper() + row.text[1:]
            st.markdown(
                f"{escape(sentence, 'markdown', width=300)}  \n"
                f":gray[:small[{formats.effect(-row.effect)} logit without "
                f"{formats.plural(len(row.payments), 'payment')}]]"
            )
