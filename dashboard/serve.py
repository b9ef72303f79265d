"""Start the dashboard's server and say when it answers: `lbsf dashboard DIR` and `lbsf demo`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from dashboard.gate import SOCKET_ENV
from lbsf_core.cores import THREADS
from lbsf_core.errors import LbsfError
from lbsf_core.memory import at_start, of_a_server

FIRST_PORT = 8501
#: Connections that wait for somebody to answer: a browser opens six, while nobody does yet.
BACKLOG = 2048
MANIFEST = "manifest.json"
#: Longest wait for the first healthy answer, in seconds.
PATIENCE = 60.0


def serve(
    path: Path,
    *,
    port: int | None = None,
    host: str = "127.0.0.1",
    open_browser: bool = False,
    ready: Callable[[str], None] | None = None,
) -> int:
    """Serve the workspace (or folder of workspaces) at `path` until Ctrl-C.

    Args:
        path: a workspace, or a folder that holds some.
        port: the port to use; the first free one from 8501 on when None.
        host: the address to listen on. Anything but the loopback address shows customers' payments
            to the network: put authentication in front of it first.
        open_browser: open the address in the default browser.
        ready: called with the address once a browser can come, which sees the page's frame until
            the server has started; prints it when None.

    Returns:
        0 after Ctrl-C or a termination signal, else the server's own exit status.

    Raises:
        WorkspaceError: `path` holds no workspace.
        LbsfError: the port is taken, or the server did not become healthy.
    """
    _check(path)
    listener = _listen(host, port)
    address = f"http://{_name(host)}:{listener.getsockname()[1]}"
    previous = _on_signals()
    child = _start(path, host, listener)
    try:
        (ready or _announce)(address)
        if open_browser:
            import webbrowser

            webbrowser.open(address)
        wait_until_healthy(child, address)
        return child.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        _stop(child)
        for kind, handler in previous.items():
            signal.signal(kind, handler)


def _start(path: Path, host: str, listener: socket.socket) -> subprocess.Popen[bytes]:
    """The server, and the porch before it (`porch.build`); they hold the socket from now on."""
    try:
        return subprocess.Popen(
            _command(host, listener.getsockname()[1]),
            env=environment(path) | {SOCKET_ENV: str(listener.fileno())},
            pass_fds=(listener.fileno(),),
            stdout=subprocess.DEVNULL,
        )
    finally:
        listener.close()


def _check(path: Path) -> None:
    """Refuse a path without any manifest in the library's words; the server checks the rest.

    The library is imported only to say so: it loads the model's framework, which takes seconds that
    the server, a process of its own, spends again.
    """
    if (path / MANIFEST).is_file() or any(path.glob(f"*/{MANIFEST}")):
        return
    from lbsf_core.workspace import find_workspaces

    find_workspaces(path)


def _command(host: str, port: int) -> list[str]:
    script = Path(__file__).with_name("asgi.py")
    options = [f"--server.port={port}", f"--server.address={host}"]
    if host in {"127.0.0.1", "localhost", "::1"}:
        # A page on another site must not reach this server under a name of its own.
        options += [f"--server.allowedHosts={name}" for name in ("127.0.0.1", "localhost", "::1")]
    return [sys.executable, "-m", "dashboard", "run", str(script), *options]


def environment(path: Path) -> dict[str, str]:
    """What the server of a workspace is started with; what is set already stays."""
    root = str(Path(__file__).resolve().parent.parent)
    known = os.environ.get("PYTHONPATH")
    # What `lbsf` itself began with is nobody's choice.
    mine = at_start()
    chosen = {name: value for name, value in os.environ.items() if mine.get(name) != value}
    return {
        **of_a_server(),
        THREADS: "1",  # see `lbsf_core.cores`
        **chosen,
        "LBSF_WORKSPACE": str(path.resolve()),
        "LBSF_PARENT": str(os.getpid()),
        "PYTHONPATH": os.pathsep.join([root, known] if known else [root]),
    }


def _listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens on `port`, or on the first free one from `FIRST_PORT` on."""
    if port is not None:
        found = _bound(host, port)
        if found is None:
            raise LbsfError(
                f"Port {port} on {host} is taken: another dashboard may be running. "
                "Stop it, pass another --port, or leave --port out to get a free one."
            )
        return found
    for candidate in range(FIRST_PORT, FIRST_PORT + 100):
        found = _bound(host, candidate)
        if found is not None:
            return found
    raise LbsfError(
        f"No free port from {FIRST_PORT} to {FIRST_PORT + 99} on {host}. Pass one with --port."
    )


def _bound(host: str, port: int) -> socket.socket | None:
    """A socket that listens there; None where another one does."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # A port that only waits out old connections counts as free.
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        found.listen(BACKLOG)
    except OSError:
        found.close()
        return None
    return found


def _name(host: str) -> str:
    """The host as a browser on this machine writes it."""
    name = "127.0.0.1" if host in {"", "0.0.0.0"} else host  # noqa: S104 - a comparison
    return f"[{name}]" if ":" in name else name


def wait_until_healthy(child: subprocess.Popen[Any], address: str) -> None:
    """Wait for a server's first healthy answer.

    Raises:
        LbsfError: its process ended, or gave none within `PATIENCE`.
    """
    import urllib.error  # the server is starting by now, and no longer waits for this
    import urllib.request

    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if child.poll() is not None:
            raise LbsfError(
                f"The dashboard stopped while starting (exit status {child.returncode}). "
                "The lines above say why."
            )
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2) as answer:  # noqa: S310 - our own address
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.05)
    raise LbsfError(f"The dashboard did not answer at {address} within {PATIENCE:.0f} s.")


def _announce(address: str) -> None:
    print(f"Dashboard: {address}  (Ctrl-C stops it)", flush=True)


def _on_signals() -> dict[signal.Signals, Any]:
    """Let Ctrl-C and a termination signal end the server; only the main thread may ask for that.

    Ctrl-C's signal too, because a shell that starts a job in the background makes it ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}

    def stop(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    return {kind: signal.signal(kind, stop) for kind in (signal.SIGINT, signal.SIGTERM)}


def _stop(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
