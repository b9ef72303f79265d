"""Sums that lie ready are those of the file that they were made of, for any samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from lbsf_core.explain import importance
from lbsf_core.explain.importance import GROUPINGS, By
from lbsf_core.workspace import groups as module
from lbsf_core.workspace.groups import merchant_sums, stored_groups, write_groups

EMPTY = 17  # the sample that gets no payment


@pytest.fixture(scope="module")
def source(tiny_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny workspace's attributions in pieces that cut samples in two; one is empty."""
    table = pq.read_table(tiny_workspace / "attributions.parquet")
    rows = table.to_pandas()
    of_segment = table.column_names[table.column_names.index("segment") :]
    at = rows.index[rows["sample"] == EMPTY]
    rows.loc[at[0], of_segment] = None
    table = pa.Table.from_pandas(rows.drop(at[1:]), table.schema, preserve_index=False)
    out = tmp_path_factory.mktemp("groups") / "attributions.parquet"
    pq.write_table(table, out, row_group_size=37)
    return out


@pytest.fixture(scope="module", params=[5, module.BATCH])
def groups(source: Path, request: pytest.FixtureRequest) -> Path:
    """Written in batches of few samples, and in one."""
    out = source.with_name(f"groups-{request.param}.arrow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BATCH", request.param)
        write_groups(source, out)
    return out


@pytest.fixture(scope="module")
def users(tiny_workspace: Path) -> pa.ChunkedArray:
    return pq.read_table(tiny_workspace / "samples.parquet", columns=["user_id"])["user_id"]


@pytest.mark.parametrize("by", GROUPINGS)
@pytest.mark.parametrize("samples", [None, [0, 5, EMPTY, 41, 59], [33]])
def test_the_same_as_adding_up_the_file(
    source: Path, groups: Path, users: pa.ChunkedArray, by: By, samples: list[int] | None
) -> None:
    asked = None if samples is None else np.array(samples)
    found, expected = (
        stored_groups(groups, by, asked, users),
        importance.read_groups(source, by, samples),
    )
    assert found is not None
    known = expected.names
    if by == "kind":  # of a sample without a payment the file names no kind
        assert set(found.names) == {name for name in known if name is not None}
        known = tuple(name for name in known if name is not None)
    assert found.names == known
    take = [expected.names.index(name) for name in known]
    np.testing.assert_allclose(found.values, expected.values[:, take], rtol=1e-6, atol=1e-7)
    assert ((found.payments > 0) == (expected.payments[:, take] > 0)).all()
    names = ["sample", "user_id"]
    pd.testing.assert_frame_equal(
        found.samples[names].astype({"sample": int, "user_id": str}),
        expected.samples[names].astype({"sample": int, "user_id": str}),
    )
    one, other = importance.importance(found), importance.importance(expected)
    other = other[other["group"].isin(known)].reset_index(drop=True)
    figures = [name for name in one.columns if name != "group"]
    assert one["group"].tolist() == other["group"].tolist()
    np.testing.assert_allclose(one[figures], other[figures], rtol=1e-5, atol=1e-7)


def test_every_sample_has_one_row(groups: Path, source: Path) -> None:
    table = pa.ipc.open_file(str(groups)).read_all()
    assert table["sample"].to_pylist() == list(range(60))
    assert not table["paid"][EMPTY].as_py() and pc.sum(table["paid"]).as_py() == 59
    assert table["kind"][EMPTY].as_py() == []
    rows = pq.read_table(source).to_pandas()
    one = rows[rows["sample"] == 3].groupby("kind")["attribution"].sum()
    np.testing.assert_allclose(table["of_kind"][3].as_py(), one.sort_index(), rtol=1e-6)


@pytest.mark.parametrize("batch", [1, 5, 20])
def test_a_batch_holds_as_many_samples_as_are_read_well_together(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(module, "BATCH", batch)
    write_groups(source, tmp_path / "groups.arrow")
    file = pa.ipc.open_file(str(tmp_path / "groups.arrow"))
    sizes = [len(file.get_batch(at)) for at in range(file.num_record_batches)]
    assert sum(sizes) == 60 and len(sizes) > 1
    # A part of the file that they come from, of 37 rows, holds a handful of samples.
    assert all(batch <= size < batch + 20 for size in sizes[:-1])


def test_nobody_has_no_groups(groups: Path, users: pa.ChunkedArray) -> None:
    assert stored_groups(groups, "kind", np.zeros(0, dtype=np.int64), users) is None


@pytest.mark.parametrize("held", [1, 1 << 22])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.arange(60), np.arange(60)),
        (np.array([0, 5, EMPTY, 41, 59]), np.array([5, 6, 7])),
        (np.array([EMPTY]), np.zeros(0, dtype=np.int64)),
    ],
)
def test_merchants_of_two_cohorts_by_hand(
    source: Path, groups: Path, a: np.ndarray, b: np.ndarray, held: int, monkeypatch
) -> None:
    monkeypatch.setattr(module, "_HELD", held)
    rows = pq.read_table(source, columns=["sample", "merchant", "attribution"]).to_pandas()
    rows = rows[rows["merchant"].notna()]
    found = merchant_sums(groups, a, b).set_index("merchant")
    assert found.index.tolist() == sorted(set(rows["merchant"]))
    for side, samples in (("a", a), ("b", b)):
        theirs = rows[rows["sample"].isin(samples)].assign(square=rows["attribution"] ** 2)
        by_name = theirs.groupby("merchant")
        expected = pd.DataFrame(
            {
                "samples": by_name.size(),
                "sum": by_name["attribution"].sum(),
                "square": by_name["square"].sum(),
            }
        ).reindex(found.index, fill_value=0)
        for name in expected:
            np.testing.assert_allclose(
                found[f"{name}_{side}"], expected[name], rtol=1e-5, atol=1e-9
            )
