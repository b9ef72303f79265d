"""Faithfulness: the measures by hand, the limits, and which method a planted game favours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lbsf_core.explain import faithfulness as module
from lbsf_core.explain.faithfulness import METHODS, SHARES, draw, faithfulness, measure, rank
from lbsf_core.explain.removal import Coalitions
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from tests.builders import fold_rows, random_batch, random_samples, small_model

WORTH = np.array([4.0, 2.0, 1.0, -3.0])


def additive(masks: np.ndarray) -> np.ndarray:
    return masks @ WORTH - 1.0


def test_by_hand() -> None:
    """Four players, additive: 1 is first at four shares, 2 are at the last one."""
    ranks = np.stack([WORTH, -WORTH, np.array([0.0, 9.0, 0.0, 0.0])])
    found = measure(additive, ranks)
    # Whole - empty = 4. Taking out the best: 4 at each of 4 shares, then 4 + 2; mean 22 / 5.
    best, worst = (4 * 4 + 6) / 5, (4 * -3 - 2) / 5
    third = (4 * 2 + 6) / 5
    expected = [1.0, 0.0, (third - worst) / (best - worst)]
    np.testing.assert_allclose(found[0], expected, atol=1e-9)
    np.testing.assert_allclose(found[1], expected, atol=1e-9)  # additive: both are the same


def test_a_score_that_falls_is_measured_downwards() -> None:
    found = measure(lambda masks: -additive(masks), np.stack([WORTH, -WORTH]))
    np.testing.assert_allclose(found[:, 0], 1.0)
    np.testing.assert_allclose(found[:, 1], 0.0)


def test_greedy_search_finds_limits_that_no_method_reached() -> None:
    ranks = np.stack([[0.0, 9.0, 0.0, 0.0], [0.0, 0.0, 9.0, 0.0]])
    loose, tight = measure(additive, ranks), measure(additive, ranks, greedy=True)
    assert loose.max() == pytest.approx(1.0)
    best, worst = (4 * 4 + 6) / 5, (4 * -3 - 2) / 5
    np.testing.assert_allclose(tight[0, 0], ((4 * 2 + 6) / 5 - worst) / (best - worst))


def test_a_score_that_nothing_moves_says_nothing() -> None:
    assert np.isnan(measure(lambda masks: np.full(len(masks), 2.0), np.eye(3), greedy=True)).all()


def test_every_method_ranks_merchants_and_payments() -> None:
    batch = random_batch(4, 1, payments=20)
    model = small_model(random_batch(99, 20))
    coalitions = Coalitions(model, batch)
    merchants, payments = rank(coalitions, seed=1)
    assert merchants.shape == (len(METHODS), len(batch.merchants))
    assert payments.shape == (len(METHODS), len(batch.amounts))
    assert (merchants.std(axis=1) > 0).all()
    at = METHODS.index("amount")
    np.testing.assert_allclose(payments[at], np.abs(batch.amounts))
    np.testing.assert_allclose(merchants[at].sum(), np.abs(batch.amounts).sum())
    values = coalitions.shapley()
    push = 1 if values.whole >= values.empty else -1
    np.testing.assert_allclose(merchants[METHODS.index("removal")], push * values.values)


@pytest.fixture(scope="module")
def measured(tiny_store: Path, tiny_bundle: Path) -> dict:
    store, bundle = FoldedStore.open(tiny_store), Bundle.load(tiny_bundle)
    return faithfulness(store, bundle, users=6, budget=100, draws=200)


def test_a_store_is_measured_at_both_levels(measured: dict) -> None:
    assert measured["default"] == METHODS[0]
    assert measured["shares"] == list(SHARES)
    for part in (measured, measured["payments"]):
        assert 1 <= part["users"] <= 6  # an order must move the score
        assert list(part["methods"]) == list(METHODS)
        for name in METHODS[1:]:
            for key, gap in part["differences"][f"default - {name}"].items():
                value = part["methods"][METHODS[0]][key] - part["methods"][name][key]
                assert gap["mean"] == pytest.approx(value)
                assert gap["lo"] <= gap["mean"] <= gap["hi"]
        for measures in part["methods"].values():
            assert all(0.0 <= value <= 1.0 for value in measures.values())


def test_one_sample_a_user_is_drawn(tmp_path: Path) -> None:
    samples = random_samples(0, 12)
    paid = [(user, *row) for user, _, rows in samples for row in rows]
    labels = [(u, cutoff, None) for u, end, _ in samples for cutoff in (end, "2023-10-01")]
    store = fold_rows(tmp_path, paid, labels)
    frame = store.samples
    assert frame["user_id"].duplicated().any()  # else nothing is tested here
    rows = draw(store, 10_000, seed=0)
    users = frame["user_id"].iloc[rows]
    assert not users.duplicated().any()
    assert set(users) == set(frame.loc[frame["segments"] >= 2, "user_id"])
    np.testing.assert_array_equal(draw(store, 5, seed=0), rows[:5])
    assert set(draw(store, 10_000, seed=1)) != set(rows)  # not always the same sample of a user
    least = int(frame["segments"].median())
    assert (frame["segments"].iloc[draw(store, 10_000, 0, least)] >= least).all()


def with_attention(comprehensiveness: float, sufficiency: float) -> dict:
    """A summary of 50 users: removal .5, attention as given, all with some noise."""
    rng = np.random.default_rng(0)
    noise = 0.05 * rng.normal(size=(50, 2, len(METHODS)))
    values = 0.5 + noise - noise.mean(axis=0)
    values[:, :, METHODS.index("attention")] += np.array([comprehensiveness, sufficiency])
    return module._summary(list(values), 500, 0)


@pytest.mark.parametrize(
    ("gaps", "default"),
    [
        ((-0.3, -0.3), "removal"),
        ((0.0, 0.0), "removal"),
        ((0.3, 0.3), "attention"),
        ((0.3, 0.0), "attention"),
        ((0.3, -0.3), "removal"),
    ],
)
def test_attention_is_the_default_only_where_it_wins(gaps: tuple, default: str) -> None:
    found = with_attention(*gaps)
    assert found["default"] == default
    assert list(found["differences"]) == [f"default - {m}" for m in METHODS if m != default]
    other = "removal" if default == "attention" else "attention"
    for at, name in enumerate(("comprehensiveness", "sufficiency")):
        gap = found["differences"][f"default - {other}"][name]
        means = [found["methods"][m][name] for m in (default, other)]
        assert gap["mean"] == pytest.approx(means[0] - means[1])
        assert abs(gap["mean"]) == pytest.approx(abs(gaps[at]))
        assert gap["lo"] < gap["mean"] < gap["hi"]


def test_removal_is_truer_than_chance(measured: dict) -> None:
    gap = measured["differences"]["default - random"]
    assert gap["comprehensiveness"]["lo"] > 0
    assert gap["sufficiency"]["mean"] > 0


def test_nothing_to_measure(tiny_store: Path, tiny_bundle: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "LEAST_RANGE", np.inf)
    store, bundle = FoldedStore.open(tiny_store), Bundle.load(tiny_bundle)
    found = faithfulness(store, bundle, users=1, budget=50)
    assert found["users"] == 0
    assert found["methods"] == {}
