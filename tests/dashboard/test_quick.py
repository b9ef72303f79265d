"""What is set on names of Streamlit's own: the names are there, and it does what it should."""

from __future__ import annotations

import json
import os
import socket

import plotly.graph_objects as go
import plotly.io as pio
import pytest
from streamlit import delta_generator, env_util
from streamlit.commands import page_config
from streamlit.components.v2 import manifest_scanner
from streamlit.components.v2.component_manager import BidiComponentManager
from streamlit.web.server.starlette import starlette_server

from dashboard.charts import style
from dashboard.gate import SOCKET_ENV
from dashboard.quick import (
    THEME,
    bind_socket,
    name_the_icon,
    plotly_theme,
    scan_no_packages,
    theme_charts,
    warn_of_no_shell,
)
from dashboard.scripts import ICON_ADDRESS


def test_connections_to_streamlits_socket_do_not_wait(monkeypatch):
    monkeypatch.setattr(starlette_server, "_bind_socket", starlette_server._bind_socket)
    bind_socket()
    once = starlette_server._bind_socket
    bind_socket()
    assert starlette_server._bind_socket is once
    with starlette_server._bind_socket("127.0.0.1", 0, 1) as server:
        server.setblocking(True)
        with socket.create_connection(server.getsockname()) as client:
            accepted, _ = server.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                accepted.sendall(b"x")
                assert client.recv(1) == b"x"


def test_streamlit_listens_on_the_socket_that_it_was_given(monkeypatch):
    monkeypatch.setattr(starlette_server, "_bind_socket", starlette_server._bind_socket)
    bind_socket()
    with socket.create_server(("127.0.0.1", 0)) as opened:
        monkeypatch.setenv(SOCKET_ENV, str(os.dup(opened.fileno())))
        with starlette_server._bind_socket("127.0.0.1", 1, 1) as server:
            assert server.getsockname() == opened.getsockname()
            assert not server.getblocking()
        with starlette_server._bind_socket("127.0.0.1", 0, 1) as other:  # given once
            assert other.getsockname() != opened.getsockname()


def test_no_package_is_looked_through(monkeypatch):
    name = "discover_and_register_components"
    monkeypatch.setattr(BidiComponentManager, name, getattr(BidiComponentManager, name))
    looked = []
    monkeypatch.setattr(
        manifest_scanner, "scan_component_manifests", lambda: looked.append(1) or []
    )
    BidiComponentManager().discover_and_register_components(start_file_watching=False)
    assert looked == [1]  # Streamlit still looks
    scan_no_packages()
    BidiComponentManager().discover_and_register_components(start_file_watching=False)
    assert looked == [1]


def test_the_call_stack_is_not_read_at_the_first_element(monkeypatch):
    monkeypatch.setattr(delta_generator, "_use_warning_has_been_displayed", False)
    asked = []
    monkeypatch.setattr(env_util, "is_repl", lambda: asked.append(1))
    delta_generator._maybe_print_use_warning()
    assert asked == [1]  # Streamlit still asks
    delta_generator._use_warning_has_been_displayed = False
    warn_of_no_shell()
    delta_generator._maybe_print_use_warning()
    assert asked == [1]


def test_the_icon_is_named_without_a_library_for_pictures(monkeypatch):
    original = page_config._get_favicon_string
    monkeypatch.setattr(page_config, "_get_favicon_string", original)
    name_the_icon()
    once = page_config._get_favicon_string
    name_the_icon()
    assert page_config._get_favicon_string is once
    assert once("\N{GHOST}") == original("\N{GHOST}")
    monkeypatch.setattr(page_config, "image_to_url", lambda *_, **__: 1 / 0)
    assert once(ICON_ADDRESS) == ICON_ADDRESS
    monkeypatch.undo()
    assert original(ICON_ADDRESS) == ICON_ADDRESS, "and with it where that name is gone"


@pytest.fixture
def unthemed(monkeypatch):
    """Plotly where it was hidden from Streamlit: without its theme."""
    themes = dict(pio.templates._templates)
    del themes[THEME]
    monkeypatch.setattr(pio.templates, "_templates", themes)
    monkeypatch.setattr(pio.templates, "_default", "plotly")
    style._template.cache_clear()
    yield
    style._template.cache_clear()


def figures() -> list[dict]:
    """A figure that plotly checks, and one that it does not, as they are sent."""
    bar, title = {"type": "bar", "x": [1], "y": [2]}, {"title": {"text": "a"}}
    both = go.Figure(bar), style.titled([bar], title, {}, height=9)
    return [json.loads(figure.to_json()) for figure in both]


def test_the_theme_of_charts_is_streamlits_without_plotlys_classes(request):
    sent = figures()
    theirs = json.loads(json.dumps(pio.templates[THEME].to_plotly_json()))
    request.getfixturevalue("unthemed")
    theme_charts()
    assert isinstance(pio.templates[THEME], dict)
    assert json.loads(json.dumps(pio.templates[THEME])) == theirs
    assert figures() == sent
    pio.templates[THEME] = pio.templates[THEME]  # as `warm.drawing` does
    assert isinstance(pio.templates[THEME], go.layout.Template)
    assert figures() == sent


@pytest.mark.usefixtures("unthemed")
def test_a_theme_that_is_made_otherwise_is_made_by_streamlit(monkeypatch):
    made = []
    monkeypatch.setattr(plotly_theme, "configure_streamlit_plotly_theme", lambda: made.append(1))
    theme_charts()
    assert made == [1]
    assert THEME not in pio.templates


def test_a_theme_that_is_there_stays(monkeypatch):
    monkeypatch.setattr(plotly_theme, "configure_streamlit_plotly_theme", lambda: 1 / 0)
    kept = pio.templates[THEME]
    theme_charts()
    assert pio.templates[THEME] is kept
