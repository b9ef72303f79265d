"""Removal: a coalition is a refold, values add up, and payments sum to their merchant."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsf_core.config import ModelConfig
from lbsf_core.errors import LbsfError
from lbsf_core.explain import removal, shapley
from lbsf_core.explain.removal import Coalitions, adding_up_to, explain_by_removal
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.lbsf import LBSF
from tests.builders import SMALL, random_batch, small_model

MODEL = small_model(random_batch(99, 30), noise=0.5)
#: Weights drawn at random make single precision lose a few places; double precision shows that
#: nothing else differs.
SINGLE = {"atol": 5e-6, "rtol": 1e-6}
CONFIGS = (
    SMALL,
    replace(SMALL, relation_layers=0),
    replace(SMALL, relation_layers=2, rhythm=False),
    replace(SMALL, levels="none"),
    replace(SMALL, levels="none", rhythm=False),
    replace(SMALL, forecasts=3),
    replace(SMALL, meetings=True),
    replace(SMALL, meetings=True, relation_layers=0),
)


def refolded(model: LBSF, batch: FoldedBatch, masks: np.ndarray) -> np.ndarray:
    """(C,) logits of the payments of some merchants, folded from the start, one by one."""
    segment = batch.segment_of_payment
    with torch.no_grad():
        return np.array([float(model(batch.keep(mask[segment]))[0]) for mask in masks])


def one_user(seed: int, payments: int = 25) -> FoldedBatch:
    return random_batch(seed, 1, payments=payments, days=40)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_coalition_is_a_refold(config: ModelConfig) -> None:
    model = small_model(random_batch(98, 20), config=config, noise=0.5)
    batch = one_user(1)
    rng = np.random.default_rng(0)
    masks = rng.random((30, len(batch.merchants))) < 0.5
    masks[0], masks[1] = False, True
    found = Coalitions(model, batch).logits(masks)
    assert np.ptp(found) > 0.01
    np.testing.assert_allclose(found, refolded(model, batch, masks), **SINGLE)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60))
def test_a_coalition_is_a_refold_for_any_user(seed: int, payments: int) -> None:
    batch = random_batch(seed, 1, payments=payments)
    masks = np.random.default_rng(seed).random((6, len(batch.merchants))) < 0.6
    for model, within in ((MODEL, SINGLE), (copy.deepcopy(MODEL).double(), {"atol": 1e-12})):
        found = Coalitions(model, batch).logits(masks)
        np.testing.assert_allclose(found, refolded(model, batch, masks), **within)


def test_passes_of_any_size_give_the_same(monkeypatch) -> None:
    batch = one_user(2)
    masks = np.random.default_rng(0).random((40, len(batch.merchants))) < 0.5
    whole = Coalitions(MODEL, batch).logits(masks)
    monkeypatch.setattr(removal, "PASS_SEGMENTS", 7)
    np.testing.assert_allclose(Coalitions(MODEL, batch).logits(masks), whole, atol=1e-6)


def test_merchants_get_the_mean_over_every_order_of_refolds() -> None:
    batch = one_user(3, payments=9)
    count = len(batch.merchants)
    assert 3 <= count <= 6
    expected, orders = np.zeros(count), list(permutations(range(count)))
    for order in orders:
        masks = np.array([[m in order[:step] for m in range(count)] for step in range(count + 1)])
        added = np.diff(refolded(MODEL, batch, masks))
        expected[list(order)] += added / len(orders)
    found = Coalitions(MODEL, batch).shapley()
    assert found.exact
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(found.values, expected, atol=1e-6)
    with torch.no_grad():
        assert found.whole == pytest.approx(float(MODEL(batch)[0]), abs=1e-6)
    assert found.values.sum() == pytest.approx(found.whole - found.empty, abs=1e-9)


def test_permuting_merchants_permutes_values() -> None:
    batch = one_user(4)
    order = np.arange(len(batch.merchants))[::-1]
    one = Coalitions(MODEL, batch).shapley()
    other = Coalitions(MODEL, batch.permute_segments(order)).shapley()
    assert one.exact
    np.testing.assert_allclose(other.values, one.values[order], atol=1e-6)


def test_payments_of_an_only_merchant_get_the_mean_over_every_order() -> None:
    times = ("2023-12-01", "2023-12-05", "2023-12-20", "2023-12-30")
    rows = [("m", when, -10.0 * (at + 1), "x") for at, when in enumerate(times)]
    batch = FoldedBatch.from_rows([("u", "2024-01-01", rows)])
    # In double precision: in single, last places that hang on the processor come to 1e-6.
    model = copy.deepcopy(MODEL).double()
    expected, orders = np.zeros(4), list(permutations(range(4)))
    for order in orders:
        kept = [np.isin(np.arange(4), order[:step]) for step in range(5)]
        with torch.no_grad():
            logits = [float(model(batch.keep(mask))[0]) for mask in kept]
        expected[list(order)] += np.diff(logits) / len(orders)
    found = Coalitions(model, batch).payments(0)
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(found.values, expected, atol=1e-6)


def test_payments_sum_to_what_their_merchant_adds_to_its_companies() -> None:
    batch = one_user(5)
    coalitions = Coalitions(MODEL, batch)
    counts = np.diff(batch.offsets)
    segment = int(np.argmax(counts))
    places = shapley.orders(len(counts), removal.COMPANIES // 2, 0)
    before = places < places[:, segment, None]
    after = before.copy()
    after[:, segment] = True
    added = (refolded(MODEL, batch, after) - refolded(MODEL, batch, before)).mean()
    found = coalitions.payments(segment)
    assert len(found.values) == counts[segment]
    assert found.values.sum() == pytest.approx(added, abs=1e-6)
    told = coalitions.payments(segment, value=0.25)
    assert told.values.sum() == pytest.approx(0.25, abs=1e-9)


def test_neighbours_in_time_share_where_there_are_many_payments(monkeypatch) -> None:
    times = ("2023-12-01", "2023-12-05", "2023-12-20", "2023-12-30")
    rows = [("m", when, -10.0 * (at + 1), "x") for at, when in enumerate(times)]
    coalitions = Coalitions(MODEL, FoldedBatch.from_rows([("u", "2024-01-01", rows)]))
    monkeypatch.setattr(removal, "MOST_PLAYERS", 2)
    found = coalitions.payments(0)
    assert found.values[0] == found.values[1] != found.values[2] == found.values[3]
    assert found.values.sum() == pytest.approx(coalitions.shapley().values[0], abs=1e-5)


def test_adding_up_moves_each_by_its_size() -> None:
    found = shapley.Shapley(
        np.array([3.0, -1.0]), np.array([2.0, -2.0]), np.array([4.0, 0.0]), 2.0, 0.0, 4, False
    )
    moved = adding_up_to(found, 2.4)
    np.testing.assert_allclose(moved.values, [3.3, -0.9])
    np.testing.assert_allclose(moved.lo, [2.3, -1.9])
    np.testing.assert_allclose(moved.hi, [4.3, 0.1])
    nothing = replace(found, values=np.zeros(2))
    np.testing.assert_allclose(adding_up_to(nothing, 1.0).values, [0.5, 0.5])


def test_interactions_by_refolding() -> None:
    batch = one_user(6, payments=9)
    count = len(batch.merchants)
    found = Coalitions(MODEL, batch).interactions()
    assert (np.diag(found) == 0).all()
    np.testing.assert_array_equal(found, found.T)
    without = {
        gone: refolded(MODEL, batch, ~np.isin(np.arange(count), gone)[None])[0]
        for gone in [(), *((i,) for i in range(count)), *permutations(range(count), 2)]
    }
    for i, j in permutations(range(count), 2):
        joint = without[()] - without[i, j]
        alone = (without[()] - without[(i,)]) + (without[()] - without[(j,)])
        assert found[i, j] == pytest.approx(alone - joint, abs=2e-6)
    some = Coalitions(MODEL, batch).interactions([2, 0])
    assert some[0, 2] == some[2, 0] == pytest.approx(found[0, 2], abs=1e-6)
    assert np.count_nonzero(some) == 2, "nobody asked for the others"


def test_an_empty_history_has_nobody_to_blame() -> None:
    batch = FoldedBatch.from_rows([("u", "2024-01-01", [])])
    coalitions = Coalitions(MODEL, batch)
    found = coalitions.shapley()
    assert len(found.values) == 0
    with torch.no_grad():
        assert found.whole == found.empty == pytest.approx(float(MODEL(batch)[0]), abs=1e-6)
    assert coalitions.interactions().shape == (0, 0)


def test_wrong_questions_are_refused() -> None:
    with pytest.raises(LbsfError, match="holds 2"):
        Coalitions(MODEL, random_batch(0, 2))
    with pytest.raises(LbsfError, match="merchant 99"):
        Coalitions(MODEL, one_user(1)).payments(99)
    gaps = small_model(random_batch(98, 20), config=replace(SMALL, user_gap=True))
    with pytest.raises(LbsfError, match="user_gap = false"):
        Coalitions(gaps, one_user(1))


def test_an_explanation_says_when_its_first_merchants_are_not_settled(monkeypatch) -> None:
    monkeypatch.setattr(shapley, "EXACT_PLAYERS", 2)
    batch = random_batch(11, 1, payments=60, merchants=8)
    bundle = Bundle(MODEL, {"slope": 1.0, "intercept": 0.0})
    few, many = (explain_by_removal(bundle, batch, budget=b) for b in (10, 6_000))
    assert few.unstable
    assert "Unstable" in few.warnings[0]
    assert few.to_dict()["unstable"] is True
    assert not many.unstable
    assert many.warnings == ()
