"""An update gives the scores of all payments folded and scored from the start."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from lbsf_core.cli import app
from lbsf_core.config import FoldConfig
from lbsf_core.errors import StoreError
from lbsf_core.fold.fold import fold
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.score import states as states_module
from lbsf_core.score import update as module
from lbsf_core.score.scorer import score_store
from lbsf_core.score.states import SegmentStates
from lbsf_core.score.update import states_of, update
from tests.builders import fold_rows, random_batch, small_model, write_payments

USERS = ("a", "b", "c")
LABELS = [("a", "2024-03-01", 1.0), ("a", "2024-06-01", 0.0), ("b", "2024-06-01", None),
          ("c", "2024-06-01", 0.0)]  # fmt: skip
PAYMENTS = st.lists(
    st.tuples(
        st.sampled_from([*USERS, "zoe"]),
        st.sampled_from(["shop", "rent", "bar"]),
        st.integers(0, 200).map(lambda d: str(pd.Timestamp("2024-01-01") + pd.Timedelta(d, "D"))),
        st.integers(-30, 30).map(float),
        st.sampled_from(["x", "y"]),
    ),
    max_size=20,
)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    model = small_model(random_batch(99, 30), noise=0.5)
    return Bundle(model, {"slope": 1.1, "intercept": 0.2}, {}, {}, {})


@settings(max_examples=15, deadline=None)
@given(
    first=PAYMENTS, more=st.lists(PAYMENTS, min_size=1, max_size=3), part=st.sampled_from([4, 99])
)
def test_scores_are_those_of_a_fold_from_the_start(
    tmp_path_factory: pytest.TempPathFactory, bundle: Bundle, first: list, more: list, part: int
) -> None:
    folder = tmp_path_factory.mktemp("update")
    store = fold_rows(folder, first, LABELS, FoldConfig(120))
    everything = list(first)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PART", part)
        for number, rows in enumerate(more):
            try:
                done = update(store, bundle, write_payments(folder / f"{number}.parquet", rows))
            except StoreError as error:
                assert "already" in str(error)
                continue
            everything += rows
            assert done.made == (number == 0 or done.made)
            store = done.store
            whole = fold_rows(folder, everything, LABELS, FoldConfig(120), name=f"all{number}")
            expected = score_store(whole, bundle)
            for name in ("logit", "pd"):
                np.testing.assert_allclose(done.scores[name], expected[name], atol=1e-5)
            assert done.scores["user_id"].to_pylist() == expected["user_id"].to_pylist()
            assert done.encoded == len(done.appended.touched)


def test_only_what_was_paid_is_encoded(tmp_path: Path, bundle: Bundle) -> None:
    payments = [
        ("a", merchant, f"2024-05-{day:02}", -5.0, "x")
        for merchant in ("shop", "rent", "bar")
        for day in range(1, 20)
    ]
    store = fold_rows(tmp_path, payments, LABELS)
    states = SegmentStates.make(states_of(store), store, bundle)
    size = (states.path / "vectors.bin").stat().st_size
    new = [("a", "bar", "2024-05-25", -1.0, "y")]
    done = update(store, bundle, write_payments(tmp_path / "new.parquet", new))
    assert not done.made
    assert (done.encoded, done.appended.samples.tolist()) == (1, [1])
    assert (states.path / "vectors.bin").stat().st_size == size * 2  # the block of one sample more
    again = SegmentStates.open(states.path, done.store, bundle)
    assert again is not None
    fresh = SegmentStates.make(tmp_path / "fresh", done.store, bundle)
    np.testing.assert_allclose(
        again.read(np.array([1])).vectors, fresh.read(np.array([1])).vectors, atol=1e-6
    )


@pytest.mark.parametrize("broken", [1e3, np.nan])
def test_a_state_that_was_damaged_is_made_again(
    tmp_path: Path, bundle: Bundle, broken: float
) -> None:
    payments = [("a", shop, "2024-05-01", -5.0, "x") for shop in ("shop", "rent", "bar")]
    store = fold_rows(tmp_path, payments, LABELS)
    states = SegmentStates.make(states_of(store), store, bundle)
    vectors = np.memmap(states.path / "vectors.bin", dtype=np.float32, mode="r+")
    vectors[:] = broken
    vectors.flush()
    new = [("a", "bar", "2024-05-25", -1.0, "y")]
    done = update(store, bundle, write_payments(tmp_path / "new.parquet", new))
    assert done.encoded == 3  # not the one that was paid alone
    expected = score_store(done.store, bundle)
    np.testing.assert_allclose(done.scores["logit"], expected["logit"], atol=1e-5)


def test_states_of_another_bundle_store_or_code_are_made_anew(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fold_rows(tmp_path, [("a", "shop", "2024-05-01", 1.0, "x")], LABELS)
    path = SegmentStates.make(tmp_path / "states", store, bundle).path
    assert SegmentStates.open(path, store, bundle) is not None
    other = Bundle(small_model(random_batch(5, 9)), bundle.calibration, {}, {}, {})
    assert SegmentStates.open(path, store, other) is None
    elsewhere = fold_rows(tmp_path, [("b", "bar", "2024-05-01", 1.0, "x")], LABELS, name="other")
    assert SegmentStates.open(path, elsewhere, bundle) is None
    monkeypatch.setattr(states_module, "code_hash", lambda: "another")
    assert SegmentStates.open(path, store, bundle) is None
    assert SegmentStates.open(tmp_path / "nowhere", store, bundle) is None


def test_what_a_killed_run_left_is_cut_off(tmp_path: Path, bundle: Bundle) -> None:
    store = fold_rows(tmp_path, [("a", "shop", "2024-05-01", 1.0, "x")], LABELS)
    states = SegmentStates.make(states_of(store), store, bundle)
    for name in ("vectors", "sums"):
        with (states.path / f"{name}.bin").open("ab") as file:
            file.write(b"half a row")
    new = [("b", "bar", "2024-05-25", -1.0, "y")]
    done = update(store, bundle, write_payments(tmp_path / "new.parquet", new))
    assert not done.made
    expected = score_store(done.store, bundle)
    np.testing.assert_allclose(done.scores["logit"], expected["logit"], atol=1e-5)
    (states.path / "sums.bin").write_bytes(b"")
    again = SegmentStates.open(states.path, done.store, bundle)
    assert again is not None
    with pytest.raises(StoreError, match="shorter"):
        again._cut()


def test_states_that_are_mostly_dead_are_made_anew(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fold_rows(tmp_path, [("a", "shop", "2024-05-01", 1.0, "x")], LABELS)
    made = []
    for day in range(2, 8):
        rows = [("a", "shop", f"2024-05-{day:02}", 1.0, "x")]
        done = update(store, bundle, write_payments(tmp_path / f"{day}.parquet", rows))
        store = done.store
        made.append(done.made)
    assert made == [True, False, False, True, False, False]  # one row lives, four lie there


def test_the_command(tiny_store: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    raw = tiny_store.parent / "raw"
    table = pd.read_parquet(raw / "payments.parquet")
    labels = pd.read_parquet(raw / "labels.parquet")
    fold(raw / "payments.parquet", raw / "labels.parquet", tmp_path / "store")
    store = FoldedStore.open(tmp_path / "store")
    user = labels["user_id"].iloc[0]
    cutoff = labels["cutoff"].iloc[0]
    rows = table[(table["user_id"] == user) & (table["timestamp"] < cutoff)].tail(3)
    schema = pq.read_schema(raw / "payments.parquet")
    pq.write_table(
        pa.Table.from_pandas(rows, schema, preserve_index=False), tmp_path / "new.parquet"
    )
    new, out = tmp_path / "new.parquet", tmp_path / "scores.parquet"
    command = ["update", store.path, tiny_bundle, "--payments", new, "--out", out]
    command = [str(part) for part in command]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "of all merchants made first" in done.output
    found = pd.read_parquet(tmp_path / "scores.parquet")
    expected = score_store(FoldedStore.open(store.path), Bundle.load(tiny_bundle)).to_pandas()
    np.testing.assert_allclose(found["logit"], expected["logit"], atol=1e-5)
    assert json.loads((store.path / "manifest.json").read_text())["sources"].keys() > {
        "payments.parquet"
    }
    again = CliRunner().invoke(app, command)
    assert isinstance(again.exception, StoreError)
    assert "already" in str(again.exception)
