"""Many sessions at once: what the server's memory is, and how long each waits."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from dashboard import warm
from dashboard.measure.session import visitor
from dashboard.measure.watch import FLAGS, PATIENCE, POLL, QUIET, RESTS, SCREEN, SCRIPT
from lbsf_core.errors import LbsfError

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

#: Opens the user of this id in a session, and notes how long that took.
Step = Callable[[str], Awaitable[None]]

#: How a page shows that it failed.
FAULT = "[data-testid=stException], [data-testid=stAlertContentError]"

#: Longest wait for a server to have warmed up, in seconds; and for how long it then does nothing:
#: longer than it waits for somebody who reads.
WARM, IDLE = 60.0, warm.READING + 1.0

#: Seconds that somebody looks at a page before going on, at least and at most.
LOOK = (5.0, 15.0)


def memory_mb(pid: int) -> float:
    """Resident memory of a process and all that it started, in MB."""
    import psutil

    head = psutil.Process(pid)
    return sum(p.memory_info().rss for p in (head, *head.children(recursive=True))) / 2**20


def cpu_s(pid: int) -> float:
    """Seconds of a core that a process and all that it started have used."""
    import psutil

    head = psutil.Process(pid)
    times = [process.cpu_times() for process in (head, *head.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


def until_warm(pid: int) -> None:
    """Wait for the end of what a server does of itself after its start.

    Raises:
        LbsfError: it does not come to an end.
    """
    until = time.monotonic() + WARM
    idle = 0
    while idle < IDLE:
        if time.monotonic() > until:
            raise LbsfError(
                f"The dashboard was still busy with itself {WARM:.0f} s after its start."
            )
        before = cpu_s(pid)
        time.sleep(1)
        idle = idle + 1 if cpu_s(pid) - before < 0.05 else 0


def rss_of_sessions(path: str, address: str, pid: int, users: Sequence[str]) -> float:
    """The server's memory in MB while one session looks at each user, all warm-up done."""

    async def look(browser: Browser) -> float:
        pages = [await _page(browser) for _ in users]
        for page, user in zip(pages, users, strict=True):
            await _rest(page, page.goto(f"{address}/user?user={user}"), start=True)
        await asyncio.to_thread(until_warm, pid)
        return memory_mb(pid)

    return asyncio.run(_with_browser(path, look))


def soak(
    path: str,
    address: str,
    pid: int,
    users: Sequence[str],
    *,
    sessions: int,
    browsers: int,
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
        browsers: how many of them look through a Chromium; the others only speak to the server,
            because so many browsers on the server's own cores would be what is measured.
        seconds: for so long.
        seed: of what each does.

    Returns:
        "waits" (seconds of each step in a browser, until the page is at rest), "server_waits" (of
        the others' steps, until the server has said all), "errors" (what went wrong, in words),
        "server_cores" (cores that the server used meanwhile).
    """
    errors: list[str] = []
    waits: list[float] = []
    server_waits: list[float] = []
    cores = 0.0

    def first(number: int) -> str:
        return users[number % len(users)]

    async def in_browser(browser: Browser, number: int) -> Step:
        page = await _page(browser)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("crash", lambda: errors.append("the page crashed"))
        await _rest(page, page.goto(f"{address}/user?user={first(number)}"), start=True)

        async def step(user: str) -> None:
            box = page.locator(".st-key-user input")
            await box.fill(user)
            waits.append(await _rest(page, box.press("Enter")))
            if await page.locator(FAULT).count():
                errors.append(f"{page.url}: the page shows a fault")

        return step

    async def without(here: AsyncExitStack, number: int) -> Step:
        session = await here.enter_async_context(visitor(address))
        await session.visit("user", user=first(number))

        async def step(user: str) -> None:
            server_waits.append(await session.enter("user", user))

        return step

    async def browse(step: Step, number: int, until: float) -> None:
        draw = random.Random(seed * 1000 + number)
        user = first(number)
        await asyncio.sleep(draw.uniform(0, LOOK[1]))  # nobody goes on with the others
        try:  # a page that hangs answers no question, and Playwright waits for it without end
            async with asyncio.timeout_at(until + 2 * PATIENCE / 1000):
                while asyncio.get_running_loop().time() < until:
                    # Another one: of the same nothing changes, and there is nothing to wait for.
                    user = draw.choice([one for one in users if one != user])
                    await step(user)
                    await asyncio.sleep(draw.uniform(*LOOK))
        except TimeoutError:
            errors.append(f"session {number}: the page hangs")
        except Exception as error:
            errors.append(f"session {number}: {error}")

    async def run(browser: Browser) -> None:
        # A new browser without anything kept costs seconds of a core; they come one by one, and
        # the time that is measured begins when all are there.
        nonlocal cores
        async with AsyncExitStack() as here:
            steps = [
                await (in_browser(browser, at) if at < browsers else without(here, at))
                for at in range(sessions)
            ]
            began, used = asyncio.get_running_loop().time(), cpu_s(pid)
            await asyncio.gather(
                *(browse(step, at, began + seconds) for at, step in enumerate(steps))
            )
            cores = (cpu_s(pid) - used) / (asyncio.get_running_loop().time() - began)

    asyncio.run(_with_browser(path, run))
    return {
        "waits": waits,
        "server_waits": server_waits,
        "errors": errors,
        "server_cores": cores,
    }


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
