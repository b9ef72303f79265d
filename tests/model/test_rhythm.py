"""Rhythm: what is counted, by hand; sums over segments; what is taken out is gone exactly."""

from __future__ import annotations

import numpy as np
import torch

from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.model.lbsf import LBSF
from lbsf_core.model.rhythm import CHANNELS, DAYS, FIGURES, RHYTHM, UserRhythm, segment_rhythm
from tests.builders import SMALL, random_batch

PAID = [
    ("baker", "2024-02-23", -10.0, ""),  # 7 days before the cutoff: a knot
    ("baker", "2024-02-16", -20.0, ""),  # 14 days: a knot
    ("work", "2024-02-23", 100.0, ""),
]
BATCH = FoldedBatch.from_rows([("u", "2024-03-01", PAID)])


def test_hand_computed_counts() -> None:
    found = segment_rhythm(BATCH).reshape(2, CHANNELS, len(DAYS))
    baker = BATCH.merchants.decode().index("baker")
    at = {days: DAYS.index(days) for days in (7, 14)}
    count, size, out, into, there = found[baker]
    assert count[at[7]] == 1 and count[at[14]] == 1 and count.sum() == 2
    assert size[at[14]] == np.log1p(20)
    assert out[at[7]] == 10 and out[at[14]] == 20 and into.sum() == 0
    np.testing.assert_allclose(there[at[7]], 1 - np.exp(-2))
    assert found[1 - baker][3, at[7]] == 100


def test_between_two_knots_a_payment_counts_for_both() -> None:
    batch = FoldedBatch.from_rows([("u", "2024-03-01", [("a", "2024-02-20", -1.0, "")])])
    count = segment_rhythm(batch)[0, : len(DAYS)]
    low, high = np.log1p(7), np.log1p(14)
    np.testing.assert_allclose(count[DAYS.index(14)], (np.log1p(10) - low) / (high - low))
    np.testing.assert_allclose(count.sum(), 1.0)


def test_a_users_figures_do_not_depend_on_how_its_payments_are_folded() -> None:
    """But for the number of merchants, which is what a fold is about."""
    rhythm = UserRhythm(8, 0.0)
    rhythm.fit(random_batch(0, 12))
    apart = [("a", "2024-02-20", -5.0, ""), ("b", "2024-02-20", -7.0, "")]
    together = [("a", "2024-02-20", -5.0, ""), ("a", "2024-02-20", -7.0, "")]

    def figures(rows):
        batch = FoldedBatch.from_rows([("u", "2024-03-01", rows)])
        offsets = torch.from_numpy(batch.user_offsets)
        return rhythm._figures(rhythm.totals(rhythm.scaled(batch), offsets))[0].reshape(-1)

    bins = len(DAYS)
    same = torch.ones(FIGURES, dtype=torch.bool)
    same[3 * bins : 4 * bins] = False  # merchants in each bin
    same[7 * bins : 8 * bins] = False  # merchants up to each bin
    same[-(bins - 1) :] = False  # and how they grow
    torch.testing.assert_close(figures(apart)[same], figures(together)[same], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(figures(apart)[~same], figures(together)[~same])


def test_a_removed_merchant_leaves_no_trace() -> None:
    model = LBSF.fit(SMALL, (), random_batch(0, 12)).eval()
    kept = BATCH.keep(
        np.array([name == "baker" for name in BATCH.merchants.decode()])[BATCH.segment_of_payment]
    )
    alone = FoldedBatch.from_rows([("u", "2024-03-01", PAID[:2])])
    with torch.no_grad():
        torch.testing.assert_close(model(kept), model(alone))


def test_an_empty_history_and_no_payment_at_all_are_defined() -> None:
    empty = FoldedBatch.from_rows([("u", "2024-03-01", [])])
    assert segment_rhythm(empty).shape == (0, RHYTHM)
    model = LBSF.fit(SMALL, (), random_batch(0, 12)).eval()
    with torch.no_grad():
        assert torch.isfinite(model(empty)).all()
