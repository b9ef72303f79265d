"""Reason codes: in plain sentences, what raises the score and what speaks for the user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from dashboard.components import formats
from dashboard.components.text import escape

_HELP = (
    "Each reason cites payments. Without them, folded again, the score moves by the figure beside "
    "it; a sentence that fails this test is not shown."
)


def show(found: Any) -> None:  # noqa: ANN401 - Reasons, which the facade hands out
    """Two columns: reasons for the risk, and what speaks against it."""
    left, right = st.columns(2)
    with left:
        _list("Why the score is high", found.risk, "No payments by themselves raise this score.")
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
