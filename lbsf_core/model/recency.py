"""Recency bins: how long before the cutoff the payments of each segment lie.

A payment counts for the two bins around it, by how near it is to each, so that a day more or less
never makes a step. Whatever is summed over bins is a sum over payments: a merchant or a payment
that is taken out takes exactly its own share with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from torch import Tensor

from lbsf_core.fold.batch import DAY, FoldedBatch
from lbsf_core.model.fields import knot_entries
from lbsf_core.model.ragged import segment_sum

Floats = npt.NDArray[np.float64]

#: Middles of the bins in days before the cutoff.
DAYS = (0, 3, 7, 14, 30, 60, 90, 120, 180, 365, 730)


@dataclass(frozen=True)
class RecencyBins:
    """Which bins the payments of a batch count for.

    Attributes:
        shares: (N, S * bins) sparse; two shares of each payment, in the bins of its segment.
        segments: S.
    """

    shares: sparse.csr_matrix
    segments: int

    @classmethod
    def of(cls, batch: FoldedBatch) -> RecencyBins:
        """The bins of every payment of a batch."""
        segments, bins = len(batch.merchants), len(DAYS)
        recency = (batch.cutoffs[batch.sample_of_payment] - batch.timestamps) / DAY
        rows, shares = knot_entries(np.log1p(recency), np.log1p(np.array(DAYS, dtype=np.float64)))
        at = rows + batch.segment_of_payment[:, None] * bins
        ends = np.arange(0, 2 * len(rows) + 1, 2)
        shape = (len(rows), segments * bins)
        return cls(sparse.csr_matrix((shares.ravel(), at.ravel(), ends), shape=shape), segments)

    def sums(self, channels: list[Floats]) -> Floats:
        """(S, C * bins) sums of C values of each payment, channel by channel, bin by bin."""
        if not channels:
            return np.zeros((self.segments, 0))
        found = self.shares.T @ np.stack(channels, axis=1)  # (S * bins, C)
        by_channel = found.reshape(self.segments, len(DAYS), len(channels)).transpose(0, 2, 1)
        return by_channel.reshape(self.segments, len(channels) * len(DAYS))

    def parts(self, channels: list[Floats], weights: Floats) -> Floats:
        """(N,) each payment's own part of the weighted `sums`, (S, C * bins) weights."""
        if not channels:
            return np.zeros(self.shares.shape[0])
        by_bin = weights.reshape(self.segments, len(channels), len(DAYS)).transpose(0, 2, 1)
        slopes = self.shares @ by_bin.reshape(-1, len(channels))  # (N, C)
        found: Floats = np.einsum("nc,nc->n", slopes, np.stack(channels, axis=1))
        return found


def unscaled_totals(scaled: Tensor, scale: Tensor, mean: Tensor, user_offsets: Tensor) -> Tensor:
    """(B, K) sums over each user's segments of what (S, K) stood for before it was scaled.

    In double precision: what cancels would else be off by more than a refold may be.
    """
    values = scaled.double() * scale.double() + mean.double()
    return segment_sum(values, user_offsets).to(scaled.dtype)
