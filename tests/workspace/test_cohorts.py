"""How far two groups lie apart, and what moves their scores: by hand, and what chance gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lbsf_core.workspace import SampleFilter, Workspace
from lbsf_core.workspace.cohorts import FEATURES, mean_groups, shifts


def samples(pds: np.ndarray, rng: np.random.Generator | None = None) -> pd.DataFrame:
    count, rng = len(pds), rng or np.random.default_rng(0)
    return pd.DataFrame(
        {
            "pd": pds,
            "payments": rng.poisson(40, count),
            "merchants": rng.poisson(8, count),
            "money_in": rng.lognormal(7, 1, count),
            "money_out": rng.lognormal(7, 1, count),
            "idle_days": rng.exponential(9, count),
        }
    )


def test_the_index_by_hand_where_one_side_leaves_a_bin_empty() -> None:
    """Two bins of two values each: (2, 0) of A and (0, 2) of B, one half added to each count."""
    a, b = samples(np.array([0.1, 0.1])), samples(np.array([0.9, 0.9]))
    found = shifts(a, b, bins=2).set_index("feature").loc["PD"]
    low, high = 2.5 / 3, 0.5 / 3
    assert found["psi"] == pytest.approx(2 * (low - high) * np.log(low / high))
    assert (found["median_a"], found["median_b"]) == (0.1, 0.9)
    assert found["chance"] == pytest.approx(3.8414588 * (1 / 2 + 1 / 2))


def test_what_differs_is_found_and_what_does_not_is_left() -> None:
    rng = np.random.default_rng(1)
    a, b = samples(rng.beta(2, 8, 400), rng), samples(rng.beta(4, 8, 300), rng)
    found = shifts(a, b)
    assert found["feature"].iloc[0] == "PD" and set(found["feature"]) == set(FEATURES)
    assert found.loc[found["significant"], "feature"].tolist() == ["PD"]
    assert shifts(a, b.iloc[:0]).empty


def test_a_null_split_is_flagged_once_in_twenty_at_most() -> None:
    rng = np.random.default_rng(2)
    flagged, beyond = 0, []
    for _ in range(150):
        both = samples(rng.beta(2, 8, 500), rng)
        side = rng.random(500) < 0.4
        found = shifts(both[side], both[~side])
        flagged += bool(found["significant"].any())
        beyond += (found["psi"] > found["chance"]).tolist()
    assert flagged <= 15  # of 150 splits, six comparisons each
    assert 0.02 < np.mean(beyond) < 0.08


def test_a_sample_that_never_paid_is_a_bin_of_its_own() -> None:
    a, b = samples(np.full(30, 0.2)), samples(np.full(30, 0.2))
    b.loc[:14, "idle_days"] = np.nan
    found = shifts(a, b).set_index("feature")
    assert found.loc["days since the last payment", "significant"]
    assert np.isfinite(found["psi"]).all()
    assert found.loc["PD", "psi"] == 0.0
    b["idle_days"] = np.nan
    assert np.isnan(
        shifts(a, b).set_index("feature").loc["days since the last payment", "median_b"]
    )


def test_groups_side_by_side_largest_difference_first() -> None:
    columns = ["group", "samples", "mean", "mean_lo", "mean_hi"]
    a = pd.DataFrame([("rent", 5, 0.1, 0.0, 0.2), ("gambling", 3, 0.5, 0.4, 0.6)], columns=columns)
    b = pd.DataFrame([("rent", 4, 0.2, 0.1, 0.3), ("salary", 4, -0.3, -0.4, -0.2)], columns=columns)
    found = mean_groups(a, b)
    assert found["group"].tolist() == ["gambling", "salary", "rent"]
    assert found.loc[1, ["mean_a", "mean_b", "lo_b", "hi_b"]].tolist() == [0.0, -0.3, -0.4, -0.2]
    assert found["samples_a"].tolist() == [3, 0, 5]


def test_a_workspace_compares_what_moves_its_cohorts(tiny_workspace: Path) -> None:
    workspace = Workspace.open(tiny_workspace)
    half = SampleFilter(bands=("high", "very high")), SampleFilter(bands=("very low", "low"))
    for by in ("kind", "field", "time"):
        found = workspace.compare_importance(*half, by)
        assert len(found) and (found["lo_a"] <= found["hi_a"]).all()
        whole = workspace.importance(by, half[0])
        assert found["mean_a"].sum() == pytest.approx(whole["mean"].sum())
    nobody = SampleFilter(user="nobody")
    assert (workspace.compare_importance(half[0], nobody)["mean_b"] == 0).all()
    assert not workspace.compare(*half).shifts.empty
    assert workspace.compare(half[0], nobody).shifts.empty
