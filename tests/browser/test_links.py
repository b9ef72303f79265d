"""A link restores the whole view for somebody else, on the demo workspace in a real Chromium."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from dashboard.measure.watch import SCREEN
from tests.browser.pages import bars, choose, click, idle, link, open_row, visit

pytestmark = pytest.mark.browser


def test_a_deep_link_shows_somebody_else_the_same(page: Page, browser: Browser, demo: str):
    visit(page, demo)
    open_row(page, 2)
    click(page, bars(page).nth(0))
    expect(page.locator(".st-key-selected_merchant")).to_be_visible()
    idle(page)
    said = page.locator(".st-key-selected_merchant").inner_text()
    other = browser.new_context(viewport=SCREEN).new_page()
    visit(other, page.url)
    expect(other.locator(".st-key-selected_merchant")).to_have_text(said, use_inner_text=True)
    assert link(other) == link(page)
    other.context.close()


def test_the_chosen_days_and_kinds_of_file_are_part_of_the_link(
    page: Page, browser: Browser, fake: str
):
    visit(page, f"{fake}/user?user=huge")
    dots = page.get_by_text(re.compile("dots for"))
    expect(dots).to_contain_text("10,000 payments.")
    for _ in range(5):
        page.get_by_role("slider").first.press("ArrowRight")
    expect(dots).to_contain_text(" of 10,000.")
    page.get_by_text("Save as").click()
    for kind in ("SVG", "Parquet"):
        page.get_by_role("radio", name=kind).click()
        expect(page).to_have_url(re.compile(f"={kind}"))
    idle(page)
    other = browser.new_context(viewport=SCREEN).new_page()
    visit(other, page.url)
    expect(other.get_by_text(re.compile("dots for"))).to_have_text(dots.inner_text())
    expect(other.locator(".st-key-download_payments button")).to_contain_text("Parquet")
    assert link(other) == link(page)
    box = other.locator(".st-key-user input")
    for user in ("big", "huge"):  # another case has all of its days, and so has this one again
        box.fill(user)
        box.press("Enter")
        expect(other.get_by_role("heading", name=f"User {user}")).to_be_visible()
        idle(other)
        assert "days" not in link(other)
    expect(other.get_by_text(re.compile("dots for"))).to_contain_text("10,000 payments.")
    other.context.close()


def test_removal_and_what_if_are_a_part_of_the_link(page: Page, browser: Browser, demo: str):
    visit(page, demo)
    open_row(page, 0)
    page.locator(".st-key-engine").get_by_role("radio", name="Removal").click()
    expect(page.get_by_text("removal (Shapley)")).to_be_visible()
    idle(page)
    against = page.locator(".st-key-against").get_by_role("combobox")
    expect(against).to_have_value("empty history")  # this engine's own, in place of the other's
    choose(page, "without", "tidecash advance")
    after = page.get_by_test_id("stMetric").filter(has_text="PD after the edit")
    expect(after).to_be_visible()
    idle(page)
    assert link(page)["engine"] == "Removal"
    assert link(page)["without"] == "tidecash advance"
    said = after.inner_text()
    page.locator(".st-key-find_change button").click()
    expect(page.get_by_text(re.compile("verified by scoring|None found")).first).to_be_visible()
    other = browser.new_context(viewport=SCREEN).new_page()
    visit(other, page.url)
    expect(other.get_by_test_id("stMetric").filter(has_text="PD after the edit")).to_have_text(
        said, use_inner_text=True
    )
    other.context.close()


def test_an_applied_suggestion_is_part_of_the_link(page: Page, browser: Browser, demo: str):
    visit(page, demo)
    open_row(page, 0)
    page.locator(".st-key-find_change button").click()
    # By its role: Streamlit lays a hidden twin beside a button that has a tooltip.
    first = page.locator(".st-key-apply_1").get_by_role("button", name="Apply")
    expect(first).to_have_count(1)
    first.click()
    after = page.get_by_test_id("stMetric").filter(has_text="PD after the edit")
    expect(after).to_be_visible()
    expect(page).to_have_url(re.compile("edits="))
    idle(page)
    said = after.inner_text()
    assert said.split()[-3] in page.locator(".st-key-apply_1").locator("xpath=../..").inner_text()
    other = browser.new_context(viewport=SCREEN).new_page()
    visit(other, page.url)
    expect(other.get_by_test_id("stMetric").filter(has_text="PD after the edit")).to_have_text(
        said, use_inner_text=True
    )
    other.goto(f"{page.url}&edits=no+change")
    expect(other.get_by_text("is no edit")).to_be_visible()
    other.context.close()


def test_what_appears_above_takes_nothing_out_of_the_link(page: Page, demo: str):
    """A selected merchant adds a card in the middle of the page; boxes below it stay bound."""
    visit(page, demo)
    open_row(page, 0)
    click(page, bars(page).nth(1))
    expect(page.locator(".st-key-selected_merchant")).to_be_visible()
    idle(page)
    page.locator(".st-key-table_sort").get_by_role("radio", name="Latest first").click()
    expect(page).to_have_url(re.compile("table_sort="))
    idle(page)
    choose(page, "without", "tidecash advance")
    expect(page).to_have_url(re.compile("without=tidecash"))
