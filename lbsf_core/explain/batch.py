"""Explain every sample of a store: what cohorts, the queue, global views and a user's page read.

`explain_all.py` runs it on all cores and keeps it; `attributions.py` says how it lies in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lbsf_core.errors import AttributionsError, LbsfError
from lbsf_core.explain.attributions import (
    BANDS,
    LAST_DAYS,
    REASON_COLUMNS,
    SAMPLE_COLUMNS,
    SEGMENT_COLUMNS,
    open_attributions,
)
from lbsf_core.explain.baselines import CHECK, Baseline, find_baseline
from lbsf_core.explain.disagreement import disagreement, removed
from lbsf_core.explain.gradient import (
    CHECK_TOLERANCE,
    FEW_PAYMENTS,
    Start,
    along_paths,
    by_merchant,
    field_names,
    steps_to_check,
)
from lbsf_core.explain.kinds import merchant_kinds
from lbsf_core.explain.reasons import reasons
from lbsf_core.explain.result import TOLERANCE
from lbsf_core.fold.batch import DAY, FoldedBatch
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle

Ints = npt.NDArray[np.int64]

#: Payments explained together: bounds memory; copies along the path come on top.
BATCH_PAYMENTS = 8_192
#: Payments of a chunk, about: the most that a killed run does again, for each process.
CHUNK_PAYMENTS = 16_384
#: Samples that are explained again before a file is believed.
CHECKED = 8
Progress = Callable[[int, int], None]


def explain_batch(
    bundle: Bundle,
    batch: FoldedBatch,
    asked: Ints | None = None,
    check: Baseline | None = None,
) -> tuple[pa.Table, pa.Table]:
    """Attributions and weights of B samples with S segments, those of payments in lists beside.

    Args:
        bundle: the model.
        batch: the samples.
        asked: those of the store's samples whose reason codes are told too.
        check: the typical user, against whom merchants are valued too.

    Returns:
        Two tables in the order of the batch: S rows (sample, and the columns from `segment` on),
        and B rows (the columns before it).
    """
    starts = [Start(None, TOLERANCE)]
    if check is not None:
        starts.append(Start(check.batch, CHECK_TOLERANCE, check.check_steps))
    found, *checks = along_paths(bundle.model, batch, starts)
    sample, count = batch.sample_of_segment, len(batch.merchants)
    values = found.fields.sum(axis=1)
    summed = partial(by_merchant, batch)
    held = [summed(each.fields.sum(axis=1)) for each in checks] or [np.full(count, np.nan)]

    segments: dict[str, Any] = {
        "sample": batch.samples[sample].astype(np.int32),
        "segment": (np.arange(count) - batch.user_offsets[sample]).astype(np.int32),
        "merchant": pa.array(batch.merchants.decode(), pa.string()),
        "kind": pa.array(merchant_kinds(batch), pa.string()),
        "payments": np.diff(batch.offsets).astype(np.int32),
        "money_in": summed(np.maximum(batch.amounts, 0.0)),
        "money_out": summed(np.maximum(-batch.amounts, 0.0)),
        "attribution": summed(values),
        "removed": removed(bundle.model, batch, summed(values)),
        "weight": found.attention.merchants.cpu().double().numpy(),
    }
    for place, name in enumerate(field_names(bundle.model)):
        segments[f"field:{name}"] = summed(found.fields[:, place]).astype(np.float32)
    band = band_of_payment(batch)
    for place, name in enumerate(BANDS):
        segments[f"time:{name}"] = summed(values * (band == place)).astype(np.float32)
    for place, name in enumerate(BANDS):
        segments[f"payments:{name}"] = summed(1.0 * (band == place)).astype(np.int32)
    segments["checked"] = held[0]
    flat = pa.array(found.fields.astype(np.float32).ravel())
    segments["values"] = pa.ListArray.from_arrays(batch.offsets * found.fields.shape[1], flat)
    samples = {
        "sample": batch.samples.astype(np.int32),
        "user_id": pa.array(batch.user_ids, pa.string()),
        "cutoff": pa.array(batch.cutoffs, pa.timestamp("us", "UTC")),
        "logit": found.logits,
        "baseline_logit": found.baseline_logits,
        "delta": found.delta,
        "disagreement": disagreement(
            segments["attribution"], segments["removed"], sample, len(batch)
        ),
        "steps": found.steps.astype(np.int32),
    }
    return pa.table(segments), pa.table(samples | _codes(bundle, batch, asked))


def band_of_payment(batch: FoldedBatch) -> Ints:
    """(N,) place in `BANDS` of each payment: by whole days, rounded down, before the cutoff."""
    days = (batch.cutoffs[batch.sample_of_payment] - batch.timestamps) // DAY
    return np.searchsorted(np.array(LAST_DAYS), days).astype(np.int64)


def asked_reasons(samples: int, most: int) -> Ints:
    """Samples that are asked for their reason codes: all, or so many drawn at random, in order."""
    return np.sort(np.random.default_rng(0).permutation(samples)[:most]).astype(np.int64)


def explain_chunk(
    store: FoldedStore,
    bundle: Bundle,
    begin: int,
    end: int,
    asked: Ints | None = None,
    check: Baseline | None = None,
) -> tuple[pa.Table, pa.Table]:
    """Samples of like size are explained together, and put back in order.

    Args:
        store: the samples.
        bundle: the model.
        begin, end: which samples, the last not included.
        asked: samples of the store whose reason codes are told too.
        check: the typical user, against whom merchants are valued too.
    """
    whole = store.read(np.arange(begin, end))
    long = whole.payment_counts > FEW_PAYMENTS  # their integrals begin with other steps
    parts = []
    for kind in (np.flatnonzero(~long), np.flatnonzero(long)):
        order = kind[np.argsort(whole.segment_counts[kind], kind="stable")]
        for low, high in runs_of(whole.payment_counts[order], BATCH_PAYMENTS):
            parts.append(explain_batch(bundle, whole.select(order[low:high]), asked, check))
    segments, samples = (pa.concat_tables(tables) for tables in zip(*parts, strict=True))
    return segments.sort_by([(n, "ascending") for n in ("sample", "segment")]), samples.sort_by(
        "sample"
    )


def typical_user(store: FoldedStore, bundle: Bundle) -> Baseline | None:
    """Against whom everybody's merchants are valued too, with the steps that this begins with.

    None where nobody can be: no sample has a payment, or no score is below another.
    """
    if not store.samples["payments"].any():
        return None
    try:
        found = find_baseline(store, bundle, CHECK)
    except LbsfError:  # nobody is approved, e.g. of a single sample
        return None
    return replace(found, check_steps=steps_to_check(store, bundle.model, found.batch))


def _codes(bundle: Bundle, batch: FoldedBatch, asked: Ints | None) -> dict[str, pa.Array]:
    """(B,) reason codes of either side, each "code|kind", of the samples that are asked."""
    found: dict[str, list[Any]] = {name: [None] * len(batch) for name in REASON_COLUMNS}
    wanted = np.zeros(len(batch), dtype=bool)
    if asked is not None and not bundle.model.config.user_gap:  # else no merchant can be left out
        wanted = np.isin(batch.samples, asked)
    for at in np.flatnonzero(wanted):
        told = reasons(bundle, batch.select([at]), threshold=1.0, always=True)
        for name in REASON_COLUMNS:
            side = getattr(told, name)
            found[name][at] = list(dict.fromkeys(f"{one.code}|{one.kind}" for one in side))
    return {name: pa.array(codes, pa.list_(pa.string())) for name, codes in found.items()}


def runs_of(counts: Ints, limit: int) -> list[tuple[int, int]]:
    """Cut a row of counts into runs that add up to about `limit`; an entry counts for one more."""
    block = (np.cumsum(counts + 1) - (counts + 1)) // limit
    cuts = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(counts)]
    return list(pairwise(cuts)) if len(counts) else []


def read_attributions(
    store: FoldedStore, bundle: Bundle, path: str | Path
) -> tuple[Iterator[pa.Table], pa.Table]:
    """Attributions that `write_attributions` kept, if they are these samples' and this bundle's.

    Returns:
        One row a segment (`SEGMENT_COLUMNS`), by sample and segment, a part of the file at a time;
        and one row a sample (`SAMPLE_COLUMNS` and `REASON_COLUMNS`).

    Raises:
        AttributionsError: it is no such file, was made from another store or other weights, or
            samples explained again differ by more than the tolerance.
    """
    again = f"{path}: %s Run `lbsf explain-all` on this store and bundle."
    file, about = open_attributions(path)
    if (about["store"], about["bundle"]) != (store.content, bundle.weights_digest()):
        raise AttributionsError(again % "was made from another store or other weights.")
    numbers = store.samples["sample"].to_numpy()
    rows = np.unique(np.linspace(0, len(numbers) - 1, CHECKED).round().astype(np.int64))
    fresh, _ = explain_batch(bundle, store.read(rows))
    asked = pa.array(rows.astype(np.int32))
    of_sample, checked = SAMPLE_COLUMNS + REASON_COLUMNS, ["sample", "attribution"]
    samples: list[pa.Table] = []
    held: list[pa.Table] = []
    for number in range(file.num_row_groups):
        table = file.read_row_group(number, columns=[*of_sample, "segment", "attribution"])
        first = pc.fill_null(pc.equal(table["segment"], 0), True)
        samples.append(table.filter(first).select(of_sample))
        known = pc.and_(pc.is_valid(table["segment"]), pc.is_in(table["sample"], asked))
        held.append(table.select(checked).filter(known))
    told = pa.concat_tables(samples).combine_chunks()
    old = pa.concat_tables(held)["attribution"].to_numpy()
    new = fresh["attribution"].to_numpy()
    if (
        not np.array_equal(told["sample"].to_numpy(), numbers)
        or len(old) != len(new)
        or np.max(np.abs(old - new), initial=0.0) > 2 * TOLERANCE
    ):
        raise AttributionsError(again % "differs from what this code finds.")
    return _segments(file), told


def _segments(file: pq.ParquetFile) -> Iterator[pa.Table]:
    """The rows that are of a segment, one group of the file after another."""
    for number in range(file.num_row_groups):
        table = file.read_row_group(number, columns=SEGMENT_COLUMNS)
        yield table.filter(pc.is_valid(table["segment"])).replace_schema_metadata(None)
