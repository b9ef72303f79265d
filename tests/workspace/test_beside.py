"""The score of last time and the amount at stake, each where it belongs, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lbsf_core.errors import WorkspaceError
from lbsf_core.workspace.beside import amounts_at_stake, previous_pds


@pytest.fixture
def samples() -> pd.DataFrame:
    days = ["2024-03-01", "2024-01-01", "2024-02-01", "2024-03-01"]
    return pd.DataFrame(
        {
            "user_id": ["a", "a", "a", "b"],
            "cutoff": pd.to_datetime(days, utc=True),
            "pd": [0.5, 0.1, 0.2, 0.9],
        }
    )


def test_last_time_is_the_cutoff_before(samples: pd.DataFrame) -> None:
    np.testing.assert_array_equal(previous_pds(samples), [0.2, np.nan, 0.1, np.nan])


def test_last_time_may_lie_in_a_file(samples: pd.DataFrame, tmp_path: Path) -> None:
    file = tmp_path / "scores.parquet"
    days = pd.to_datetime(["2024-02-15", "2023-12-01", "2024-03-01"], utc=True)
    scores = pd.DataFrame({"user_id": ["a", "a", "b"], "cutoff": days, "pd": [0.3, 0.4, 0.8]})
    scores.to_parquet(file)
    # b was scored at this very cutoff, which is not before it.
    np.testing.assert_array_equal(previous_pds(samples, file), [0.3, 0.4, 0.4, np.nan])
    scores.drop(columns="pd").to_parquet(file)
    with pytest.raises(WorkspaceError, match="has no column 'pd'"):
        previous_pds(samples, file)


def test_amounts_by_user_or_by_sample(samples: pd.DataFrame, tmp_path: Path) -> None:
    assert amounts_at_stake(samples, None).isna().all()
    by_user, by_sample = tmp_path / "user.csv", tmp_path / "sample.csv"
    by_user.write_text("user_id,amount\na,1000\nzoe,5\n")
    np.testing.assert_array_equal(amounts_at_stake(samples, by_user), [1000, 1000, 1000, np.nan])
    by_sample.write_text("user_id,cutoff,amount\na,2024-01-01,10\na,2024-02-01,20.5\n")
    np.testing.assert_array_equal(amounts_at_stake(samples, by_sample), [np.nan, 10, 20.5, np.nan])


def test_ids_that_look_like_numbers_stay_text(samples: pd.DataFrame, tmp_path: Path) -> None:
    file = tmp_path / "amounts.csv"
    file.write_text("user_id,amount\n007,3\n")
    np.testing.assert_array_equal(amounts_at_stake(samples.assign(user_id="007"), file), [3.0] * 4)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("user_id,amount\na,-1\n", "row 1 has amount '-1'"),
        ("user_id,amount\na,much\n", "row 1 has amount 'much'"),
        ("user_id,amount\na,1\na,2\n", "'a' stands there twice; add a column cutoff"),
        ("user_id,cutoff,amount\na,2024-01-01,1\na,2024-01-01,2\n", "twice at one cutoff"),
        ("user_id,cutoff,amount\na,soon,1\n", "can't be read as a time"),
        ("user,amount\na,1\n", "has no column 'user_id'"),
        ("", "can't be read"),
    ],
)
def test_amounts_that_make_no_sense(
    samples: pd.DataFrame, tmp_path: Path, text: str, says: str
) -> None:
    file = tmp_path / "amounts.csv"
    file.write_text(text)
    with pytest.raises(WorkspaceError, match=says):
        amounts_at_stake(samples, file)
