"""Merchant aggregation: the payments of a segment become one merchant vector."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lbsf_core.fold.batch import DAY, FoldedBatch
from lbsf_core.model.dropout import Dropout
from lbsf_core.model.fields import signed_log
from lbsf_core.model.ragged import layer_norm, segment_softmax, segment_sum

Floats = npt.NDArray[np.float64]

#: What is counted about a segment beside its payments; `segment_statistics` says how.
STATISTICS: tuple[str, ...] = (
    "payments",
    "total",
    "mean amount",
    "smallest amount",
    "largest amount",
    "share paid out",
    "tenure",
    "recency",
    "mean gap",
    "irregularity",
    "recent share",
)


def segment_statistics(batch: FoldedBatch) -> Floats:
    """(S, 11) figures of each segment, named by `STATISTICS`.

    Logs of counts, amounts (signed) and days; tenure = first to last payment; recency = last
    payment to cutoff; irregularity = log of the gaps' deviation over their mean (a salary is
    near 0); recent share = share of payments in the last 60 days before the cutoff.
    """
    starts, counts = batch.offsets[:-1], np.diff(batch.offsets).astype(np.float64)
    if not len(starts):
        return np.zeros((0, len(STATISTICS)))
    amounts, times = batch.amounts, batch.timestamps
    cutoffs = batch.cutoffs[batch.sample_of_segment]
    total = np.add.reduceat(amounts, starts)
    first, last = times[starts], times[batch.offsets[1:] - 1]
    gaps = np.zeros(len(times))
    gaps[1:] = np.diff(times) / DAY
    gaps[starts] = 0.0
    between = np.maximum(counts - 1, 1)
    mean_gap = np.add.reduceat(gaps, starts) / between
    spread = np.sqrt(np.maximum(np.add.reduceat(gaps**2, starts) / between - mean_gap**2, 0.0))
    recent = (batch.cutoffs[batch.sample_of_payment] - times) < 60 * DAY
    return np.stack(
        [
            np.log1p(counts),
            signed_log(total),
            signed_log(total / counts),
            signed_log(np.minimum.reduceat(amounts, starts)),
            signed_log(np.maximum.reduceat(amounts, starts)),
            np.add.reduceat((amounts < 0).astype(np.float64), starts) / counts,
            np.log1p((last - first) / DAY),
            np.log1p((cutoffs - last) / DAY),
            np.log1p(mean_gap),
            np.log1p(spread / np.maximum(mean_gap, 1e-3)),
            np.add.reduceat(recent.astype(np.float64), starts) / counts,
        ],
        axis=1,
    )


class MerchantAggregation(nn.Module):
    """Multi-head attention over a segment's payments, their mean and spread, and its statistics.

    Every part is smooth in the payments (no hard maximum: the extreme amounts are statistics), so
    that integrated gradients converge in a few steps; see tests/explain for the measured error.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.scores = nn.Linear(width, heads)
        self.uniform = False  # every payment weighs the same: a control
        self.pooled = nn.Linear((heads + 2) * width, width)
        self.statistics = nn.Linear(len(STATISTICS), width)
        self.register_buffer("mean", torch.zeros(len(STATISTICS)))
        self.register_buffer("scale", torch.ones(len(STATISTICS)))
        self.mean: Tensor
        self.scale: Tensor
        self.norm = layer_norm(width)
        self.mix = nn.Sequential(nn.GELU(), Dropout(dropout), nn.Linear(width, width))

    def fit(self, statistics: Floats) -> None:
        """Scale the statistics by mean and deviation of the training part."""
        if len(statistics):
            self.mean.copy_(torch.from_numpy(statistics.mean(axis=0)))
            self.scale.copy_(torch.from_numpy(np.maximum(statistics.std(axis=0), 1e-3)))

    def scaled(self, batch: FoldedBatch) -> Tensor:
        """(S, 11) scaled statistics: 0 = the training mean."""
        values = torch.from_numpy(segment_statistics(batch)).to(self.mean)
        return ((values - self.mean) / self.scale).clamp(-6.0, 6.0)

    def forward(
        self,
        payments: Tensor,
        statistics: Tensor,
        offsets: Tensor,
        ids: Tensor,
        looked_at: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Aggregate.

        Args:
            payments: (N, D) payment vectors.
            statistics: (S, 11) scaled statistics.
            offsets: (S + 1,).
            ids: (N,) segment of each payment.
            looked_at: (N, D) vectors that attention is scored on; by default the payments.

        Returns:
            (S, D) merchant vectors and (N, H) attention over the payments of each segment.
        """
        scores = self.scores(payments if looked_at is None else looked_at)  # (N, H)
        weights = segment_softmax(scores * 0.0 if self.uniform else scores, offsets, ids)
        views = segment_sum(payments, offsets, weights).flatten(1)  # (S, H * D)
        counts = offsets.diff()[:, None].to(payments.dtype)
        mean = segment_sum(payments, offsets) / counts
        square = segment_sum(payments * payments, offsets) / counts
        spread = torch.sqrt((square - mean * mean).clamp_min(0.0) + 1e-4)
        pooled = self.pooled(torch.cat([views, mean, spread], dim=1))  # (S, D)
        return self.mix(self.norm(pooled + self.statistics(statistics))), weights
