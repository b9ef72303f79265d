"""What a report of cohorts says: tables of words, the same for HTML and PDF."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite, nan
from typing import TYPE_CHECKING

import pandas as pd

from lbsf_core.text import shortened, visible
from lbsf_core.workspace.dossier.make import provenance
from lbsf_core.workspace.dossier.view import made_lines
from lbsf_core.workspace.types import CohortComparison, SampleFilter

if TYPE_CHECKING:
    from lbsf_core.explain.importance import By
    from lbsf_core.workspace.facade import Workspace

#: Merchants of each end, and kinds, fields and times that are listed.
ENDS, GROUPS = 8, 12
#: Longest name in a table.
WIDTH = 40


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        title: its heading.
        note: how to read it.
        head: the columns.
        rows: words, one a column.
    """

    title: str
    note: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Report:
    """A page.

    Attributes:
        title: the cohorts.
        cohorts: name, and what its members have in common.
        notes: what the reader must know first.
        tables: the comparison.
        made: who, when, from what.
        at: when, ISO format.
    """

    title: str
    cohorts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    tables: tuple[Table, ...]
    made: tuple[tuple[str, str], ...]
    at: str


def make_report(
    workspace: Workspace,
    first: SampleFilter,
    second: SampleFilter,
    names: tuple[str, str],
    *,
    words: Sequence[str],
    by: str,
    beside: Sequence[tuple[str, SampleFilter]] = (),
    at: datetime | None = None,
) -> Report:
    """Compare two cohorts in detail, with others beside them, and put what was found into words.

    Args:
        workspace: an opened one.
        first, second: the cohorts that are compared in detail.
        names: of both.
        words: what the members of each have in common, those of `beside` last.
        by: who asks.
        beside: name and filter of the others; they have a row or a column in what is said of each
            cohort by itself.
        at: when; now by default.
    """
    found = workspace.compare(first, second, names, beside)
    summary = workspace.summary()
    moment = (at or datetime.now(UTC)).isoformat(timespec="seconds")
    notes = [visible(words) for words in found.warnings]
    if summary.proxy:
        notes.insert(0, f"No default was observed: bad is a proxy, {visible(summary.label)}.")
    if summary.simulated:
        notes.insert(0, "Simulated payments: this shows how the tool works and is no evidence.")
    every = [shortened(name, WIDTH) for name in (*names, *(name for name, _ in beside))]
    a, b, *others = every
    return Report(
        title=f"{a} and {b}" + (f", beside {' and '.join(others)}" if others else ""),
        cohorts=tuple((n, visible(w)) for n, w in zip(every, words, strict=True)),
        notes=tuple(notes),
        tables=(
            _sizes(found, summary.currency),
            _inside(found),
            _scores(found, every),
            _spend(found, every, summary.currency),
            _merchants(found, (a, b)),
            *(
                _groups(title, workspace.compare_importance(first, second, kind), (a, b))
                for title, kind in _GROUPED
            ),
            *(
                _reasons(title, workspace.compare_reasons(first, second, side), (a, b))
                for title, side in _SIDES
            ),
            _shifts(found, (a, b)),
        ),
        made=made_lines(provenance(workspace), {"by": by, "at": moment}),
        at=moment,
    )


_GROUPED: tuple[tuple[str, By], ...] = (
    ("What moves the scores: kinds of merchants", "kind"),
    ("What moves the scores: fields", "field"),
    ("What moves the scores: days before the cutoff", "time"),
)

_SIDES = (("Reasons why risky", "risk"), ("Reasons that speak for them", "protective"))


def _sizes(found: CohortComparison, currency: str) -> Table:
    head = (
        *("Cohort", "Samples", "Users", "Labelled", "Bad", "Default rate", "95% interval"),
        *("Mean PD", "Median PD", f"Money out per sample ({visible(currency)})"),
    )
    rows = [
        (
            shortened(row["cohort"], WIDTH),
            *(f"{row[name]:,}" for name in ("samples", "users", "labelled", "bad")),
            _percent(row["default_rate"]),
            _between(row["lo"], row["hi"], _percent),
            _percent(row["mean_pd"]),
            _percent(row["median_pd"]),
            _number(row["spend"], 2),
        )
        for row in found.sizes.to_dict("records")
    ]
    return Table("Who they are", "", head, tuple(rows))


def _inside(found: CohortComparison) -> Table:
    head = ("Cohort", "Bad", "Good", "AUC", "95% interval", "KS", "ECE")
    rows = [
        (
            shortened(row["cohort"], WIDTH),
            f"{row['bad']:,}",
            f"{row['good']:,}",
            _number(row["auc"], 3),
            _between(row["lo"], row["hi"], lambda v: _number(v, 3)),
            _number(row["ks"], 3),
            _number(row["ece"], 3),
        )
        for row in found.inside.to_dict("records")
    ]
    note = "Over samples with a label; fewer than five bad or five good are not measured."
    return Table("How the scores do inside each", note, head, tuple(rows))


