"""Controls: the same payments, folded otherwise or robbed of something, to see what that something
was worth. Each takes a batch and gives a batch; the model is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from lbsf_core.fold.batch import DAY, FoldedBatch, Ints, Strings

Control = Callable[[FoldedBatch], FoldedBatch]


def regroup(batch: FoldedBatch, key: Ints) -> FoldedBatch:
    """Fold the payments of each sample by another key.

    Every payment keeps its merchant's name as a text of its own; the segments have no name.

    Args:
        batch: N payments.
        key: (N,) number of the new group of each payment.
    """
    sample = batch.sample_of_payment
    _, group = np.unique(np.stack([sample, key]), axis=1, return_inverse=True)
    order = np.lexsort((batch.timestamps, group))
    starts = np.flatnonzero(np.append(True, np.diff(group[order]) != 0)[: len(order)])
    counts = np.diff(np.append(starts, len(order)))
    newest = batch.timestamps[order[starts + counts - 1]]
    owner = sample[order[starts]]
    turn = np.lexsort((-newest, owner))
    rows = np.concatenate([order[starts[i] : starts[i] + counts[i]] for i in turn])
    names = Strings(batch.merchants.codes[batch.segment_of_payment], batch.merchants.words)
    texts = {**batch.texts, "merchant": batch.texts.get("merchant", names)}
    return replace(
        batch,
        user_offsets=np.searchsorted(owner[turn], np.arange(len(batch) + 1)).astype(np.int64),
        offsets=np.append(0, np.cumsum(counts[turn])).astype(np.int64),
        merchants=Strings(np.zeros(len(starts), dtype=np.int64), ("",)),
        timestamps=batch.timestamps[rows],
        amounts=batch.amounts[rows],
        texts={name: Strings(text.codes[rows], text.words) for name, text in texts.items()},
        numbers={name: values[rows] for name, values in batch.numbers.items()},
    )


def random_merchants(batch: FoldedBatch) -> FoldedBatch:
    """Segments of the same sizes, filled with the sample's payments by chance."""
    rng = np.random.default_rng(0)
    shuffled = np.lexsort((rng.random(len(batch.amounts)), batch.sample_of_payment))
    key = np.empty(len(shuffled), dtype=np.int64)
    key[shuffled] = batch.segment_of_payment
    return regroup(batch, key)


def no_fold(batch: FoldedBatch) -> FoldedBatch:
    """One segment with all payments."""
    return regroup(batch, np.zeros(len(batch.amounts), dtype=np.int64))


def by_category(batch: FoldedBatch) -> FoldedBatch:
    """A segment for each description (the kind of spending, where the source gives one)."""
    return regroup(batch, batch.texts["description"].codes)


def by_day(batch: FoldedBatch) -> FoldedBatch:
    """A segment for each day."""
    return regroup(batch, batch.timestamps // DAY)


def shuffled_time(batch: FoldedBatch) -> FoldedBatch:
    """The times of each sample's payments, dealt out anew among them."""
    rng = np.random.default_rng(0)
    sample = batch.sample_of_payment
    shuffled = np.lexsort((rng.random(len(sample)), sample))
    times = batch.timestamps[shuffled]
    ordered = np.lexsort((times, batch.segment_of_payment))  # oldest first in each segment
    return replace(batch, timestamps=times[ordered])


def without_merchant(batch: FoldedBatch) -> FoldedBatch:
    """Folded by merchant, but nobody knows which."""
    return replace(batch, merchants=_blank(batch.merchants))


def without_texts(batch: FoldedBatch) -> FoldedBatch:
    """No description and no category."""
    return replace(batch, texts={name: _blank(text) for name, text in batch.texts.items()})


def without_amount(batch: FoldedBatch) -> FoldedBatch:
    """Every payment is 1, out or in."""
    return replace(batch, amounts=np.where(batch.amounts < 0, -1.0, 1.0))


def without_time(batch: FoldedBatch) -> FoldedBatch:
    """Every payment a day before the cutoff."""
    times = batch.cutoffs[batch.sample_of_payment] - DAY
    return replace(batch, timestamps=times)


def without_numbers(batch: FoldedBatch) -> FoldedBatch:
    """No extra number."""
    blank = {name: np.full(len(values), np.nan) for name, values in batch.numbers.items()}
    return replace(batch, numbers=blank)


def window(days: int) -> Control:
    """Only the payments of the last `days` before the cutoff."""

    def cut(batch: FoldedBatch) -> FoldedBatch:
        since = batch.cutoffs[batch.sample_of_payment] - days * DAY
        return batch.keep(np.asarray(batch.timestamps >= since))

    return cut


def _blank(text: Strings) -> Strings:
    codes: npt.NDArray[np.int64] = np.zeros(len(text), dtype=np.int64)
    return Strings(codes, ("",))


#: Name -> what it does to the payments.
CONTROLS: dict[str, Control] = {
    "random_merchants": random_merchants,
    "no_fold": no_fold,
    "fold_by_category": by_category,
    "fold_by_day": by_day,
    "shuffled_time": shuffled_time,
    "without_merchant": without_merchant,
    "without_texts": without_texts,
    "without_amount": without_amount,
    "without_time": without_time,
    "without_numbers": without_numbers,
    "window_45": window(45),
    "window_90": window(90),
    "window_180": window(180),
}
