"""Levels: sums by hand; low and high near the extremes; what is taken out is gone exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lbsf_core.config import ModelConfig
from lbsf_core.errors import LbsfError
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.model.fields import signed_log
from lbsf_core.model.lbsf import LBSF
from lbsf_core.model.levels import CHANNELS, FIGURES, PRIOR, SOFTNESS, UserLevels
from lbsf_core.model.recency import DAYS
from lbsf_core.payments.schema import CORE_FIELDS, Field, FieldKind
from tests.builders import SMALL, random_batch

BALANCE = Field("balance", FieldKind.NUMBER)
PAID = [
    ("baker", "2024-02-23", -10.0, ""),  # 7 days before the cutoff: the middle of a bin
    ("baker", "2024-02-16", -20.0, ""),  # 14 days
    ("work", "2024-02-23", 100.0, ""),
]


def batch_of(balances: list[float]) -> FoldedBatch:
    """Balances in the order of `PAID`."""
    batch = FoldedBatch.from_rows([("u", "2024-03-01", PAID)])
    by_amount = dict(zip((-10.0, -20.0, 100.0), balances, strict=True))
    return replace(batch, numbers={"balance": np.array([by_amount[a] for a in batch.amounts])})


def levels_of(scale: float = 1.0) -> UserLevels:
    """Of balances, with known scales: mean 0, deviation `scale` of the signed log."""
    levels = UserLevels([BALANCE], 8, 0.0)
    levels.value_scale.fill_(scale)
    return levels


def figures(levels: UserLevels, batch: FoldedBatch) -> np.ndarray:
    """(B, 6, bins): mean in a bin; up to it mean, log of spread, low, high, share below 0."""
    scaled, offsets = levels.scaled(batch), torch.from_numpy(batch.user_offsets)
    return (
        levels._figures(levels.totals(scaled, offsets))
        .double()
        .numpy()
        .reshape(len(batch), 6, len(DAYS))
    )


def test_hand_computed_sums() -> None:
    batch = batch_of([5.0, -3.0, np.nan])
    found = levels_of().segments(batch).reshape(2, CHANNELS, len(DAYS))
    baker, work = (batch.merchants.decode().index(name) for name in ("baker", "work"))
    five, three = np.log1p(5.0), -np.log1p(3.0)  # the signed log
    week, fortnight = DAYS.index(7), DAYS.index(14)
    known, value, square, low, high, below = found[baker]
    assert known[week] == known[fortnight] == 1 and known.sum() == 2
    np.testing.assert_allclose(value[[week, fortnight]], [five, three])
    np.testing.assert_allclose(square[[week, fortnight]], [five**2, three**2])
    np.testing.assert_allclose(
        low[[week, fortnight]], np.exp([-five / SOFTNESS, -three / SOFTNESS])
    )
    np.testing.assert_allclose(high[[week, fortnight]], np.exp([five / SOFTNESS, three / SOFTNESS]))
    assert below.tolist() == [0.0] * fortnight + [1.0] + [0.0] * (len(DAYS) - fortnight - 1)
    assert not found[work].any()  # a missing value is no value


def test_figures_follow_the_number_through_time() -> None:
    low = figures(levels_of(), batch_of([2.0, -2.0, 2.0]))
    usual = figures(levels_of(), batch_of([2.0, 2.0, 2.0]))
    week, fortnight = DAYS.index(7), DAYS.index(14)
    np.testing.assert_allclose(low[0, :, week], usual[0, :, week], atol=1e-5)  # not yet seen
    mean, spread, lowest, _, below = low[0, 1:, fortnight] - usual[0, 1:, fortnight]
    assert mean < -0.5
    assert spread > 1
    assert lowest < -1
    np.testing.assert_allclose(below, 1 / 3.1, atol=1e-5)  # one of three, and a tenth for caution
    np.testing.assert_allclose(low[0, 1:, -1], low[0, 1:, fortnight], atol=1e-5)  # and it stays


def test_low_and_high_are_smooth_extremes() -> None:
    rows = [("shop", f"2024-02-{day:02}", -1.0, "") for day in range(1, 29)]
    batch = FoldedBatch.from_rows([("u", "2024-03-01", rows)])
    values = np.linspace(-2.0, 2.0, len(rows))  # in deviations of 0.1
    raw = np.sign(values) * np.expm1(np.abs(0.1 * values))
    np.testing.assert_allclose(signed_log(raw), 0.1 * values)
    found = figures(levels_of(0.1), replace(batch, numbers={"balance": raw}))
    high = SOFTNESS * np.log((np.exp(values / SOFTNESS).sum() + PRIOR) / (len(rows) + PRIOR))
    np.testing.assert_allclose(found[0, [3, 4], -1], [-high, high], rtol=1e-4)
    assert 0.8 < high < 2.0  # far from the mean, not beyond the largest
    # One value far away moves the low and hardly the mean.
    raw[-1] = -np.expm1(0.3)
    moved = figures(levels_of(0.1), replace(batch, numbers={"balance": raw}))[0, :, -1]
    assert moved[3] < -high - 0.3
    assert abs(moved[1] - found[0, 1, -1]) < 0.2


def test_without_any_value_figures_are_those_of_nothing_known() -> None:
    found = figures(levels_of(), batch_of([np.nan] * 3))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[0, [0, 1, 3, 4, 5]], 0.0, atol=1e-6)
    empty = FoldedBatch.from_rows([("u", "2024-03-01", [])])
    empty = replace(empty, numbers={"balance": np.zeros(0)})
    assert levels_of().segments(empty).shape == (0, CHANNELS * len(DAYS))
    assert np.isfinite(figures(levels_of(), empty)).all()


def test_figures_do_not_depend_on_how_payments_are_folded() -> None:
    levels = UserLevels([CORE_FIELDS[3]], 8, 0.0)
    assert levels.fields[0].name == "amount"
    levels.fit(random_batch(0, 12))
    apart = [("a", "2024-02-20", -5.0, ""), ("b", "2024-02-21", -7.0, "")]
    together = [("a", "2024-02-20", -5.0, ""), ("a", "2024-02-21", -7.0, "")]
    found = [
        figures(levels, FoldedBatch.from_rows([("u", "2024-03-01", r)])) for r in (apart, together)
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=1e-3)


def test_a_removed_merchant_leaves_no_trace() -> None:
    train = random_batch(0, 12)
    rng = np.random.default_rng(0)
    train = replace(train, numbers={"balance": rng.normal(0, 1e3, len(train.amounts))})
    model = LBSF.fit(replace(SMALL, levels="all"), (BALANCE,), train).eval()
    batch = batch_of([5.0, -3.0, 90.0])
    of_baker = np.array([name == "baker" for name in batch.merchants.decode()])
    kept = batch.keep(of_baker[batch.segment_of_payment])
    alone = FoldedBatch.from_rows([("u", "2024-03-01", PAID[:2])])
    by_amount = {-10.0: 5.0, -20.0: -3.0}
    alone = replace(alone, numbers={"balance": np.array([by_amount[a] for a in alone.amounts])})
    with torch.no_grad():
        torch.testing.assert_close(model(kept), model(alone))
        assert not torch.allclose(model(kept), model(batch))


@pytest.mark.parametrize(
    ("levels", "numbers"), [("all", ["amount", "balance"]), ("extra", ["balance"]), ("none", [])]
)
def test_the_setting_says_which_numbers_take_part(levels: str, numbers: list[str]) -> None:
    train = random_batch(0, 12)
    train = replace(train, numbers={"balance": np.zeros(len(train.amounts))})
    model = LBSF.fit(replace(SMALL, levels=levels), (BALANCE,), train)
    assert [f.name for f in model.levels.fields] == numbers if numbers else model.levels is None
    if numbers:
        assert model.levels.mean.shape == (FIGURES * len(numbers),)
    assert torch.isfinite(model.eval()(train)).all()


def test_unknown_levels_are_refused() -> None:
    with pytest.raises(LbsfError, match="levels is 'some'; choose 'all', 'extra' or 'none'"):
        ModelConfig(levels="some")
