"""Kept attributions add up, survive a kill, and are used only where they were made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from lbsf_core.errors import AttributionsError
from lbsf_core.explain import explain_all as running
from lbsf_core.explain.attributions import BANDS, KEY, join
from lbsf_core.explain.batch import (
    asked_reasons,
    band_of_payment,
    explain_batch,
    read_attributions,
    runs_of,
)
from lbsf_core.explain.explain_all import write_attributions
from lbsf_core.explain.gradient import explain, field_names
from lbsf_core.explain.kinds import merchant_kinds
from lbsf_core.explain.reasons import reasons
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.workspace import build_workspace

#: Payments of a chunk: cuts the store of the tests into several.
SMALL = 2_000


@pytest.fixture(scope="module")
def opened(tiny_store: Path, tiny_bundle: Path) -> tuple[FoldedStore, Bundle]:
    return FoldedStore.open(tiny_store), Bundle.load(tiny_bundle)


@pytest.fixture(scope="module")
def kept(opened: tuple[FoldedStore, Bundle], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every sample of the tiny store, explained without a break in one process."""
    out = tmp_path_factory.mktemp("kept") / "attributions.parquet"
    return write_attributions(*opened, out, workers=1, chunk=SMALL)


def test_the_columns_of_a_merchant_and_of_a_sample_add_up(
    opened: tuple[FoldedStore, Bundle], kept: Path
) -> None:
    store, bundle = opened
    frame = pd.read_parquet(kept)
    fields = [f"field:{name}" for name in field_names(bundle.model)]
    times = [f"time:{name}" for name in BANDS]
    for parts in (fields, times):
        sums = frame[parts].astype(float).sum(axis=1)
        np.testing.assert_allclose(sums, frame["attribution"], atol=1e-5)
    counts = frame[[f"payments:{name}" for name in BANDS]].sum(axis=1)
    assert (counts == frame["payments"]).all()
    of_sample = frame.groupby("sample").agg(
        found=("attribution", "sum"),
        weight=("weight", "sum"),
        payments=("payments", "sum"),
        **{name: (name, "first") for name in ("user_id", "cutoff", "logit", "baseline_logit")},
        delta=("delta", "first"),
    )
    moved = of_sample["logit"] - of_sample["baseline_logit"]
    np.testing.assert_allclose(of_sample["found"] - moved, of_sample["delta"], atol=1e-9)
    assert of_sample["delta"].abs().max() <= 1e-3
    np.testing.assert_allclose(of_sample["weight"], 1.0, atol=1e-5)
    for name in ("user_id", "cutoff", "payments"):
        assert (of_sample[name].to_numpy() == store.samples[name].to_numpy()).all()
    assert frame["kind"].nunique() > 3
    assert frame[["sample", "segment"]].equals(
        frame[["sample", "segment"]].sort_values(["sample", "segment"], ignore_index=True)
    )


def test_one_sample_is_what_explaining_it_alone_says(
    opened: tuple[FoldedStore, Bundle], kept: Path
) -> None:
    store, bundle = opened
    frame = pd.read_parquet(kept).query("sample == 17")
    one = store.read([17])
    (found,) = explain(bundle, one)
    payments = found.payments_frame()
    days = (found.cutoff - payments["timestamp"].dt.tz_localize("UTC")).dt.days
    in_band = payments.assign(band=pd.cut(days, [-1, 7, 30, 90, 180, 365, 9999], labels=BANDS))
    by_band = in_band.groupby(["segment", "band"], observed=False)["attribution"].sum().unstack()
    expected = by_band[list(BANDS)].to_numpy()
    ours = frame[[f"time:{name}" for name in BANDS]].to_numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-3)
    assert (np.abs(expected).sum(axis=0) > 0).sum() >= 4
    for name in found.fields:
        own = payments.groupby("segment")[f"field:{name}"].sum()
        np.testing.assert_allclose(frame[f"field:{name}"], own, atol=1e-3)
    assert frame["merchant"].tolist() == list(found.merchants)
    assert frame["kind"].tolist() == merchant_kinds(one)


@pytest.mark.parametrize(
    ("when", "band"),
    [
        ("2024-12-31", "0-7"),  # one day
        ("2024-12-24 00:00:01", "0-7"),  # a second short of eight days
        ("2024-12-24", "8-30"),
        ("2024-12-02", "8-30"),  # 30 days
        ("2024-12-01", "31-90"),
        ("2024-10-02", "91-180"),  # 91 days
        ("2024-07-04", "181-365"),  # 181 days
        ("2024-01-02", "181-365"),  # 365 days
        ("2024-01-01", "older"),  # 366 days
    ],
)
def test_bands_count_whole_days(when: str, band: str) -> None:
    one = FoldedBatch.from_rows([("u", "2025-01-01", [("shop", when, -1.0, "")])])
    assert BANDS[int(band_of_payment(one)[0])] == band


