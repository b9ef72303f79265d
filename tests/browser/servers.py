"""Start the dashboard as `lbsf dashboard` does, for tests and screenshots."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dashboard.measure.waits import server
from dashboard.serve import _listen, environment, wait_until_healthy
from dashboard.state import SMALLEST_ENV

REPOSITORY = Path(__file__).resolve().parents[2]


@contextmanager
def real_server(workspace: Path) -> Iterator[str]:
    """The address of a dashboard over a real workspace; stopped by Ctrl-C's signal."""
    with server(workspace) as (address, _):
        yield address


@contextmanager
def fake_server(mode: str = "demo") -> Iterator[str]:
    """The address of a dashboard over the fake workspace, for states that real data lacks.

    Args:
        mode: "demo", or "empty", "broken", "faulty", "several", "proxy" (see `fake_asgi`).
    """
    # The server gets the open socket: a port that is free now may be another worker's soon.
    with _listen("127.0.0.1", None) as found:
        command = [sys.executable, "-m", "uvicorn", "tests.browser.fake_asgi:app"]
        child = subprocess.Popen(
            [*command, "--log-level=error", f"--fd={found.fileno()}"],
            cwd=REPOSITORY,
            env={
                **environment(Path("/nowhere") / mode),
                "LBSF_WORKSPACE": f"/nowhere/{mode}",
                SMALLEST_ENV: "1",  # the fake holds few samples
            },
            pass_fds=[found.fileno()],
            stdout=subprocess.DEVNULL,
        )
        address = f"http://127.0.0.1:{found.getsockname()[1]}"
    try:
        wait_until_healthy(child, address)
        yield address
    finally:
        child.terminate()
        child.wait(timeout=20)
