"""Later months against the training: what moved is found, chance is not, gaps are said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from lbsf_core.workspace import Workspace
from lbsf_core.workspace.build import write_samples
from lbsf_core.workspace.checked import Checked
from lbsf_core.workspace.cohorts import FEATURES, shifts
from lbsf_core.workspace.drift import drift
from lbsf_core.workspace.queries import Tables


def samples(month: str, part: str, count: int, *, low: float = 2.0, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    cutoff = pd.Timestamp(f"{month}-15", tz="UTC")
    return pd.DataFrame(
        {
            "cutoff": cutoff,
            "part": part,
            "pd": rng.beta(low, 8, count),
            "payments": rng.poisson(40, count),
            "merchants": rng.poisson(8, count),
            "money_in": rng.lognormal(7, 1, count),
            "money_out": rng.lognormal(7, 1, count),
            "last_payment": cutoff - pd.to_timedelta(rng.exponential(9, count), unit="D"),
        }
    ).astype({"last_payment": "datetime64[us, UTC]", "cutoff": "datetime64[us, UTC]"})


def tables(folder: Path, *frames: pd.DataFrame) -> Tables:
    write_samples(pa.Table.from_pandas(pd.concat(frames, ignore_index=True)), folder)
    return Tables(Checked(folder, {}))


def test_a_month_whose_scores_rose_is_found_and_the_other_is_not(tmp_path: Path) -> None:
    train = samples("2024-01", "train", 400, seed=1)
    same = samples("2024-02", "test", 200, seed=2)
    moved = samples("2024-03", "new", 200, low=6.0, seed=3)
    few = samples("2024-04", "new", 29, seed=4)
    found = drift(tables(tmp_path, train, same, moved, few, samples("2024-03", "validation", 99)))
    assert found.trained and "400 samples" in found.reference
    assert found.left_out == 1
    assert found.periods["feature"].tolist() == [*FEATURES] * 2
    pds = found.periods[found.periods["feature"] == "PD"].set_index("start")
    assert pds["significant"].tolist() == [False, True]
    assert pds["samples"].tolist() == [200, 200]
    assert pds.loc["2024-03-01", "median"] == pytest.approx(moved["pd"].median())
    assert pds.loc["2024-03-01", "reference"] == pytest.approx(train["pd"].median())
    idle = {"idle_days": lambda f: (f["cutoff"] - f["last_payment"]) / pd.Timedelta(days=1)}
    hand = shifts(train.assign(**idle), moved.assign(**idle)).set_index("feature")["psi"]
    mine = found.periods[found.periods["start"] == "2024-03-01"].set_index("feature")["psi"]
    pd.testing.assert_series_equal(mine.sort_index(), hand.sort_index(), check_names=False)


def test_without_the_training_the_first_month_is_the_reference(tmp_path: Path) -> None:
    few, first = samples("2023-12", "new", 5), samples("2024-01", "new", 60)
    found = drift(tables(tmp_path, few, first, samples("2024-02", "new", 60, seed=5)))
    assert not found.trained and found.reference == "the 60 samples of January 2024"
    assert set(found.periods["start"].dt.month) == {2}


def test_where_months_hold_few_longer_periods_are_taken(tmp_path: Path) -> None:
    train = samples("2023-06", "train", 100)
    months = [samples(f"2024-{m:02d}", "test", 14, seed=m) for m in range(1, 7)]
    found = drift(tables(tmp_path, train, *months))
    assert found.per == "quarter"
    starts = found.periods["start"].drop_duplicates()
    assert starts.dt.strftime("%Y-%m").tolist() == ["2024-01", "2024-04"]
    assert set(found.periods["samples"]) == {42}


def test_nothing_to_hold_against(tmp_path: Path) -> None:
    found = drift(tables(tmp_path, samples("2024-01", "new", 12)))
    assert found.periods.empty and found.reference == "" and found.left_out == 0


def test_a_workspace_answers(tiny_workspace: Path) -> None:
    found = Workspace.open(tiny_workspace).drift()
    assert found.trained
    assert {"start", "samples", "psi", "chance"} <= set(found.periods.columns)
