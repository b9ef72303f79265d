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
from time import time

import streamlit as st
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from dashboard.components.guide import FIRST_VISIT
from dashboard.early import Early
from dashboard.headers import changing, is_page
from dashboard.scripts import Scripts, needed

#: Everything comes from this server. The escape function keeps data text from being read as markup;
#: this is the second lock: were it ever to fail, the browser still asks no other address.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
}

#: Set by `dashboard.serve`: the process id without which this server has no reason to run.
PARENT_ENV = "LBSF_PARENT"

log = logging.getLogger("lbsf.dashboard")


class SecurityHeaders:
    """Adds `HEADERS` to every HTTP response; plain ASGI, so that streamed files stay streamed."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        await self.app(scope, receive, changing(send, lambda headers: headers.update(HEADERS)))


class FirstVisit:
    """Gives a browser a cookie that says when it first came, so that the tour can be offered."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or FIRST_VISIT in HTTPConnection(scope).cookies:
            await self.app(scope, receive, send)
            return

        def with_cookie(headers: MutableHeaders) -> None:
            if is_page(headers):
                headers.append(
                    "Set-Cookie",
                    f"{FIRST_VISIT}={int(time())}; Path=/; Max-Age=31536000; SameSite=Lax; "
                    "HttpOnly",
                )

        await self.app(scope, receive, changing(send, with_cookie))


def _warm_up() -> None:
    """Open the workspace and run the model once. A failure is left for the page to explain."""
    from dashboard import warm

    try:
        warm.imports()
        from dashboard import state

        state.warm_up()
    except Exception:
        log.info("The warm-up stopped; the page shows why.", exc_info=True)


async def _end_with(parent: int) -> None:
    """Stop when the process that started this server is gone, however it went."""
    while os.getppid() == parent:
        await asyncio.sleep(2)
    os.kill(os.getpid(), signal.SIGTERM)


@asynccontextmanager
async def _lifespan(_: st.App) -> AsyncIterator[None]:
    # In a thread and not awaited: the browser fetches the page's scripts in the meantime.
    tasks = [asyncio.create_task(asyncio.to_thread(_warm_up))]
    if PARENT_ENV in os.environ:
        tasks.append(asyncio.create_task(_end_with(int(os.environ[PARENT_ENV]))))
    yield
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
    middleware=[Middleware(one) for one in (SecurityHeaders, FirstVisit, Scripts, Early)],
)
