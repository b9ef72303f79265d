"""What can be said of some payments: facts with figures, and the payments that they cite.

A fact is counted from the payments alone; whether it has to do with the score is for `reasons.py`
to prove. "A month" is a twelfth of 365.25 days. "Before" is the history before the last `days`,
back to the user's oldest payment, and there are facts on it only where it is `LEAST_BEFORE` long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

MONTH = 365.25 / 12
#: Days that "before" must be long, to be compared with.
LEAST_BEFORE = 30.0
#: Payments a month that a rate must change by; of less, one would say neither "rose" nor "stayed".
LEAST_CHANGE = 0.5
#: Payments that a typical amount or a typical gap needs.
LEAST_TYPICAL = 3
#: Days without a payment that are a stop, and how many typical gaps that must be.
LEAST_STOP, STOP_GAPS = 45.0, 2.5


@dataclass(frozen=True)
class Group:
    """n payments that something is said of, oldest first.

    Attributes:
        rows: (n,) in the batch.
        ages: (n,) days before the cutoff, above 0.
        amounts: (n,) signed.
        numbers: field name -> (n,) extra numbers.
        span: age in days of the user's oldest payment, whoever got it.
        then: (m,) rows and ages of the payments that may follow these (see `followed`).
    """

    rows: Ints
    ages: Floats
    amounts: Floats
    span: float
    numbers: Mapping[str, Floats] = field(default_factory=dict)
    then: tuple[Ints, Floats] | None = None


@dataclass(frozen=True)
class Options:
    """How a code asks: see `catalogue/reasons.toml`."""

    days: float = 90.0
    ratio: float = 1.5
    field: str = ""
    within: float = 2.0
    least: int = LEAST_TYPICAL


@dataclass(frozen=True)
class Fact:
    """Figures by name, and the rows of the payments they were counted from."""

    figures: dict[str, float]
    rows: Ints


Find = Callable[[Group, Options], Fact | None]


@dataclass(frozen=True)
class Factor:
    """One way to look at payments.

    Attributes:
        direction: the word of the catalogue's languages that says which way.
        window: the figure that says when; every template must have it.
        figures: what a template must say besides.
        more: figures that it may say.
        find: counts.
    """

    direction: str
    window: str
    figures: tuple[str, ...]
    find: Find
    more: tuple[str, ...] = ()


def _recent(group: Group, options: Options) -> Mask:
    return group.ages <= options.days


def _rates(group: Group, options: Options) -> tuple[Mask, float, float] | None:
    """(which are recent, payments a month before, recently); None without a before."""
    before = group.span - options.days
    if before < LEAST_BEFORE:
        return None
    recent = _recent(group, options)
    count = int(recent.sum())
    rate_before = (len(recent) - count) / before * MONTH
    return recent, rate_before, count / options.days * MONTH


def _month(amounts: Floats, days: float) -> float:
    """Money a month, whichever way it goes."""
    return abs(float(amounts.sum())) / days * MONTH


def _changed(group: Group, options: Options) -> int | None:
    """1 = payments a month rose, -1 = fell, 0 = about as many; None where it can't be said."""
    rates = _rates(group, options)
    if rates is None:
        return None
    _, before, recent = rates
    way = int(recent >= options.ratio * before) - int(before >= options.ratio * recent)
    return None if way and abs(recent - before) < LEAST_CHANGE else way


def _rate_facts(group: Group, options: Options) -> dict[str, float]:
    rates = _rates(group, options)
    assert rates is not None  # noqa: S101 - asked of groups that can be compared
    recent, before_rate, recent_rate = rates
    return {
        "before": before_rate,
        "recent": recent_rate,
        "money_before": _month(group.amounts[~recent], group.span - options.days),
        "money_recent": _month(group.amounts[recent], options.days),
        "days": options.days,
    }


