"""Many sessions at once in one browser: what the server's memory is, and how long each waits."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dashboard.measure.watch import FLAGS, PATIENCE, POLL, QUIET, RESTS, SCREEN, SCRIPT

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

#: Seconds that somebody looks at a page before going on, at least and at most.
LOOK = (5.0, 15.0)


def memory_mb(pid: int) -> float:
    """Resident memory of a process and all that it started, in MB."""
    import psutil

    head = psutil.Process(pid)
    return sum(p.memory_info().rss for p in (head, *head.children(recursive=True))) / 2**20


def _cpu_s(pid: int) -> float:
    """Seconds of a core that a process and all that it started have used."""
    import psutil

    head = psutil.Process(pid)
    times = [process.cpu_times() for process in (head, *head.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


def rss_of_sessions(path: str, address: str, pid: int, users: Sequence[str]) -> float:
    """The server's memory in MB while one session looks at each user."""

    async def look(browser: Browser) -> float:
        pages = [await _page(browser) for _ in users]
        for page, user in zip(pages, users, strict=True):
            await _rest(page, page.goto(f"{address}/user?user={user}"), start=True)
        return memory_mb(pid)

    return asyncio.run(_with_browser(path, look))


def soak(
    path: str,
    address: str,
    pid: int,
    users: Sequence[str],
    *,
    sessions: int,
    seconds: float,
    seed: int = 0,
) -> dict[str, Any]:
    """Sessions that open users, look, go to the next.

    Args:
        path: of Chromium.
        address: of the dashboard.
        pid: of its process.
        users: to draw from.
        sessions: at once.
        seconds: for so long.
        seed: of what each does.

    Returns:
        "waits" (seconds of each step), "errors" (what went wrong, in words), "server_cores" (cores
        that the server used meanwhile: the browsers take most of what there is).
    """
    waits: list[float] = []
    errors: list[str] = []
    cores = 0.0

    async def arrive(browser: Browser, number: int) -> Page:
        page = await _page(browser)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("crash", lambda: errors.append("the page crashed"))
        first = users[number % len(users)]
        await _rest(page, page.goto(f"{address}/user?user={first}"), start=True)
        return page

    async def browse(page: Page, number: int, until: float) -> None:
        draw = random.Random(seed * 1000 + number)
        user = users[number % len(users)]
        await asyncio.sleep(draw.uniform(0, LOOK[1]))  # nobody goes on with the others
        while time.monotonic() < until:
            box = page.locator(".st-key-user input")
            # Another one: of the same nothing changes, and there would be nothing to wait for.
            user = draw.choice([one for one in users if one != user])
            await box.fill(user)
            waits.append(await _rest(page, box.press("Enter")))
            if await page.locator("[data-testid=stException]").count():
                errors.append(f"{page.url}: the page shows a fault")
            await asyncio.sleep(draw.uniform(*LOOK))

    async def watched(page: Page, number: int, until: float) -> None:
        try:  # a page that hangs answers no question, and Playwright waits for it without end
            async with asyncio.timeout(seconds + 2 * PATIENCE / 1000):
                await browse(page, number, until)
        except TimeoutError:
            errors.append(f"session {number}: the page hangs")
        except Exception as error:
            errors.append(f"session {number}: {error}")

    async def run(browser: Browser) -> None:
        # A new browser without anything kept costs seconds of a core; they come one by one, and
        # the time that is measured begins when all are there.
        nonlocal cores
        pages = [await arrive(browser, number) for number in range(sessions)]
        began, used = time.monotonic(), _cpu_s(pid)
        steps = (watched(page, at, began + seconds) for at, page in enumerate(pages))
        await asyncio.gather(*steps)
        cores = (_cpu_s(pid) - used) / (time.monotonic() - began)

    asyncio.run(_with_browser(path, run))
    return {"waits": waits, "errors": errors, "server_cores": cores}


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
    await page.wait_for_function(RESTS, arg=[began, QUIET], polling=POLL, timeout=PATIENCE)
    return (float(await page.evaluate("window.lbsfRest.last")) - began) / 1000