def _scores(found: CohortComparison, names: Sequence[str]) -> Table:
    """Tenths of PD; the finer bins of the comparison are put together."""
    scores = found.scores.assign(tenth=(found.scores["pd_low"] * 10 + 1e-9).astype(int))
    shares = scores.groupby(["tenth", "cohort"], sort=False)["share"].sum()
    rows = []
    for tenth in range(10):
        each = [float(shares.get((tenth, name), 0.0)) for name in (*found.names, *found.beside)]
        if any(each):
            rows.append((f"{tenth * 10}% to {tenth * 10 + 10}%", *map(_percent, each)))
    return Table("Score distribution", "Share of each cohort.", ("PD", *names), tuple(rows))


def _spend(found: CohortComparison, names: Sequence[str], currency: str) -> Table:
    means = found.spend.set_index(["month", "cohort"])["spend"]
    each = (*found.names, *found.beside)
    rows = [
        (f"{month:%Y-%m}", *(_number(means.get((month, name), nan), 2) for name in each))
        for month in sorted(found.spend["month"].unique())
    ]
    note = f"Mean money out per sample and month that its window covers ({visible(currency)})."
    return Table("Spend over time", note, ("Month", *names), tuple(rows))


def _merchants(found: CohortComparison, names: Sequence[str]) -> Table:
    surest = found.merchants[found.merchants["significant"].astype(bool)]
    few = len(surest) <= 2 * ENDS
    ends = surest if few else pd.concat([surest.head(ENDS), surest.tail(ENDS)])
    rows = [
        (
            shortened(row["merchant"], WIDTH),
            _percent(row["share_a"]),
            _percent(row["share_b"]),
            _number(row["ratio"], 2),
            _between(row["lo"], row["hi"], lambda v: _number(v, 2)),
        )
        for row in ends.to_dict("records")
    ]
    note = "Merchants whose difference holds at a false discovery rate of 5%" + (
        "." if few else f": the {ENDS} strongest of each end of {len(surest):,}."
    )
    head = ("Merchant", f"Paid by, {names[0]}", f"Paid by, {names[1]}", "Ratio", "95% interval")
    return Table("Where they pay", note if rows else f"{note} There are none.", head, tuple(rows))


def _groups(title: str, found: pd.DataFrame, names: Sequence[str]) -> Table:
    rows = [
        (
            shortened(row["group"], WIDTH),
            *(
                f"{_signed(row[f'mean_{side}'])} "
                f"({_signed(row[f'lo_{side}'])} to {_signed(row[f'hi_{side}'])})"
                for side in ("a", "b")
            ),
        )
        for row in found.head(GROUPS).to_dict("records")
    ]
    note = "Mean attribution per sample in logit units, with its 95% interval by user."
    return Table(title, note, ("", *names), tuple(rows))


def _reasons(title: str, found: pd.DataFrame, names: Sequence[str]) -> Table:
    """Reason codes that are given most differently."""
    rows = [
        (
            shortened(_reason(row["code"], row["kind"]), WIDTH),
            *(
                f"{_percent(row[f'share_{side}'])} "
                f"({_between(row[f'lo_{side}'], row[f'hi_{side}'], _percent)})"
                for side in ("a", "b")
            ),
            "yes" if row["significant"] else "no",
        )
        for row in found.head(GROUPS).to_dict("records")
    ]
    asked = [int(found[f"asked_{side}"].max()) if rows else 0 for side in ("a", "b")]
    note = (
        f"Share of samples with the code and its 95% interval, of {asked[0]:,} and {asked[1]:,} "
        "that were asked when the workspace was made."
        if rows
        else "No reason code was asked of these samples."
    )
    return Table(title, note, ("Code", *names, "more than chance"), tuple(rows))


def _reason(code: str, kind: str) -> str:
    """A reason code in words: of which kind of merchant, and what."""
    what = code.replace("-", " ")
    return f"{kind}: {what}" if kind else what


def _shifts(found: CohortComparison, names: Sequence[str]) -> Table:
    rows = [
        (
            row["feature"],
            _number(row["psi"], 3),
            _number(row["chance"], 3),
            "yes" if row["significant"] else "no",
        )
        for row in found.shifts.to_dict("records")
    ]
    note = f"Population stability index between {names[0]} and {names[1]}."
    head = ("", "PSI", "passed once in twenty by chance", "more than chance")
    return Table("How far apart they lie", note, head, tuple(rows))


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}".replace("-", "−") if isfinite(value) else "–"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _percent(value: float) -> str:
    return f"{value:.1%}" if isfinite(value) else "–"


def _between(low: float, high: float, words: Callable[[float], str]) -> str:
    return f"{words(low)} to {words(high)}" if isfinite(low) and isfinite(high) else "–"
