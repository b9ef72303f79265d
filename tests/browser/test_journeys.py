"""What an analyst does, on the demo workspace in a real Chromium."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, expect

from dashboard.measure.watch import SCREEN
from lbsf_core.workspace import Workspace
from lbsf_core.workspace.dossier import read_dossier, replay
from tests.browser.pages import (
    bars,
    choose,
    click,
    idle,
    link,
    open_panel,
    open_row,
    too_wide,
    visit,
)

pytestmark = pytest.mark.browser


def test_the_queue_opens_its_riskiest_user(page: Page, demo: str):
    visit(page, demo)
    expect(page.get_by_role("heading", name="Portfolio")).to_be_visible()
    open_row(page, 0)
    user = link(page)["user"]
    expect(page.get_by_role("heading", name=f"User {user}")).to_be_visible()
    expect(page.get_by_text("Adds up: baseline")).to_be_visible()
    expect(page.locator(".st-key-timeline .scatterlayer .point").first).to_be_visible()


def test_a_clicked_merchant_rules_every_panel_and_survives_reruns(page: Page, demo: str):
    visit(page, demo)
    open_row(page, 0)
    click(page, bars(page).nth(2))
    card = page.locator(".st-key-selected_merchant")
    expect(card).to_be_visible()
    expect(page).to_have_url(re.compile("merchant="))
    name = link(page)["merchant"]
    expect(card).to_contain_text("Selected: ")
    expect(page.get_by_text(re.compile(r"^\d+ payments? at "))).to_be_visible()
    expect(page.locator(".st-key-merchant input")).to_have_value(name)
    open_panel(page, "Relations")
    frames = page.locator(".st-key-relation_map .shapelayer path")
    expect(frames).to_have_count(2)
    assert link(page)["panel"] == "Relations"
    page.get_by_role("radio", name="Recency").click()
    idle(page)
    assert link(page)["merchant"] == name
    expect(card).to_be_visible()
    page.locator(".st-key-clear_merchant button").click()
    expect(card).to_have_count(0)
    idle(page)
    assert "merchant" not in link(page)


def test_a_dot_a_square_and_a_node_select_too(page: Page, demo: str):
    visit(page, demo)
    open_row(page, 1)
    open_panel(page, "Relations")
    for mark in (
        page.locator(".st-key-timeline .scatterlayer path.point").last,
        page.locator(".st-key-relation_map .scatterlayer path.point").first,
        page.locator(".st-key-relation_graph .scatterlayer .trace")
        .last.locator("path.point")
        .nth(1),
    ):
        click(page, mark)
        expect(page.locator(".st-key-selected_merchant")).to_be_visible()
        idle(page)
        page.locator(".st-key-clear_merchant button").click()
        expect(page.locator(".st-key-selected_merchant")).to_have_count(0)
        idle(page)


def test_a_line_between_two_merchants_follows_both(page: Page, browser: Browser, demo: str):
    visit(page, demo)
    open_row(page, 0)
    open_panel(page, "Relations")
    middle = page.locator(".st-key-relation_graph .scatterlayer .trace").nth(-2)
    click(page, middle.locator("path.point").last)
    expect(page).to_have_url(re.compile("beside="))
    idle(page)
    expect(page.locator(".st-key-beside_merchant")).to_be_visible()
    measured = page.get_by_text(re.compile("together beyond each alone"))
    expect(measured).to_be_visible()
    said = measured.inner_text()
    other = browser.new_context(viewport=SCREEN).new_page()
    visit(other, page.url)
    expect(other.get_by_text(said)).to_be_visible()
    other.context.close()


def test_the_score_is_opened_level_by_level(page: Page, browser: Browser, demo: str):
    visit(page, demo)
    open_row(page, 0)
    open_panel(page, "How it adds up")
    bars_of = page.locator(".st-key-adds_up .barlayer .point path")
    click(page, bars_of.first)
    expect(page).to_have_url(re.compile("merchant="))
    idle(page)
    click(page, bars_of.first)
    expect(page).to_have_url(re.compile("payment="))
    idle(page)
    ticks = page.locator(".st-key-adds_up .ytick").all_text_contents()
    assert ticks[0] == "Nothing" and ticks[-1] == "The payment" and "amount" in ticks
    other = browser.new_context(viewport=SCREEN).new_page()
    visit(other, page.url)
    expect(other.locator(".st-key-adds_up .ytick")).to_have_text(ticks)  # waits for the panel
    other.context.close()
    for gone in ("payment=", "merchant="):
        page.get_by_role("button", name="Back").click()
        expect(page).not_to_have_url(re.compile(f"[?&]{gone}"))
        idle(page)
    expect(page.locator(".st-key-adds_up .ytick").first).to_have_text("Baseline")


def test_a_case_is_taken_away_and_replays(
    page: Page, demo: str, demo_workspace: Path, tmp_path: Path
):
    """Queue, worst user, why, what if, dossier; the dossier says what the page said."""
    visit(page, demo)
    open_row(page, 0)
    choose(page, "without", "tidecash advance")
    after = page.get_by_test_id("stMetric").filter(has_text="PD after the edit")
    expect(after).to_be_visible()
    page.get_by_label("Your name").fill("A. Nalyst")
    page.keyboard.press("Enter")
    idle(page)
    for form in ("html", "pdf"):
        with page.expect_download() as started:
            page.locator(f".st-key-dossier_{form} button").click()
        started.value.save_as(tmp_path / f"case.{form}")
    assert (tmp_path / "case.pdf").read_bytes().startswith(b"%PDF")
    found = replay(tmp_path / "case.html", Workspace.open(demo_workspace))
    assert found.differences == () and found.largest <= 1e-6
    dossier = read_dossier(tmp_path / "case.html")
    assert dossier["made"]["by"] == "A. Nalyst"
    assert dossier["asked"]["user"] == link(page)["user"]
    assert f"{dossier['said']['what_if']['pd']['after']:.1%}" in after.inner_text()
    page.goto((tmp_path / "case.html").as_uri())
    expect(page.get_by_role("heading", name=f"User {dossier['asked']['user']}")).to_be_visible()
    root = "document.documentElement"
    assert page.evaluate(f"{root}.scrollWidth - {root}.clientWidth") <= 0


def test_a_validator_reads_faithfulness_and_takes_the_figures_away(
    page: Page, demo: str, tmp_path: Path
):
    """Model page, faithfulness, download."""
    visit(page, f"{demo}/model")
    expect(page.get_by_role("heading", name="Are the explanations true?")).to_be_visible()
    page.get_by_role("button", name="Save as").click()
    page.get_by_role("radio", name="Parquet").click()
    page.keyboard.press("Escape")
    idle(page)
    for button, name in (("Metrics as Parquet", "metrics.parquet"), ("Card as JSON", "card.json")):
        with page.expect_download() as started:
            page.get_by_role("button", name=button).click()
        assert started.value.suggested_filename == name
        started.value.save_as(tmp_path / name)
    metrics = pd.read_parquet(tmp_path / "metrics.parquet").set_index("name")["value"]
    shown = page.get_by_test_id("stMetric").filter(has_text="AUC").first.inner_text()
    assert f"{metrics['AUC']:.3f}" in shown
    assert json.loads((tmp_path / "card.json").read_text())["workspace"]["workspace_version"]


def test_next_and_previous_walk_the_queue(page: Page, demo: str):
    visit(page, demo)
    open_row(page, 0)
    first = link(page)["user"]
    page.get_by_role("button", name="Next").click()
    expect(page).not_to_have_url(re.compile(f"user={first}"))
    idle(page)
    page.get_by_role("button", name="Previous").click()
    expect(page).to_have_url(re.compile(f"user={first}"))


def test_two_cohorts_are_compared_reported_and_the_link_restores_them(
    page: Page, browser: Browser, demo: str, tmp_path: Path
):
    """Two cohorts, their difference, a report, and the link opened in another browser."""
    visit(page, f"{demo}/cohorts")
    page.get_by_label("Name of cohort A").fill("Watch list")
    page.keyboard.press("Enter")
    idle(page)
    legend = page.locator(".st-key-cohort_scores .legendtext")
    expect(legend.first).to_have_text("Watch list")
    for key in ("scores", "rates", "merchants", "attributions", "spend"):
        expect(page.locator(f".st-key-cohort_{key} .main-svg").first).to_be_visible()
    page.get_by_label("Your name").fill("H. O'Risk")
    page.keyboard.press("Enter")
    idle(page)
    for form in ("html", "pdf"):
        with page.expect_download() as started:
            page.locator(f".st-key-report_{form} button").click()
        started.value.save_as(tmp_path / f"cohorts.{form}")
    assert (tmp_path / "cohorts.pdf").read_bytes().startswith(b"%PDF")
    other = browser.new_context(viewport=SCREEN).new_page()
    visit(other, page.url)
    expect(other.locator(".st-key-cohort_scores .legendtext").first).to_have_text("Watch list")
    shown = [
        text or "" for text in page.locator(".st-key-cohort_groups .ytick").all_text_contents()
    ]
    assert other.locator(".st-key-cohort_groups .ytick").all_text_contents() == shown
    other.goto((tmp_path / "cohorts.html").as_uri())
    title = "Watch list and B: very low + low risk"
    expect(other.get_by_role("heading", name=title)).to_be_visible()
    expect(other.get_by_text("H. O'Risk")).to_be_visible()
    page.get_by_role("radio", name="3").click()
    expect(page.get_by_label("Name of cohort C")).to_be_visible()
    idle(page)
    with page.expect_download() as started:
        page.locator(".st-key-report_html button").click()
    started.value.save_as(tmp_path / "three.html")
    other.goto((tmp_path / "three.html").as_uri())
    expect(other.get_by_role("heading", name=f"{title}, beside C: medium risk")).to_be_visible()
    other.context.close()


def test_a_line_drawn_on_the_map_makes_a_cohort(page: Page, demo: str):
    visit(page, f"{demo}/cohorts?map_open=true")
    layer = page.locator(".st-key-map .nsewdrag").first
    layer.scroll_into_view_if_needed()
    box = layer.bounding_box()
    assert box is not None
    corners = [(0.05, 0.05), (0.5, 0.03), (0.5, 0.97), (0.05, 0.95), (0.05, 0.06)]
    x, y = (lambda at: box["x"] + at * box["width"]), (lambda at: box["y"] + at * box["height"])
    page.mouse.move(x(corners[0][0]), y(corners[0][1]))
    page.mouse.down()
    for across, down in corners[1:]:
        page.mouse.move(x(across), y(down), steps=8)
    page.mouse.up()
    make = page.get_by_role("button", name="Make it cohort A")
    expect(make).to_be_enabled()
    make.click()
    expect(page).to_have_url(re.compile("a_area="))
    idle(page)
    assert "a_band" not in link(page) or link(page)["a_band"] == ""
    expect(page.locator(".st-key-cohort_scores .legendtext").first).to_contain_text("A: ")
    expect(page.locator(".st-key-map .legendtext").first).to_be_visible()


def test_the_tour_leads_from_the_queue_to_the_model(page: Page, demo: str):
    visit(page, demo)
    page.get_by_role("button", name="New here? Take the tour").click()  # a browser without a cookie
    dialog = page.get_by_role("dialog", name="A tour in four steps")
    for step in range(4):
        expect(dialog.get_by_text(f"{step + 1} of 4")).to_be_visible()
        dialog.get_by_role("button", name="Next" if step < 3 else "Done").click()
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("button", name="Tour", exact=True)).to_be_visible()


def test_the_threshold_moves_its_figures_and_the_link(page: Page, demo: str):
    visit(page, demo)
    approved = page.get_by_test_id("stMetricValue").first
    before = approved.inner_text()
    slider = page.get_by_role("slider", name="Threshold")
    slider.focus()
    for _ in range(12):
        page.keyboard.press("ArrowLeft")
    expect(page).to_have_url(re.compile("threshold="))
    idle(page)
    expect(approved).not_to_have_text(before)  # waits: figures may come after the link


def test_a_laptop_never_scrolls_sideways_and_asks_no_other_address(page: Page, demo: str):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    for place in ("cohorts", "model", ""):
        visit(page, f"{demo}/{place}")
        assert too_wide(page) <= 0, place
    open_row(page, 0)
    assert too_wide(page) <= 0
    assert asked
    assert not [u for u in asked if not u.startswith((demo, "data:", "blob:"))]


def test_every_answer_carries_the_security_policy(page: Page, demo: str):
    answer = page.request.get(demo)
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
