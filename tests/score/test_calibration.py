"""Calibration: monotone, never a certainty, honest where there is nothing to learn from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsf_core.errors import LbsfError
from lbsf_core.score.calibration import FLOOR, Calibration, fit_calibration

finite = st.floats(-1e308, 1e308, allow_nan=False)


@settings(max_examples=50, deadline=None)
@given(st.lists(finite, min_size=1), st.floats(0.06, 20), st.floats(-20, 20))
def test_pd_is_monotone_and_never_0_or_1(logits, slope: float, intercept: float) -> None:
    ordered = np.sort(np.array(logits))
    with np.errstate(over="ignore"):
        found = Calibration(slope, intercept).pd(ordered)
    assert (np.diff(found) >= 0).all()
    assert (found >= FLOOR).all()
    assert (found <= 1 - FLOOR).all()


def test_pd_by_hand_and_back() -> None:
    calibration = Calibration(2.0, -1.0)
    assert calibration.pd(0.5) == pytest.approx(0.5)
    assert calibration.pd(np.log(3) / 2 + 0.5) == pytest.approx(0.75)
    assert Calibration().pd([[0.0], [-800.0], [800.0]]).tolist() == [[0.5], [1e-5], [1 - 1e-5]]
    logits = np.linspace(-3, 4, 9)
    np.testing.assert_allclose(calibration.logit(calibration.pd(logits)), logits)
    assert Calibration(**calibration.to_dict()) == calibration


def test_fit_finds_the_line_that_made_the_labels() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 20_000)
    labels = (rng.random(20_000) < 1 / (1 + np.exp(-(0.5 * logits - 1.0)))).astype(float)
    found = fit_calibration(logits, labels)
    assert found.slope == pytest.approx(0.5, abs=0.03)
    assert found.intercept == pytest.approx(-1.0, abs=0.05)
    assert found.pd(logits).mean() == pytest.approx(labels.mean(), abs=1e-3)


@pytest.mark.parametrize(
    ("labels", "rate"), [(np.zeros(8), 0.1), (np.ones(8), 0.9), (np.zeros(0), 0.5)]
)
def test_one_class_meets_the_smoothed_rate(labels, rate: float) -> None:
    logits = np.linspace(3, 5, len(labels)) if len(labels) else np.zeros(0)
    found = fit_calibration(logits, labels)
    assert found.slope == 1.0
    assert found.pd(4.0 if len(labels) else 0.0) == pytest.approx(rate)  # 1 of 10, 9 of 10


def test_a_ranking_turned_round_is_not_turned_back() -> None:
    logits, labels = np.array([-2.0, -1.0, 1.0, 2.0]), np.array([1.0, 1.0, 0.0, 0.0])
    found = fit_calibration(logits, labels)
    assert found == Calibration(1.0, 0.0)
    assert (np.diff(found.pd(logits)) > 0).all()


def test_separable_labels_give_finite_numbers() -> None:
    found = fit_calibration(np.array([-1.0, 1.0]), np.array([0.0, 1.0]))
    assert np.isfinite([found.slope, found.intercept]).all()
    assert found.slope > 1


def test_a_changed_default_rate_multiplies_the_odds() -> None:
    """By hand: 10 % in training, 20 % here: odds times (.25 / .1111) = 2.25."""
    moved = Calibration(1.0, 0.0).with_prior(0.1, 0.2)
    pd = moved.pd(np.array([0.0]))[0]
    assert pd / (1 - pd) == pytest.approx(2.25)
    assert Calibration(2.0, 1.0).with_prior(0.1, 0.1) == Calibration(2.0, 1.0)


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.1])
def test_a_default_rate_that_is_none_is_refused(prior: float) -> None:
    with pytest.raises(LbsfError, match="between 0 and 1"):
        Calibration().with_prior(0.1, prior)
