"""What one person waits for, each thing several times on users that the server has not seen."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dashboard.measure import crowd
from dashboard.measure.session import visitor
from dashboard.measure.watch import (
    FLAGS,
    SCREEN,
    SCRIPT,
    chromium_path,
    until_first_chart,
    wait,
)
from dashboard.serve import wait_until_healthy
from lbsf_core.errors import LbsfError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

#: Starts of the server whose median is told: one alone is a fifth off either way.
STARTS = 3
_SERVE = "import sys, pathlib, dashboard.serve as s; sys.exit(s.serve(pathlib.Path(sys.argv[1])))"


@contextmanager
def server(workspace: Path, *, starting: bool = False) -> Iterator[tuple[str, int]]:
    """A dashboard of its own, stopped by Ctrl-C's signal: its address, and its process's number.

    Args:
        workspace: its folder.
        starting: give the address as soon as it is told, not when the server answers.

    Raises:
        LbsfError: it did not start, or did not stop as it should.
    """
    command = [sys.executable, "-c", _SERVE, str(workspace)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = child.stdout.readline() if child.stdout else ""
        if not line.startswith("Dashboard: http://"):
            raise LbsfError(f"{workspace}: the dashboard did not start; the lines above say why.")
        address = line.split()[1]
        if not starting:
            wait_until_healthy(child, address)
        yield address, child.pid
    finally:
        child.send_signal(signal.SIGINT)
        child.wait(timeout=30)
        if child.stdout:
            child.stdout.close()
    if child.returncode:
        raise LbsfError(f"{workspace}: Ctrl-C ended the dashboard with status {child.returncode}.")


@contextmanager
def chromium(path: str) -> Iterator[Browser]:
    """A headless browser.

    Raises:
        LbsfError: Playwright is not installed.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise LbsfError(
            "`lbsf bench dashboard` drives a browser: `pip install 'lbsf[dev]'`."
        ) from error
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*FLAGS])
        yield browser
        browser.close()


def new_page(browser: Browser) -> Page:
    """A page of a new session that notes when it comes to rest."""
    page = browser.new_context(viewport=SCREEN, reduced_motion="reduce").new_page()  # type: ignore[arg-type]
    page.add_init_script(SCRIPT)
    return page


def p95(seconds: Sequence[float]) -> float | None:
    """The 95th percentile; None of nothing."""
    return float(np.quantile(seconds, 0.95)) if len(seconds) else None


def cold_start(workspace: Path, browser: Browser) -> float:
    """Seconds from starting the server to the portfolio's first chart in a browser that waits."""
    page = new_page(browser)
    began = time.monotonic()
    with server(workspace, starting=True) as (address, _):
        ago = until_first_chart(page, lambda: page.goto(address, wait_until="commit"))
        seconds = time.monotonic() - began - ago
    page.context.close()
    return seconds


def server_part(workspace: Path, users: Sequence[str]) -> list[float]:
    """Seconds of the server for each user but the first, seen for the first time; no browser.

    From asking for the user to the last message of the page, script and socket included.
    """

    async def each(address: str, pid: int) -> list[float]:
        async with visitor(address) as session:
            await session.visit("")
            await session.visit("user", user=users[0])
            await asyncio.to_thread(crowd.until_warm, pid)
            return [await session.enter("user", user) for user in users[1:]]

    with server(workspace) as (address, pid):
        return asyncio.run(each(address, pid))


def of_users(page: Page, address: str, users: Sequence[str]) -> dict[str, list[float]]:
    """Open each user from the page of the one before, click a merchant, take a merchant out.

    Returns:
        "open", "click", "whatif": seconds of each, until every panel has come to rest.
    """
    wait(page, lambda: page.goto(f"{address}/user?user={users[0]}"), since_start=True)
    found: dict[str, list[float]] = {"open": [], "click": [], "whatif": []}
    box = page.locator(".st-key-user input")
    for user in users[1:]:
        page.mouse.move(0, 0)  # what it lies on by chance may show a hint, half a second later
        box.fill(user)
        found["open"].append(wait(page, lambda: box.press("Enter")))
        bars = page.locator(".st-key-timeline .barlayer .point path")
        if bars.count():
            found["click"].append(_click(page, min(2, bars.count() - 1)))
        page.get_by_role("radiogroup", name="History").scroll_into_view_if_needed()
        shorter = page.get_by_role("radio", name="last 90 days")
        found["whatif"].append(wait(page, shorter.click))
        wait(page, page.get_by_role("radio", name="whole window").click)
        clear = page.locator(".st-key-clear_merchant button")
        if clear.count():
            wait(page, clear.click)
    return found


