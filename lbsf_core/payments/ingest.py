"""Raw files in, `payments.parquet` out: validated, counted once, sorted, out of core.

The way of a row: `sources` cuts files into cells, `parse` makes each row a payment or a reject
with its reason, the duplicate rule counts every payment once, and the result is sorted by user,
time and every other column, so that the order of rows and files never shows in the output.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from lbsf_core.errors import IngestError
from lbsf_core.files import atomic_write
from lbsf_core.payments.mapping import Mapping, load_mapping
from lbsf_core.payments.merchants import NO_MERCHANT
from lbsf_core.payments.parse import payments_select, wanted_columns
from lbsf_core.payments.schema import PAYMENT_COLUMNS, Field, PaymentsMetadata
from lbsf_core.payments.sources import MAX_ROWS, Source
from lbsf_core.payments.sql import exact_path, identifier, literal
from lbsf_core.payments.staging import (
    Progress,
    look_at,
    rejects,
    scratch,
    stage,
    write_rejects,
)
from lbsf_core.payments.summary import IngestSummary

ROW_GROUP = 122_880


def ingest(
    raw: Sequence[Path],
    mapping: str | Path | Mapping,
    out: Path,
    *,
    max_reject_share: float = 0.01,
    memory_limit: str | None = None,
    max_rows: int | None = None,
    progress: Progress | None = None,
) -> IngestSummary:
    """Turn raw payment files into one `payments.parquet`.

    Args:
        raw: CSV, TSV or Parquet files, text also gzipped; their order does not matter.
        mapping: the name of a mapping that ships with lbsf, a TOML file, or a `Mapping`.
        out: the file to write; beside it goes `<stem>.rejects.parquet`.
        max_reject_share: the largest share of rows that may be rejects, 0 to 1.
        memory_limit: DuckDB's, such as "2GB"; beyond it, it spills to disk beside `out`.
        max_rows: the most rows in all files together (default one thousand million).
        progress: called with what is being done and the rows so far.

    Returns:
        What was read, kept, rejected and why.

    Raises:
        IngestError: a mapping or a file is wrong, there are too many rejects, several
            currencies without a rule, or no payment at all. Nothing is written then.

    Source: issue 2, "Ingest"; the rules are described at `Mapping`.
    """
    rules = load_mapping(mapping)
    out = Path(out)
    cap = MAX_ROWS if max_rows is None else max_rows
    sources, twice = look_at(raw, rules.file, cap)
    with scratch(out, memory_limit) as connection:
        counts = stage(
            connection,
            sources,
            rule=rules.file,
            wanted=wanted_columns(rules),
            name=rules.name,
            select=lambda types: payments_select(rules, types),
            max_rows=cap,
            progress=progress,
        )
        read = sum(counts)
        rejected, left_out = rejects(connection, sources, read, max_reject_share)
        currency = _one_currency(connection, rules)
        valid = read - sum(rejected.values()) - sum(left_out.values())
        if not valid:
            raise IngestError(
                f"None of the {read:,} rows is a payment; nothing was written. Check the mapping."
            )
        if progress is not None:
            progress("counting once, sorting, writing", valid)
        conflicts = _count_once(connection, rules)
        rejects_file = write_rejects(connection, sources, out)
        _write(connection, rules, out, _metadata(rules, currency, sources, counts))
        found = _describe(connection, out)
        times = _odd_times(connection)
    return IngestSummary(
        out=out,
        rejects_file=rejects_file,
        files=len(sources),
        files_given_twice=twice,
        read=read,
        kept=found["kept"],
        rejected=rejected,
        left_out=left_out,
        duplicates=valid - found["kept"],
        conflicts=conflicts,
        ambiguous_times=times[0],
        skipped_times=times[1],
        users=found["users"],
        merchants=found["merchants"],
        first=datetime.fromtimestamp(found["first"] / 1e6, UTC),
        last=datetime.fromtimestamp(found["last"] / 1e6, UTC),
        currency=currency,
    )


def _columns(mapping: Mapping) -> list[str]:
    return [*PAYMENT_COLUMNS, *(extra.name for extra in mapping.extras)]


def _order(mapping: Mapping) -> str:
    """User, time, then every other column: rows that still tie are the same row."""
    first = ["user_id", "timestamp"]
    rest = [name for name in _columns(mapping) if name not in first]
    return ", ".join(f"{identifier(name)} ASC NULLS FIRST" for name in [*first, *rest])


def _one_currency(connection: duckdb.DuckDBPyConnection, mapping: Mapping) -> str:
    """The one currency of all payments.

    Raises:
        IngestError: there are several: amounts in them can't be added up.
    """
    rows = (
        connection.cursor()
        .execute(
            "SELECT currency, count(*) FROM staged WHERE _reject IS NULL "
            "GROUP BY 1 ORDER BY 2 DESC, 1"
        )
        .fetchall()
    )
    if len(rows) > 1:
        shown = ", ".join(f"{code} ({count:,})" for code, count in rows[:10])
        raise IngestError(
            f"Column '{mapping.currency.column}' names several currencies: {shown}. Amounts in "
            f'them are never added up: write `only = "{rows[0][0]}"` under [currency] to keep '
            "one and leave the others out, or convert the amounts first."
        )
    return str(rows[0][0]) if rows else ""


def _count_once(connection: duckdb.DuckDBPyConnection, mapping: Mapping) -> int:
    """Make the view `payments` under the duplicate rule; give the ids with two contents.

    Until `_write` looks the keys up, `_merchant` (the text) stands in for `merchant`: equal
    texts have equal keys.
    """
    cursor = connection.cursor()
    names = ", ".join(
        identifier("_merchant" if name == "merchant" else name) for name in _columns(mapping)
    )
    order = _order(mapping).replace(identifier("merchant"), identifier("_merchant"))
    kept = "FROM staged WHERE _reject IS NULL"
    if mapping.payment_id:
        cursor.execute(f"CREATE VIEW alike AS SELECT DISTINCT _id, {names} {kept}")
        row = cursor.execute("SELECT count(*) - count(DISTINCT _id) FROM alike").fetchone()
        conflicts = int(row[0]) if row else 0
        # With one content per id there is nothing to choose, and the costly choice is spared.
        choose = f"DISTINCT ON (_id) {names} FROM alike ORDER BY _id, {order}"
        cursor.execute(
            f"CREATE VIEW payments AS SELECT {choose if conflicts else names + ' FROM alike'}"  # noqa: S608
        )
        return conflicts
    if mapping.duplicates == "drop":
        cursor.execute(f"CREATE VIEW payments AS SELECT DISTINCT {names} {kept}")
        return 0
    per_file = f"SELECT _file, {names}, count(*) AS _copies {kept} GROUP BY ALL"
    cursor.execute(
        f"CREATE VIEW payments AS SELECT {names} FROM "  # noqa: S608 - identifiers are quoted
        f"(SELECT {names}, unnest(range(max(_copies))) FROM ({per_file}) GROUP BY {names})"
    )
    return 0


def _describe(connection: duckdb.DuckDBPyConnection, out: Path) -> dict[str, int]:
    """Counts and dates, read back from what was written."""
    row = (
        connection.cursor()
        .execute(
            "SELECT count(*), count(DISTINCT user_id), count(DISTINCT merchant), "
            "epoch_us(min(timestamp)), epoch_us(max(timestamp)) FROM read_parquet(?)",
            [exact_path(out)],
        )
        .fetchone()
    )
    return dict(zip(("kept", "users", "merchants", "first", "last"), row or (0,) * 5, strict=True))


def _odd_times(connection: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    row = (
        connection.cursor()
        .execute(
            "SELECT count(*) FILTER (_ambiguous), count(*) FILTER (_skipped) FROM staged "
            "WHERE _reject IS NULL"
        )
        .fetchone()
    )
    return (row[0], row[1]) if row else (0, 0)


def _metadata(
    mapping: Mapping, currency: str, sources: Sequence[Source], counts: Sequence[int]
) -> PaymentsMetadata:
    return PaymentsMetadata(
        extra_fields=tuple(Field(extra.name, extra.kind) for extra in mapping.extras),
        currency=currency,
        timezone=mapping.time.timezone or "UTC",
        sources=tuple(
            {"name": source.name, "sha256": source.sha256, "rows": rows}
            for source, rows in zip(sources, counts, strict=True)
        ),
    )


def _write(
    connection: duckdb.DuckDBPyConnection, mapping: Mapping, out: Path, metadata: PaymentsMetadata
) -> None:
    cursor = connection.cursor()
    macro = "lbsf_merchant" if mapping.merchant.numbers == "strip" else "lbsf_merchant_keep"
    cursor.execute(
        f"CREATE TABLE merchant_keys AS SELECT _merchant, {macro}(_merchant) AS key "  # noqa: S608
        "FROM (SELECT DISTINCT _merchant FROM staged WHERE _reject IS NULL)"
    )
    names = ", ".join(
        f"coalesce(key, {literal(NO_MERCHANT)}) AS merchant"
        if name == "merchant"
        else identifier(name)
        for name in _columns(mapping)
    )
    with atomic_write(out) as temporary:
        cursor.execute(
            f"COPY (SELECT {names} FROM payments LEFT JOIN merchant_keys USING (_merchant) "  # noqa: S608
            f"ORDER BY {_order(mapping)}) "
            f"TO {literal(str(temporary))} (FORMAT parquet, COMPRESSION zstd, "
            f"ROW_GROUP_SIZE {ROW_GROUP}, KV_METADATA {{lbsf: {literal(metadata.to_json())}}})"
        )
