"""User ids as people bring them: pasted, or as a file."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq

from lbsf_core.errors import LbsfError

#: Most ids that one cohort is given; a larger one is better told by filters.
MOST = 200_000
#: Names of the column that holds them, where a file has several.
NAMES = ("user_id", "user", "id", "customer_id", "customer")
_BETWEEN = re.compile(r"[\n\r,;\t]+")


def ids_of(text: str) -> tuple[str, ...]:
    """Ids with commas, semicolons, tabs or line ends between them, each once, in their order."""
    return _once(_BETWEEN.split(text))


def ids_of_file(data: bytes, name: str) -> tuple[str, ...]:
    """Ids of an uploaded file: Parquet, CSV with a heading that names the column, or plain text.

    Args:
        data: the file.
        name: its name; the ending says how it is read.

    Raises:
        LbsfError: it can't be read, has no such column, or holds more than `MOST` ids.
    """
    try:
        if name.lower().endswith(".parquet"):
            table = pq.read_table(pa.BufferReader(data))
            column = next((n for n in NAMES if n in table.column_names), None)
            if column is None:
                raise LbsfError(f"{name}: none of its columns is called {', '.join(NAMES)}.")
            return _once(str(value) for value in table[column].to_pylist() if value is not None)
        text = data.decode("utf-8-sig")
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise LbsfError(f"{name}: can't be read ({error}). Give Parquet, CSV or text.") from error
    rows = csv.reader(io.StringIO(text), delimiter=_delimiter(text))
    heading = [cell.strip().lower() for cell in next(rows, [])]
    at = next((heading.index(n) for n in NAMES if n in heading), None)
    if at is None:
        return ids_of(text)
    return _once(row[at] for row in rows if len(row) > at)


def _delimiter(text: str) -> str:
    first = text.partition("\n")[0]
    return max(",;\t", key=first.count)


def _once(ids: Iterable[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(one.strip() for one in ids if one.strip()))
    if len(found) > MOST:
        raise LbsfError(f"{len(found):,} ids are more than {MOST:,}. Describe them by filters.")
    return found
