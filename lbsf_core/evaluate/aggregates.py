"""Hand-made aggregates: what a credit team computes before it fits gradient boosting.

Two tables from one folded batch. User aggregates describe all payments of a sample over several
windows before the cutoff. Merchant-level aggregates describe its segments: how many are kept up,
how regular they are, how the largest ones do, what share each common word of the texts has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lbsf_core.fold.batch import DAY, FoldedBatch, Strings
from lbsf_core.model.merchant import STATISTICS, segment_statistics

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Days before the cutoff that user aggregates are counted over.
WINDOWS = (7, 14, 30, 60, 90, 180, 365, 730)
#: Texts that get a share of their own, the most common of the training part.
COMMON = 25


def user_aggregates(batch: FoldedBatch) -> pd.DataFrame:
    """(B, ...) aggregates over all payments of each sample; NaN where there is nothing to count."""
    sample, n = batch.sample_of_payment, len(batch)
    age = (batch.cutoffs[sample] - batch.timestamps) / DAY
    amount = batch.amounts
    order = np.lexsort((-age, sample))  # oldest first
    columns: dict[str, Floats] = {}

    def total(values: Floats, where: npt.NDArray[np.bool_]) -> Floats:
        return np.bincount(sample[where], values[where], minlength=n).astype(np.float64)

    ones = np.ones(len(amount))
    for days in WINDOWS:
        seen = age <= days
        columns[f"payments {days}d"] = total(ones, seen)
        columns[f"out {days}d"] = total(-np.minimum(amount, 0), seen)
        columns[f"in {days}d"] = total(np.maximum(amount, 0), seen)
        pairs = np.unique(np.stack([sample[seen], batch.segment_of_payment[seen]], 1), axis=0)
        columns[f"merchants {days}d"] = np.bincount(pairs[:, 0], minlength=n).astype(float)
        active = np.unique(np.stack([sample[seen], age[seen].astype(np.int64)], 1), axis=0)
        columns[f"active days {days}d"] = np.bincount(active[:, 0], minlength=n).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        for short, long in ((14, 60), (30, 90), (30, 365), (60, 180), (90, 365), (180, 730)):
            for what in ("payments", "out", "in", "merchants"):
                columns[f"{what} {short}d per {long}d"] = (
                    columns[f"{what} {short}d"] / columns[f"{what} {long}d"]
                )
    frame = pd.DataFrame(columns)
    rows = pd.DataFrame({"sample": sample[order], "age": age[order], "amount": amount[order]})
    groups = rows.groupby("sample")
    for name, values in (
        ("newest age", groups["age"].min()),
        ("oldest age", groups["age"].max()),
        ("mean age", groups["age"].mean()),
        ("spread of age", groups["age"].std()),
        ("mean amount", groups["amount"].mean()),
        ("spread of amount", groups["amount"].std()),
        ("smallest amount", groups["amount"].min()),
        ("largest amount", groups["amount"].max()),
        ("median amount", groups["amount"].median()),
        ("last amount", groups["amount"].last()),
    ):
        frame[name] = values.reindex(range(n)).to_numpy()
    # Gaps between days with a payment.
    dates = rows.assign(day=rows["age"].astype(np.int64)).drop_duplicates(["sample", "day"])
    gap = -dates.groupby("sample")["day"].diff()
    gaps = gap.groupby(dates["sample"])
    recent = gap[dates["day"] <= 90].groupby(dates["sample"])
    for name, values in (
        ("mean gap", gaps.mean()),
        ("spread of gaps", gaps.std()),
        ("longest gap", gaps.max()),
        ("median gap", gaps.median()),
        ("90 % gap", gaps.quantile(0.9)),
        ("last gap", gaps.last()),
        ("mean gap 90d", recent.mean()),
        ("longest gap 90d", recent.max()),
    ):
        frame[name] = values.reindex(range(n)).to_numpy()
    frame["overdue by mean gap"] = frame["newest age"] / frame["mean gap"]
    frame["overdue by 90 % gap"] = frame["newest age"] / frame["90 % gap"]
    frame["overdue by longest gap"] = frame["newest age"] / frame["longest gap"]
    for name, held in batch.numbers.items():
        frame = frame.join(_number(name, held[order], rows))
    return frame


def _number(name: str, values: Floats, rows: pd.DataFrame) -> pd.DataFrame:
    """Aggregates of an extra number, e.g. a balance; `rows` gives sample and age, oldest first."""
    part = rows[["sample", "age"]].assign(value=values)
    found: dict[str, Any] = {}
    for days in (30, 90, 365, np.inf):
        grouped = part[part["age"] <= days].groupby("sample")["value"]
        for how in ("min", "mean", "max", "std"):
            found[f"{how} of {name} {days:g}d"] = grouped.agg(how)
    found[f"last {name}"] = part.groupby("sample")["value"].last()
    low = part["value"] < 0
    found[f"share below 0 of {name}"] = low.groupby(part["sample"]).mean()
    size = int(rows["sample"].max()) + 1 if len(rows) else 0
    return pd.DataFrame(found).reindex(range(size))


def merchant_aggregates(batch: FoldedBatch, common: dict[str, tuple[str, ...]]) -> pd.DataFrame:
    """(B, ...) aggregates of each sample's segments, and the share of each common text."""
    n, sample = len(batch), batch.sample_of_segment
    statistics = pd.DataFrame(segment_statistics(batch), columns=list(STATISTICS))
    counts = np.diff(batch.offsets)
    found: dict[str, Any] = {}
    grouped = statistics.groupby(sample)
    for name in STATISTICS:
        for how in ("min", "mean", "max", "std"):
            found[f"{how} of {name}"] = grouped[name].agg(how)
    recency, gap = np.expm1(statistics["recency"]), np.expm1(statistics["mean gap"])
    regular = (counts >= 3) & (statistics["irregularity"] < np.log1p(0.5))
    late = (counts >= 3) & (recency > 2 * gap)
    tenure = np.expm1(statistics["tenure"]) + recency  # days since the first payment
    for name, flag in {
        "regular": regular,
        "late": late,
        "regular and late": regular & late,
        "paid once": counts == 1,
        "new in 60 days": tenure <= 60,
        "left for 90 days": recency > 90,
    }.items():
        flags = pd.Series(np.asarray(flag, dtype=float))
        found[f"merchants {name}"] = flags.groupby(sample).sum()
        found[f"share of merchants {name}"] = flags.groupby(sample).mean()
        paid = pd.Series(flags * counts).groupby(sample).sum()
        found[f"share of payments, merchants {name}"] = (
            paid / pd.Series(counts).groupby(sample).sum()
        )
    # The three merchants paid most often, each with its statistics.
    ranking = np.lexsort((-counts, sample))
    rank = np.arange(len(ranking)) - batch.user_offsets[sample[ranking]]
    for place in range(3):
        at = ranking[rank == place]
        for name in ("payments", "total", "recency", "mean gap", "irregularity", "recent share"):
            values = pd.Series(statistics[name].to_numpy()[at], index=sample[at])
            found[f"{name} of merchant {place + 1}"] = values
    share = pd.Series(counts).groupby(sample).max() / pd.Series(counts).groupby(sample).sum()
    found["share of the first merchant"] = share
    frame = pd.DataFrame(found).reindex(range(n))
    shares = [_shares(batch, name, words) for name, words in common.items()]
    return pd.concat([frame, *shares], axis=1)


