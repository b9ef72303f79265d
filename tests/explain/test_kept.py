"""Kept explanations are those of now, are read one by one, and are told only where they fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbsf_core.errors import AttributionsError
from lbsf_core.explain import kept as module
from lbsf_core.explain.attributions import KEY, VERSION, join, open_attributions
from lbsf_core.explain.baselines import CHECK, TYPICAL_PAYMENT, Baseline
from lbsf_core.explain.batch import explain_batch, typical_user
from lbsf_core.explain.engines import explain_sample
from lbsf_core.explain.explain_all import write_attributions
from lbsf_core.explain.gradient import FEW_PAYMENTS
from lbsf_core.explain.kept import TOGETHER, Kept, explain_kept, read_kept, write_kept
from lbsf_core.explain.result import Explanation
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle


@pytest.fixture(scope="module")
def opened(tiny_store: Path, tiny_bundle: Path) -> tuple[FoldedStore, Bundle]:
    return FoldedStore.open(tiny_store), Bundle.load(tiny_bundle)


@pytest.fixture(scope="module")
def attributions(
    opened: tuple[FoldedStore, Bundle], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("all") / "attributions.parquet"
    return write_attributions(*opened, out, workers=1, reasons=0)


@pytest.fixture(scope="module")
def kept(attributions: Path) -> Path:
    out = attributions.with_name("explanations.arrow")
    write_kept(attributions, out)
    return out


def test_what_was_kept_of_everybody_is_what_explaining_each_now_says(
    opened: tuple[FoldedStore, Bundle], kept: Path
) -> None:
    store, bundle = opened
    typical = typical_user(store, bundle)
    assert typical is not None
    counts = store.samples["payments"].to_numpy()
    assert (counts > FEW_PAYMENTS).any(), "long histories too"
    assert (counts <= FEW_PAYMENTS).any()
    warned = 0
    for sample in range(len(store.samples)):
        one = store.read([sample])
        ours = explain_kept(bundle, one, read_kept(kept, sample), [typical])
        fresh = explain_sample(bundle, one, others=[typical])
        assert ours is not None
        _same(ours, fresh)
        warned += bool(ours.warnings)
    assert warned, "somebody's first merchants are others against the typical user"


def _same(ours: Explanation, fresh: Explanation) -> None:
    assert ours.steps == fresh.steps
    for name in (
        "user",
        "cutoff",
        "method",
        "baseline",
        "fields",
        "merchants",
        "warnings",
        "kinds",
    ):
        assert getattr(ours, name) == getattr(fresh, name)
    for name in ("logit", "baseline_logit", "pd", "delta"):
        assert getattr(ours, name) == pytest.approx(getattr(fresh, name), abs=1e-5)
    for level in ("field", "payment", "merchant"):
        name = f"{level}_attributions"
        np.testing.assert_allclose(getattr(ours, name), getattr(fresh, name), atol=1e-5)
    for name in ("merchant_weights", "payment_weights", "relation_weights"):
        np.testing.assert_allclose(getattr(ours, name), getattr(fresh, name), atol=1e-6)
    assert ours.problems() == fresh.problems() == []


def test_a_sample_without_a_payment_is_kept_too(
    opened: tuple[FoldedStore, Bundle], tmp_path: Path
) -> None:
    store, bundle = opened
    two = store.read([0, 1])
    nothing = two.keep(two.sample_of_payment == 1)
    table = join(*explain_batch(bundle, nothing))
    write_kept(_file(table, tmp_path / "a.parquet"), tmp_path / "k.arrow")
    empty = read_kept(tmp_path / "k.arrow", 0)
    assert len(empty.values) == len(empty.checked) == 0
    told = explain_kept(bundle, nothing.select([0]), empty)
    assert told is not None
    assert told.merchants == ()
    assert told.problems() == []


def _file(table: pa.Table, path: Path, rows: int = 1_000_000) -> Path:
    """A file of attributions, cut into parts of so many rows."""
    about = {KEY: json.dumps({"version": VERSION})}
    pq.write_table(table.replace_schema_metadata(about), path, row_group_size=rows)
    return path


@given(
    sizes=st.lists(st.lists(st.integers(1, 4), max_size=4), min_size=1, max_size=2 * TOGETHER + 9),
    rows=st.integers(1, 9),
    seed=st.integers(0, 9),
)
def test_every_sample_is_read_by_itself_however_the_file_is_cut(
    sizes: list[list[int]], rows: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Args: payments of each merchant of each sample."""
    rng = np.random.default_rng(seed)
    written, merchants = [], []
    for sample, counts in enumerate(sizes):
        about = (sample, *rng.normal(size=3), int(rng.integers(1, 99)))
        numbers = dict(zip(["sample", *module._OF_A_SAMPLE], about, strict=True))
        values = [rng.normal(size=2 * n).astype(np.float32) for n in counts]
        checked = rng.normal(size=len(counts)).astype(np.float32)
        flat = np.concatenate(values) if values else np.zeros(0, np.float32)
        written.append(Kept(*about, checked, flat))
        for segment, ours in enumerate(values):
            of_it = {"segment": segment, "attribution": float(ours.sum(dtype=np.float64))}
            merchants.append(numbers | of_it | {"checked": checked[segment], "values": ours})
        if not counts:
            names = ("segment", "attribution", "checked", "values")
            merchants.append(numbers | dict.fromkeys(names))
    types = {"sample": pa.int32(), "steps": pa.int32(), "segment": pa.int32()}
    schema = pa.schema(
        (name, pa.list_(pa.float32()) if name == "values" else types.get(name, pa.float64()))
        for name in ("sample", *module._OF_A_SAMPLE, "segment", "attribution", "checked", "values")
    )
    folder = tmp_path_factory.mktemp("cut")
    table = pa.Table.from_pylist(merchants, schema=schema)
    write_kept(_file(table, folder / "a.parquet", rows), folder / "k.arrow")
    for one in written:
        found = read_kept(folder / "k.arrow", one.sample)
        for name in ("sample", *module._OF_A_SAMPLE):
            assert getattr(found, name) == getattr(one, name)
        assert (found.values == one.values).all()
        assert (found.checked == one.checked).all()
    with pytest.raises(AttributionsError, match=f"sample {len(written)} is not"):
        read_kept(folder / "k.arrow", len(written))


