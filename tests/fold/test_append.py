"""Added payments: the store reads as if all payments had been folded together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsf_core.config import FoldConfig
from lbsf_core.errors import IngestError, LbsfError, StoreError
from lbsf_core.fold import append as module
from lbsf_core.fold.append import append, compact
from lbsf_core.fold.store import FoldedStore
from lbsf_core.payments.schema import Field, FieldKind
from tests.builders import Payment, flip_bit, fold_rows, write_payments

BALANCE = Field("balance", FieldKind.NUMBER)
LABELS = [("a", "2024-03-01", 1.0), ("a", "2024-06-01", 0.0), ("b", "2024-06-01", None),
          ("c", "2024-06-01", 0.0)]  # fmt: skip
FIRST = [
    ("a", "shop", "2024-02-01", -5.0, "x"),
    ("a", "rent", "2024-02-03", -900.0, "flat"),
    ("b", "shop", "2024-05-01", -1.0, "y"),
]


def same(found: FoldedStore, expected: FoldedStore) -> None:
    """Every sample, every payment, byte for byte; only where it lies may differ."""
    drop = ["row_start", "file"]
    one, other = (s.samples.drop(columns=drop, errors="ignore") for s in (found, expected))
    pd.testing.assert_frame_equal(one, other)
    every = np.arange(len(one))
    tables = [
        store.rows(order).to_pandas().astype({"merchant": str, "description": str})
        for store in (found, expected)
        for order in (every, every[::-1])
    ]
    pd.testing.assert_frame_equal(tables[0], tables[2])
    pd.testing.assert_frame_equal(tables[1], tables[3])


def test_by_hand(tmp_path: Path) -> None:
    store = fold_rows(tmp_path, FIRST, LABELS, FoldConfig(100))
    new = [
        ("a", "shop", "2024-05-30", -7.0, "z"),  # seen by one sample of a
        ("a", "shop", "2024-02-15", -6.0, "late"),  # by the earlier one; too old for the later
        ("a", "bar", "2024-06-01", -1.0, "at the cutoff"),
        ("zoe", "bar", "2024-05-01", -1.0, "has no sample"),
        ("c", "bar", "2024-05-01", 3.0, "its first"),
    ]
    store, found = append(store, write_payments(tmp_path / "new.parquet", new))
    assert (found.payments, found.unknown, found.outside) == (5, 1, 1)
    assert found.samples.tolist() == [0, 1, 3]
    assert found.touched == ((0, "shop"), (1, "shop"), (3, "bar"))
    assert store.samples["payments"].tolist() == [3, 1, 1, 1]
    assert store.samples["file"].tolist() == [1, 1, 0, 1]
    assert store.read([0]).amounts.tolist() == [-5.0, -6.0, -900.0]
    same(store, fold_rows(tmp_path, FIRST + new, LABELS, FoldConfig(100), name="all"))


USERS, SHOPS = ("a", "b", "c", "d"), ("shop", "rent", "bar")
PAYMENTS = st.lists(
    st.tuples(
        st.sampled_from(USERS),
        st.sampled_from(SHOPS),
        st.integers(0, 200).map(lambda d: str(pd.Timestamp("2024-01-01") + pd.Timedelta(d, "D"))),
        st.integers(-3, 3).map(float),
        st.sampled_from(["x", "y"]),
        st.sampled_from([1.0, 2.0, None]),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(
    first=PAYMENTS,
    more=st.lists(PAYMENTS, min_size=1, max_size=3),
    window=st.sampled_from([None, 60]),
    part=st.sampled_from([3, 1000]),
)
def test_any_payments_late_and_repeated_ones_too(
    tmp_path_factory: pytest.TempPathFactory,
    first: list[Payment],
    more: list[list[Payment]],
    window: int | None,
    part: int,
) -> None:
    folder = tmp_path_factory.mktemp("append")
    config = FoldConfig(window)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PART", part)
        store = fold_rows(folder, first, LABELS, config, extra=[BALANCE])
        everything = list(first)
        for number, rows in enumerate(more):
            everything += rows
            try:
                path = write_payments(folder / f"{number}.parquet", rows, [BALANCE])
                store, _ = append(store, path)
            except StoreError as error:  # the same file twice: told, and nothing changes
                assert "already" in str(error)
                everything = everything[: len(everything) - len(rows)]
        whole = fold_rows(folder, everything, LABELS, config, extra=[BALANCE], name="all")
        same(store, whole)
        same(FoldedStore.open(store.path), whole)  # hashes hold
        same(compact(store, folder / "compact"), whole)
        kept = compact(store, folder / "compact")
        assert kept.payment_files == (kept.path / "payments.parquet",)


def test_what_is_not_touched_is_not_written_again(tmp_path: Path) -> None:
    store = fold_rows(tmp_path, FIRST, LABELS)
    before = (store.path / "payments.parquet").stat().st_ino
    rows = [("c", "bar", "2024-05-01", 3.0, "x")]
    store, _ = append(store, write_payments(tmp_path / "new.parquet", rows))
    assert (store.path / "payments.parquet").stat().st_ino == before
    assert store.samples["file"].tolist() == [0, 0, 0, 1]


def test_payments_that_nobody_sees_change_nothing(tmp_path: Path) -> None:
    store = fold_rows(tmp_path, FIRST, LABELS)
    before = store.digest
    for rows in ([], [("zoe", "bar", "2024-05-01", 3.0, "x")]):
        store, found = append(store, write_payments(tmp_path / "new.parquet", rows))
        assert len(found.samples) == 0
        assert store.digest == before


def test_the_same_file_is_refused(tmp_path: Path) -> None:
    store = fold_rows(tmp_path, FIRST, LABELS)
    new = write_payments(tmp_path / "new.parquet", [("b", "bar", "2024-05-01", 3.0, "x")])
    store, _ = append(store, new)
    with pytest.raises(StoreError, match="already"):
        append(store, new)
    with pytest.raises(StoreError, match="already"):
        append(store, tmp_path / "store.payments.parquet")


def test_caps_other_fields_and_damage_are_refused(tmp_path: Path) -> None:
    new = write_payments(tmp_path / "new.parquet", [("b", "bar", "2024-05-01", 3.0, "x")])
    capped = fold_rows(tmp_path, FIRST, LABELS, FoldConfig(max_payments=1), name="capped")
    with pytest.raises(StoreError, match="caps"):
        append(capped, new)
    store = fold_rows(tmp_path, FIRST, LABELS)
    other = write_payments(tmp_path / "o.parquet", [("b", "bar", "2024-05-01", 3.0, "x", 1.0)],
                           [BALANCE])  # fmt: skip
    with pytest.raises(StoreError, match="extra fields"):
        append(store, other)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(IngestError):
        append(store, tmp_path / "bad.parquet")
    store, _ = append(store, new)
    flip_bit(store.path / "added-0001.parquet")
    with pytest.raises(StoreError, match="not those that were written"):
        FoldedStore.open(store.path)


def test_a_kill_leaves_the_store_as_it_was(tmp_path: Path, monkeypatch) -> None:
    store = fold_rows(tmp_path, FIRST, LABELS)
    new = write_payments(tmp_path / "new.parquet", [("b", "bar", "2024-05-01", 3.0, "x")])
    monkeypatch.setattr(module, "_write_samples", lambda *_: (_ for _ in ()).throw(LbsfError("!")))
    with pytest.raises(LbsfError):
        append(store, new)
    assert FoldedStore.open(store.path).samples["payments"].tolist() == [2, 2, 1, 0]
    assert {p.name for p in store.path.iterdir()} == {
        *("payments.parquet", "samples.parquet", "manifest.json"),
    }
