"""Every page through AppTest: the usual, the empty, the unknown, the hostile, the broken."""

from __future__ import annotations

import json
import re
from datetime import date
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dashboard import state
from dashboard.components import formats
from dashboard.components.text import escape
from lbsf_core.errors import WorkspaceError
from lbsf_core.workspace import Drift
from tests.dashboard.conftest import Open
from tests.dashboard.fake_workspace import (
    EVIL,
    EVIL_IMAGE,
    FIELDS,
    SHOPS,
    FakeWorkspace,
    broken_open,
)

PAGES = ("portfolio", "user", "cohorts", "model")


def words(at: AppTest) -> str:
    """Everything on the page that Streamlit renders as markdown, or as text."""
    kinds = (at.markdown, at.caption, at.header, at.subheader, at.warning, at.error, at.info)
    parts = [element.value for kind in kinds for element in kind]
    parts += [element.label for kind in (at.metric, at.button, at.selectbox) for element in kind]
    parts += [element.value for element in at.metric]
    parts += [element.value for element in at.text]
    return "\n".join(str(part) for part in parts)


def charts(at: AppTest) -> dict[str, Any]:
    """Chart specs by their alternative text."""
    found = {}
    for element in at.get("plotly_chart"):
        found[element.proto.alt] = json.loads(element.proto.spec)
    return found


def open_panel(at: AppTest, name: str) -> None:
    """Open one of the panels under the lanes of the user page."""
    at.session_state["panel"] = name
    at.run()


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_and_names_its_charts(open_page: Open, page: str):
    at = open_page(page, user="U001")
    assert not at.exception
    assert charts(at)
    assert all(charts(at)), "a chart without alt text"
    assert "Simulated" in " ".join(e.value for e in at.markdown) + words(at)


@pytest.mark.parametrize("page", PAGES)
def test_a_damaged_workspace_says_what_to_do(open_page: Open, page: str):
    at = open_page(page, opener=broken_open)
    assert not at.exception
    assert "can’t be read" in words(at)
    assert "does not match its hash" in words(at)
    assert "lbsf workspace" in words(at)


def test_no_workspace_named(monkeypatch: pytest.MonkeyPatch, open_page: Open):
    at = open_page("portfolio")
    monkeypatch.delenv(state.WORKSPACE_ENV)
    at.run()
    assert "lbsf dashboard DIR" in words(at)


def test_several_workspaces_get_a_picker(open_page: Open):
    at = open_page("portfolio", workspaces=("first", "second"))
    assert at.sidebar.selectbox(key="workspace").options == ["first", "second"]
    at.sidebar.selectbox(key="workspace").select("second").run()
    assert not at.exception
    assert not open_page("portfolio").sidebar.selectbox


# ---- portfolio ----------------------------------------------------------------------------------


def test_the_queue_holds_the_riskiest_first(open_page: Open):
    at = open_page("portfolio")
    table = at.dataframe[0].value
    assert table["user_id"].iloc[0] == "U000"
    assert table["pd"].is_monotonic_decreasing
    assert [m.label for m in at.metric][:2] == ["Approved", "Default rate among approved"]


def test_filters_narrow_the_queue(open_page: Open):
    at = open_page("portfolio")
    at.text_input(key="q_user").set_value("hostile").run()
    assert at.dataframe[0].value["user_id"].tolist() == ["hostile"]
    assert "hostile" in words(at)


def test_who_is_looked_for_by_id_leaves_the_thresholds_shares_alone(open_page: Open):
    whole, looked_for, filtered = (
        [metric.value for metric in open_page("portfolio", threshold="10.0", **query).metric]
        for query in ({}, {"q_user": "hostile"}, {"q_label": "Bad"})
    )
    assert whole == looked_for
    assert whole != filtered


def test_a_link_brings_its_filters_back(open_page: Open):
    at = open_page("portfolio", q_user="U00", threshold="10.0")
    assert len(at.dataframe[0].value) == 10
    assert at.slider(key="threshold").value == 10.0


