"""A page runs the charts' script by itself; nothing else that is sent is touched."""

from __future__ import annotations

import asyncio
import re

import pytest
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, PlainTextResponse, StreamingResponse

from dashboard import early, scripts

PAGE = "<html><head><title>é</title></head><body>&lt;/head&gt;</body></html>"


def sent(answer, path: str = "/user", *, waiting: bool = False) -> tuple[Headers, bytes, int]:
    messages = []

    async def send(message):
        messages.append(message)

    async def app(scope, receive, send):
        await answer(scope, receive, send)

    scope = {"type": "http", "method": "GET", "path": path, "headers": []}
    asyncio.run(
        early.Early(app, waiting=waiting)(scope, asyncio.Event().wait, send)
    )  # nobody hangs up
    headers = Headers(raw=messages[0]["headers"])
    return headers, b"".join(m.get("body", b"") for m in messages[1:]), len(messages)


def test_a_page_runs_the_script_of_charts_that_streamlit_ships():
    headers, body, _ = sent(HTMLResponse(PAGE))
    assert int(headers["content-length"]) == len(body)
    name = re.search(rb'import\("\./static/js/(PlotlyChart\.[^"]+\.js)"\)', body)
    assert name and (scripts.FOLDER / name.group(1).decode()).is_file()
    assert body.replace(early.script(), b"").decode() == PAGE
    assert body.index(early.script()) + len(early.script()) == body.index(b"</head>")


def test_a_page_that_waits_for_the_server_runs_it_once_streamlits_own_have_run():
    body = sent(HTMLResponse(PAGE), waiting=True)[1].decode()
    put_in = early.script(waiting=True).decode()
    assert body.replace(put_in, "") == PAGE
    assert "DOMContentLoaded" in put_in and early.LAST_ASKED not in put_in
    assert "DOMContentLoaded" not in early.script().decode()


def test_a_page_in_pieces_is_put_together():
    async def pieces():
        for at in range(0, len(PAGE), 7):
            yield PAGE[at : at + 7]

    headers, body, messages = sent(StreamingResponse(pieces(), media_type="text/html"))
    assert body.replace(early.script(), b"").decode() == PAGE
    assert "content-length" not in headers and messages == 2


def test_what_is_no_page_goes_as_it_comes():
    headers, body, _ = sent(PlainTextResponse(PAGE))
    assert body.decode() == PAGE and int(headers["content-length"]) == len(body)


@pytest.fixture
def unknown(tmp_path, monkeypatch):
    """A Streamlit that names its scripts otherwise."""
    monkeypatch.setattr(early, "FOLDER", tmp_path)
    early.script.cache_clear()
    yield
    early.script.cache_clear()


@pytest.mark.usefixtures("unknown")
def test_without_such_a_script_a_page_stays_as_it_is():
    assert sent(HTMLResponse(PAGE))[1].decode() == PAGE
