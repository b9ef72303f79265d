"""Numbers, dates and money look the same everywhere."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import pytest

from dashboard.components import formats


def test_shares():
    assert formats.percent(0.1234) == "12.3%"
    assert formats.percent(0.0004) == "< 0.1%"
    assert formats.percent(0.0) == "0.0%"
    assert formats.percent(float("nan")) == formats.MISSING
    assert formats.percent(None) == formats.MISSING


@pytest.mark.parametrize("value", [-0.0, -0.004])
def test_nothing_has_no_sign(value: float):
    """What nobody paid adds up to -0.0."""
    assert formats.money(value, "EUR") == "0.00 EUR"
    assert formats.amount(value, "EUR") == "0.00 EUR"
    assert formats.number(value, 2) == "0.00"
    assert formats.number(-0.006, 2) == "−0.01"


def test_money():
    assert formats.money(1234.5, "EUR") == "1,234.50 EUR"
    assert formats.money(-0.1, "CZK") == "−0.10 CZK"
    assert formats.amount(12345.6, "") == "12,346"
    assert formats.amount(9000.5, "") == "9,000.50"


def test_effects_carry_their_sign():
    assert formats.effect(0.4123) == "+0.412"
    assert formats.effect(-0.03) == "−0.030"


def test_times_show_the_hour_only_where_it_says_something():
    assert formats.instant(datetime(2024, 3, 31, tzinfo=UTC)) == "2024-03-31"
    assert formats.instant(datetime(2024, 3, 31, 14, 5, tzinfo=UTC)) == "2024-03-31 14:05"
    assert formats.day(pd.NaT) == formats.MISSING


def test_words():
    assert formats.plural(1, "payment") == "1 payment"
    assert formats.plural(2000, "payment") == "2,000 payments"
    assert formats.interval(0.1, float("nan")) == "no interval"
    assert formats.listing(["a", "", "b"]) == "a · b"
