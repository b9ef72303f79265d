"""New payments for a store that is scored already: only what they touch is done again.

    new payments -> fold.append: the samples that see one are folded again
                 -> score.states: of these, the merchants that were paid are encoded again, the
                    others' states are read; relations and head give the new logits

The scores are those of all payments folded and scored from the start (tested to 1e-5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from lbsf_core.fold.append import Appended, append
from lbsf_core.fold.batch import Floats, FoldedBatch, Ints
from lbsf_core.fold.store import FoldedStore, cut_by_sum
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.lbsf import LBSF, States
from lbsf_core.score.calibration import Calibration
from lbsf_core.score.live import check_by_merchant
from lbsf_core.score.states import SegmentStates, encode, joined, logits_of
from lbsf_core.score.table import score_table

#: Payments of the samples that are scored again at a time.
PART = 1_000_000
#: Logits that kept states may differ by from what they gave: far above what single precision loses.
LEAST_DAMAGE = 1e-4

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Updated:
    """What an update did.

    Attributes:
        store: as it is now.
        scores: of every sample, as `score_store` gives them.
        appended: what the new payments did to the store.
        encoded: segments that were encoded again.
        made: whether the states of all segments had to be made first.
        before: (samples that changed,) their PD before, in the order of `appended.samples`.
    """

    store: FoldedStore
    scores: pa.Table
    appended: Appended
    encoded: int
    made: bool
    before: np.ndarray


def states_of(store: FoldedStore) -> Path:
    """Where the states of a store's segments lie if nobody says another place: beside it."""
    return store.path.with_name(f"{store.path.name}.states")


def update(
    store: FoldedStore,
    bundle: Bundle,
    payments: str | Path,
    *,
    states: str | Path | None = None,
    progress: Progress | None = None,
) -> Updated:
    """Add payments to a store and score what they change.

    Args:
        store: an opened one; its folder is replaced.
        bundle: the model.
        payments: the new ones, as `lbsf ingest` writes them.
        states: folder of the segments' states, by default beside the store; those of another
            bundle, code or store are made anew, which takes as long as scoring all.
        progress: called with (what is being done, done, in all).

    Raises:
        StoreError, IngestError: see `fold.append.append`.
        LbsfError: the model's merchants depend on each other (`ModelConfig.user_gap`).
    """
    check_by_merchant(bundle.model)
    where = Path(states) if states else states_of(store)
    known = SegmentStates.open(where, store, bundle)
    made = known is None
    if known is None:
        told = (lambda d, n: progress("encoding all merchants", d, n)) if progress else None
        known = SegmentStates.make(where, store, bundle, told)
    before = Calibration(**bundle.calibration).pd(known.logits)
    fresh, about = append(store, payments)
    encoded = 0
    if len(about.samples):
        encoded = _score_again(store, fresh, bundle, known, about, progress)
    scores = score_table(fresh, bundle, known.logits)
    return Updated(fresh, scores, about, encoded, made, before[about.samples])


def _score_again(
    old: FoldedStore,
    new: FoldedStore,
    bundle: Bundle,
    states: SegmentStates,
    about: Appended,
    progress: Progress | None,
) -> int:
    """Encode the touched segments, put the samples together again; gives how many segments."""
    touched: dict[int, set[str]] = {}
    for sample, merchant in about.touched:
        touched.setdefault(sample, set()).add(merchant)
    sizes = new.samples["payments"].to_numpy()[about.samples]
    parts = [about.samples[low:high] for low, high in cut_by_sum(sizes, PART)]
    found, logits, counts, encoded, done = [], [], [], 0, 0
    for some in parts:
        batch, before = new.read(some), old.read(some)
        kept = states.read(some)
        again = _touched(batch, touched)
        again |= _damaged(bundle.model, kept, before, states.logits[some])[batch.sample_of_segment]
        renewed, _ = encode(bundle.model, batch.keep(again[batch.segment_of_payment]))
        order = _order(batch, before, again)
        part = joined([kept, renewed], order)
        found.append(part)
        counts.append(batch.segment_counts)
        logits.append(logits_of(bundle.model, part, batch.user_offsets))
        encoded, done = encoded + int(again.sum()), done + len(some)
        if progress:
            progress("scoring again", done, len(about.samples))
    rows = np.arange(sum(len(part) for part in found))
    states.replace(
        about.samples, np.concatenate(counts), joined(found, rows), np.concatenate(logits), new
    )
    return encoded


def _damaged(model: LBSF, kept: States, before: FoldedBatch, logits: Floats) -> np.ndarray:
    """(B,) samples whose states no longer give the logit that was kept with them: encode all again.

    The files grow with every update, so nobody hashes them; a flipped bit would load silently.
    """
    found = logits_of(model, kept, before.user_offsets)
    return ~(np.abs(found - logits) <= LEAST_DAMAGE)  # what is no number is damage too


def _touched(batch: FoldedBatch, touched: dict[int, set[str]]) -> np.ndarray:
    """(S,) whether a segment got a payment."""
    sample = batch.samples[batch.sample_of_segment].tolist()
    pairs = zip(sample, batch.merchants.decode(), strict=True)
    return np.array([merchant in touched[one] for one, merchant in pairs], dtype=bool)


def _order(batch: FoldedBatch, before: FoldedBatch, again: np.ndarray) -> Ints:
    """(S,) of each segment the row of its state: among the old ones, or behind them if renewed."""
    place = {
        (sample, merchant): row
        for row, (sample, merchant) in enumerate(
            zip(before.sample_of_segment.tolist(), before.merchants.decode(), strict=True)
        )
    }
    renewed = len(place) + np.cumsum(again) - 1  # `keep` leaves segments in their order
    pairs = zip(batch.sample_of_segment.tolist(), batch.merchants.decode(), strict=True)
    rows = [int(renewed[s]) if again[s] else place[pair] for s, pair in enumerate(pairs)]
    return np.array(rows, dtype=np.int64)
