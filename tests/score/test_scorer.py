"""Scores of a store: order, batches, empty histories, and payments that must not matter."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from lbsf_core.errors import BatchError, LbsfError
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.payments.schema import Field, FieldKind
from lbsf_core.score import scorer
from lbsf_core.score.calibration import Calibration
from lbsf_core.score.scorer import batch_logits, score_store, write_scores
from tests.builders import Payment, fold_rows, random_batch, random_samples, small_model

BUNDLE = Bundle(small_model(random_batch(99, 30)), {"slope": 1.5, "intercept": -0.5})
LABELS = [(f"user {i:02}", "2024-02-05", float(i % 2)) for i in range(12)]


def rows(seed: int = 1) -> list[Payment]:
    samples = random_samples(seed, 12)
    return [
        (user, *paid) for n, (user, _, paid_by) in enumerate(samples) for paid in paid_by if n != 4
    ]


def logits(store: FoldedStore) -> np.ndarray:
    return score_store(store, BUNDLE)["logit"].to_numpy()


def test_scores_stand_in_store_order(tmp_path: Path) -> None:
    store = fold_rows(tmp_path, rows(), LABELS)
    done: list[tuple[int, int]] = []
    table = score_store(store, BUNDLE, lambda *at: done.append(at))
    assert table.column_names == ["sample", "user_id", "cutoff", "label", "logit", "pd"]
    assert table["sample"].to_pylist() == list(range(12))
    assert table["user_id"].to_pylist() == [user for user, _, _ in LABELS]
    alone = np.concatenate([batch_logits(BUNDLE.model, [store.read([i])]) for i in range(12)])
    np.testing.assert_allclose(table["logit"].to_numpy(), alone, atol=1e-5)
    expected = Calibration(1.5, -0.5).pd(table["logit"].to_numpy())
    np.testing.assert_array_equal(table["pd"].to_numpy(), expected)
    assert done[-1] == (store.samples["payments"].sum(),) * 2


@pytest.mark.parametrize("limit", [1, 20])
def test_batches_of_any_size_give_the_same_scores(
    tmp_path: Path, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fold_rows(tmp_path, rows(), LABELS)
    whole = logits(store)
    monkeypatch.setattr(scorer, "BATCH_PAYMENTS", limit)
    np.testing.assert_allclose(logits(store), whole, atol=1e-5)


def test_fault_14_payments_in_any_order_give_the_same_scores(tmp_path: Path) -> None:
    store = fold_rows(tmp_path, rows(), LABELS)
    mixed = fold_rows(tmp_path, rows()[::-1], LABELS[::-1], name="mixed")
    np.testing.assert_array_equal(logits(mixed), logits(store))


def test_fault_26_later_payments_never_change_a_score(tmp_path: Path) -> None:
    late = [
        (user, merchant, when, -1e6, "canary")
        for user, cutoff, _ in LABELS
        for merchant in ("merchant 1", "canary")
        for when in (cutoff, "2025-01-01")
    ] * 20
    store = fold_rows(tmp_path, rows(), LABELS)
    later = fold_rows(tmp_path, [*late, *rows(), *late], LABELS, name="later")
    np.testing.assert_array_equal(logits(later), logits(store))
    early = [("user 00", "canary", "2024-02-04T23:59:59.999999", -1e6, "canary")]
    moved = logits(fold_rows(tmp_path, [*rows(), *early], LABELS, name="early")) - logits(store)
    assert (np.abs(moved) > 1e-4).tolist() == [True] + [False] * 11


def test_fault_27_empty_history_one_payment_and_no_payment_at_all(tmp_path: Path) -> None:
    store = fold_rows(tmp_path, rows(), LABELS)
    assert store.samples["payments"][4] == 0
    scores = score_store(store, BUNDLE)
    assert np.isfinite(scores["logit"].to_numpy()).all()
    one = fold_rows(tmp_path, [("user 00", "m", "2024-01-01", -1.0, "")], LABELS, name="one")
    found = logits(one)
    assert np.isfinite(found).all()
    assert found[0] != found[1] == found[2]
    np.testing.assert_allclose(found[1], scores["logit"][4].as_py(), atol=1e-6)
    nothing = fold_rows(tmp_path, [], LABELS[:2], name="nothing")
    np.testing.assert_allclose(logits(nothing), found[1], atol=1e-6)


def test_store_without_a_field_of_the_bundle_is_refused(tmp_path: Path, tiny_bundle: Path) -> None:
    store = fold_rows(tmp_path, rows(), LABELS)
    with pytest.raises(BatchError, match=r"reads the field 'category'.*mapping of training"):
        score_store(store, Bundle.load(tiny_bundle))


def test_store_with_more_fields_than_the_bundle_reads_is_fine(tmp_path: Path) -> None:
    extra = [Field("note", FieldKind.TEXT), Field("balance", FieldKind.NUMBER)]
    more = [(*row, None if i % 2 else "", None) for i, row in enumerate(rows())]
    store = fold_rows(tmp_path, more, LABELS, extra=extra)
    np.testing.assert_allclose(
        logits(store), logits(fold_rows(tmp_path, rows(), LABELS, name="plain")), atol=1e-5
    )


def test_tiny_bundle_scores_its_store_twice_alike(tiny_store: Path, tiny_bundle: Path) -> None:
    store, bundle = FoldedStore.open(tiny_store), Bundle.load(tiny_bundle)
    one, two = (score_store(store, bundle)["pd"].to_numpy() for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert len(np.unique(one)) > 50


def test_scoring_leaves_no_gradient_and_evaluation_mode() -> None:
    model = small_model(random_batch(0, 4)).train()
    assert batch_logits(model, [random_batch(0, 4)]).shape == (4,)
    assert not model.training
    assert all(p.grad is None for p in model.parameters())
    assert batch_logits(model, []).shape == (0,)
    assert torch.is_grad_enabled()


def test_fault_23_full_disk_leaves_the_old_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = score_store(fold_rows(tmp_path, rows(), LABELS), BUNDLE)
    out = write_scores(scores, tmp_path / "out" / "scores.parquet")
    assert pq.read_table(out).equals(scores)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LbsfError, match="No space left on device"):
        write_scores(scores.slice(0, 1), out)
    assert pq.read_table(out).equals(scores)
    assert list(out.parent.iterdir()) == [out]
