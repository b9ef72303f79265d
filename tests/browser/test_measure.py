"""A page tells when it came to rest: by hand, on a page whose changes are known."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Page

from dashboard.measure import crowd, watch
from dashboard.measure.watch import chromium_path
from lbsf_core.errors import LbsfError
from tests.browser.servers import fake_server

pytestmark = pytest.mark.browser

#: A button after which the app is busy for 300 ms, and changes 200 ms after that for the last time
#: that anybody sees.
PAGE = """
<div data-testid="stApp" data-test-script-state="notRunning"><button>go</button><p>-</p>
  <canvas></canvas></div>
<script>
  const app = document.querySelector('div');
  document.querySelector('button').onclick = () => {
    app.setAttribute('data-test-script-state', 'running');
    setTimeout(() => app.setAttribute('data-test-script-state', 'notRunning'), 300);
    setTimeout(() => {
      document.querySelector('p').textContent = 'done';
      window.doneAt = performance.now();
    }, 500);
    setTimeout(() => { document.querySelector('canvas').textContent = 'never painted'; }, 700);
  };
</script>
"""


@pytest.fixture
def known(page: Page) -> Page:
    page.add_init_script(watch.SCRIPT)
    page.route("http://app.test/", lambda route: route.fulfill(body=PAGE, content_type="text/html"))
    page.goto("http://app.test/")
    return page


def test_the_wait_ends_with_the_last_change_and_not_with_the_quiet_after_it(known: Page):
    seconds = watch.wait(known, known.locator("button").click)
    assert known.locator("p").inner_text() == "done"
    assert seconds >= 0.5
    late = known.evaluate("window.lbsfRest.last - window.doneAt")  # milliseconds
    assert -1 <= late < watch.QUIET / 2


def test_an_action_that_changes_nothing_is_no_wait_of_0(
    known: Page, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(watch, "PATIENCE", 1_000)
    with pytest.raises(LbsfError, match="did not come to rest"):
        watch.wait(known, lambda: None)


#: A button after which there is a chart, drawn 300 ms later; then the page is busy.
CHARTED = """
<button>go</button><div></div>
<script>
  const place = document.querySelector('div');
  document.querySelector('button').onclick = () => {
    place.innerHTML =
      '<div data-testid="stPlotlyChart"><svg class="main-svg" width="0"></svg></div>';
    setTimeout(() => {
      document.querySelector('svg').setAttribute('width', 90);
      window.drawnAt = performance.now();
      setTimeout(() => { const until = performance.now() + 900;
        while (performance.now() < until); }, 200);
    }, 300);
  };
</script>
"""


def test_the_first_chart_is_timed_by_the_page_and_not_by_who_asks_it(page: Page):
    page.add_init_script(watch.SCRIPT)
    page.route(
        "http://app.test/", lambda route: route.fulfill(body=CHARTED, content_type="text/html")
    )
    page.goto("http://app.test/")
    ago = watch.until_first_chart(page, page.locator("button").click)
    now, drawn, noted = page.evaluate(
        "[performance.now(), window.drawnAt, window.lbsfRest.chart].map(one => one / 1000)"
    )
    assert 0 <= noted - drawn < 0.2, "the next frame, not when the page is free again"
    assert 0 <= now - noted - ago < 1.5


def test_a_page_without_a_chart_is_said_to_have_none(known: Page, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(watch, "PATIENCE", 500)
    with pytest.raises(LbsfError, match="no chart came"):
        watch.until_first_chart(known, lambda: None)


def soak(mode: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Three impatient sessions, one in a browser; in a thread, because the tests' own browser has
    an event loop in this one."""
    path = chromium_path()
    if path is None:
        pytest.skip("no Chromium here: install Debian's `chromium` to run the browser tests")
    monkeypatch.setattr(crowd, "LOOK", (0.1, 0.3))
    users = ["U001", "U002", "U003"]
    with fake_server(mode) as address, ThreadPoolExecutor(1) as thread:
        asked = partial(crowd.soak, sessions=3, browsers=1, seconds=3.0)
        return thread.submit(asked, path, address, os.getpid(), users).result()


def test_a_crowd_is_timed(monkeypatch: pytest.MonkeyPatch):
    found = soak("demo", monkeypatch)
    assert found["errors"] == []
    assert len(found["server_waits"]) > len(found["waits"]) > 0
    assert all(0 < each < 60 for each in found["waits"] + found["server_waits"])
    assert found["server_cores"] > 0


def test_a_crowd_tells_of_pages_that_fail(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(LbsfError, match=r"shows a fault: .*This page failed"):
        soak("faulty", monkeypatch)
