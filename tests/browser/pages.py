"""Small steps that the journeys and the screenshots share."""

from __future__ import annotations

from urllib.parse import parse_qs, urlparse

from playwright.sync_api import Locator, Page, WebSocket, expect

# A busy machine may take long to draw; a wrong page stays wrong however long one waits.
expect.set_options(timeout=20_000)

#: Of the queue's grid: its header, and one row.
HEADER, ROW = 35, 35


def idle(page: Page, seconds: float = 30) -> None:
    """Wait until the script has run and its last chart is drawn."""
    app = page.get_by_test_id("stApp")
    expect(app).to_have_attribute("data-test-script-state", "notRunning", timeout=seconds * 1000)
    page.wait_for_timeout(
        250
    )  # between its first and its last element a page looks idle for a moment
    expect(app).to_have_attribute("data-test-script-state", "notRunning", timeout=seconds * 1000)
    page.wait_for_function(
        "() => !document.querySelector('[data-stale=true]') && "
        "[...document.querySelectorAll('[data-testid=stPlotlyChart]')]"
        ".every(c => c.querySelector('.main-svg'))",
        timeout=seconds * 1000,
    )


def visit(page: Page, address: str) -> None:
    """Open an address and wait for its page."""
    page.goto(address)
    idle(page)


def listen(page: Page) -> list[int]:
    """Sizes of what the server says to a page that is opened after this, as it comes."""
    said: list[int] = []

    def hear(socket: WebSocket) -> None:
        socket.on("framereceived", lambda words: said.append(len(words)))

    page.on("websocket", hear)
    return said


def link(page: Page) -> dict[str, str]:
    """The address's parameters."""
    return {k: v[0] for k, v in parse_qs(urlparse(page.url).query).items()}


def open_row(page: Page, row: int) -> None:
    """Click the queue's "Open" button in a row, counted from 0."""
    grid = page.get_by_test_id("stDataFrame").first
    expect(grid.locator("canvas").first).to_be_visible()
    box = grid.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 28, box["y"] + HEADER + ROW * row + ROW / 2)
    page.wait_for_url("**/user?*")
    idle(page)


def click(page: Page, mark: Locator) -> None:
    """Click a mark inside a plotly chart, which plotly's own drag layer covers.

    Only once it stands still, as Playwright does: a page that is still being drawn moves it.
    """
    mark.scroll_into_view_if_needed()
    idle(page)
    box, before = mark.bounding_box(), None
    while box != before:
        page.wait_for_timeout(100)
        box, before = mark.bounding_box(), box
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def choose(page: Page, key: str, option: str) -> None:
    """Choose an option of the list with this key: type its name, click it."""
    box = page.locator(f".st-key-{key}")
    box.get_by_role("combobox").press_sequentially(option)
    page.get_by_role("option", name=option, exact=True).click()
    expect(box.get_by_text(option)).to_be_visible()


def open_panel(page: Page, name: str) -> None:
    """Open one of the panels under the lanes of the user page."""
    page.get_by_role("tab", name=name).click()
    idle(page)


def bars(page: Page) -> Locator:
    """Attribution bars of the timeline, then its attention bars."""
    return page.locator(".st-key-timeline .barlayer .point path")


def too_wide(page: Page) -> int:
    """Pixels by which the page would scroll sideways."""
    return int(
        page.evaluate(
            "() => { const m = document.querySelector('[data-testid=stMain]');"
            "return Math.max(m.scrollWidth - m.clientWidth,"
            "document.documentElement.scrollWidth - document.documentElement.clientWidth); }"
        )
    )
