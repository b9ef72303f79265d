"""Streamlit's own scripts: named to the browser ahead of time, and sent whole; and our icon.

Streamlit's page loads the script of a chart or a table when the first one arrives. Until then the
browser waits for the server, and after that what the server said waits for 7 MB of scripts. `Link`
headers let both happen at the same time. Streamlit sends files in pieces of 64 kB, each through
another thread, which a server that is still importing has no time for: half a second for a page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from dashboard import warm
from dashboard.headers import changing, is_page
from dashboard.plotly_script import quick

#: Streamlit's names of what the pages show; each has a script of its own, its version in the name.
ELEMENTS = (
    *("PlotlyChart", "DataFrame", "TextInput", "Selectbox", "Multiselect", "NumberInput"),
    *("Slider", "Metric", "Button", "ButtonGroup", "DownloadButton"),
)
_STREAMLIT = find_spec("streamlit")  # which is not imported here: that takes a second
STATIC = Path(str(_STREAMLIT and _STREAMLIT.origin)).parent / "static"
FOLDER, ADDRESS = STATIC / "static" / "js", "/static/js/"
#: Where Streamlit's page looks for its icon, of which ours takes the place.
ICON_ADDRESS = "./favicon.png"
ICON = Path(__file__).with_name("assets") / "icon.png"
#: Bytes at the start of a script in which its imports stand.
HEAD = 16_384
_IMPORT = re.compile(rb"""(?:from|import)\s*["']\./([\w.~-]+\.js)["']""")
#: A file's name changes with what is in it.
FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}


@lru_cache(maxsize=1)
def needed() -> tuple[str, ...]:
    """Names of the scripts of `ELEMENTS` and of all that they import, the largest first.

    Without those that Streamlit's page asks for by itself; none where Streamlit names its scripts
    otherwise.
    """
    first = set(of_the_page())
    found = _with_imports(path for name in ELEMENTS for path in FOLDER.glob(f"{name}.*.js"))
    return tuple(sorted(found.keys() - first, key=lambda name: -found[name]))


@lru_cache(maxsize=1)
def of_the_page() -> tuple[str, ...]:
    """Names of Streamlit's first script and all that it imports; none where it has another name.

    They are named before those that are `needed` later: a browser opens six connections, and what
    it is told of first goes first.
    """
    return tuple(_with_imports(FOLDER.glob("index.*.js")))


def _with_imports(roots: Iterable[Path]) -> dict[str, int]:
    """Sizes of some scripts, of what they import, and so on, by name."""
    found: dict[str, int] = {}
    waiting = list(roots)
    while waiting:
        path = waiting.pop()
        if path.name in found or not path.is_file():
            continue
        with path.open("rb") as file:
            head = file.read(HEAD)
        found[path.name] = path.stat().st_size
        waiting += [FOLDER / name.decode() for name in _IMPORT.findall(head)]
    return found


def body(path: Path) -> bytes:
    """A file of Streamlit's, as it lies on the disk but for our icon and the charts' script."""
    if path == STATIC / ICON_ADDRESS:
        return ICON.read_bytes()
    return _charts(path) if path.name.startswith("PlotlyChart.") else path.read_bytes()


@lru_cache(maxsize=1)
def _charts(path: Path) -> bytes:
    return quick(path.read_bytes())


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    return frozenset(path.name for path in FOLDER.glob("*.js"))


class Scripts:
    """Answers for scripts, and names those that are `needed` with every page; plain ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        warm.asked()
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        name = scope["path"].removeprefix(ADDRESS)
        if scope["method"] == "GET" and name in _names():
            answer = Response(body(FOLDER / name), media_type="text/javascript", headers=FOREVER)
            await answer(scope, receive, send)
            return
        if scope["method"] == "GET" and scope["path"] == ICON_ADDRESS[1:]:
            await Response(ICON.read_bytes(), media_type="image/png")(scope, receive, send)
            return

        def with_links(headers: MutableHeaders) -> None:
            links = [f"{_link(script)}; fetchpriority=high" for script in of_the_page()]
            links += [f"{_link(script)}; fetchpriority=low" for script in needed()]
            if links and is_page(headers):  # in one header: many programs take a hundred at most
                headers.append("Link", ", ".join(links))

        await self.app(scope, receive, changing(send, with_links))


def _link(script: str) -> str:
    """The header by which a browser fetches and compiles a module before it is asked for."""
    return f"<.{ADDRESS}{script}>; rel=modulepreload; crossorigin"
