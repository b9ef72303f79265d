"""Histories: unlabelled payments cut at many times, and what came after each cut.

What comes after is folded as well, over the horizon, so that both sides are read alike.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from lbsf_core.config import FoldConfig, PretrainConfig
from lbsf_core.errors import LbsfError
from lbsf_core.fold.batch import DAY, FoldedBatch, Ints
from lbsf_core.fold.fold import fold
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.fields import signed_log
from lbsf_core.payments.schema import Field

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Histories:
    """Unlabelled samples at many cutoffs, and what came after each.

    Attributes:
        batch: B samples, the payments before each cutoff.
        extra: the extra fields of the payments.
        again: (S,) whether each segment's merchant is paid again within the horizon.
        flags: (B, Y) yes-or-no targets of the user.
        figures: (B, R) targets that are numbers; NaN where there is none.
        horizon_days: how far after the cutoff the targets reach.
    """

    batch: FoldedBatch
    extra: tuple[Field, ...]
    again: Floats
    flags: Floats
    figures: Floats
    horizon_days: int

    def rows(self, without: Collection[str] = (), until: int | None = None) -> Ints:
        """Rows of the samples of other users, whose targets are known by `until`.

        Args:
            without: users to leave out.
            until: microseconds UTC; None = whenever.
        """
        inside = np.array([u not in without for u in self.batch.user_ids], dtype=bool)
        if until is not None:
            inside &= self.batch.cutoffs + self.horizon_days * DAY <= until
        return np.flatnonzero(inside)


def read_histories(
    payments: Sequence[str | Path], window_days: int | None, config: PretrainConfig | None = None
) -> Histories:
    """Cut the histories of payments at many times, and look what came after.

    Args:
        payments: files made by `lbsf ingest`, with the same extra fields.
        window_days: observation window, as the labelled samples are folded.
        config: how cutoffs are laid and how far ahead is looked.

    Raises:
        LbsfError: no user has enough payments.
    """
    config = config or PretrainConfig()
    parts = []
    for path in payments:
        with tempfile.TemporaryDirectory(prefix="lbsf-pretrain-") as name:
            folder = Path(name)
            labels = _grid(Path(path), folder, config)
            fold(path, labels, folder / "before", FoldConfig(window_days=window_days))
            ahead = _shifted(labels, folder / "after.parquet", config.horizon_days)
            fold(path, ahead, folder / "after", FoldConfig(window_days=config.horizon_days))
            before, after = (FoldedStore.open(folder / n) for n in ("before", "after"))
            rows = np.arange(len(before.samples))
            if not len(rows):
                continue
            extra = before.manifest.extra_fields
            parts.append((extra, _targets(before.read(rows), after.read(rows), config)))
    if not parts:
        raise LbsfError(
            f"no user has {config.least_payments} payments and {config.horizon_days} days after "
            "them: nothing to pre-train on. Give longer histories or a shorter --horizon-days."
        )
    if len({extra for extra, _ in parts}) != 1:
        raise LbsfError("the payments have different extra fields; pre-train on like ones.")
    found = [part for _, part in parts]
    batch = FoldedBatch.concat([part[0] for part in found])
    flags, figures = (np.concatenate([part[i] for part in found]) for i in (2, 3))
    again = np.concatenate([part[1] for part in found])
    return Histories(batch, parts[0][0], again, flags, figures, config.horizon_days)


def _grid(payments: Path, folder: Path, config: PretrainConfig) -> Path:
    """Cutoffs of every user, `every_days` apart, each with enough payments before it."""
    end = "max(max(timestamp)) OVER ()" if config.end == "file" else "max(timestamp)"
    out = folder / "labels.parquet"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        table = connection.sql(
            f"""
            WITH users AS (
                SELECT user_id, min(timestamp) AS first, {end} AS last
                FROM read_parquet($payments) GROUP BY user_id
            ), grid AS (
                SELECT user_id, unnest(generate_series(date_trunc('day', first) + to_days(30),
                    last - to_days($horizon), to_days($every))) AS cutoff
                FROM users
            )
            SELECT g.user_id, g.cutoff, NULL::DOUBLE AS label
            FROM grid g JOIN read_parquet($payments) p
              ON p.user_id = g.user_id AND p.timestamp < g.cutoff
            GROUP BY g.user_id, g.cutoff
            HAVING count(*) >= $least AND max(p.timestamp) >= g.cutoff - to_days($active)
            ORDER BY g.user_id, g.cutoff
            """,  # noqa: S608 - one of two texts above
            params={
                "payments": str(payments),
                "horizon": config.horizon_days,
                "every": config.every_days,
                "least": config.least_payments,
                "active": config.active_days,
            },
        ).to_arrow_table()
    pq.write_table(table, out)
    return out


def _shifted(labels: Path, out: Path, days: int) -> Path:
    table = pq.read_table(labels)
    later = pa.array(table["cutoff"].to_pandas() + timedelta(days=days), table["cutoff"].type)
    pq.write_table(table.set_column(1, "cutoff", later), out)
    return out


def _targets(
    before: FoldedBatch, after: FoldedBatch, config: PretrainConfig
) -> tuple[FoldedBatch, Floats, Floats, Floats]:
    """The batch before, (S,) paid again, (B, Y) flags and (B, R) figures."""
    n = len(before)
    names: dict[str, int] = {}
    keys = [
        np.array([names.setdefault(w, len(names)) for w in b.merchants.words], dtype=np.int64)
        for b in (before, after)
    ]
    pairs = [
        b.sample_of_segment * max(len(names), 1) + (k[b.merchants.codes] if len(k) else 0)
        for b, k in zip((before, after), keys, strict=True)
    ]
    again = np.isin(pairs[0], pairs[1]).astype(np.float64)
    ahead = (after.timestamps - before.cutoffs[after.sample_of_payment]) / DAY
    back = (before.cutoffs[before.sample_of_payment] - before.timestamps) / DAY

    def sums(batch: FoldedBatch, distance: Floats, days: float) -> list[Floats]:
        """Payments, money out and in of each sample within so many days of the cutoff."""
        seen = distance <= days
        sample, amount = batch.sample_of_payment[seen], batch.amounts[seen]
        return [
            np.bincount(sample, minlength=n).astype(np.float64),
            np.bincount(sample, np.maximum(-amount, 0), minlength=n).astype(np.float64),
            np.bincount(sample, np.maximum(amount, 0), minlength=n).astype(np.float64),
        ]

    flags, figures = [], []
    for share in (0.25, 0.5, 1.0):
        days = config.horizon_days * share
        later, earlier = sums(after, ahead, days), sums(before, back, days)
        flags.append(later[0] == 0)
        flags.append(later[1] < 0.5 * earlier[1])
        for now, then in zip(later, earlier, strict=True):
            figures += [np.log1p(now), np.log1p(now) - np.log1p(then)]
    for values in after.numbers.values():
        least, mean = np.full(n, np.nan), np.full(n, np.nan)
        order = np.argsort(after.sample_of_payment, kind="stable")
        sample, value = after.sample_of_payment[order], values[order]
        starts = np.flatnonzero(np.append(True, sample[1:] != sample[:-1])[: len(sample)])
        if len(starts):
            of = sample[starts]
            least[of] = signed_log(np.minimum.reduceat(value, starts))
            counts = np.diff(np.append(starts, len(sample)))
            mean[of] = signed_log(np.add.reduceat(value, starts) / counts)
        figures += [least, mean]
    return before, again, np.stack(flags, 1).astype(np.float64), np.stack(figures, 1)
