"""Where the model looked: entropies by hand, views that add up, and a model that looks alike."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from lbsf_core.errors import LbsfError
from lbsf_core.explain.attention import attention_view, entropy, uniform, uniform_auc
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.score.scorer import batch_logits
from tests.builders import SMALL, random_batch, small_model

MODEL = small_model(random_batch(99, 20))
BATCH = random_batch(4, 3, payments=20)


def test_entropy_by_hand() -> None:
    rows = np.array([[0.25, 0.25, 0.25, 0.25], [0.0, 1.0, 0.0, 0.0], [0.5, 0.25, 0.25, 0.0]])
    nats, share = entropy(rows)
    np.testing.assert_allclose(nats, [np.log(4), 0, 1.5 * np.log(2)])
    np.testing.assert_allclose(share, [1, 0, 0.75])


def test_nothing_to_choose_is_defined() -> None:
    for weights in (np.ones(1), np.zeros(0)):
        nats, share = entropy(weights)
        assert float(nats) == 0.0
        assert float(share) == 1.0


@given(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=9).filter(lambda w: sum(w) > 1e-6))
def test_entropy_is_a_share_and_knows_no_order(raw: list[float]) -> None:
    weights = np.array(raw) / np.sum(raw)
    nats, share = entropy(weights)
    assert 0.0 <= share <= 1.0
    assert nats == pytest.approx(share * np.log(len(weights)), abs=1e-9)
    np.testing.assert_allclose(entropy(weights[::-1])[0], nats)


def test_a_view_is_what_the_model_says_of_one_sample() -> None:
    one = BATCH.select([1])
    view = attention_view(MODEL, one)
    count = len(one.merchants)
    assert view.merchants == tuple(one.merchants.decode())
    assert view.relation_weights.shape == (SMALL.heads, count, count)
    assert view.merchant_weights.sum() == pytest.approx(1, abs=1e-6)
    assert view.payment_entropy[0].shape == (count,)
    single = np.diff(one.offsets) == 1
    assert (view.payment_entropy[1][single] == 1).all()
    np.testing.assert_allclose(view.relations, view.relation_weights.mean(axis=0))
    np.testing.assert_allclose(view.relation_entropy[0], entropy(view.relations)[0])
    for head in range(SMALL.heads):
        rows = [-(row * np.log(row)).sum() for row in view.relation_weights[head]]
        assert view.head_entropy[0][head] == pytest.approx(np.mean(rows))
        assert view.head_entropy[1][head] == pytest.approx(np.mean(rows) / np.log(count))
    told = json.loads(json.dumps(view.to_dict(), allow_nan=False))
    assert [m["merchant"] for m in told["merchants"]] == list(view.merchants)
    assert [len(m["payments"]) for m in told["merchants"]] == np.diff(one.offsets).tolist()
    assert told["entropy"]["nats"] == pytest.approx(view.merchant_entropy[0])
    assert len(told["heads"]) == SMALL.heads


@pytest.mark.parametrize("payments", [[], [("shop", "2024-01-05", -3.0, "bread")]])
def test_no_merchant_and_one_merchant(payments: list) -> None:
    view = attention_view(MODEL, FoldedBatch.from_rows([("u", "2024-02-01", payments)]))
    assert len(view.merchants) == len(payments)
    assert view.merchant_entropy == (0.0, 1.0)
    np.testing.assert_array_equal(view.head_entropy, [[0.0] * SMALL.heads, [1.0] * SMALL.heads])
    np.testing.assert_array_equal(view.payment_entropy[1], np.ones(len(payments)))
    json.dumps(view.to_dict(), allow_nan=False)


def test_a_view_is_of_one_sample() -> None:
    with pytest.raises(LbsfError, match="the batch holds 3"):
        attention_view(MODEL, BATCH)


def test_a_uniform_copy_looks_at_all_alike_and_the_model_stays() -> None:
    model = small_model(random_batch(99, 20))
    with torch.no_grad():
        before = model(BATCH)
        copy = uniform(model)
        assert not torch.allclose(copy(BATCH), before)
        assert torch.equal(model(BATCH), before)
    for b in range(len(BATCH)):
        view = attention_view(copy, BATCH.select([b]))
        count = len(view.merchants)
        np.testing.assert_allclose(view.merchant_weights, 1 / count, rtol=1e-6)
        np.testing.assert_allclose(view.relation_weights, 1 / count, rtol=1e-6)
        counts = np.diff(view.offsets)
        np.testing.assert_allclose(view.payment_weights, np.repeat(1 / counts, counts), rtol=1e-6)


@pytest.fixture(scope="module")
def store(tiny_store: Path) -> FoldedStore:
    return FoldedStore.open(tiny_store)


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return Bundle.load(tiny_bundle)


def test_auc_that_the_model_keeps(store: FoldedStore, bundle: Bundle) -> None:
    rows = np.flatnonzero(np.isfinite(store.samples["label"]))
    found = uniform_auc(store, bundle, rows, draws=50)
    batch = store.read(rows)
    for name, model in (("learned", bundle.model), ("uniform", uniform(bundle.model))):
        expected = roc_auc_score(batch.labels, batch_logits(model, [batch]))
        assert found[name]["mean"] == pytest.approx(expected)
        assert found[name]["lo"] <= expected <= found[name]["hi"]
    gap = found["difference"]
    assert gap["mean"] == pytest.approx(found["learned"]["mean"] - found["uniform"]["mean"])
    assert found["unseen"] is None
    assert found["samples"] == len(rows)
    assert found["bad"] == batch.labels.sum()
    assert uniform_auc(store, bundle, rows, draws=50) == found


def test_a_model_that_looks_alike_already_loses_nothing(store: FoldedStore, bundle: Bundle) -> None:
    alike = replace(bundle, model=uniform(bundle.model))
    assert uniform_auc(store, alike, draws=20)["difference"] == {"mean": 0.0, "lo": 0.0, "hi": 0.0}


def test_only_what_training_never_saw_counts(store: FoldedStore, bundle: Bundle) -> None:
    """By time: the last cutoffs are the test part; where they have one class, all are taken."""
    labels = store.samples["label"].to_numpy(dtype=float)
    cutoffs = store.samples["cutoff"].dt.as_unit("us").astype("int64").to_numpy()
    known = np.isfinite(labels)
    middle = int(np.median(cutoffs[known]))

    def by(border: int) -> Bundle:
        split = {"by": "time", "borders": [border - 1, border]}
        return replace(bundle, training={"split": split})

    found = uniform_auc(store, by(middle), draws=20)
    late = known & (cutoffs > middle)
    assert 0 < labels[late].sum() < late.sum()  # else nothing is tested here
    assert (found["unseen"], found["samples"]) == (True, late.sum())
    found = uniform_auc(store, by(int(cutoffs.max())), draws=20)
    assert (found["unseen"], found["samples"]) == (False, known.sum())
    found = uniform_auc(store, replace(bundle, training={}), draws=20)
    assert (found["unseen"], found["samples"]) == (False, known.sum())


def test_one_class_has_no_auc(store: FoldedStore, bundle: Bundle) -> None:
    good = np.flatnonzero(store.samples["label"] == 0)[:4]
    found = uniform_auc(store, bundle, good, draws=20)
    assert (found["samples"], found["bad"]) == (4, 0)
    assert found["learned"] is found["uniform"] is found["difference"] is None