def _click(page: Page, number: int) -> float:
    """A click on a bar, where Plotly's own layer lies over it."""
    bar = page.locator(".st-key-timeline .barlayer .point path").nth(number)
    bar.scroll_into_view_if_needed()
    box = bar.bounding_box()
    if box is None:
        raise LbsfError(f"{page.url}: a merchant's bar went away while it was clicked.")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.wait_for_timeout(200)  # the hover's own drawing is not what is waited for
    return wait(page, lambda: page.mouse.click(x, y))


def searches(page: Page, address: str, texts: Sequence[str]) -> list[float]:
    """Type a part of a user's id on the portfolio, until the queue has come to rest."""
    wait(page, lambda: page.goto(address), since_start=True)
    box = page.locator(".st-key-q_user input")
    found = []
    for text in texts:
        box.fill(text)
        found.append(wait(page, lambda: box.press("Enter")))
    return found


def comparison(page: Page, address: str, query: str) -> float:
    """Open two cohorts that nobody has compared yet, in a session that is already open."""
    wait(page, lambda: page.goto(f"{address}/cohorts"), since_start=True)
    return wait(page, lambda: page.goto(f"{address}/cohorts?{query}"), since_start=True)


def figures(
    workspace: Path,
    *,
    users: Sequence[str],
    cohorts: str,
    crowd_users: Sequence[str] = (),
    sessions: int = 10,
    soakers: int = 20,
    soak_browsers: int = 1,
    soak_seconds: float = 300.0,
) -> dict[str, Any]:
    """Everything that is measured of a dashboard over a workspace.

    Args:
        workspace: its folder.
        users: ids, the first to start from; each other one is opened once by a person and once
            without a browser.
        cohorts: the query of an address that compares two cohorts.
        crowd_users: ids that the crowd draws from; `users` by default.
        sessions: whose memory is measured.
        soakers: sessions that browse at once.
        soak_browsers: how many of them in a Chromium; see `crowd.soak`.
        soak_seconds: for so long; 0 leaves it out.

    Returns:
        Seconds, unless a name says otherwise; see `lbsf bench dashboard`.

    Raises:
        LbsfError: there is no browser, or a page did not come to rest.
    """
    path = chromium_path()
    if path is None:
        raise LbsfError("No Chromium here: install Debian's `chromium` and run it again.")
    with chromium(path) as browser:
        colds = [cold_start(workspace, browser) for _ in range(STARTS)]
        with server(workspace) as (address, _):
            page = new_page(browser)
            waits = of_users(page, address, users)
            found = searches(page, address, [user[-3:] for user in users[1:]])
            page.context.close()
            compared = comparison(new_page(browser), address, cohorts)
    alone = server_part(workspace, users)
    with server(workspace) as (address, pid):
        memory = crowd.rss_of_sessions(path, address, pid, users[:sessions])
    soaked: dict[str, Any] = {"waits": [], "server_waits": [], "errors": [], "server_cores": None}
    if soak_seconds:
        with server(workspace) as (address, pid):
            soaked = crowd.soak(
                path, address, pid, crowd_users or users,
                sessions=soakers, browsers=soak_browsers, seconds=soak_seconds,
            )  # fmt: skip
    return {
        "cold_start_s": float(np.median(colds)),
        "cold_starts_s": colds,
        "open_user_p95_s": p95(waits["open"]),
        "open_user_server_p95_s": p95(alone),
        "click_p95_s": p95(waits["click"]),
        "whatif_p95_s": p95(waits["whatif"]),
        "cohort_50k_s": compared,
        "search_p95_s": p95(found),
        f"rss_{sessions}_sessions_mb": memory,
        "soak_p95_s": p95(soaked["waits"]),
        "soak_server_p95_s": p95(soaked["server_waits"]),
        "soak_errors": len(soaked["errors"]) if soak_seconds else None,
        "soak_steps": len(soaked["waits"]),
        "soak_server_steps": len(soaked["server_waits"]),
        "soak_sessions": soakers,
        "soak_browsers": soak_browsers,
        "soak_server_cores": soaked["server_cores"],
        "soak_first_errors": soaked["errors"][:3],
        "users_opened": len(waits["open"]),
        "medians": {name: float(np.median(times)) for name, times in waits.items() if times},
    }
