"""Scripts that the pages need are named ahead, and sent whole: as they lie, but for plotly.js."""

from __future__ import annotations

import asyncio
import re

import pytest
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, PlainTextResponse

from dashboard import scripts


async def page(scope, receive, send):
    """Stands in for Streamlit: a page, and a text for everything else."""
    answer = HTMLResponse("<p>page</p>") if scope["path"] == "/" else PlainTextResponse("other")
    await answer(scope, receive, send)


def get(path: str) -> tuple[Headers, bytes]:
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": []}
    asyncio.run(scripts.Scripts(page)(scope, None, send))
    return Headers(raw=sent[0]["headers"]), b"".join(m.get("body", b"") for m in sent)


@pytest.fixture
def unknown(tmp_path, monkeypatch):
    """A Streamlit that names its scripts otherwise."""
    known = (scripts.needed, scripts.of_the_page, scripts._names)
    monkeypatch.setattr(scripts, "FOLDER", tmp_path)
    for one in known:
        one.cache_clear()
    yield
    for one in known:
        one.cache_clear()


def test_what_a_chart_and_a_table_load_is_known_with_all_that_they_import():
    needed = scripts.needed()
    sizes = [(scripts.FOLDER / name).stat().st_size for name in needed]
    assert needed[0].startswith("PlotlyChart.")
    assert any(name.startswith("DataFrame.") for name in needed)
    assert not any(re.match(r"index\.[^.]+\.js", name) for name in needed)
    assert sum(sizes) > 5e6
    known = {*needed, *scripts._with_imports(scripts.FOLDER.glob("index.*.js"))}
    for name in needed:
        whole = (scripts.FOLDER / name).read_bytes()
        assert {found.decode() for found in scripts._IMPORT.findall(whole)} <= known


def test_a_page_names_them_and_nothing_else_does():
    links = get("/")[0]["link"].split(", ")
    first = scripts.of_the_page()
    assert first[0].startswith("index.")
    for link, name in zip(links, [*first, *scripts.needed()], strict=True):
        assert link.startswith(f"<./static/js/{name}>; rel=modulepreload")
    # What the page begins with is asked for first, on the six connections that a browser opens.
    assert [link.endswith("fetchpriority=high") for link in links] == [
        *[True] * len(first),
        *[False] * len(scripts.needed()),
    ]
    assert "link" not in get("/other")[0]


def test_a_script_is_sent_whole_and_may_be_kept():
    name = scripts.needed()[1]
    headers, body = get(f"/static/js/{name}")
    assert body == (scripts.FOLDER / name).read_bytes()
    assert headers["content-type"].startswith("text/javascript")
    assert "immutable" in headers["cache-control"]


def test_the_icon_is_ours_where_streamlits_page_looks_for_its_own():
    page = (scripts.STATIC / "index.html").read_text()
    assert f'href="{scripts.ICON_ADDRESS}"' in page
    headers, body = get("/favicon.png")
    assert headers["content-type"] == "image/png"
    assert body == scripts.ICON.read_bytes() == scripts.body(scripts.STATIC / "favicon.png")


def test_plotly_is_sent_as_a_function_that_is_called_at_once():
    name = scripts.needed()[0]
    assert name.startswith("PlotlyChart.")
    body, kept = get(f"/static/js/{name}")[1], (scripts.FOLDER / name).read_bytes()
    # A pair of parentheses more, around nearly all of it: a Streamlit that writes it otherwise
    # fails here, and is served as it is.
    function = rb"\(\)=>\{var \w+=\(\(\)=>\{.*return window\.Plotly=\w+,\w+\}"
    found = re.search(rb"self:\w+,\((" + function + rb")\)\)\}\)\)", body, re.DOTALL)
    assert found is not None
    assert len(found[1]) > 4e6
    assert body[: found.start(1) - 1] + found[1] + body[found.end(1) + 1 :] == (
        scripts._drawn_once(kept)
    )


def test_a_chart_waits_for_its_width_in_a_place_of_its_height():
    kept = (scripts.FOLDER / scripts.needed()[0]).read_bytes()
    sent = scripts._drawn_once(kept)
    # Nothing but this is put in; a Streamlit that writes it otherwise fails here, and is served as
    # it is. In a browser: `tests/browser/test_charts.py`.
    put_in = re.search(
        rb"children:((\w+)\.layout\.width===void 0\?(\w+)\(`div`,"
        rb"\{style:\{height:\2\.layout\.height\}\}\):)\3\(\w+,\{data:\2\.data,",
        sent,
    )
    assert put_in is not None
    assert sent[: put_in.start(1)] + sent[put_in.end(1) :] == kept


@pytest.mark.parametrize(
    "script",
    [
        b"export const e=1",
        b"typeof self<`u`?self:n,()=>{var e=(()=>{})();return e})}))",
        b"f(()=>{var e=(()=>{})();return window.Plotly=e,e})}))",
        b"return window.Plotly=e,e})}));typeof self<`u`?self:n,()=>{var e=(()=>{",
    ],
)
def test_a_charts_script_that_looks_otherwise_is_sent_as_it_is(tmp_path, script):
    (tmp_path / "PlotlyChart.x.js").write_bytes(script)
    assert scripts.body(tmp_path / "PlotlyChart.x.js") == script


@pytest.mark.parametrize("path", ["/static/js/../../index.html", "/static/js/none.js", "/x"])
def test_what_is_no_script_is_left_to_streamlit(path):
    assert get(path)[1] == b"other"


@pytest.mark.usefixtures("unknown")
def test_without_scripts_of_these_names_pages_stay_as_they_are():
    headers, body = get("/")
    assert body == b"<p>page</p>"
    assert "link" not in headers
