"""The fold as one SQL statement: what the fast one must give, said apart from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from lbsf_core.config import FoldConfig
from lbsf_core.payments.schema import Field, quote_identifier


def sql_fold(
    payments: Path, labels: Path, config: FoldConfig, extra: tuple[Field, ...] = ()
) -> list[tuple[Any, ...]]:
    """(sample, segment, merchant, description, microseconds, amount, extra ...) in store order.

    An extra field that is null comes as a pair of nulls, so that rows compare with `==`.
    """
    names = [quote_identifier(field.name) for field in extra]
    columns = "".join(f", {name}" for name in names)
    window = "AND p.timestamp >= s.cutoff - to_days($window_days)" if config.window_days else ""
    caps = [
        *(["segment < $max_merchants"] if config.max_merchants else []),
        *(["age <= $max_payments"] if config.max_payments else []),
    ]
    ties = ["timestamp", "amount", "description", *names]
    oldest = ", ".join(f"{name} ASC NULLS LAST" for name in ties)
    newest = ", ".join(f"{name} DESC NULLS FIRST" for name in ties)
    out = "".join(
        f", epoch_us({name})" if field.sql_type == "TIMESTAMPTZ" else f", {name}"
        for name, field in zip(names, extra, strict=True)
    )
    statement = f"""
        WITH samples AS (
            SELECT (row_number() OVER (ORDER BY user_id, cutoff) - 1)::INTEGER AS sample,
                   user_id, cutoff
            FROM read_parquet($labels)
        ), seen AS (
            SELECT s.sample, p.merchant, p.description, p.timestamp, p.amount{columns}
            FROM read_parquet($payments) p JOIN samples s ON p.user_id = s.user_id
            WHERE p.timestamp < s.cutoff {window}
        ), segments AS (
            SELECT sample, merchant,
                   (row_number() OVER (PARTITION BY sample ORDER BY max(timestamp) DESC, merchant)
                    - 1)::INTEGER AS segment
            FROM seen GROUP BY sample, merchant
        ), ranked AS (
            SELECT *, row_number() OVER (PARTITION BY sample, merchant ORDER BY {newest}) AS age
            FROM seen JOIN segments USING (sample, merchant)
        )
        SELECT sample, segment, merchant, description, epoch_us(timestamp), amount{out}
        FROM ranked WHERE {" AND ".join(caps) or "true"}
        ORDER BY sample, segment, {oldest}
    """
    parameters: dict[str, object] = {"payments": str(payments), "labels": str(labels)}
    parameters |= {k: v for k, v in config.to_dict().items() if v is not None}
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(statement, parameters).fetchall()
