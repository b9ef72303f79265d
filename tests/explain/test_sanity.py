"""Captum's checks: what they are by hand, and that they ask the model what gradients ask it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsf_core.explain.attention import uniform
from lbsf_core.explain.gradient import integrated_gradients
from lbsf_core.explain.sanity import (
    METHODS,
    Vectors,
    infidelities,
    mean_interval,
    sanity,
    sensitivities,
    unexplained,
)
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from tests.builders import random_batch, small_model

MODEL = small_model(random_batch(99, 20))
ONE = random_batch(4, 1, payments=20)
WORTH = np.array([4.0, 2.0, 1.0, -3.0])


def additive(masks: np.ndarray) -> np.ndarray:
    return masks @ WORTH - 1.0


def test_what_adds_up_is_explained_whatever_its_unit() -> None:
    found = unexplained(additive, np.stack([WORTH, 7.0 * WORTH, -WORTH, np.zeros(4)]))
    np.testing.assert_allclose(found, [0, 0, 0, 1], atol=1e-9)


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_equals_the_share_that_a_line_through_0_leaves(seed: int) -> None:
    """1 - (sum of a * d)^2 / (sum of a^2 * sum of d^2), a = values taken out, d = what happened."""
    rng = np.random.default_rng(seed)
    values, table = rng.normal(size=(2, 5)), rng.normal(size=32)
    asked: list[np.ndarray] = []

    def game(masks: np.ndarray) -> np.ndarray:
        asked.append(masks)
        return table[masks @ (1 << np.arange(5))]

    found = unexplained(game, values, sets=30, seed=seed)
    drawn = np.random.default_rng(seed)
    gone = drawn.random((30, 5)) < drawn.random((30, 1))
    change = table[31] - table[~gone @ (1 << np.arange(5))]
    for row, value in zip(values, found, strict=True):
        said = gone @ row
        expected = 1 - (said @ change) ** 2 / ((said @ said) * (change @ change))
        assert value == pytest.approx(expected, abs=1e-9)
    assert max(len(masks) for masks in asked) <= 32  # every coalition once, for all methods


def test_a_logit_that_nothing_moves_says_nothing() -> None:
    assert np.isnan(unexplained(lambda masks: np.full(len(masks), 2.0), np.eye(3))).all()


def test_vectors_are_those_of_integrated_gradients() -> None:
    vectors, gradients = Vectors(MODEL, ONE), integrated_gradients(MODEL, ONE, 1e-5)
    count = len(ONE.merchants)
    ends = vectors.without(np.array([[True] * count, [False] * count]))
    assert ends[0] == pytest.approx(gradients.logits[0], abs=1e-5)
    assert ends[1] == pytest.approx(gradients.baseline_logits[0], abs=1e-5)
    values = np.bincount(ONE.segment_of_payment, gradients.fields.sum(axis=1), minlength=count)
    found = vectors.gradient(vectors.whole)[0].detach().double().numpy()
    np.testing.assert_allclose(found, values, atol=0.02 * np.abs(values).max())
    with torch.no_grad():
        _, attention = MODEL.forward_with_attention(ONE)
        twice = tuple(torch.cat([part, part]) for part in vectors.whole)
        torch.testing.assert_close(vectors.attention(twice), attention.merchants.expand(2, -1))


def test_a_merchant_taken_away_takes_its_own_vectors_alone() -> None:
    """In pieces or at once, and against a batch whose vectors are replaced by hand."""
    vectors, count = Vectors(MODEL, ONE), len(ONE.merchants)
    there = ~np.eye(count, dtype=bool)
    found = vectors.without(there)
    assert np.ptp(found) > 0
    payments, statistics = (part.clone() for part in vectors.whole)
    payments[0, ONE.segment_of_payment == 1] = MODEL.fuse(MODEL.typical).detach()
    statistics[0, 1] = 0.0
    with torch.no_grad():
        assert float(vectors.logits(payments, statistics)[0]) == pytest.approx(found[1], abs=1e-6)


def test_every_method_is_checked_in_both_ways() -> None:
    found = infidelities(MODEL, ONE, seed=3)
    assert found.shape == (2, len(METHODS))
    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_array_equal(infidelities(MODEL, ONE, seed=3), found)
    by_vectors, by_refolding = (dict(zip(METHODS, row, strict=True)) for row in found)
    assert by_vectors["gradient"] < by_vectors["random"]
    assert by_refolding["removal"] < by_refolding["random"]


def test_sensitivity_is_0_where_nothing_can_change() -> None:
    gradient, attention, random = sensitivities(MODEL, ONE, seed=1)
    assert gradient > 0
    assert attention > 0
    assert random > 0.3
    assert sensitivities(uniform(MODEL), ONE)[1] == pytest.approx(0, abs=1e-6)
    assert sensitivities(MODEL, ONE, seed=1)[0] == gradient


def test_mean_and_interval() -> None:
    assert mean_interval([2.0] * 5) == {"mean": 2.0, "lo": 2.0, "hi": 2.0}
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    found = mean_interval(values)
    assert found["mean"] == pytest.approx(values.mean())
    reach = 1.96 * values.std() / 20  # the textbook's interval of a mean
    assert found["lo"] == pytest.approx(values.mean() - reach, abs=0.04)
    assert found["hi"] == pytest.approx(values.mean() + reach, abs=0.04)


def test_a_store_is_checked(tiny_store: Path, tiny_bundle: Path) -> None:
    store, bundle = FoldedStore.open(tiny_store), Bundle.load(tiny_bundle)
    found = sanity(store, bundle, np.arange(3), budget=100)
    assert 1 <= found["infidelity"]["users"] <= 3
    assert found["sensitivity"]["users"] == 3
    for part in ("vectors", "refolding"):
        assert list(found["infidelity"][part]) == list(METHODS)
    told = [*found["infidelity"]["vectors"].values(), *found["sensitivity"]["methods"].values()]
    assert all(0 <= one["lo"] <= one["mean"] <= one["hi"] for one in told)
    nobody = sanity(store, bundle, np.zeros(0, dtype=np.int64))
    assert nobody["infidelity"] == {"users": 0, "vectors": {}, "refolding": {}}
    assert nobody["sensitivity"]["methods"] == {}
