"""Changing the headers of an answer on its way out, body untouched: what our ASGI layers share."""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send


def changing(send: Send, change: Callable[[MutableHeaders], None]) -> Send:
    """`send`, with the answer's headers handed to `change` before they go; files stay streamed."""

    async def changed(message: Message) -> None:
        if message["type"] == "http.response.start":
            change(MutableHeaders(scope=message))
        await send(message)

    return changed


def is_page(headers: MutableHeaders) -> bool:
    """Whether the answer is a page, and no script, picture or data."""
    return headers.get("content-type", "").startswith("text/html")
