"""Field encoders: every field of a payment becomes rows of a small table, with weights.

All encoders share one form. A field reads its values as `Entries`: for each payment a few row
numbers of the field's table, each with a weight. The field's vector is the weighted sum of those
rows. So the sum over all fields of a payment is one embedding bag, the cheapest operation there
is, and any single field's vector can still be had for an explanation.

    text       one row: its n-gram vector, computed once per distinct text of the batch
    category   one row: its own, or row 0 for a category unseen in training
    amount     two rows: the knots around the value, weighted by nearness (piecewise linear)
    number     the same, and row 0 for a missing one; an extra timestamp is a number of days
    timestamp  calendar rows (hour, weekday, day of month) and knots of recency and gaps

Knots and vocabularies are fitted on the training part only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn

from lbsf_core.fold.batch import DAY, FoldedBatch, Strings
from lbsf_core.model.ragged import bag_sum
from lbsf_core.model.text import TextCache
from lbsf_core.payments.schema import Field, FieldKind

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Entries:
    """(N, K) rows of a field's table and their (N, K) weights."""

    rows: Tensor
    weights: Tensor

    def to(self, table: Tensor) -> Entries:
        """The same on the table's device, the weights as its numbers."""
        return Entries(self.rows.to(table.device), self.weights.to(table))


def signed_log(values: Floats) -> Floats:
    """sign(x) * log(1 + |x|): cents and millions on one scale, direction kept."""
    return np.sign(values) * np.log1p(np.abs(values))


def number_values(field: Field, batch: FoldedBatch) -> Floats:
    """(N,) values of an amount, a number or an extra timestamp, on the scale of their knots.

    The scale is the signed log; an extra timestamp counts in days from the payment.
    """
    if field.name == "amount":
        return signed_log(batch.amounts)
    values = batch.numbers[field.name]
    if field.kind is FieldKind.TIMESTAMP:
        values = (values - batch.timestamps) / DAY
    return signed_log(values)


def fit_knots(values: Floats, bins: int) -> list[float]:
    """Strictly rising knots at the quantiles of the finite values (at least two knots)."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return [0.0, 1.0]
    knots = np.unique(np.quantile(finite, np.linspace(0, 1, bins)))
    return knots.tolist() if len(knots) > 1 else [float(knots[0]), float(knots[0]) + 1.0]


def knot_entries(values: Floats, knots: Floats, first_row: int = 0) -> tuple[Ints, Floats]:
    """Rows and weights of the two knots around each value; beyond the ends the end knot alone.

    >>> knot_entries(np.array([0.5, 9.0]), np.array([0.0, 1.0, 3.0]))[1].tolist()
    [[0.5, 0.5], [0.0, 1.0]]
    """
    low = np.zeros(len(values), dtype=np.int64)
    for knot in knots[1:-1]:  # few knots: counting them beats a search, which mispredicts branches
        low += values >= knot
    start = knots[low]
    share = np.clip((values - start) / (knots[1:] - knots[:-1])[low], 0.0, 1.0)
    rows = np.empty((len(values), 2), dtype=np.int64)
    weights = np.empty((len(values), 2))
    rows[:, 0], rows[:, 1] = low + first_row, low + (first_row + 1)
    weights[:, 0], weights[:, 1] = 1.0 - share, share
    return rows, weights


def number_entries(values: Floats, knots: Floats, first_row: int = 0) -> tuple[Ints, Floats]:
    """As `knot_entries`, with `first_row` kept for missing values and the knots after it."""
    missing = np.flatnonzero(~np.isfinite(values))
    if len(missing):
        values = values.copy()
        values[missing] = knots[0]
    rows, weights = knot_entries(values, knots, first_row + 1)
    rows[missing], weights[missing] = first_row, (1.0, 0.0)
    return rows, weights


def _by_sample_and_time(sample: Ints, times: Ints) -> Ints:
    """(N,) stable order by sample, then time."""
    if not len(times):
        return np.zeros(0, dtype=np.int64)
    first = int(times.min())
    span = int(times.max()) - first + 1
    if (int(sample.max()) + 1) * span >= 2**63:
        return np.lexsort((times, sample))
    # One key: half the time of two, and segments are runs that a merging sort finds sorted.
    return np.argsort(sample * span + (times - first), kind="stable")


def merchant_gaps(batch: FoldedBatch) -> Floats:
    """(N,) days since the user's previous payment at the same merchant; NaN for a first one."""
    gaps = np.full(len(batch.timestamps), np.nan)
    gaps[1:] = np.diff(batch.timestamps) / DAY
    gaps[batch.offsets[:-1]] = np.nan
    return gaps


