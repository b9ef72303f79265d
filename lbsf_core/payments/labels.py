"""Raw files of labels in, `labels.parquet` out: one row a sample (user, cutoff, label)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from lbsf_core.errors import IngestError
from lbsf_core.files import atomic_write
from lbsf_core.payments.mapping import Mapping, load_mapping
from lbsf_core.payments.parse import label_columns, labels_select
from lbsf_core.payments.schema import PaymentsMetadata
from lbsf_core.payments.sources import MAX_ROWS, Source
from lbsf_core.payments.sql import literal
from lbsf_core.payments.staging import look_at, rejects, scratch, stage, write_rejects
from lbsf_core.payments.summary import LabelsSummary


def ingest_labels(
    raw: Sequence[Path],
    mapping: str | Path | Mapping,
    out: Path,
    *,
    label: str | None = None,
    max_reject_share: float = 0.01,
) -> LabelsSummary:
    """Turn raw files of labels into one `labels.parquet` (user_id, cutoff, label 0 or 1).

    Args:
        raw: CSV, TSV or Parquet files, text also gzipped.
        mapping: the mapping of the payments; its `[labels]` table says how labels are read.
        out: the file to write; beside it goes `<stem>.rejects.parquet`.
        label: the name of a `[[labels.label]]`; None takes the first.
        max_reject_share: the largest share of rows that may be rejects, 0 to 1.

    Returns:
        What was read, kept, rejected and why.

    Raises:
        IngestError: the mapping has no labels, a file is wrong, there are too many rejects, or
            one sample has two labels. Nothing is written then.

    Source: issue 2, "Ingest"; the rules are described at `LabelsRule`.
    """
    rules = load_mapping(mapping)
    if rules.labels is None:
        raise IngestError(
            f"Mapping {rules.name} has no [labels] table; add one with user, cutoff, formats and "
            "at least one [[labels.label]]."
        )
    table, chosen, out = rules.labels, rules.labels.choose(label), Path(out)
    sources, _ = look_at(raw, rules.file, MAX_ROWS)
    with scratch(out, None) as connection:
        counts = stage(
            connection,
            sources,
            rule=rules.file,
            wanted=label_columns(table, chosen),
            name=rules.name,
            select=lambda types: labels_select(rules, table, chosen, types),
            max_rows=MAX_ROWS,
            progress=None,
        )
        read = sum(counts)
        rejected, _ = rejects(connection, sources, read, max_reject_share)
        valid = read - sum(rejected.values())
        if not valid:
            raise IngestError(
                f"None of the {read:,} rows is a label; nothing was written. Check the mapping."
            )
        _check_one_label(connection, sources)
        found = _describe(connection)
        metadata = PaymentsMetadata(
            timezone=table.cutoff.timezone or "UTC",
            label=chosen.meaning,
            proxy=chosen.proxy,
            sources=tuple(
                {"name": source.name, "sha256": source.sha256, "rows": rows}
                for source, rows in zip(sources, counts, strict=True)
            ),
        )
        rejects_file = write_rejects(connection, sources, out)
        with atomic_write(out) as temporary:
            connection.cursor().execute(
                "COPY (SELECT DISTINCT user_id, cutoff, label FROM staged "  # noqa: S608
                "WHERE _reject IS NULL ORDER BY user_id, cutoff) "
                f"TO {literal(str(temporary))} (FORMAT parquet, COMPRESSION zstd, "
                f"KV_METADATA {{lbsf: {literal(metadata.to_json())}}})"
            )
    return LabelsSummary(
        out=out,
        rejects_file=rejects_file,
        label=chosen.name,
        meaning=chosen.meaning,
        proxy=chosen.proxy,
        read=read,
        kept=found["kept"],
        rejected=rejected,
        duplicates=valid - found["kept"],
        users=found["users"],
        bad=found["bad"],
        first=datetime.fromtimestamp(found["first"] / 1e6, UTC),
        last=datetime.fromtimestamp(found["last"] / 1e6, UTC),
    )


def _check_one_label(connection: duckdb.DuckDBPyConnection, sources: Sequence[Source]) -> None:
    """A sample with two labels is a fault of the file: no rule could choose one of them."""
    row = (
        connection.cursor()
        .execute(
            "SELECT user_id, cutoff::VARCHAR, arg_min(_file, (_file, _line)), min(_line), "
            "max(_line), count(*) OVER () FROM staged WHERE _reject IS NULL "
            "GROUP BY user_id, cutoff HAVING count(DISTINCT label) > 1 ORDER BY 1, 2 LIMIT 1"
        )
        .fetchone()
    )
    if row is not None:
        user, cutoff, file, first, last, samples = row
        raise IngestError(
            f"{sources[file].path}, lines {first} and {last}: user '{user}' has two labels at "
            f"{cutoff}; {samples:,} samples are like that. Mend the file: one label a sample."
        )


def _describe(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    row = (
        connection.cursor()
        .execute(
            "SELECT count(*), count(DISTINCT user_id), sum(label)::BIGINT, "
            "epoch_us(min(cutoff)), epoch_us(max(cutoff)) "
            "FROM (SELECT DISTINCT user_id, cutoff, label FROM staged WHERE _reject IS NULL)"
        )
        .fetchone()
    )
    return dict(zip(("kept", "users", "bad", "first", "last"), row or (0,) * 5, strict=True))
