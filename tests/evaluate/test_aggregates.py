"""Aggregates by hand, and that nothing in them looks past the training part or the cutoff."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lbsf_core.evaluate.aggregates import Aggregates, user_aggregates
from lbsf_core.fold.batch import FoldedBatch
from tests.builders import random_batch

PAID = [
    ("work", "2024-02-01", 1000.0, "pay"),
    ("shop", "2024-02-20", -30.0, "food"),
    ("shop", "2024-02-25", -50.0, "food"),
    ("rent", "2024-02-25", -400.0, "flat"),
]
BATCH = FoldedBatch.from_rows([("u", "2024-03-01", PAID), ("v", "2024-03-01", PAID[:1])])


def test_hand_computed_user_aggregates() -> None:
    row = user_aggregates(BATCH).iloc[0]
    assert row["payments 7d"] == 2  # five days before the cutoff
    assert row["out 7d"] == 450 and row["in 30d"] == 1000 and row["in 14d"] == 0
    assert row["merchants 14d"] == 2 and row["active days 14d"] == 2
    assert row["newest age"] == 5 and row["oldest age"] == 29
    assert row["mean gap"] == pytest.approx((19 + 5) / 2) and row["longest gap"] == 19
    assert row["overdue by mean gap"] == pytest.approx(5 / 12)
    assert row["smallest amount"] == -400 and row["largest amount"] == 1000


def test_hand_computed_merchant_aggregates() -> None:
    row = Aggregates.fit(BATCH).table(BATCH).iloc[0]
    assert row["share of the first merchant"] == 0.5
    assert row["merchants paid once"] == 2
    assert row["share of merchant 'work' infd"] == 0.25
    assert "share of merchant 'shop' infd" not in row  # one sample has it: no common word


def test_every_row_is_one_sample_in_its_place() -> None:
    batch = random_batch(1, 20)
    fitted = Aggregates.fit(batch)
    whole = fitted.table(batch)
    order = np.random.default_rng(0).permutation(20)
    pd.testing.assert_frame_equal(
        fitted.table(batch.select(order)), whole.iloc[order].reset_index(drop=True)
    )


def test_an_extra_number_is_counted_over_windows() -> None:
    from dataclasses import replace

    balance = np.zeros(len(BATCH.amounts))
    names = [BATCH.merchants.decode()[s] for s in BATCH.segment_of_payment]
    balance[[i for i, n in enumerate(names) if n == "rent"]] = -70.0
    found = user_aggregates(replace(BATCH, numbers={"balance": balance}))
    assert found["min of balance 30d"].tolist() == [-70.0, 0.0]
    assert found["share below 0 of balance"].tolist() == [0.25, 0.0]