def test_nothing_matches(open_page: Open):
    at = open_page("portfolio", q_user="%")
    assert not at.exception
    assert "No sample matches" in words(at)
    assert not at.dataframe


def test_an_empty_workspace(open_page: Open):
    at = open_page("portfolio", summary={"samples": 0, "users": 0, "payments": 0})
    assert "holds no scored sample" in words(at)


def test_a_proxy_label_is_said_plainly(open_page: Open):
    at = open_page("portfolio", summary={"simulated": False, "proxy": True, "label": "stop60"})
    assert "Proxy label" in words(at)
    assert "Simulated" not in words(at)


# ---- user ---------------------------------------------------------------------------------------


def test_the_user_page_shows_the_score_and_that_it_adds_up(open_page: Open):
    at = open_page("user", user="U001")
    figures = {m.label: m.value for m in at.metric}
    assert figures["Payments"] == "240"
    assert figures["Probability of default"].endswith("%")
    assert "Adds up" in words(at)
    assert "3 payments dropped by caps" in words(at)
    assert not at.error


def test_a_broken_sum_is_loud(open_page: Open):
    at = open_page("user", user="broken")
    assert "does not add up" in at.error[0].value


def test_a_chosen_merchant_rules_every_panel(open_page: Open):
    at = open_page("user", user="U001")
    name = SHOPS[3]
    at.selectbox(key="merchant").select(name).run()
    assert not at.exception
    assert set(at.dataframe[0].value["merchant"]) == {name}
    assert not any("heat map" in alt for alt in charts(at)), "not drawn before it is opened"
    assert f"Selected: {name}" in words(at)
    specs = charts(at)
    timeline = next(s for alt, s in specs.items() if "over time" in alt)
    assert sum(o == 1.0 for o in timeline["data"][2]["marker"]["opacity"]) == 1
    open_panel(at, "Relations")
    heat = next(s for alt, s in charts(at).items() if "heat map" in alt)
    assert len(heat["layout"]["shapes"]) == 2
    open_panel(at, "Payments")
    at.segmented_control(key="lanes").select("Spend").run()
    assert at.selectbox(key="merchant").value == name
    at.button(key="clear_merchant").click().run()
    assert at.selectbox(key="merchant").value is None
    assert at.dataframe[0].value["merchant"].nunique() == 12


def test_two_merchants_are_followed_together(open_page: Open):
    at = open_page("user", user="U001", merchant=SHOPS[3], beside=SHOPS[5])
    assert not at.exception
    assert f"Selected: {SHOPS[3]}" in words(at) and f"Beside: {SHOPS[5]}" in words(at)
    assert set(at.dataframe[0].value["merchant"]) == {SHOPS[3], SHOPS[5]}
    open_panel(at, "Relations")
    assert "together beyond each alone +0.250 logit" in words(at)
    open_panel(at, "Payments")
    at.segmented_control(key="engine").select("Removal").run()
    assert at.dataframe[0].value["attribution"].notna().all(), "the payments of both are valued"
    at.button(key="clear_merchant").click().run()
    assert at.selectbox(key="beside").value is None
    at.selectbox(key="beside").select(SHOPS[2]).run()
    assert at.selectbox(key="merchant").value == SHOPS[2], "a second without a first is the first"


def test_the_score_opens_from_merchant_to_payment_to_field(open_page: Open):
    at = open_page("user", user="U001", panel="How it adds up")
    assert "How the score adds up, by the merchants" in charts(at)
    at.selectbox(key="merchant").select(SHOPS[3]).run()
    assert "How the score adds up, by one merchant's payments" in charts(at)
    payment = at.selectbox(key="payment")
    payment.select_index(0).run()
    assert "How the score adds up, by one payment's fields" in charts(at)
    at.segmented_control(key="engine").select("Removal").run()
    assert "Removal values whole payments" in words(at)
    for _ in range(2):
        at.button(key="adds_up_back").click().run()
    assert at.selectbox(key="merchant").value is None
    assert not at.exception


