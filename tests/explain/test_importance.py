"""What moves scores in general: sums add up however they are grouped, and shap can draw them."""

from __future__ import annotations

import importlib.util
import json
import warnings
from dataclasses import replace
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
from lbsf_core.errors import AttributionsError, LbsfError
from lbsf_core.explain.attributions import BANDS, KEY, join
from lbsf_core.explain.batch import explain_batch
from lbsf_core.explain.explain_all import write_attributions
from lbsf_core.explain.importance import GROUPINGS, By, Groups, as_shap, importance, read_groups
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle


@pytest.fixture(scope="module")
def kept(tiny_store: Path, tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every sample of the tiny store, one without a payment, in several row groups."""
    folder = tmp_path_factory.mktemp("kept")
    store, bundle = FoldedStore.open(tiny_store), Bundle.load(tiny_bundle)
    whole = write_attributions(store, bundle, folder / "whole.parquet", workers=1)
    two = store.read([58, 59])
    empty = join(*explain_batch(bundle, two.keep(two.sample_of_payment == 0)))
    table = pq.read_table(whole)
    rest = table.filter(pa.compute.less(table["sample"], 58))
    out = folder / "attributions.parquet"
    with pq.ParquetWriter(out, table.schema) as writer:
        for sample in range(0, 58, 20):
            at = pa.compute.equal(pa.compute.divide(rest["sample"], 20), sample // 20)
            writer.write_table(rest.filter(at))
        writer.write_table(empty.cast(table.schema))
    return out


@pytest.fixture(scope="module")
def grouped(kept: Path) -> dict[By, Groups]:
    return {by: read_groups(kept, by) for by in GROUPINGS}


def by_hand(values, users, **given) -> Groups:
    """Groups of a few samples, each with a payment of every group."""
    values = np.array(values, dtype=float)
    samples = pd.DataFrame({"sample": range(len(values)), "user_id": users, "baseline_logit": 0.0})
    samples["logit"] = values.sum(axis=1)
    names = tuple("abcdef"[: values.shape[1]])
    ones = np.ones_like(values)
    return replace(Groups("kind", names, samples, values, ones, ones * 10), **given)


def test_kinds_fields_and_times_all_sum_to_the_same(grouped: dict[By, Groups], kept: Path) -> None:
    frame = pd.read_parquet(kept)
    for by, groups in grouped.items():
        assert groups.samples["sample"].tolist() == list(range(60))
        moved = groups.samples["logit"] - groups.samples["baseline_logit"]
        np.testing.assert_allclose(groups.values.sum(axis=1), moved, atol=1e-3)
        assert np.abs(moved).max() > 0.01, by
        assert groups.problems() == []
        assert (groups.values[59] == 0).all()
    for by in ("kind", "time"):  # each payment is in one of them
        total = frame.groupby("sample")["payments"].sum()
        np.testing.assert_array_equal(grouped[by].payments.sum(axis=1), total)
    money = (frame["money_in"] + frame["money_out"]).groupby(frame["sample"]).sum()
    np.testing.assert_allclose(grouped["kind"].money.sum(axis=1), money)
    np.testing.assert_allclose(grouped["field"].money[:, 0], money)
    assert grouped["time"].names == BANDS
    assert "history" in grouped["field"].names


def test_a_kind_is_the_sum_of_its_merchants(grouped: dict[By, Groups], kept: Path) -> None:
    frame = pd.read_parquet(kept)
    groups = grouped["kind"]
    assert set(groups.names) == set(frame["kind"].dropna())
    for name in groups.names[:5]:
        own = frame[frame["kind"] == name].groupby("sample")["attribution"].sum()
        ours = groups.values[:, groups.names.index(name)]
        np.testing.assert_allclose(ours, own.reindex(range(60), fill_value=0.0))


def test_a_broken_sum_is_said(grouped: dict[By, Groups]) -> None:
    groups = grouped["kind"]
    values = groups.values.copy()
    values[3, 0] += 0.5
    (told,) = replace(groups, values=values).problems()
    assert "60 samples 1 have" in told
    assert "0.5" in told


def test_only_the_chosen_samples_count(kept: Path, grouped: dict[By, Groups]) -> None:
    some = read_groups(kept, "time", samples=[5, 41])
    assert some.samples["sample"].tolist() == [5, 41]
    np.testing.assert_array_equal(some.values, grouped["time"].values[[5, 41]])
    alone = read_groups(kept, "kind", samples={59})
    assert alone.values.shape == (1, 0)
    assert importance(alone).empty
    with pytest.raises(LbsfError, match="none of the chosen"):
        read_groups(kept, "kind", samples=[777])


def test_importance_by_hand() -> None:
    """Two groups, three samples: means 1 and -1, means of absolute values 1 and 3."""
    found = importance(by_hand([[0, -3], [1, 3], [2, -3]], ["u", "v", "w"])).set_index("group")
    assert found.index.tolist() == ["b", "a"]  # the most important first
    assert found["mean"].to_dict() == pytest.approx({"a": 1.0, "b": -1.0})
    assert found["mean_abs"].to_dict() == pytest.approx({"a": 1.0, "b": 3.0})
    assert found["share"].to_dict() == pytest.approx({"a": 0.25, "b": 0.75})
    assert found["samples"].to_dict() == {"a": 3, "b": 3}
    assert found.loc["b", ["mean_abs_lo", "mean_abs_hi"]].tolist() == [3.0, 3.0]
    assert found.loc["a", ["mean_lo", "mean_hi"]].tolist() == [0.0, 2.0]


def test_intervals_are_drawn_by_user() -> None:
    """A hundred samples of two users hold two facts, not a hundred."""
    values = np.repeat([[0.0], [1.0]], 50, axis=0)
    of_two = importance(by_hand(values, ["u"] * 50 + ["v"] * 50)).iloc[0]
    assert (of_two["mean_lo"], of_two["mean_hi"]) == (0.0, 1.0)
    of_many = importance(by_hand(values, [f"u{i}" for i in range(100)])).iloc[0]
    # Normal approximation: 0.5 +- 1.96 x 0.05.
    assert of_many["mean_lo"] == pytest.approx(0.402, abs=0.015)
    assert of_many["mean_hi"] == pytest.approx(0.598, abs=0.015)
    # A user with more samples weighs more: 3 of 4 samples are 1.
    uneven = importance(by_hand([[1], [1], [1], [0]], ["u", "u", "u", "v"])).iloc[0]
    assert uneven["mean"] == 0.75


@settings(max_examples=20)
@given(
    st.lists(st.lists(st.floats(-5, 5), min_size=3, max_size=3), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
def test_order_is_no_matter_and_intervals_hold_the_value(values, random) -> None:
    users = [f"u{random.randint(0, 4)}" for _ in values]
    groups = by_hand(values, users)
    found = importance(groups, draws=200).set_index("group")
    for name in ("mean", "mean_abs", "share"):
        assert (found[f"{name}_lo"] <= found[f"{name}_hi"]).all()
    assert found["share"].sum() == pytest.approx(1.0 if np.any(values) else 0.0)
    assert (found["mean"].abs() <= found["mean_abs"] + 1e-12).all()
    order = list(range(len(values)))
    random.shuffle(order)
    shuffled = by_hand([values[i] for i in order], [users[i] for i in order])
    again = importance(shuffled, draws=200).set_index("group").loc[found.index]
    np.testing.assert_allclose(again.to_numpy(), found.to_numpy(), atol=1e-9)


def test_points_are_what_samples_have(grouped: dict[By, Groups]) -> None:
    groups = grouped["kind"]
    points = groups.points()
    assert len(points) == (groups.payments > 0).sum()
    assert (points["payments"] > 0).all()
    assert points["value"].sum() == pytest.approx(groups.values.sum())
    row = points.iloc[7]
    at = int(row["sample"]), groups.names.index(row["group"])
    assert row["money"] == groups.money[at]
    assert row["user_id"] == groups.samples["user_id"].iloc[at[0]]
    assert "time" in GROUPINGS
    assert grouped["time"].points()["money"].isna().all()


def test_shap_reads_the_groups(grouped: dict[By, Groups]) -> None:
    groups = grouped["kind"]
    found = as_shap(groups, "money")
    np.testing.assert_array_equal(found.values, groups.values)
    np.testing.assert_array_equal(found.data, groups.money)
    assert found.feature_names == list(groups.names)
    whole = found.values.sum(axis=1) + found.base_values
    np.testing.assert_allclose(whole, groups.samples["logit"], atol=1e-3)
    assert as_shap(grouped["time"]).shape == (60, len(BANDS))
    with pytest.raises(LbsfError, match="not kept by time"):
        as_shap(grouped["time"], "money")


@pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None,
    reason="matplotlib is not installed: shap has nothing to draw with",
)
def test_shap_draws_the_groups(grouped: dict[By, Groups]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of matplotlib, shap and their dependencies
        import matplotlib as mpl

        mpl.use("Agg")
        import matplotlib.pyplot as plt
        import shap

        found = as_shap(grouped["kind"])
        axes = shap.plots.bar(found, max_display=5, show=False)
        named = [label.get_text() for label in axes.get_yticklabels()]
        bars = [patch.get_width() for patch in axes.patches]
        plt.close("all")
        axes = shap.plots.beeswarm(found, max_display=5, show=False)
        dots = len(axes.collections)
        plt.close("all")
    order = importance(grouped["kind"], draws=1)
    assert set(order["group"].head(4)) <= set(named)
    assert [bar for bar in bars if bar == pytest.approx(order["mean_abs"].iloc[0])]
    assert dots >= 5


def test_what_is_no_attributions_is_refused(kept: Path, tmp_path: Path) -> None:
    with pytest.raises(LbsfError, match="no grouping"):
        read_groups(kept, "merchant")
    pq.write_table(pq.read_table(kept).replace_schema_metadata({KEY: b"{}"}), tmp_path / "other")
    with pytest.raises(AttributionsError, match="explain-all"):
        read_groups(tmp_path / "other", "kind")


@pytest.mark.parametrize("by", GROUPINGS)
def test_the_command_says_the_same(kept: Path, grouped: dict[By, Groups], by: By) -> None:
    result = CliRunner().invoke(app, ["importance", str(kept), "--by", by, "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    expected = importance(grouped[by])
    assert (told["samples"], told["problems"]) == (60, [])
    assert told["max_gap"] <= 1e-3
    assert [group["name"] for group in told["groups"]] == expected["group"].tolist()
    first, row = told["groups"][0], expected.iloc[0]
    assert first["share"] == {
        "value": row["share"],
        "lo": row["share_lo"],
        "hi": row["share_hi"],
    }
    shown = CliRunner().invoke(app, ["importance", str(kept), "--by", by])
    assert shown.exit_code == 0


def test_a_sample_that_goes_on_in_the_next_part_is_one(kept: Path, tmp_path: Path) -> None:
    table = pq.read_table(kept)
    out = tmp_path / "cut.parquet"
    pq.write_table(table, out, row_group_size=7)
    for by in GROUPINGS:
        cut, whole = read_groups(out, by), read_groups(kept, by)
        assert cut.names == whole.names
        np.testing.assert_allclose(cut.values, whole.values)
        pd.testing.assert_frame_equal(cut.samples, whole.samples)


def test_of_many_users_groups_are_drawn_and_intervals_stay_as_wide() -> None:
    rng = np.random.default_rng(0)
    users = [f"u{i}" for i in range(5000)]
    many = by_hand(rng.normal(0.3, 1.0, (5000, 2)), users)
    found = importance(many).set_index("group")
    width = (found["mean_hi"] - found["mean_lo"]).to_numpy()
    np.testing.assert_allclose(width, 2 * 1.96 / np.sqrt(5000), rtol=0.1)
    np.testing.assert_allclose(found.loc[list("ab"), "mean"], many.values.mean(axis=0))