def rose(group: Group, options: Options) -> Fact | None:
    """More payments a month in the last `days` than before; cites those."""
    recent = _recent(group, options)
    if _changed(group, options) != 1 or recent.all() or recent.sum() < LEAST_TYPICAL:
        return None
    return Fact(_rate_facts(group, options), group.rows[recent])


def fell(group: Group, options: Options) -> Fact | None:
    """Fewer payments a month in the last `days` than before; cites those before."""
    recent = _recent(group, options)
    if _changed(group, options) != -1 or not recent.any() or (~recent).sum() < LEAST_TYPICAL:
        return None
    return Fact(_rate_facts(group, options), group.rows[~recent])


def stayed(group: Group, options: Options) -> Fact | None:
    """About as many payments a month in the last `days` as before; cites those of both times."""
    recent = _recent(group, options)
    if _changed(group, options) != 0 or min(recent.sum(), (~recent).sum()) < 2:
        return None
    return Fact(_rate_facts(group, options), group.rows)


def money_rose(group: Group, options: Options) -> Fact | None:
    """As many payments as before, but more money a month in the last `days`; cites those."""
    if stayed(group, options) is None:
        return None
    figures, recent = _rate_facts(group, options), _recent(group, options)
    if figures["money_recent"] < options.ratio * max(figures["money_before"], 1e-9):
        return None
    return Fact(figures, group.rows[recent])


def amounts_grew(group: Group, options: Options) -> Fact | None:
    """The typical (median) payment of the last `days` is larger than before; cites those."""
    return _amounts(group, options, 1.0)


def amounts_shrank(group: Group, options: Options) -> Fact | None:
    """The typical (median) payment of the last `days` is smaller than before; cites those."""
    return _amounts(group, options, -1.0)


def _amounts(group: Group, options: Options, way: float) -> Fact | None:
    recent = _recent(group, options)
    if min(recent.sum(), (~recent).sum()) < LEAST_TYPICAL:
        return None
    before, now = (float(np.median(np.abs(group.amounts[m]))) for m in (~recent, recent))
    if min(before, now) <= 0 or (now / before) ** way < options.ratio:
        return None
    figures = {"typical_before": before, "typical_recent": now, "days": options.days}
    return Fact(figures, group.rows[recent])


def began(group: Group, options: Options) -> Fact | None:
    """The first payment of the history lies in the last `days`; cites all, two or more."""
    new = len(group.rows) >= 2 and _recent(group, options).all()
    if not new or group.span - options.days < LEAST_BEFORE:
        return None
    return Fact(
        {"since": float(group.ages[0]), "count": float(len(group.rows))} | _total(group), group.rows
    )


def _total(group: Group) -> dict[str, float]:
    return {"total": abs(float(group.amounts.sum()))}


def stopped(group: Group, options: Options) -> Fact | None:
    """Payments came again and again, and none any more; cites those before the stop."""
    gap = float(group.ages[-1])
    if gap < LEAST_STOP or len(group.rows) < options.least:
        return None
    days = np.unique(np.floor(group.ages))[::-1]  # several on one day have no gap
    if len(days) < options.least:
        return None
    typical = float(np.median(-np.diff(days)))
    if gap < max(LEAST_STOP, STOP_GAPS * typical):
        return None
    before = len(group.rows) / max(group.span - gap, MONTH) * MONTH
    return Fact({"gap": gap, "before": before, "count": float(len(group.rows))}, group.rows)


def irregular(group: Group, options: Options) -> Fact | None:
    """The days between payments vary by more than their median; cites all."""
    if len(group.rows) < LEAST_TYPICAL + 2 or group.span < LEAST_BEFORE:  # no gap is so long
        return None
    days = np.unique(np.floor(group.ages))[::-1]
    if len(days) < LEAST_TYPICAL + 2:
        return None
    gaps = -np.diff(days)
    typical = float(np.median(gaps))
    if gaps.std() < typical or gaps.max() < LEAST_BEFORE:
        return None
    figures = {"shortest": float(gaps.min()), "longest": float(gaps.max()), "typical": typical}
    return Fact(figures | {"span": float(group.ages[0])}, group.rows)


