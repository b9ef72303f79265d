"""Controls: nothing is lost or added, and each takes away what it says."""

from __future__ import annotations

import numpy as np
import pytest

from lbsf_core.evaluate.controls import CONTROLS, no_fold, random_merchants, regroup, window
from lbsf_core.fold.batch import DAY, FoldedBatch
from lbsf_core.model.lbsf import LBSF
from tests.builders import SMALL, random_batch

BATCH = random_batch(3, 12)


def rows(batch: FoldedBatch, *, merchant: bool = True) -> list[tuple]:
    names = batch.texts.get("merchant")
    texts = (
        names.decode() if names else [batch.merchants.decode()[s] for s in batch.segment_of_payment]
    )
    values = zip(
        batch.sample_of_payment.tolist(),
        batch.timestamps.tolist(),
        batch.amounts.tolist(),
        batch.texts["description"].decode(),
        texts if merchant else [""] * len(texts),
        strict=True,
    )
    return sorted(values)


@pytest.mark.parametrize("name", ["random_merchants", "no_fold", "fold_by_category", "fold_by_day"])
def test_another_fold_keeps_every_payment_with_its_merchant(name: str) -> None:
    assert rows(CONTROLS[name](BATCH)) == rows(BATCH)


def test_segments_of_another_fold_by_hand() -> None:
    paid = [
        ("a", "2024-01-01", -1.0, "food"),
        ("b", "2024-01-02", -2.0, "rent"),
        ("c", "2024-01-03", -3.0, "food"),
    ]
    batch = FoldedBatch.from_rows([("u", "2024-02-01", paid), ("v", "2024-02-01", paid[:1])])
    by_kind = CONTROLS["fold_by_category"](batch)
    assert by_kind.user_offsets.tolist() == [0, 2, 3]
    assert by_kind.offsets.tolist() == [0, 2, 3, 4]
    assert by_kind.amounts.tolist() == [-1.0, -3.0, -2.0, -1.0]  # food was paid last
    assert by_kind.texts["merchant"].decode() == ["a", "c", "b", "a"]
    assert no_fold(batch).offsets.tolist() == [0, 3, 4]


def test_random_merchants_keep_the_sizes_of_segments_and_their_samples() -> None:
    found = random_merchants(BATCH)
    for sample in range(len(BATCH)):
        sizes = [
            sorted(np.diff(b.offsets)[b.sample_of_segment == sample].tolist())
            for b in (BATCH, found)
        ]
        assert sizes[0] == sizes[1]
    assert found.offsets.tolist() != BATCH.offsets.tolist()


def test_shuffled_time_deals_a_samples_times_out_among_its_payments() -> None:
    found = CONTROLS["shuffled_time"](BATCH)
    assert found.offsets.tolist() == BATCH.offsets.tolist()
    assert found.timestamps.tolist() != BATCH.timestamps.tolist()
    for b in (BATCH, found):
        order = np.lexsort((b.timestamps, b.sample_of_payment))
        np.testing.assert_array_equal(
            b.timestamps[order],
            np.sort(BATCH.timestamps + BATCH.sample_of_payment * 10**17)
            - np.sort(BATCH.sample_of_payment) * 10**17,
        )


def test_a_window_keeps_the_newest() -> None:
    found = window(45)(BATCH)
    age = BATCH.cutoffs[BATCH.sample_of_payment] - BATCH.timestamps
    assert len(found.amounts) == (age <= 45 * DAY).sum()


@pytest.mark.parametrize("name", CONTROLS)
def test_every_control_can_be_scored(name: str) -> None:
    batch = CONTROLS[name](BATCH)
    assert np.isfinite(LBSF.fit(SMALL, (), batch)(batch).detach().numpy()).all()


def test_a_fold_by_merchant_is_what_it_was() -> None:
    """Regrouped by its own segments a batch differs in the names of the segments only."""
    same = regroup(BATCH, BATCH.segment_of_payment)
    assert same.user_offsets.tolist() == BATCH.user_offsets.tolist()
    assert sorted(np.diff(same.offsets)) == sorted(np.diff(BATCH.offsets))
