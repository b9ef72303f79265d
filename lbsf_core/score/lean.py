"""The forward pass without gradients, in compiled loops: the same function as `LBSF.forward`.

    texts      each distinct text once: bytes -> mean n-gram vector (`texts.py`)
    payments   some at a time, so that they stay in the cache: all fields summed and normed in one
               loop, the payment block's matrix products by torch, then into their segment's sums
    segments   sums -> merchant vectors, by the model's own layers
    users      relations, pooling and head (`related.py`)

Training, explanations and GPUs use the model itself; what is here only scores. A test holds both
to the same logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn

from lbsf_core.fold.batch import DAY, Floats, FoldedBatch, Ints
from lbsf_core.model.fields import (
    CategoryEncoder,
    NumberEncoder,
    TextEncoder,
    TimeEncoder,
    number_values,
    user_gaps,
)
from lbsf_core.model.lbsf import LBSF, States
from lbsf_core.model.levels import CHANNELS as LEVELS
from lbsf_core.model.levels import FARTHEST, SOFTNESS, UserLevels
from lbsf_core.model.meetings import days_paid
from lbsf_core.model.merchant import STATISTICS
from lbsf_core.model.ragged import NORM_EPSILON, segment_sum
from lbsf_core.model.recency import DAYS
from lbsf_core.model.rhythm import CHANNELS as RHYTHM
from lbsf_core.model.rhythm import LARGEST
from lbsf_core.score import kernels, user_kernels
from lbsf_core.score.products import after_norm, in_fours, product
from lbsf_core.score.related import Related
from lbsf_core.score.texts import Texts

#: Texts that are remembered of each field: about 60 MB.
TEXTS = 262_144
#: What `TimeEncoder` reads beside the calendar, in the order of its rows.
_DISTANCES = ("recency", "gap_user", "gap_merchant")
#: Payments that go through the payment block together.
BLOCK = 2_048


@dataclass(frozen=True)
class _Text:
    """A field of texts: its n-gram vectors, and how they become rows."""

    name: str
    texts: Texts
    weight: Tensor  # (W, D), gate multiplied in
    bias: Tensor  # (D,)

    @classmethod
    def of(cls, encoder: TextEncoder, gate: Tensor) -> _Text:
        """From a model's encoder; call it without gradients."""
        texts = Texts(encoder.ngrams.weight.numpy(), TEXTS)
        weight = (encoder.project.weight.T * gate).contiguous()
        return cls(encoder.field.name, texts, weight, encoder.project.bias * gate)

    def table(self, words: tuple[str, ...]) -> Tensor:
        """(U, D) one row a distinct text; in fours."""
        vectors = torch.zeros(in_fours(len(words)), len(self.weight))
        vectors[: len(words)] = torch.from_numpy(self.texts.vectors(words))
        return torch.addmm(self.bias, vectors, self.weight)


@dataclass(frozen=True)
class _Knots:
    """A number: its knots and the row of its table for "missing", which the knots' rows follow."""

    knots: Floats
    start: int