def user_gaps(batch: FoldedBatch) -> Floats:
    """(N,) days since the user's previous payment at any merchant; NaN for a first one.

    Payments of one user at one instant (a whole day, where the source gives days only) share
    their gap: it reaches back to the instant before. So the order of merchants never matters.
    """
    times, n = batch.timestamps, len(batch.timestamps)
    sample = batch.sample_of_payment
    order = _by_sample_and_time(sample, times)
    step, other = np.diff(times[order]) / DAY, np.diff(sample[order]) != 0
    begins = np.ones(n, dtype=bool)  # of a new instant or a new user
    begins[1:] = (step > 0) | other
    gaps = np.full(n, np.nan)
    gaps[1:] = step
    gaps[1:][other] = np.nan
    user = np.empty(n)
    user[order] = gaps[begins][np.cumsum(begins) - 1]
    return user


def local_calendar(batch: FoldedBatch) -> tuple[Ints, Ints, Ints]:
    """Hour (0-23), weekday (Monday = 0) and day of month (1-31) in the batch's time zone."""
    when = pd.DatetimeIndex(batch.timestamps.view("datetime64[us]"), tz="UTC")
    local = when.tz_convert(batch.timezone) if batch.timezone != "UTC" else when
    wall = local.tz_localize(None).as_unit("us").asi8
    days = wall // DAY
    first = wall.view("datetime64[us]").astype("datetime64[M]").astype("datetime64[D]")
    return (wall - days * DAY) // 3_600_000_000, (days + 3) % 7, days - first.astype(np.int64) + 1


class FieldEncoder(nn.Module):
    """One field's table and how to read the field from a batch. See the module's docstring."""

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.field = field

    def entries(self, batch: FoldedBatch) -> Entries:
        """Rows and weights of every payment of the batch."""
        raise NotImplementedError

    def table(self, batch: FoldedBatch) -> Tensor:
        """(R, D) table for this batch."""
        raise NotImplementedError

    def vectors(self, batch: FoldedBatch) -> Tensor:
        """(N, D) the field's vector of every payment."""
        table = self.table(batch)
        at = self.entries(batch).to(table)
        return bag_sum(table, at.rows, at.weights)


class TextEncoder(FieldEncoder):
    """Words and byte n-grams, hashed; each distinct text is encoded once per batch."""

    def __init__(
        self, field: Field, width: int, text_width: int, buckets: int, drop: float
    ) -> None:
        super().__init__(field)
        self.buckets = buckets
        self.drop = drop
        self.ngrams = nn.Embedding(buckets, text_width)
        nn.init.normal_(self.ngrams.weight, std=0.5)
        self.project = nn.Linear(text_width, width)
        self.cache = TextCache(buckets)

    def _column(self, batch: FoldedBatch) -> Strings:
        """The texts; merchants stand once a segment, unless the fold is by something else."""
        known = batch.texts.get(self.field.name)
        return batch.merchants if known is None else known

    def entries(self, batch: FoldedBatch) -> Entries:
        """One row a payment: its text."""
        codes = self._column(batch).codes
        if self.field.name not in batch.texts:
            codes = codes[batch.segment_of_payment]
        rows = torch.from_numpy(codes)[:, None]
        return Entries(rows, torch.ones(rows.shape))

    def _bags(self, buckets: Ints, offsets: Ints) -> Tensor:
        """(U, text width) mean n-gram vector of texts from their buckets."""
        weight = self.ngrams.weight
        at = torch.from_numpy(offsets).to(weight.device)
        share = (1.0 / at.diff().to(weight.dtype)).repeat_interleave(at.diff())
        return bag_sum(weight, torch.from_numpy(buckets).to(weight.device), share, at)

    def table(self, batch: FoldedBatch) -> Tensor:
        """(U, D) one row a distinct text."""
        words = self._column(batch).words or ("",)
        weight = self.ngrams.weight
        if torch.is_grad_enabled() or self.training or weight.is_inference():
            bags = self._bags(*self.cache.hashes(words))
        else:
            # Every change in place counts up `_version`; a move to a device gives a new address.
            state = (id(weight), weight.data_ptr(), weight._version)
            known = self.cache.bags(words, state, lambda *at: self._bags(*at).cpu().numpy())
            bags = torch.from_numpy(known).to(weight.device)
        table: Tensor = self.project(bags)  # (U, D)
        return _hide_rows(table, self.drop if self.training else 0.0)


def _hide_rows(table: Tensor, share: float) -> Tensor:
    """Hide a share of whole texts, so that a model does not learn users by their shops."""
    if not share:
        return table
    kept = torch.rand(len(table), 1, device=table.device) >= share
    return table * kept / (1.0 - share)


