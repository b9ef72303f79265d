"""What a score would be without some payments: many removals of any payments at once.

A merchant that loses all its payments is left out, one that loses some is folded anew from the rest
(its vector and its sums, nothing else of the history depends on them); every such remainder is
computed once. The same logits as folding the whole history again, tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch

from lbsf_core.explain.removal import PASS_PAYMENTS, Coalitions, segment_logits
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.model.lbsf import LBSF, States

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass
class Removals:
    """One sample, to take payments out of.

    Args:
        model: scores.
        batch: one sample.

    Raises:
        LbsfError: as `Coalitions`.
    """

    model: LBSF
    batch: FoldedBatch
    _at: dict[tuple[int, bytes], int] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self._states: States = Coalitions(self.model, self.batch).states
        self._segment = self.batch.segment_of_payment
        # Each merchant as a sample of its own, so that remainders are folded without the others.
        count = len(self.batch.merchants)
        self._alone = replace(
            self.batch,
            samples=np.zeros(count, dtype=np.int64),
            user_ids=self.batch.user_ids * count,
            cutoffs=np.repeat(self.batch.cutoffs, count),
            labels=np.repeat(self.batch.labels, count),
            user_offsets=np.arange(count + 1, dtype=np.int64),
        )

    def logits(self, cited: Sequence[Ints]) -> Floats:
        """(C,) logits of the history without each of C sets of payments (sorted row numbers)."""
        parts = [list(self._remainders(rows)) for rows in cited]
        self._fold(
            {key: left for part in parts for _, key, left in part if key and key not in self._at}
        )
        masks = np.zeros((len(cited), len(self._states)), dtype=bool)
        masks[:, : len(self.batch.merchants)] = True
        for mask, part in zip(masks, parts, strict=True):
            for segment, key, _ in part:
                mask[segment] = False
                if key:
                    mask[self._at[key]] = True
        return segment_logits(self.model, self._states, masks)

    def _remainders(self, rows: Ints) -> Sequence[tuple[int, tuple[int, bytes] | None, Ints]]:
        """(segment, name of what is left of it or None, rows left) of each segment that loses."""
        segments = self._segment[rows]
        if len(rows) and segments[0] == segments[-1]:  # most facts are of one merchant
            parts = [rows]
        else:
            parts = np.split(rows, np.flatnonzero(segments[1:] != segments[:-1]) + 1)
        found: list[tuple[int, tuple[int, bytes] | None, Ints]] = []
        for lost in parts if len(rows) else ():
            segment = int(self._segment[lost[0]])
            first, end = self.batch.offsets[segment : segment + 2]
            if len(lost) == end - first:
                found.append((segment, None, lost[:0]))
                continue
            kept = np.ones(end - first, dtype=bool)
            kept[lost - first] = False
            found.append((segment, (segment, kept.tobytes()), first + np.flatnonzero(kept)))
        return found

    def _fold(self, new: dict[tuple[int, bytes], Ints]) -> None:
        """States of what is left of some segments, put behind the pool."""
        keys = list(new)
        payments = [len(mask) for _, mask in keys]
        runs = np.cumsum(payments, dtype=np.int64) // PASS_PAYMENTS
        for part in np.split(np.arange(len(keys)), np.flatnonzero(np.diff(runs)) + 1):
            if not len(part):
                continue
            some = [keys[at] for at in part]
            kept = np.concatenate([np.frombuffer(mask, dtype=bool) for _, mask in some])
            folded = self._alone.select([segment for segment, _ in some]).keep(kept)
            with torch.inference_mode():
                left = self.model.segment_states(folded)
            self._at |= {key: len(self._states) + at for at, key in enumerate(some)}
            self._states = States.concat([self._states, left])
