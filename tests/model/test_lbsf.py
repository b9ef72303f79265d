"""The whole model: what must leave the logit alone, and what the weights it shows must be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsf_core.config import ModelConfig
from lbsf_core.errors import BatchError
from lbsf_core.fold.batch import FoldedBatch, Strings
from lbsf_core.model.lbsf import LBSF, Layout
from lbsf_core.model.merchant import segment_statistics
from lbsf_core.payments.schema import Field, FieldKind
from tests.builders import SMALL, random_batch, random_samples, small_model

MODEL = small_model(random_batch(99, 30))


def logits(batch: FoldedBatch, model: LBSF = MODEL) -> np.ndarray:
    with torch.no_grad():
        return model(batch).double().numpy()


def test_the_model_is_no_constant() -> None:
    """All that follows would hold for a constant; the logits here are far apart."""
    found = logits(random_batch(1, 20))
    assert np.ptp(found) > 0.5
    assert len(np.unique(found.round(4))) == 20


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 9))
def test_batch_of_one_equals_batch_of_many(seed: int, count: int) -> None:
    batch = random_batch(seed, count)
    alone = np.concatenate([logits(batch.select([b])) for b in range(count)])
    np.testing.assert_allclose(logits(batch), alone, atol=1e-5)
    order = np.random.default_rng(seed).permutation(count)
    np.testing.assert_allclose(logits(batch.select(order)), alone[order], atol=1e-5)


def shuffled_segments(batch: FoldedBatch, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [rng.permutation(np.arange(*batch.user_offsets[b : b + 2])) for b in range(len(batch))]
    )


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 1000))
def test_permuting_segments_leaves_the_logit_and_permutes_the_weights(seed: int, draw: int) -> None:
    batch = random_batch(seed, 4, payments=30, days=40)
    order = shuffled_segments(batch, draw)
    with torch.no_grad():
        before, seen = MODEL.forward_with_attention(batch)
        after, moved = MODEL.forward_with_attention(batch.permute_segments(order))
    torch.testing.assert_close(after, before, atol=1e-5, rtol=0)
    torch.testing.assert_close(moved.merchants, seen.merchants[order], atol=1e-5, rtol=0)
    for b, (one, other) in enumerate(zip(seen.relations, moved.relations, strict=True)):
        within = order[batch.user_offsets[b] : batch.user_offsets[b + 1]] - batch.user_offsets[b]
        torch.testing.assert_close(other, one[:, within][:, :, within], atol=1e-5, rtol=0)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.randoms(use_true_random=False))
def test_fault_14_payments_in_any_order_give_the_same_score(seed: int, random) -> None:
    samples = random_samples(seed, 3, payments=25, days=40)
    mixed = [(user, cutoff, random.sample(rows, len(rows))) for user, cutoff, rows in samples]
    one, other = FoldedBatch.from_rows(samples), FoldedBatch.from_rows(mixed)
    assert (logits(one) == logits(other)).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000))
def test_fault_26_later_payments_never_change_a_score(seed: int) -> None:
    samples = random_samples(seed, 3)
    later = [
        (
            user,
            cutoff,
            [*rows, *[(m, cutoff, -1e6, "canary") for m in ("merchant 0", "canary")] * 9],
        )
        for user, cutoff, rows in samples
    ]
    one, other = FoldedBatch.from_rows(samples), FoldedBatch.from_rows(later)
    assert (logits(one) == logits(other)).all()
    earlier = [(u, c, [*rows, ("canary", "2023-06-01", -1e6, "")]) for u, c, rows in samples]
    assert (logits(one) != logits(FoldedBatch.from_rows(earlier))).all()  # the canary sings


def test_all_ways_through_the_model_are_one_function() -> None:
    batch = random_batch(5, 12)
    layout = Layout.of(batch)
    with torch.no_grad():
        plain = MODEL(batch)
        with_attention, _ = MODEL.forward_with_attention(batch)
        fused = MODEL.fuse(MODEL.field_vectors(batch))
        statistics = MODEL.statistics(batch)
        from_fused = MODEL.forward_from(fused, statistics, layout)
        twice = MODEL.forward_from(
            torch.cat([fused, fused]), torch.cat([statistics, statistics]), layout.repeat(2)
        )
    torch.testing.assert_close(with_attention, plain, atol=1e-5, rtol=0)
    torch.testing.assert_close(from_fused, plain, atol=1e-5, rtol=0)
    torch.testing.assert_close(twice, torch.cat([plain, plain]), atol=1e-5, rtol=0)


def test_attention_sums_to_one_at_every_level() -> None:
    batch = random_batch(5, 12)
    with torch.no_grad():
        _, seen = MODEL.forward_with_attention(batch)
    payments = np.bincount(batch.segment_of_payment, seen.payments.numpy())
    merchants = np.bincount(batch.sample_of_segment, seen.merchants.numpy())
    np.testing.assert_allclose(payments, 1.0, atol=1e-5)
    np.testing.assert_allclose(merchants, 1.0, atol=1e-5)
    assert [r.shape for r in seen.relations] == [(2, c, c) for c in batch.segment_counts]
    for weights in seen.relations:
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:2]))
    assert np.ptp(seen.merchants.numpy()) > 0.05


@pytest.mark.parametrize("layers", [0, 2])
def test_other_depths_work_and_show_their_relations(layers: int) -> None:
    config = replace(SMALL, relation_layers=layers)
    batch = random_batch(3, 6)
    model = small_model(batch, config=config)
    with torch.no_grad():
        found, seen = model.forward_with_attention(batch)
        torch.testing.assert_close(found, model(batch), atol=1e-5, rtol=0)
    for weights in seen.relations:
        expected = 1.0 if layers else 0.0
        assert weights.shape[1] == weights.shape[2]
        torch.testing.assert_close(weights.sum(-1), torch.full(weights.shape[:2], expected))


def test_fault_27_empty_history_one_payment_and_one_merchant_have_a_score() -> None:
    one = [("m", "2024-01-01", -5.0, "")]
    rows = [
        ("empty", "2024-02-01", []),
        ("one payment", "2024-02-01", one),
        ("one merchant", "2024-02-01", one * 4),
        ("empty too", "2020-01-01", []),
    ]
    batch = FoldedBatch.from_rows(rows)
    found = logits(batch)
    assert np.isfinite(found).all()
    assert found[0] == found[3]
    assert len(set(found.round(5))) == 3
    np.testing.assert_allclose(logits(batch.select([0])), found[:1], atol=1e-6)
    with torch.no_grad():
        _, seen = MODEL.forward_with_attention(batch.select([0]))
    assert (len(seen.payments), len(seen.merchants)) == (0, 0)
    assert seen.relations[0].shape == (2, 0, 0)
    assert len(logits(batch.select([]))) == 0


def test_extreme_payments_have_a_finite_score() -> None:
    rows = [
        ("m" * 500, "1800-01-01", 1e308, "💥" * 300),
        ("", "2023-12-31", -1e308, "\x00\x02\x03"),
    ]
    assert np.isfinite(logits(FoldedBatch.from_rows([("u", "2024-01-01", rows)]))).all()


EXTRA = (
    Field("kind", FieldKind.CATEGORY),
    Field("note", FieldKind.TEXT),
    Field("balance", FieldKind.NUMBER),
)


def with_extra(batch: FoldedBatch, **changes: object) -> FoldedBatch:
    n = len(batch.amounts)
    rng = np.random.default_rng(0)
    words = ("food", "rent", "")
    columns = {
        "kind": Strings(rng.integers(0, 3, n), words),
        "note": Strings(rng.integers(0, 3, n), words),
        "balance": np.where(rng.random(n) < 0.2, np.nan, rng.normal(0, 900, n)),
    } | changes
    texts = {k: v for k, v in columns.items() if isinstance(v, Strings)}
    numbers = {k: v for k, v in columns.items() if not isinstance(v, Strings)}
    return replace(batch, texts={**batch.texts, **texts}, numbers=numbers)


def test_changing_one_field_changes_its_own_vectors_only() -> None:
    batch = with_extra(random_batch(7, 6))
    model = small_model(batch, extra=EXTRA)
    assert model.field_names == (
        "merchant", "description", "timestamp", "amount", "kind", "note", "balance"
    )  # fmt: skip
    n = len(batch.amounts)
    others = {
        "merchant": replace(batch, merchants=Strings.encode(["x"] * len(batch.merchants))),
        "description": replace(
            batch, texts={**batch.texts, "description": Strings.encode(["x"] * n)}
        ),
        "timestamp": replace(batch, timestamps=batch.timestamps - 86_400_000_000 * 9),
        "amount": replace(batch, amounts=batch.amounts * 3 + 1),
        "kind": with_extra(batch, kind=Strings(np.zeros(n, np.int64), ("new",))),
        "note": with_extra(batch, note=Strings(np.zeros(n, np.int64), ("new",))),
        "balance": with_extra(batch, balance=np.full(n, np.nan)),
    }
    with torch.no_grad():
        before = model.field_vectors(batch)
        for at, (name, other) in enumerate(others.items()):
            moved = (model.field_vectors(other) - before).abs().amax(dim=(0, 2)) > 1e-6
            assert moved.tolist() == [f == at for f in range(len(others))], name
            assert not torch.allclose(model(other), model(batch), atol=1e-4), name


def test_payments_without_a_field_of_the_model_are_refused() -> None:
    batch = with_extra(random_batch(7, 6))
    model = small_model(batch, extra=EXTRA)
    with pytest.raises(BatchError, match=r"reads the field 'kind' \(category\).*same|mapping"):
        model(random_batch(7, 6))


def test_field_weights_have_mean_1_and_scale_their_field() -> None:
    model = small_model(random_batch(0, 5))
    weights = model.field_weights()
    assert float(weights.detach().mean()) == pytest.approx(1.0)
    with torch.no_grad():
        model.gates.copy_(torch.tensor([0.0, 0.0, 0.0, -50.0]))  # amounts are shut out
        batch = random_batch(1, 4)
        fused = model.fuse(model.field_vectors(batch))
        more = model.fuse(model.field_vectors(replace(batch, amounts=batch.amounts * 7)))
    torch.testing.assert_close(fused, more)


def test_what_is_fitted_comes_from_the_training_part() -> None:
    train = random_batch(0, 8)
    model = LBSF.fit(ModelConfig(width=8, heads=2, bins=3), (), train)
    finite = np.sign(train.amounts) * np.log1p(np.abs(train.amounts))
    expected = np.quantile(finite, [0, 0.5, 1])
    np.testing.assert_allclose(model.fitted["amount"]["knots"], expected)
    statistics = segment_statistics(train)
    np.testing.assert_allclose(model.merchants.mean, statistics.mean(axis=0), rtol=1e-5)


def test_typical_payment_is_the_mean_of_the_field_vectors() -> None:
    batch = with_extra(random_batch(7, 6))
    model = small_model(batch, extra=EXTRA)
    with torch.no_grad():
        model.fit_typical(batch)
        expected = model.field_vectors(batch).mean(dim=0)
    torch.testing.assert_close(model.typical, expected, atol=1e-5, rtol=0)