@pytest.mark.parametrize("kind", state.TABLE_KINDS)
def test_tables_are_taken_away_in_the_kind_that_is_chosen(open_page: Open, kind: str):
    at = open_page("user", user="U001")
    at.segmented_control(key=state.TABLES).select(kind).run()
    assert kind in [button.proto.label for button in at.get("download_button")]


@pytest.mark.parametrize("panel", ["Payments", "How it adds up", "Relations"])
@pytest.mark.parametrize("user", ["empty", "one-payment", "huge", "hostile"])
def test_every_panel_stands_for_every_kind_of_user(open_page: Open, user: str, panel: str):
    at = open_page("user", user=user, panel=panel)
    assert not at.exception
    assert not any(evil in words(at) for evil in EVIL[:2])
    if user == "huge":
        assert "dots for 10,000 payments" in words(at)
        at.session_state[at.select_slider[0].key] = (date(2023, 6, 1), date(2023, 6, 20))
        at.run()
        assert not at.exception
        assert " of 10,000." in words(at)


@pytest.mark.parametrize("page", ["portfolio", "cohorts", "model"])
@pytest.mark.parametrize("user", ["empty", "one-payment", "huge", "hostile"])
def test_every_page_stands_when_only_such_a_user_is_left(open_page: Open, user: str, page: str):
    at = open_page(page, q_user=user, a_ids=user, b_ids="U001")
    assert not at.exception
    assert not any(evil in words(at) for evil in EVIL[:2])


def test_a_deep_link_restores_user_cutoff_and_merchant(open_page: Open):
    at = open_page("user", user="U002", cutoff="2024-03-31", merchant=SHOPS[1])
    assert at.text_input(key="user").value == "U002"
    assert at.selectbox(key="cutoff").value == "2024-03-31"
    assert at.selectbox(key="merchant").value == SHOPS[1]


def test_next_walks_the_queue_and_forgets_the_merchant(open_page: Open):
    at = open_page("user", user="U001", merchant=SHOPS[1])
    at.button(key="step_Next").click().run()
    assert at.text_input(key="user").value == "U002"
    assert at.selectbox(key="merchant").value is None
    assert not at.exception


def test_fault_27_empty_history(open_page: Open):
    at = open_page("user", user="empty")
    assert not at.exception
    assert "No payment lies in this window" in words(at)
    assert not charts(at)


@pytest.mark.parametrize("user", ["one-payment", "one-merchant"])
def test_fault_27_one_payment_one_merchant(open_page: Open, user: str):
    at = open_page("user", user=user)
    assert not at.exception
    drawn = [alt.split(",")[0] for alt in charts(at)]
    line = ["Probability of default at earlier cutoffs"] * (user == "one-merchant")
    assert drawn == [*line, "Payments over time"]
    assert ("No earlier month has payments" in words(at)) == (user == "one-payment")
    open_panel(at, "Relations")
    assert "One merchant only" in words(at)
    open_panel(at, "How it adds up")
    assert any("adds up" in alt for alt in charts(at))
    assert not at.exception


def test_fault_27_unknown_user(open_page: Open):
    at = open_page("user", user="U00")
    assert not at.exception
    assert "No user" in words(at)
    at.button(key="suggest_0").click().run()
    assert at.text_input(key="user").value == "U000"
    assert charts(at)


def test_no_user_yet_offers_the_riskiest(open_page: Open):
    at = open_page("user")
    assert not at.exception
    next(b for b in at.button if b.label == "U000").click().run()
    assert at.text_input(key="user").value == "U000"


