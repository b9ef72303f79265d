"""What-if: before and after are whole passes; the history is the score at each cutoff."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest
import torch

from lbsf_core.errors import EditError
from lbsf_core.explain.edits import Edit
from lbsf_core.explain.whatif import score_history, what_if
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.model.bundle import Bundle
from lbsf_core.score.calibration import Calibration
from tests.builders import random_batch, small_model

MODEL = small_model(random_batch(99, 30), noise=0.5)
BUNDLE = Bundle(MODEL, {"slope": 0.8, "intercept": -1.0})
BATCH = random_batch(3, 1, payments=40)


def scored(batch: FoldedBatch) -> float:
    with torch.no_grad():
        return float(MODEL(batch)[0])


def test_before_and_after_are_whole_forward_passes() -> None:
    name = BATCH.merchants.decode()[1]
    found = what_if(BUNDLE, BATCH, [Edit("remove", name)])
    rest = BATCH.keep(BATCH.segment_of_payment != 1)
    assert found.before == pytest.approx(scored(BATCH), abs=1e-6)
    assert found.after == pytest.approx(scored(rest), abs=1e-6)
    assert abs(found.after - found.before) > 0.01
    calibration = Calibration(0.8, -1.0)
    assert found.pd_after == pytest.approx(float(calibration.pd(found.after)))
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["difference"]["pd"] == pytest.approx(found.pd_after - found.pd_before)
    assert data["payments"] == len(rest.amounts)
    assert data["edits"][0]["words"] == f"no payments at {name}"


def test_history_is_the_score_with_the_cutoff_moved_back() -> None:
    found = score_history(BUNDLE, BATCH, months=6)
    assert [one.cutoff for one in found][-1] == datetime(2024, 2, 5, tzinfo=UTC)
    assert [one.cutoff.day for one in found] == [5] * 7
    assert all(one.whole for one in found)
    for one in found:
        moved = what_if(BUNDLE, BATCH, [Edit("cutoff", when=one.cutoff)])
        assert one.logit == pytest.approx(moved.after, abs=2e-6)
        assert one.payments == len(moved.edited.batch.amounts)
    assert np.ptp([one.pd for one in found]) > 0.01


def test_a_window_moves_with_the_cutoff_and_says_what_it_can_t_know() -> None:
    found = score_history(BUNDLE, BATCH, window_days=60, months=2)
    assert [one.whole for one in found] == [False, False, True]
    edits = [Edit("cutoff", when=found[0].cutoff), Edit("window", days=60)]
    assert found[0].logit == pytest.approx(what_if(BUNDLE, BATCH, edits).after, abs=2e-6)
    assert found[-1].payments < len(BATCH.amounts)


def test_no_cutoff_before_the_first_payment() -> None:
    paid = [("m", "2024-01-20", -5.0, "x")]
    found = score_history(BUNDLE, FoldedBatch.from_rows([("u", "2024-03-01", paid)]))
    assert [f"{one.cutoff:%m-%d}" for one in found] == ["02-01", "03-01"]
    nothing = score_history(BUNDLE, FoldedBatch.from_rows([("u", "2024-03-01", [])]))
    assert [one.payments for one in nothing] == [0]


def test_a_history_is_of_one_sample() -> None:
    with pytest.raises(EditError, match="holds 2"):
        score_history(BUNDLE, random_batch(0, 2))
