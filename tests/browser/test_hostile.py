"""Names made to do harm, drawn everywhere, in a browser whose own policy is switched off."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.browser.pages import idle, too_wide, visit
from tests.dashboard.fake_workspace import EVIL, EVIL_IMAGE, EVIL_TAG

pytestmark = pytest.mark.browser


@pytest.fixture
def strangers(page: Page) -> list[str]:
    """Requests that left for another address, and dialogs that opened."""
    found: list[str] = []

    def note(url: str) -> None:
        # Every dashboard of these tests sits on this host above port 8500; the evil one on port 9.
        if not url.startswith(("http://127.0.0.1:8", "data:", "blob:")):
            found.append(url)

    page.on("request", lambda request: note(request.url))
    page.on("dialog", lambda dialog: (found.append(dialog.message), dialog.dismiss()))
    return found


def test_fault_1_hostile_merchants_are_literal_and_ask_nobody(
    page: Page, fake: str, strangers: list[str]
):
    visit(page, f"{fake}/user?user=hostile")
    card = page.locator(".st-key-selected_merchant")
    for at, name in enumerate(sorted(EVIL)):
        page.locator(".st-key-merchant input").click()
        options = page.get_by_role("option")
        expect(options).to_have_count(len(EVIL))
        options.nth(at).click()
        head = name if name.isascii() else name[:3]
        expect(card).to_contain_text(re.compile("Selected: .*" + re.escape(head[-3:])))
        idle(page)
        shown = card.inner_text().replace("\u2060", "")
        assert not name.isascii() or f"Selected: {name}" in shown
        assert page.locator("img[src*=evil], .stMarkdown img, a[href^=javascript]").count() == 0
    assert not strangers


def test_fault_2_tags_are_letters_in_charts(page: Page, fake: str, strangers: list[str]):
    for panel, *keys in (
        ("Relations", "timeline", "relation_map", "relation_graph"),
        ("How+it+adds+up", "adds_up"),
    ):
        visit(page, f"{fake}/user?user=hostile&panel={panel}")
        _all_literal(page, keys)
    assert not strangers


def _all_literal(page: Page, keys: list[str]) -> None:
    for key in keys:
        text = page.locator(f".st-key-{key} .main-svg").first.text_content() or ""
        text += page.locator(f".st-key-{key}").text_content() or ""
        assert "<img src" in text, f"the name is not literal in {key}"
    assert page.locator(".js-plotly-plot img, .js-plotly-plot foreignObject").count() == 0


def test_fault_5_turning_characters_are_named(page: Page, fake: str):
    visit(page, f"{fake}/user?user=hostile")
    expect(page.locator(".st-key-timeline")).to_contain_text("‹U+200B›")


@pytest.mark.parametrize("typed", [EVIL_IMAGE, EVIL_TAG])
def test_fault_1_what_a_link_carries_is_literal(
    page: Page, fake: str, strangers: list[str], typed: str
):
    for place in (
        f"user?user={quote(typed)}",
        f"?q_user={quote(typed)}",
        f"cohorts?a_merchant={quote(typed)}",
        f"cohorts?a_name={quote(typed)}",
        "model",
    ):
        visit(page, f"{fake}/{place}")
        assert page.locator("img[src*=evil], img[src=x]").count() == 0
    assert not strangers


def test_fault_1_hostile_payments_stay_literal_from_file_to_screen(
    page: Page, hostile_demo: tuple[str, str], strangers: list[str]
):
    address, user = hostile_demo
    for place in (f"?q_user={user}", "cohorts", "cohorts?a_merchant=evil", "model"):
        visit(page, f"{address}/{place}")
    visit(page, f"{address}/user?user={quote(user)}&merchant={quote(EVIL_IMAGE)}")
    expect(page.get_by_text("Adds up: baseline")).to_be_visible()
    card = page.locator(".st-key-selected_merchant")
    expect(card).to_be_visible()
    assert f"Selected: {EVIL_IMAGE}" in card.inner_text().replace("\u2060", "")
    lanes = page.locator(".st-key-timeline")  # drawn after the card is there
    expect(lanes).to_contain_text("<img src")
    expect(lanes).to_contain_text("‹U+200B›")
    assert page.locator("img[src*=evil], img[src=x]").count() == 0
    assert not strangers


def test_no_user_makes_the_page_scroll_sideways(page: Page, fake: str):
    for user in ("hostile", "big", "huge", "empty", "one-payment", "broken", "nobody"):
        visit(page, f"{fake}/user?user={user}")
        assert too_wide(page) <= 0, user