@pytest.mark.parametrize("name", EVIL)
def test_fault_1_hostile_merchants_never_reach_markdown(open_page: Open, name: str):
    at = open_page("user", user="hostile")
    at.selectbox(key="merchant").set_value(name).run()
    assert not at.exception
    assert "Selected" in words(at)
    assert name not in words(at).replace("\\\\", "")
    assert "](http" not in words(at)


@pytest.mark.parametrize("typed", [EVIL_IMAGE, "<img src=x>", "=1+1", "%", "' OR 1=1 --"])
def test_fault_1_what_somebody_types_is_literal_too(open_page: Open, typed: str):
    for page, key in (("user", "user"), ("portfolio", "q_user")):
        at = open_page(page, **{key: typed})
        assert not at.exception
        assert "](http" not in words(at)
        assert "<img" not in words(at).replace("\\<", "")


def test_a_busy_user_stays_bounded(open_page: Open):
    at = open_page("user", user="big")
    assert not at.exception
    timeline = next(s for alt, s in charts(at).items() if "over time" in alt)
    assert "10 others together" in timeline["layout"]["yaxis"]["ticktext"]
    assert timeline["layout"]["height"] < 800


# ---- cohorts and model --------------------------------------------------------------------------


def test_two_cohorts_from_filters(open_page: Open):
    at = open_page("cohorts")
    assert len(charts(at)) == 8
    assert at.dataframe[0].value["cohort"].tolist()[0].startswith("A: high")
    at.multiselect(key="a_band").set_value(["medium"]).run()
    assert at.dataframe[0].value["cohort"].tolist()[0] == "A: medium risk"


def test_a_cohort_link_restores_both_sides(open_page: Open):
    at = open_page("cohorts", a_name="Gamblers", a_merchant="casino", b_band="low")
    names = at.dataframe[0].value["cohort"].tolist()
    assert names == ["Gamblers", "B: low risk"]
    assert at.multiselect(key="a_merchant").value == ["casino"]


def test_four_cohorts_two_of_them_in_detail(open_page: Open):
    at = open_page("cohorts", cohorts="4", b_name="Bees", c_band="medium", d_name="Everybody")
    assert not at.exception
    names = at.dataframe[0].value["cohort"].tolist()
    assert names == ["A: high + very high risk", "Bees", "C: medium risk", "Everybody"]
    at.segmented_control(key="pair").set_value("B and D").run()
    assert not at.exception
    assert at.dataframe[0].value["cohort"].tolist() == names
    legend = [t["name"] for t in charts(at)["Mean attribution by merchant in both cohorts"]["data"]]
    assert legend[:2] == ["Bees", "Everybody"]
    assert any("times as often B paid there as D" in c.value for c in at.caption)
    at.segmented_control(key="cohorts").set_value(2).run()  # a pair that is gone is none to keep
    assert not at.exception
    assert at.dataframe[0].value["cohort"].tolist() == names[:2]


def test_reason_codes_of_either_side(open_page: Open):
    alt = "Share of samples with each reason code in both cohorts"
    at = open_page("cohorts")
    ticks = charts(at)[alt]["layout"]["yaxis"]["ticktext"]
    assert ticks[0] == "gambling: risk rose"
    assert "<img" not in ticks[1]
    assert "12 samples of A, 9 samples of B" in words(at)
    at.segmented_control(key="side").set_value("What speaks for them").run()
    assert charts(at)[alt]["layout"]["yaxis"]["ticktext"][0] == "gambling: protective rose"


def test_where_no_reason_codes_were_asked_the_chart_says_so(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
):
    whole = FakeWorkspace.compare_reasons
    monkeypatch.setattr(FakeWorkspace, "compare_reasons", lambda *asked: whole(*asked).iloc[:0])
    at = open_page("cohorts")
    assert not at.exception
    drawn = charts(at)["Share of samples with each reason code in both cohorts"]
    assert "No reason code was asked" in drawn["layout"]["annotations"][0]["text"]
    assert not any("Asked: " in caption.value for caption in at.caption)


