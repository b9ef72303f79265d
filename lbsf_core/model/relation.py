"""Relations: a pre-norm Transformer across a user's merchants, then attention pooling.

All linear work runs on the flat (S, D) rows. Only the attention itself needs samples side by
side: samples of like number of segments share a bucket, and slots beyond a sample's own segments
get weight exactly 0.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lbsf_core.model.dropout import Dropout
from lbsf_core.model.ragged import layer_norm, segment_softmax, segment_sum


class Bucket:
    """Where the segments of some samples of like size lie.

    Attributes:
        rows: (B', W) row of each slot; slots beyond a sample's segments repeat its last row.
        real: (B', W) which slots are segments.
        slots: numbers of the slots that are segments, counted row by row.
        segments: the row of each of those.
        full: whether every slot is a segment (no mask needed).
        samples: (B',) row numbers of the samples.
    """

    def __init__(self, samples: Tensor, user_offsets: Tensor) -> None:
        starts, counts = user_offsets[samples], user_offsets.diff()[samples]
        slots = torch.arange(int(counts.max()), device=user_offsets.device)
        self.samples = samples
        self.real = slots < counts[:, None]
        self.full = bool(self.real.all())
        self.rows = starts[:, None] + torch.minimum(slots, counts[:, None] - 1)
        self.slots = self.real.flatten().nonzero()[:, 0]
        self.segments = self.rows.flatten().index_select(0, self.slots)


class RelationLayer(nn.Module):
    """One pre-norm Transformer layer; attention is written out where its weights are shown."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.uniform = False  # every merchant of a user looks at all of them alike: a control
        self.heads = heads
        self.drop = Dropout(dropout)
        self.norm = layer_norm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed = nn.Sequential(
            layer_norm(width),
            nn.Linear(width, 2 * width),
            nn.GELU(),
            Dropout(dropout),
            nn.Linear(2 * width, width),
            Dropout(dropout),
        )

    def forward(
        self, merchants: Tensor, buckets: list[Bucket], weights: list[Tensor] | None = None
    ) -> Tensor:
        """(S, D) -> (S, D). If `weights` is a list, (B', H, W, W) attention is added per bucket."""
        qkv = self.query_key_value(self.norm(merchants))  # (S, 3D)
        width = merchants.shape[1]
        mixed = torch.zeros_like(merchants)
        for bucket in buckets:
            shape = (*bucket.rows.shape, 3, self.heads, width // self.heads)
            q, k, v = (
                qkv.index_select(0, bucket.rows.flatten()).view(shape).permute(2, 0, 3, 1, 4)
            )  # (B', H, W, D/H)
            if self.uniform:
                q = q * 0.0
            mask = None if bucket.full else bucket.real[:, None, None, :]
            if weights is None:
                attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            else:
                scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
                if mask is not None:
                    scores = scores.masked_fill(~mask, -torch.inf)
                attention = scores.softmax(dim=-1)
                weights.append(attention)
                attended = attention @ v
            flat = attended.transpose(1, 2).reshape(-1, width)
            mixed = mixed.index_copy(0, bucket.segments, flat.index_select(0, bucket.slots))
        update = self.drop(self.out(mixed))
        hidden = merchants + update
        related: Tensor = hidden + self.feed(hidden)
        return related


class UserPooling(nn.Module):
    """Attention over merchants, their mean, a sum that grows with their number, and a peak.

    The peak is a smooth maximum of each learned signal over the merchants: one merchant out of
    many may be the whole reason, and a mean would thin it out.

    A user without any merchant gets the learned `empty` vector.
    """

    #: Vectors that a user's vector is made of.
    PARTS = 4

    def __init__(self, width: int) -> None:
        super().__init__()
        self.uniform = False  # every merchant weighs the same: a control
        self.norm = layer_norm(width)
        self.hidden = nn.Linear(width, width)
        self.score = nn.Linear(width, 1)
        self.signal = nn.Linear(width, width)
        self.empty = nn.Parameter(torch.zeros(self.PARTS * width))

    def forward(
        self, merchants: Tensor, user_offsets: Tensor, ids: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(S, D) -> (B, 4D) user vectors and (S,) merchant weights (sum to 1 over each user)."""
        merchants = self.norm(merchants)
        scores = self.score(torch.tanh(self.hidden(merchants)))  # (S, 1)
        weights = segment_softmax(scores * 0.0 if self.uniform else scores, user_offsets, ids)
        counts = user_offsets.diff()[:, None].to(merchants.dtype)
        looked = segment_sum(merchants, user_offsets, weights)[:, 0]
        total = segment_sum(merchants, user_offsets)
        signals = torch.exp(6.0 * torch.tanh(self.signal(merchants) / 6.0))
        peak = torch.log1p(segment_sum(signals, user_offsets))
        size = counts.clamp_min(1)
        users = torch.cat([looked, total / size, total / size.sqrt() / 4, peak], dim=1)
        return torch.where(counts > 0, users, self.empty), weights[:, 0]
