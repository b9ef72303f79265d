"""Charts of the portfolio and cohort pages, checked on their data."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from dashboard.charts import cohorts, portfolio
from lbsf_core.workspace import SampleFilter
from tests.dashboard.fake_workspace import EVIL_TAG, FakeWorkspace

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


def test_figures_that_plotly_does_not_check_pass_its_checks():
    fake, where = FakeWorkspace(), SampleFilter()
    table = fake.thresholds(where)
    costs = table.assign(expected=table["default_rate"], observed=table["default_rate"])
    for figure in (
        portfolio.score_distribution(fake.score_distribution(where), 0.2),
        portfolio.threshold_curve(table, fake.threshold(where, 0.2)),
        portfolio.costs(costs, 0.5, "EUR"),
    ):
        sent = json.loads(figure.to_json())
        checked = go.Figure(figure.to_dict())  # raises where a property is none, or is wrong
        assert [t.type for t in checked.data] == [t.type for t in figure.data]
        assert checked.layout.xaxis.title.text
        assert checked.layout.yaxis.title.text
        assert json.loads(figure.to_json()) == sent, "what plotly itself would send of it"


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


@pytest.mark.parametrize(
    "figure",
    [
        portfolio.score_distribution(
            pd.DataFrame(columns=["pd_low", "pd_high", "label", "samples"])
        ),
        cohorts.spend(pd.DataFrame(), NAMES, "EUR"),
        cohorts.attributions(pd.DataFrame(), NAMES),
        cohorts.over_representation(pd.DataFrame(), NAMES),
    ],
)
def test_an_empty_chart_says_so(figure):
    assert not figure.data
    assert figure.layout.annotations[0].text


def test_costs_mark_the_cheapest_threshold():
    table = FakeWorkspace().costs(SampleFilter(), default=3.0, declined=1.0)
    figure = portfolio.costs(table, 0.4, "<b>EUR")
    by_pd, by_label, best = figure.data
    assert list(by_pd.y) == table["expected"].tolist()
    assert list(by_label.y) == table["observed"].tolist()
    assert best.y[0] == table["expected"].min()
    assert figure.layout.shapes[0].x0 == 0.4
    assert "<b>" not in figure.layout.yaxis.title.text
    assert portfolio.costs(table.iloc[:0], 0.4, "EUR").layout.annotations