def test_a_sample_without_a_payment_keeps_its_row(opened: tuple[FoldedStore, Bundle]) -> None:
    store, bundle = opened
    two = store.read([3, 4])
    nothing = two.keep(two.sample_of_payment == 1)
    assert nothing.payment_counts[0] == 0
    segments, samples = explain_batch(bundle, nothing)
    table = join(segments, samples)
    first = table.slice(0, 1).to_pylist()[0]
    assert first["sample"] == 3
    assert first["segment"] is first["merchant"] is first["attribution"] is None
    assert first["logit"] == pytest.approx(first["baseline_logit"])
    assert first["delta"] == pytest.approx(0.0, abs=1e-6)
    assert table["sample"].to_pylist()[1:] == [4] * len(segments)
    assert table["segment"].to_pylist()[1:] == list(range(len(segments)))


def test_reason_codes_are_told_of_those_that_are_asked(
    opened: tuple[FoldedStore, Bundle], kept: Path
) -> None:
    store, bundle = opened
    told_all = pq.read_table(kept, columns=["sample", "risk"]).to_pylist()
    one = next(row["sample"] for row in told_all if row["risk"] and 0 < row["sample"] < 59)
    _, samples = explain_batch(bundle, store.read([one - 1, one, one + 1]), np.array([one]))
    rows = samples.to_pylist()
    assert [row["risk"] is None for row in rows] == [True, False, True]
    found = reasons(bundle, store.read([one]), always=True)
    assert found.risk
    for side in ("risk", "protective"):
        told = [f"{one.code}|{one.kind}" for one in getattr(found, side)]
        assert rows[1][side] == list(dict.fromkeys(told))


def test_who_is_asked_is_drawn_once_and_for_all() -> None:
    assert asked_reasons(5, 9).tolist() == [0, 1, 2, 3, 4]
    some = asked_reasons(1000, 100)
    assert len(set(some.tolist())) == 100
    assert (some == asked_reasons(1000, 100)).all()
    assert 350 < some.mean() < 650  # not the first ones


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 60))
def test_runs_hold_every_entry_once(counts: list[int], limit: int) -> None:
    runs = runs_of(np.array(counts, dtype=np.int64), limit)
    assert [i for low, high in runs for i in range(low, high)] == list(range(len(counts)))
    for low, high in runs:  # what comes before the last entry fits
        assert low < high
        assert sum(counts[low : high - 1]) < limit


