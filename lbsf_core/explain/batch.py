"""Explain every sample of a store at merchant level: what cohorts and the queue read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import torch

from lbsf_core.explain.gradient import integrated_gradients
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
        found = integrated_gradients(bundle.model, batch)
        with torch.no_grad():
            _, attention = bundle.model.forward_with_attention(batch)
        segment = batch.segment_of_payment
        count = len(batch.merchants)

        def per_segment(
            values: np.ndarray, at: np.ndarray = segment, size: int = count
        ) -> pa.Array:
            return pa.array(np.bincount(at, values, minlength=size))

        sample = batch.sample_of_segment
        segments = pa.table(
            {
                "sample": pa.array(batch.samples[sample].astype(np.int32)),
                "segment": pa.array(
                    (np.arange(count) - batch.user_offsets[sample]).astype(np.int32)
                ),
                "merchant": pa.array(batch.merchants.decode(), pa.string()),
                "payments": pa.array(np.diff(batch.offsets).astype(np.int32)),
                "money_in": per_segment(np.maximum(batch.amounts, 0.0)),
                "money_out": per_segment(np.maximum(-batch.amounts, 0.0)),
                "attribution": per_segment(found.fields.sum(axis=1)),
                "weight": pa.array(attention.merchants.cpu().double().numpy()),
            }
        )
        samples = pa.table(
            {
                "sample": pa.array(batch.samples.astype(np.int32)),
                "baseline_logit": pa.array(found.baseline_logits),
                "delta": pa.array(found.delta),
            }
        )
        yield segments, samples
        done += len(batch.amounts)
        if progress:
            progress(done, total)
