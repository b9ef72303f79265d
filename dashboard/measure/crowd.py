"""Many sessions at once in one browser: what the server's memory is, and how long each waits."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dashboard.measure.watch import FLAGS, PATIENCE, QUIET, RESTS, SCREEN, SCRIPT

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

#: Seconds that somebody looks at a page before going on, at least and at most.
LOOK = (5.0, 15.0)


def memory_mb(pid: int) -> float:
    """Resident memory of a process and all that it started, in MB."""
    import psutil

    head = psutil.Process(pid)
    return sum(p.memory_info().rss for p in (head, *head.children(recursive=True))) / 2**20


def rss_of_sessions(path: str, address: str, pid: int, users: Sequence[str]) -> float:
    """The server's memory in MB while one session looks at each user."""

    async def look(browser: Browser) -> float:
        pages = [await _page(browser) for _ in users]
        for page, user in zip(pages, users, strict=True):
            await _rest(page, page.goto(f"{address}/user?user={user}"), start=True)
        return memory_mb(pid)

    return asyncio.run(_with_browser(path, look))


def soak(
    path: str, address: str, users: Sequence[str], *, sessions: int, seconds: float, seed: int = 0
) -> dict[str, Any]:
    """Sessions that open users, look, go to the next, now and then compare cohorts.

    Args:
        path: of Chromium.
        address: of the dashboard.
        users: to draw from.
        sessions: at once.
        seconds: for so long.
        seed: of what each does.

    Returns:
        "waits" (seconds of each step), "errors" (what went wrong, in words).
    """
    waits: list[float] = []
    errors: list[str] = []

    async def browse(browser: Browser, number: int, until: float) -> None:
        draw = random.Random(seed * 1000 + number)
        page = await _page(browser)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("crash", lambda: errors.append("the page crashed"))
        await asyncio.sleep(draw.uniform(0, LOOK[1]))  # nobody starts with the others
        try:
            await _rest(page, page.goto(f"{address}/user?user={draw.choice(users)}"), start=True)
            while time.monotonic() < until:
                await asyncio.sleep(draw.uniform(*LOOK))
                box = page.locator(".st-key-user input")
                await box.fill(draw.choice(users))
                waits.append(await _rest(page, box.press("Enter")))
                if await page.locator("[data-testid=stException]").count():
                    errors.append(f"{page.url}: the page shows a fault")
        except Exception as error:
            errors.append(f"session {number}: {error}")

    async def run(browser: Browser) -> None:
        until = time.monotonic() + seconds
        await asyncio.gather(*(browse(browser, number, until) for number in range(sessions)))

    asyncio.run(_with_browser(path, run))
    return {"waits": waits, "errors": errors}


async def _with_browser(path: str, use: Any) -> Any:  # noqa: ANN401 - whatever `use` gives
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=[*FLAGS])
        found = await use(browser)
        await browser.close()
    return found


async def _page(browser: Browser) -> Page:
    context = await browser.new_context(viewport=SCREEN, reduced_motion="reduce")  # type: ignore[arg-type]
    page = await context.new_page()
    await page.add_init_script(SCRIPT)
    return page


async def _rest(page: Page, act: Any, *, start: bool = False) -> float:  # noqa: ANN401 - awaitable
    """Seconds from an action to the last change that it made; see `watch.wait`."""
    began = 0.0 if start else float(await page.evaluate("performance.now()"))
    await act
    await page.wait_for_function(RESTS, arg=[began, QUIET], timeout=PATIENCE)
    return (float(await page.evaluate("window.lbsfRest.last")) - began) / 1000
