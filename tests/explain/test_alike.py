"""The first relation layer of histories that differ little is the layer's own, asked one by one."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsf_core.config import ModelConfig
from lbsf_core.explain import alike as module
from lbsf_core.explain.alike import LEAST, Alike
from lbsf_core.explain.removal import segment_logits
from lbsf_core.model.lbsf import LBSF, States
from tests.builders import SMALL, random_batch, small_model

MODEL = small_model(random_batch(99, 30), noise=0.5)
DEEP = small_model(random_batch(99, 30), config=replace(SMALL, relation_layers=2), noise=0.5)
Masks = npt.NDArray[np.bool_]


def pool(model: LBSF, seed: int = 0) -> States:
    """The states of some thirty segments, of several users: whose they are is not asked."""
    with torch.no_grad():
        return model.segment_states(random_batch(seed, 8, payments=25))


def nearly_all(count: int, histories: int, seed: int, gone: int = 2) -> Masks:
    """Histories of all segments but some; the first lacks none, the last five are in few."""
    rng = np.random.default_rng(seed)
    masks = np.ones((histories, count), dtype=bool)
    masks[:, -5:] = False
    for mask in masks[1:]:
        mask[rng.choice(count - 5, rng.integers(1, gone + 1), replace=False)] = False
        mask[count - 5 + rng.integers(0, 5)] = rng.random() < 0.5
    return masks


def one_by_one(model: LBSF, states: States, masks: Masks) -> npt.NDArray[np.float64]:
    return np.concatenate([segment_logits(model, states, mask[None]) for mask in masks])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), gone=st.integers(1, 4), deep=st.booleans())
def test_it_is_the_layer_asked_one_by_one(seed: int, gone: int, deep: bool) -> None:
    for model, within in ((DEEP if deep else MODEL, 5e-6), (copy.deepcopy(MODEL).double(), 1e-12)):
        states = pool(model, seed)
        masks = nearly_all(len(states), 30, seed, gone)
        with torch.no_grad():
            assert Alike.of(model, states, torch.from_numpy(masks)) is not None
        found = segment_logits(model, states, masks)
        np.testing.assert_allclose(found, one_by_one(model, states, masks), atol=within)
        assert np.ptp(found) > 1e-3


def test_who_is_in_most_of_them_may_be_missing_from_the_first() -> None:
    states = pool(MODEL)
    masks = nearly_all(len(states), 20, 1)
    masks[:, 3:6] = False  # gone for good: of reasons that were chosen before
    masks[7] = False  # nothing is left
    found = segment_logits(MODEL, states, masks)
    np.testing.assert_allclose(found, one_by_one(MODEL, states, masks), atol=5e-6)


@pytest.mark.parametrize("factor", [3.0, 8.0])
def test_a_sum_may_lose_nearly_all_of_itself(factor: float) -> None:
    """Where nearly all that a merchant looks at is one other, which is then taken out."""
    model = copy.deepcopy(MODEL)
    with torch.no_grad():
        layer = model.relations[0].query_key_value
        layer.weight[: 2 * SMALL.width] *= factor
        layer.bias[: 2 * SMALL.width] *= factor
    states = pool(model)
    masks = ~np.eye(len(states), dtype=bool)
    scores = _sharpness(model, states)
    with torch.no_grad():
        found = Alike.of(model, states, torch.from_numpy(masks))
    assert (found is None) == (scores > module.SHARPEST)
    assert scores > 0.7 * module.SHARPEST
    assert (scores > module.SHARPEST) == (factor > 3)
    np.testing.assert_allclose(
        segment_logits(model, states, masks), one_by_one(model, states, masks), atol=1e-5
    )


def _sharpness(model: LBSF, states: States) -> float:
    """The largest difference of two scores that one merchant gives."""
    layer = model.relations[0]
    with torch.no_grad():
        q, k, _ = layer.query_key_value(layer.norm(states.vectors)).chunk(3, dim=1)
        heads = [each.view(len(states), layer.heads, -1).transpose(0, 1) for each in (q, k)]
        scores = heads[0] @ heads[1].transpose(1, 2) / heads[0].shape[-1] ** 0.5
    return float((scores.amax(dim=2) - scores.amin(dim=2)).max())


@pytest.mark.parametrize(
    "config",
    [replace(SMALL, meetings=True), replace(SMALL, relation_layers=0)],
    ids=["a layer before it", "no layer"],
)
def test_other_models_are_asked_one_by_one(config: ModelConfig) -> None:
    model = small_model(random_batch(98, 20), config=config)
    states = pool(model)
    masks = nearly_all(len(states), 20, 0)
    with torch.no_grad():
        assert Alike.of(model, states, torch.from_numpy(masks)) is None
    found = segment_logits(model, states, masks)
    np.testing.assert_allclose(found, one_by_one(model, states, masks), atol=5e-6)


def test_few_histories_or_such_as_differ_much_or_many_merchants_are_asked_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    states = pool(MODEL)
    masks = torch.from_numpy(nearly_all(len(states), 20, 0))
    half = torch.rand(20, len(states), generator=torch.Generator().manual_seed(0)) < 0.5
    uniform = copy.deepcopy(MODEL)
    uniform.relations[0].uniform = True
    with torch.no_grad():
        assert Alike.of(MODEL, states, masks) is not None
        assert Alike.of(MODEL, states, masks[: LEAST - 1]) is None
        assert Alike.of(MODEL, states, half) is None
        assert Alike.of(uniform, states, masks) is None
        monkeypatch.setattr(module, "MOST", 1_000)
        assert Alike.of(MODEL, states, masks) is None


def test_the_model_itself_keeps_its_layers() -> None:
    states = pool(DEEP)
    with torch.no_grad():
        found = Alike.of(DEEP, states, torch.from_numpy(nearly_all(len(states), 20, 0)))
    assert found is not None
    assert (len(found.rest.relations), len(DEEP.relations)) == (1, 2)
    assert found.rest.relations[0] is DEEP.relations[1]
    assert found.rest.head is DEEP.head
