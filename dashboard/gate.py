"""How the server's port is handed on: from `serve` to the porch, and from the porch to the server.

`serve` opens the socket and a pipe. The server holds one end of the pipe until it listens; the
porch answers until that end is closed.
"""

from __future__ import annotations

import os
import socket

#: Number of the open socket that browsers come to; set by `dashboard.serve`, for both processes.
SOCKET_ENV = "LBSF_SOCKET"
#: Number of the pipe's end that the server holds until it listens, and of the porch's end.
DOOR_ENV, BELL_ENV = "LBSF_DOOR", "LBSF_BELL"


def given_socket() -> socket.socket | None:
    """The socket that `serve` opened for this process, once; None where it opened none."""
    number = os.environ.pop(SOCKET_ENV, None)
    return socket.socket(fileno=int(number)) if number else None


def open_door() -> None:
    """Say that this server listens in a moment; nothing where nobody waits for it."""
    number = os.environ.pop(DOOR_ENV, None)
    if number:
        os.close(int(number))