def once(group: Group, options: Options) -> Fact | None:
    """A single payment; cites it."""
    if len(group.rows) != 1:
        return None
    return Fact(_total(group) | {"last": float(group.ages[-1])}, group.rows)


def came(group: Group, options: Options) -> Fact | None:
    """How many and how much since the first one; cites all, two or more."""
    if len(group.rows) < 2:
        return None
    figures = {"count": float(len(group.rows)), "since": float(group.ages[0])}
    return Fact(figures | {"last": float(group.ages[-1])} | _total(group), group.rows)


def followed(group: Group, options: Options) -> Fact | None:
    """Others follow at least half of the last payments, and twice or more; cites both."""
    if group.then is None:
        return None
    rows, ages = group.then
    gaps = group.ages[:, None] - ages  # (n, m) days from the first to the second
    recent = _recent(group, options)
    meet = (gaps >= 0) & (gaps <= options.within) & recent[:, None]
    times = int(meet.any(axis=1).sum())
    if times < 2 or 2 * times < recent.sum():
        return None
    cited = np.concatenate([group.rows[meet.any(axis=1)], rows[meet.any(axis=0)]])
    return Fact(
        {"times": float(times), "within": options.within, "days": options.days}, np.sort(cited)
    )


def below_zero(group: Group, options: Options) -> Fact | None:
    """A number, such as a balance, was below zero in the last `days`; cites those payments."""
    values = group.numbers.get(options.field)
    if values is None:
        return None
    recent = _recent(group, options)
    below = recent & (np.nan_to_num(values) < 0)
    if not below.any():
        return None
    figures = {"count": float(below.sum()), "of": float(recent.sum())}
    figures |= {"lowest": float(values[below].min()), "days": options.days}
    return Fact(figures, group.rows[below])


def lowest_fell(group: Group, options: Options) -> Fact | None:
    """The lowest of a number in the last `days` is below any before; cites the payments there."""
    values = group.numbers.get(options.field)
    if values is None or group.span - options.days < LEAST_BEFORE:
        return None
    known, recent = np.isfinite(values), _recent(group, options)
    if not (known & recent).any() or not (known & ~recent).any():
        return None
    before, now = (float(values[known & m].min()) for m in (~recent, recent))
    if before <= 0 or now * options.ratio > before:
        return None
    cited = recent & known & (np.nan_to_num(values) < before)
    figures = {"lowest_before": before, "lowest": now, "days": options.days}
    return Fact(figures, group.rows[cited])


_RATES = ("money_before", "money_recent")
FACTORS: dict[str, Factor] = {
    "rose": Factor("rose", "days", ("before", "recent"), rose, _RATES),
    "fell": Factor("fell", "days", ("before", "recent"), fell, _RATES),
    "stayed": Factor("stayed", "days", ("before", "recent"), stayed, _RATES),
    "money_rose": Factor("rose", "days", _RATES, money_rose, ("before", "recent")),
    "amounts_grew": Factor("rose", "days", ("typical_before", "typical_recent"), amounts_grew),
    "amounts_shrank": Factor("fell", "days", ("typical_before", "typical_recent"), amounts_shrank),
    "began": Factor("began", "since", ("count",), began, ("total",)),
    "stopped": Factor("stopped", "gap", ("before",), stopped, ("count",)),
    "irregular": Factor("irregular", "span", ("shortest", "longest"), irregular, ("typical",)),
    "came": Factor("came", "since", ("count",), came, ("total", "last")),
    "once": Factor("once", "last", ("total",), once),
    "followed": Factor("followed", "days", ("times", "within"), followed),
    "below_zero": Factor("below", "days", ("count", "lowest"), below_zero, ("of",)),
    "lowest_fell": Factor("fell", "days", ("lowest_before", "lowest"), lowest_fell),
}
