"""Charts in a real Chromium: each figure is drawn once, in a place that was kept for it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from dashboard.measure import watch
from tests.browser.pages import bars, click, idle, open_row, visit

pytestmark = pytest.mark.browser

#: Counts how often plotly.js draws into an element, and notes how high charts are frame by frame.
COUNT = """
(() => {
  const seen = window.seen = { drawn: new Map(), heights: new Map(), plotly: null };
  Object.defineProperty(window, 'Plotly', {
    get: () => seen.plotly,
    set: plotly => {
      seen.plotly = plotly;
      const react = plotly.react;
      plotly.react = function (place, ...figure) {
        seen.drawn.set(place, (seen.drawn.get(place) ?? 0) + 1);
        return react.call(this, place, ...figure);
      };
    },
  });
  const frame = () => {
    for (const chart of document.querySelectorAll('[data-testid=stPlotlyChart]')) {
      const heights = seen.heights.get(chart) ?? new Set();
      seen.heights.set(chart, heights.add(Math.round(chart.getBoundingClientRect().height)));
    }
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
})()
"""
DRAWN = "[...window.seen.drawn.values()]"
HEIGHTS = "[...window.seen.heights.values()].map(heights => [...heights])"


@pytest.mark.parametrize("path", ["", "/cohorts", "/model"])
def test_every_chart_of_a_page_is_drawn_once_where_it_stays(page: Page, demo: str, path: str):
    page.add_init_script(watch.SCRIPT)
    page.add_init_script(COUNT)
    watch.wait(page, lambda: page.goto(demo + path), since_start=True)
    drawn = page.evaluate(DRAWN)
    assert len(drawn) >= 2
    assert set(drawn) == {1}
    assert all(len(heights) == 1 for heights in page.evaluate(HEIGHTS)), "a chart moved others"


def test_a_click_draws_the_new_figure_once(page: Page, demo: str):
    page.add_init_script(COUNT)
    visit(page, demo)
    open_row(page, 2)
    page.evaluate("window.seen.drawn.clear()")
    click(page, bars(page).nth(0))
    page.wait_for_function(DRAWN + ".length")
    idle(page)
    assert page.evaluate(DRAWN) == [1]
