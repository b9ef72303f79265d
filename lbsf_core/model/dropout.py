"""Dropout from random bytes: what training spends most of its random numbers on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lbsf_core.errors import LbsfError


class Dropout(nn.Module):
    """As `nn.Dropout`, three times as fast on a CPU.

    One draw of 64 bits decides over eight values (8,300 x 64: 2.2 ms against 7.4 ms on one core),
    so the share is taken to the nearest 256th. torch's generator draws: `torch.manual_seed` rules.

    Args:
        share: of the values that are zeroed while training; the others grow to keep the mean.

    Raises:
        LbsfError: the share lies outside [0, 1).
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        if not 0 <= share < 1:
            raise LbsfError(f"dropout is {share}; give a share of at least 0 and below 1.")
        self.share = share
        self._limit = min(round(256 * share), 255)

    def forward(self, values: Tensor) -> Tensor:
        """The values, some of them zeroed while training; of any shape."""
        if not (self.training and self._limit):
            return values
        count = values.numel()
        drawn = torch.empty((count + 7) // 8, dtype=torch.int64, device=values.device)
        drawn.random_(-(2**63), None)  # all 64 bits
        kept = drawn.view(torch.uint8)[:count].view(values.shape) >= self._limit
        return values * kept.to(values.dtype).mul_(256 / (256 - self._limit))

    def extra_repr(self) -> str:
        """For printing a model."""
        return f"share={self.share}"
