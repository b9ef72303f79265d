"""How far gradients and removal tell different stories: by hand, and against a true refold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsf_core.explain import disagreement as module
from lbsf_core.explain.disagreement import disagreement, removed
from tests.builders import SMALL, random_batch, small_model

MODEL = small_model(random_batch(99, 30), noise=0.5)


def one(attributions: list[float], removal: list[float]) -> float:
    number = np.zeros(len(attributions), dtype=np.int64)
    return float(disagreement(np.array(attributions), np.array(removal), number, 1)[0])


def test_by_hand() -> None:
    assert one([1.0, -3.0], [0.1, -0.3]) == pytest.approx(0.0)  # the scale does not count
    assert one([1.0, 0.0], [0.0, 2.0]) == pytest.approx(1.0)  # nothing in common
    assert one([1.0], [-1.0]) == pytest.approx(1.0)  # a reason here, a protection there
    assert one([3.0, 1.0], [1.0, 1.0]) == pytest.approx(0.25)  # 3/4, 1/4 against 1/2, 1/2
    # A merchant that was not taken out is left out of both.
    assert one([1.0, 1.0, 9.0], [2.0, 2.0, np.nan]) == pytest.approx(0.0)
    assert np.isnan(one([1.0], [np.nan]))
    assert np.isnan(one([0.0], [1.0]))


def test_samples_are_kept_apart_and_one_without_a_merchant_has_no_number() -> None:
    found = disagreement(
        np.array([1.0, 1.0, 2.0]), np.array([1.0, -1.0, 5.0]), np.array([0, 0, 2]), 3
    )
    np.testing.assert_allclose(found, [0.5, np.nan, 0.0])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 9))
def test_a_removal_is_a_refold(seed: int, users: int, most: int) -> None:
    batch = random_batch(seed, users, payments=25)
    strength = np.random.default_rng(seed).normal(size=len(batch.merchants))
    found = removed(MODEL, batch, strength, most)
    with torch.no_grad():
        whole = MODEL(batch).numpy()
        for at, value in enumerate(found):
            user = batch.sample_of_segment[at]
            own = np.flatnonzero(batch.sample_of_segment == user)
            place = (np.abs(strength[own]) > abs(strength[at])).sum()
            assert np.isfinite(value) == (place < most)
            if np.isfinite(value):
                rest = MODEL(batch.keep(batch.segment_of_payment != at)).numpy()
                assert value == pytest.approx(whole[user] - rest[user], abs=1e-5)


def test_passes_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = random_batch(5, 8)
    strength = np.ones(len(batch.merchants))
    whole = removed(MODEL, batch, strength)
    assert np.ptp(whole) > 0.01
    monkeypatch.setattr(module, "PASS_SEGMENTS", 5)
    np.testing.assert_allclose(removed(MODEL, batch, strength), whole, atol=1e-5)


def test_a_model_that_needs_every_merchant_gives_no_number() -> None:
    config = replace(SMALL, user_gap=True)
    model = small_model(random_batch(98, 20), config=config, noise=0.5)
    batch = random_batch(5, 3)
    assert np.isnan(removed(model, batch, np.ones(len(batch.merchants)))).all()