class CategoryEncoder(FieldEncoder):
    """One row a category known from training; row 0 for the others."""

    def __init__(
        self, field: Field, width: int, vocabulary: Sequence[str], drop: float = 0.0
    ) -> None:
        super().__init__(field)
        self.drop = drop
        self.vocabulary = {word: row for row, word in enumerate(vocabulary, start=1)}
        self.rows = nn.Embedding(len(vocabulary) + 1, width)
        nn.init.normal_(self.rows.weight, std=0.1)

    def entries(self, batch: FoldedBatch) -> Entries:
        """One row a payment."""
        column = batch.texts[self.field.name]
        of_word = np.array([self.vocabulary.get(w, 0) for w in column.words], dtype=np.int64)
        codes = of_word[column.codes] if len(column) else column.codes
        rows = torch.from_numpy(codes)[:, None]
        return Entries(rows, torch.ones(rows.shape))

    def table(self, batch: FoldedBatch) -> Tensor:
        """(V + 1, D)."""
        return _hide_rows(self.rows.weight, self.drop if self.training else 0.0)


class NumberEncoder(FieldEncoder):
    """Piecewise linear in the signed log of the value; row 0 for a missing one."""

    def __init__(self, field: Field, width: int, knots: Sequence[float]) -> None:
        super().__init__(field)
        self.knots = np.asarray(knots, dtype=np.float64)
        self.rows = nn.Embedding(len(knots) + 1, width)
        nn.init.normal_(self.rows.weight, std=0.1)

    def entries(self, batch: FoldedBatch) -> Entries:
        """Two rows a payment."""
        rows, weights = number_entries(number_values(self.field, batch), self.knots)
        return Entries(torch.from_numpy(rows), torch.from_numpy(weights))

    def table(self, batch: FoldedBatch) -> Tensor:
        """(knots + 1, D)."""
        return self.rows.weight


class TimeEncoder(FieldEncoder):
    """When a payment was made: calendar, recency to the cutoff, gap to the previous payment at
    this merchant and, where it was fitted, to the user's previous one.

    LBSF leaves the last one out: with it a merchant's vector would change whenever a payment at
    another merchant is taken out. Rhythm holds what it would say. Flat peers read it.
    """

    CALENDAR = 24 + 7 + 31

    def __init__(self, field: Field, width: int, knots: dict[str, Sequence[float]]) -> None:
        super().__init__(field)
        self.knots = {name: np.asarray(k, dtype=np.float64) for name, k in knots.items()}
        size = self.CALENDAR + sum(len(k) + 1 for k in self.knots.values())
        self.rows = nn.Embedding(size, width)
        nn.init.normal_(self.rows.weight, std=0.05)

    @staticmethod
    def read(batch: FoldedBatch, *, user_gap: bool) -> dict[str, Floats]:
        """log(1 + days) of recency and the gaps, each (N,); NaN where there is none."""
        recency = (batch.cutoffs[batch.sample_of_payment] - batch.timestamps) / DAY
        found = {"recency": np.log1p(recency)}
        if user_gap:
            found["gap_user"] = np.log1p(user_gaps(batch))
        return found | {"gap_merchant": np.log1p(merchant_gaps(batch))}

    def entries(self, batch: FoldedBatch) -> Entries:
        """Rows of a payment: three of the calendar, two knots of each distance."""
        n, width = len(batch.timestamps), 3 + 2 * len(self.knots)
        rows = np.empty((n, width), dtype=np.int64)
        weights = np.ones((n, width), dtype=np.float32)
        hour, weekday, day = local_calendar(batch)
        rows[:, 0], rows[:, 1], rows[:, 2] = hour, weekday + 24, day + (31 - 1)
        start, at = self.CALENDAR, 3
        for name, values in self.read(batch, user_gap="gap_user" in self.knots).items():
            knots = self.knots[name]
            rows[:, at : at + 2], weights[:, at : at + 2] = number_entries(values, knots, start)
            start, at = start + len(knots) + 1, at + 2
        return Entries(torch.from_numpy(rows), torch.from_numpy(weights))

    def table(self, batch: FoldedBatch) -> Tensor:
        """(calendar + knots, D)."""
        return self.rows.weight


def fit_field(
    field: Field, batch: FoldedBatch, bins: int, *, user_gap: bool = False
) -> dict[str, Any]:
    """What a field's encoder learns from the training part, as JSON values."""
    if field.name == "timestamp":
        distances = TimeEncoder.read(batch, user_gap=user_gap)
        return {"knots": {name: fit_knots(values, bins) for name, values in distances.items()}}
    if field.kind is FieldKind.CATEGORY:
        column = batch.texts[field.name]
        counts = np.bincount(column.codes, minlength=len(column.words))
        return {"vocabulary": sorted(w for w, c in zip(column.words, counts, strict=True) if c > 1)}
    if field.kind in (FieldKind.AMOUNT, FieldKind.NUMBER, FieldKind.TIMESTAMP):
        return {"knots": fit_knots(number_values(field, batch), bins)}
    return {}
