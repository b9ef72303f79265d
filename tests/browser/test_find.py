"""The filters and the queue run by themselves: what else has to hear of a filter does."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.pages import choose, idle, link, listen, open_row, visit

pytestmark = pytest.mark.browser

#: A part of some users' ids of the demo.
PART = "u0000"


def search(page: Page, text: str) -> None:
    box = page.locator(".st-key-q_user input")
    box.fill(text)
    box.press("Enter")
    idle(page)


def approved(page: Page) -> str:
    return (
        page.get_by_test_id("stMetric").filter(has_text="Default rate among approved").inner_text()
    )


def test_a_search_draws_the_queue_alone(page: Page, demo: str):
    """The server says the queue again, and nothing of the threshold."""
    said = listen(page)
    visit(page, demo)
    whole, before = len(said), approved(page)
    said.clear()
    search(page, PART)
    assert 5 < len(said) < whole / 2
    expect(page.get_by_text(re.compile(rf"samples? match · id contains “{PART}”"))).to_be_visible()
    assert link(page)["q_user"] == PART
    assert approved(page) == before


def test_another_filter_changes_the_threshold_too(page: Page, demo: str):
    visit(page, demo)
    before = approved(page)
    choose(page, "q_band", "very high")
    idle(page)
    with_band = approved(page)
    assert with_band != before
    search(page, PART)  # by itself again, for the same others
    assert approved(page) == with_band
    page.get_by_role("button", name="Clear", exact=True).click()
    idle(page)
    assert approved(page) == before
    assert link(page).keys().isdisjoint({"q_user", "q_band"})


def test_nobody_found_leaves_the_threshold_and_a_row_found_opens(page: Page, demo: str):
    visit(page, demo)
    before = approved(page)
    search(page, "%")
    expect(page.get_by_text("No sample matches: id contains “%”")).to_be_visible()
    assert approved(page) == before
    search(page, PART)
    open_row(page, 0)
    assert PART in link(page)["user"]
