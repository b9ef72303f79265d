"""What every page has around its content: workspace picker, heading, honesty line, error net."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard import state
from dashboard.charts import style
from dashboard.components import guide, states
from dashboard.components.text import escape
from lbsf_core.workspace import LbsfError, Summary


@contextmanager
def guarded() -> Iterator[None]:
    """Turn an error that lbsf raises on purpose into a page that says what to do."""
    try:
        yield
    except LbsfError as error:
        states.problem(error)


def choose_source() -> state.Source:
    """The workspace in view; with several, a picker in the sidebar that the link remembers."""
    found = state.sources()
    names = list(found)
    if len(names) == 1:
        return found[names[0]]
    with st.sidebar:
        state.first_if_stale("workspace", names)
        name = st.selectbox(
            "Workspace",
            names,
            key="workspace",
            bind="query-params",
            format_func=escape,
            help="Each workspace holds the payments, the model and the scores of one portfolio.",
        )
        st.caption(f"{len(names)} workspaces in this folder.")
    return found[name or names[0]]


def heading(title: str, summary: Summary, more: Callable[[], None] | None = None) -> None:
    """The page's title, with the honesty badges beside it on every page.

    Args:
        title: our own words, or data text already escaped for markdown.
        summary: of the workspace in view.
        more: draws further badges in the same row.
    """
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.header(title, anchor=False, width="content")
        st.badge(escape(summary.name, "markdown", width=40), color="gray", icon=":material/folder:")
        if summary.simulated:
            st.badge(
                "Simulated payments",
                color="orange",
                icon=":material/science:",
                help="A generator made these payments and defaults. Figures here show how the tool "
                "works; they are no evidence of predictive power.",
            )
        if summary.proxy:
            st.badge(
                "Proxy label",
                color="orange",
                icon=":material/swap_horiz:",
                help="“Bad” stands for a proxy, not for an observed default: "
                f"{escape(summary.label, 'markdown')}.",
            )
        if more is not None:
            more()
        guide.show()
        with st.popover("Save as", icon=":material/file_save:"):
            st.segmented_control(
                "Take charts away as", style.PICTURES, default=style.PICTURES[0], required=True,
                key=state.PICTURES, bind="query-params",
            )  # fmt: skip
            st.caption("Point at a chart and press the camera in its corner.")
            st.segmented_control(
                "Take tables away as", state.TABLE_KINDS, default=state.TABLE_KINDS[0],
                required=True, key=state.TABLES, bind="query-params",
            )  # fmt: skip


def honesty(summary: Summary) -> None:
    """Say in plain words, before any figure, what the figures can't show."""
    if summary.simulated:
        st.info(
            "**Simulated.** A generator made these payments and defaults, causes included. The "
            "figures show how the tool works; they are no evidence of predictive power.",
            icon=":material/science:",
        )
    if summary.proxy:
        st.info(
            "**Proxy label.** No default was observed here: “bad” means "
            f"{escape(summary.label, 'markdown')}. Read rates and metrics as those of the proxy.",
            icon=":material/swap_horiz:",
        )


def places(count: int) -> list[DeltaGenerator]:
    """Places one under another that stay where they are, whatever is drawn in those above.

    A widget that moves is for a moment drawn twice, and when the browser clears the older one it
    forgets that the widget writes to the address: from then on its value is no part of the link.
    """
    return [st.container() for _ in range(count)]


def section(title: str, note: str = "") -> None:
    """A section's heading with one line that says how to read it. Both are our own words."""
    st.subheader(title, anchor=False)
    if note:
        st.caption(note)
