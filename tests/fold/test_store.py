"""The folded store: small reads, batches, and everything it must refuse."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from lbsf_core.config import FoldConfig
from lbsf_core.errors import LbsfError, StoreError, UnknownUserError
from lbsf_core.fold import fold as fold_module
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.fold.store import SAMPLES, FoldedStore
from lbsf_core.payments.schema import Field, FieldKind
from tests.builders import flip_bit, fold_rows, random_samples
from tests.fold.test_batch import same


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FoldedStore:
    """Twelve samples, the fifth empty, over several row groups."""
    folder = tmp_path_factory.mktemp("store")
    samples = random_samples(1, 12, payments=40)
    payments = [
        (user, *paid) for number, (user, _, rows) in enumerate(samples) for paid in rows
        if number != 4
    ]  # fmt: skip
    labels = [(user, cutoff, 1.0) for user, cutoff, _ in samples]
    return fold_rows(folder, payments, labels)


@pytest.fixture
def copy(store: FoldedStore, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store.path, tmp_path / "copy"))


def edit(path: Path, **changes: object) -> None:
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | changes))


def test_manifest_says_where_the_store_comes_from(tmp_path: Path) -> None:
    extra = (Field("category", FieldKind.CATEGORY),)
    rows = [("u", "m", "2024-01-01", -1.0, "", "food")]
    config = FoldConfig(window_days=90, max_payments=5)
    store = fold_rows(tmp_path, rows, [("u", "2024-02-01", 1.0)], config, extra=extra)
    assert store.config == config
    assert store.manifest.extra_fields == extra
    assert store.manifest.currency == "CZK"
    assert set(store.manifest.sources) == {"store.payments.parquet", "store.labels.parquet"}
    assert set(store.manifest.files) == {"payments.parquet", "samples.parquet"}


def test_threads_read_at_the_same_time_what_each_asks_for(store: FoldedStore) -> None:
    alone = [store.read([sample]) for sample in range(12)]

    def read(seed: int) -> None:
        for sample in np.random.default_rng(seed).integers(0, 12, 150).tolist():
            same(store.read([sample]), alone[sample])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, range(8)))  # raises what a thread raised


def test_reading_samples_one_by_one_equals_reading_them_together(store: FoldedStore) -> None:
    together = store.read(np.arange(12))
    assert together.payment_counts.tolist() == store.samples["payments"].tolist()
    same(FoldedBatch.concat([store.read([i]) for i in range(12)]), together)
    mixed = [7, 4, 0, 11, 7]
    same(store.read(mixed), together.select(mixed))
    same(store.read([]), together.select([]))


def test_one_user_is_read_across_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = random_samples(2, 5, payments=4000, merchants=30)
    payments = [(user, *paid) for user, _, rows in samples for paid in rows]
    labels = [(user, cutoff, 1.0) for user, cutoff, _ in samples]
    whole = fold_rows(tmp_path, payments, labels)
    monkeypatch.setattr(fold_module, "ROW_GROUP", 2048)
    cut = fold_rows(tmp_path, payments, labels, name="cut")
    assert cut._files[0].file.num_row_groups > 3 > whole._files[0].file.num_row_groups
    for rows in ([0], [4], [3, 1], [2, 2], range(5)):
        same(cut.read(list(rows)), whole.read(list(rows)))


def test_a_batch_holds_the_texts_of_its_own_rows_alone(tmp_path: Path) -> None:
    rows = [(f"u{i}", "m", "2024-01-01", -1.0, f"paid {i}") for i in range(5)]
    store = fold_rows(tmp_path, rows, [(f"u{i}", "2024-02-01", 1.0) for i in range(5)])
    assert store.read([3]).texts["description"].words == ("paid 3",)
    assert store.read([4, 1]).texts["description"].decode() == ["paid 4", "paid 1"]


@pytest.mark.parametrize(("limit", "chunk"), [(1, 10**6), (60, 10**6), (60, 1), (10**6, 10**6)])
def test_batches_hold_every_sample_once(store: FoldedStore, limit: int, chunk: int) -> None:
    batches = list(store.batches(limit, chunk))
    assert sorted(np.concatenate([b.samples for b in batches]).tolist()) == list(range(12))
    for batch in batches:
        assert len(batch.amounts) <= limit or len(batch) == 1
        assert (np.diff(batch.segment_counts) >= 0).all()
        same(batch, store.read(batch.samples))
    assert len(batches) == {1: 12, 10**6: 1}.get(limit, len(batches))


@pytest.mark.parametrize("most", [1, 5, 12, 100])
@pytest.mark.parametrize("group", [1, 3, 100])
def test_parts_are_the_store_one_piece_after_another(
    store: FoldedStore, copy: Path, most: int, group: int
) -> None:
    pq.write_table(pq.read_table(copy / SAMPLES), copy / SAMPLES, row_group_size=group)
    parts = list(replace(store, path=copy).parts(most))
    assert [len(part.samples) for part in parts] == [
        min(most, 12 - first) for first in range(0, 12, most)
    ]
    together = pd.concat([part.samples for part in parts], ignore_index=True)
    pd.testing.assert_frame_equal(together, store.samples)
    for part in parts:
        numbers = np.arange(len(part.samples))
        read, whole = part.read(numbers), store.read(numbers + part.first)
        same(replace(read, samples=whole.samples), whole)
        assert read.samples.tolist() == numbers.tolist()


def test_find_by_user_and_cutoff(tmp_path: Path) -> None:
    labels = [("u", "2024-01-01", 0.0), ("u", "2024-06-01", 1.0), ("a", "2024-03-01", 1.0)]
    store = fold_rows(tmp_path, [("u", "m", "2023-12-01", -1.0, "")], labels)
    assert store.find("u") == 2  # the latest
    assert store.find("u", pd.Timestamp("2024-01-01", tz="UTC")) == 1
    assert store.find("u", pd.Timestamp("2024-01-01 01:00", tz="Europe/Prague")) == 1
    assert store.find("a") == 0


def test_fault_27_unknown_user_cutoff_and_sample(store: FoldedStore) -> None:
    with pytest.raises(UnknownUserError, match="user 'nobody' is not in"):
        store.find("nobody")
    with pytest.raises(UnknownUserError, match=r"no sample at cutoff 2020.*2024-02-05"):
        store.find("user 01", pd.Timestamp("2020-01-01", tz="UTC"))
    with pytest.raises(UnknownUserError, match="' OR 1=1 --' is not in"):
        store.find("' OR 1=1 --")
    with pytest.raises(StoreError, match="has no sample 12"):
        store.read([0, 12])
    with pytest.raises(StoreError, match="has no sample -1"):
        store.read([-1, 3])


def test_fault_27_empty_history(store: FoldedStore) -> None:
    batch = store.read([4])
    assert (len(batch), len(batch.merchants), len(batch.amounts)) == (1, 0, 0)


def test_fault_27_store_without_a_single_payment(tmp_path: Path) -> None:
    store = fold_rows(tmp_path, [], [("u", "2024-01-01", 0.0), ("v", "2024-01-01", 1.0)])
    assert store.read([0, 1]).payment_counts.tolist() == [0, 0]
    assert [len(b) for b in store.batches()] == [2]


@pytest.mark.parametrize("name", ["payments.parquet", "samples.parquet"])
@pytest.mark.parametrize("at", [0.02, 0.5, 0.98])
def test_fault_20_flipped_bit_in_the_store(copy: Path, name: str, at: float) -> None:
    flip_bit(copy / name, at)
    with pytest.raises(StoreError, match=rf"{name}: its bytes are not those.*lbsf fold"):
        FoldedStore.open(copy)


@pytest.mark.parametrize("name", ["payments.parquet", "samples.parquet"])
def test_fault_20_truncated_or_missing_file_of_the_store(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-1])
    with pytest.raises(StoreError, match="its bytes are not those"):
        FoldedStore.open(copy)
    (copy / name).unlink()
    with pytest.raises(StoreError, match="this file is missing"):
        FoldedStore.open(copy)


@pytest.mark.parametrize(
    "changes",
    [
        {"files": {}},
        {"files": None},
        {"files": {"samples.parquet": "0" * 64}},
        {"extra_fields": [{"name": "x", "kind": "colour"}]},
        {"extra_fields": 3},
        {"fold": {"days": 3}},
        {"unknown": 1},
    ],
)
def test_fault_20_manifest_that_does_not_hold_together(copy: Path, changes) -> None:
    edit(copy / "manifest.json", **changes)
    with pytest.raises(StoreError, match="lbsf fold"):
        FoldedStore.open(copy)


def test_fault_20_truncated_manifest(copy: Path) -> None:
    content = (copy / "manifest.json").read_bytes()
    (copy / "manifest.json").write_bytes(content[: len(content) // 2])
    with pytest.raises(LbsfError, match="is no readable JSON"):
        FoldedStore.open(copy)


def test_fault_21_store_whose_manifest_leads_out_of_the_folder(copy: Path) -> None:
    data = json.loads((copy / "manifest.json").read_text())
    shutil.move(copy / "payments.parquet", copy.parent / "payments.parquet")
    data["files"]["../payments.parquet"] = data["files"].pop("payments.parquet")
    (copy / "manifest.json").write_text(json.dumps(data))
    with pytest.raises(StoreError, match="manifest"):
        FoldedStore.open(copy)


def test_fault_21_store_with_a_link(copy: Path) -> None:
    shutil.move(copy / "payments.parquet", copy.parent / "payments.parquet")
    (copy / "payments.parquet").symlink_to(copy.parent / "payments.parquet")
    with pytest.raises(StoreError, match="refused"):
        FoldedStore.open(copy)


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_fault_28_store_of_another_version(copy: Path, version: object) -> None:
    edit(copy / "manifest.json", store_version=version)
    with pytest.raises(
        StoreError, match=rf"store version {version}, this lbsf reads 1. .*`lbsf fold`"
    ):
        FoldedStore.open(copy)


def test_no_store_at_all(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"is no folded store.*`lbsf fold`"):
        FoldedStore.open(tmp_path)


def test_fault_22_store_left_aside_by_a_kill_is_put_back(copy: Path) -> None:
    copy.rename(copy.with_name(".copy.old"))
    assert len(FoldedStore.open(copy).samples) == 12