class Lean:
    """A model's weights, laid out for scoring. Later changes of the model are not seen.

    Args:
        model: on a CPU, in single precision.
    """

    def __init__(self, model: LBSF) -> None:
        self.model = model.eval()
        with torch.inference_mode():
            self._lay_out(model)

    def _lay_out(self, model: LBSF) -> None:
        rows, used = [torch.zeros(1, model.config.width)], 1  # row 0: nothing
        self._texts: list[_Text] = []
        self._categories: list[tuple[CategoryEncoder, int]] = []
        self._numbers: list[tuple[NumberEncoder, _Knots]] = []
        self._distances: dict[str, _Knots] = {}
        for gate, encoder in zip(model.field_weights(), model.encoders, strict=True):
            if isinstance(encoder, TextEncoder):
                self._texts.append(_Text.of(encoder, gate))
                continue
            if isinstance(encoder, CategoryEncoder):
                self._categories.append((encoder, used))
            elif isinstance(encoder, NumberEncoder):
                self._numbers.append((encoder, _Knots(encoder.knots, used)))
            elif isinstance(encoder, TimeEncoder):
                self._calendar, start = used, used + TimeEncoder.CALENDAR
                for name in (name for name in _DISTANCES if name in encoder.knots):
                    self._distances[name] = _Knots(encoder.knots[name], start)
                    start += len(encoder.knots[name]) + 1
            table = encoder.rows
            assert isinstance(table, nn.Embedding)  # noqa: S101 - all but texts have one
            rows.append(table.weight * gate)
            used += len(rows[-1])
        self._rows = torch.cat(rows)
        every = [at for _, at in self._numbers] + list(self._distances.values())
        self._knots = np.full((len(every), max(len(at.knots) for at in every)), np.inf)
        for row, at in enumerate(every):
            self._knots[row, : len(at.knots)] = at.knots
        self._sizes = np.array([len(at.knots) for at in every])
        self._starts = np.array([at.start for at in every])

        merchants, mix = model.merchants, model.merchants.mix
        self._into, bias = after_norm(model.payment_norm, model.payment_block[0])
        self._back, later = product(model.payment_block[-1])
        self._into_bias, self._back_bias = bias.numpy(), later.numpy()
        # Scores are squashed into (-10, 10), see `segment_softmax`.
        self._scores, self._scores_bias = product(merchants.scores, 10.0)
        self._pooled, bias = product(merchants.pooled)
        self._statistics, later = product(merchants.statistics)
        self._pooled_bias = bias + later
        norm = merchants.norm
        self._mix_norm = tuple(part.numpy() for part in (norm.weight, norm.bias))
        self._mix, self._mix_bias = product(mix[-1])
        self._none = np.zeros(model.config.width, dtype=np.float32)
        self._related = Related(model)

    def clear(self) -> None:
        """Forget every text."""
        for field in self._texts:
            field.texts.clear()

    def logits(self, batch: FoldedBatch) -> Floats:
        """(B,) logits of default, as `scorer.batch_logits` gives them."""
        return self.logits_of(self.states(batch), batch.user_offsets)

    def logits_of(self, states: States, user_offsets: Ints) -> Floats:
        """(B,) logits of users put together from the states of their segments."""
        with torch.inference_mode():
            found = self._related.logits(*_of_users(states, user_offsets))
            return found.double().numpy()

    def representations(self, batch: FoldedBatch) -> npt.NDArray[np.float32]:
        """(B, U) what the head reads of users, as `LBSF.represent` gives it."""
        with torch.inference_mode():
            found = self._related.users(*_of_users(self.states(batch), batch.user_offsets))
            return found.numpy()

    def states(self, batch: FoldedBatch) -> States:
        """The states of the S segments of a batch, as `LBSF.segment_states` gives them."""
        self.model._check(batch)
        with torch.inference_mode():
            read = _Read(batch)
            sums = self._payments(batch, read)
            vectors = self._merchants(batch, read, *sums)
            days = torch.zeros(len(batch.merchants), 0)
            if self.model.meetings is not None:
                days = days_paid(batch)
            return States(vectors, self._over_time(batch, read), days)

    def _payments(self, batch: FoldedBatch, read: _Read) -> tuple[Tensor, Tensor]:
        """(S, H + 2, D) sums over each segment's payments and (S, H) of their weights; in fours."""
        payments, segments = len(batch.amounts), in_fours(len(batch.merchants))
        width, heads = self.model.config.width, self.model.config.heads
        sums, shares = torch.zeros(segments, heads + 2, width), torch.zeros(segments, heads)
        table, of_segments, singles = self._table(batch)
        values = np.stack(
            [read.number(e) for e, _ in self._numbers] + [read.distance(n) for n in self._distances]
        )
        room = in_fours(min(BLOCK, payments))
        fused, normed = torch.zeros(room, width), torch.zeros(room, width)
        hidden, weights = torch.empty(room, 2 * width), torch.ones(room, heads)
        wall = read.wall_clock()
        begins = range(0, payments, BLOCK)
        at = np.searchsorted(batch.offsets, np.array(begins), side="right") - 1
        for first, segment in zip(begins, at, strict=True):
            last = min(first + BLOCK, payments)
            rows = in_fours(last - first)
            x, y, h, w = (part[:rows] for part in (fused, normed, hidden, weights))
            kernels.encode(
                *(first, last, segment, batch.offsets, table, of_segments, singles, values),
                *(self._knots, self._sizes, self._starts, wall, self._calendar),
                *(self._back_bias, NORM_EPSILON, x.numpy(), y.numpy()),
            )
            torch.mm(y, self._into, out=h)
            kernels.gelu(h.numpy(), self._into_bias)
            x.addmm_(h, self._back)
            if not self.model.merchants.uniform:
                torch.addmm(self._scores_bias, x, self._scores, out=w)
                w.tanh_().mul_(10.0).exp_()
            kernels.pool(
                *(first, last, segment, batch.offsets, x.numpy(), w.numpy()),
                *(sums.numpy(), shares.numpy()),
            )
        return sums, shares

    def _table(self, batch: FoldedBatch) -> tuple[Floats, Ints, Ints]:
        """(R, D) rows of all fields, (S,) the merchants' and (K, N) those of single-row fields."""
        tables, used = [self._rows], len(self._rows)
        of_segments = np.zeros(len(batch.merchants), dtype=np.int64)
        singles = []
        for field in self._texts:
            column = batch.texts.get(field.name)
            if column is None:
                column = batch.merchants
                of_segments = column.codes + used
            else:
                singles.append(column.codes + used)
            tables.append(field.table(column.words or ("",)))
            used += len(tables[-1])
        for encoder, start in self._categories:
            singles.append(encoder.entries(batch).rows[:, 0].numpy() + start)
        none = np.zeros((0, len(batch.amounts)), dtype=np.int64)
        return torch.cat(tables).numpy(), of_segments, np.stack(singles) if singles else none

    def _merchants(self, batch: FoldedBatch, read: _Read, sums: Tensor, shares: Tensor) -> Tensor:
        """(S, D) merchant vectors: `MerchantAggregation.forward` from its sums on, written over."""
        merchants, segments = self.model.merchants, len(batch.merchants)
        figures = torch.from_numpy(read.figures()).to(merchants.mean)
        scaled = torch.zeros(len(sums), figures.shape[1])
        scaled[:segments] = ((figures - merchants.mean) / merchants.scale).clamp_(-6.0, 6.0)
        kernels.divide(batch.offsets, shares.numpy(), sums.numpy())
        vectors = torch.empty(len(sums), self.model.config.width)
        for first in range(0, len(sums), BLOCK):
            some = slice(first, first + BLOCK)
            pooled = torch.addmm(self._pooled_bias, sums[some].flatten(1), self._pooled)
            pooled.addmm_(scaled[some], self._statistics)
            normed = torch.empty_like(pooled)
            user_kernels.norm(
                *(pooled.numpy(), NORM_EPSILON, *self._mix_norm, self._none, normed.numpy())
            )
            kernels.gelu(normed.numpy(), self._none)
            torch.addmm(self._mix_bias, normed, self._mix, out=vectors[some])
        return vectors[:segments]

    def _over_time(self, batch: FoldedBatch, read: _Read) -> Tensor:
        """(S, K) float64 what each segment adds to its user's rhythm and levels."""
        rhythm, levels = self.model.rhythm, self.model.levels
        if rhythm is None and levels is None:
            return torch.zeros(len(batch.merchants), 0, dtype=torch.float64)
        found, parts = read.bins(levels), []
        if rhythm is not None:
            parts += [found[:, : RHYTHM - 1], -np.expm1(-2.0 * found[:, :1])]
        every = np.concatenate([*parts, found[:, RHYTHM - 1 :]], axis=1)
        return torch.from_numpy(every.reshape(len(every), every.shape[1] * len(DAYS)))