def _column(batch: FoldedBatch, name: str) -> Strings:
    if name != "merchant":
        return batch.texts[name]
    return Strings(batch.merchants.codes[batch.segment_of_payment], batch.merchants.words)


def _shares(batch: FoldedBatch, name: str, words: tuple[str, ...]) -> pd.DataFrame:
    """Share of each sample's payments with each of these texts, ever and in the last 60 days."""
    column, n = _column(batch, name), len(batch)
    place = {word: i for i, word in enumerate(words)}
    of_code = np.array([place.get(word, -1) for word in column.words], dtype=np.int64)
    at = of_code[column.codes] if len(column) else column.codes
    sample = batch.sample_of_payment
    age = (batch.cutoffs[sample] - batch.timestamps) / DAY
    found: dict[str, Floats] = {}
    for days in (np.inf, 60):
        seen = age <= days
        size = np.maximum(np.bincount(sample[seen], minlength=n), 1)
        kept = seen & (at >= 0)
        table = np.bincount(sample[kept] * len(words) + at[kept], minlength=n * len(words))
        share = table.reshape(n, len(words)) / size[:, None]
        for i, word in enumerate(words):
            found[f"share of {name} '{word}' {days:g}d"] = share[:, i]
    return pd.DataFrame(found)


@dataclass(frozen=True)
class Aggregates:
    """What the training part fixes: the common texts of each text or category field."""

    common: dict[str, tuple[str, ...]]
    merchants: bool = True

    @classmethod
    def fit(cls, batch: FoldedBatch, *, merchants: bool = True) -> Aggregates:
        """The most common texts of the training part, by samples that have them."""
        common: dict[str, tuple[str, ...]] = {}
        for name in ("merchant", *batch.texts):
            column = _column(batch, name)
            pairs = np.unique(np.stack([batch.sample_of_payment, column.codes], 1), axis=0)
            use = np.bincount(pairs[:, 1], minlength=len(column.words))
            best = sorted(range(len(use)), key=lambda i: (-use[i], column.words[i]))[:COMMON]
            common[name] = tuple(column.words[i] for i in best if use[i] > 1)
        return cls(common, merchants)

    def table(self, batch: FoldedBatch) -> pd.DataFrame:
        """(B, ...) the aggregates of each sample."""
        frame = user_aggregates(batch)
        if self.merchants:
            frame = pd.concat([frame, merchant_aggregates(batch, self.common)], axis=1)
        return frame.astype(np.float64)


__all__ = ["Aggregates", "merchant_aggregates", "user_aggregates"]
