"""Facts: every figure by hand, and the payments that it was counted from."""

from __future__ import annotations

import numpy as np
import pytest

from lbsf_core.explain.factors import FACTORS, MONTH, Fact, Group, Options


def group(
    ages: list[float],
    amounts: list[float] | None = None,
    *,
    span: float = 180.0,
    balance: list[float] | None = None,
    then: list[float] | None = None,
) -> Group:
    """Payments of these ages, oldest first; rows count from 10, those that follow from 100."""
    count = len(ages)
    assert ages == sorted(ages, reverse=True)
    return Group(
        rows=np.arange(10, 10 + count),
        ages=np.array(ages),
        amounts=np.array(amounts or [-10.0] * count),
        span=span,
        numbers={} if balance is None else {"balance": np.array(balance)},
        then=None if then is None else (np.arange(100, 100 + len(then)), np.array(then)),
    )


def find(name: str, payments: Group, **options: object) -> Fact | None:
    return FACTORS[name].find(payments, Options(**options))  # type: ignore[arg-type]


def check(fact: Fact | None, rows: list[int], **figures: float) -> None:
    assert fact is not None
    assert fact.rows.tolist() == rows
    assert fact.figures == pytest.approx(figures)


def holds(payments: Group) -> set[str]:
    return {name for name in FACTORS if find(name, payments, field="balance") is not None}


def test_payments_a_month_rose() -> None:
    # 90 days before the last 90: one payment, then six of 20.
    payments = group([150, 80, 70, 60, 50, 40, 5], [-10.0] + [-20.0] * 6)
    check(
        find("rose", payments),
        [11, 12, 13, 14, 15, 16],
        before=MONTH / 90,
        recent=6 * MONTH / 90,
        money_before=10 * MONTH / 90,
        money_recent=120 * MONTH / 90,
        days=90,
    )
    assert holds(payments) == {"rose", "came", "irregular"}  # 5 to 70 days between


def test_payments_a_month_fell() -> None:
    payments = group([170, 150, 130, 110, 100, 95, 20])
    fact = find("fell", payments)
    assert fact is not None
    assert fact.rows.tolist() == [10, 11, 12, 13, 14, 15]  # what it fell from
    assert fact.figures["before"] == pytest.approx(6 * MONTH / 90)
    assert fact.figures["recent"] == pytest.approx(MONTH / 90)
    assert holds(payments) == {"fell", "came", "irregular"}


def test_a_change_must_be_large_and_have_a_before() -> None:
    assert holds(group([170, 140, 110, 80, 50, 20])) == {"stayed", "came"}
    check(
        find("stayed", group([170, 140, 110, 80, 50, 20])),
        [10, 11, 12, 13, 14, 15],
        before=MONTH / 30,
        recent=MONTH / 30,
        money_before=10 * MONTH / 30,
        money_recent=10 * MONTH / 30,
        days=90,
    )
    # Twice as many, yet less than half a payment a month more: neither rose nor stayed.
    assert holds(group([100, 80, 20])) == {"came"}
    # The user's whole history is 110 days: 20 days are no "before".
    assert holds(group([100, 80, 70, 60, 40], span=110)) == {"came"}
    assert find("rose", group([150, 80, 70, 60]), ratio=4.0) is None


def test_money_and_typical_amounts() -> None:
    payments = group([170, 140, 110, 80, 50, 20], [-10.0, -12.0, -11.0, -40.0, -30.0, -20.0])
    assert holds(payments) == {"stayed", "came", "money_rose", "amounts_grew"}
    check(
        find("amounts_grew", payments), [13, 14, 15], typical_before=11, typical_recent=30, days=90
    )
    fact = find("money_rose", payments)
    assert fact is not None
    assert fact.rows.tolist() == [13, 14, 15]
    assert fact.figures["money_before"] == pytest.approx(33 * MONTH / 90)
    assert fact.figures["money_recent"] == pytest.approx(90 * MONTH / 90)
    less = group([170, 140, 110, 80, 50, 20], [30.0, 30.0, 30.0, 20.0, 20.0, 10.0])
    check(find("amounts_shrank", less), [13, 14, 15], typical_before=30, typical_recent=20, days=90)
    assert find("amounts_grew", less) is None
    nothing = group([170, 140, 110, 80, 50, 20], [0.0] * 6)
    assert holds(nothing) == {"stayed", "came"}


