"""What moves scores in general: kinds of merchants, fields, and how long ago payments were made.

Read from what `lbsf explain-all` kept. Of each sample the attributions of all its payments are
added up by group; the groups of a sample sum to its logit - baseline logit, whatever they are
grouped by. A group that a sample has nothing of counts as 0 there.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from lbsf_core.errors import LbsfError
from lbsf_core.explain.attributions import SAMPLE_COLUMNS, open_attributions
from lbsf_core.explain.result import TOLERANCE

if TYPE_CHECKING:
    import shap

By = Literal["kind", "field", "time"]
GROUPINGS: tuple[By, ...] = get_args(By)
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: More users than this are put together at random into so many groups before they are drawn.
DRAWN = 2_000
#: Draws whose sums are taken in one product of matrices.
TOGETHER = 64


@dataclass(frozen=True)
class Groups:
    """Attributions of B samples, added up by K groups.

    Attributes:
        by: what a group is: a kind of merchant, a field, or a band of days before the cutoff.
        names: (K,) of the groups.
        samples: one row a sample: sample, user_id, cutoff, logit, baseline_logit, delta.
        values: (B, K) logit units; 0 where a sample has nothing of a group.
        payments: (B, K) payments of the group; of a field, all of the sample's.
        money: (B, K) money moved, in and out, major currency unit; NaN by time, where it is not
            kept. Of a field, all of the sample's.
    """

    by: By
    names: tuple[str, ...]
    samples: pd.DataFrame
    values: npt.NDArray[np.floating[Any]]
    payments: npt.NDArray[Any]
    money: npt.NDArray[np.floating[Any]]

    @property
    def gaps(self) -> Floats:
        """(B,) by how much the groups of a sample miss its logit - baseline logit."""
        moved = self.samples["logit"] - self.samples["baseline_logit"]
        missed: Floats = self.values.sum(axis=1) - moved.to_numpy()
        return missed

    def problems(self, tolerance: float = TOLERANCE) -> list[str]:
        """Sums that do not add up, as plain sentences; empty when all do."""
        gaps = np.abs(self.gaps)
        wrong = int(np.sum(~(gaps <= tolerance)))
        if not wrong:
            return []
        return [
            f"Of {len(gaps):,} samples {wrong:,} have groups that miss the score's distance to the "
            f"baseline, by up to {gaps.max():.4f}."
        ]

    def only(self, samples: Collection[int]) -> Groups:
        """The same of some of the samples."""
        wanted = np.fromiter(samples, np.int64, len(samples))
        numbers = self.samples["sample"].to_numpy(np.int64)
        held = np.isin(numbers, wanted, kind="table")  # twenty times as fast as by sorting
        rows = self.samples[held].reset_index(drop=True)
        tables = (table[held] for table in (self.values, self.payments, self.money))
        return Groups(self.by, self.names, rows, *tables)

    def points(self) -> pd.DataFrame:
        """One row a sample and group that it has payments of: what a beeswarm draws.

        Columns: sample, user_id, group, value (logit units), payments, money.
        """
        at, group = np.nonzero(self.payments)
        rows = self.samples.iloc[at]
        return pd.DataFrame(
            {
                "sample": rows["sample"].to_numpy(),
                "user_id": rows["user_id"].to_numpy(),
                "group": np.asarray(self.names, dtype=object)[group],
                "value": self.values[at, group],
                "payments": self.payments[at, group].astype(np.int64),
                "money": self.money[at, group],
            }
        )


def read_groups(path: str | Path, by: By, samples: Collection[int] | None = None) -> Groups:
    """Add up what `lbsf explain-all` kept; a part of the file is held at a time.

    Args:
        path: the file.
        by: "kind", "field" or "time".
        samples: numbers of the samples that count; all by default.

    Raises:
        AttributionsError: it is no such file.
        LbsfError: no such grouping, or no sample is left.
    """
    if by not in GROUPINGS:
        raise LbsfError(f"'{by}' is no grouping; choose one of {', '.join(GROUPINGS)}.")
    file, _ = open_attributions(path)
    prefix = f"{by}:"
    parts = [name for name in file.schema_arrow.names if name.startswith(prefix)]
    names = [name.removeprefix(prefix) for name in parts]
    counted = [f"payments:{name}" for name in names] if by == "time" else []
    read = [*SAMPLE_COLUMNS, "segment", "payments", "money_in", "money_out", *parts, *counted]
    read += ["kind", "attribution"] if by == "kind" else []
    wanted = None if samples is None else np.unique(np.fromiter(samples, np.int64, len(samples)))
    known: dict[str, int] = {}  # kind -> its column
    about: list[pd.DataFrame] = []
    sums: list[Floats] = []
    for number in range(file.num_row_groups):
        table = file.read_row_group(number, columns=read)
        if wanted is not None:
            held = np.isin(table["sample"].to_numpy(), wanted)
            table = table.filter(pa.array(held)) if not held.all() else table
        row, first, sample = _runs(table["sample"].to_numpy())
        about.append(table.select(SAMPLE_COLUMNS).take(pa.array(first)).to_pandas())
        valid = pc.is_valid(table["segment"]).to_numpy(zero_copy_only=False)
        money = table["money_in"].to_numpy() + table["money_out"].to_numpy()
        figures = [table["payments"].to_numpy(), money]
        width = 1
        if by == "kind":
            kind = _kinds(table["kind"], known)
            width = max(len(known), 1)
            row = row * width + kind
            figures.insert(0, table["attribution"].to_numpy())
        else:
            figures = [table[name].to_numpy() for name in (*parts, *counted)] + figures
        size = len(sample) * width
        added = np.empty((len(figures), size))
        for at, figure in enumerate(figures):
            added[at] = np.bincount(row[valid], figure[valid], minlength=size)
        sums.append(added.reshape(len(figures), len(sample), width))
    rows = pd.concat(about, ignore_index=True)
    if rows.empty:
        raise LbsfError(f"{path}: holds none of the chosen samples.")
    rows, whole = _joined(rows, sums)
    if by == "kind":
        order = sorted(known, key=str)
        whole = whole[:, :, [known[name] for name in order]]
        return Groups(by, tuple(order), rows, *whole)
    values = whole[: len(parts), :, 0].T
    payments, money = (np.tile(one[:, 0], (len(parts), 1)).T for one in whole[-2:])
    if by == "time":
        payments = whole[len(parts) : 2 * len(parts), :, 0].T
        money = np.full(values.shape, np.nan)
    return Groups(by, tuple(names), rows, values, payments, money)


def _runs(samples: Ints) -> tuple[Ints, Ints, Ints]:
    """(place of each row's sample, first row of each sample, the samples), in order of rows."""
    named, first, inverse = np.unique(samples, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return place[inverse], first[order].astype(np.int64), named[order].astype(np.int64)


def _joined(rows: pd.DataFrame, parts: list[Floats]) -> tuple[pd.DataFrame, Floats]:
    """Parts of a file, each (figures, samples, groups known by then), as one.

    A sample may begin in one part and go on in the next.
    """
    width = max(part.shape[2] for part in parts)
    whole = np.concatenate(
        [np.pad(part, ((0, 0), (0, 0), (0, width - part.shape[2]))) for part in parts], axis=1
    )
    place, first, _ = _runs(rows["sample"].to_numpy())
    if len(first) == len(rows):
        return rows, whole
    joined = np.zeros((len(whole), len(first), width))
    for sum_of, figure in zip(joined, whole, strict=True):
        np.add.at(sum_of, place, figure)
    return rows.iloc[first].reset_index(drop=True), joined


def _kinds(column: pa.ChunkedArray, known: dict[str, int]) -> Ints:
    """(N,) column of each row's kind; new kinds are added to those that are known. Null is 0."""
    coded = column.combine_chunks().dictionary_encode()
    names = coded.dictionary.to_pylist()
    columns = np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int64)
    if not len(columns):
        return np.zeros(len(coded), dtype=np.int64)
    found: Ints = columns[coded.indices.fill_null(0).to_numpy(zero_copy_only=False)]
    return found


def importance(groups: Groups, *, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """How much each group moves scores, with 95 % percentile intervals from draws of users.

    Of more than `DRAWN` users groups of users are drawn in place of single ones: as wide on
    average, and each interval's width is within some 3 % of that of single users.

    Args:
        groups: see `read_groups`.
        draws: of users with replacement; a user's samples are drawn together.
        seed: of the draws.

    Returns:
        One row a group, the most important first: group, samples (that have payments of it), and
        each with `_lo` and `_hi`: mean (attribution of a sample, logit units), mean_abs (mean of
        its absolute value), share (of all groups' mean_abs; 0 where nothing moves anything).
    """
    user, _ = pd.factorize(groups.samples["user_id"], sort=True)
    users, rng = int(user.max()) + 1, np.random.default_rng(seed)
    if users > DRAWN:
        user = (rng.permutation(users) % DRAWN)[user]
        users = DRAWN
    # A column at a time: of a million samples all of them together would take half a gigabyte.
    moved = [np.bincount(user, column, minlength=users) for column in groups.values.T]
    moved += [np.bincount(user, np.abs(column), minlength=users) for column in groups.values.T]
    of_user = np.stack([*moved, np.bincount(user, minlength=users)], axis=1)
    drawn = np.empty((draws, of_user.shape[1]))
    for first in range(0, draws, TOGETHER):
        some = drawn[first : first + TOGETHER]
        times = np.empty((len(some), users))
        for row in times:
            row[:] = np.bincount(rng.integers(0, users, users), minlength=users)
        np.matmul(times, of_user, out=some)
    frame = pd.DataFrame({"group": groups.names, "samples": (groups.payments > 0).sum(axis=0)})
    measured = _measures(of_user.sum(axis=0)[None])
    for name, sampled in _measures(drawn).items():
        frame[name] = measured[name][0]
        frame[f"{name}_lo"], frame[f"{name}_hi"] = np.quantile(sampled, [0.025, 0.975], axis=0)
    order = frame["mean_abs"].sort_values(ascending=False, kind="stable").index
    return frame.loc[order].reset_index(drop=True)


def _measures(sums: Floats) -> dict[str, Floats]:
    """Measure -> (draws, K), from sums of values, of absolute values, and of samples."""
    mean, mean_abs = np.split(sums[:, :-1] / sums[:, -1:], 2, axis=1)
    total = mean_abs.sum(axis=1, keepdims=True)
    share = np.divide(mean_abs, total, out=np.zeros_like(mean_abs), where=total > 0)
    return {"mean": mean, "mean_abs": mean_abs, "share": share}


def as_shap(groups: Groups, colour: Literal["payments", "money"] = "payments") -> shap.Explanation:
    """The groups as SHAP's own container, for `shap.plots.bar`, `beeswarm` and the rest.

    Args:
        groups: see `read_groups`.
        colour: what the dots of a beeswarm are coloured by: payments or money of the group.

    Raises:
        LbsfError: money by time, which is not kept.
    """
    if colour == "money" and groups.by == "time":
        raise LbsfError("Money is not kept by time; colour by payments.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies, when it is first loaded
        import shap
    found: Any = shap.Explanation(
        values=groups.values,
        base_values=groups.samples["baseline_logit"].to_numpy(),
        data=groups.payments if colour == "payments" else groups.money,
        feature_names=list(groups.names),
    )
    return found
