"""The fold on disk: windows, order, caps and what they drop, computed by hand and by property."""

from __future__ import annotations

import resource
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsf_core.config import FoldConfig
from lbsf_core.errors import IngestError, StoreError
from lbsf_core.fold import fold as fold_module
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.fold.fold import fold
from lbsf_core.fold.store import FoldedStore
from lbsf_core.payments.schema import Field, FieldKind
from tests.builders import Payment, fold_rows, write_labels, write_payments
from tests.fold.sql_fold import sql_fold

# Two users, three merchants. Ann's rent and shop were last paid on the same instant.
PAYMENTS: list[Payment] = [
    ("ann", "shop", "2024-01-05", -10.10, "bread"),
    ("ann", "rent", "2024-01-01", -500.00, "January"),
    ("ann", "shop", "2024-03-01", -30.30, "wine"),
    ("ann", "rent", "2024-03-01", -500.00, "March"),
    ("ann", "work", "2024-02-28", 2000.00, "pay"),
    ("ann", "shop", "2024-02-01", 5.05, "refund"),
    ("ann", "rent", "2024-02-01", -500.00, "February"),
    ("bob", "shop", "2024-02-10", -7.07, "milk"),
    ("bob", "work", "2024-02-09", 900.00, "pay"),
    ("eve", "shop", "2024-02-09", -1.00, "not asked for"),
]
LABELS = [("ann", "2024-03-02", 1.0), ("bob", "2024-03-02", 0.0), ("cat", "2024-03-02", None)]

Rows = list[tuple[int, int, str, str, float, str]]


def rows(store: FoldedStore) -> Rows:
    """(sample, segment, merchant, day, amount, description) of every row as it lies on disk."""
    table = pq.read_table(store.path / "payments.parquet").to_pandas()
    return [
        (r.sample, r.segment, r.merchant, f"{r.timestamp:%Y-%m-%d}", r.amount, r.description)
        for r in table.itertuples()
    ]


def test_hand_computed_fold(tmp_path: Path) -> None:
    store = fold_rows(tmp_path, PAYMENTS, LABELS)
    assert rows(store) == [
        (0, 0, "rent", "2024-01-01", -500.00, "January"),  # rent before shop: a tie, by name
        (0, 0, "rent", "2024-02-01", -500.00, "February"),
        (0, 0, "rent", "2024-03-01", -500.00, "March"),
        (0, 1, "shop", "2024-01-05", -10.10, "bread"),
        (0, 1, "shop", "2024-02-01", 5.05, "refund"),
        (0, 1, "shop", "2024-03-01", -30.30, "wine"),
        (0, 2, "work", "2024-02-28", 2000.00, "pay"),
        (1, 0, "shop", "2024-02-10", -7.07, "milk"),
        (1, 1, "work", "2024-02-09", 900.00, "pay"),
    ]
    samples = store.samples
    assert samples["user_id"].tolist() == ["ann", "bob", "cat"]
    assert samples["payments"].tolist() == [7, 2, 0]
    assert samples["segments"].tolist() == [3, 2, 0]
    assert samples["row_start"].tolist() == [0, 7, 9]
    assert samples["money_in"].tolist() == pytest.approx([2005.05, 900.0, 0.0])
    assert samples["money_out"].tolist() == pytest.approx([1540.40, 7.07, 0.0])
    assert samples["label"].tolist()[:2] == [1.0, 0.0]
    assert np.isnan(samples["label"][2])
    assert samples[["dropped_payments", "dropped_merchants", "dropped_amount"]].sum().sum() == 0
    assert samples["window_start"].isna().all()
    assert f"{samples['first_payment'][0]}" == "2024-01-01 00:00:00+00:00"
    assert f"{samples['last_payment'][0]}" == "2024-03-01 00:00:00+00:00"


