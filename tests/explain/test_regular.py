"""What is regular, and what is not."""

from __future__ import annotations

import pandas as pd
import pytest

from lbsf_core.explain.regular import regular
from lbsf_core.fold.batch import FoldedBatch


def series(days: float, amounts: list[float]) -> FoldedBatch:
    start = pd.Timestamp("2023-01-28")
    rows = [
        ("work", (start + pd.Timedelta(days=days * at)).isoformat(), amount, "pay")
        for at, amount in enumerate(amounts)
    ]
    return FoldedBatch.from_rows([("u", "2024-01-01", rows)])


@pytest.mark.parametrize("days", [7, 14, 30, 31])
def test_alike_amounts_at_a_customary_distance_are_regular(days: int) -> None:
    assert regular(series(days, [2000.0, 2010.0, 1990.0, 2000.0])) == ["work"]


@pytest.mark.parametrize(
    ("days", "amounts"),
    [
        (30, [5.0, 900.0, 40.0, 3.0]),  # amounts that differ
        (30, [5.0, 5.0]),  # too few
        (20, [5.0, 5.0, 5.0]),  # no customary distance
        (30, [5.0, -5.0, 5.0, -5.0]),  # in and out again
    ],
)
def test_what_is_not_regular(days: int, amounts: list[float]) -> None:
    assert regular(series(days, amounts)) == []