def test_began_stopped_once_and_came() -> None:
    new = group([40, 30, 1], [-5.0, 2.0, -7.0])
    check(find("began", new), [10, 11, 12], since=40, count=3, total=10)
    check(find("came", new), [10, 11, 12], since=40, last=1, count=3, total=10)
    assert find("began", group([40, 30, 1], span=110)) is None
    gone = group([170, 140, 110])
    check(find("stopped", gone), [10, 11, 12], gap=110, before=3 / 70 * MONTH, count=3)
    assert find("stopped", group([170, 110, 50])) is None  # one gap of 60: 50 is no stop
    assert find("stopped", group([60, 50, 44])) is None
    assert find("stopped", group([90.9, 90.5, 80])) is None  # two days only
    assert find("stopped", group([90.9, 90.5, 80]), least=2) is not None
    check(find("once", group([12], [-8.0])), [10], total=8, last=12)
    assert holds(group([12], [-8.0])) == {"once"}


def test_irregular_gaps() -> None:
    payments = group([170, 169, 168, 100, 99, 98])
    check(
        find("irregular", payments),
        list(range(10, 16)),
        shortest=1,
        longest=68,
        typical=1,
        span=170,
    )
    assert find("irregular", group([150, 120, 90, 60, 30])) is None


def test_followed_within_days() -> None:
    payments = group([80, 60, 40, 20], then=[79.5, 58, 30, 19, 10])
    # 80 -> 79.5, 60 -> 58 and 20 -> 19; 40 -> 30 is too long.
    check(find("followed", payments), [10, 11, 13, 100, 101, 103], times=3, within=2, days=90)
    assert find("followed", group([80, 60, 40, 20, 10], then=[79, 59])) is None  # 2 of 5
    assert find("followed", group([80, 60], then=[81, 61])) is None  # before, not after


def test_numbers_below_zero_and_lower_than_before() -> None:
    payments = group([170, 120, 80, 40, 10], balance=[500, 300, -20, 100, -50])
    check(
        find("below_zero", payments, field="balance"), [12, 14], count=2, of=3, lowest=-50, days=90
    )
    check(
        find("lowest_fell", payments, field="balance"),
        [12, 13, 14],
        lowest_before=300,
        lowest=-50,
        days=90,
    )
    missing = group([170, 120, 80, 40], balance=[np.nan, np.nan, np.nan, np.nan])
    assert holds(missing) == holds(group([170, 120, 80, 40]))
    assert find("lowest_fell", group([170, 40], balance=[300, 250]), field="balance") is None
    assert find("below_zero", payments, field="other") is None


def test_every_factor_counts_what_it_declares() -> None:
    rising = group(
        [150, 80, 70, 60, 50, 40, 5], balance=[9, -1, 2, 3, 4, 5, 6], then=[79, 69, 59, 49]
    )
    others = (
        rising,
        group([170, 150, 130, 110, 20]),
        group([170, 140, 110, 80, 50, 20], [-1.0, -1.0, -1.0, -3.0, -3.0, -3.0]),
        group([170, 140, 110, 80, 50, 20], [-3.0, -3.0, -3.0, -1.0, -1.0, -1.0]),
        group([170, 169, 168, 100, 99, 98]),
        group([3, 2]),
        group([3]),
    )
    for name, factor in FACTORS.items():
        facts = [f for f in (find(name, g, field="balance") for g in others) if f is not None]
        assert facts, name
        for fact in facts:
            assert set(fact.figures) == {factor.window, *factor.figures, *factor.more}
            assert len(fact.rows) == len(set(fact.rows.tolist())) > 0
