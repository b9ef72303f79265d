"""Contestants: what each may see, and what it needs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from lbsf_core.config import TrainConfig
from lbsf_core.evaluate.contestants import CONTESTANTS, Data, Setting, Task, can_run
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.payments.schema import Field, FieldKind
from tests.builders import SMALL, random_batch

BALANCES = {0: [5.0, -7.0, 3.0], 1: [4.0], 2: [np.nan, np.nan]}


def balances() -> Data:
    rows = [
        (f"u{user}", "2024-03-01", [("shop", f"2024-02-1{i}", -1.0 - i, "") for i in range(len(b))])
        for user, b in BALANCES.items()
    ]
    batch = FoldedBatch.from_rows(rows)
    found = [
        BALANCES[u][int(-a - 1)]
        for u, a in zip(batch.sample_of_payment, batch.amounts, strict=True)
    ]
    batch = replace(batch, numbers={"balance": np.array(found)})
    extra = (Field("balance", FieldKind.NUMBER),)
    return Data(batch, extra, {"bad": np.array([1.0, 0.0, 0.0])}, None, Setting(model=SMALL))


def task(data: Data, rows: list[int], score: list[int], label: str) -> Task:
    return Task(data, label, np.array(rows), np.array(score), frozenset(), None, 0, {})


def test_the_lowest_balance_is_the_score_and_unknown_lies_in_the_middle() -> None:
    outputs = CONTESTANTS["lowest_balance"].outputs(task(balances(), [0], [0, 1, 2], "bad"))
    expected = np.log([[8.0], [1 / 5], [1 + 1.5]])  # minus the signed logs of -7, 4 and -1.5
    np.testing.assert_allclose(outputs, expected)


def test_who_can_run_on_what() -> None:
    data = balances()
    assert can_run("lowest_balance", data)
    assert not can_run("lowest_balance", replace(data, batch=replace(data.batch, numbers={})))
    assert can_run("lbsf_alone", data)
    assert not can_run("lbsf_pretrained", data)  # no unlabelled histories
    assert not can_run("coles", data)


def test_every_entry_of_a_grid_is_a_column_and_flat_peers_have_their_own() -> None:
    torch.set_num_threads(1)
    batch = random_batch(0, 24)
    setting = Setting(
        model=SMALL,
        grid=({}, {"rhythm": False}),
        flat_grid=({}, {"dropout": 0.5}, {"text_dropout": 0.5}),
        train=TrainConfig(epochs=1, batch_samples=8, keep="last"),
        flat_epochs=1,
    )
    labels = np.tile([0.0, 1.0], 12)
    data = Data(batch, (), {"bad": labels}, None, setting)
    asked = task(data, list(range(16)), list(range(16, 24)), "bad")
    ours = CONTESTANTS["lbsf_alone"].outputs(asked)
    assert ours.shape == (8, 2)
    assert not np.allclose(ours[:, 0], ours[:, 1])
    without = CONTESTANTS["no_rhythm"].outputs(asked)  # the change of a control comes last
    np.testing.assert_array_equal(without[:, 0], without[:, 1])
    np.testing.assert_array_equal(without[:, 0], ours[:, 1])
    assert CONTESTANTS["gru"].outputs(asked).shape == (8, 3)
