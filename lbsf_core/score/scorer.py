"""Score: a folded store and a bundle give a calibrated PD and a logit for every sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from lbsf_core.errors import BundleError
from lbsf_core.files import atomic_write
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.score.calibration import Calibration

#: Payments in one forward pass: few enough to stay in the processor's cache (measured).
BATCH_PAYMENTS = 32_768

Progress = Callable[[int, int], None]


def passes(batch: FoldedBatch, rows: npt.NDArray[np.int64]) -> list[FoldedBatch]:
    """These samples, order kept, cut into batches of about `BATCH_PAYMENTS` payments."""
    runs = np.cumsum(batch.payment_counts[rows]) // BATCH_PAYMENTS
    parts = np.split(rows, np.flatnonzero(np.diff(runs)) + 1)
    return [batch.select(part) for part in parts]


def batch_logits(model: torch.nn.Module, batches: Iterable[FoldedBatch]) -> npt.NDArray[np.float64]:
    """(sum of B,) logits of some batches, in the order given, without gradients."""
    model.eval()
    with torch.inference_mode():
        parts = [model(batch).cpu().double().numpy() for batch in batches]
    return np.concatenate(parts) if parts else np.zeros(0)


def score_store(
    store: FoldedStore,
    bundle: Bundle,
    progress: Progress | None = None,
    *,
    prior: float | None = None,
) -> pa.Table:
    """Scores of every sample of a store, in store order.

    Args:
        store: folded with the same mapping as the bundle's training store.
        bundle: the model.
        progress: called with (payments done, payments in all).
        prior: default rate of these samples, where it differs from that of training.

    Returns:
        Columns: sample, user_id, cutoff, label, logit, pd.
    """
    samples = store.samples
    total, done = int(samples["payments"].sum()), 0
    logits = np.full(len(samples), np.nan)
    for batch in store.batches(BATCH_PAYMENTS):
        logits[batch.samples] = batch_logits(bundle.model, [batch])
        done += len(batch.amounts)
        if progress:
            progress(done, total)
    calibration = Calibration(**bundle.calibration)
    if prior is not None:
        calibration = calibration.with_prior(base_rate(bundle), prior)
    pd = calibration.pd(logits)
    table = pa.Table.from_pandas(
        samples[["sample", "user_id", "cutoff", "label"]], preserve_index=False
    )
    return table.append_column("logit", pa.array(logits)).append_column("pd", pa.array(pd))


def base_rate(bundle: Bundle) -> float:
    """Default rate of the samples that a bundle's calibration was fitted on.

    Raises:
        BundleError: the bundle does not say.
    """
    try:
        bad, size = (bundle.training[k]["validation"] for k in ("bad", "sizes"))
        return float(bad) / float(size)
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise BundleError(
            "the bundle does not say what share of its samples was bad; train it again to use "
            "--prior."
        ) from error


def write_scores(scores: pa.Table, out: str | Path) -> Path:
    """Write `scores.parquet` atomically."""
    with atomic_write(out) as path:
        pq.write_table(scores, path, compression="zstd")
    return Path(out)