def test_values_that_miss_their_merchant_are_refused(attributions: Path, tmp_path: Path) -> None:
    table = pq.read_table(attributions)
    at = table.schema.get_field_index("attribution")
    moved = table.set_column(at, "attribution", pc.add(table["attribution"], 0.01))
    forged = tmp_path / "forged.parquet"
    pq.write_table(moved.replace_schema_metadata(table.schema.metadata), forged)
    with pytest.raises(AttributionsError, match=r"miss its own by 0\.0100"):
        write_kept(forged, tmp_path / "k.arrow")


def test_a_turned_bit_is_found_and_only_in_its_sample(kept: Path, tmp_path: Path) -> None:
    whole = bytearray(kept.read_bytes())
    found = read_kept(kept, 3)
    begin = whole.index(found.values[:8].tobytes())
    whole[begin] ^= 1
    damaged = tmp_path / "k.arrow"
    damaged.write_bytes(whole)
    with pytest.raises(AttributionsError, match="sample 3 is not what was written"):
        read_kept(damaged, 3)
    assert (read_kept(damaged, 4).values == read_kept(kept, 4).values).all()
    damaged.write_bytes(kept.read_bytes()[:-50])
    for wrong in (damaged, tmp_path / "nothing"):
        with pytest.raises(AttributionsError, match="again with `lbsf workspace`"):
            read_kept(wrong, 3)


def test_values_of_another_score_are_not_told(
    opened: tuple[FoldedStore, Bundle], kept: Path
) -> None:
    store, bundle = opened
    one, found = store.read([3]), read_kept(kept, 3)
    assert explain_kept(bundle, one, found) is not None
    other = replace(found, logit=found.logit + 2 * module.SAME_SCORE)
    assert explain_kept(bundle, one, other) is None
    assert explain_kept(bundle, store.read([4]), found) is None
    short = one.keep(np.arange(len(one.amounts)) > 0)
    assert explain_kept(bundle, short, found) is None, "other payments"


def test_the_file_says_whom_everybody_was_checked_against(
    opened: tuple[FoldedStore, Bundle], attributions: Path
) -> None:
    store, bundle = opened
    _, about = open_attributions(attributions)
    typical = Baseline.from_dict(CHECK, about["check"], store)
    found = typical_user(store, bundle)
    assert found is not None
    assert typical.to_dict() == found.to_dict()
    assert typical.name != TYPICAL_PAYMENT.name
    assert found.batch is not None
    assert typical.batch is not None
    assert (typical.batch.amounts == found.batch.amounts).all()