@pytest.mark.parametrize("after", [1, 3])
def test_killed_and_resumed_equals_unbroken(
    opened: tuple[FoldedStore, Bundle],
    kept: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
) -> None:
    store, bundle = opened
    runs = runs_of(store.samples["payments"].to_numpy(), SMALL)
    assert len(runs) > 4
    steps: list[int] = []

    def kill(done: int, total: int) -> None:
        steps.append(done)
        if len(steps) == after:
            raise KeyboardInterrupt

    out = tmp_path / "a.parquet"
    with pytest.raises(KeyboardInterrupt):
        write_attributions(store, bundle, out, kill, workers=1, chunk=SMALL)
    assert not out.exists()

    explained: list[tuple[int, int]] = []
    original = running.explain_chunk

    def counted(store: FoldedStore, bundle: Bundle, begin: int, end: int, *also: object):
        explained.append((begin, end))
        return original(store, bundle, begin, end, *also)

    monkeypatch.setattr(running, "explain_chunk", counted)
    told: list[tuple[int, int]] = []
    write_attributions(store, bundle, out, lambda *at: told.append(at), workers=1, chunk=SMALL)
    assert explained == runs[after:]
    assert told[0][0] > steps[-1]
    assert told[-1] == (int(store.samples["payments"].sum()),) * 2
    assert out.read_bytes() == kept.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_two_processes_say_what_one_says(
    opened: tuple[FoldedStore, Bundle], kept: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a.parquet"
    write_attributions(*opened, out, workers=2, chunk=SMALL)
    ours, theirs = pd.read_parquet(out), pd.read_parquet(kept)
    pd.testing.assert_frame_equal(ours, theirs, atol=1e-3, rtol=0)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_other_weights_never_go_on_with_what_is_there(
    opened: tuple[FoldedStore, Bundle], kept: Path, tmp_path: Path
) -> None:
    store, bundle = opened
    out = tmp_path / "a.parquet"

    def kill(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_attributions(store, _changed(bundle), out, kill, workers=1, chunk=SMALL)
    (left,) = tmp_path.glob(".a.parquet.*.explaining")
    assert list(left.glob("*-*.parquet"))
    write_attributions(store, bundle, out, workers=1, chunk=SMALL)
    assert out.read_bytes() == kept.read_bytes()
    assert not left.exists()


def test_a_folder_in_use_is_left_alone_and_a_foreign_one_too(
    opened: tuple[FoldedStore, Bundle], tmp_path: Path
) -> None:
    store, bundle = opened
    out = tmp_path / "a.parquet"
    busy, foreign = (tmp_path / f".a.parquet.{name}.explaining" for name in ("busy", "foreign"))
    for folder in (busy, foreign):
        folder.mkdir()
        (folder / "mine.txt").write_text("mine")
    with FileLock(busy / "lock"):

        def again(done: int, total: int) -> None:
            with pytest.raises(AttributionsError, match="another run"):
                write_attributions(store, bundle, out, workers=1)

        write_attributions(store, bundle, out, again, workers=1)
    assert (busy / "mine.txt").is_file()
    assert (foreign / "mine.txt").is_file()


def test_a_folder_is_refused_before_any_work(
    opened: tuple[FoldedStore, Bundle], tmp_path: Path
) -> None:
    with pytest.raises(AttributionsError, match="is a folder"):
        write_attributions(*opened, tmp_path)


def test_kept_attributions_make_the_same_workspace(
    tiny_store: Path, tiny_bundle: Path, tiny_workspace: Path, kept: Path, tmp_path: Path
) -> None:
    built = build_workspace(tiny_store, tiny_bundle, tmp_path / "w", attributions=kept)
    ours, fresh = (
        pq.read_table(folder / "merchants.parquet").to_pandas()
        for folder in (built, tiny_workspace)
    )
    assert list(ours.columns) == list(fresh.columns)
    assert ours[["sample", "segment", "merchant"]].equals(fresh[["sample", "segment", "merchant"]])
    assert np.abs(ours["attribution"] - fresh["attribution"]).max() < 2e-3
    ours, fresh = (
        pq.read_table(folder / "samples.parquet").to_pandas() for folder in (built, tiny_workspace)
    )
    assert list(ours.columns) == list(fresh.columns)


def test_kept_attributions_are_believed_only_where_they_belong(
    opened: tuple[FoldedStore, Bundle], kept: Path, tmp_path: Path
) -> None:
    store, bundle = opened
    segments, samples = read_attributions(store, bundle, kept)
    assert samples["sample"].to_pylist() == list(range(len(store.samples)))
    assert sum(map(len, segments)) == store.samples["segments"].sum()

    # Values that were changed are found by explaining some samples again.
    table, forged = pq.read_table(kept), tmp_path / "forged.parquet"
    at = table.schema.get_field_index("attribution")
    moved = pc.add(table["attribution"], 0.1)
    pq.write_table(table.set_column(at, "attribution", moved), forged)
    with pytest.raises(AttributionsError, match="differs from what this code finds"):
        read_attributions(store, bundle, forged)
    for other in (table.slice(0, len(table) // 2), table.take(np.arange(len(table))[::-1])):
        pq.write_table(other, forged)
        with pytest.raises(AttributionsError, match="differs from what this code finds"):
            read_attributions(store, bundle, forged)

    with pytest.raises(AttributionsError, match="other weights"):
        read_attributions(store, _changed(bundle), kept)
    pq.write_table(table.replace_schema_metadata({KEY: b'{"version": 1}'}), forged)
    with pytest.raises(AttributionsError, match="version 1"):
        read_attributions(store, bundle, forged)
    pq.write_table(table.replace_schema_metadata(None), forged)
    (tmp_path / "cut.parquet").write_bytes(kept.read_bytes()[:-100])
    for wrong in (forged, tmp_path / "cut.parquet", tmp_path / "nothing", tmp_path):
        with pytest.raises(AttributionsError, match="holds no attributions"):
            read_attributions(store, bundle, wrong)


def _changed(bundle: Bundle) -> Bundle:
    """The same bundle with other weights."""
    model = type(bundle.model)(bundle.model.config, bundle.model.fields, bundle.model.fitted)
    state = {
        name: value * 1.01 if torch.is_floating_point(value) else value
        for name, value in bundle.model.state_dict().items()
    }
    model.load_state_dict(state)
    return replace(bundle, model=model.eval())
