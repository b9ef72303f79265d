"""Whether the population has moved since the model was trained."""

from __future__ import annotations

import streamlit as st

from dashboard import state
from dashboard.charts import compared as charts
from dashboard.components import formats, shell, states
from dashboard.components.text import escape
from lbsf_core.workspace import Drift


def show(found: Drift) -> None:
    """The chart, and what it holds against what."""
    shell.section(
        "Has the population moved?",
        f"Population stability index (PSI) of score and activity, by {found.per} of the cutoff. "
        "Hollow: chance may explain it.",
    )
    if found.periods.empty:
        states.empty(
            "Nothing can be compared",
            "It takes 30 samples that training never saw, and 30 to hold them against.",
            icon="timeline",
        )
        return
    st.plotly_chart(
        charts.drift(found.periods), key="drift", config=state.picture("drift"),
        alt="Population stability index of score and activity over time, against the reference",
    )  # fmt: skip
    told = f"Held against {escape(found.reference, 'markdown')}."
    if found.trained:
        told += " A model is surer of what it was trained on: part of the PSI of the PD is that."
    else:
        told += " The training's own samples are not in this workspace."
    if found.left_out:
        told += f" {formats.plural(found.left_out, found.per)} with fewer than 30 samples left out."
    st.caption(told)
