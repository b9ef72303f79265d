"""Random models and other seeds: what changes, what stays, and what is counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from lbsf_core.explain import shapley as shapley_module
from lbsf_core.explain.stability import (
    METHODS,
    merchant_values,
    randomisation,
    randomised,
    size_by_chance,
    spearman,
    stability,
    stages,
)
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from tests.builders import SMALL, fold_rows, random_batch, random_samples, small_model

TRAIN = random_batch(99, 20)
ONE = random_batch(4, 1, payments=20)


@pytest.mark.parametrize(
    "changes", [{}, {"relation_layers": 2}, {"forecasts": 3}, {"meetings": True}], ids=str
)
def test_every_weight_has_one_stage(changes: dict) -> None:
    model = small_model(TRAIN, config=replace(SMALL, **changes))
    found = stages(model)
    names = list(found)
    assert names[0] == "head"
    assert names[-1] == "encoders"
    assert ("forecast" in found) == bool(model.config.forecasts)
    for key, _ in model.named_parameters():
        assert sum(key.startswith(part) for part in found.values()) == 1, key
    if model.config.relation_layers == 2:
        assert names.index("relations 2") < names.index("relations 1")  # from the top


def test_parts_are_randomised_one_after_another_and_the_model_stays() -> None:
    model = small_model(TRAIN)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    weights = {key for key, _ in model.named_parameters()}
    gone: set[str] = set()
    for name, copy in randomised(model, ONE, seed=1):
        gone |= {key for key in weights if key.startswith(stages(model)[name])}
        changed = {
            key for key, value in copy.state_dict().items() if not torch.equal(value, before[key])
        }
        assert changed - {"typical"} == gone
        assert ("typical" in changed) == (name == "encoders")
        assert not copy.training
    assert gone == weights
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_same_seed_gives_the_same_random_model() -> None:
    model = small_model(TRAIN)
    one, same, other = (
        [merchant_values(copy, ONE, budget=20, seed=0) for _, copy in randomised(model, ONE, seed)]
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one[0][0], other[0][0])
    np.testing.assert_array_equal(one[0][2], other[0][2])  # attention never asks the head


def test_rank_correlation() -> None:
    assert spearman(np.array([1.0, 5.0, 9.0]), np.array([0.1, 0.2, 0.7])) == pytest.approx(1)
    assert spearman(np.array([1.0, 5.0, 9.0]), np.array([3.0, 2.0, 1.0])) == pytest.approx(-1)
    assert spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])) == pytest.approx(0.5)
    assert spearman(np.ones(4), np.arange(4.0)) == 0.0
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 4, (2, 30)).astype(float)  # many ties
    assert spearman(one, other) == pytest.approx(spearmanr(one, other).statistic)


def test_chance_among_few_merchants_is_large() -> None:
    """Mean size over all 6 orders of 3 things: (1 + 4 * .5 + 1) / 6."""
    rng = np.random.default_rng(0)
    assert np.mean([size_by_chance(3, rng) for _ in range(20)]) == pytest.approx(4 / 6, abs=0.02)
    assert size_by_chance(60, rng) < 0.15


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FoldedStore:
    """Six users with 5 to 8 merchants."""
    samples = random_samples(3, 6, merchants=8, payments=30)
    paid = [(user, *row) for user, _, rows in samples for row in rows * 3]
    labels = [(user, cutoff, None) for user, cutoff, _ in samples]
    return fold_rows(tmp_path_factory.mktemp("few"), paid, labels)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle(small_model(TRAIN), {"slope": 1.0, "intercept": 0.0})


@pytest.fixture(scope="module")
def rows(store: FoldedStore) -> np.ndarray:
    found = np.flatnonzero(store.samples["segments"] >= 5)[:4]
    assert len(found) == 4  # else nothing is tested here
    return found


def test_what_follows_the_model_is_lost_and_what_does_not_stays(
    store: FoldedStore, bundle: Bundle, rows: np.ndarray
) -> None:
    found = randomisation(store, bundle, rows, seeds=2)
    assert (found["users"], found["seeds"]) == (4, 2)
    assert list(found["stages"]) == list(stages(bundle.model))
    assert 0 < found["chance"] < 0.5
    for methods in found["stages"].values():
        assert list(methods) == list(METHODS)
        for told in methods.values():
            assert -1 <= told["lo"] <= told["mean"] <= told["hi"] <= 1
            assert abs(told["mean"]) <= told["size"] + 1e-12
    head = found["stages"]["head"]
    assert head["attention"]["mean"] == pytest.approx(1)
    assert head["removal"]["hi"] < 1
    assert head["gradient"]["hi"] < 1
    assert randomisation(store, bundle, rows, seeds=2) == found


def test_exact_values_never_change(store: FoldedStore, bundle: Bundle, rows: np.ndarray) -> None:
    found = stability(store, bundle, rows, seeds=2)
    assert (found["users"], found["sampled"]) == (4, 0)
    assert found["identical"]["share"] == 1.0
    assert found["flagged"]["share"] == 0.0
    assert found["identical_unflagged"]["share"] == 1.0


def test_drawn_values_change_and_are_flagged(
    store: FoldedStore, bundle: Bundle, rows: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapley_module, "EXACT_PLAYERS", 2)
    found = stability(store, bundle, rows, seeds=3, budget=10)
    assert found["sampled"] == len(rows)
    assert found["identical"]["share"] < 1
    assert found["flagged"]["share"] > 0
    assert (found["seeds"], found["budget"], found["top"]) == (3, 10, 4)


def test_nobody(store: FoldedStore, bundle: Bundle) -> None:
    nobody = np.zeros(0, dtype=np.int64)
    assert randomisation(store, bundle, nobody)["stages"] == {}
    found = stability(store, bundle, nobody)
    assert found["identical"] == {"share": None, "lo": None, "hi": None}
