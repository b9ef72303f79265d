"""Counterfactuals: verified by a refold, none larger than need be, and "none" said plainly."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsf_core.errors import LbsfError
from lbsf_core.explain import counterfactual
from lbsf_core.explain.counterfactual import counterfactuals
from lbsf_core.explain.edits import apply
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


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 0.3))
def test_every_answer_holds_when_it_is_refolded(seed: int, below: float) -> None:
    batch = random_batch(seed, 1, payments=30)
    before = pd_of(batch)
    threshold = before * (1 - below)
    found = counterfactuals(BUNDLE, batch, threshold)
    assert found.pd == pytest.approx(before, abs=1e-6)
    assert bool(found.answers) != bool(found.told)
    for answer in found.answers:
        edits = [change.edit for change in answer.changes]
        assert all(edit.kind in ("remove", "scale") for edit in edits)
        assert pd_of(apply(batch, edits).batch) < threshold
        merchants = [edit.merchant for edit in edits]
        assert len(set(merchants)) == len(merchants) <= counterfactual.MOST_CHANGES
        for at in range(len(edits)):  # none of them is there for nothing
            fewer = edits[:at] + edits[at + 1 :]
            assert pd_of(apply(batch, fewer).batch) >= threshold - 1e-6
    for one, other in zip(found.answers, found.answers[1:], strict=False):
        sets = [{change.segment for change in a.changes} for a in (one, other)]
        assert len(sets[0] & sets[1]) <= 0.5 * len(sets[0] | sets[1])


def test_one_change_is_found_where_one_is_enough() -> None:
    batch = random_batch(12, 1, payments=30)
    names, segment = batch.merchants.decode(), batch.segment_of_payment
    alone = [pd_of(batch.keep(segment != at)) for at in range(len(names))]
    best = int(np.argmin(alone))
    assert alone[best] < pd_of(batch) - 0.01
    found = counterfactuals(BUNDLE, batch, alone[best] + 0.002)
    assert len(found.answers[0].changes) == 1
    assert found.answers[0].size <= 1
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["answers"][0]["pd"]["after"] < data["threshold"]
    assert data["answers"][0]["verified"] is True


def test_a_score_that_is_under_already_needs_nothing() -> None:
    batch = random_batch(5, 1, payments=30)
    found = counterfactuals(BUNDLE, batch, pd_of(batch) + 0.01)
    assert found.answers == ()
    assert "already under" in found.told


def test_none_found_is_said_plainly() -> None:
    batch = random_batch(5, 1, payments=30)
    found = counterfactuals(BUNDLE, batch, 1e-4)
    assert found.answers == ()
    assert "None found" in found.told
    assert "lowest that was reached" in found.told
    nothing = FoldedBatch.from_rows([("u", "2024-01-01", [])])
    assert "Nothing may be changed" in counterfactuals(BUNDLE, nothing, 0.01).told


def test_merchants_to_be_left_alone_are() -> None:
    batch = random_batch(12, 1, payments=30)
    threshold = pd_of(batch) - 0.02
    first = counterfactuals(BUNDLE, batch, threshold).answers[0]
    gone = {change.edit.merchant for change in first.changes}
    other = counterfactuals(BUNDLE, batch, threshold, leave=gone)
    assert all(c.edit.merchant not in gone for a in other.answers for c in a.changes)


def monthly(amounts: list[float]) -> list[tuple[str, str, float, str]]:
    start = pd.Timestamp("2023-01-28")
    return [
        ("work", (start + pd.DateOffset(months=at)).isoformat(), amount, "pay")
        for at, amount in enumerate(amounts)
    ]


def test_what_is_paid_regularly_is_no_choice() -> None:
    now = pd.Timestamp("2024-01-01")
    odd = [("shop", (now - timedelta(days=d)).isoformat(), -9.0, "x") for d in (3, 50, 51, 200)]
    wild = [(m.replace("work", "wild"), w, a, d) for m, w, a, d in monthly([5, 900, 40, 3])]
    rows = [*monthly([2000.0, 2010.0, 1990.0, 2000.0]), *odd, *wild]
    batch = FoldedBatch.from_rows([("u", now.isoformat(), rows)])
    for touch in (False, True):
        search = counterfactual._changes(batch, (), touch)
        assert ("work" in {change.edit.merchant for change in search}) is touch
    kinds = {(c.edit.merchant, c.edit.kind) for c in counterfactual._changes(batch, (), True)}
    assert ("shop", "scale") in kinds
    assert ("work", "scale") not in kinds  # money in is never made less or more


@pytest.mark.parametrize("threshold", [0.0, 1.0, 2.0])
def test_a_threshold_is_a_pd(threshold: float) -> None:
    with pytest.raises(LbsfError, match="between 0 and 1"):
        counterfactuals(BUNDLE, random_batch(5, 1), threshold)
