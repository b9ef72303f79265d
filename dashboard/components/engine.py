"""Which engine explains the score, and what the score is held against."""

from __future__ import annotations

import streamlit as st

from dashboard import state
from dashboard.components import formats
from dashboard.components.text import escape

#: Word on the screen -> name of the engine.
ENGINES = {"Gradient": "gradient", "Removal": "removal"}
_HELP = (
    "Gradient follows the logit from a typical payment to these, down to the fields. Removal takes "
    "merchants out, folds again and scores (Shapley values), and says how sure it is."
)


def choose(source: state.Source) -> tuple[str, str | None]:
    """The two boxes, bound to the link.

    Returns:
        Engine and baseline; no baseline = the engine's own.
    """
    with st.container(horizontal=True, vertical_alignment="bottom"):
        word = st.segmented_control(
            "Explained by", list(ENGINES), default="Gradient", required=True, key="engine",
            bind="query-params", help=_HELP,
        )  # fmt: skip
        method = ENGINES[word or "Gradient"]
        options = state.ask(source, "baselines_of", method)
        state.first_if_stale("against", options)
        chosen = st.selectbox(
            "Held against", options, key="against", bind="query-params", width=220,
            help="A value says what a merchant does compared with this. Typical user: a real one "
            "of the lower half of the scores; cohort mean: several of them.",
        )  # fmt: skip
        _badge(state.ask(source, "faithfulness"), method)
    return method, None if chosen in (None, options[0]) else chosen


def _badge(measured: dict, method: str) -> None:
    """What was measured of this engine on this model, or that nothing was."""
    named = measured.get("methods", {}).get(method)
    if named is None:
        st.badge(
            "Faithfulness not measured", color="gray", icon=":material/help:",
            help="Run `lbsf faithfulness STORE BUNDLE --keep` and make the workspace again.",
        )  # fmt: skip
        return
    random = measured["methods"]["random"]["comprehensiveness"]
    looked = measured["methods"]["attention"]["comprehensiveness"]
    value = named["comprehensiveness"]
    st.badge(
        f"Faithfulness {formats.number(value, 2)} (random {formats.number(random, 2)})",
        color="green" if value > max(random, looked) else "orange",
        icon=":material/verified:",
        help=f"Taking out first what {escape(method)} names moves the score by {value:.0%} of the "
        f"most that any order can, mean over {measured['users']:,} samples; attention "
        f"{looked:.0%}, random {random:.0%}. Measured on this model.",
    )