def test_hand_computed_caps_and_what_they_drop(tmp_path: Path) -> None:
    config = FoldConfig(max_merchants=2, max_payments=1)
    store = fold_rows(tmp_path, PAYMENTS, LABELS, config)
    assert rows(store) == [
        (0, 0, "rent", "2024-03-01", -500.00, "March"),
        (0, 1, "shop", "2024-03-01", -30.30, "wine"),
        (1, 0, "shop", "2024-02-10", -7.07, "milk"),
        (1, 1, "work", "2024-02-09", 900.00, "pay"),
    ]
    samples = store.samples
    # Ann loses her job's one payment of 2,000, two rents, and 10.10 + 5.05 of shopping.
    assert samples["dropped_payments"].tolist() == [5, 0, 0]
    assert samples["dropped_merchants"].tolist() == [1, 0, 0]
    assert samples["dropped_amount"].tolist() == pytest.approx([3015.15, 0.0, 0.0])
    summary = fold(
        tmp_path / "store.payments.parquet", tmp_path / "store.labels.parquet", store.path, config
    )
    assert (summary.samples, summary.payments, summary.segments) == (3, 4, 4)
    assert summary.empty_samples == 1
    assert (summary.dropped_payments, summary.dropped_merchants) == (5, 1)
    assert ("absolute amount dropped by the caps", "3,015.15") in summary.rows()


@pytest.mark.parametrize(
    ("config", "dropped"),
    [(FoldConfig(max_merchants=1), [4, 1, 0]), (FoldConfig(max_payments=2), [2, 0, 0])],
)
def test_each_cap_alone_counts_what_it_drops(
    tmp_path: Path, config: FoldConfig, dropped: list[int]
) -> None:
    samples = fold_rows(tmp_path, PAYMENTS, LABELS, config).samples
    assert samples["dropped_payments"].tolist() == dropped
    merchants = [2, 1, 0] if config.max_merchants else [0, 0, 0]
    assert samples["dropped_merchants"].tolist() == merchants


def test_windows_are_half_open(tmp_path: Path) -> None:
    cutoff = "2024-03-31T12:00:00"
    times = {
        "one tick before the window": "2024-03-01T11:59:59.999999",
        "first instant": "2024-03-01T12:00:00",
        "last instant": "2024-03-31T11:59:59.999999",
        "the cutoff itself": "2024-03-31T12:00:00",
        "later": "2024-04-01",
    }
    payments = [("u", name, when, -1.0, "") for name, when in times.items()]
    store = fold_rows(tmp_path, payments, [("u", cutoff, 0.0)], FoldConfig(window_days=30))
    assert [row[2] for row in rows(store)] == ["last instant", "first instant"]
    assert f"{store.samples['window_start'][0]}" == "2024-03-01 12:00:00+00:00"


def test_a_window_across_a_change_of_the_clock_is_whole_days_of_24_hours(tmp_path: Path) -> None:
    # The clock of the machine and of the payments never enters: 2024-03-31 has 23 hours in Prague.
    payments = [
        ("u", "in", "2024-03-30T22:00:00", -1.0, ""),
        ("u", "out", "2024-03-30T21:59:59", -1.0, ""),
    ]
    store = fold_rows(
        tmp_path, payments, [("u", "2024-04-01T22:00:00", 0.0)], FoldConfig(window_days=2)
    )
    assert [row[2] for row in rows(store)] == ["in"]


def test_several_cutoffs_of_a_user_are_samples_of_their_own(tmp_path: Path) -> None:
    store = fold_rows(tmp_path, PAYMENTS, [("ann", "2024-03-02", 1.0), ("ann", "2024-02-01", 0.0)])
    assert [f"{c:%Y-%m-%d}" for c in store.samples["cutoff"]] == ["2024-02-01", "2024-03-02"]
    assert store.samples["payments"].tolist() == [2, 7]
    assert [row[5] for row in rows(store)[:2]] == ["bread", "January"]


def test_same_sample_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"user 'ann' stands more than once at cutoff 2024-03-02"):
        fold_rows(tmp_path, PAYMENTS, [LABELS[0], ("ann", "2024-03-02", 0.0)])
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("which", ["payments", "labels"])
def test_a_file_without_its_columns_is_refused(tmp_path: Path, which: str) -> None:
    paths = {
        "payments": write_payments(tmp_path / "payments.parquet", PAYMENTS),
        "labels": write_labels(tmp_path / "labels.parquet", LABELS),
    }
    table = pq.read_table(paths[which])
    pq.write_table(table.drop_columns(["user_id"]), paths[which])
    with pytest.raises(IngestError, match=r"can't be folded.*user_id"):
        fold(paths["payments"], paths["labels"], tmp_path / "store")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["labels.parquet", "payments.parquet"]


