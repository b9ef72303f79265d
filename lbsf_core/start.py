"""The command `lbsf`: a process that begins with the memory settings it works best with."""

from __future__ import annotations

import os
import sys

from lbsf_core.memory import TUNABLES, at_start


def main() -> None:
    """Run the command line; on Linux as a process begun anew, where its environment is not set.

    The C library reads its settings once, before Python begins. Who has set `GLIBC_TUNABLES`, to
    nothing say, keeps what they chose.
    """
    settings = at_start()
    if settings and TUNABLES not in os.environ:
        # The same process: its number, its terminal and its parent stay.
        words = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, words, settings | os.environ)  # noqa: S606 - its own words
    from lbsf_core.cli import main as run

    run()
