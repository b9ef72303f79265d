"""`simulate`: a folder of simulated payments, written in chunks of users."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lbsf_core.errors import LbsfError
from lbsf_core.files import atomic_write
from lbsf_core.payments.schema import Field, FieldKind, PaymentsMetadata
from lbsf_core.payments.simulate.tables import (
    CAUSES,
    CURRENCY,
    LABELS,
    PAYMENTS,
    TIMEZONE,
    causes_table,
    labels_table,
    make_user,
    null_label,
    payments_table,
    with_metadata,
)

_CHUNK_USERS = 250
_LATENT = "a default, drawn from the planted causes (simulated)"
_NULL = "a draw that knows nothing of the payments (simulated, null)"
_README = """# Simulated payments

Made by `lbsf simulate`: every user, merchant and payment in here is invented.

**Figures on these files are never evidence of predictive power.** The labels were drawn from
causes that the generator planted itself; the files serve demos, tests of planted causes and load.

- `payments.parquet`: {payments:,} payments of {users:,} users; local time of {timezone} stored
  as UTC, amounts in {currency}. Some payments lie at or after the cutoff: no model may see them.
- `labels.parquet`: one (user, cutoff, label) a row; label 1 means {label}.
- `causes.parquet`: {causes}

Made with seed {seed}; the same seed gives the same bytes.
"""


@dataclass(frozen=True)
class SimulationSummary:
    """What `simulate` wrote.

    Attributes:
        users, payments: counts.
        bad: labels that are 1.
        causes: users with a planted cause, by its name (empty with `null`).
        bytes: size of all files together.
    """

    users: int
    payments: int
    bad: int
    causes: dict[str, int]
    bytes: int


def _checked(users: int, seed: int, years: float | tuple[float, float]) -> tuple[float, float]:
    if users < 1:
        raise LbsfError(f"users is {users}; ask for at least 1.")
    if seed < 0:
        raise LbsfError(f"seed is {seed}; give 0 or a positive number.")
    low, high = years if isinstance(years, tuple) else (years, years)
    if not 0.75 <= low <= high <= 20:
        raise LbsfError(f"years is {years}; give 0.75 to 20, the shorter first.")
    return low, high


def simulate(
    out: str | Path,
    *,
    users: int,
    seed: int,
    null: bool = False,
    years: float | tuple[float, float] = (1.0, 3.0),
    progress: Callable[[int, int], None] | None = None,
) -> SimulationSummary:
    """Write a folder of simulated payments with known causes (issue 2).

    The folder holds `payments.parquet` and `labels.parquet` in the canonical schema, marked as
    simulated, with the extra field `category` (kind of merchant); `causes.parquet` (user_id,
    cutoff, label, cause, merchant, merchant_2, change, start, effect in logit units), one row
    for each user with a planted cause, whatever the label came out as; and a README. A user's
    payments stand together, merchant by merchant, because that compresses best.

    Never evidence of predictive power.

    Args:
        out: the folder; replaced as a whole, or left as it was when anything fails.
        users: how many; user i is the same however many are asked for.
        seed: same seed, same bytes. The world of merchants is the same for every seed.
        null: labels independent of the payments, at the same rate; the same payments; no causes.
        years: length of the history before the cutoff, or its shortest and longest.
        progress: called with (users done, users in all) after each chunk.

    Raises:
        LbsfError: a setting makes no sense, or the folder can't be written.
    """
    span = _checked(users, seed, years)
    metadata = PaymentsMetadata(
        (Field("category", FieldKind.CATEGORY),), CURRENCY, TIMEZONE, simulated=True
    )
    about_labels = replace(metadata, extra_fields=(), label=_NULL if null else _LATENT)
    payments = 0
    labels, causes = [LABELS.empty_table()], [CAUSES.empty_table()]
    with atomic_write(out) as folder:
        folder.mkdir()
        with pq.ParquetWriter(
            folder / "payments.parquet",
            with_metadata(PAYMENTS, metadata),
            compression="zstd",
            compression_level=12,
            # Minutes look random to a dictionary; split into bytes the upper ones compress.
            use_dictionary=[name for name in PAYMENTS.names if name != "timestamp"],
            column_encoding={"timestamp": "BYTE_STREAM_SPLIT"},
            dictionary_pagesize_limit=1 << 24,
        ) as writer:
            for first in range(0, users, _CHUNK_USERS):
                numbers = range(first, min(users, first + _CHUNK_USERS))
                chunk = [make_user(seed, number, span) for number in numbers]
                table = payments_table(chunk).cast(writer.schema)
                writer.write_table(table, row_group_size=len(table))
                payments += len(table)
                if null:
                    drawn = [null_label(seed, number) for number in numbers]
                else:
                    drawn = [user.life.plan.label for user in chunk]
                    causes.append(causes_table(chunk, drawn))
                labels.append(labels_table(chunk, drawn))
                if progress is not None:
                    progress(numbers.stop, users)
        all_labels, all_causes = pa.concat_tables(labels), pa.concat_tables(causes)
        about = with_metadata(LABELS, about_labels)
        pq.write_table(all_labels.cast(about), folder / "labels.parquet", compression="zstd")
        pq.write_table(all_causes, folder / "causes.parquet", compression="zstd")
        text = _README.format(
            payments=payments,
            users=users,
            timezone=TIMEZONE,
            currency=CURRENCY,
            label=about_labels.label,
            seed=seed,
            causes="empty: there are none." if null else "which change was planted in which user.",
        )
        (folder / "README.md").write_text(text, encoding="utf-8")
        size = sum(path.stat().st_size for path in folder.iterdir())
    bad = sum(all_labels["label"].to_pylist())
    kinds = dict(sorted(Counter(all_causes["cause"].to_pylist()).items()))
    return SimulationSummary(users, payments, bad, kinds, size)
