"""Small builders that the tests share: Parquet files from rows, folds, batches and models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from lbsf_core.config import FoldConfig, ModelConfig
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.fold.fold import fold
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.lbsf import LBSF
from lbsf_core.payments.schema import METADATA_KEY, Field, FieldKind, PaymentsMetadata

INSTANT = pa.timestamp("us", "UTC")

#: (user, merchant, ISO time in UTC, amount, description) and the values of extra fields, if any.
Payment = tuple[Any, ...]
#: (user, ISO cutoff in UTC, label or None).
Label = tuple[str, str, float | None]
#: A sample for `FoldedBatch.from_rows`.
Sample = tuple[str, str, list[tuple[str, str, float, str]]]

SMALL = ModelConfig(
    width=8, heads=2, relation_layers=1, text_buckets=64, text_width=8, bins=5, dropout=0.0
)


def instants(texts: Sequence[str]) -> pa.Array:
    """UTC instants from ISO texts; None stays unknown."""
    times = pd.DatetimeIndex(pd.to_datetime(list(texts), format="ISO8601", utc=True))
    return pa.array(times.as_unit("us").asi8, pa.int64(), mask=times.isna()).cast(INSTANT)


def write_payments(
    path: Path, rows: Sequence[Payment], extra: Sequence[Field] = (), **about: Any
) -> Path:
    """`payments.parquet` of these rows, in this order; `about` goes into its metadata."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * (5 + len(extra))
    users, merchants, times, amounts, descriptions, *others = columns
    table: dict[str, pa.Array] = {
        "user_id": pa.array(users, pa.string()),
        "merchant": pa.array(merchants, pa.string()),
        "merchant_raw": pa.array([f"{name} Ltd" for name in merchants], pa.string()),
        "description": pa.array(descriptions, pa.string()),
        "timestamp": instants(times),
        "amount": pa.array(amounts, pa.float64()),
        "currency": pa.array(["CZK"] * len(users), pa.string()),
    }
    for field, values in zip(extra, others, strict=True):
        if field.kind is FieldKind.TIMESTAMP:
            table[field.name] = instants(values)
        else:
            table[field.name] = pa.array(values, pa.string() if field.is_string else pa.float64())
    return _write(path, table, PaymentsMetadata(tuple(extra), "CZK", **about))


def write_labels(path: Path, rows: Sequence[Label], **about: Any) -> Path:
    """`labels.parquet` of these rows."""
    users, cutoffs, labels = zip(*rows, strict=True) if rows else ((), (), ())
    table = {
        "user_id": pa.array(users, pa.string()),
        "cutoff": instants(cutoffs),
        "label": pa.array(labels, pa.float64()),
    }
    return _write(path, table, PaymentsMetadata((), "CZK", **about))


def _write(path: Path, columns: dict[str, pa.Array], about: PaymentsMetadata) -> Path:
    table = pa.table(columns).replace_schema_metadata({METADATA_KEY: about.to_json().encode()})
    pq.write_table(table, path)
    return path


def fold_rows(
    folder: Path,
    payments: Sequence[Payment],
    labels: Sequence[Label],
    config: FoldConfig | None = None,
    *,
    extra: Sequence[Field] = (),
    name: str = "store",
) -> FoldedStore:
    """Write both files into `folder`, fold them, and open the store `folder/name`."""
    paid = write_payments(folder / f"{name}.payments.parquet", payments, extra)
    known = write_labels(folder / f"{name}.labels.parquet", labels)
    fold(paid, known, folder / name, config)
    return FoldedStore.open(folder / name)


def random_samples(
    seed: int, count: int, *, merchants: int = 6, payments: int = 12, days: int = 400
) -> list[Sample]:
    """Samples with random payments, for `FoldedBatch.from_rows`; whole days, so times often tie."""
    rng = np.random.default_rng(seed)
    start = pd.Timestamp("2023-01-01")
    samples: list[Sample] = []
    for number in range(count):
        paid = [
            (
                f"merchant {rng.integers(merchants)}",
                (start + pd.Timedelta(days=int(rng.integers(days)))).isoformat(),
                round(float(rng.normal(-20, 60)), 2),
                f"text {rng.integers(4)}",
            )
            for _ in range(int(rng.integers(1, payments + 1)))
        ]
        samples.append((f"user {number:02}", (start + pd.Timedelta(days=days)).isoformat(), paid))
    return samples


def random_batch(seed: int, count: int, **sizes: int) -> FoldedBatch:
    """A batch of `random_samples` with labels of both classes in turn."""
    return FoldedBatch.from_rows(
        random_samples(seed, count, **sizes), labels=[float(i % 2) for i in range(count)]
    )


def small_model(
    batch: FoldedBatch,
    seed: int = 0,
    config: ModelConfig = SMALL,
    extra: Sequence[Field] = (),
    noise: float = 0.5,
) -> LBSF:
    """An untrained model fitted to a batch, every weight moved from its start by `noise`.

    Wide rows are moved less, as they are at their start, so that logits stay of a usual size.
    """
    torch.manual_seed(seed)
    model = LBSF.fit(config, extra, batch)
    with torch.no_grad():
        for parameter in model.parameters():
            wide = max(1.0, parameter.shape[-1] / 8) ** 0.5 if parameter.ndim > 1 else 1.0
            parameter.add_(noise / wide * torch.randn(parameter.shape))
    model.eval()
    model.fit_typical(batch)
    return model


def flip_bit(path: Path, at: float = 0.5) -> None:
    """Flip one bit of a file, at a share of its length."""
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 0x10
    path.write_bytes(content)
