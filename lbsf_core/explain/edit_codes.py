"""Edits as short lines that a person can read, type, and carry in a link.

    remove at tidecash advance              remove since 2024-05-01 at tidecash advance
    scale 0.5 at rent                       shift -30 at salary
    remove rows 3,5                         add -20 on 2024-05-01 at pawnbroker
    window 90                               cutoff 2024-05-01

What stands after "at" is a merchant's name to the end of the line, whatever it holds. Rows are
those of the sample as it was folded. Times are UTC; without an hour midnight is meant.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from lbsf_core.errors import EditError
from lbsf_core.explain.edits import Edit, Kind

#: Longest line that is read: one edit names one merchant, or some rows.
LONGEST = 2_000
_LINE = re.compile(
    r"(?P<kind>remove|scale|shift|add|window|cutoff)"
    r"(?:\s+(?P<value>(?!since\b|rows\b|on\b|at\b)\S+))?"
    r"(?:\s+since\s+(?P<since>\S+))?"
    r"(?:\s+on\s+(?P<on>\S+))?"
    r"(?:\s+rows\s+(?P<rows>[\d,]+))?"
    r"(?:\s+at\s(?P<merchant>.*))?",
    re.DOTALL,
)
#: What the value after the word is called in an edit of each kind.
_VALUES = {"scale": "factor", "shift": "days", "add": "amount", "window": "days"}
_EXAMPLES = "Write it as “scale 0.5 at rent”, “remove at NAME” or “add -20 on 2024-05-01 at NAME”."


def line_of(edit: Edit) -> str:
    """An edit as a line; `edit_of` reads it back. A description of an added payment is lost."""
    parts: list[str] = [edit.kind]
    value = edit.when if edit.kind == "cutoff" else getattr(edit, _VALUES.get(edit.kind, ""), None)
    if isinstance(value, datetime):
        parts.append(_instant(value))
    elif value is not None:
        parts.append(f"{value:.12g}")
    if edit.since is not None:
        parts.append(f"since {_instant(edit.since)}")
    if edit.kind == "add" and edit.when is not None:
        parts.append(f"on {_instant(edit.when)}")
    if edit.payments:
        parts.append("rows " + ",".join(map(str, edit.payments)))
    if edit.merchant is not None:
        parts.append(f"at {edit.merchant}")
    return " ".join(parts)


def edit_of(line: str) -> Edit:
    """The edit that a line says.

    Raises:
        EditError: it says none, or one that makes no sense.
    """
    found = _LINE.fullmatch(line.lstrip()) if len(line) <= LONGEST else None
    if found is None:
        raise EditError(f"“{line[:60]}” is no edit. {_EXAMPLES}")
    kind: Kind = found["kind"]  # type: ignore[assignment]  # the pattern names no other
    value, name = found["value"], _VALUES.get(kind)
    if value is not None and name is None and kind != "cutoff":
        raise EditError(f"“{line[:60]}”: “{value[:30]}” has no place here. {_EXAMPLES}")
    try:
        number = {name: float(value)} if name and value is not None else {}
        return Edit(
            kind,
            merchant=found["merchant"],
            payments=tuple(int(row) for row in (found["rows"] or "").split(",") if row),
            since=_read(found["since"]),
            when=_read(value if kind == "cutoff" else found["on"]),
            factor=number.get("factor"),
            days=number.get("days"),
            amount=number.get("amount"),
        )
    except ValueError as error:
        if isinstance(error, EditError):
            raise
        raise EditError(f"“{line[:60]}” can't be read: {error}. {_EXAMPLES}") from error


def _instant(when: datetime) -> str:
    """UTC, the day alone at midnight."""
    told = when.astimezone(UTC).replace(tzinfo=None).isoformat()
    return told.removesuffix("T00:00:00")


def _read(text: str | None) -> datetime | None:
    if text is None:
        return None
    when = datetime.fromisoformat(text)
    return when if when.tzinfo else when.replace(tzinfo=UTC)
