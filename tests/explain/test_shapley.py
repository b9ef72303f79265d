"""Shapley values: games known by hand, every order by brute force, shap's own exact explainer."""

from __future__ import annotations

import warnings
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsf_core.explain import shapley as module
from lbsf_core.explain.shapley import Masks, Shapley, orders, shapley, unstable


def random_game(players: int, seed: int):
    """A worth drawn for each coalition, and by its number."""
    worth = np.random.default_rng(seed).normal(size=1 << players)

    def game(masks: Masks) -> np.ndarray:
        return worth[(masks * (1 << np.arange(players))).sum(axis=1)]

    return game


def by_every_order(game, players: int) -> np.ndarray:
    values, count = np.zeros(players), 0
    for order in permutations(range(players)):
        mask, before, count = np.zeros(players, dtype=bool), None, count + 1
        before = game(mask[None])[0]
        for player in order:
            mask[player] = True
            after = game(mask[None])[0]
            values[player] += after - before
            before = after
    return values / count


def test_gloves_by_hand() -> None:
    """One left glove, two right ones: a pair is worth 1 (the textbook's 2/3, 1/6, 1/6)."""
    found = shapley(lambda m: (m[:, 0] & (m[:, 1] | m[:, 2])).astype(float), 3)
    np.testing.assert_allclose(found.values, [2 / 3, 1 / 6, 1 / 6])
    assert found.exact
    assert found.coalitions == 8
    assert (found.lo == found.values).all()
    assert (found.hi == found.values).all()


@pytest.mark.parametrize("players", [1, 2, 6])
def test_exact_is_the_mean_over_every_order(players: int) -> None:
    game = random_game(players, players)
    found = shapley(game, players)
    np.testing.assert_allclose(found.values, by_every_order(game, players), atol=1e-9)
    assert found.values.sum() == pytest.approx(found.whole - found.empty)


def test_exact_equals_shaps_exact_explainer() -> None:
    with warnings.catch_warnings():  # its plots use what matplotlib will drop
        warnings.simplefilter("ignore")
        import shap
    game = random_game(8, 3)
    masker = shap.maskers.Independent(np.zeros((1, 8)))
    theirs = shap.explainers.Exact(lambda x: game(x > 0.5), masker)(np.ones((1, 8)))
    np.testing.assert_allclose(shapley(game, 8).values, theirs.values[0], atol=1e-9)


def test_nobody_plays() -> None:
    found = shapley(lambda m: np.full(len(m), 0.7), 0)
    assert len(found.values) == 0
    assert found.whole == found.empty == 0.7


def test_every_order_is_followed_by_its_reverse() -> None:
    places = orders(5, 3, seed=0)
    assert places.shape == (6, 5)
    np.testing.assert_array_equal(np.sort(places, axis=1), np.tile(np.arange(5), (6, 1)))
    np.testing.assert_array_equal(places[::2] + places[1::2], 4)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_drawn_orders_add_up_and_find_what_is_additive(seed: int) -> None:
    """Without interactions every order gives the same: no noise, and a width of 0."""
    worth = np.random.default_rng(seed).normal(size=20)
    found = shapley(lambda m: m @ worth - 3.0, 20, budget=100, seed=seed)
    assert not found.exact
    np.testing.assert_allclose(found.values, worth, atol=1e-9)
    np.testing.assert_allclose(found.hi - found.lo, 0, atol=1e-9)
    assert found.whole - found.empty == pytest.approx(worth.sum())


def test_intervals_of_drawn_orders_cover_the_exact_value(monkeypatch) -> None:
    """Pairs interact, so that orders differ: 95 % intervals cover about 95 % of exact values."""
    covered = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        pairs, worth = rng.normal(size=(8, 8)), rng.normal(size=8)

        def game(masks: Masks, pairs=pairs, worth=worth) -> np.ndarray:
            m = masks.astype(float)
            both = np.einsum("ci,ij,cj->c", m, pairs, m)
            return np.tanh(both / 4) * 3 + m @ worth

        exact = shapley(game, 8).values
        monkeypatch.setattr(module, "EXACT_PLAYERS", 4)
        drawn = shapley(game, 8, budget=300, seed=seed)
        monkeypatch.undo()
        assert drawn.values.sum() == pytest.approx(drawn.whole - drawn.empty)
        assert np.ptp(drawn.hi - drawn.lo) > 0
        covered += list((drawn.lo <= exact) & (exact <= drawn.hi))
    assert 0.9 <= np.mean(covered) <= 0.99


def test_a_player_that_adds_nothing_gets_nothing() -> None:
    for players in (6, 14):
        found = shapley(lambda m: np.sin(m[:, 1:].sum(axis=1)), players, budget=200)
        assert abs(found.values[0]) <= 1e-12


def drawn(values: list[float], reach: float, exact: bool = False) -> Shapley:
    mid = np.array(values)
    return Shapley(mid, mid - reach, mid + reach, 1.0, 0.0, 10, exact)


def test_unstable_by_hand() -> None:
    """Of 9, 7, -5, 4 | 3, 1 the last of four and the next are 1 apart: 2 * 1.25 * .4."""
    values = [9.0, 3.0, -5.0, 4.0, 1.0, 7.0]
    assert not unstable(drawn(values, 0.39))
    assert unstable(drawn(values, 0.41))
    assert not unstable(drawn(values, 0.79), top=1)
    assert unstable(drawn(values, 0.81), top=1)
    assert not unstable(drawn(values, 0.41, exact=True))


def test_unstable_knows_what_an_interval_around_0_and_a_wide_one_mean() -> None:
    """The size of what may be 0 is anything from 0; and the sixth may be first as well."""
    assert unstable(drawn([9.0, 0.1, 0.01], 0.2), top=2)
    wide = drawn([9.0, 7.0, 5.0, 4.0, 3.0, 1.0], 0.1)
    wide.hi[5] = 4.5
    assert unstable(wide)
    assert not unstable(drawn([9.0, 7.0, 5.0, 4.0], 5.0))  # nobody else is there


def test_what_is_not_flagged_does_not_change(monkeypatch) -> None:
    """Games of like players: where the flag is not raised, other orders name the same."""
    monkeypatch.setattr(module, "EXACT_PLAYERS", 4)
    same, flagged = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        pairs, worth = 0.4 * rng.normal(size=(9, 9)), rng.normal(size=9)

        def game(masks: Masks, pairs=pairs, worth=worth) -> np.ndarray:
            m = masks.astype(float)
            return np.tanh((m @ worth + np.einsum("ci,ij,cj->c", m, pairs, m)) / 2)

        runs = [shapley(game, 9, budget=2000, seed=s) for s in range(5)]
        firsts = {frozenset(np.argsort(-np.abs(run.values))[:4].tolist()) for run in runs}
        same.append(len(firsts) == 1)
        flagged.append(unstable(runs[0]))
    settled = ~np.array(flagged)
    assert 10 <= settled.sum() < 60  # both are there
    assert np.mean(np.array(same)[settled]) >= 0.95
    assert np.mean(np.array(same)[~settled]) < 0.9
