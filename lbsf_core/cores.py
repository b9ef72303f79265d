"""Cores: how many a process may use, and who of its threads gets how many for the model."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Environment variable of the threads that a product of matrices is shared out to.
THREADS = "OMP_NUM_THREADS"
#: Payments of a history that two cores are done with sooner than one.
LONG = 150
#: What the system says of itself: threads that run or could, and all that there are, e.g. "1/312".
_LOAD = Path("/proc/loadavg")
#: How many threads ask the model right now.
_asking = 0
_counting = threading.Lock()


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _running() -> int:
    """Threads of the whole system that run or could right now, this one too; 1 where unknown."""
    try:
        return int(_LOAD.read_text().split()[3].partition("/")[0])
    except (OSError, IndexError, ValueError):
        return 1


@contextmanager
def shared_out(payments: int) -> Iterator[None]:
    """While a thread asks the model: of a long history by two cores, if nobody else asks meanwhile.

    For servers that were given one thread for the model, of more cores: their sessions are what
    the cores are shared between, and for a short history two would only wait for each other. So
    they would where the other core has work of its own: each of some hundred products then waits
    until the system lets the second thread run (reasons that take 35 ms took 170 and more). In any
    other process nothing is changed.

    Args:
        payments: of the history that is asked about.
    """
    global _asking  # noqa: PLW0603 - one number for the process
    if os.environ.get(THREADS) != "1" or cores() < 2:
        yield
        return
    import torch

    with _counting:
        _asking += 1
        both = _asking == 1 and payments >= LONG and _running() < cores()
    torch.set_num_threads(2 if both else 1)
    try:
        yield
    finally:
        with _counting:
            _asking -= 1
        torch.set_num_threads(1)  # a new thread begins with what was set last
