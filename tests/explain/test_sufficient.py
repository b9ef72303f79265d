"""Sufficient sets: what is kept alone decides alike, and nothing of it is there for nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsf_core.errors import LbsfError
from lbsf_core.explain.sufficient import sufficient
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.model.bundle import Bundle
from lbsf_core.score.calibration import Calibration
from tests.builders import random_batch, small_model

MODEL = small_model(random_batch(99, 30), noise=0.5)
CALIBRATION = Calibration(1.0, -1.0)
BUNDLE = Bundle(MODEL, CALIBRATION.to_dict())


def pd_of(batch: FoldedBatch) -> float:
    with torch.no_grad():
        return float(CALIBRATION.pd(float(MODEL(batch)[0])))


def kept(batch: FoldedBatch, rows: np.ndarray) -> FoldedBatch:
    return batch.keep(np.isin(np.arange(len(batch.amounts)), rows))


EMPTY = pd_of(FoldedBatch.from_rows([("u", "2024-01-01", [])]))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.2, 0.8))
def test_what_is_kept_decides_alike_and_all_of_it_is_needed(seed: int, between: float) -> None:
    batch = random_batch(seed, 1, payments=25)
    whole = pd_of(batch)
    threshold = EMPTY + between * (whole - EMPTY)  # so that the empty history decides otherwise
    if abs(whole - EMPTY) < 1e-3:
        return
    found = sufficient(BUNDLE, batch, threshold)
    assert found.goal == threshold
    assert found.decision == ("declined" if whole >= threshold else "approved")
    alone = kept(batch, found.payments)
    assert found.pd_alone == pytest.approx(pd_of(alone), abs=1e-6)
    assert (found.pd_alone >= threshold) == (whole >= threshold)
    assert set(found.merchants) == set(alone.merchants.decode())
    for row in found.payments:
        rest = kept(batch, found.payments[found.payments != row])
        if len(rest.amounts):
            side = 1 if whole >= threshold else -1
            assert side * (pd_of(rest) - threshold) <= 1e-4


def test_one_merchant_is_found_where_one_is_enough() -> None:
    batch = random_batch(12, 1, payments=30)
    segment = batch.segment_of_payment
    whole = pd_of(batch)
    alone = [pd_of(batch.keep(segment == at)) for at in range(len(batch.merchants))]
    side = 1 if whole > EMPTY else -1
    best = max(side * value for value in alone)
    assert best > side * EMPTY
    threshold = (max(best, side * EMPTY) * side + EMPTY) / 2
    found = sufficient(BUNDLE, batch, threshold)
    assert len(found.merchants) == 1
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["of_payments"] == len(batch.amounts)
    assert "1 of " in data["words"]


def test_where_nothing_is_needed_the_whole_score_is_what_to_reach() -> None:
    batch = random_batch(12, 1, payments=30)
    whole = pd_of(batch)
    threshold = min(whole, EMPTY) / 2
    found = sufficient(BUNDLE, batch, threshold)
    assert found.decision == "declined"
    assert found.goal == pytest.approx(whole)
    assert found.pd_alone >= whole - 1e-4
    assert found.words().startswith("The empty history is declined")


def test_an_empty_history_keeps_nothing() -> None:
    found = sufficient(BUNDLE, FoldedBatch.from_rows([("u", "2024-01-01", [])]), 0.5)
    assert (found.merchants, len(found.payments)) == ((), 0)


def test_a_threshold_is_a_pd() -> None:
    with pytest.raises(LbsfError, match="between 0 and 1"):
        sufficient(BUNDLE, random_batch(5, 1), 1.5)
