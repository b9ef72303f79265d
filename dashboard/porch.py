"""Where a browser waits for the server, with the page already on its screen.

Streamlit takes a second and more to start, and then a browser takes as long to run the page's
scripts. `serve` opens the port itself and gives it to the server, which makes this process of
itself before it imports anything slow. It answers at once with what never changes (the page and
Streamlit's files) and holds everything else. When the server is about to listen (`gate.open_door`),
or is gone, the porch closes, sends who waits to the server, and ends.

It imports nothing of Streamlit, and shows nothing of anybody's data.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from contextlib import suppress
from mimetypes import guess_type
from pathlib import Path

import uvicorn
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from dashboard.early import Early
from dashboard.gate import SOCKET_ENV, given_socket, open_door, shut_door
from dashboard.layers import LAYERS
from dashboard.scripts import FOREVER, STATIC, body

#: Addresses of pages, as in `app.py`; any other address waits for the server.
PAGES = ("/", "/user", "/cohorts", "/model")


#: Until the server's first words are on the page it says so; over Streamlit's own page, which is
#: empty until then. Without `:has` (browsers before 2023) it would stay, so it is not shown there.
#: The words are a picture (outlines of DejaVu Sans): for the first text of a page the browser looks
#: through the computer's fonts, a tenth to two tenths of a second in which it starts no script.
_PLACE = b'<div id="root"></div>'
_STARTING = b"""
<style>
  #lbsf-starting { display: none }
  @supports selector(:has(*)) {
    :root:not(:has([data-testid])) { color-scheme: light dark }
    #lbsf-starting {
      display: grid; place-items: center; position: fixed; inset: 0; pointer-events: none;
      color-scheme: light dark; color: CanvasText
    }
    #lbsf-starting svg { width: 12.5rem }
    body:has([data-testid="stElementContainer"], [role="dialog"]) #lbsf-starting { display: none }
  }
</style>
<div id="lbsf-starting" role="status">%b</div>
"""
_WORDS = Path(__file__).with_name("assets") / "starting.svg"


class Porch:
    """Answers for pages and files, and sends everything else on once the door is open; ASGI."""

    def __init__(self, folder: Path = STATIC) -> None:
        self.door = asyncio.Event()
        paths = [path for path in folder.rglob("*") if path.is_file()]
        self._files = {f"/{path.relative_to(folder).as_posix()}": path for path in paths}
        page = (folder / "index.html").read_bytes()
        self._page = page.replace(_PLACE, _PLACE + _STARTING % _WORDS.read_bytes(), 1)

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


def build() -> None:
    """Let a child of this process be the porch until this one listens, or ends.

    A child and no process of its own: it has what this one has imported by now, of which the server
    needs nearly all, and answers a tenth of a second later, not two or three. Nothing where `serve`
    has opened no socket.
    """
    if SOCKET_ENV not in os.environ:
        return
    bell = shut_door()
    child = os.fork()
    if child:
        os.close(bell)
        threading.Thread(target=os.waitpid, args=(child, 0), daemon=True).start()
        return
    status = 1
    try:
        open_door()  # the child's copy of that end
        found = given_socket()
        if found is not None:
            with suppress(KeyboardInterrupt):  # Ctrl-C's signal comes to all of a terminal's
                asyncio.run(main(found, bell))
        status = 0
    finally:
        os._exit(status)  # nothing that the server has set up is the child's to end
