"""`FoldedBatch`: the folded payments of some samples, ragged, without padding.

A batch of B samples holds S segments (one merchant in one sample) and N payments:

    user_offsets  (B + 1,)  segments of sample b are rows user_offsets[b]:user_offsets[b + 1]
    offsets       (S + 1,)  payments of segment s are rows offsets[s]:offsets[s + 1]
    values        (N,)      timestamps, amounts, texts, numbers: one row a payment

Worked example: one sample that paid the baker twice and the landlord once.

    >>> batch = FoldedBatch.from_rows(
    ...     [("u1", "2024-03-01", [("baker", "2024-02-01", -3.5, "bread"),
    ...                            ("rent", "2024-02-20", -900.0, "flat"),
    ...                            ("baker", "2024-02-03", -2.0, "bun")])])
    >>> batch.merchants.decode()            # most recently paid first
    ['rent', 'baker']
    >>> batch.user_offsets.tolist(), batch.offsets.tolist()
    ([0, 2], [0, 1, 3])
    >>> batch.amounts.tolist()              # oldest first inside a segment
    [-900.0, -3.5, -2.0]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lbsf_core.errors import BatchError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: Microseconds in a day: timestamps are int64 microseconds since 1970, UTC.
DAY = 86_400_000_000


@dataclass(frozen=True)
class Strings:
    """A text column: row i reads `words[codes[i]]`. Each distinct text stands once."""

    codes: Ints
    words: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def decode(self) -> list[str]:
        """The texts, row by row."""
        return [self.words[code] for code in self.codes]

    def take(self, rows: Ints) -> Strings:
        """The same column at other rows; words that no row uses any more are dropped."""
        used, codes = np.unique(self.codes[rows], return_inverse=True)
        return Strings(codes.astype(np.int64), tuple(self.words[code] for code in used))

    @classmethod
    def encode(cls, texts: Iterable[str]) -> Strings:
        """A column from texts, words in order of first appearance."""
        words: dict[str, int] = {}
        codes = [words.setdefault(text, len(words)) for text in texts]
        return cls(np.asarray(codes, dtype=np.int64), tuple(words))

    @classmethod
    def concat(cls, columns: Sequence[Strings]) -> Strings:
        """One column after another."""
        words: dict[str, int] = {}
        codes = []
        for column in columns:
            new = np.array([words.setdefault(w, len(words)) for w in column.words], dtype=np.int64)
            codes.append(new[column.codes] if len(column.codes) else column.codes)
        return cls(np.concatenate(codes) if codes else np.zeros(0, np.int64), tuple(words))


def expand(starts: Ints, counts: Ints) -> Ints:
    """Row numbers of runs, one after another: starts[i], starts[i] + 1, ... counts[i] of them."""
    total = int(counts.sum())
    ends = np.cumsum(counts)
    rows: Ints = np.arange(total, dtype=np.int64) + np.repeat(starts - (ends - counts), counts)
    return rows


@dataclass(frozen=True)
class FoldedBatch:
    """Folded payments of B samples. See the module's docstring for the layout.

    Attributes:
        samples: (B,) number of each sample in its store.
        user_ids: B user ids.
        cutoffs: (B,) microseconds UTC, exclusive.
        labels: (B,) 1 = bad, 0 = good, NaN = unknown.
        user_offsets: (B + 1,).
        offsets: (S + 1,).
        merchants: S merchants.
        timestamps: (N,) microseconds UTC, oldest first inside a segment.
        amounts: (N,) signed, major currency unit.
        texts: field name -> N texts (always has "description").
        numbers: field name -> (N,) extra numbers; NaN = missing. Extra timestamps are
            microseconds UTC.
        timezone: zone in which hours and weekdays are read.

    Raises:
        BatchError: an invariant does not hold; says which, what was expected, what it got.
    """

    samples: Ints
    user_ids: tuple[str, ...]
    cutoffs: Ints
    labels: Floats
    user_offsets: Ints
    offsets: Ints
    merchants: Strings
    timestamps: Ints
    amounts: Floats
    texts: Mapping[str, Strings]
    numbers: Mapping[str, Floats] = field(default_factory=dict)
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        b, s, n = len(self.samples), len(self.merchants), len(self.amounts)
        sizes: tuple[tuple[str, Sized, int], ...] = (
            ("user_ids", self.user_ids, b),
            ("cutoffs", self.cutoffs, b),
            ("labels", self.labels, b),
            ("user_offsets", self.user_offsets, b + 1),
            ("offsets", self.offsets, s + 1),
            ("timestamps", self.timestamps, n),
            *((f"texts[{k}]", v, n) for k, v in self.texts.items()),
            *((f"numbers[{k}]", v, n) for k, v in self.numbers.items()),
        )
        for name, column, expected in sizes:
            if len(column) != expected:
                raise BatchError(f"{name} has {len(column)} rows, expected {expected}.")
        for name, offsets, last in (
            ("user_offsets", self.user_offsets, s),
            ("offsets", self.offsets, n),
        ):
            if offsets[0] != 0 or offsets[-1] != last or np.any(np.diff(offsets) < 0):
                raise BatchError(
                    f"{name} must rise from 0 to {last}, got {offsets[0]} to {offsets[-1]}."
                )
        counts = np.diff(self.offsets)
        if np.any(counts == 0):
            empty = int(np.argmin(counts))
            raise BatchError(f"segment {empty} ('{self.merchants.decode()[empty]}') is empty.")
        for name, text in (("merchants", self.merchants), *self.texts.items()):
            if len(text) and not (text.codes.min() >= 0 and text.codes.max() < len(text.words)):
                raise BatchError(f"{name}: a code lies outside its {len(text.words)} words.")
        if not np.all(np.isfinite(self.amounts)):
            raise BatchError(f"amount {int(np.argmin(np.isfinite(self.amounts)))} is not finite.")
        if n:
            late = self.timestamps >= np.repeat(self.cutoffs, self.payment_counts)
            if np.any(late):
                at = int(np.argmax(late))
                raise BatchError(f"payment {at} lies at or after the cutoff of its sample.")
            steps = np.diff(self.timestamps)
            steps[self.offsets[1:-1] - 1] = 0  # a new segment may begin earlier
            if np.any(steps < 0):
                raise BatchError(
                    f"payment {int(np.argmin(steps)) + 1} is older than the one before."
                )

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def segment_counts(self) -> Ints:
        """(B,) segments of each sample."""
        return np.diff(self.user_offsets)

    @property
    def payment_counts(self) -> Ints:
        """(B,) payments of each sample."""
        return np.diff(self.offsets[self.user_offsets])

    @property
    def segment_of_payment(self) -> Ints:
        """(N,) segment of each payment."""
        return np.repeat(np.arange(len(self.merchants)), np.diff(self.offsets))

    @property
    def sample_of_segment(self) -> Ints:
        """(S,) row of the sample of each segment."""
        return np.repeat(np.arange(len(self)), self.segment_counts)

    @property
    def sample_of_payment(self) -> Ints:
        """(N,) row of the sample of each payment."""
        return np.repeat(np.arange(len(self)), self.payment_counts)

    def select(self, rows: npt.ArrayLike) -> FoldedBatch:
        """The batch of these samples (row numbers, any order, repeats allowed)."""
        picked = np.asarray(rows, dtype=np.int64)
        segments = expand(self.user_offsets[picked], self.segment_counts[picked])
        return self._take(picked, self.segment_counts[picked], segments)

    def permute_segments(self, order: npt.ArrayLike) -> FoldedBatch:
        """The same samples with segments in another order (a permutation within each sample)."""
        order = np.asarray(order, dtype=np.int64)
        if not np.array_equal(self.sample_of_segment[order], self.sample_of_segment):
            raise BatchError("order must permute segments inside their own sample.")
        return self._take(np.arange(len(self)), self.segment_counts, order)

    def keep(self, payments: npt.NDArray[np.bool_]) -> FoldedBatch:
        """Refold with only the payments where the (N,) mask is true.

        A segment that loses all its payments disappears, and segments are put back in order of
        their most recent payment: the same as folding the remaining payments from the start.
        """
        rows = np.flatnonzero(payments)
        segment = self.segment_of_payment[rows]
        kept, counts = np.unique(segment, return_counts=True)
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        last = self.timestamps[rows[starts[1:] - 1]]
        names = np.array(
            [self.merchants.words[c] for c in self.merchants.codes[kept]], dtype=object
        )
        sample = self.sample_of_segment[kept]
        order = np.array(
            sorted(range(len(kept)), key=lambda i: (sample[i], -last[i], names[i])), dtype=np.int64
        )
        kept_rows = rows[expand(starts[:-1][order], counts[order])]
        return replace(
            self,
            user_offsets=np.concatenate(
                [[0], np.cumsum(np.bincount(sample, minlength=len(self)))]
            ).astype(np.int64),
            offsets=np.concatenate([[0], np.cumsum(counts[order])]).astype(np.int64),
            merchants=self.merchants.take(kept[order]),
            timestamps=self.timestamps[kept_rows],
            amounts=self.amounts[kept_rows],
            texts={k: v.take(kept_rows) for k, v in self.texts.items()},
            numbers={k: v[kept_rows] for k, v in self.numbers.items()},
        )

    def _take(self, samples: Ints, segment_counts: Ints, segments: Ints) -> FoldedBatch:
        counts = np.diff(self.offsets)[segments]
        rows = expand(self.offsets[segments], counts)
        return FoldedBatch(
            samples=self.samples[samples],
            user_ids=tuple(self.user_ids[i] for i in samples),
            cutoffs=self.cutoffs[samples],
            labels=self.labels[samples],
            user_offsets=np.concatenate([[0], np.cumsum(segment_counts)]).astype(np.int64),
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            merchants=self.merchants.take(segments),
            timestamps=self.timestamps[rows],
            amounts=self.amounts[rows],
            texts={k: v.take(rows) for k, v in self.texts.items()},
            numbers={k: v[rows] for k, v in self.numbers.items()},
            timezone=self.timezone,
        )

    @classmethod
    def concat(cls, batches: Sequence[FoldedBatch]) -> FoldedBatch:
        """Several batches as one."""
        first = batches[0]

        def offsets(parts: list[Ints]) -> Ints:
            counts = np.concatenate([np.diff(part) for part in parts])
            return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

        return cls(
            samples=np.concatenate([b.samples for b in batches]),
            user_ids=tuple(user for b in batches for user in b.user_ids),
            cutoffs=np.concatenate([b.cutoffs for b in batches]),
            labels=np.concatenate([b.labels for b in batches]),
            user_offsets=offsets([b.user_offsets for b in batches]),
            offsets=offsets([b.offsets for b in batches]),
            merchants=Strings.concat([b.merchants for b in batches]),
            timestamps=np.concatenate([b.timestamps for b in batches]),
            amounts=np.concatenate([b.amounts for b in batches]),
            texts={k: Strings.concat([b.texts[k] for b in batches]) for k in first.texts},
            numbers={k: np.concatenate([b.numbers[k] for b in batches]) for k in first.numbers},
            timezone=first.timezone,
        )

    @classmethod
    def from_rows(
        cls,
        rows: Sequence[tuple[str, str, Sequence[tuple[str, str, float, str]]]],
        *,
        labels: Sequence[float] | None = None,
        numbers: Mapping[str, Sequence[Sequence[float]]] | None = None,
        timezone: str = "UTC",
    ) -> FoldedBatch:
        """Fold a handful of payments in memory: for tests, examples and what-if edits.

        Args:
            rows: (user id, cutoff, [(merchant, timestamp, amount, description), ...]) a sample;
                times as ISO text, UTC. Payments at or after the cutoff are left out.
            labels: one a sample; unknown when not given.
            numbers: extra field -> per sample, one number a payment, in the order of `rows`.
            timezone: zone in which hours and weekdays are read.
        """
        segment_counts, counts, merchants, texts, times, amounts = [], [], [], [], [], []
        extra: dict[str, list[float]] = {name: [] for name in numbers or {}}
        for b, (_, cutoff, payments) in enumerate(rows):
            limit = _microseconds(cutoff)
            segments: dict[str, list[tuple[int, float, str, int]]] = {}
            for i, (merchant, when, amount, text) in enumerate(payments):
                if _microseconds(when) < limit:
                    entry = (_microseconds(when), float(amount), text, i)
                    segments.setdefault(merchant, []).append(entry)
            ordered = sorted(segments.items(), key=lambda kv: (-max(kv[1])[0], kv[0]))
            segment_counts.append(len(ordered))
            for merchant, entries in ordered:
                merchants.append(merchant)
                counts.append(len(entries))
                for when_us, amount, text, i in sorted(entries):
                    times.append(when_us)
                    amounts.append(amount)
                    texts.append(text)
                    for name, values in extra.items():
                        values.append(float((numbers or {})[name][b][i]))
        return cls(
            samples=np.arange(len(rows), dtype=np.int64),
            user_ids=tuple(user for user, _, _ in rows),
            cutoffs=np.array([_microseconds(cutoff) for _, cutoff, _ in rows], dtype=np.int64),
            labels=np.asarray(labels if labels is not None else [np.nan] * len(rows), dtype=float),
            user_offsets=np.concatenate([[0], np.cumsum(segment_counts)]).astype(np.int64),
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            merchants=Strings.encode(merchants),
            timestamps=np.array(times, dtype=np.int64),
            amounts=np.array(amounts, dtype=np.float64),
            texts={"description": Strings.encode(texts)},
            numbers={name: np.array(values) for name, values in extra.items()},
            timezone=timezone,
        )

    def to_frame(self) -> pd.DataFrame:
        """Unfold: one row a payment, as it came in.

        Columns: sample, user_id, merchant, timestamp (UTC), amount, the texts, the numbers.
        """
        segment, sample = self.segment_of_payment, self.sample_of_payment
        columns: dict[str, Any] = {
            "sample": self.samples[sample],
            "user_id": np.asarray(self.user_ids, dtype=object)[sample],
            "merchant": np.asarray(self.merchants.decode(), dtype=object)[segment],
            "timestamp": pd.to_datetime(self.timestamps, unit="us", utc=True),
            "amount": self.amounts,
        }
        columns |= {k: np.asarray(v.decode(), dtype=object) for k, v in self.texts.items()}
        return pd.DataFrame(columns | dict(self.numbers))


def _microseconds(when: str) -> int:
    stamp = pd.Timestamp(when)
    stamp = stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")
    return int(stamp.as_unit("us").asm8.astype(np.int64))  # `value` counts nanoseconds
