"""The lanes and what follows them run by themselves: what else has to hear of it does."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.pages import HEADER, ROW, bars, click, idle, link, listen, open_row, visit

pytestmark = pytest.mark.browser

#: Width of the column in which a table's rows are ticked.
TICKS = 20


def test_a_click_draws_the_lanes_and_their_panel_alone(page: Page, demo: str):
    """The server says again what follows the selection, and nothing of the rest of the page."""
    said = listen(page)
    visit(page, demo)
    open_row(page, 0)
    page.reload()
    said.clear()
    idle(page)
    whole = len(said)
    said.clear()
    click(page, bars(page).nth(1))
    expect(page.locator(".st-key-selected_merchant")).to_be_visible()
    idle(page)
    assert 10 < len(said) < whole / 2


def test_ticked_payments_come_into_the_list_that_stands_outside(page: Page, demo: str):
    visit(page, demo)
    open_row(page, 0)
    grid = page.get_by_test_id("stDataFrame").first
    grid.scroll_into_view_if_needed()
    idle(page)
    box = grid.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + TICKS, box["y"] + HEADER + ROW / 2)
    button = page.locator(".st-key-take_out_ticked button")
    expect(button).to_contain_text("1 ticked payment")
    button.click()
    after = page.get_by_test_id("stMetric").filter(has_text="PD after the edit")
    expect(after).to_be_visible()
    idle(page)
    assert re.fullmatch(r"remove rows \d+", link(page)["edits"])


def test_with_removal_another_merchant_is_valued_above_and_below(page: Page, demo: str):
    """Whose payments are valued is no part of the lanes alone."""
    visit(page, demo)
    open_row(page, 0)
    page.locator(".st-key-engine").get_by_role("radio", name="Removal").click()
    expect(page.get_by_text("removal (Shapley)")).to_be_visible()
    idle(page)
    valued = page.get_by_text(re.compile(r"^\d+ payments? at "))
    before = valued.inner_text()
    for number in (1, 2):  # the strongest one's are valued already
        click(page, bars(page).nth(number))
        expect(page.locator(".st-key-selected_merchant")).to_be_visible()
        idle(page)
    name = link(page)["merchant"]
    expect(valued).to_contain_text(name)
    assert valued.inner_text() != before
    said = valued.inner_text()
    visit(page, page.url)  # and whoever opens the link reads the same
    expect(valued).to_have_text(said, use_inner_text=True)