def _of_users(states: States, user_offsets: Ints) -> tuple[Tensor, Tensor, Ints, Tensor]:
    """What `Related` is given of users."""
    totals = segment_sum(states.sums, torch.from_numpy(user_offsets))
    return states.vectors, states.days, user_offsets, totals


class _Read:
    """What is read of a batch's payments once and used by several parts."""

    def __init__(self, batch: FoldedBatch) -> None:
        self.batch = batch
        # Arrow's arrays can't be written to, and loops are compiled for each kind of array.
        self.times = np.require(batch.timestamps, requirements=["C", "W"])
        self.paid = np.require(batch.amounts, requirements=["C", "W"])
        self.cutoffs = batch.cutoffs[batch.sample_of_segment]
        self._recency, self._gap = np.empty((2, len(self.paid)))
        kernels.distances(self.times, batch.offsets, self.cutoffs, self._recency, self._gap)
        torch.from_numpy(self._recency).log1p_()
        torch.from_numpy(self._gap).log1p_()

    @cached_property
    def amounts(self) -> Floats:
        """(N,) signed logarithms of the amounts."""
        amounts = torch.from_numpy(self.paid)
        return amounts.abs().log1p_().copysign_(amounts).numpy()

    def number(self, encoder: NumberEncoder) -> Floats:
        """(N,) values of a field on the scale of its knots."""
        if encoder.field.name == "amount":
            return self.amounts
        return number_values(encoder.field, self.batch)

    def distance(self, name: str) -> Floats:
        """(N,) log(1 + days) of what a payment's time is read as, beside the calendar."""
        known = {"recency": self._recency, "gap_merchant": self._gap}
        return known[name] if name in known else np.log1p(user_gaps(self.batch))

    def figures(self) -> Floats:
        """(S, 11) `model.merchant.segment_statistics`."""
        found = np.empty((len(self.cutoffs), len(STATISTICS)))
        kernels.figures(self.times, self.batch.offsets, self.cutoffs, self.paid, 60 * DAY, found)
        signed, plain = slice(1, 5), [0, 6, 7, 8, 9]
        found[:, signed] = np.sign(found[:, signed]) * np.log1p(np.abs(found[:, signed]))
        found[:, plain] = np.log1p(found[:, plain])
        return found

    def bins(self, levels: UserLevels | None) -> Floats:
        """(S, 4 + 6 F, bins) sums over soft bins of recency: rhythm's channels, then levels'."""
        fields = levels.fields if levels is not None else ()
        raw = [self.amounts if f.name == "amount" else number_values(f, self.batch) for f in fields]
        values, highs = [], []
        for at, number in enumerate(raw):
            assert levels is not None  # noqa: S101 - there are no numbers otherwise
            mean, scale = float(levels.value_mean[at]), float(levels.value_scale[at])
            value = torch.from_numpy(number).sub(mean).div_(scale).clamp_(-FARTHEST, FARTHEST)
            values.append(value.numpy())
            highs.append((value / SOFTNESS).exp_().numpy())
        none = np.zeros((0, len(self.paid)))
        knots = np.log1p(np.array(DAYS, dtype=np.float64))
        found = np.empty((len(self.cutoffs), len(DAYS), RHYTHM - 1 + LEVELS * len(raw)))
        kernels.bins(
            *(self.batch.offsets, self._recency, knots, self.paid, self.amounts, LARGEST),
            *(np.stack(part) if part else none for part in (raw, values, highs)),
            found,
        )
        return np.ascontiguousarray(found.transpose(0, 2, 1))

    def wall_clock(self) -> Ints:
        """(N,) microseconds since 1970 that the local clock shows."""
        if self.batch.timezone == "UTC":
            return self.times
        when = pd.DatetimeIndex(self.times.view("datetime64[us]"), tz="UTC")
        local = when.tz_convert(self.batch.timezone).tz_localize(None).as_unit("us").asi8
        return np.require(local, requirements=["C", "W"])
