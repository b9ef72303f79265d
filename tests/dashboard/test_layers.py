"""What lies around every answer of the server."""

from __future__ import annotations

import asyncio

import pytest

from dashboard.components import guide
from dashboard.layers import FIRST_VISIT, HEADERS, FirstVisit, SecurityHeaders


@pytest.mark.parametrize(
    ("kind", "cookie", "given"),
    [
        (b"text/html; charset=utf-8", b"", True),
        (b"text/css", b"", False),
        (b"text/html", FIRST_VISIT.encode() + b"=12; other=1", False),
    ],
)
def test_a_browser_is_told_once_when_it_first_came(kind: bytes, cookie: bytes, given: bool):
    sent = []

    async def app(scope, receive, send):
        headers = [(b"content-type", kind)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "headers": [(b"cookie", cookie)]}
    asyncio.run(FirstVisit(app)(scope, None, send))
    told = dict(sent[0]["headers"]).get(b"set-cookie", b"").decode()
    assert bool(told) == given
    if given:
        since = told.partition("=")[2].partition(";")[0]
        assert guide._first_visit(since, float(since) + 5)
        assert not guide._first_visit(since, float(since) + guide.NEW_S)
        assert "HttpOnly" in told
    assert not guide._first_visit("when?", 0.0)


def test_every_answer_carries_the_headers():
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message):
        sent.append(message)

    asyncio.run(SecurityHeaders(app)({"type": "http"}, None, send))
    names = {name.decode().lower() for name, _ in sent[0]["headers"]}
    assert names == {name.lower() for name in HEADERS}
    assert "http:" not in HEADERS["Content-Security-Policy"]
