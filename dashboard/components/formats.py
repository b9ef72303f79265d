"""Numbers, dates and money, written the same way on every page.

Dates are ISO (`2024-03-31`), times UTC, thousands a comma, decimals a point: the reader of an
international workspace never has to guess which half of `03/04` is the month.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

import pandas as pd

MISSING = "–"
#: d3 formats for plotly, printf formats for data frames: the same look in both.
CHART_MONEY = ",.2f"
CHART_PERCENT = ".1%"
TABLE_MONEY = "%,.2f"
TABLE_COUNT = "%,d"
TABLE_DATE = "YYYY-MM-DD"
TABLE_TIME = "YYYY-MM-DD HH:mm"


def _absent(value: float | None) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def count(value: float | None) -> str:
    """`12,345`."""
    return MISSING if value is None or _absent(value) else f"{value:,.0f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as `12.3%`; a small one never rounds to nothing (`< 0.1%`)."""
    if value is None or _absent(value):
        return MISSING
    least = 10.0 ** -(digits + 2)
    if 0 < value < least:
        return f"< {least:.{digits}%}"
    return f"{value:.{digits}%}"


def money(value: float | None, currency: str) -> str:
    """`1,234.50 EUR`."""
    if value is None or _absent(value):
        return MISSING
    return f"{value:z,.2f} {currency}".strip().replace("-", "−")


def amount(value: float | None, currency: str) -> str:
    """Money without cents where cents would only be noise: from 10,000 on."""
    if value is None or _absent(value):
        return MISSING
    digits = 0 if abs(value) >= 10_000 else 2
    return f"{value:z,.{digits}f} {currency}".strip().replace("-", "−")


def effect(value: float | None, digits: int = 3) -> str:
    """A logit contribution with its sign: `+0.412`, `−0.030`."""
    return MISSING if value is None or _absent(value) else f"{value:+.{digits}f}".replace("-", "−")


def table_effect(largest: float) -> str:
    """The printf format that shows effects up to `largest` with three telling digits."""
    digits = 3 if largest <= 0 else 2 - math.floor(math.log10(largest))
    return f"%+.{min(max(digits, 3), 6)}f"


def number(value: float | None, digits: int = 3) -> str:
    """A plain figure: `0.783`."""
    return MISSING if value is None or _absent(value) else f"{value:z,.{digits}f}".replace("-", "−")


def interval(lo: float | None, hi: float | None, *, as_percent: bool = False) -> str:
    """`0.71–0.84`."""
    show = percent if as_percent else number
    return f"{show(lo)} – {show(hi)}" if not (_absent(lo) or _absent(hi)) else "no interval"


def day(value: datetime | pd.Timestamp | None) -> str:
    """`2024-03-31`."""
    if value is None or pd.isna(value):
        return MISSING
    return f"{value:%Y-%m-%d}"


def instant(value: datetime | pd.Timestamp | None) -> str:
    """`2024-03-31`, or `2024-03-31 14:05` when the time of day says something."""
    if value is None or pd.isna(value):
        return MISSING
    return f"{value:%Y-%m-%d}" if f"{value:%H%M%S}" == "000000" else f"{value:%Y-%m-%d %H:%M}"


def plural(value: int, one: str, many: str | None = None) -> str:
    """`1 payment`, `2 payments`."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def listing(parts: Sequence[str]) -> str:
    """Short facts in a row: `a · b · c`."""
    return " · ".join(part for part in parts if part)
