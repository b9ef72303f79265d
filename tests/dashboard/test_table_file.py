"""Tables as files: no formula in a CSV, every text as it is in a Parquet file."""

from __future__ import annotations

import io

import pandas as pd

from dashboard.components.table_file import content
from tests.dashboard.fake_workspace import EVIL_CELL

FRAME = pd.DataFrame({"merchant": [EVIL_CELL, "gym"], "amount": [-1.5, 2.0]})


def test_a_csv_runs_nothing() -> None:
    found = pd.read_csv(io.BytesIO(content(FRAME, "CSV")))
    assert found["merchant"].tolist() == [f"'{EVIL_CELL}", "gym"]
    assert found["amount"].tolist() == [-1.5, 2.0]


def test_parquet_keeps_every_text() -> None:
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(content(FRAME, "Parquet"))), FRAME)