def test_fault_23_a_fold_that_meets_a_full_disk_leaves_the_old_store(tmp_path: Path) -> None:
    """The operating system refuses to let files grow, as a full disk would."""
    many = [
        ("ann", f"{i * 7919 % 6101}", "2024-01-01", float(i), f"{i * 104729}") for i in range(6000)
    ]
    payments = write_payments(tmp_path / "payments.parquet", many)
    labels = write_labels(tmp_path / "labels.parquet", LABELS)
    before = fold_rows(tmp_path, PAYMENTS, LABELS).digest
    left = set(tmp_path.iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, limits[1]))
    try:
        with pytest.raises(StoreError, match=r"File too large.*Free some space"):
            fold(payments, labels, tmp_path / "store")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert FoldedStore.open(tmp_path / "store").digest == before
    assert set(tmp_path.iterdir()) == left


EXTRA = (
    Field("category", FieldKind.CATEGORY),
    Field("balance", FieldKind.NUMBER),
    Field("booked", FieldKind.TIMESTAMP),
)

_times = st.integers(0, 8).map(lambda day: f"2024-02-0{day + 1}T00:00:00")
#: Few users, merchants, days and texts, so that every kind of tie is met.
_payments = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob"]),
        st.sampled_from(["a", "b", "Ž", "'; --"]),
        _times,
        st.integers(-300, 300).map(lambda cents: cents / 100),
        st.sampled_from(["", "x", "ž"]),
        st.sampled_from([None, "food", "rent"]),
        st.sampled_from([None, 0.5, -1.0]),
        st.sampled_from(["2024-01-01", "2024-01-02"]),
    ),
    min_size=1,
    max_size=25,
)
_labels = [("ann", "2024-02-05", 1.0), ("ann", "2024-02-08", 0.0), ("bob", "2024-02-07", None)]
_configs = st.builds(
    FoldConfig,
    window_days=st.sampled_from([None, 3]),
    max_merchants=st.sampled_from([None, 2]),
    max_payments=st.sampled_from([None, 2]),
)


@settings(max_examples=12, deadline=None)
@given(_payments, _configs, st.randoms(use_true_random=False))
def test_fault_14_payments_in_any_order_give_the_same_bytes(payments, config, random) -> None:
    shuffled = list(payments)
    random.shuffle(shuffled)
    with tempfile.TemporaryDirectory() as folder:
        store, other = (
            fold_rows(Path(folder), some, _labels, config, extra=EXTRA, name=name)
            for name, some in (("one", payments), ("other", shuffled))
        )
        for name in ("payments.parquet", "samples.parquet"):
            assert (store.path / name).read_bytes() == (other.path / name).read_bytes()


@settings(max_examples=12, deadline=None)
@given(_payments, _configs)
def test_fault_26_payments_at_or_after_the_cutoff_change_no_byte(payments, config) -> None:
    late = [
        (user, merchant, when, 1e9, "canary", "canary", 1e9, "2024-01-01")
        for user, when in (("ann", "2024-02-08T00:00:00"), ("bob", "2024-02-07T00:00:00"))
        for merchant in ("a", "canary")
        for when in (when, "2025-01-01")
    ] * 5
    labels = [_labels[1], _labels[2]]
    with tempfile.TemporaryDirectory() as folder:
        store = fold_rows(Path(folder), payments, labels, config, extra=EXTRA, name="one")
        other = fold_rows(
            Path(folder), late + payments + late, labels, config, extra=EXTRA, name="other"
        )
        for name in ("payments.parquet", "samples.parquet"):
            assert (store.path / name).read_bytes() == (other.path / name).read_bytes()


@settings(max_examples=12, deadline=None)
@given(_payments)
def test_fold_then_unfold_gives_back_every_payment_to_the_cent(payments) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = fold_rows(Path(folder), payments, _labels, extra=EXTRA)
        frame = store.read(np.arange(3)).to_frame()

    def when(time):
        return f"{time:%Y-%m-%dT%H:%M:%S}"

    def extras(row):
        booked = f"{np.datetime64(int(row.booked), 'us'):.10}"
        return row.category or None, None if np.isnan(row.balance) else row.balance, booked

    found = [
        (r.sample, r.merchant, when(r.timestamp), round(r.amount * 100), r.description, *extras(r))
        for r in frame.itertuples()
    ]
    users = [("ann", "2024-02-05"), ("ann", "2024-02-08"), ("bob", "2024-02-07")]
    expected = [
        (sample, p[1], p[2], round(p[3] * 100), *p[4:])
        for sample, (user, cutoff) in enumerate(users)
        for p in payments
        if p[0] == user and p[2] < cutoff
    ]
    assert sorted(found, key=repr) == sorted(expected, key=repr)


