"""The server's start: ports, addresses, errors, headers."""

from __future__ import annotations

import asyncio
import socket

import pytest

from dashboard import serve as serving
from dashboard.asgi import HEADERS, FirstVisit, SecurityHeaders
from dashboard.components import guide
from dashboard.components.guide import FIRST_VISIT
from lbsf_core.errors import LbsfError, WorkspaceError


@pytest.fixture
def taken_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield held.getsockname()[1]


def test_a_taken_port_says_what_to_do(taken_port):
    with pytest.raises(LbsfError, match=rf"Port {taken_port} .* is taken.*--port"):
        serving._port("127.0.0.1", taken_port)


def test_without_a_port_a_free_one_is_found(taken_port, monkeypatch):
    monkeypatch.setattr(serving, "FIRST_PORT", taken_port)
    assert serving._port("127.0.0.1", None) > taken_port


def test_a_folder_without_workspace_is_refused_before_the_server_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(serving.subprocess, "Popen", lambda *_, **__: pytest.fail("started"))
    with pytest.raises(WorkspaceError, match="no workspace"):
        serving.serve(tmp_path)


def test_the_address_is_one_that_a_browser_understands():
    assert serving._name("0.0.0.0") == "127.0.0.1"  # noqa: S104
    assert serving._name("::1") == "[::1]"


def test_only_the_loopback_address_limits_the_names_it_answers_to():
    assert any("allowedHosts" in part for part in serving._command("127.0.0.1", 1))
    assert not any("allowedHosts" in part for part in serving._command("10.0.0.4", 1))


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