def test_a_cohort_is_saved_and_opened_in_another_place(open_page: Open):
    at = open_page("cohorts", a_name="Gamblers", a_merchant="casino", a_max="900")
    assert not at.get("popover")[0].proto.popover.open
    at.session_state["saved_a_drawer"] = True
    at.run()
    at.button(key="saved_a_keep").click().run()
    assert not at.exception
    at.session_state["saved_b_drawer"] = True
    at.run()
    at.selectbox(key="saved_b_which").set_value("Gamblers").run()
    assert "paid at “casino”" in words(at) and "saved by somebody who gave no name" in words(at)
    at.button(key="saved_b_open").click().run()
    assert not at.exception
    assert (at.session_state["b_name"], at.session_state["b_merchant"]) == ("Gamblers", ["casino"])
    assert at.session_state["b_max"] == 900
    assert at.dataframe[0].value["samples"].nunique() == 1
    at.button(key="saved_b_delete").click().run()
    assert not at.exception
    assert state.saved_cohorts().all("demo") == []


def test_a_database_that_is_not_there_is_told(open_page: Open, monkeypatch: pytest.MonkeyPatch):
    at = open_page("cohorts")
    monkeypatch.setenv(state.CASES_ENV, "sqlite:////nowhere/at/all/cases.db")
    at.session_state["saved_a_drawer"] = True
    at.run()
    assert not at.exception
    assert "may be written" in at.error[0].value
    assert at.dataframe  # the comparison stands


def test_cohorts_are_added_up_by_kind_field_or_time(open_page: Open):
    at = open_page("cohorts", by="Field")
    assert not at.exception
    alt = "Mean attribution in both cohorts by kind of merchant, field or time"
    assert charts(at)[alt]["layout"]["yaxis"]["ticktext"] == list(FIELDS)
    assert any("stability index of score" in alt for alt in charts(at))


def test_overlap_is_said(open_page: Open):
    at = open_page("cohorts", a_band="very high", b_band="very high")
    assert "lie in both cohorts" in at.warning[0].value
    assert "fewer than ten" in at.warning[0].value


def test_a_small_cohort_is_not_shown(open_page: Open, monkeypatch: pytest.MonkeyPatch):
    at = open_page("cohorts", smallest="10", a_band="very high")
    assert not at.exception
    assert not charts(at) and not at.dataframe
    assert "holds fewer than 10 samples" in words(at)
    at = open_page("cohorts", smallest="many")
    assert any("give a whole number" in element.value for element in at.text)
    monkeypatch.delenv(state.SMALLEST_ENV)
    assert state.smallest_cohort() == 10


def test_an_empty_cohort(open_page: Open):
    at = open_page("cohorts", a_merchant="no such merchant")
    assert not at.exception
    assert "is empty" in words(at)
    assert not charts(at)


def test_the_map_is_drawn_when_asked_for_and_a_wrong_area_is_told(open_page: Open):
    at = open_page("cohorts")
    assert not any("what the model makes" in alt for alt in charts(at))
    at.toggle(key="map_open").set_value(True).run()
    assert not at.exception
    chart = next(s for alt, s in charts(at).items() if "what the model makes" in alt)
    assert EVIL_IMAGE not in json.dumps(chart) and chart["layout"]["dragmode"] == "lasso"
    assert at.button(key="map_A").disabled, "nothing is drawn yet"
    at.text_input(key="a_area").set_value("1,2").run()
    assert "An area has 3" in words(at)
    at.text_input(key="a_area").set_value("-9,-9 9,-9 9,9 -9,9").run()
    assert not at.exception


def test_the_model_page_shows_metrics_card_and_warnings(open_page: Open):
    at = open_page("model")
    assert [m.label for m in at.metric] == ["AUC", "KS", r"PR\-AUC", "Brier", "ECE"]
    assert "21 bad" in words(at)
    assert "What it is" in words(at)
    assert "](http" not in str(at.table[0].value)
    assert "Precision against recall, beside guessing" in charts(at)
    assert "Default rate of each tenth of the samples over that of all" in charts(at)