@settings(max_examples=40, deadline=None)
@given(_payments, _configs, st.sampled_from([1, 3, 1000]))
def test_the_fold_is_the_one_that_sql_gives(payments, config, part) -> None:
    """Whatever lies by user or not, and however many users are grouped at a time."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(fold_module, "PART", part)
        folder = Path(name)
        for payers in (payments, sorted(payments, key=lambda p: p[0])):
            store = fold_rows(folder, payers, _labels, config, extra=EXTRA)
            table = pq.read_table(store.path / "payments.parquet")
            for column in ("timestamp", "booked"):
                place = table.column_names.index(column)
                table = table.set_column(place, column, table[column].cast(pa.int64()))
            found = list(zip(*(table[c].to_pylist() for c in table.column_names), strict=True))
            paths = (folder / f"store.{kind}.parquet" for kind in ("payments", "labels"))
            assert found == sql_fold(*paths, config, EXTRA)


def test_row_groups_have_one_size_whatever_the_parts(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(fold_module, "ROW_GROUP", 100)
    monkeypatch.setattr(fold_module, "PART", 70)
    many = [
        (f"u{i % 13:02d}", f"m{i * 7 % 11}", f"2024-01-{i % 28 + 1:02d}", float(i), f"text {i % 9}")
        for i in range(1_000)
    ]
    store = fold_rows(tmp_path, many, [(f"u{i:02d}", "2024-02-01", 0.0) for i in range(13)])
    meta = pq.read_metadata(store.path / "payments.parquet")
    sizes = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
    assert sizes == [100] * 10
    paths = (tmp_path / f"store.{kind}.parquet" for kind in ("payments", "labels"))
    expected = [(s, g, m, d, a) for s, g, m, d, _, a in sql_fold(*paths, FoldConfig())]
    assert [(s, g, m, d, a) for s, g, m, _, a, d in rows(store)] == expected


def test_users_without_a_sample_and_samples_without_a_user_drop_out(tmp_path: Path) -> None:
    many = [(user, "shop", "2024-01-05", -1.0, user) for user in "acegi" for _ in range(3)]
    labels = [(user, "2024-02-01", 0.0) for user in "bcdgz"]
    store = fold_rows(tmp_path, many, labels)
    assert store.samples["payments"].tolist() == [0, 3, 0, 3, 0]
    assert [(row[0], row[5]) for row in rows(store)] == [(1, "c")] * 3 + [(3, "g")] * 3


def test_fault_20_damaged_payments_are_said_to_be_damaged_not_the_disk_full(tmp_path: Path) -> None:
    payments = write_payments(tmp_path / "payments.parquet", PAYMENTS * 50)
    labels = write_labels(tmp_path / "labels.parquet", LABELS)
    data = bytearray(payments.read_bytes())
    data[4:200] = bytes(196)
    payments.write_bytes(data)
    with pytest.raises(IngestError, match="can't be folded"):
        fold(payments, labels, tmp_path / "store")
    assert not (tmp_path / "store").exists()


@settings(max_examples=12, deadline=None)
@given(_payments)
def test_a_batch_from_rows_folds_alike(payments) -> None:
    """`FoldedBatch.from_rows` is written apart from the fold on disk: both must mean the same."""
    with tempfile.TemporaryDirectory() as folder:
        store = fold_rows(Path(folder), [p[:5] for p in payments], _labels)
        batch = store.read(np.arange(3))
    other = FoldedBatch.from_rows(
        [(user, cutoff, [p[1:5] for p in payments if p[0] == user]) for user, cutoff, _ in _labels],
    )
    assert batch.merchants.decode() == other.merchants.decode()
    assert batch.texts["description"].decode() == other.texts["description"].decode()
    for name in ("user_offsets", "offsets", "timestamps", "amounts", "cutoffs"):
        np.testing.assert_array_equal(getattr(batch, name), getattr(other, name), err_msg=name)
