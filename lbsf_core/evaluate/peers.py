"""What a team would use instead of folding: a Transformer or a GRU over the flat sequence.

Both read the same payments in order of time through the same field encoders and width as LBSF.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lbsf_core.config import ModelConfig
from lbsf_core.fold.batch import FoldedBatch, Ints, expand
from lbsf_core.model.dropout import Dropout
from lbsf_core.model.lbsf import LBSF, Layout
from lbsf_core.model.ragged import length_buckets, segment_sum
from lbsf_core.payments.schema import Field


class FlatPeer(nn.Module):
    """Field vectors in order of time, a sequence model, its mean and its last state, a head.

    Args:
        encoder: its field encoders, settings and width are used.
        body: (N, D) payments in order of time, sample by sample, and (B,) how many each sample
            has -> (N, D).
        newest: only so many of the newest payments are read; None = all.
    """

    def __init__(self, encoder: LBSF, body: nn.Module, newest: int | None = None) -> None:
        super().__init__()
        self.encoder, self.body, self.newest = encoder, body, newest
        width = encoder.config.width
        self.drop = Dropout(encoder.config.dropout)
        self.head = nn.Linear(2 * width, 1)

    def forward(self, batch: FoldedBatch) -> Tensor:
        """(B,) logits."""
        order = np.lexsort((batch.timestamps, batch.sample_of_payment))
        counts = batch.payment_counts
        kept = np.minimum(counts, self.newest) if self.newest else counts
        rows = torch.from_numpy(order[expand(np.cumsum(counts) - kept, kept)])
        fused = self.drop(self.encoder.fused(batch)[rows])
        lengths = torch.from_numpy(kept)
        states = self.body(fused, lengths)
        total = segment_sum(states, F.pad(lengths.cumsum(0), (1, 0)))
        pooled = torch.cat([total / lengths.clamp_min(1)[:, None], _last(states, lengths)], dim=1)
        logits: Tensor = self.head(self.drop(pooled))[:, 0]
        return logits


def _like_lengths(lengths: Tensor, growth: float) -> Iterator[tuple[Tensor, Tensor]]:
    """Samples of like length side by side: their payments' places (B', T), and which are real.

    Slots beyond a sample's own payments point at some other payment; they are not real.
    """
    starts, last = lengths.cumsum(0) - lengths, int(lengths.sum()) - 1
    for samples in length_buckets(lengths, growth):
        size = lengths[samples]
        slots = torch.arange(int(size.max()))
        yield (starts[samples][:, None] + slots).clamp_max(last), slots < size[:, None]


def _last(states: Tensor, lengths: Tensor) -> Tensor:
    """(B, W) the last of each sample's states, zeros where it has none."""
    ends = lengths.cumsum(0) - 1
    found = F.pad(states, (0, 0, 1, 0)).index_select(0, ends.clamp_min(-1) + 1)
    return found * (lengths > 0)[:, None]


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

    def forward(self, payments: Tensor, lengths: Tensor) -> Tensor:
        """(N, D) -> (N, D); slots that are no payment are masked."""
        states = torch.zeros_like(payments)
        for place, real in _like_lengths(lengths, 1.25):
            found = self._mixed(payments[place], None if bool(real.all()) else real)
            states = states.index_copy(0, place[real], found[real])
        return states

    def _mixed(self, x: Tensor, real: Tensor | None) -> Tensor:
        """(B, T, D) and (B, T) which slots are payments, or None where all are -> (B, T, D)."""
        b, t, d = x.shape
        mask = None if real is None else real[:, None, None, :]
        for norm, mix, out, feed in zip(self.norms, self.mixes, self.outs, self.feeds, strict=True):
            shape = (b, t, 3, self.heads, d // self.heads)
            q, k, v = mix(norm(x)).view(shape).permute(2, 0, 3, 1, 4)
            x = x + out(
                F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
                .transpose(1, 2)
                .reshape(b, t, d)
            )
            x = x + feed(x)
        return x


class GRUBody(nn.Module):
    """One GRU layer over time.

    What a step costs hardly depends on how many samples take it, so that few buckets are best
    (128 samples of 10 to 160 payments, forwards and back, in two buckets 36 ms, in four 47 ms, as
    a packed sequence 64 ms).
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.gru = nn.GRU(size, width, batch_first=True)

    def forward(self, payments: Tensor, lengths: Tensor) -> Tensor:
        """(N, D) -> (N, W); a state knows its own payment and those before."""
        states = payments.new_zeros(len(payments), self.gru.hidden_size)
        for place, real in _like_lengths(lengths, 4.0):
            states = states.index_copy(0, place[real], self.gru(payments[place])[0][real])
        return states


class DecoupledLBSF(LBSF):
    """LBSF whose attention looks at embeddings of its own (DARE, arXiv 2410.02604): a control."""

    looker: LBSF
    _looked_at: Tensor

    @classmethod
    def fit(cls, config: ModelConfig, extra: Sequence[Field], train: FoldedBatch) -> DecoupledLBSF:
        """As `LBSF.fit`."""
        model = super().fit(config, extra, train)
        assert isinstance(model, DecoupledLBSF)  # noqa: S101 - `fit` makes what it is called on
        model.looker = LBSF(config, model.fields, model.fitted)
        return model

    def forward(self, batch: FoldedBatch) -> Tensor:
        """(B,) logits."""
        self._looked_at = self.looker._payment(self.looker.fused(batch))
        return super().forward(batch)

    def merchant_vectors(
        self, fused: Tensor, statistics: Tensor, layout: Layout
    ) -> tuple[Tensor, Tensor]:
        """As in LBSF, attention scored on the other embeddings."""
        found: tuple[Tensor, Tensor] = self.merchants(
            self._payment(fused), statistics, layout.offsets, layout.segment, self._looked_at
        )
        return found


class SliceEncoder(nn.Module):
    """CoLES: slices of one user's payments lie near each other, those of others far away.

    The losses and sizes are those of the usual recipe (contrastive margin .5, hardest negatives),
    on a GRU over the unfolded payments; embeddings go to gradient boosting.
    """

    MARGIN = 0.5

    def __init__(self, encoder: LBSF, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.body = GRUBody(encoder.config.width, width)

    def forward(self, batch: FoldedBatch) -> Tensor:
        """(B, W) embeddings of length 1: the GRU's last state."""
        order = np.lexsort((batch.timestamps, batch.sample_of_payment))
        fused = self.encoder.fused(batch)[torch.from_numpy(order)]
        lengths = torch.from_numpy(batch.payment_counts)
        return F.normalize(_last(self.body(fused, lengths), lengths), dim=1)

    def loss(self, batch: FoldedBatch, owner: Tensor) -> Tensor:
        """Contrastive loss of slices, (B,) of which user each is."""
        embedded = self(batch)
        distance = (2.0 - 2.0 * embedded @ embedded.T).clamp_min(1e-6).sqrt()
        same = owner[:, None] == owner
        itself = torch.eye(len(owner), dtype=torch.bool)
        near = distance[same & ~itself].pow(2).sum()
        others = min(5, int((~same).sum(dim=1).min()))  # none where all slices are one user's
        hardest = distance.masked_fill(same, torch.inf).topk(others, dim=1, largest=False).values
        far = (self.MARGIN - hardest).clamp_min(0.0).pow(2).sum()
        total: Tensor = (near + far) / len(owner)
        return total


def draw_slices(batch: FoldedBatch, rows: Ints, each: int, rng: np.random.Generator) -> FoldedBatch:
    """`each` contiguous slices, of 15 to 150 payments in time, of each of these samples."""
    some = batch.select(np.repeat(rows, each))
    sample = some.sample_of_payment
    order = np.lexsort((some.timestamps, sample))
    counts = some.payment_counts
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    length = np.minimum(rng.integers(15, 151, len(some)), counts)
    start = (rng.random(len(some)) * (counts - length + 1)).astype(np.int64)
    return some.keep((place >= start[sample]) & (place < (start + length)[sample]))
