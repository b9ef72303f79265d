"""What Streamlit does at its start that costs a first visitor time and gives us nothing.

Each is a setting that Streamlit does not offer, made on a name of its own; where the name is gone,
nothing is done, and a test says so.
"""

from __future__ import annotations

import builtins
import socket
import types
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

import plotly.io as pio
from streamlit import delta_generator
from streamlit.commands import page_config
from streamlit.components.v2.component_manager import BidiComponentManager
from streamlit.elements.lib import streamlit_plotly_theme as plotly_theme
from streamlit.web.server.starlette import starlette_server

from dashboard.gate import given_socket
from dashboard.scripts import ICON_ADDRESS

#: Name of Streamlit's theme among plotly's templates.
THEME = "streamlit"


def quick_start() -> None:
    """All of it; before Streamlit's command."""
    bind_socket()
    scan_no_packages()
    warn_of_no_shell()
    name_the_icon()
    theme_charts()


def bind_socket() -> None:
    """Let Streamlit listen on the socket that `serve` opened, or bind its own with `TCP_NODELAY`.

    asyncio switches Nagle's algorithm off on sockets that say they are TCP; the one that Streamlit
    binds does not say so. The head and the body of an answer are written apart, so every file, and
    every message after another, waited up to 40 ms for the browser's acknowledgement: .8 s for the
    scripts of a page.
    """
    bind: Callable[..., socket.socket] | None = getattr(starlette_server, "_bind_socket", None)
    if bind is None or hasattr(bind, "__wrapped__"):
        return

    @wraps(bind)
    def bound(*where: object, **more: object) -> socket.socket:
        found = given_socket() or bind(*where, **more)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        found.setblocking(False)
        return found

    starlette_server._bind_socket = bound


def scan_no_packages() -> None:
    """Do not look through every installed package for components: this dashboard has none.

    A tenth to half a second before the server answers, by how fast the disk is.
    """
    if hasattr(BidiComponentManager, "discover_and_register_components"):
        BidiComponentManager.discover_and_register_components = _nothing


def warn_of_no_shell() -> None:
    """Do not ask, at the first element of the first page, whether this is a Python shell.

    Streamlit reads the source of the whole call stack for that: a tenth to four tenths of a second.
    """
    if hasattr(delta_generator, "_use_warning_has_been_displayed"):
        delta_generator._use_warning_has_been_displayed = True


def name_the_icon() -> None:
    """Send the icon's address as it stands in `app.py`.

    Streamlit loads a library for pictures before it looks whether there is one to read: some 25 ms
    of the first page.
    """
    told: Callable[..., str] | None = getattr(page_config, "_get_favicon_string", None)
    if told is None or hasattr(told, "__wrapped__"):
        return

    @wraps(told)
    def named(icon: object) -> str:
        return ICON_ADDRESS if icon == ICON_ADDRESS else told(icon)

    page_config._get_favicon_string = named  # type: ignore[assignment]


def theme_charts() -> None:
    """Streamlit's theme of charts as plain data, where plotly was hidden while Streamlit came.

    Streamlit makes it of plotly's classes as it is imported: 80 ms, because plotly looks at every
    property. Its own function is run with stand-ins that keep what they are given. `warm.drawing`
    makes plotly's template of it, for charts that need one.
    """
    if THEME in pio.templates:
        return
    make = plotly_theme.configure_streamlit_plotly_theme
    kept = _Kept()
    given = {**vars(builtins), "__import__": lambda *_, **__: kept}
    with suppress(Exception):  # whatever another Streamlit does in it
        types.FunctionType(make.__code__, {**vars(plotly_theme), "__builtins__": given})()
        theme = kept.found[THEME]
        for kind, traces in theme["data"].items():
            theme["data"][kind] = [trace | {"type": kind} for trace in traces]
        pio.templates._templates[THEME] = theme
        pio.templates.default = THEME
        return
    make()


class _Kept:
    """Stands in for plotly: every name in it is a function that gives back what it is given."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def __getattr__(self, name: str) -> _Kept:
        return self

    def __call__(self, **given: object) -> dict[str, object]:
        return given

    def __setitem__(self, name: str, value: object) -> None:
        self.found[name] = value


def _nothing(*_: object, **__: object) -> None:
    pass
