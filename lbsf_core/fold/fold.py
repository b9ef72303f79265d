"""Fold: group each sample's payments by merchant, in one SQL statement, out of core.

    payments.parquet + labels.parquet -> STORE/payments.parquet   one row a kept payment
                                         STORE/samples.parquet    one row a sample
                                         STORE/manifest.json

Measured alternatives and why this shape: design.md, "Folded store" (flat windowed SQL, no
`list()`, which runs out of memory on a user with 10M payments).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import duckdb

from lbsf_core.config import FoldConfig
from lbsf_core.errors import IngestError, StoreError
from lbsf_core.files import atomic_write, dump_json, sha256
from lbsf_core.fold.store import (
    MANIFEST,
    PAYMENTS,
    SAMPLES,
    STORE_VERSION,
    FoldedStore,
    StoreManifest,
)
from lbsf_core.payments.schema import Field, PaymentsMetadata, quote_identifier, read_metadata

#: Rows of a Parquet row group: small enough that one user is a small read, large enough to scan.
ROW_GROUP = 61_440


@dataclass(frozen=True)
class FoldSummary:
    """What a fold kept and dropped."""

    samples: int
    payments: int
    segments: int
    empty_samples: int
    dropped_payments: int
    dropped_merchants: int
    dropped_amount: float

    def rows(self) -> list[tuple[str, str]]:
        """Label and figure, for a table."""
        return [
            ("samples", f"{self.samples:,}"),
            ("samples without a payment", f"{self.empty_samples:,}"),
            ("payments kept", f"{self.payments:,}"),
            ("segments", f"{self.segments:,}"),
            ("payments dropped by the caps", f"{self.dropped_payments:,}"),
            ("merchants dropped by the caps", f"{self.dropped_merchants:,}"),
            ("absolute amount dropped by the caps", f"{self.dropped_amount:,.2f}"),
        ]


def fold_sql(config: FoldConfig, extra: tuple[Field, ...], *, dropped: bool = False) -> str:
    """The statement that folds, or with `dropped` the one that gives what the caps cut off.

    Parameters: $payments, $labels (paths), and $window_days, $max_merchants, $max_payments where
    the configuration sets them.

    Segment order: most recent payment first, ties by merchant. Inside a segment: by time, ties by
    amount, description and the extra fields, so that the order of the input never matters.
    """
    names = [quote_identifier(field.name) for field in extra]
    columns = "".join(f", {name}" for name in names)
    window = "AND p.timestamp >= s.cutoff - to_days($window_days)" if config.window_days else ""
    rank = (
        """, row_number() OVER (PARTITION BY sample, merchant
             ORDER BY timestamp DESC, amount DESC, description DESC"""
        + "".join(f", {name} DESC" for name in names)
        + ") AS age"
        if config.max_payments
        else ", 0 AS age"
    )
    caps = [
        *(["segment < $max_merchants"] if config.max_merchants else []),
        *(["age <= $max_payments"] if config.max_payments else []),
    ]
    kept = " AND ".join(caps) or "true"
    where = f"NOT ({kept})" if dropped else kept
    return f"""
        WITH samples AS (
            SELECT (row_number() OVER (ORDER BY user_id, cutoff) - 1)::INTEGER AS sample,
                   user_id, cutoff
            FROM read_parquet($labels)
        ), seen AS NOT MATERIALIZED ( -- reading twice beats holding every row (5.0 s, not 5.9 s)
            SELECT s.sample, p.merchant, p.description, p.timestamp, p.amount{columns}
            FROM read_parquet($payments) p JOIN samples s ON p.user_id = s.user_id
            WHERE p.timestamp < s.cutoff {window}
        ), segments AS (
            SELECT sample, merchant,
                   (row_number() OVER (PARTITION BY sample ORDER BY max(timestamp) DESC, merchant)
                    - 1)::INTEGER AS segment
            FROM seen GROUP BY sample, merchant
        ), ranked AS (
            SELECT sample, segment, merchant, description, timestamp, amount{columns}{rank}
            FROM seen JOIN segments USING (sample, merchant)
        )
        SELECT sample, segment, merchant, description, timestamp, amount{columns}
        FROM ranked WHERE {where}
    """  # noqa: S608 - identifiers are quoted, values are parameters


def fold(
    payments: str | Path,
    labels: str | Path,
    out: str | Path,
    config: FoldConfig | None = None,
    *,
    memory_limit: str | None = None,
) -> FoldSummary:
    """Fold payments at the cutoffs of the labels into a store (written atomically).

    Args:
        payments: `payments.parquet` (see `lbsf_core.payments.schema`).
        labels: `labels.parquet`: user_id, cutoff, label (may be null: score only).
        out: folder of the new store; an existing one is replaced.
        config: window and caps; by default all history and no caps.
        memory_limit: e.g. "2GB"; beyond it DuckDB spills to a temporary folder.

    Raises:
        IngestError: a file is missing, unreadable, or lacks a column.
        StoreError: a sample stands twice in the labels, or the disk is full.
    """
    config = config or FoldConfig()
    payments, labels, out = Path(payments), Path(labels), Path(out)
    about, about_labels = read_metadata(payments), read_metadata(labels)
    parameters: dict[str, object] = {"payments": str(payments), "labels": str(labels)}
    parameters |= {k: v for k, v in config.to_dict().items() if v is not None}
    with atomic_write(out) as folder, tempfile.TemporaryDirectory(prefix="lbsf-fold-") as spill:
        folder.mkdir()
        connection = duckdb.connect(config={"temp_directory": spill})
        try:
            connection.execute("SET TimeZone = 'UTC'")
            if memory_limit:
                connection.execute("SET memory_limit = $limit", {"limit": memory_limit})
            _check_labels(connection, labels)
            _write(connection, folder, config, about.extra_fields, parameters)
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            if str(folder) in reason or spill in reason:  # writing, not reading, failed
                raise StoreError(
                    f"{out}: can't be written ({reason}); what was there before is untouched. "
                    "Free some space or choose another folder, then run the command again."
                ) from error
            raise IngestError(
                f"{payments} with {labels}: can't be folded ({reason}). "
                "Make both with `lbsf ingest` and `lbsf ingest-labels`."
            ) from error
        finally:
            connection.close()
        manifest = _manifest(folder, payments, labels, config, about, about_labels)
        (folder / MANIFEST).write_text(dump_json(manifest.to_dict()), encoding="utf-8")
    store = FoldedStore.open(out, verify=False)
    return _summary(store)


def _check_labels(connection: duckdb.DuckDBPyConnection, labels: Path) -> None:
    double = connection.execute(
        """SELECT user_id, cutoff::VARCHAR FROM read_parquet($labels)
           GROUP BY user_id, cutoff HAVING count(*) > 1 ORDER BY ALL LIMIT 1""",
        {"labels": str(labels)},
    ).fetchone()
    if double:
        raise StoreError(
            f"{labels}: user '{double[0]}' stands more than once at cutoff {double[1]}. "
            "Keep one row for each (user, cutoff)."
        )


def _write(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    config: FoldConfig,
    extra: tuple[Field, ...],
    parameters: dict[str, object],
) -> None:
    """Write payments.parquet and samples.parquet into `folder`."""
    target = {"target": str(folder / PAYMENTS)}
    copy = f"(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE {ROW_GROUP})"
    order = ["sample", "segment", "timestamp", "amount", "description"]
    order += [quote_identifier(field.name) for field in extra]
    if config.max_merchants or config.max_payments:
        # Counted over the whole window before the caps cut, so that nothing is dropped in silence.
        connection.execute(
            f"""CREATE TEMP TABLE dropped AS
                SELECT sample, count(*) AS payments, sum(abs(amount)) AS amount,
                       count(DISTINCT merchant) FILTER (segment >= $cap) AS merchants
                FROM ({fold_sql(config, extra, dropped=True)}) GROUP BY sample""",  # noqa: S608
            parameters | {"cap": config.max_merchants or 2**31 - 1},
        )
    else:
        connection.execute(
            """CREATE TEMP TABLE dropped (sample INTEGER, payments BIGINT, amount DOUBLE,
                                          merchants BIGINT)"""
        )
    connection.execute(
        f"COPY ({fold_sql(config, extra)} ORDER BY {', '.join(order)}) TO $target {copy}",
        parameters | target,
    )
    window = "cutoff - to_days($window_days)" if config.window_days else "NULL::TIMESTAMPTZ"
    days = {"window_days": config.window_days} if config.window_days else {}
    connection.execute(
        f"""
        COPY (
            WITH samples AS (
                SELECT (row_number() OVER (ORDER BY user_id, cutoff) - 1)::INTEGER AS sample,
                       user_id, cutoff, label::DOUBLE AS label, {window} AS window_start
                FROM read_parquet($labels)
            ), counts AS (
                SELECT sample, count(*) AS payments, max(segment) + 1 AS segments,
                       sum(greatest(amount, 0)) AS money_in, sum(greatest(-amount, 0)) AS money_out,
                       min(timestamp) AS first_payment, max(timestamp) AS last_payment
                FROM read_parquet($target) GROUP BY sample
            )
            SELECT sample, user_id, cutoff, label, window_start,
                   coalesce(c.payments, 0)::BIGINT AS payments,
                   coalesce(c.segments, 0)::BIGINT AS segments,
                   coalesce(sum(c.payments) OVER (ORDER BY sample ROWS BETWEEN
                       UNBOUNDED PRECEDING AND 1 PRECEDING), 0)::BIGINT AS row_start,
                   coalesce(c.money_in, 0)::DOUBLE AS money_in,
                   coalesce(c.money_out, 0)::DOUBLE AS money_out,
                   c.first_payment, c.last_payment,
                   coalesce(d.payments, 0)::BIGINT AS dropped_payments,
                   coalesce(d.merchants, 0)::BIGINT AS dropped_merchants,
                   coalesce(d.amount, 0)::DOUBLE AS dropped_amount
            FROM samples LEFT JOIN counts c USING (sample) LEFT JOIN dropped d USING (sample)
            ORDER BY sample
        ) TO $samples {copy}""",  # noqa: S608
        {"labels": parameters["labels"], "samples": str(folder / SAMPLES)} | target | days,
    )


def _manifest(
    folder: Path,
    payments: Path,
    labels: Path,
    config: FoldConfig,
    about: PaymentsMetadata,
    about_labels: PaymentsMetadata,
) -> StoreManifest:
    return StoreManifest(
        store_version=STORE_VERSION,
        fold=config.to_dict(),
        extra_fields=about.extra_fields,
        currency=about.currency,
        timezone=about.timezone,
        simulated=about.simulated,
        label=about_labels.label,
        proxy=about_labels.proxy,
        sources={payments.name: sha256(payments), labels.name: sha256(labels)},
        files={name: sha256(folder / name) for name in (PAYMENTS, SAMPLES)},
    )


def _summary(store: FoldedStore) -> FoldSummary:
    samples = store.samples
    return FoldSummary(
        samples=len(samples),
        payments=int(samples["payments"].sum()),
        segments=int(samples["segments"].sum()),
        empty_samples=int((samples["payments"] == 0).sum()),
        dropped_payments=int(samples["dropped_payments"].sum()),
        dropped_merchants=int(samples["dropped_merchants"].sum()),
        dropped_amount=float(samples["dropped_amount"].sum()),
    )
