"""What the server sends, it sends at once."""

from __future__ import annotations

import socket

from streamlit.web.server.starlette import starlette_server

from dashboard.sockets import without_delay


def test_connections_to_streamlits_socket_do_not_wait(monkeypatch):
    monkeypatch.setattr(starlette_server, "_bind_socket", starlette_server._bind_socket)
    without_delay()
    once = starlette_server._bind_socket
    without_delay()
    assert starlette_server._bind_socket is once
    with starlette_server._bind_socket("127.0.0.1", 0, 1) as server:
        server.setblocking(True)
        with socket.create_connection(server.getsockname()) as client:
            accepted, _ = server.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                accepted.sendall(b"x")
                assert client.recv(1) == b"x"