def test_the_model_page_says_whether_the_population_moved(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
):
    at = open_page("model")
    assert any("Population stability index" in alt for alt in charts(at))
    assert "1 month with fewer than 30 samples left out" in words(at)
    nothing = Drift("", False, "month", FakeWorkspace().drift().periods.iloc[:0], 0)
    monkeypatch.setattr(FakeWorkspace, "drift", lambda _: nothing)
    st.cache_data.clear()
    assert "Nothing can be compared" in words(open_page("model"))


def test_the_model_page_says_how_true_its_explanations_are(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
):
    at = open_page("model")
    assert "Are the explanations true?" in words(at)
    assert "Comprehensiveness and sufficiency of every method of explanation" in charts(at)
    tables = [frame.value for frame in at.dataframe if "Taken out" in frame.value.columns]
    assert tables[0]["Taken out"].tolist() == [
        "+0.36 (+0.30 to +0.42)",
        "−0.01 (−0.03 to +0.01)",
    ]
    monkeypatch.setattr(FakeWorkspace, "faithfulness", lambda _: {})
    st.cache_data.clear()
    at = open_page("model")
    assert not at.exception
    assert "Not measured for this model" in words(at)


def test_a_model_without_labels(open_page: Open, monkeypatch: pytest.MonkeyPatch):
    full = FakeWorkspace.performance

    def none(self):
        found = full(self)
        return type(found)(**{**vars(found), "metrics": found.metrics.iloc[:0]})

    monkeypatch.setattr(FakeWorkspace, "performance", none)
    at = open_page("model")
    assert not at.exception
    assert "no labels to measure against" in words(at)


def test_reasons_are_told_and_hostile_names_stay_text(open_page: Open):
    at = open_page("user", user="U001")
    assert escape(f"Payments at {SHOPS[0]} rose from 1.0 to 6.3 a month", "markdown") in words(at)
    assert "−0.400 logit without 2 payments" in words(at)
    at = open_page("user", user="hostile")
    assert EVIL_IMAGE not in words(at)


def test_the_title_of_the_reasons_goes_with_the_score(open_page: Open):
    assert "Why the score is high" in words(open_page("user", user="U000"))
    assert "low as it is" in words(open_page("user", user="one-payment"))


def test_without_reasons_the_page_still_stands(open_page: Open):
    at = open_page("user", user="one-merchant")
    assert not at.exception
    assert "No reason codes: the bundle does not know its default rate" in words(at)
    assert charts(at)


def test_removal_values_the_payments_of_one_merchant(open_page: Open):
    at = open_page("user", user="U001", engine="Removal", merchant=SHOPS[1])
    assert not at.exception
    assert f"{escape('removal (Shapley)', 'markdown')}, 2,000 coalitions" in words(at)
    assert f"at {SHOPS[1]}" in words(at)
    assert re.search(r"attribution \*\*\S+\*\* logit \(\S+ to \S+\)", words(at))
    at = open_page("user", user="U001", engine="Removal")  # nobody chosen: the strongest one
    assert not at.exception
    assert "payments at " in words(at)
    assert "nan" not in words(at).lower().replace("explanation", "")


def test_another_baseline_is_named_and_its_disagreement_told(open_page: Open):
    at = open_page("user", user="U001", against="typical user")
    assert "baseline: typical user" in words(at)
    assert escape("Other merchants come first.", "markdown") in words(at)


def test_taking_a_merchant_out_moves_the_pd(open_page: Open):
    at = open_page("user", user="U001")
    at.multiselect(key="without").select(SHOPS[0]).run()
    assert not at.exception
    assert "PD after the edit" in words(at)


