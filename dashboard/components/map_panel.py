"""Choose a cohort by drawing a line around it on the map of samples."""

from __future__ import annotations

import streamlit as st

from dashboard import state
from dashboard.charts.cohorts import LETTERS
from dashboard.charts.user_map import user_map
from dashboard.components import formats, shell
from lbsf_core.workspace import SampleFilter, Summary, text_of


def show(source: state.Source, summary: Summary, cohorts: dict[str, SampleFilter]) -> None:
    """The map, drawn when it is asked for; an area that is drawn becomes one of the cohorts."""
    shell.section(
        "Map of what the model makes of users",
        "Near is what it holds to be alike; the axes are the two directions in which users differ "
        "most. Draw a line around some, then make them a cohort.",
    )
    if not st.toggle("Show the map", key="map_open", bind="query-params"):
        return
    samples = state.ask(source, "map")
    event = st.plotly_chart(
        user_map(samples, cohorts), key="map", on_select="rerun", selection_mode="lasso",
        config=state.picture("map"), alt="Samples by what the model makes of them, coloured by PD",
    )  # fmt: skip
    drawn = event["selection"]["lasso"]
    with st.container(horizontal=True, vertical_alignment="center"):
        for letter in LETTERS[: len(cohorts)]:
            st.button(
                f"Make it cohort {letter}", key=f"map_{letter}", disabled=not drawn,
                icon=":material/lasso_select:", on_click=_made, args=(letter, drawn),
            )  # fmt: skip
        told = f"{formats.plural(len(samples), 'sample')} drawn"
        if len(samples) < summary.samples:
            told += f" of {summary.samples:,}; all that lie inside the line are taken"
        st.caption(f"{told}.")


def _made(letter: str, drawn: list[dict]) -> None:
    """The area that was drawn is all that the cohort is made of."""
    prefix = f"{letter.lower()}_"
    state.clear_filters(prefix)
    st.session_state[f"{prefix}area"] = text_of(drawn[0]["x"], drawn[0]["y"])
