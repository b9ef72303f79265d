"""The server's socket sends what it is given at once.

asyncio switches Nagle's algorithm off on sockets that say they are TCP; the one that Streamlit
binds does not say so. The head and the body of an answer are written apart, so every file, and
every message after another, waited up to 40 ms for the browser's acknowledgement: .8 s for the
scripts of a page.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import wraps

from streamlit.web.server.starlette import starlette_server


def without_delay() -> None:
    """Let Streamlit bind its socket with `TCP_NODELAY`, which accepted connections inherit.

    Does nothing where Streamlit binds it otherwise.
    """
    bind: Callable[..., socket.socket] | None = getattr(starlette_server, "_bind_socket", None)
    if bind is None or hasattr(bind, "__wrapped__"):
        return

    @wraps(bind)
    def bound(*where: object, **more: object) -> socket.socket:
        found = bind(*where, **more)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return found

    starlette_server._bind_socket = bound