@pytest.mark.parametrize(
    ("button", "expected"),
    [("find_change", "verified by scoring the changed history"), ("find_enough", "alone")],
)
def test_what_would_change_and_what_keeps_the_decision(open_page: Open, button: str, expected: str):
    at = open_page("user", user="U000")
    at.number_input(key="approve").set_value(1.0).run()
    at.button(key=button).click().run()
    assert not at.exception
    assert expected in words(at)


def test_a_suggestion_is_applied_by_a_click_and_replaces_what_was_chosen(open_page: Open):
    at = open_page("user", user="U000")
    at.number_input(key="approve").set_value(1.0).run()
    at.multiselect(key="without").select(SHOPS[1]).run()
    at.button(key="find_change").click().run()
    at.button(key="apply_1").click().run()
    assert not at.exception
    (line,) = at.session_state["edits"]
    assert line.startswith("remove at ")
    assert at.multiselect(key="without").value == []
    assert "verified by scoring" in words(at), "the suggestions stay"
    assert escape(f"no payments at {line.removeprefix('remove at ')}", "markdown") in words(at)


def test_a_change_is_put_into_the_list_and_another_user_begins_anew(open_page: Open):
    at = open_page("user", user="U001")
    assert at.button(key="change_add").disabled
    at.selectbox(key="change_who").select(SHOPS[0]).run()
    at.button(key="change_add").click().run()
    assert at.session_state["edits"] == [f"scale 0.5 at {SHOPS[0]}"]
    assert "PD after the edit" in words(at)
    at.text_input(key="user").set_value("U000").run()
    assert at.session_state["edits"] == []
    assert "PD after the edit" not in words(at)


def test_payments_are_added_a_month_apart(open_page: Open):
    at = open_page("user", user="U001")
    at.segmented_control(key="change_what").set_value("Add payments").run()
    at.selectbox(key="change_who").select(SHOPS[0]).run()
    times = next(box for box in at.number_input if box.label.startswith("How many"))
    times.set_value(3).run()
    at.button(key="change_add").click().run()
    assert not at.exception
    assert at.session_state["edits"] == [
        f"add -100 on {day} at {SHOPS[0]}" for day in ("2024-01-30", "2024-02-29", "2024-03-30")
    ]


@pytest.mark.parametrize("line", ["bogus", EVIL_IMAGE, "scale -1 at x", "window nan"])
def test_a_link_with_a_change_that_makes_no_sense_says_so(open_page: Open, line: str):
    at = open_page("user", user="U001", edits=line)
    assert not at.exception
    assert len(at.error) == 1 and "](http" not in at.error[0].value
    assert "PD after the edit" not in words(at)


def test_ticked_payments_are_taken_out(open_page: Open):
    at = open_page("user", user="U001")
    sample = FakeWorkspace().cases("U001")[0].sample
    at.session_state[f"payments_table_{sample}_all_Largest effect"] = {
        "selection": {"rows": [0, 2], "columns": [], "cells": []}
    }
    at.run()
    button = at.button(key="take_out_ticked")
    assert "2 ticked payments" in button.label
    button.click().run()
    assert not at.exception
    (line,) = at.session_state["edits"]
    assert re.fullmatch(r"remove rows \d+,\d+", line)


def test_what_breaks_in_a_part_that_runs_by_itself_is_told_there(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
):
    def broken(*_: Any) -> None:
        raise WorkspaceError("/w/store: what it holds is not what was written.")

    monkeypatch.setattr(FakeWorkspace, "interactions", broken)
    at = open_page("user", user="U001", panel="Relations")
    assert not at.exception
    assert "can’t be read" in words(at) and "is not what was written" in words(at)
    assert "Payments by merchant" in words(at) and "What if" in words(at)  # all else is there


