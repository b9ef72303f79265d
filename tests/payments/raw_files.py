"""Small raw files and mappings for the tests of the ingest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from lbsf_core.payments.mapping import Mapping, parse_mapping

HEADER = "user,date,merchant,amount"

SIMPLE = """
[columns]
user = "user"
[merchant]
columns = "merchant"
[time]
column = "date"
formats = ["%Y-%m-%d"]
timezone = "UTC"
[amount]
column = "amount"
"""


def mapping(text: str = SIMPLE, **changes: str) -> Mapping:
    """The simple mapping with pieces of its text replaced or lines added to a table.

    `mapping(file='decimal = ","')` adds a table; `mapping(time_='...')` replaces one.
    """
    for table, lines in changes.items():
        name = table.rstrip("_")
        if table == "top":
            text = lines + "\n" + text
        elif table.endswith("_"):
            head, rest = text.split(f"[{name}]\n", 1)
            tail = rest[rest.index("\n[") :] if "\n[" in rest else ""
            text = f"{head}[{name}]\n{lines}{tail}\n"
        elif f"[{name}]\n" in text:
            text = text.replace(f"[{name}]\n", f"[{name}]\n{lines}\n")
        else:
            text += f"\n[{name}]\n{lines}\n"
    return parse_mapping(text, "test.toml")


def write(path: Path, *rows: str, header: str = HEADER, encoding: str = "utf-8") -> Path:
    """A CSV file of these rows."""
    path.write_bytes("".join(line + "\n" for line in (header, *rows)).encode(encoding))
    return path


def read(path: Path, columns: str = "*") -> list[tuple[Any, ...]]:
    """Rows of a Parquet file, times as text in UTC."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        names = [
            f"{name}::VARCHAR AS {name}" if kind.startswith("TIMESTAMP") else f'"{name}"'
            for name, kind, *_ in connection.execute(f"DESCRIBE FROM '{path}'").fetchall()
        ]
        query = f"SELECT {columns} FROM (SELECT {', '.join(names)} FROM '{path}')"
        return connection.execute(query).fetchall()


def rejects(out: Path) -> list[tuple[Any, ...]]:
    """file, line, column, value, reason of the rejects beside `out`."""
    return read(out.with_name(f"{out.stem}.rejects.parquet"))


def data_bytes(path: Path) -> bytes:
    """The bytes of a Parquet file without its footer, which names the sources and their hashes."""
    content = path.read_bytes()
    footer = int.from_bytes(content[-8:-4], "little")
    return content[: -8 - footer]
