"""The timeline, its lanes and the relations, checked on their data."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from dashboard.charts import lanes, relations, waterfall
from dashboard.charts.history import score_history
from dashboard.charts.timeline import DOTS, dot_size, timeline
from tests.dashboard.fake_workspace import (
    EVIL,
    EVIL_TAG,
    SHOPS,
    FakeWorkspace,
    by_removal,
    make_explanation,
)


@pytest.fixture
def big():
    return make_explanation("big", merchants=SHOPS, payments=1500, seed=4)


def _arranged(explanation, **options):
    return lanes.arrange(explanation.merchants_frame(), explanation.payments_frame(), **options)


def test_others_keep_every_payment_and_every_sum(big):
    found = _arranged(big, most=10)
    assert len(found.merchants) == 11
    assert found.merchants["others"].tolist() == [False] * 10 + [True]
    assert found.merchants["payments"].sum() == len(found.payments) == 1500
    assert found.merchants["attribution"].sum() == pytest.approx(big.merchant_attributions.sum())
    assert found.merchants["weight"].sum() == pytest.approx(1.0)
    totals = found.payments.groupby("lane")["amount"].sum()
    assert totals.to_numpy() == pytest.approx(found.merchants["total"].to_numpy(dtype=float))


def test_one_merchant_too_many_makes_no_rest(big):
    assert not _arranged(big, most=len(SHOPS) - 1).merchants["others"].any()


def test_the_selected_merchant_always_has_a_lane(big):
    last = _arranged(big, most=40).merchants["merchant"].iloc[-1]
    assert last not in set(_arranged(big, most=10).merchants["merchant"])
    assert last in set(_arranged(big, most=10, always=[last]).merchants["merchant"])


@pytest.mark.parametrize(
    ("sort", "value"),
    [
        ("Attribution", lambda f: f["attribution"].abs()),
        ("Attention", lambda f: f["weight"]),
        ("Spend", lambda f: f["money_in"] + f["money_out"]),
        ("Recency", lambda f: pd.to_datetime(f["last"]).astype("int64")),
    ],
)
def test_lanes_are_sorted(big, sort, value):
    rows = _arranged(big, sort=sort, most=40).merchants
    assert (np.diff(value(rows).to_numpy(dtype=float)) <= 0).all()


def test_the_timeline_draws_every_payment_once_in_its_direction():
    explanation = make_explanation()
    figure = timeline(_arranged(explanation), currency="EUR")
    money_in, money_out = figure.data[0], figure.data[1]
    assert money_in.name == "Money in"
    assert len(money_in.x) == (explanation.amounts > 0).sum()
    assert len(money_out.x) == (explanation.amounts <= 0).sum()
    assert money_out.customdata[0][0] in explanation.merchants
    attribution, attention = figure.data[2], figure.data[3]
    assert sum(attribution.x) == pytest.approx(explanation.merchant_attributions.sum())
    assert sum(attention.x) == pytest.approx(1.0)
    titles = [a.text for a in figure.layout.annotations]
    assert any("attention, not a cause" in t for t in titles)
    assert any("attribution, logit" in t for t in titles)


@pytest.mark.parametrize("chosen", [None, 3])
def test_figures_that_plotly_does_not_check_pass_its_checks(chosen):
    explanation = make_explanation(merchants=SHOPS, payments=600)
    name = None if chosen is None else explanation.merchants[chosen]
    arranged = _arranged(explanation, sort="Kind", most=5)
    standing = SimpleNamespace(cutoff=explanation.cutoff, pd=0.1, payments=4, whole=False)
    for figure in (
        timeline(arranged, currency="EUR", selected=name),
        score_history([standing, standing]),
    ):
        sent = json.loads(figure.to_json())
        checked = go.Figure(figure.to_dict())  # raises where a property is none, or is wrong
        assert [trace.type for trace in checked.data] == [trace.type for trace in figure.data]
        assert figure.layout.template.layout.colorway, "the theme has something to replace"
        assert json.loads(figure.to_json()) == sent, "what plotly itself would send of it"


def test_a_selection_marks_its_own_payments_and_dims_the_rest():
    explanation = make_explanation()
    name = explanation.merchants[3]
    figure = timeline(_arranged(explanation), currency="EUR", selected=name)
    marked = sum(len(t.selectedpoints) for t in figure.data[:2])
    assert marked == np.diff(explanation.offsets)[3]
    assert sum(o == 1.0 for o in figure.data[2].marker.opacity) == 1
    bands = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert len(bands) == 3, "one in each panel"
    both = timeline(
        _arranged(explanation), currency="EUR", selected=name, beside=explanation.merchants[5]
    )
    assert sum(len(t.selectedpoints) for t in both.data[:2]) == (
        np.diff(explanation.offsets)[[3, 5]].sum()
    )


def test_the_chart_stays_bounded_and_needs_no_graphics_card(big):
    figure = timeline(_arranged(big, most=40), currency="EUR")
    assert figure.layout.height <= 41 * 25 + 200
    many = make_explanation(merchants=SHOPS, payments=4 * DOTS)
    assert {trace.type for trace in timeline(_arranged(many), currency="EUR").data} == {
        "scatter", "bar",
    }  # fmt: skip


def test_fault_2_names_in_the_timeline_are_literal():
    explanation = make_explanation(merchants=EVIL, payments=60)
    figure = timeline(_arranged(explanation), currency="EUR")
    assert not any("<img" in t or "<b>" in t for t in figure.layout.yaxis.ticktext)
    for trace in figure.data[:2]:
        assert not any("<img" in row[1] or "<IMG" in row[2] for row in trace.customdata)
    names = [row[0] for trace in figure.data[:2] for row in trace.customdata]
    assert EVIL_TAG in names  # the raw name picks the merchant, and is drawn nowhere


def test_one_payment_has_a_lane_and_a_span():
    explanation = make_explanation(merchants=SHOPS[:1], payments=1)
    figure = timeline(_arranged(explanation), currency="EUR")
    left, right = figure.layout.xaxis.range
    assert pd.Timestamp(left) < pd.Timestamp(figure.data[0].x[0]) < pd.Timestamp(right)


def test_dots_grow_with_the_amount_and_stay_in_their_lane():
    sizes = dot_size(np.array([1.0, -100.0, 10_000.0, 0.0]))
    assert sizes[0] < sizes[1] < sizes[2] <= 19
    assert sizes[3] > 4
    assert dot_size(np.zeros(2)).tolist() == [7.0, 7.0]


def test_the_heat_map_can_be_clicked_through_its_squares():
    weights = np.array([[0.7, 0.3], [0.1, 0.9]])
    figure = relations.heat_map(weights, ["a", "<b>"], selected="a")
    squares = figure.data[1]
    assert [row[:2] for row in squares.customdata] == [
        ["a", "a"], ["a", "<b>"], ["<b>", "a"], ["<b>", "<b>"],
    ]  # fmt: skip
    assert [row[4] for row in squares.customdata] == ["70.00%", "30.00%", "10.00%", "90.00%"]
    assert figure.layout.yaxis.ticktext == ("a", "&lt;b&gt;")
    assert len(figure.layout.shapes) == 2


def test_the_strongest_relation_wins_in_either_direction():
    weights = np.array([[0.0, 0.1, 0.2], [0.8, 0.0, 0.1], [0.3, 0.1, 0.0]])
    assert relations.strongest(weights, 1.0) == [(0, 1, 1.0)]
    assert len(relations.strongest(weights, 0.0)) == 3
    assert {(a, b) for a, b, _ in relations.strongest(weights, 1.0, selected=2)} == {
        (0, 1), (0, 2), (1, 2),
    }  # fmt: skip
    assert relations.strongest(np.ones((1, 1))) == []


def test_the_graph_sizes_by_money_and_colours_by_effect(big):
    merchants = big.merchants_frame()
    chosen = relations.pick(merchants, always=[merchants["merchant"].iloc[-1]])
    assert len(chosen) == relations.MOST
    assert int(merchants["segment"].iloc[-1]) in chosen
    rows = merchants.set_index("segment", drop=False).loc[chosen]
    nodes = relations.graph(big.relations[chosen][:, chosen], rows).data[-1]
    money = (rows["money_in"] + rows["money_out"]).to_numpy()
    assert np.argmax(nodes.marker.size) == np.argmax(money)
    ups = [c == "#D55E00" for c in nodes.marker.color]
    assert ups == (rows["attribution"] > 0).tolist()


def test_sampled_values_carry_their_interval_and_exact_ones_none():
    exact = make_explanation()
    assert timeline(_arranged(exact), currency="EUR").data[2].error_x.array is None
    sampled = by_removal(exact, exact.merchants[:1])
    arranged = _arranged(sampled)
    bars = timeline(arranged, currency="EUR").data[2]
    np.testing.assert_allclose(bars.error_x.array, 0.02)
    np.testing.assert_allclose(bars.error_x.arrayminus, 0.02)
    wide = replace(sampled, merchant_hi=sampled.merchant_hi + 5)
    reach = timeline(_arranged(wide), currency="EUR").layout.xaxis2.range
    assert reach[1] > wide.merchant_hi.max()


def test_the_score_over_time_is_hollow_where_payments_are_missing():
    workspace = FakeWorkspace()
    standings = workspace.score_history(workspace.case("U001"))
    line = score_history(standings).data[0]
    assert list(line.y) == [one.pd for one in standings]
    assert line.marker.symbol == ("circle-open",) * 5 + ("circle",)
    assert line.customdata[-1][2] == "50 payments"


def test_by_kind_each_has_a_line_with_its_sums_and_every_payment_its_merchants_lane(big):
    found = _arranged(big, sort="Kind", most=40)
    heads = found.merchants[found.merchants["others"].astype(bool)]
    assert len(heads) == len(set(big.kinds))
    assert heads["attribution"].sum() == pytest.approx(big.merchant_attributions.sum())
    sizes = heads["attribution"].abs().to_numpy()
    assert (np.diff(sizes) <= 0).all()
    assert not set(found.payments["lane"]) & set(heads.index)
    lanes_of = found.payments.groupby("merchant")["lane"].unique()
    for merchant, places in lanes_of.items():
        assert found.merchants.loc[places[0], "merchant"] == merchant
    few = _arranged(big, sort="Kind", most=10)
    assert few.merchants["title"].iloc[-1] == "20 others together"
    assert few.payments["lane"].max() == len(few.merchants) - 1


def test_money_by_month_is_that_of_the_payments():
    explanation = make_explanation()
    figure = timeline(_arranged(explanation), currency="EUR")
    money_in, money_out = (t for t in figure.data if t.type == "bar" and t.xaxis == "x4")
    assert sum(money_in.y) == pytest.approx(explanation.amounts[explanation.amounts > 0].sum())
    assert sum(money_out.y) == pytest.approx(explanation.amounts[explanation.amounts < 0].sum())
    assert 12 <= len(money_in.x) <= 13
    assert figure.layout.xaxis4.matches == "x"


def test_a_regular_series_has_a_line_that_breaks_where_a_payment_is_missing():
    days = np.array(["2024-01-01", "2024-02-01", "2024-03-01", "2024-05-01"], "datetime64[us]")
    one = make_explanation(merchants=SHOPS[:1], payments=4)
    figure = timeline(_arranged(replace(one, timestamps=days)), currency="EUR")
    line = next(t for t in figure.data if t.type == "scatter" and t.mode == "lines")
    assert [y is None for y in line.y] == [False, False, False, True, False, True]
    assert figure.layout.yaxis.ticktext == (f"{SHOPS[0]} ↻",)


def test_a_line_tells_what_was_measured_of_its_two_ends(big):
    rows = big.merchants_frame().iloc[:4]
    weights = big.relations[:4, :4]
    together = np.full((4, 4), -0.25)
    figure = relations.graph(weights, rows, interactions=together, weakest=0.0)
    middles = figure.data[-2]
    assert len(middles.x) == 6
    assert middles.customdata[0][:2] == middles.customdata[0][2:4]
    assert {row[5] for row in middles.customdata} == {"together beyond each alone −0.250 logit"}


def test_every_level_of_the_waterfall_sums_to_the_bar_it_was_opened_from(big):
    top = waterfall.of_merchants(big)
    assert top.start == big.baseline_logit
    assert top.total == pytest.approx(big.logit)
    assert len(top.steps) == waterfall.MOST + 1
    assert top.steps["title"].iloc[-1] == f"{len(SHOPS) - waterfall.MOST} others together"
    merchant = top.steps["pick"].iloc[0]
    second = waterfall.of_payments(big, merchant)
    assert second.total == pytest.approx(top.steps["value"].iloc[0])
    payment = int(second.steps["pick"].iloc[0])
    third = waterfall.of_fields(big, payment)
    assert third.total == pytest.approx(second.steps["value"].iloc[0])
    assert set(third.steps["title"]) == set(big.fields)
    bars = waterfall.waterfall(top).data[0]
    begins, values = np.asarray(bars.base, dtype=float), np.asarray(bars.x, dtype=float)
    np.testing.assert_allclose(begins[1:], (begins + values)[:-1])
    others = waterfall.of_merchants(replace(big, others=5.0))
    assert others.steps["title"].iloc[0] == "not paying where the baseline pays"


def test_fault_2_names_in_the_waterfall_are_literal():
    explanation = make_explanation(merchants=EVIL, payments=60)
    figure = waterfall.waterfall(waterfall.of_merchants(explanation))
    assert not any("<img" in t or "<b>" in t for t in figure.layout.yaxis.ticktext)
    assert not any("<img" in row[1] for row in figure.data[0].customdata)
    assert EVIL_TAG in [row[0] for row in figure.data[0].customdata]


def test_of_very_many_payments_the_largest_of_each_place_stand_for_all():
    huge = make_explanation(merchants=SHOPS, payments=10_000)
    payments = _arranged(huge, most=40).payments
    few = lanes.thin(payments, 500)
    assert len(few) <= 500
    assert few["together"].sum() == 10_000
    for lane, own in payments.groupby("lane"):
        largest = own["amount"].abs().max()
        assert few[few["lane"] == lane]["amount"].abs().max() == largest
    assert lanes.thin(payments, 10_000)["together"].tolist() == [1] * 10_000
    figure = timeline(_arranged(huge, most=40), currency="EUR")
    drawn = sum(len(trace.x) for trace in figure.data[:2])
    assert drawn <= DOTS
    assert len(figure.to_json()) < 1_000_000


@pytest.mark.parametrize("largest", [0.0007, 0.019, 0.214, 0.92, 1.0, 4.7, 80.0])
def test_effect_ticks_keep_away_from_the_next_panel(largest: float) -> None:
    explanation = make_explanation(merchants=SHOPS, payments=60)
    arranged = _arranged(explanation)
    values = np.linspace(-largest, largest, len(arranged.merchants))
    rows = arranged.merchants.assign(attribution=values, lo=values, hi=values)
    axis = timeline(lanes.Lanes(rows, arranged.payments), currency="EUR").layout.xaxis2
    assert 0.3 * axis.range[1] < axis.tickvals[2] <= 0.75 * axis.range[1]


@pytest.mark.parametrize(
    ("months", "named"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (13, [0, 6, 12])]
)
def test_a_score_history_names_each_month_once(months: int, named: list[int]) -> None:
    cutoffs = [datetime(2024 + at // 12, at % 12 + 1, 25, tzinfo=UTC) for at in range(months)]
    figure = score_history(
        [SimpleNamespace(cutoff=cutoff, pd=0.1, payments=4, whole=True) for cutoff in cutoffs]
    )
    assert list(figure.layout.xaxis.tickvals) == [cutoffs[at] for at in named]
