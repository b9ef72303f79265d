"""The one way that data text (users, merchants, descriptions) reaches the screen or a file.

Streamlit renders markdown in labels, captions, metrics and errors, and plotly reads a little HTML:
a merchant called `![x](http://host/y)` would make the browser fetch that address. So every string
that comes from data passes through `escape`, which knows the three places text can go to.
"""

from __future__ import annotations

import html
import re
from typing import Literal

import pandas as pd

from lbsf_core.workspace import shortened, visible

Place = Literal["plain", "markdown", "chart"]

#: Joins two characters without a break and without being seen: splits what a parser would join.
_JOINER = "\u2060"
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$&\"'/^=])")
#: What Streamlit still reads after the backslashes are gone: links, shortcodes, arrows and dashes.
_AUTOMATIC = re.compile(r"(?i)([:@]|www(?=\.)|[-<>=~](?=[-<>=~]))")
#: First characters that make a spreadsheet run a cell.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def escape(text: object, place: Place = "plain", *, width: int | None = None) -> str:
    """Data text as it may be shown at `place`, letter for letter.

    Args:
        text: anything; its `str` is shown.
        place: "plain" (data frames, select options, code), "markdown" (all of Streamlit's labels
            and texts) or "chart" (plotly names, ticks, annotations, hover text).
        width: longest result in characters before escaping. What is too long loses its middle:
            names that begin alike often differ at the end.

    Returns:
        The text with invisible and direction-changing characters made visible (`‹U+200B›`).
    """
    shown = visible(text) if width is None else shortened(text, width)
    if place == "chart":
        return html.escape(shown, quote=False)
    if place == "markdown":
        parted = _AUTOMATIC.sub(rf"\1{_JOINER}", shown)
        return _MARKDOWN.sub(r"\\\1", parted)
    return shown


def visible_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` with every text cell made visible: what a data frame on a page may hold."""
    return _map_text(frame, escape)


def to_csv(frame: pd.DataFrame) -> bytes:
    """UTF-8 CSV of `frame` that a spreadsheet opens without running any cell.

    Text cells and headers that begin with `= + - @`, tab or a line break get a leading `'`; numbers
    stay as they are. The raw text is kept otherwise, invisible characters included.
    """
    safe = _map_text(frame, _no_formula)
    safe.columns = [_no_formula(str(name)) for name in safe.columns]
    return safe.to_csv(index=False).encode("utf-8-sig")


def _no_formula(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _map_text(frame: pd.DataFrame, change: object) -> pd.DataFrame:
    changed = frame.copy()
    for name in changed.columns:
        column = changed[name]
        if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
            continue
        # Through an array: to go through a column of texts itself takes five times as long.
        cells = column.to_numpy(dtype=object)
        values = [change(v) if isinstance(v, str) else v for v in cells]  # type: ignore[operator]
        changed[name] = pd.Series(values, index=column.index, dtype=object)
    return changed
