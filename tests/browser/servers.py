"""Start the dashboard as `lbsf dashboard` does, for tests and screenshots."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dashboard.serve import _environment, _port, _wait_until_healthy
from dashboard.state import SMALLEST_ENV

REPOSITORY = Path(__file__).resolve().parents[2]
SERVE = "import sys, pathlib, dashboard.serve as s; sys.exit(s.serve(pathlib.Path(sys.argv[1])))"


@contextmanager
def real_server(workspace: Path) -> Iterator[str]:
    """The address of a dashboard over a real workspace; stopped by Ctrl-C's signal."""
    child = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(workspace)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line.startswith("Dashboard: http://"), f"the server said {line!r}"
        yield line.split()[1]
    finally:
        child.send_signal(signal.SIGINT)
        child.wait(timeout=20)
        if child.stdout is not None:
            child.stdout.close()
    assert child.returncode == 0, f"Ctrl-C ended with status {child.returncode}"


@contextmanager
def fake_server(mode: str = "demo") -> Iterator[str]:
    """The address of a dashboard over the fake workspace, for states that real data lacks.

    Args:
        mode: "demo", or "empty", "broken", "several", "proxy" (see `fake_asgi`).
    """
    port = _port("127.0.0.1", None)
    command = [sys.executable, "-m", "uvicorn", "tests.browser.fake_asgi:app", "--log-level=error"]
    child = subprocess.Popen(
        [*command, f"--port={port}"],
        cwd=REPOSITORY,
        env={
            **_environment(Path("/nowhere") / mode),
            "LBSF_WORKSPACE": f"/nowhere/{mode}",
            SMALLEST_ENV: "1",  # the fake holds few samples
        },
        stdout=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_healthy(child, address)
        yield address
    finally:
        child.terminate()
        child.wait(timeout=20)
