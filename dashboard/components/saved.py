"""Cohorts that people saved under a name: open one, keep the one in view."""

from __future__ import annotations

import streamlit as st

from dashboard import state
from dashboard.components import filters, formats
from dashboard.components.text import escape
from lbsf_core.workspace import LbsfError, SampleFilter, SavedCohort

_TOLD = "saved_told"


def drawer(source: state.Source, prefix: str, name: str, where: SampleFilter) -> None:
    """What is saved, and a button to save the cohort in view under its name.

    Args:
        source: the workspace in view.
        prefix: of the cohort's widgets.
        name: what the cohort is called in its box; empty = not yet.
        where: who belongs to it.
    """
    # Only the open drawer asks the database; its keys are no filters, which begin with the prefix.
    box = st.popover(
        "Saved", icon=":material/bookmark:", key=f"saved_{prefix}drawer", on_change="rerun"
    )
    if not box.open:
        return
    with box:
        try:
            known = {one.name: one for one in state.saved_cohorts().all(source.name)}
        except LbsfError as error:
            st.error(escape(str(error), "markdown"), icon=":material/error:")
            return
        if problem := st.session_state.pop(_TOLD, None):
            st.error(escape(problem, "markdown"), icon=":material/error:")
        if known:
            _open(source, prefix, known)
        else:
            st.caption("Nobody has saved a cohort of this workspace yet.")
        if name.strip():
            st.button(
                f"Save this one as {escape(name.strip(), 'markdown', width=30)}",
                key=f"saved_{prefix}keep", icon=":material/bookmark_add:", on_click=_keep,
                args=(source.name, name, where),
            )  # fmt: skip
        else:
            st.caption("To save this one, name it in the box beside its letter.")


def _open(source: state.Source, prefix: str, known: dict[str, SavedCohort]) -> None:
    key = f"saved_{prefix}which"
    state.drop_stale(key, list(known))
    which = st.selectbox(
        "Saved cohort", list(known), index=None, key=key, format_func=escape,
        placeholder="choose one",
    )  # fmt: skip
    if which is None:
        return
    chosen = known[which]
    st.caption(
        f"{filters.in_words(chosen.chosen)}; saved by {escape(chosen.by, 'markdown', width=40)}, "
        f"{formats.day(chosen.at)}"
    )
    with st.container(horizontal=True):
        st.button("Open it", key=f"saved_{prefix}open", icon=":material/folder_open:",
                  on_click=_opened, args=(prefix, chosen))  # fmt: skip
        st.button("Delete", key=f"saved_{prefix}delete", icon=":material/delete:", type="tertiary",
                  on_click=_deleted, args=(source.name, which))  # fmt: skip


def _opened(prefix: str, chosen: SavedCohort) -> None:
    filters.put_in(prefix, chosen.chosen)
    st.session_state[f"{prefix}name"] = chosen.name


def _keep(workspace: str, name: str, where: SampleFilter) -> None:
    by = st.session_state.get("analyst") or state.NAMELESS
    try:
        state.saved_cohorts().save(workspace, name, where, by)
    except LbsfError as error:
        st.session_state[_TOLD] = str(error)


def _deleted(workspace: str, name: str) -> None:
    try:
        state.saved_cohorts().delete(workspace, name)
    except LbsfError as error:
        st.session_state[_TOLD] = str(error)
