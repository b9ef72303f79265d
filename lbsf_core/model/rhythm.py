"""Rhythm: how much a user pays and is paid, through time, whatever the merchant.

Folding takes payments of different merchants apart, and with them the order across merchants. That
order carries risk (a plain GRU over the unfolded payments beat a fold without this part). So each
segment also counts its payments and sums its amounts over soft bins of recency, and a user's
rhythm is the sum over the segments: linear in the payments, and a segment that is taken out takes
exactly its own share with it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.model.dropout import Dropout
from lbsf_core.model.recency import DAYS, RecencyBins, unscaled_totals

Floats = npt.NDArray[np.float64]

#: What is counted in each bin: payments, log of their amounts (their size), money out, money in,
#: and whether the merchant is paid at all, so that a sum over segments counts merchants.
CHANNELS = 5
#: Figures of a segment: channel by channel, bin by bin.
RHYTHM = CHANNELS * len(DAYS)
#: Amounts beyond count as this much, so that sums stay finite in single precision.
LARGEST = 1e12
#: Figures of a user: see `UserRhythm._figures`.
FIGURES = (4 + 1 + 3) * len(DAYS) + 3 * (len(DAYS) - 1)


def _channels(batch: FoldedBatch) -> list[Floats]:
    """What each payment adds to its bins, (N,) each; merchants are counted from the first."""
    amounts = np.clip(batch.amounts, -LARGEST, LARGEST)
    return [
        np.ones(len(amounts)),
        np.log1p(np.abs(amounts)),
        np.maximum(-amounts, 0.0),
        np.maximum(amounts, 0.0),
    ]


def _paid_at_all(counts: Floats) -> Floats:
    """How far some payments in a bin make a merchant that is paid then: 0 to 1."""
    found: Floats = -np.expm1(-2.0 * counts)
    return found


def segment_rhythm(batch: FoldedBatch, bins: RecencyBins | None = None) -> Floats:
    """(S, RHYTHM) what each segment has in each bin of recency, channel by channel."""
    sums = (bins or RecencyBins.of(batch)).sums(_channels(batch))
    return np.concatenate([sums, _paid_at_all(sums[:, : len(DAYS)])], axis=1)


class UserRhythm(nn.Module):
    """A user's rhythm as a vector, from the scaled rhythms of the segments."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("segment_mean", torch.zeros(RHYTHM))
        self.register_buffer("segment_scale", torch.ones(RHYTHM))
        self.register_buffer("mean", torch.zeros(FIGURES))
        self.register_buffer("scale", torch.ones(FIGURES))
        self.register_buffer("unit", torch.ones(()))
        self.segment_mean: Tensor
        self.segment_scale: Tensor
        self.mean: Tensor
        self.scale: Tensor
        self.unit: Tensor
        self.mix = nn.Sequential(
            Dropout(dropout),
            nn.Linear(FIGURES, 2 * width),
            nn.GELU(),
            Dropout(dropout),
            nn.Linear(2 * width, width),
        )

    def fit(self, batch: FoldedBatch) -> None:
        """Scale by the training part: segments, amounts (by the mean absolute one), users."""
        rhythm = segment_rhythm(batch)
        if not len(rhythm):
            return
        self.segment_mean.copy_(torch.from_numpy(rhythm.mean(axis=0)))
        self.segment_scale.copy_(torch.from_numpy(np.maximum(rhythm.std(axis=0), 1e-3)))
        self.unit.fill_(max(float(np.abs(batch.amounts).mean()), 1e-6))
        totals = self.totals(self.scaled(batch), torch.from_numpy(batch.user_offsets))
        figures = self._figures(totals)
        self.mean.copy_(figures.mean(dim=0))
        self.scale.copy_(figures.std(dim=0, correction=0).clamp_min(0.1))

    def scaled(self, batch: FoldedBatch, bins: RecencyBins | None = None) -> Tensor:
        """(S, RHYTHM) scaled rhythms: 0 = the mean segment of the training part."""
        rhythm = torch.from_numpy(segment_rhythm(batch, bins)).to(self.mean)
        return (rhythm - self.segment_mean) / self.segment_scale

    def parts(self, batch: FoldedBatch, weights: Floats, bins: RecencyBins) -> Floats:
        """(N,) each payment's own part of sum(weights * rhythm), (S, RHYTHM) weights of `scaled`.

        A merchant that is paid at all counts for its payments in that bin alike.
        """
        weights = weights / self.segment_scale.double().cpu().numpy()
        channels = _channels(batch)
        summed, paid = np.split(weights, [(CHANNELS - 1) * len(DAYS)], axis=1)
        counts = bins.sums(channels[:1])
        each = _paid_at_all(counts) / np.where(counts > 0, counts, 1.0)
        return bins.parts(channels, summed) + bins.parts(channels[:1], paid * each)

    def totals(self, scaled: Tensor, user_offsets: Tensor) -> Tensor:
        """(B, RHYTHM) sums over each user's segments, not scaled."""
        return unscaled_totals(scaled, self.segment_scale, self.segment_mean, user_offsets)

    def _figures(self, totals: Tensor) -> Tensor:
        """(B, FIGURES) the user's totals on log scales.

        Per bin: payments, money out, money in, merchants, mean size of a payment. Up to each bin:
        payments, money out, merchants; and by what factor each window holds more than the one
        before, which says whether the user pays less than it used to.
        """
        count, size, out, into, merchants = totals.clamp_min(0.0).chunk(CHANNELS, dim=1)
        parts = [4.0 * count, out / self.unit, into / self.unit, 4.0 * merchants]
        windows = [torch.log1p(parts[i].cumsum(dim=1)) for i in (0, 1, 3)]
        growth = [window.diff(dim=1) for window in windows]
        return torch.cat([*map(torch.log1p, parts), size / (count + 0.1), *windows, *growth], dim=1)

    def forward(self, totals: Tensor) -> Tensor:
        """(B, RHYTHM) totals -> (B, D)."""
        figures = (self._figures(totals) - self.mean) / self.scale
        # Smooth, so that integrated gradients converge.
        mixed: Tensor = self.mix(6.0 * torch.tanh(figures / 6.0))
        return mixed
