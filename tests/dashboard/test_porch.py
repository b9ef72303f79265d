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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from dashboard import gate, porch, scripts
from dashboard.layers import FIRST_VISIT, HEADERS

ROOT = Path(__file__).resolve().parents[2]


#: Stands in for the server: it listens at the first line that it reads, and ends at the second.
SERVER = """
import sys
from dashboard import gate, porch
porch.build()
sys.stdin.readline()
gate.open_door()
sys.stdin.readline()
"""


@contextmanager
def opened() -> Iterator[tuple[socket.socket, subprocess.Popen[str]]]:
    """A porch before a server, over a socket that this process holds too."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        child = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            env=os.environ | {gate.SOCKET_ENV: str(listener.fileno())},
            pass_fds=(listener.fileno(),),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            text=True,
        )
        try:
            yield listener, child
        finally:
            child.kill()
            child.communicate()


def say(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    print(file=child.stdin, flush=True)


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


def asked(address: tuple[str, int], path: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(*address, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_the_page_and_its_files_are_there_before_the_server() -> None:
    with opened() as (listener, _):
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


def test_everything_else_waits_for_the_server_and_goes_there() -> None:
    """The server is this test: it listens on the same socket once the porch has closed."""
    paths = ["/_stcore/host-config?a=%20b", "/static/../asgi.py", "/%2F/a.b", "//a.b/c"]
    with opened() as (listener, child):
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
        (standing,) = psutil.Process(child.pid).children()
        say(child)
        for thread in threads:
            thread.join(30)
        for path in paths:
            where, closed = (answers[path].headers[name] for name in ("Location", "Connection"))
            assert answers[path].status == 307 and closed == "close"
            assert where == path.replace("//a", "/a")  # and not to another server
        until(lambda: not psutil.pid_exists(standing.pid))
        assert child.poll() is None  # and the server goes on
        # Whoever comes now is the server's.
        with socket.create_connection(address):
            listener.settimeout(10)
            accepted, _ = listener.accept()
            accepted.close()


def test_a_server_that_dies_takes_the_porch_with_it() -> None:
    with opened() as (listener, child):
        asked(listener.getsockname(), "/")
        (standing,) = psutil.Process(child.pid).children()
        child.kill()
        until(lambda: not standing.is_running() or standing.status() == psutil.STATUS_ZOMBIE)


def test_without_a_socket_there_is_no_porch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(gate.SOCKET_ENV, raising=False)
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("nobody comes here first"))
    porch.build()


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


def test_a_door_is_opened_once() -> None:
    bell = gate.shut_door()
    os.set_blocking(bell, False)
    with pytest.raises(BlockingIOError):
        os.read(bell, 1)  # the other end is held
    gate.open_door()
    assert os.read(bell, 1) == b""  # and now closed
    os.close(bell)
    gate.open_door()
    assert gate.given_socket() is None
