"""Scripts that the pages need are named ahead, and sent whole: as they lie, but for the charts'."""

from __future__ import annotations

import asyncio
import re

import pytest
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, PlainTextResponse

from dashboard import scripts
from dashboard.plotly_script import quick


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


def test_the_charts_script_is_made_quicker_once(tmp_path, monkeypatch):
    name = scripts.needed()[0]
    assert name.startswith("PlotlyChart.")
    assert get(f"/static/js/{name}")[1] == quick((scripts.FOLDER / name).read_bytes())
    made = []
    monkeypatch.setattr(scripts, "quick", lambda script: made.append(script) or b"quick")
    (tmp_path / name).write_bytes(b"slow")
    assert [scripts.body(tmp_path / name) for _ in range(2)] == [b"quick"] * 2
    assert made == [b"slow"]


@pytest.mark.parametrize("path", ["/static/js/../../index.html", "/static/js/none.js", "/x"])
def test_what_is_no_script_is_left_to_streamlit(path):
    assert get(path)[1] == b"other"


@pytest.mark.usefixtures("unknown")
def test_without_scripts_of_these_names_pages_stay_as_they_are():
    headers, body = get("/")
    assert body == b"<p>page</p>"
    assert "link" not in headers
