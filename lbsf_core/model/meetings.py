"""Meetings: whom the user pays within two days of whom.

Two merchants may mean something together that neither means alone: pawned today, traded away
tomorrow. A merchant's vector knows its own payments only, and attention between vectors can't see
that their days go together. Here each merchant hears from those that it meets, in proportion to how
often: on how many of its days with a payment another one is paid within `NEAR` days, as a count and
as a share, turned into a gate a head. Merchants that never meet say nothing to each other, so the
values that two of them have together can be measured (explain/removal.py).

Cost grows with merchants squared times `DAYS`, not with payments.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lbsf_core.fold.batch import DAY, FoldedBatch
from lbsf_core.model.ragged import layer_norm
from lbsf_core.model.relation import Bucket

#: Days before the cutoff that are looked at, and how near two payments meet.
DAYS, NEAR = 180, 2
#: Makes gates loud enough to learn from: with 1, two of three runs on 8,000 simulated users never
#: found the planted pair.
SCALE = 3.0
#: What a gate reads of two merchants.
_FEATURES = 4


def days_paid(batch: FoldedBatch) -> Tensor:
    """(S, DAYS) 1 where a segment was paid so many whole days before the cutoff, else 0."""
    day = (batch.cutoffs[batch.sample_of_payment] - batch.timestamps) // DAY
    near = day < DAYS
    found = torch.zeros(len(batch.merchants), DAYS)
    found[torch.from_numpy(batch.segment_of_payment[near]), torch.from_numpy(day[near])] = 1.0
    return found


class Meetings(nn.Module):
    """Adds to each merchant what it hears from those it meets."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = layer_norm(width)
        self.value = nn.Linear(width, width)
        self.gate = nn.Linear(_FEATURES, heads, bias=False)  # no meeting, no word
        self.out = nn.Linear(width, width)

    def forward(self, merchants: Tensor, days: Tensor, buckets: list[Bucket]) -> Tensor:
        """(S, D) merchants, (S, DAYS) days -> (S, D)."""
        width = merchants.shape[1]
        values = self.value(self.norm(merchants))
        heard = torch.zeros_like(merchants)
        for bucket in buckets:
            users, slots = bucket.rows.shape
            rows = bucket.rows.flatten()
            paid = days.to(values.dtype).index_select(0, rows).view(users, slots, -1)
            gates = self.gate(SCALE * _features(paid * bucket.real[..., None]))  # (B', W, W, H)
            own = values.index_select(0, rows).view(users, slots, self.heads, -1)
            said = torch.einsum("bijh,bjhd->bihd", gates, own).reshape(-1, width)
            heard = heard.index_copy(0, bucket.segments, said.index_select(0, bucket.slots))
        found: Tensor = merchants + self.out(heard)
        return found


def _features(paid: Tensor) -> Tensor:
    """(B', W, DAYS) -> (B', W, W, 4) how often the row's merchant meets the column's."""
    near = paid.clone()
    for step in range(1, NEAR + 1):
        near[..., :-step] += paid[..., step:]
        near[..., step:] += paid[..., :-step]
    met = paid @ near.clamp_max(1.0).transpose(1, 2)  # days of the row's with the column's near
    met = met * (1.0 - torch.eye(met.shape[1], dtype=met.dtype, device=met.device))
    share = met / paid.sum(dim=-1).clamp_min(1.0)[..., None]
    count = met.log1p()
    return torch.stack([count, share, count * share, share * share.transpose(1, 2)], dim=-1)
