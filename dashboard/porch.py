"""Where a browser waits for the server, with the page already on its screen.

Streamlit takes a second and more to start, and then a browser takes as long to run the page's
scripts. `serve` opens the port itself and gives it to two processes: the server, and this one,
which answers at once with what never changes (the page and Streamlit's files) and holds everything
else. When the server is about to listen (`gate.open_door`), or is gone, the porch closes, sends who
waits to the server, and ends.

It imports nothing of Streamlit, and shows nothing of anybody's data.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from mimetypes import guess_type
from pathlib import Path

import uvicorn
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from dashboard.early import Early
from dashboard.gate import BELL_ENV, given_socket
from dashboard.layers import LAYERS
from dashboard.scripts import FOREVER, STATIC, body

#: Addresses of pages, as in `app.py`; any other address waits for the server.
PAGES = ("/", "/user", "/cohorts", "/model")


#: Until the server's first words are on the page it says so; over Streamlit's own page, which is
#: empty until then. Without `:has` (browsers before 2023) it would stay, so it is not shown there.
_PLACE = b'<div id="root"></div>'
_STARTING = """
<style>
  #lbsf-starting { display: none }
  @supports selector(:has(*)) {
    #lbsf-starting {
      display: grid; place-items: center; position: fixed; inset: 0; pointer-events: none;
      color-scheme: light dark; color: CanvasText; font: 1rem "Source Sans", sans-serif
    }
    body:has([data-testid="stElementContainer"], [role="dialog"]) #lbsf-starting { display: none }
  }
</style>
<div id="lbsf-starting" role="status">Starting the dashboard…</div>
""".encode()


class Porch:
    """Answers for pages and files, and sends everything else on once the door is open; ASGI."""

    def __init__(self, folder: Path = STATIC) -> None:
        self.door = asyncio.Event()
        paths = [path for path in folder.rglob("*") if path.is_file()]
        self._files = {f"/{path.relative_to(folder).as_posix()}": path for path in paths}
        page = (folder / "index.html").read_bytes()
        self._page = page.replace(_PLACE, _PLACE + _STARTING, 1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = str(scope["path"])
        if scope["method"] == "GET" and path in PAGES:
            headers = {"Cache-Control": "no-cache"}
            answer = Response(self._page, media_type="text/html", headers=headers)
        elif scope["method"] == "GET" and path in self._files:
            found, kind = body(self._files[path]), guess_type(path)[0]
            answer = Response(found, media_type=kind, headers=FOREVER)
        else:
            await self.door.wait()
            # Once more, on another connection: this one leads here. One slash at its start: an
            # address that begins with two is another server's.
            asked = b"/" + scope["raw_path"].lstrip(b"/")
            if scope["query_string"]:
                asked += b"?" + scope["query_string"]
            answer = RedirectResponse(asked.decode("latin-1"), 307, {"Connection": "close"})
        await answer(scope, receive, send)


def layered(porch: Porch) -> ASGIApp:
    """What the server has around its answers too."""
    app: ASGIApp = Early(porch, waiting=True)
    for layer in reversed([one for one in LAYERS if one is not Early]):
        app = layer(app)
    return app


async def main(listener: socket.socket, bell: int) -> None:
    """Serve until the other end of the pipe `bell` is closed."""
    porch = Porch()
    config = uvicorn.Config(
        layered(porch), lifespan="off", ws="none", access_log=False, log_level="error"
    )
    server = uvicorn.Server(config)

    def leave() -> None:
        loop.remove_reader(bell)
        for each in server.servers:  # at once: a browser that is sent on must not come here again
            each.close()
        porch.door.set()
        server.should_exit = True

    loop = asyncio.get_running_loop()
    loop.add_reader(bell, leave)
    await server.serve(sockets=[listener])


if __name__ == "__main__":
    found = given_socket()
    if found is not None:
        with suppress(KeyboardInterrupt):  # Ctrl-C's signal comes to all of a terminal's processes
            asyncio.run(main(found, int(os.environ.pop(BELL_ENV))))
