"""Samples on the disk are the same samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lbsf_core.fold.store import FoldedStore
from lbsf_core.train import stored
from lbsf_core.train.split import ever_bad, user_hashes
from lbsf_core.train.stored import StoredBatch
from tests.builders import fold_rows, random_samples
from tests.fold.test_batch import same


@pytest.fixture
def store(tmp_path: Path) -> FoldedStore:
    """Twelve labelled samples, one empty, and two that nobody knows the end of."""
    samples = random_samples(1, 14, payments=40)
    payments = [
        (user, *paid) for at, (user, _, rows) in enumerate(samples) for paid in rows if at != 4
    ]
    ends = [None if at in (2, 9) else float(at % 2) for at in range(14)]
    labels = [(user, cutoff, end) for (user, cutoff, _), end in zip(samples, ends, strict=True)]
    return fold_rows(tmp_path, payments, labels)


@pytest.fixture(params=[(7, 5, 60, 3), (1_024, 65_536, 500_000, 2_048)])
def batch(
    request: pytest.FixtureRequest, store: FoldedStore, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> StoredBatch:  # fmt: skip
    for name, value in zip(("PIECE", "SAMPLES", "CHUNK", "HELD"), request.param, strict=True):
        monkeypatch.setattr(stored, name, value)
    return StoredBatch.of(store, tmp_path / "file.arrow")


def test_a_selection_reads_what_the_store_reads(store: FoldedStore, batch: StoredBatch) -> None:
    labelled = np.flatnonzero(np.isfinite(store.samples["label"].to_numpy(float)))
    whole = store.read(labelled)
    same(batch.read(), whole)
    for rows in ([0], [3, 3, 1], [11, 0, 4, 7], []):
        picked = batch.select(np.array(rows, dtype=np.int64))
        same(picked.read(), whole.select(rows))
        assert picked.payment_counts.tolist() == whole.payment_counts[rows].tolist()
        assert picked.labels.tolist() == whole.labels[rows].tolist()
        assert picked.cutoffs.tolist() == whole.cutoffs[rows].tolist()
        assert list(picked.user_ids) == [whole.user_ids[row] for row in rows]
    assert batch.select(np.array([5, 6])).select(np.array([1])).user_ids[0] == whole.user_ids[6]


def test_a_split_sees_the_same_users(store: FoldedStore, batch: StoredBatch) -> None:
    whole = store.read(np.flatnonzero(np.isfinite(store.samples["label"].to_numpy(float))))
    assert user_hashes(batch.user_ids, 3).tolist() == user_hashes(whole.user_ids, 3).tolist()
    bad = ever_bad(batch.user_ids, batch.labels)
    assert bad.tolist() == ever_bad(whole.user_ids, whole.labels).tolist()


def test_some_are_drawn_by_their_payments(batch: StoredBatch) -> None:
    total = int(batch.payment_counts.sum())
    assert batch.some(total, 0) is batch
    few = batch.some(total // 2, 0)
    assert 0 < int(few.payment_counts.sum()) <= total // 2
    assert (np.diff(few.rows) > 0).all()
    assert few.rows.tolist() == batch.some(total // 2, 0).rows.tolist()
    assert few.rows.tolist() != batch.some(total // 2, 1).rows.tolist()
    assert len(batch.some(0, 0)) == 1


def test_a_file_that_is_there_is_not_written_again(store: FoldedStore, batch: StoredBatch) -> None:
    before = batch.unpacked.path.stat().st_mtime_ns
    again = StoredBatch.of(store, batch.unpacked.path)
    assert batch.unpacked.path.stat().st_mtime_ns == before
    same(again.read(), batch.read())
