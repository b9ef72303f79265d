"""Any table as a file: CSV that no spreadsheet runs, or Parquet; which one, the popover says."""

from __future__ import annotations

import io
from collections.abc import Callable

import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.components.text import to_csv

MIME = {"CSV": "text/csv", "Parquet": "application/vnd.apache.parquet"}


def download(name: str, frame: pd.DataFrame | Callable[[], pd.DataFrame], what: str = "") -> None:
    """A button that makes the file when it is asked for, not whenever the page is drawn.

    Args:
        name: of the file, without its ending; unique on the page.
        frame: the table, or what makes it.
        what: words on the button before the kind of file.
    """
    kind = state.table_kind()
    st.download_button(
        f"{what} as {kind}" if what else kind,
        lambda: content(frame if isinstance(frame, pd.DataFrame) else frame(), kind),
        file_name=f"{name}.{kind.lower()}",
        mime=MIME[kind],
        on_click="ignore",
        icon=":material/download:",
        type="tertiary",
        key=f"download_{name}",
    )


def content(frame: pd.DataFrame, kind: str) -> bytes:
    """The table as a file of this kind; Parquet keeps every text as it is."""
    if kind == "CSV":
        return to_csv(frame)
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()
