"""A browser that comes before the server gets the page at once, and the server's answers later."""

from __future__ import annotations

import ast
import http.client
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dashboard import gate, porch, scripts
from dashboard.layers import FIRST_VISIT, HEADERS

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def opened() -> Iterator[tuple[socket.socket, int, subprocess.Popen[bytes]]]:
    """A porch over a socket that this process holds too, and the end of the pipe it watches."""
    bell, door = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        known = {gate.SOCKET_ENV: str(listener.fileno()), gate.BELL_ENV: str(bell)}
        child = subprocess.Popen(
            [sys.executable, "-m", "dashboard.porch"],
            env=os.environ | known,
            pass_fds=(listener.fileno(), bell),
            cwd=ROOT,
        )
        os.close(bell)
        try:
            yield listener, door, child
        finally:
            child.kill()
            child.wait()


def asked(address: tuple[str, int], path: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(*address, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_the_page_and_its_files_are_there_before_the_server() -> None:
    with opened() as (listener, door, _):
        address = listener.getsockname()
        for path in porch.PAGES:
            answer, body = asked(address, f"{path}?user=U1")
            assert answer.status == 200 and b'<div id="root">' in body
            assert "Starting the dashboard…" in body.decode()
            assert b"PlotlyChart" in body and answer.headers["Cache-Control"] == "no-cache"
            assert FIRST_VISIT in answer.headers["Set-Cookie"]
            assert {name: answer.headers[name] for name in HEADERS} == HEADERS
            assert scripts.needed()[0] in answer.headers["Link"]
        for found in re.findall(rb'(?:src|href)="\.(/static/[^"]+)"', body):
            answer, text = asked(address, found.decode())
            assert answer.status == 200 and "immutable" in answer.headers["Cache-Control"]
            assert text == (scripts.STATIC / found.decode().lstrip("/")).read_bytes()
        os.close(door)


def test_everything_else_waits_for_the_server_and_goes_there() -> None:
    """The server is this test: it listens on the same socket once the porch has closed."""
    paths = ["/_stcore/host-config?a=%20b", "/static/../asgi.py", "/%2F/a.b", "//a.b/c"]
    with opened() as (listener, door, child):
        address = listener.getsockname()
        asked(address, "/")  # the porch is open
        answers: dict[str, http.client.HTTPResponse] = {}

        def ask(path: str) -> None:
            answers[path] = asked(address, path)[0]

        threads = [threading.Thread(target=ask, args=(path,)) for path in paths]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        assert not answers  # held
        os.close(door)
        for thread in threads:
            thread.join(30)
        for path in paths:
            where, closed = (answers[path].headers[name] for name in ("Location", "Connection"))
            assert answers[path].status == 307 and closed == "close"
            assert where == path.replace("//a", "/a")  # and not to another server
        assert child.wait(10) == 0
        # Whoever comes now is the server's.
        with socket.create_connection(address):
            listener.settimeout(10)
            accepted, _ = listener.accept()
            accepted.close()


def test_a_server_that_dies_takes_the_porch_with_it() -> None:
    with opened() as (_, door, child):
        time.sleep(0.2)
        os.close(door)  # as the end of its process does
        assert child.wait(30) == 0


def test_it_answers_for_every_page_that_the_app_has() -> None:
    tree = ast.parse((ROOT / "dashboard" / "app.py").read_text(encoding="utf-8"))
    pages = [
        call
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "st.Page"
    ]
    found = [
        "/" if any(k.arg == "default" for k in call.keywords)
        else f"/{Path(ast.literal_eval(call.args[0])).stem}"
        for call in pages
    ]  # fmt: skip
    assert tuple(found) == porch.PAGES


def test_it_does_not_load_what_the_server_takes_long_to_load() -> None:
    code = "import sys, dashboard.porch; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert not {"streamlit", "numpy", "pandas", "pyarrow", "torch"} & set(run.stdout.split())


def test_a_door_is_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bell, door = os.pipe()
    monkeypatch.setenv(gate.DOOR_ENV, str(door))
    gate.open_door()
    assert os.read(bell, 1) == b""  # the other end is closed
    os.close(bell)
    assert gate.DOOR_ENV not in os.environ
    gate.open_door()
    assert gate.given_socket() is None
