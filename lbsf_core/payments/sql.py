"""The one place where text becomes part of an SQL statement, and how the ingest opens DuckDB.

Values go through parameters wherever DuckDB takes them. It takes none inside an expression
built from a mapping, in COPY options and in identifiers: there, and only there, `literal` and
`identifier` quote. In DuckDB a doubled quote is the whole escaping rule: backslashes mean
nothing, and a NUL is refused here.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from lbsf_core.errors import IngestError


def literal(text: str) -> str:
    """`text` as an SQL string literal."""
    if "\x00" in text:
        raise IngestError(f"{text!r} holds a NUL character; take it out.")
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """`name` as a quoted SQL identifier."""
    if "\x00" in name:
        raise IngestError(f"{name!r} holds a NUL character; take it out.")
    return '"' + name.replace('"', '""') + '"'


def exact_path(path: Path) -> str:
    """A path for `read_parquet`, which would take `?`, `*` and `[` in it for a pattern."""
    return "".join(f"[{mark}]" if mark in "?*[" else mark for mark in str(path))


def open_scratch(folder: Path, memory_limit: str | None) -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory that spills into `folder`, in UTC, and that installs nothing by itself.

    Raises:
        IngestError: `memory_limit` is no size.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "temp_directory": str(folder / "spill"),
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "preserve_insertion_order": "true",
    }
    if memory_limit is not None:
        config["memory_limit"] = memory_limit
    try:
        connection = duckdb.connect(config=config)
    except duckdb.Error as error:
        raise IngestError(
            f"DuckDB can't start ({error}). A memory limit is a size such as '2GB'."
        ) from error
    # Global, because every cursor is a session of its own.
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    return connection
