"""Charts of the portfolio, cohort and model pages, checked on their data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dashboard.charts import cohorts, model, portfolio
from dashboard.components.faithfulness import checks
from lbsf_core.workspace import SampleFilter
from tests.dashboard.fake_workspace import EVIL_TAG, FakeWorkspace, fake_performance

NAMES = ("A: high", "B: low")


@pytest.fixture
def comparison():
    fake = FakeWorkspace()
    return fake.compare(SampleFilter(bands=("high",)), SampleFilter(bands=("low",)), NAMES)


def test_the_distribution_counts_every_sample():
    fake = FakeWorkspace()
    figure = portfolio.score_distribution(fake.score_distribution(SampleFilter()), 0.2)
    assert sum(sum(t.y) for t in figure.data) == fake.summary().samples
    assert [t.name for t in figure.data] == ["Good", "Bad", "No label yet"]
    assert figure.layout.shapes[0].x0 == 0.2


def test_the_threshold_curve_shows_rate_and_interval():
    table = FakeWorkspace().thresholds(SampleFilter())
    chosen = FakeWorkspace().threshold(SampleFilter(), 0.2)
    interval, rate, point = portfolio.threshold_curve(table, chosen).data
    assert (np.diff(rate.x) > 0).all()
    assert len(interval.x) == 2 * len(rate.x)
    assert (point.x[0], point.y[0]) == (chosen["approved"], chosen["default_rate"])


@pytest.mark.parametrize(
    "figure",
    [
        portfolio.score_distribution(
            pd.DataFrame(columns=["pd_low", "pd_high", "label", "samples"])
        ),
        cohorts.spend(pd.DataFrame(), NAMES, "EUR"),
        cohorts.attributions(pd.DataFrame(), NAMES),
        cohorts.over_representation(pd.DataFrame(), NAMES),
        model.roc(pd.DataFrame()),
        model.ks(pd.DataFrame()),
        model.calibration(pd.DataFrame()),
        model.by_history(pd.DataFrame()),
    ],
)
def test_an_empty_chart_says_so(figure):
    assert not figure.data
    assert figure.layout.annotations[0].text


def test_cohort_scores_are_shares(comparison):
    figure = cohorts.scores(comparison.scores, NAMES)
    for trace in figure.data:
        assert sum(trace.y[:-1]) == pytest.approx(1.0)


def test_default_rates_carry_their_interval(comparison):
    figure = cohorts.default_rates(comparison.sizes, NAMES)
    row = comparison.sizes.iloc[0]
    first = figure.data[0]
    assert first.x[0] == pytest.approx(row["default_rate"])
    assert first.error_x.array[0] == pytest.approx(row["hi"] - row["default_rate"])


def test_merchants_from_both_ends_chance_marked_apart(comparison):
    figure = cohorts.over_representation(comparison.merchants, NAMES, most=3)
    assert len(figure.layout.yaxis.ticktext) == 6
    drawn = sum(len(t.x) for t in figure.data)
    assert drawn == 6
    assert figure.layout.xaxis.type == "log"


def test_fault_2_merchants_in_cohort_charts_are_literal(comparison):
    assert EVIL_TAG in set(comparison.merchants["merchant"])
    for figure in (
        cohorts.over_representation(comparison.merchants, NAMES),
        cohorts.attributions(comparison.attributions, NAMES, most=30),
    ):
        assert "<img" not in figure.to_json().replace("<br>", "")


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
    figure = model.contestants(frame)
    shown = [name for trace in figure.data for name in trace.y]
    assert len(shown) == len(set(shown)) == len(frame) - 1
    assert figure.layout.yaxis.categoryarray[-1].startswith("LBSF ")
    assert "<img" not in figure.to_json()
    assert [trace.name for trace in figure.data] == ["Contestant", "LBSF with something changed"]


def test_faithfulness_puts_the_truest_on_top():
    methods = FakeWorkspace().faithfulness()["methods"]
    figure = model.faithfulness(methods | {EVIL_TAG: {"comprehensiveness": 0.1, "sufficiency": 1}})
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


def test_shifts_stand_beside_what_chance_gives(comparison):
    dots, limit = cohorts.shifts(comparison.shifts).data
    assert list(dots.x) == [2.4, 0.04] and list(limit.x) == [0.1, 0.1]
    assert dots.marker.color[0] != dots.marker.color[1]  # the second may be chance
    assert cohorts.shifts(comparison.shifts.iloc[:0]).layout.annotations


def test_groups_are_drawn_like_merchants_and_their_names_do_not_run():
    frame = FakeWorkspace().compare_importance(SampleFilter(), SampleFilter())
    figure = cohorts.attributions(frame, NAMES, of="group")
    assert list(figure.data[0].x) == [0.4, 0.4]
    assert figure.layout.yaxis.ticktext[0] == "gambling"
    assert "<img" not in "".join(figure.layout.yaxis.ticktext)
