"""Charts in a real Chromium: each figure is drawn once, in a place that was kept for it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from dashboard import plotly_script
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


#: One figure with a trace of every kind that is kept, and every part around them, as a picture.
EVERYTHING = """
async () => {
  const place = document.createElement('div');
  document.body.append(place);
  await Plotly.newPlot(place, {
    data: [
      { type: 'scatter', mode: 'lines+markers+text', x: ['2024-01-01', '2024-02-01'], y: [1, 2],
        text: ['a', 'b'], fill: 'tozeroy', error_y: { array: [1, 2] } },
      { type: 'bar', x: ['2024-01-01', '2024-02-01'], y: [3, 4], text: ['c', 'd'] },
      { type: 'heatmap', z: [[1, 2], [3, 4]], xaxis: 'x2', yaxis: 'y2', texttemplate: '%{z}' },
    ],
    layout: {
      grid: { rows: 1, columns: 2, pattern: 'independent' }, title: { text: 'all of it' },
      xaxis: { rangeslider: {}, rangeselector: { buttons: [{ step: 'all' }] } },
      annotations: [{ text: 'here', x: 0.5, y: 0.5, xref: 'paper', yref: 'paper' }],
      shapes: [{ type: 'rect', x0: 0, x1: 1, y0: 0, y1: 1, label: { text: 'there' } }],
      sliders: [{ steps: [{ label: 's' }] }], updatemenus: [{ buttons: [{ label: 'u' }] }],
      dragmode: 'lasso',
    },
  });
  Plotly.Fx.hover(place, [{ curveNumber: 1, pointNumber: 0 }], ['xy']);
  const picture = await Plotly.toImage(place, { format: 'svg', width: 900, height: 500 });
  const kinds = place._fullData.map(trace => trace.type);
  Plotly.purge(place);
  place.remove();
  return [kinds, decodeURIComponent(picture)];
}
"""


def test_what_is_left_of_plotly_draws_everything_that_we_might(page: Page, demo: str):
    """No module is missing: a picture has every part."""
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    visit(page, demo)
    kinds, picture = page.evaluate(EVERYTHING)
    assert kinds == ["scatter", *plotly_script.DRAWN]
    for part in (
        *("scatterlayer", "barlayer", "heatmaplayer", "errorbar", "all of it", "here", "there"),
        *("rangeslider-container", "slider-container", "updatemenu-container", "cbaxis"),
    ):
        assert part in picture, part
    assert said == []
