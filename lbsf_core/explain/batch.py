"""Explain every sample of a store at merchant level: what cohorts and the queue read.

The result may be kept in a file (`lbsf explain-all`) and handed to `lbsf workspace` later. The
file names the store and the weights it was made from; before it is used, some samples are explained
again and compared.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import torch

from lbsf_core.errors import AttributionsError
from lbsf_core.explain.gradient import integrated_gradients
from lbsf_core.explain.result import TOLERANCE
from lbsf_core.files import atomic_write
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle

#: Payments explained together: bounds memory; copies along the path come on top.
BATCH_PAYMENTS = 8_192

Progress = Callable[[int, int], None]


def explain_all(
    store: FoldedStore, bundle: Bundle, progress: Progress | None = None
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Merchant-level attributions and weights, batch by batch.

    Args:
        store: the samples.
        bundle: the model.
        progress: called with (payments done, payments in all).

    Yields:
        Two tables: one row a segment (sample, segment, merchant, payments, money_in, money_out,
        attribution, weight) and one row a sample (sample, baseline_logit, delta).
    """
    total, done = int(store.samples["payments"].sum()), 0
    for batch in store.batches(BATCH_PAYMENTS):
        yield explain_batch(bundle, batch)
        done += len(batch.amounts)
        if progress:
            progress(done, total)


def explain_batch(bundle: Bundle, batch: FoldedBatch) -> tuple[pa.Table, pa.Table]:
    """The two tables of `explain_all` for one batch."""
    found = integrated_gradients(bundle.model, batch)
    with torch.no_grad():
        _, attention = bundle.model.forward_with_attention(batch)
    segment, count = batch.segment_of_payment, len(batch.merchants)
    sample = batch.sample_of_segment
    segments = {
        "sample": batch.samples[sample].astype(np.int32),
        "segment": (np.arange(count) - batch.user_offsets[sample]).astype(np.int32),
        "merchant": pa.array(batch.merchants.decode(), pa.string()),
        "payments": np.diff(batch.offsets).astype(np.int32),
        "money_in": np.bincount(segment, np.maximum(batch.amounts, 0.0), minlength=count),
        "money_out": np.bincount(segment, np.maximum(-batch.amounts, 0.0), minlength=count),
        "attribution": np.bincount(segment, found.fields.sum(axis=1), minlength=count),
        "weight": attention.merchants.cpu().double().numpy(),
    }
    samples = {
        "sample": batch.samples.astype(np.int32),
        "baseline_logit": found.baseline_logits,
        "delta": found.delta,
    }
    return pa.table(segments), pa.table(samples)


#: Parts of an attributions file, and the key of its provenance.
SEGMENTS, SAMPLES, KEY = "segments.parquet", "samples.parquet", b"lbsf-attributions"
#: Samples that are explained again before a file is believed.
CHECKED = 8


def write_attributions(
    store: FoldedStore, bundle: Bundle, out: str | Path, progress: Progress | None = None
) -> Path:
    """Explain every sample and keep the result in the folder `out` (written atomically)."""
    parts = list(explain_all(store, bundle, progress))
    about = {KEY: json.dumps({"store": store.content, "bundle": bundle.weights_digest()})}
    segments = pa.concat_tables([p[0] for p in parts])
    segments = segments.sort_by([("sample", "ascending"), ("segment", "ascending")])
    samples = pa.concat_tables([p[1] for p in parts]).sort_by("sample")
    with atomic_write(out) as folder:
        folder.mkdir()
        for name, table in ((SEGMENTS, segments), (SAMPLES, samples)):
            pq.write_table(table.replace_schema_metadata(about), folder / name, compression="zstd")
    return Path(out)


def read_attributions(
    store: FoldedStore, bundle: Bundle, path: str | Path
) -> tuple[pa.Table, pa.Table]:
    """Attributions that `write_attributions` kept, if they are these samples' and this bundle's.

    Raises:
        AttributionsError: they were made from another store or other weights, or samples
            explained again differ by more than the tolerance.
    """
    path = Path(path)
    again = f"{path}: %s Run `lbsf explain-all` on this store and bundle."
    if not (path / SEGMENTS).is_file() or not (path / SAMPLES).is_file():
        raise AttributionsError(again % "holds no attributions.")
    segments, samples = pq.read_table(path / SEGMENTS), pq.read_table(path / SAMPLES)
    expected = {"store": store.content, "bundle": bundle.weights_digest()}
    for table in (segments, samples):
        if json.loads((table.schema.metadata or {}).get(KEY, b"{}")) != expected:
            raise AttributionsError(again % "was made from another store or other weights.")
    rows = np.unique(np.linspace(0, len(store.samples) - 1, CHECKED).round().astype(np.int64))
    fresh, _ = explain_batch(bundle, store.read(rows))
    kept = segments.filter(pa.compute.is_in(segments["sample"], pa.array(rows.astype(np.int32))))
    old, new = kept["attribution"].to_numpy(), fresh["attribution"].to_numpy()
    if len(old) != len(new) or np.max(np.abs(old - new), initial=0.0) > 2 * TOLERANCE:
        raise AttributionsError(again % "differs from what this code finds.")
    return segments, samples
