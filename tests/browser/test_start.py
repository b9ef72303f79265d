"""Who comes before the server sees that it starts, then the page, without doing anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from dashboard.measure.waits import server

pytestmark = pytest.mark.browser

INTERACTIVE = """
document.addEventListener('readystatechange', () => {
  window.atFirst ??= [document.documentElement, document.getElementById('lbsf-starting')]
    .map(one => getComputedStyle(one).colorScheme);
});
"""


@pytest.mark.parametrize("path", ["/", "/model"])
def test_a_browser_that_comes_first(page: Page, tiny_workspace: Path, path: str):
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda line: said.append(line.text) if line.type == "error" else None)
    # Before any script of Streamlit's: white words on white are none.
    page.emulate_media(color_scheme="dark")
    page.add_init_script(INTERACTIVE)
    with server(tiny_workspace, starting=True) as (address, _):
        page.goto(address + path, wait_until="commit")
        starting = page.get_by_role("img", name="Starting the dashboard…")
        expect(starting).to_be_visible(timeout=60_000)
        expect(page.get_by_role("heading").first).to_be_visible(timeout=60_000)
        expect(starting).to_be_hidden()
        assert page.evaluate("window.atFirst") == ["light dark", "light dark"]
        # Streamlit looks for its addresses under the page's own first: "/model/_stcore/health".
        assert [line for line in said if path == "/" or "404 (Not Found)" not in line] == []
