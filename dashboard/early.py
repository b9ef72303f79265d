"""The charts' script runs while the page waits for the server, not when the first chart is there.

Streamlit imports it when the first chart arrives; it is plotly.js, and running it once takes a
fifth of a second to half a second. Between a page's asking for its session and the server's first
words the browser has nothing to do for as long. `scripts.py` has it fetched by then.
"""

from __future__ import annotations

from functools import lru_cache

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.headers import is_page
from dashboard.scripts import ADDRESS, FOLDER

#: Streamlit asks for this right before it opens its connection.
LAST_ASKED = "/_stcore/host-config"
#: Milliseconds after it: the connection is being opened, and nothing has come through it.
PAUSE = 60
#: Before this of a page.
_PLACE = b"</head>"
_SCRIPT = """<script>
new PerformanceObserver((found, observer) => {
  if (!found.getEntries().some((one) => one.name.endsWith("%s"))) return;
  observer.disconnect();
  setTimeout(() => import(".%s"), %d);
}).observe({ type: "resource", buffered: true });
</script>
"""
#: Streamlit's own scripts have run, and what it asked for is not answered before the server runs.
_WAITING = """<script>
addEventListener("DOMContentLoaded", () => setTimeout(() => import(".%s"), %d));
</script>
"""


@lru_cache(maxsize=2)
def script(*, waiting: bool = False) -> bytes:
    """What is put into a page; nothing where Streamlit names the charts' script otherwise.

    Args:
        waiting: the page is there before the server.
    """
    found = sorted(path.name for path in FOLDER.glob("PlotlyChart.*.js"))
    if not found:
        return b""
    address = ADDRESS + found[0]
    filled = _WAITING % (address, PAUSE) if waiting else _SCRIPT % (LAST_ASKED, address, PAUSE)
    return filled.encode()


class Early:
    """Puts `script` into every page; plain ASGI."""

    def __init__(self, app: ASGIApp, *, waiting: bool = False) -> None:
        self.app = app
        self.script = script(waiting=waiting)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not self.script:
            await self.app(scope, receive, send)
            return
        start: Message = {}
        parts: list[bytes] = []

        async def with_script(message: Message) -> None:
            if message["type"] == "http.response.start" and is_page(MutableHeaders(scope=message)):
                start.update(message)  # it waits for the body, whose length it says
                return
            if not start:
                await send(message)
                return
            parts.append(message.get("body", b""))
            if message.get("more_body"):
                return
            body = b"".join(parts).replace(_PLACE, self.script + _PLACE, 1)
            headers = MutableHeaders(scope=start)
            if "content-length" in headers:
                headers["content-length"] = str(len(body))
            await send(start)
            await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, with_script)
