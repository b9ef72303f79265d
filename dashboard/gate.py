"""How the server's port is handed on: from `serve` to the porch, and from the porch to the server.

`serve` opens the socket, and the server a pipe before it makes the porch. The server holds one end
of the pipe until it listens; the porch answers until that end is closed.
"""

from __future__ import annotations

import os
import socket

#: Number of the open socket that browsers come to; set by `dashboard.serve`.
SOCKET_ENV = "LBSF_SOCKET"

#: Number of the pipe's end that is held until this process listens.
_door: int | None = None


def given_socket() -> socket.socket | None:
    """The socket that `serve` opened for this process, once; None where it opened none."""
    number = os.environ.pop(SOCKET_ENV, None)
    return socket.socket(fileno=int(number)) if number else None


def shut_door() -> int:
    """Hold one end of a pipe until `open_door`, or the end of this process; the number of the other
    end, which the porch watches.
    """
    global _door
    bell, _door = os.pipe()
    return bell


def open_door() -> None:
    """Say that this server listens in a moment; nothing where nobody waits for it."""
    global _door  # noqa: PLW0603 - one door for the process
    if _door is not None:
        os.close(_door)
    _door = None
