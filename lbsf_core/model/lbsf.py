"""LBSF, the whole model, top to bottom.

    payments  (N, F fields)  --encoders, gated sum-->  (N, D)  --payment block-->  (N, D)
    segments                 --merchant aggregation-->  (S, D)
    relations                --who is paid near whom, then a Transformer across merchants-->  (S, D)
    users                    --attention pooling, rhythm, head-->  (B,) logits of default

Method: "Financial Risk Assessment via Long-term Payment Behavior Sequence Folding"
(arXiv 2411.15056). The paper's equations and sizes are not public in detail; what stands here is
our reading of the method and none of its published numbers is claimed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lbsf_core.config import ModelConfig
from lbsf_core.errors import BatchError
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.model.dropout import Dropout
from lbsf_core.model.fields import (
    CategoryEncoder,
    FieldEncoder,
    NumberEncoder,
    TextEncoder,
    TimeEncoder,
    fit_field,
)
from lbsf_core.model.levels import UserLevels
from lbsf_core.model.meetings import Meetings, days_paid
from lbsf_core.model.merchant import STATISTICS, MerchantAggregation, segment_statistics
from lbsf_core.model.ragged import bag_sum, layer_norm, length_buckets, segment_ids
from lbsf_core.model.recency import RecencyBins
from lbsf_core.model.relation import Bucket, RelationLayer, UserPooling
from lbsf_core.model.rhythm import UserRhythm
from lbsf_core.payments.schema import CORE_FIELDS, Field, FieldKind

#: Payments that go through the payment block together on a CPU (measured: 19 ms for 32,768
#: payments on one core in parts of 1,024 to 4,096, 24 to 44 ms in one piece).
_BLOCK_ROWS = 2_048


@dataclass(frozen=True)
class Layout:
    """Where the payments and segments of a batch lie, as tensors, apart from their values."""

    offsets: Tensor  # (S + 1,)
    user_offsets: Tensor  # (B + 1,)
    segment: Tensor  # (N,) segment of each payment
    sample: Tensor  # (S,) sample of each segment
    buckets: list[Bucket]
    days: Tensor  # (S, DAYS) when each segment was paid; (S, 0) where the model does not ask

    @classmethod
    def of(
        cls, batch: FoldedBatch, device: torch.device | None = None, *, days: bool = False
    ) -> Layout:
        """The layout of a batch, on the device that computes; `LBSF.layout` knows which."""
        offsets = torch.from_numpy(batch.offsets).to(device)
        users = torch.from_numpy(batch.user_offsets).to(device)
        buckets = [Bucket(samples, users) for samples in length_buckets(users.diff())]
        paid = days_paid(batch) if days else torch.zeros(len(batch.merchants), 0)
        ids = segment_ids(offsets), segment_ids(users)
        return cls(offsets, users, *ids, buckets, paid.to(offsets.device))

    def repeat(self, times: int) -> Layout:
        """The layout of the same batch several times over, one copy after another."""
        if times == 1:
            return self

        def tile(offsets: Tensor) -> Tensor:
            shifts = torch.arange(times, device=offsets.device)[:, None] * offsets[-1]
            return torch.cat([offsets[:1], (offsets[1:] + shifts).flatten()])

        offsets, users = tile(self.offsets), tile(self.user_offsets)
        buckets = [Bucket(samples, users) for samples in length_buckets(users.diff())]
        days = self.days.repeat(times, 1)
        return Layout(offsets, users, segment_ids(offsets), segment_ids(users), buckets, days)


@dataclass(frozen=True)
class Attention:
    """Where the model looked.

    Attributes:
        payments: (N,) weights over the payments of each segment, mean of heads.
        merchants: (S,) weights over the merchants of each sample.
        relations: per sample (H, S_b, S_b) weights between its merchants, mean of layers; rows
            sum to 1. Empty where the model has no relation layer.
    """

    payments: Tensor
    merchants: Tensor
    relations: list[Tensor]


@dataclass(frozen=True)
class States:
    """What is known of V segments whatever else the user pays: all that a score needs of them.

    Attributes:
        vectors: (V, D) merchant vectors before relations.
        sums: (V, K) float64 figures that add up over a user's segments (rhythm and levels, not
            scaled).
        days: (V, DAYS) when each was paid; (V, 0) where the model does not ask.
    """

    vectors: Tensor
    sums: Tensor
    days: Tensor

    def __len__(self) -> int:
        return len(self.vectors)

    @classmethod
    def concat(cls, parts: Sequence[States]) -> States:
        """Several, one after another."""
        return cls(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(cls)))


class LBSF(nn.Module):
    """A payment-sequence model folded by merchant.

    Args:
        config: sizes.
        fields: the fields of a payment, core ones first.
        fitted: per field, what `fit_field` learned from the training part.
    """

    def __init__(
        self, config: ModelConfig, fields: Sequence[Field], fitted: dict[str, dict[str, Any]]
    ) -> None:
        super().__init__()
        self.config, self.fields, self.fitted = config, tuple(fields), fitted
        width = config.width
        self.encoders = nn.ModuleList(self._encoder(field) for field in fields)
        self.gates = nn.Parameter(torch.zeros(len(fields)))
        self.payment_norm = layer_norm(width)
        self.payment_block = nn.Sequential(
            nn.Linear(width, 2 * width),
            nn.GELU(),
            Dropout(config.dropout),
            nn.Linear(2 * width, width),
        )
        self.merchants = MerchantAggregation(width, config.heads, config.dropout)
        self.meetings = Meetings(width, config.heads) if config.meetings else None
        self.relations = nn.ModuleList(
            RelationLayer(width, config.heads, config.dropout)
            for _ in range(config.relation_layers)
        )
        self.users = UserPooling(width)
        self.rhythm = UserRhythm(width, config.dropout) if config.rhythm else None
        numbers = _numbers(self.fields, config.levels)
        self.levels = UserLevels(numbers, width, config.dropout) if numbers else None
        hidden = [nn.Linear(self.user_width, width), nn.GELU(), Dropout(config.dropout)]
        self.head: nn.Module
        if config.forecasts:  # pre-trained: the score is a linear function of what comes next
            hidden[0] = nn.Linear(self.user_width, 2 * width)
            self.forecast = nn.Sequential(*hidden[:2], nn.Linear(2 * width, config.forecasts))
            self.head = nn.Linear(config.forecasts, 1)
        else:
            self.forecast = nn.Sequential(Dropout(config.dropout))
            self.head = nn.Sequential(*hidden, nn.Linear(width, 1))
        self.merchants.uniform = self.users.uniform = config.attention == "mean"
        # The typical payment: mean vector of each field over the training part, (F, D).
        self.register_buffer("typical", torch.zeros(len(fields), width))
        self.typical: Tensor

    @classmethod
    def fit(cls, config: ModelConfig, extra: Sequence[Field], train: FoldedBatch) -> LBSF:
        """A new model whose vocabularies, knots and scales come from the training part."""
        fields = (*CORE_FIELDS, *extra)
        fitted = {
            field.name: fit_field(field, train, config.bins, user_gap=config.user_gap)
            for field in fields
        }
        model = cls(config, fields, fitted)
        model.merchants.fit(segment_statistics(train))
        if model.rhythm is not None:
            model.rhythm.fit(train)
        if model.levels is not None:
            model.levels.fit(train)
        return model

    @property
    def user_width(self) -> int:
        """Size of a user's vector."""
        parts = UserPooling.PARTS + (self.rhythm is not None) + (self.levels is not None)
        return parts * self.config.width

    def layout(self, batch: FoldedBatch) -> Layout:
        """Where the payments of a batch lie, with what this model asks of their days."""
        return Layout.of(batch, self.device, days=self.meetings is not None)

    def statistics(self, batch: FoldedBatch) -> Tensor:
        """(S, K) what is counted of each segment, scaled: 0 = the mean segment of training."""
        counted = [self.merchants.scaled(batch)]
        bins = RecencyBins.of(batch) if self._user_parts() else None
        counted += [part.scaled(batch, bins) for part in self._user_parts()]
        return torch.cat(counted, dim=1)

    def history_parts(self, batch: FoldedBatch, slopes: Tensor) -> npt.NDArray[np.float64]:
        """(N,) each payment's share of sum(slopes * statistics) of its segment.

        Rhythm and levels are sums over payments, so that each payment has a share of its own; what
        is left (a segment's other statistics, and the mean segment of training) is divided evenly.

        Args:
            batch: N payments in S segments.
            slopes: (S, K) by how much a statistic moves what is explained.
        """
        whole = (self.statistics(batch) * slopes).sum(dim=1).double().cpu().numpy()
        own = np.zeros(len(batch.amounts))
        if self._user_parts() and len(own):
            bins = RecencyBins.of(batch)
            sizes = [len(STATISTICS), *self._user_sizes()]
            weights = [w.double().cpu().numpy() for w in torch.split(slopes, sizes, dim=1)[1:]]
            for part, weight in zip(self._user_parts(), weights, strict=True):
                own += part.parts(batch, weight, bins)
        segment = batch.segment_of_payment
        rest = whole - np.bincount(segment, own, minlength=len(whole))
        found: npt.NDArray[np.float64] = own + (rest / np.diff(batch.offsets))[segment]
        return found

    def _encoder(self, field: Field) -> FieldEncoder:
        c, fitted = self.config, self.fitted[field.name]
        if field.kind is FieldKind.TEXT:
            return TextEncoder(field, c.width, c.text_width, c.text_buckets, c.text_dropout)
        if field.kind is FieldKind.CATEGORY:
            return CategoryEncoder(field, c.width, fitted["vocabulary"], c.text_dropout)
        if field.name == "timestamp":
            return TimeEncoder(field, c.width, fitted["knots"])
        return NumberEncoder(field, c.width, fitted["knots"])

    @property
    def device(self) -> torch.device:
        """Where the model computes: its inputs go there by themselves, its results stay there."""
        return self.gates.device

    @property
    def field_names(self) -> tuple[str, ...]:
        """Names of the fields, in the order of `field_vectors`."""
        return tuple(field.name for field in self.fields)

    def field_weights(self) -> Tensor:
        """(F,) how much of each field goes into a payment; mean 1."""
        return self.gates.softmax(dim=0) * len(self.fields)

    def field_vectors(self, batch: FoldedBatch) -> Tensor:
        """(N, F, D) the vector of every field of every payment, before it is fused."""
        return torch.stack([encoder.vectors(batch) for encoder in self._encoders()], dim=1)

    def _encoders(self) -> list[FieldEncoder]:
        return [e for e in self.encoders if isinstance(e, FieldEncoder)]

    def fused(self, batch: FoldedBatch) -> Tensor:
        """(N, D) gated sum of the fields: one embedding bag over all tables together."""
        gates, tables, rows, weights, start = self.field_weights(), [], [], [], 0
        for gate, encoder in zip(gates, self._encoders(), strict=True):
            table = encoder.table(batch)
            entries = encoder.entries(batch).to(table)
            tables.append(table * gate)
            rows.append(entries.rows + start)
            weights.append(entries.weights)
            start += len(table)
        return bag_sum(torch.cat(tables), torch.cat(rows, dim=1), torch.cat(weights, dim=1))

    def forward(self, batch: FoldedBatch) -> Tensor:
        """(B,) logits of default; positive = risky."""
        self._check(batch)
        layout = self.layout(batch)
        return self._decode(self.fused(batch), self.statistics(batch), layout)

    def forward_with_attention(self, batch: FoldedBatch) -> tuple[Tensor, Attention]:
        """(B,) logits and where the model looked."""
        self._check(batch)
        layout = self.layout(batch)
        found: dict[str, Any] = {}
        logits = self._decode(self.fused(batch), self.statistics(batch), layout, found)
        return logits, Attention(
            payments=found["payments"].mean(dim=1),
            merchants=found["merchants"],
            relations=_per_sample(found["relations"], layout, self.config.heads),
        )

    def fuse(self, fields: Tensor) -> Tensor:
        """(..., F, D) field vectors -> (..., D): their gated sum, what a payment is made of."""
        return torch.einsum("...fd,f->...d", fields, self.field_weights())

    def forward_from(self, fused: Tensor, statistics: Tensor, layout: Layout) -> Tensor:
        """(B,) logits from (N, D) fused payments and (S, K) statistics with the fold fixed.

        The same function as `forward`; explanations interpolate its inputs.
        """
        return self._decode(fused, statistics, layout)

    def merchant_vectors(
        self, fused: Tensor, statistics: Tensor, layout: Layout
    ) -> tuple[Tensor, Tensor]:
        """(S, D) merchant vectors before relations, and (N, H) attention over payments."""
        # On a CPU a few rows at a time: what a row becomes on the way then stays in the cache.
        parts = torch.split(fused, len(fused) or 1 if fused.is_cuda else _BLOCK_ROWS)
        payments = torch.cat([self._payment(part) for part in parts])  # (N, D)
        vectors: tuple[Tensor, Tensor] = self.merchants(
            payments, statistics, layout.offsets, layout.segment
        )
        return vectors

    def _payment(self, fused: Tensor) -> Tensor:
        """(n, D) -> (n, D) the payment block: what single fields say together."""
        payments: Tensor = fused + self.payment_block(self.payment_norm(fused))
        return payments

    def _decode(
        self,
        fused: Tensor,
        statistics: Tensor,
        layout: Layout,
        found: dict[str, Any] | None = None,
    ) -> Tensor:
        users, _ = self.represent(fused, statistics, layout, found)
        logits: Tensor = self.head(self.forecast(users))[:, 0]
        return logits

    def forecasts(self, batch: FoldedBatch) -> Tensor:
        """(B, config.forecasts) what pre-training says comes next."""
        self._check(batch)
        layout = self.layout(batch)
        users, _ = self.represent(self.fused(batch), self.statistics(batch), layout)
        said: Tensor = self.forecast(users)
        return said

    def represent(
        self,
        fused: Tensor,
        statistics: Tensor,
        layout: Layout,
        found: dict[str, Any] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """(B, U) users and (S, D) related merchants; weights go to `found` where it is given."""
        counted = statistics[:, : len(STATISTICS)]
        merchants, payment_weights = self.merchant_vectors(fused, counted, layout)
        if self.meetings is not None:
            merchants = self.meetings(merchants, layout.days, layout.buckets)
        relations: list[list[Tensor]] = []
        for layer in self.relations:
            weights: list[Tensor] | None = None if found is None else []
            merchants = layer(merchants, layout.buckets, weights)
            if weights is not None:
                relations.append(weights)
        users, merchant_weights = self.users(merchants, layout.user_offsets, layout.sample)
        rest = statistics[:, len(STATISTICS) :]
        users = self.join(users, self.totals(rest, layout.user_offsets))
        if found is not None:
            found |= {
                "payments": payment_weights,
                "merchants": merchant_weights,
                "relations": relations,
            }
        return users, merchants

    def segment_states(self, batch: FoldedBatch) -> States:
        """The states of the S segments of a batch."""
        self._check(batch)
        layout = self.layout(batch)
        statistics = self.statistics(batch)
        counted, rest = statistics[:, : len(STATISTICS)], statistics[:, len(STATISTICS) :].double()
        vectors, _ = self.merchant_vectors(self.fused(batch), counted, layout)
        parts = self._user_parts()
        mean = [p.segment_mean.double() for p in parts] or [rest.new_zeros(0)]
        scale = [p.segment_scale.double() for p in parts] or [rest.new_ones(0)]
        return States(vectors, rest * torch.cat(scale) + torch.cat(mean), layout.days)

    def logits_of_segments(
        self, vectors: Tensor, days: Tensor, user_offsets: Tensor, totals: Tensor
    ) -> Tensor:
        """(B,) logits of users put together from segments: the same function as `forward`.

        Args:
            vectors: (S, D) merchant vectors before relations, user by user.
            days: (S, DAYS) when each was paid.
            user_offsets: (B + 1,).
            totals: (B, K) sums over each user's segments.
        """
        if len(vectors):
            buckets = [Bucket(rows, user_offsets) for rows in length_buckets(user_offsets.diff())]
            if self.meetings is not None:
                vectors = self.meetings(vectors, days, buckets)
            for layer in self.relations:
                vectors = layer(vectors, buckets)
        users, _ = self.users(vectors, user_offsets, segment_ids(user_offsets))
        parts = torch.split(totals.to(vectors.dtype), self._user_sizes(), dim=1)
        logits: Tensor = self.head(self.forecast(self.join(users, parts)))[:, 0]
        return logits

    def join(self, users: Tensor, totals: Sequence[Tensor]) -> Tensor:
        """(B, U) users from what relations say, (B, 4D), and the totals of rhythm and levels."""
        said = [part(total) for part, total in zip(self._user_parts(), totals, strict=True)]
        return torch.cat([users, *said], dim=1)

    def totals(self, scaled: Tensor, user_offsets: Tensor) -> list[Tensor]:
        """What adds up over each user's segments, (B, .) a part, from its share of `statistics`."""
        parts, columns = self._user_parts(), torch.split(scaled, self._user_sizes(), dim=1)
        return [p.totals(c, user_offsets) for p, c in zip(parts, columns, strict=True)]

    def _user_parts(self) -> list[UserRhythm | UserLevels]:
        """What adds up over a user's segments, in the order of `statistics`."""
        return [part for part in (self.rhythm, self.levels) if part is not None]

    def _user_sizes(self) -> list[int]:
        return [len(part.segment_mean) for part in self._user_parts()]

    def _check(self, batch: FoldedBatch) -> None:
        for field in self.fields[len(CORE_FIELDS) :]:
            held = batch.texts if field.is_string else batch.numbers
            if field.name not in held:
                raise BatchError(
                    f"the model reads the field '{field.name}' ({field.kind}), which these "
                    "payments do not have. Fold payments ingested with the mapping of training."
                )

    def fit_typical(self, batch: FoldedBatch) -> None:
        """Remember the mean field vectors of the training part: the baseline of explanations."""
        with torch.no_grad():
            self.typical.copy_(
                torch.stack([_mean_vector(encoder, batch) for encoder in self._encoders()])
            )


def _numbers(fields: Sequence[Field], levels: str) -> list[Field]:
    """The fields whose levels are a part of the model."""
    if levels == "none":
        return []
    extra = [f for f in fields[len(CORE_FIELDS) :] if not f.is_string]
    return ([f for f in fields if f.name == "amount"] if levels == "all" else []) + extra


def _mean_vector(encoder: FieldEncoder, batch: FoldedBatch) -> Tensor:
    """(D,) mean of a field's vector over a batch, from how often each row is used."""
    table = encoder.table(batch)
    entries = encoder.entries(batch).to(table)
    use = torch.zeros(len(table), dtype=torch.float64, device=table.device)
    use.index_add_(0, entries.rows.flatten(), entries.weights.double().flatten())
    return (use.to(table.dtype) @ table) / max(len(entries.rows), 1)


def _per_sample(layers: list[list[Tensor]], layout: Layout, heads: int) -> list[Tensor]:
    """Relation weights by sample: mean over layers, slots that are no segment cut off."""
    counts = layout.user_offsets.diff().tolist()
    found = [torch.zeros(heads, count, count, device=layout.offsets.device) for count in counts]
    for at, bucket in enumerate(layout.buckets):
        if not layers:
            break
        mean = torch.stack([layer[at] for layer in layers]).mean(dim=0)  # (B', H, W, W)
        for row, sample in enumerate(bucket.samples.tolist()):
            count = counts[sample]
            found[sample] = mean[row, :, :count, :count]
    return found


__all__ = ["LBSF", "STATISTICS", "Attention", "Layout", "States"]