def test_the_queue_may_be_ordered_by_change_and_by_loss_where_they_are_known(open_page: Open):
    at = open_page("portfolio")
    assert "Largest expected loss" not in at.selectbox(key="q_sort").options
    st.cache_data.clear()
    st.cache_resource.clear()
    known = {"scored_before": 9, "at_stake": 9}
    at = open_page("portfolio", summary=known, q_sort="Largest expected loss")
    assert not at.exception
    assert "Largest change since last scoring" in at.selectbox(key="q_sort").options
    shown = json.loads(at.dataframe[0].proto.columns)
    assert shown["expected_loss"]["label"] == "Expected loss (EUR)"
    at.segmented_control(key="cost_way").set_value("Each one's amount at stake").run()
    assert not at.exception
    assert at.number_input(key="cost_lost").value == 60.0


def test_the_queue_may_be_ordered_by_how_far_methods_disagree(open_page: Open):
    at = open_page("portfolio")
    assert "Methods disagree most" not in at.selectbox(key="q_sort").options
    st.cache_data.clear()
    st.cache_resource.clear()
    at = open_page("portfolio", summary={"explained_twice": 9}, q_sort="Methods disagree most")
    assert not at.exception
    assert "disagreement" in at.dataframe[0].proto.column_order
    assert (at.dataframe[0].value["disagreement"] == 25.0).all()


def test_filters_are_taken_off_together(open_page: Open):
    at = open_page("portfolio", q_user="U00", q_merchant=SHOPS[0])
    assert f"paid at “{SHOPS[0]}”" in words(at)
    at.button(key="q_clear").click().run()
    assert not at.exception
    assert at.text_input(key="q_user").value in (None, "")
    assert at.multiselect(key="q_merchant").value == []
    assert "paid at" not in words(at)


def test_costs_are_the_readers_own(open_page: Open):
    at = open_page("portfolio")
    label = "Mean cost a sample for every share approved, by PD and by label"
    assert label in charts(at)
    before = [m.value for m in at.metric if m.label == "Cost there"]
    at.number_input(key="cost_default").set_value(50_000.0).run()
    assert not at.exception
    assert [m.value for m in at.metric if m.label == "Cost there"] != before


def test_users_like_this_one_stand_with_their_outcomes(open_page: Open):
    at = open_page("user", user="U001")
    assert re.search(r"Of the 10 nearest \d+ have a label, and \*\*\d+ defaulted\*\*", words(at))
    tables = [frame.value for frame in at.dataframe if "similarity" in frame.value.columns]
    assert "U001" not in set(tables[0]["user_id"])


def test_scores_are_measured_inside_each_cohort(open_page: Open):
    at = open_page("cohorts")
    tables = [frame.value for frame in at.dataframe if "ece" in frame.value.columns]
    assert tables[0]["auc"].tolist() == ["0.700", formats.MISSING]
    assert "fewer than five bad" in words(at)


def test_a_cohort_of_pasted_ids_counts_those_nobody_knows(open_page: Open):
    at = open_page("cohorts", a_band="", a_ids=f"U000, U001\n{EVIL_IMAGE}")
    assert not at.exception
    assert "3 ids given; 1 not in this workspace" in words(at) and EVIL_IMAGE not in words(at)
    assert at.dataframe[0].value["cohort"].iloc[0].endswith("by ids")


def test_a_cohort_of_an_uploaded_file(open_page: Open):
    at = open_page("cohorts")
    at.file_uploader(key="b_file").upload("ids.csv", b"user_id\nU001\nU002\nzoe\n", "text/csv")
    at.run()
    assert not at.exception
    assert "3 ids given; 1 not in this workspace: zoe" in words(at)


def test_a_file_that_is_none_of_ids_is_said_and_can_be_replaced(open_page: Open):
    at = open_page("cohorts")
    at.file_uploader(key="a_file").upload("ids.parquet", b"PAR1 no", "application/octet-stream")
    at.run()
    assert not at.exception
    assert len(at.error) == 1 and "read" in at.error[0].value
    assert "is empty" in words(at)
    at.file_uploader(key="a_file").upload("ids.csv", b"U000\nU001\n", "text/csv").run()
    assert not at.error and "2 ids given" in words(at)
