"""Charts of the model page, checked on their data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dashboard.charts import compared, model
from dashboard.components.faithfulness import checks
from tests.dashboard.fake_workspace import EVIL_TAG, FakeWorkspace, fake_performance


def test_the_ks_line_stands_at_the_widest_gap():
    frame = fake_performance().ks
    figure = model.ks(frame)
    gap = (frame["bad"] - frame["good"]).abs()
    line = figure.data[2]
    assert line.x[0] == frame["threshold"][gap.idxmax()]
    assert line.y[1] - line.y[0] == pytest.approx(gap.max())
    assert line.name.startswith("Gap at ")


def test_histories_keep_their_order_where_an_auc_is_missing():
    frame = fake_performance().by_history
    figure = model.by_history(frame)
    assert figure.layout.xaxis.ticktext == tuple(frame["history"])
    assert list(figure.data[0].x) == [1, 2, 3]
    assert np.isfinite(figure.data[0].y).all()


def test_calibration_has_bins_and_the_diagonal():
    frame = fake_performance().calibration
    figure = model.calibration(frame)
    assert list(figure.data[1].x) == frame["pd"].tolist()
    assert list(figure.data[0].x) == [0, 1]


def test_contestants_stand_best_first_each_once_and_literally():
    frame = fake_performance().contestants
    figure = compared.contestants(frame)
    shown = [name for trace in figure.data for name in trace.y]
    assert len(shown) == len(set(shown)) == len(frame) - 1
    assert figure.layout.yaxis.categoryarray[-1].startswith("LBSF ")
    assert "<img" not in figure.to_json()
    assert [trace.name for trace in figure.data] == ["Contestant", "LBSF with something changed"]


def test_faithfulness_puts_the_truest_on_top():
    methods = FakeWorkspace().faithfulness()["methods"]
    figure = compared.faithfulness(
        methods | {EVIL_TAG: {"comprehensiveness": 0.1, "sufficiency": 1}}
    )
    out, alone = figure.data
    assert out.y[-1] == "Removal" and out.x[-1] == methods["removal"]["comprehensiveness"]
    assert out.y == alone.y and list(out.x) == sorted(out.x)
    assert alone.x[0] == 1 and "<img" not in alone.y[0].lower()


def test_what_was_checked_is_told_only_where_it_was_measured():
    measured = FakeWorkspace().faithfulness()
    told = checks(measured)
    assert told[0] == ("With all attention made even the AUC changes by −0.002 (−0.006 to +0.004).")
    assert "for 78% of users; 43% carry" in told[1]
    assert "is −0.05 (removal), +0.04 (gradient) and +1.00 (attention)" in told[2]
    assert checks({"methods": measured["methods"]}) == []
    assert checks({"attention_uniform": {"difference": None}, "randomisation": {}}) == []


@pytest.mark.parametrize("draw", [model.roc, model.ks, model.calibration, model.by_history])
def test_an_empty_chart_says_so(draw):
    assert "Too few labels" in draw(pd.DataFrame()).layout.annotations[0].text


def test_precision_stands_against_recall_and_guessing():
    frame = fake_performance().pr
    guess, found = model.precision_recall(frame).data
    assert list(guess.y) == [0.15, 0.15]
    assert list(found.x) == frame["recall"].tolist()
    assert list(found.y) == frame["precision"].tolist()
    assert "again" in model.precision_recall(frame.iloc[:0]).layout.annotations[0].text


def test_lift_says_how_many_bad_are_found_so_far():
    frame = fake_performance().lift
    figure = model.lift(frame)
    assert list(figure.data[0].y) == [2.0, 0.71, 0.29]
    assert figure.layout.xaxis.ticktext == ("1<br>67%", "2<br>90%", "3<br>100%")
    assert figure.layout.shapes[0].y0 == 1
    assert "again" in model.lift(frame.iloc[:0]).layout.annotations[0].text


def test_drift_is_hollow_where_chance_may_explain_it():
    frame = FakeWorkspace().drift().periods
    frame.loc[frame["feature"] == "payments", "feature"] = EVIL_TAG
    figure = compared.drift(frame)
    pds, other = figure.data
    assert list(pds.y) == [0.31, 0.31] and set(pds.marker.symbol) == {"circle"}
    assert set(other.marker.symbol) == {"diamond-open"}
    assert "<img" not in other.name
    assert [shape.y0 for shape in figure.layout.shapes] == [0.1, 0.25]
    assert "No period" in compared.drift(frame.iloc[:0]).layout.annotations[0].text
