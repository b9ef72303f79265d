"""The dashboard as an ASGI app: warm-up at start and security headers around Streamlit.

`lbsf dashboard DIR` runs it; any ASGI server can (`uvicorn dashboard.asgi:app`), with the workspace
in the environment variable LBSF_WORKSPACE.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from dashboard import warm
from dashboard.gate import open_door
from dashboard.layers import LAYERS
from dashboard.scripts import needed

#: Set by `dashboard.serve`: the process id without which this server has no reason to run.
PARENT_ENV = "LBSF_PARENT"

log = logging.getLogger("lbsf.dashboard")


def _warm_up() -> None:
    """Open the workspace and run the model once. A failure is left for the page to explain."""
    try:
        warm.imports()
        from dashboard import state

        state.warm_up()
    except Exception:
        log.info("The warm-up stopped; the page shows why.", exc_info=True)


async def _tidy() -> None:
    """Give memory back, nobody waiting for it."""
    while True:
        await asyncio.sleep(warm.STILL)
        await asyncio.to_thread(warm.tidy)


async def _end_with(parent: int) -> None:
    """Stop when the process that started this server is gone, however it went."""
    while os.getppid() == parent:
        await asyncio.sleep(2)
    os.kill(os.getpid(), signal.SIGTERM)


@asynccontextmanager
async def _lifespan(_: st.App) -> AsyncIterator[None]:
    # In a thread and not awaited: the browser fetches the page's scripts in the meantime.
    tasks = [asyncio.create_task(one) for one in (asyncio.to_thread(_warm_up), _tidy())]
    if PARENT_ENV in os.environ:
        tasks.append(asyncio.create_task(_end_with(int(os.environ[PARENT_ENV]))))
    open_door()
    yield
    warm.end()
    for task in tasks:
        task.cancel()


def _on_script_error(error: Exception) -> bool:
    """A fault of ours: the log gets all of it, the page gets what to do and no customer's data."""
    log.error("A page failed.", exc_info=error)
    st.error(
        "**This page failed, and that is a fault of the dashboard.** Reload it; if it fails again, "
        "report it with the lines that the server printed where it was started.",
        icon=":material/bug_report:",
    )
    return True


needed()  # now, while nobody waits
app = st.App(
    Path(__file__).with_name("app.py"),
    lifespan=_lifespan,
    on_script_error=_on_script_error,
    middleware=[Middleware(one) for one in LAYERS],
)
