"""Metrics by hand: ties, bins, intervals, and a bootstrap that keeps users whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsf_core.errors import MetricError
from lbsf_core.evaluate.intervals import wilson
from lbsf_core.evaluate.metrics import (
    METRICS,
    auc,
    bootstrap_rows,
    brier,
    ece,
    evaluate,
    ks,
    pr_auc,
)


def test_auc_by_hand() -> None:
    labels, pd = np.array([0.0, 0, 1, 1]), np.array([0.1, 0.4, 0.4, 0.8])
    # Four pairs of a good and a bad one: three in order, one tie counts half.
    assert auc(labels, pd) == pytest.approx(3.5 / 4)
    assert auc(labels, 1 - pd) == pytest.approx(0.5 / 4)


def test_ks_by_hand_with_ties() -> None:
    labels = np.array([0.0, 0, 0, 0, 1, 1])
    pd = np.array([0.1, 0.2, 0.5, 0.5, 0.5, 0.9])
    # Above 0.2: both bad, half of the good: 1 - 0.5. Above 0.5: one bad, no good: 0.5.
    # A KS that walks through the tie at 0.5 one by one would find more.
    assert ks(labels, pd) == pytest.approx(0.5)
    assert ks(np.array([0.0, 1, 0, 1]), np.full(4, 0.3)) == 0.0
    assert ks(np.array([0.0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.4])) == 1.0
    assert ks(np.array([1.0, 1, 0, 0]), np.array([0.1, 0.2, 0.3, 0.4])) == 0.0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.1, 0.2, 0.5, 0.9])), max_size=20
    )
)
def test_auc_and_ks_are_what_their_definitions_say(pairs) -> None:
    labels, pd = np.array([[0.0, 0.3], [1.0, 0.3], *pairs]).T
    bad, good = pd[labels == 1], pd[labels == 0]
    wins = (bad[:, None] > good) + 0.5 * (bad[:, None] == good)
    assert auc(labels, pd) == pytest.approx(wins.mean())
    gaps = [(bad >= at).mean() - (good >= at).mean() for at in (*pd, 2.0)]
    assert ks(labels, pd) == pytest.approx(max(gaps))


def test_average_precision_by_hand() -> None:
    # From the top: bad (1/1), good, bad (2/3): the mean of both precisions.
    labels, pd = np.array([1.0, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1])
    assert pr_auc(labels, pd) == pytest.approx((1 + 2 / 3) / 2)


def test_brier_by_hand() -> None:
    labels, pd = np.array([1.0, 0.0, 1.0]), np.array([0.8, 0.4, 1.0])
    assert brier(labels, pd) == pytest.approx((0.04 + 0.16 + 0.0) / 3)


def test_ece_by_hand() -> None:
    labels, pd = np.array([0.0, 1.0, 1.0, 1.0]), np.array([0.1, 0.3, 0.6, 0.8])
    # Two bins: |0.5 - 0.2| and |1.0 - 0.7|.
    assert ece(labels, pd, bins=2) == pytest.approx(0.3)
    # Three bins of 2, 1, 1: |0.5 - 0.2| * 2, |1 - 0.6|, |1 - 0.8|.
    assert ece(labels, pd, bins=3) == pytest.approx((0.6 + 0.4 + 0.2) / 4)
    # More bins than samples: one sample each.
    assert ece(labels, pd, bins=9) == pytest.approx((0.1 + 0.7 + 0.4 + 0.2) / 4)
    assert ece(np.array([0.0, 1.0]), np.array([0.5, 0.5]), bins=1) == 0.0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.1, 0.2, 0.9])), min_size=1),
    st.randoms(use_true_random=False),
)
def test_no_metric_depends_on_the_order_of_samples(pairs, random) -> None:
    pairs = [(0.0, 0.5), (1.0, 0.5), *pairs]
    mixed = random.sample(pairs, len(pairs))
    for metric, _ in METRICS.values():
        one, other = (metric(*np.array(rows).T) for rows in (pairs, mixed))
        assert one == pytest.approx(other, abs=1e-12)


def test_wilson_by_hand() -> None:
    # z = 1.959964, n = 10, p = 0.2: centre (0.2 + z²/20) / (1 + z²/10), see Wilson (1927).
    rate, low, high = wilson(2, 10)
    z = 1.959964
    centre = (0.2 + z * z / 20) / (1 + z * z / 10)
    half = z * np.sqrt(0.2 * 0.8 / 10 + z * z / 400) / (1 + z * z / 10)
    assert (rate, low, high) == pytest.approx((0.2, centre - half, centre + half), abs=1e-6)
    assert wilson(0, 5)[:2] == (0.0, 0.0)
    assert 0.4 < wilson(0, 5)[2] < 0.5
    assert wilson(5, 5)[2] == 1.0
    assert np.isnan(wilson(0, 0)).all()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=20), st.integers(0, 99))
def test_bootstrap_keeps_a_user_whole(users: list[str], seed: int) -> None:
    users = [*users, "x", "y"]
    labels = np.array([0.0] * (len(users) - 2) + [0.0, 1.0])
    for rows in bootstrap_rows(labels, users, 5, seed):
        drawn = np.bincount(rows, minlength=len(users))
        for user in set(users):
            times = {int(n) for n, u in zip(drawn, users, strict=True) if u == user}
            assert len(times) == 1, "all rows of a user are drawn equally often"
        draws = sum(int(drawn[users.index(user)]) for user in set(users))
        assert draws == len(set(users))
        assert 0 < labels[rows].sum() < len(rows)


def test_bootstrap_is_repeatable_and_seeded() -> None:
    labels, users = np.array([0.0, 1.0] * 10), [f"u{i // 2}" for i in range(20)]
    one, two, other = (list(bootstrap_rows(labels, users, 3, seed)) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(one, two, strict=True))
    assert any(len(a) != len(b) or (a != b).any() for a, b in zip(one, other, strict=True))


def test_evaluate_gives_every_metric_with_an_interval_around_it() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(400) < 0.3).astype(float)
    pd = np.clip(0.3 + 0.2 * (labels - 0.3) + rng.normal(0, 0.15, 400), 0.01, 0.99)
    users = [f"u{i}" for i in range(400)]
    found = evaluate(labels, pd, users, repeats=50)
    assert list(found) == [
        *("AUC", "KS", "PR-AUC", "Top-decile capture", "Brier", "ECE", "Calibration slope"),
    ]
    for name, metric in found.items():
        assert metric.lo < metric.hi
        assert metric.value == METRICS[name][0](labels, pd)
    assert found["AUC"].lo < found["AUC"].value < found["AUC"].hi
    assert evaluate(labels, pd, users, repeats=50) == found
    # Ten rows of the same user are one user, not ten: the interval is wider.
    few = [f"u{i % 40}" for i in range(400)]
    tied = evaluate(labels[np.arange(400) % 40], pd[np.arange(400) % 40], few, repeats=50)
    assert tied["AUC"].hi - tied["AUC"].lo > 1.5 * (found["AUC"].hi - found["AUC"].lo)


@pytest.mark.parametrize(
    ("labels", "pd", "message"),
    [
        ([0, 0], [0.1, 0.2], "0 bad and 2 good among 2"),
        ([1, 1], [0.1, 0.2], "2 bad and 0 good among 2"),
        ([], [], "among 0 samples"),
        ([0, 1, np.nan], [0.1, 0.2, 0.3], "1 bad and 1 good among 3"),
        ([0, 2], [0.1, 0.2], "labels of 0 and 1"),
        ([0, 1], [0.1, 1.2], "outside"),
        ([0, 1], [0.1, np.nan], "outside"),
    ],
)
def test_metrics_that_mean_nothing_are_refused(labels, pd, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        evaluate(labels, pd, [f"u{i}" for i in range(len(labels))])
