"""Whether this model's explanations are true: what `lbsf faithfulness --keep` measured of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard import state
from dashboard.charts import compared as charts
from dashboard.components import formats, shell, states
from dashboard.components.text import escape


def show(measured: Mapping[str, Any]) -> None:
    """Methods side by side, the differences with their intervals, and the sanity checks."""
    shell.section(
        "Are the explanations true?",
        "Merchants that a method names first are taken out, or kept alone, and the history is "
        "folded and scored again.",
    )
    if not measured:
        states.empty(
            "Not measured for this model",
            "Run `lbsf faithfulness STORE BUNDLE --keep` and make the workspace again.",
            icon="help",
        )
        return
    left, right = st.columns([3, 2])
    with left:
        st.plotly_chart(
            charts.faithfulness(measured["methods"]), key="faithfulness",
            config=state.picture("faithfulness"),
            alt="Comprehensiveness and sufficiency of every method of explanation",
        )  # fmt: skip
        st.caption(
            f"Means over {formats.plural(measured['users'], 'user')}, measured on "
            f"{escape(measured['date'], 'markdown')}. Attention says where the model looked."
        )
    with right:
        _differences(measured)
        for sentence in checks(measured):
            st.caption(sentence)


def _differences(measured: Mapping[str, Any]) -> None:
    found = measured["differences"]
    st.dataframe(
        {
            f"{measured['default'].capitalize()} above": [
                escape(pair.removeprefix("default - ")).capitalize() for pair in found
            ],
            "Taken out": [_difference(gap["comprehensiveness"]) for gap in found.values()],
            "Kept alone": [_difference(gap["sufficiency"]) for gap in found.values()],
        },
        hide_index=True,
        height="content",
        alt="By how much the default method is above each other one, with 95% intervals",
    )


def _difference(gap: Mapping[str, float]) -> str:
    return f"{gap['mean']:+.2f} ({gap['lo']:+.2f} to {gap['hi']:+.2f})".replace("-", "−")


def checks(measured: Mapping[str, Any]) -> list[str]:
    """What else was tried, each as a sentence; only of what was measured."""
    told = []
    gap = measured.get("attention_uniform", {}).get("difference")
    if gap:
        told.append(
            f"With all attention made even the AUC changes by {-gap['mean']:+.3f} "
            f"({-gap['hi']:+.3f} to {-gap['lo']:+.3f})."
        )
    if stable := measured.get("stability"):
        told.append(
            f"{stable['seeds']} seeds of removal name the same first {stable['top']} merchants for "
            f"{formats.percent(stable['identical']['share'], 0)} of users; "
            f"{formats.percent(stable['flagged']['share'], 0)} carry the “unstable” flag."
        )
    head = measured.get("randomisation", {}).get("stages", {}).get("head")
    if head:
        told.append(
            "With a random last layer the rank correlation with the original is "
            f"{head['removal']['mean']:+.2f} (removal), {head['gradient']['mean']:+.2f} (gradient) "
            f"and {head['attention']['mean']:+.2f} (attention) on average."
        )
    return [sentence.replace("-0", "−0") for sentence in told]
