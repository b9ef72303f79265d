"""Levels: how high a number of the payments lies through time, whatever the merchant.

A balance after each payment, or the amount itself: folding takes its course apart, and the lowest
balance of the last months is the first thing that a credit team looks at. So each segment sums a
few functions of the number over soft bins of recency; from their totals over the segments come the
user's mean, spread, low and high. All are sums over payments, so that a segment that is taken out
takes exactly its own share with it, and low and high are smooth ones, so that gradients explain
them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.model.dropout import Dropout
from lbsf_core.model.fields import number_values
from lbsf_core.model.recency import DAYS, RecencyBins, unscaled_totals
from lbsf_core.payments.schema import Field

Floats = npt.NDArray[np.float64]

#: What is summed in each bin: whether the value is known, the value, its square, two exponentials
#: whose logs are its low and its high, and whether it is below zero.
CHANNELS = 6
#: How hard low and high are, in deviations of the value: 0 = the extreme itself.
SOFTNESS = 0.6
#: Values are cut off at this many deviations.
FARTHEST = 3.0
#: Weight of the training part's mean beside a user's own payments, in payments.
PRIOR = 0.1
#: Figures of a user and a number: see `UserLevels._figures`.
FIGURES = 6 * len(DAYS)


class UserLevels(nn.Module):
    """The course of some numbers of a user as a vector.

    Args:
        fields: the numbers, amount or extra ones.
        width: size of the vector.
        dropout: while training.
    """

    def __init__(self, fields: Sequence[Field], width: int, dropout: float) -> None:
        super().__init__()
        self.fields = tuple(fields)
        size = self.size
        self.register_buffer("value_mean", torch.zeros(len(fields), dtype=torch.float64))
        self.register_buffer("value_scale", torch.ones(len(fields), dtype=torch.float64))
        self.register_buffer("segment_mean", torch.zeros(size))
        self.register_buffer("segment_scale", torch.ones(size))
        self.register_buffer("mean", torch.zeros(FIGURES * len(fields)))
        self.register_buffer("scale", torch.ones(FIGURES * len(fields)))
        self.value_mean: Tensor
        self.value_scale: Tensor
        self.segment_mean: Tensor
        self.segment_scale: Tensor
        self.mean: Tensor
        self.scale: Tensor
        self.mix = nn.Sequential(
            Dropout(dropout),
            nn.Linear(FIGURES * len(fields), 2 * width),
            nn.GELU(),
            Dropout(dropout),
            nn.Linear(2 * width, width),
        )

    @property
    def size(self) -> int:
        """Figures of a segment."""
        return CHANNELS * len(DAYS) * len(self.fields)

    def fit(self, batch: FoldedBatch) -> None:
        """Scale by the training part: values, segments, users."""
        for at, field in enumerate(self.fields):
            values = number_values(field, batch)
            values = values[np.isfinite(values)]
            if len(values):
                self.value_mean[at] = float(values.mean())
                self.value_scale[at] = max(float(values.std()), 1e-6)
        levels = self.segments(batch)
        if not len(levels):
            return
        self.segment_mean.copy_(torch.from_numpy(levels.mean(axis=0)))
        self.segment_scale.copy_(torch.from_numpy(np.maximum(levels.std(axis=0), 1e-3)))
        totals = self.totals(self.scaled(batch), torch.from_numpy(batch.user_offsets))
        figures = self._figures(totals)
        self.mean.copy_(figures.mean(dim=0))
        self.scale.copy_(figures.std(dim=0, correction=0).clamp_min(0.05))

    def scaled(self, batch: FoldedBatch, bins: RecencyBins | None = None) -> Tensor:
        """(S, size) scaled levels: 0 = the mean segment of the training part."""
        levels = torch.from_numpy(self.segments(batch, bins)).to(self.mean)
        return (levels - self.segment_mean) / self.segment_scale

    def _channels(self, batch: FoldedBatch) -> list[Floats]:
        """What each payment adds to its bins, (N,) each, number by number."""
        channels = []
        for number, field in enumerate(self.fields):
            raw = number_values(field, batch)
            known = np.isfinite(raw).astype(np.float64)
            mean, scale = float(self.value_mean[number]), float(self.value_scale[number])
            value = np.clip(np.where(known, (raw - mean) / scale, 0.0), -FARTHEST, FARTHEST)
            channels += [
                known,
                known * value,
                known * value**2,
                known * np.exp(value / -SOFTNESS),
                known * np.exp(value / SOFTNESS),
                known * (raw < 0),
            ]
        return channels

    def segments(self, batch: FoldedBatch, bins: RecencyBins | None = None) -> Floats:
        """(S, size) what each segment sums, number by number, channel by channel, bin by bin."""
        return (bins or RecencyBins.of(batch)).sums(self._channels(batch))

    def parts(self, batch: FoldedBatch, weights: Floats, bins: RecencyBins) -> Floats:
        """(N,) each payment's own part of sum(weights * levels), (S, size) weights of `scaled`."""
        scale = self.segment_scale.double().cpu().numpy()
        return bins.parts(self._channels(batch), weights / scale)

    def totals(self, scaled: Tensor, user_offsets: Tensor) -> Tensor:
        """(B, size) sums over each user's segments, not scaled."""
        return unscaled_totals(scaled, self.segment_scale, self.segment_mean, user_offsets)

    def _figures(self, totals: Tensor) -> Tensor:
        """(B, FIGURES per number): up to each bin mean, spread, low, high and share below zero of
        the number, and its mean in each bin."""
        found = []
        for part in totals.chunk(len(self.fields), dim=1):
            known, value, square, low, high, below = part.chunk(CHANNELS, dim=1)
            known, square, low, high, below = (
                c.clamp_min(0.0) for c in (known, square, low, high, below)
            )
            found.append(value / (known + 0.1))
            known, value, square, low, high, below = (
                c.cumsum(dim=1) for c in (known, value, square, low, high, below)
            )
            mean = value / (known + 0.1)
            spread = (square / (known + 0.1) - mean**2).clamp_min(0.0)
            found += [
                mean,
                torch.log(spread + PRIOR),
                -SOFTNESS * torch.log((low + PRIOR) / (known + PRIOR)),
                SOFTNESS * torch.log((high + PRIOR) / (known + PRIOR)),
                below / (known + 0.1),
            ]
        return torch.cat(found, dim=1)

    def forward(self, totals: Tensor) -> Tensor:
        """(B, size) totals -> (B, D)."""
        figures = (self._figures(totals) - self.mean) / self.scale
        mixed: Tensor = self.mix(6.0 * torch.tanh(figures / 6.0))
        return mixed
