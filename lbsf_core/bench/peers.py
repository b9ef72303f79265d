"""What a team would use instead of folding: a Transformer or a GRU over the flat sequence.

Both read the same payments in order of time through the same field encoders and width as LBSF.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.model.lbsf import LBSF


class FlatPeer(nn.Module):
    """Field vectors in order of time, a sequence model, mean over time, a head."""

    def __init__(self, encoder: LBSF, body: nn.Module) -> None:
        super().__init__()
        self.encoder, self.body = encoder, body
        width = encoder.config.width
        self.head = nn.Linear(width, 1)

    def forward(self, batch: FoldedBatch) -> Tensor:
        """(B,) logits; every sample of the batch has the same number of payments."""
        order = np.lexsort((batch.timestamps, batch.sample_of_payment))
        fused = self.encoder.fused(batch)[torch.from_numpy(order)]
        sequence = fused.view(len(batch), -1, fused.shape[1])  # (B, T, D)
        logits: Tensor = self.head(self.body(sequence).mean(dim=1))[:, 0]
        return logits


class TransformerBody(nn.Module):
    """Pre-norm Transformer layers over time, attention by torch's fused kernel."""

    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.mixes = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(layers))
        self.outs = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.feeds = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, 2 * width),
                nn.GELU(),
                nn.Linear(2 * width, width),
            )
            for _ in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        b, t, d = x.shape
        for norm, mix, out, feed in zip(self.norms, self.mixes, self.outs, self.feeds, strict=True):
            shape = (b, t, 3, self.heads, d // self.heads)
            q, k, v = mix(norm(x)).view(shape).permute(2, 0, 3, 1, 4)
            x = x + out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, d))
            x = x + feed(x)
        return x


class GRUBody(nn.Module):
    """One GRU layer over time. (B, T, D) -> same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gru = nn.GRU(width, width, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        states: Tensor = self.gru(x)[0]
        return states
