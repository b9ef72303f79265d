"""Invented payments of any size for the benches: shapes that cost what real ones cost.

Not `lbsf simulate`, which plants causes and lives and takes longer per payment than a fold does.
Here a user pays 20 to 150 of 20,000 merchants, some far more often than others; a description
names the merchant with one of four references, so that texts repeat as in real exports.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from lbsf_core.fold.batch import DAY, FoldedBatch, Strings
from lbsf_core.payments.schema import METADATA_KEY, PaymentsMetadata

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: Distinct merchants of the whole population, and references of each merchant's descriptions.
MERCHANTS, REFERENCES = 20_000, 4
#: Payments lie in [EPOCH, EPOCH + SPAN_DAYS); cutoffs in the last 90 days of it.
EPOCH, SPAN_DAYS = 1_640_995_200_000_000, 1_095  # 2022-01-01, three years
_ROW_GROUP = 122_880
_FIRST = ("north", "green", "blue", "old", "royal", "city", "sun", "river", "oak", "star")
_SECOND = ("market", "bakery", "fuel", "pharmacy", "books", "travel", "telecom", "cafe", "rent")


def merchant_names() -> list[str]:
    """`MERCHANTS` names, all different."""
    return [
        f"{_FIRST[i % 10]}{_FIRST[i // 10 % 10]} {_SECOND[i // 100 % 9]} {i // 900}"
        for i in range(MERCHANTS)
    ]


def descriptions(names: list[str]) -> list[str]:
    """`REFERENCES` descriptions of each merchant, one merchant after another."""
    return [
        f"card {17 * r % 97:02d} {name} ref {(i * 31 + r * 7919) % 99991:05d}"
        for i, name in enumerate(names)
        for r in range(REFERENCES)
    ]


def merchants_per_user(payments: Ints) -> Ints:
    """Merchants that a user with so many payments has: 20 at 512, 55 at 2,048, 150 at 8,192."""
    return np.clip(20 * (payments / 512) ** 0.727, 2, 150).astype(np.int64)


@dataclass(frozen=True)
class Rows:
    """Payments of some users, by user and time: N rows of codes and numbers."""

    user: Ints
    merchant: Ints
    description: Ints
    timestamp: Ints
    amount: Floats


def draw_rows(counts: Ints, rng: np.random.Generator, merchants: int | None = None) -> Rows:
    """Payments of users with `counts` payments each, ordered by user, then time.

    `merchants` is how many each user has; by default `merchants_per_user`.
    """
    user = np.repeat(np.arange(len(counts)), counts)
    own = merchants_per_user(counts)[user] if merchants is None else np.full(len(user), merchants)
    # A user's merchants are a stride through all of them; rank ** 2 makes some favourites.
    rank = (rng.random(len(user)) ** 2 * own).astype(np.int64)
    first = rng.integers(0, MERCHANTS, len(counts))[user]
    merchant = (first + rank * 131) % MERCHANTS
    time = EPOCH + (rng.random(len(user)) * SPAN_DAYS * 86_400).astype(np.int64) * 1_000_000
    order = np.lexsort((time, user))
    amount = -np.round(np.exp(rng.normal(3.0, 1.2, len(user))), 2).astype(np.float64) - 0.01
    amount[rank == 0] *= -20.0  # the first merchant pays the user
    text = merchant * REFERENCES + rng.integers(0, REFERENCES, len(user))
    return Rows(user, merchant[order], text[order], time[order], amount[order])


def write_payments(folder: Path, payments: int, users: int, seed: int) -> tuple[Path, Path]:
    """Write payments.parquet and labels.parquet as `lbsf ingest` does: by user, then time.

    So merchants come mixed, as they were paid, and the fold has all the grouping still to do. One
    label a user; the cutoff lies in the last 90 days, so a few payments come too late to be seen.
    """
    rng = np.random.default_rng(seed)
    counts = _drawn_counts(payments, users, rng)
    metadata = {METADATA_KEY: PaymentsMetadata(currency="EUR", simulated=True).to_json().encode()}
    names = merchant_names()
    text = pa.string()
    schema = pa.schema(
        [
            ("user_id", text),
            ("merchant", text),
            ("merchant_raw", text),
            ("description", text),
            ("timestamp", pa.timestamp("us", "UTC")),
            ("amount", pa.float64()),
            ("currency", text),
        ],
        metadata,
    )
    merchants, raw = pa.array(names), pa.array([name.upper() for name in names])
    texts = pa.array(descriptions(names))
    path, labels = folder / "payments.parquet", folder / "labels.parquet"
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for begin in range(0, users, 1_000):
            rows = draw_rows(counts[begin : begin + 1_000], rng)
            ids = pa.array([f"u{i:08d}" for i in range(begin, min(begin + 1_000, users))])
            columns = [
                ids.take(pa.array(rows.user)),
                merchants.take(pa.array(rows.merchant)),
                raw.take(pa.array(rows.merchant)),
                texts.take(pa.array(rows.description)),
                pa.array(rows.timestamp, pa.timestamp("us", "UTC")),
                pa.array(rows.amount),
                pa.repeat(pa.scalar("EUR"), len(rows.user)),
            ]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=_ROW_GROUP)
    end = EPOCH + SPAN_DAYS * DAY
    cutoffs = end - rng.integers(0, 90, users) * DAY
    about = PaymentsMetadata(simulated=True, label="a coin toss (bench)").to_json().encode()
    table = pa.table(
        {
            "user_id": pa.array([f"u{i:08d}" for i in range(users)]),
            "cutoff": pa.array(cutoffs, pa.timestamp("us", "UTC")),
            "label": pa.array(rng.integers(0, 2, users).astype(np.float64)),
        }
    ).replace_schema_metadata({METADATA_KEY: about})
    pq.write_table(table, labels, compression="zstd")
    return path, labels


def _drawn_counts(payments: int, users: int, rng: np.random.Generator) -> Ints:
    """How many payments each user has: at least one, `payments` in all, some far more than others.

    What rounding leaves over is spread along the users: given to one of them it was half a million
    payments in a population of a million, and a bench of memory measured that user.
    """
    share = rng.lognormal(0.0, 0.7, users)
    ends = np.round(np.cumsum(share / share.sum()) * max(payments - users, 0)).astype(np.int64)
    return np.diff(ends, prepend=0) + 1


def folded_users(length: int, users: int, seed: int, merchants: int | None = None) -> FoldedBatch:
    """A folded batch of `users` samples of exactly `length` payments each, made in memory."""
    rng = np.random.default_rng([seed, length])
    rows = draw_rows(np.full(users, length, dtype=np.int64), rng, merchants)
    key = rows.user * MERCHANTS + rows.merchant
    _, segment = np.unique(key, return_inverse=True)
    last = np.zeros(segment.max() + 1, dtype=np.int64)
    np.maximum.at(last, segment, rows.timestamp)
    order = np.lexsort((rows.timestamp, rows.merchant, -last[segment], rows.user))
    key = key[order]
    begins = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    names = merchant_names()
    used, codes = np.unique(rows.merchant[order][begins], return_inverse=True)
    texts, text_codes = np.unique(rows.description[order], return_inverse=True)
    words = descriptions(names)
    return FoldedBatch(
        samples=np.arange(users),
        user_ids=tuple(f"u{i:08d}" for i in range(users)),
        cutoffs=np.full(users, EPOCH + SPAN_DAYS * DAY),
        labels=(np.arange(users) % 2).astype(np.float64),
        user_offsets=np.searchsorted(rows.user[order][begins], np.arange(users + 1)),
        offsets=np.append(begins, len(key)),
        merchants=Strings(codes, tuple(names[i] for i in used)),
        timestamps=rows.timestamp[order],
        amounts=rows.amount[order],
        texts={"description": Strings(text_codes, tuple(words[i] for i in texts))},
    )
