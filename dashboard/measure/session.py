"""A visitor without a browser: speaks to the server as Streamlit's page does and draws nothing.

What it waits for is the server alone: from asking for a page to hearing that the page is complete,
with the script, its messages and the way through the socket. A browser on the same machine takes
several times as much of the cores as the server does, which no analyst's own computer takes from
it. The messages are Streamlit's own and no public interface: a new version of it may change them,
and the tests then say so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect

from lbsf_core.errors import LbsfError

#: Longest wait for a page, in seconds.
PATIENCE = 60.0


class Session:
    """One visitor's view; make one with `visitor`.

    Attributes:
        heading: the title of the page that came last.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.heading = ""
        self._page, self._page_hash = "", ""
        self._query: dict[str, str] = {}
        self._ids: dict[str, str] = {}
        self._entered: dict[str, WidgetState] = {}

    async def visit(self, page: str, **query: str) -> float:
        """Open an address of the dashboard.

        Args:
            page: its path, e.g. "user"; "" is the portfolio.
            query: parameters of the address.

        Returns:
            Seconds until the page was complete.

        Raises:
            LbsfError: the page shows a fault, or did not come.
        """
        self._page, self._page_hash, self._query = page, "", dict(query)
        self._entered.clear()
        return await self._run()

    async def enter(self, key: str, text: str) -> float:
        """Type into a text box whose content is part of the address, and press Enter.

        Returns and raises: as `visit`.
        """
        if key not in self._ids:
            raise LbsfError(f"The page {self._page or 'portfolio'} has no box with key '{key}'.")
        self._entered[key] = WidgetState(id=self._ids[key], string_value=text)
        self._query[key] = text
        return await self._run()

    async def _run(self) -> float:
        ask = BackMsg()
        ask.rerun_script.query_string = urlencode(self._query)
        ask.rerun_script.page_name = self._page
        ask.rerun_script.page_script_hash = self._page_hash
        ask.rerun_script.widget_states.widgets.extend(self._entered.values())
        began = time.perf_counter()
        await self._socket.send(ask.SerializeToString())
        try:
            async with asyncio.timeout(PATIENCE):
                faults = await self._listen()
        except TimeoutError as error:
            raise LbsfError(f"The page {self._page} did not come in {PATIENCE:.0f} s.") from error
        seconds = time.perf_counter() - began
        if faults:
            raise LbsfError(f"The page {self._page} shows a fault: {faults[0]}")
        return seconds

    async def _listen(self) -> list[str]:
        """Take messages until the page is complete; what went wrong, in words."""
        faults: list[str] = []
        while True:
            data = await self._socket.recv()
            message = ForwardMsg.FromString(data if isinstance(data, bytes) else data.encode())
            kind = message.WhichOneof("type")
            if kind == "new_session":
                self._ids.clear()
                self.heading = ""
            elif kind == "navigation":
                self._page_hash = message.navigation.page_script_hash
            elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
                element = message.delta.new_element
                what = element.WhichOneof("type")
                if what == "text_input":
                    self._remember(element.text_input.id)
                elif what == "heading" and not self.heading:
                    self.heading = element.heading.body
                elif what == "exception":
                    faults.append(f"{element.exception.type}: {element.exception.message}")
                elif what == "alert" and element.alert.format == Alert.ERROR:
                    faults.append(element.alert.body)
            elif kind == "page_not_found":
                faults.append("there is no such page")
            elif kind == "script_finished":
                if message.script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                    continue  # the page starts again by itself, and is complete after that
                if message.script_finished != ForwardMsg.FINISHED_SUCCESSFULLY:
                    faults.append("its script does not compile")
                return faults

    def _remember(self, widget: str) -> None:
        # "$$ID-<hash>-<key>"; the hash holds no hyphen.
        self._ids[widget.split("-", 2)[-1]] = widget


@asynccontextmanager
async def visitor(address: str) -> AsyncIterator[Session]:
    """A new session at a dashboard's address, ended afterwards.

    Raises:
        LbsfError: nobody answers there.
    """
    socket: Any = connect(
        f"{address.replace('http', 'ws', 1)}/_stcore/stream",
        subprotocols=["streamlit"],  # type: ignore[list-item]
        origin=address,  # type: ignore[arg-type]
        max_size=None,
        compression=None,
    )
    try:
        async with socket as opened:
            yield Session(opened)
    except OSError as error:
        raise LbsfError(f"No dashboard answers at {address}: {error}") from error
