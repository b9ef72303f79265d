"""Intervals in closed form: against figures from elsewhere, and against draws."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lbsf_core.evaluate.intervals import auc_interval, wilson, wilsons


def test_wilson_by_hand() -> None:
    """Wilson (1927): 0 of 10 reaches z^2 / (n + z^2)."""
    z2 = 1.959964**2
    assert wilson(0, 10) == (0.0, 0.0, pytest.approx(z2 / (10 + z2), abs=1e-6))
    assert np.isnan(wilson(0, 0)).all()


def test_hanley_and_mcneils_own_example() -> None:
    """Their table II: 51 abnormal, 58 normal, area .893, standard error .032."""
    low, high = auc_interval(0.893, 51, 58)
    assert (high - low) / 2 / 1.959964 == pytest.approx(0.032, abs=0.001)


def test_it_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 0], [40, 160])
    true, inside = 0.7602, 0  # P(N(1, 1) > N(0, 1))
    for _ in range(400):
        area = float(roc_auc_score(labels, rng.normal(labels)))
        low, high = auc_interval(area, 40, 160)
        inside += low <= true <= high
    assert 0.91 < inside / 400 < 0.985


def test_the_ends_are_no_probabilities_beyond_0_and_1() -> None:
    assert auc_interval(1.0, 5, 5) == (1.0, 1.0)
    assert auc_interval(0.99, 5, 5)[1] == 1.0


def test_many_rates_are_as_each_by_itself() -> None:
    bad, total = np.array([0, 3, 10, 0]), np.array([10, 17, 10, 0])
    rates = np.stack(wilsons(bad, total))
    np.testing.assert_allclose(
        rates, np.transpose([wilson(int(b), int(n)) for b, n in zip(bad, total, strict=True)])
    )
