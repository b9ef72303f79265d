"""When has a page come to rest? The page itself says, to the millisecond.

A script in the page notes the last moment at which something was still going on: the app's script
running, an element grey because it is out of date, a chart without its drawing, or any change of
the document. What a person waits for is that moment, not the quiet time after it that shows it
was the last.

Changes inside a `<canvas>` do not count: the browser paints none of what stands there. A table
draws its cells on a canvas and some 200 ms later writes them into it once more, as text for screen
readers.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

from lbsf_core.errors import LbsfError

if TYPE_CHECKING:
    from playwright.sync_api import Page

#: Flags of a browser that asks nobody but the server.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Who drives a browser has its debugger on, and it wants to know where in the script every
    # exception was thrown, caught or not. V8 finds that out by reading the whole function again;
    # starting, plotly.js throws a handful inside one function, of 4.6 MB before it was cut: half a
    # second then, and nobody waits for it whose browser isn't driven. So places are noted when a
    # script is compiled.
    "--js-flags=--no-enable-lazy-source-positions",
)
#: A laptop's screen.
SCREEN = {"width": 1280, "height": 900}
#: Without any change for so long, in milliseconds, a page is at rest.
QUIET = 400
#: How often a page looks whether more is to come, and is asked whether it is at rest, in
#: milliseconds. Changes are noted when they happen, so that it costs the figure nothing.
POLL = 200
#: Longest wait for anything, in milliseconds.
PATIENCE = 60_000
#: What a page says on its console when its first chart is on the screen.
CHARTED = "lbsf: the first chart"
#: A page's own notes: `last`, the moment of the last change; `busy()`, whether more is to come;
#: `chart`, the moment when the first chart was on the screen.
SCRIPT = """
(() => {
  const rest = { last: performance.now() };
  rest.busy = () => {
    const app = document.querySelector('[data-testid=stApp]');
    if (!app || app.getAttribute('data-test-script-state') !== 'notRunning') return true;
    if (document.querySelector('[data-stale=true]')) return true;
    if (document.querySelector('[data-testid=stSkeleton]')) return true;
    return [...document.querySelectorAll('[data-testid=stPlotlyChart]')]
      .some(chart => !chart.querySelector('.main-svg'));
  };
  const note = () => { rest.last = performance.now(); };
  // Not at every frame: twenty pages that only watch themselves would keep two cores busy.
  const step = () => { if (rest.busy()) note(); setTimeout(step, POLL); };
  const seen = change => !(change.target.nodeType === 1 ? change.target
    : change.target.parentElement)?.closest('canvas');
  new MutationObserver(changes => { if (changes.some(seen)) note(); }).observe(document, {
    subtree: true, childList: true, characterData: true, attributes: true });
  const drawn = () => document.querySelector('[data-testid=stPlotlyChart] .main-svg');
  // Asked when a frame begins, noted when it has been painted, before any other task.
  const frame = () => {
    if (!drawn()?.getBoundingClientRect().width) { requestAnimationFrame(frame); return; }
    scheduler.postTask(() => { rest.chart = performance.now(); console.debug('CHARTED'); },
      { priority: 'user-blocking' });
  };
  const first = new MutationObserver(() => {
    if (drawn()) { first.disconnect(); requestAnimationFrame(frame); } });
  first.observe(document, { subtree: true, childList: true });
  window.lbsfRest = rest;
  step();
})()
""".replace("POLL", str(POLL)).replace("CHARTED", CHARTED)
_RESTS = "([since, quiet]) => { const r = window.lbsfRest; return r && !r.busy() && r.last > since"
RESTS = _RESTS + " && performance.now() - r.last > quiet; }"


def chromium_path() -> str | None:
    """Where Debian's Chromium is, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def until_first_chart(page: Page, act: Callable[[], object]) -> float:
    """Act, wait for a page's first chart to be on the screen: seconds that have passed since.

    The page says so on its console, and is asked for nothing until then: Playwright's own script
    for waiting, which it evaluates in the page, is of 330 kB and takes the thread that draws up to
    two tenths of a second.

    Args:
        page: with `SCRIPT` in it.
        act: what brings the chart.

    Raises:
        LbsfError: no chart came.
    """
    from playwright.sync_api import Error

    try:
        with page.expect_console_message(lambda said: said.text == CHARTED, timeout=PATIENCE):
            act()
        return float(page.evaluate("performance.now() - window.lbsfRest.chart")) / 1000
    except Error as error:
        raise LbsfError(f"{page.url}: no chart came: {error.message}") from error


def wait(page: Page, act: Callable[[], object], *, since_start: bool = False) -> float:
    """Seconds from an action to the last change that it made.

    Args:
        page: with `SCRIPT` in it.
        act: the action.
        since_start: the action opens an address; counted from the start of that.

    Raises:
        LbsfError: nothing changed, or the page did not come to rest.
    """
    from playwright.sync_api import Error

    began = 0.0 if since_start else float(page.evaluate("performance.now()"))
    act()
    try:
        page.wait_for_function(RESTS, arg=[began, QUIET], polling=POLL, timeout=PATIENCE)
        last = float(page.evaluate("window.lbsfRest.last"))
    except Error as error:
        raise LbsfError(f"{page.url}: the page did not come to rest: {error.message}") from error
    return (last - began) / 1000
