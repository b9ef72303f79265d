"""Tables as files: no formula in a CSV, every text as it is in a Parquet file."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from dashboard.components import table_file
from dashboard.components.table_file import content
from tests.dashboard.fake_workspace import EVIL_CELL

FRAME = pd.DataFrame({"merchant": [EVIL_CELL, "gym"], "amount": [-1.5, 2.0]})


def test_a_csv_runs_nothing() -> None:
    found = pd.read_csv(io.BytesIO(content(FRAME, "CSV")))
    assert found["merchant"].tolist() == [f"'{EVIL_CELL}", "gym"]
    assert found["amount"].tolist() == [-1.5, 2.0]


def test_parquet_keeps_every_text() -> None:
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(content(FRAME, "Parquet"))), FRAME)


def test_a_table_is_made_when_its_file_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    made, asked = [], []

    def make() -> pd.DataFrame:
        made.append(1)
        return FRAME

    monkeypatch.setattr(table_file.st, "download_button", lambda _, data, **__: asked.append(data))
    monkeypatch.setattr(table_file.state, "table_kind", lambda: "CSV")
    table_file.download("payments", make)
    table_file.download("payments", FRAME)
    assert made == []
    assert [data() for data in asked] == [content(FRAME, "CSV")] * 2
    assert made == [1]
