"""The portfolio: a queue of samples, who is found in it, and what a threshold would do to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from lbsf_core.evaluate.intervals import wilsons
from lbsf_core.workspace.layout import FRONT
from lbsf_core.workspace.queries import Scores, Tables
from lbsf_core.workspace.types import SampleFilter

#: Rows of the queue, and bins of the histogram, that lie ready.
FRONT_ROWS, FRONT_BINS = 50, 40


class Portfolio:
    """The part of a workspace that is asked about many samples at once; no model is needed."""

    _tables: Tables

    def queue(
        self,
        chosen: SampleFilter | None = None,
        *,
        sort: str = "pd",
        descending: bool = True,
        limit: int = 50,
        offset: int = 0,
    ) -> pd.DataFrame:
        """One page of samples.

        Columns: rank, sample, user_id, cutoff, pd, percentile, band, label, part, payments,
        merchants, money_in, money_out, last_payment, dropped_payments, activity (money out in each
        twelfth of the window), top_merchant, top_attribution, previous_pd (at the user's last
        scoring before), change (PD since then), at_stake (amount), expected_loss (PD times the
        amount at stake), disagreement (of gradients and removal about the merchants, 0 to 1); the
        last five are NaN where nothing is known.
        """
        here = slice(offset, offset + limit)
        if _everybody(chosen) and (sort, descending) == ("pd", True) and here.stop <= FRONT_ROWS:
            rows = self._front("queue").iloc[here].reset_index(drop=True)
        else:
            queue = self._tables.order(chosen or SampleFilter(), sort, descending=descending)
            rows = self._tables.rows(queue[here], _OF_A_QUEUE)
        rows["change"] = rows["pd"] - rows["previous_pd"]
        rows["expected_loss"] = rows["pd"] * rows["at_stake"]
        return rows

    def count(self, chosen: SampleFilter | None = None) -> int:
        """How many samples a filter keeps."""
        if _everybody(chosen):
            return int(self._front("outcomes")["samples"].iloc[0])
        return len(self._kept(chosen))

    def score_distribution(
        self, chosen: SampleFilter | None = None, bins: int = FRONT_BINS
    ) -> pd.DataFrame:
        """pd_low, pd_high, label, samples: a histogram of PD, one row a bin and label."""
        if _everybody(chosen) and bins == FRONT_BINS:
            return self._front("distribution")
        return _distribution(self._scores(chosen), bins)

    def thresholds(self, chosen: SampleFilter | None = None) -> pd.DataFrame:
        """What approving everybody below a PD would have meant, for PDs from 0 to 1.

        Every hundredth, and every hundredth part of the samples: where most PDs are small, the
        even steps alone would pass over them. Columns: see `threshold`.
        """
        if _everybody(chosen):
            front = self._front("outcomes")
            return front[front.pop("shown")].reset_index(drop=True)
        scores = self._scores(chosen)
        return _outcomes(scores, _steps(scores))

    def threshold(self, chosen: SampleFilter | None, value: float) -> dict[str, Any]:
        """What approving everybody with PD < value would have meant.

        Returns:
            threshold, approved (share), default_rate (observed among approved and labelled), lo,
            hi (95 % Wilson), declined_default_rate, capture (share of all bad that is declined),
            samples, labelled. NaN where there is nothing to count.
        """
        found = self._outcome(chosen, value)
        counts = {name: int(found[name]) for name in ("samples", "labelled")}
        return {str(name): float(number) for name, number in found.items()} | counts

    def _outcome(self, chosen: SampleFilter | None, value: float) -> pd.Series[Any]:
        """One row of `_outcomes`."""
        if _everybody(chosen):
            front = self._front("outcomes").drop(columns="shown")
            known = front[front["threshold"] == value]
            if len(known):
                return known.iloc[0]
        return _outcomes(self._scores(chosen), np.array([value])).iloc[0]

    def _front(self, name: str) -> pd.DataFrame:
        """What `write_front` wrote."""
        with pa.OSFile(str(self._tables.checked.path(FRONT[name]))) as source:
            frame: pd.DataFrame = pa.ipc.open_file(source).read_all().to_pandas()
        return frame

    def costs(
        self,
        chosen: SampleFilter | None,
        *,
        default: float | None,
        declined: float,
        loss_given_default: float = 1.0,
        at: float | None = None,
    ) -> pd.DataFrame:
        """What approving everybody below a PD costs on average, for the PDs of `thresholds`.

        Args:
            chosen: which samples.
            default: cost of an approved customer who defaults; None = the sample's own amount at
                stake times `loss_given_default` (samples without one are left out).
            declined: cost of a good customer who is declined.
            loss_given_default: share of the amount at stake that is lost, 0 to 1.
            at: one more PD.

        Returns:
            threshold, approved (share), expected (mean cost a sample by its PD), observed (mean
            cost a sample by its label, over labelled ones; NaN where there is none), samples,
            labelled.
        """
        scores = self._scores(chosen)
        if default is None:
            scores = scores.take(~np.isnan(scores.at_stake))
        pds, bad, known = scores.pd, scores.bad, scores.known
        at_stake = scores.at_stake * loss_given_default
        lost = at_stake if default is None else np.full(len(pds), float(default))
        steps = _steps(scores)
        if at is not None:
            steps = np.union1d(steps, [at])
        approved = np.searchsorted(pds, steps, side="left")  # as many have PD < step
        labelled = int(known.sum())
        found = {"threshold": steps, "approved": approved / len(pds) if len(pds) else np.nan}
        for name, risk, count in (
            ("expected", pds, len(pds)),
            ("observed", np.where(known, bad, 0.0), labelled),
        ):
            counted = np.ones(len(pds)) if name == "expected" else known.astype(float)
            below = np.concatenate([[0.0], np.cumsum(risk * lost * counted)])
            above = np.concatenate([[0.0], np.cumsum((1 - risk) * declined * counted)])
            total = below[approved] + above[-1] - above[approved]
            found[name] = total / count if count else np.full(len(steps), np.nan)
        return pd.DataFrame(found).assign(samples=len(pds), labelled=labelled)

    def _scores(self, chosen: SampleFilter | None) -> Scores:
        """What is known of the samples that a filter keeps, from the lowest PD to the highest."""
        return self._tables.scores.take(self._kept(chosen)[::-1])

    def _kept(self, chosen: SampleFilter | None) -> npt.NDArray[np.int32]:
        """Samples that a filter keeps: those of the queue as it is first shown, asked once."""
        return self._tables.order(chosen or SampleFilter(), "pd", descending=True)

    def find_users(self, text: str, limit: int = 20) -> list[str]:
        """User ids that hold a literal text, any case."""
        frame = self._tables.ask(
            """SELECT DISTINCT user_id FROM samples
               WHERE contains(lower(user_id), lower($text)) ORDER BY user_id LIMIT $limit""",
            text=text,
            limit=limit,
        )
        return list(frame["user_id"])

    def unknown_users(self, ids: Sequence[str]) -> list[str]:
        """Those of some user ids that are not in the workspace, in their order."""
        found = self._tables.ask(
            """SELECT DISTINCT user_id FROM samples
               WHERE user_id IN (SELECT unnest($ids::VARCHAR[]))""",
            ids=list(ids),
        )
        known = set(found["user_id"])
        return [one for one in ids if one not in known]

    def merchants(self, text: str = "", limit: int = 200) -> list[str]:
        """Merchants that hold a literal text, those paid by most samples first."""
        frame = self._tables.ask(
            """SELECT merchant FROM read_parquet($merchants)
               WHERE contains(lower(merchant), lower($text))
               GROUP BY merchant ORDER BY count(*) DESC, merchant LIMIT $limit""",
            text=text,
            limit=limit,
        )
        return list(frame["merchant"])


#: What a queue says of a sample, as it lies in the workspace.
_OF_A_QUEUE = (
    *("rank", "sample", "user_id", "cutoff", "pd", "percentile", "band", "label", "part"),
    *("payments", "merchants", "money_in", "money_out", "last_payment", "dropped_payments"),
    *("activity", "top_merchant", "top_attribution", "previous_pd", "at_stake", "disagreement"),
)


def write_front(tables: Tables, folder: Path) -> None:
    """Write what the first page shows before anybody filters, so that it reads no row a sample.

    The first rows of the queue, the histogram, and what approving everybody below each thousandth
    of PD and each of `thresholds` ("shown") would have meant.
    """
    queue = tables.order(SampleFilter(), "pd", descending=True)
    scores = tables.scores.take(queue[::-1])
    shown = _steps(scores)
    outcomes = _outcomes(scores, np.union1d(shown, np.linspace(0, 1, 1001).round(3)))
    outcomes["shown"] = np.isin(outcomes["threshold"], shown)
    found = {
        "queue": tables.taken(pa.array(queue[:FRONT_ROWS]), _OF_A_QUEUE),
        "distribution": pa.Table.from_pandas(_distribution(scores, FRONT_BINS)),
        "outcomes": pa.Table.from_pandas(outcomes, preserve_index=False),
    }
    for name, table in found.items():
        with pa.ipc.new_file(str(folder / FRONT[name]), table.schema) as writer:
            writer.write_table(table)


def _everybody(chosen: SampleFilter | None) -> bool:
    return chosen is None or chosen == SampleFilter()


def _distribution(scores: Scores, bins: int) -> pd.DataFrame:
    """`Portfolio.score_distribution` of some samples."""
    rows = []
    edges = np.linspace(0.0, 1.0, bins + 1)
    cuts = np.searchsorted(scores.pd, edges[1:-1], side="left")  # the last bin holds 1 too
    ends = np.concatenate([[0], cuts, [len(scores.pd)]])
    whose = {"good": scores.known & ~scores.bad, "bad": scores.bad, "unknown": ~scores.known}
    for label, theirs in whose.items():
        counts = np.diff(_running(theirs)[ends])
        if counts.any():
            bars = {"pd_low": edges[:-1], "pd_high": edges[1:], "label": label}
            rows.append(pd.DataFrame(bars).assign(samples=counts))
    columns = ["pd_low", "pd_high", "label", "samples"]
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=columns)


def _steps(scores: Scores) -> npt.NDArray[np.float64]:
    """Every hundredth of PD, and every hundredth part of the samples."""
    steps = np.linspace(0, 1, 101).round(2)
    if not len(scores.pd):
        return steps
    return np.union1d(steps, np.quantile(scores.pd, steps, method="nearest").round(6))


def _running(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """(n + 1,) how many of the first 0, 1, ... n are true."""
    return np.concatenate([[0], np.cumsum(flags)]).astype(np.int64)


def _outcomes(scores: Scores, steps: npt.NDArray[np.float64]) -> pd.DataFrame:
    """`Portfolio.threshold` at each step; a sample is counted once, not once a step."""
    known, bad = _running(scores.known), _running(scores.bad)
    below = np.searchsorted(scores.pd, steps, side="left")
    rate, lo, hi = wilsons(bad[below], known[below])
    declined, _, _ = wilsons(bad[-1] - bad[below], known[-1] - known[below])
    samples, total = len(scores.pd), int(bad[-1])
    nothing = np.full(len(steps), np.nan)
    return pd.DataFrame(
        {
            "threshold": steps,
            "approved": below / samples if samples else nothing,
            "default_rate": rate,
            "lo": lo,
            "hi": hi,
            "declined_default_rate": declined,
            "capture": (total - bad[below]) / total if total else nothing,
            "samples": samples,
            "labelled": int(known[-1]),
        }
    )
