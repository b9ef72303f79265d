"""What a process does with memory that it has freed: keep it, or give it back.

Most of it is settled before a process begins, by its environment; see `at_start`. So this module
must stay cheap to import.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable

from lbsf_core.cores import cores

#: Environment variable of glibc's settings.
TUNABLES = "GLIBC_TUNABLES"
#: Blocks from this on are mapped by themselves, and what is free at the top of a heap beyond this
#: goes back, in bytes. Left alone, glibc raises the first to 32 MiB as it goes.
_MAPPED, _TOP = 8 << 20, 128 << 20

#: glibc's names of what is set (malloc.h).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: Freed memory at the top of the heap is kept up to this, and smaller blocks never mapped by
#: themselves, in bytes. glibc takes an int: just below 2 GiB.
_KEPT = 2**31 - 1


def at_start() -> dict[str, str]:
    """The environment that our processes are started with; nothing where glibc is not.

    - Large pages: a forward pass writes to a hundred MB, which the kernel otherwise hands out, and
      fills with zeros, 4 kB at a time.
    - No cache of small freed blocks in each thread. They stay where they are, in the middle of what
      a pass has freed, and keep it from becoming one block again: scoring 100 million payments went
      from 965 MB after a tenth of them to 1,229 MB, without them from 672 to 736.
    - An arena a core, and one to read with.
    - oneDNN, which computes torch's GELU, keeps what it has made for each shape that it met, up to
      1,024 of them, and ragged batches have ever new ones: 130 MB after 300,000 samples. It keeps
      few.

    Scoring is a quarter faster with them (100 million payments: 131 -> 101 s on two cores).
    """
    return _environment(hugetlb=1, tcache_count=0, mxfast=0, arena_max=cores() + 1)


def of_a_server() -> dict[str, str]:
    """The environment that a dashboard is started with; nothing where glibc is not.

    A page is thousands of small operations, so the cache of small freed blocks stays, and it comes
    in a thread of its own, so there is one arena: a new thread finds what the one before has freed.
    The first chart is there an eighth sooner than with `at_start` (nine starts each, in turn: 3.4
    and 3.9 s), and pages that follow each other take a tenth less (four runs of forty users each;
    nothing less where another process runs between any two of them).
    """
    return _environment(arena_max=1)


def _environment(**settings: int) -> dict[str, str]:
    if _of_glibc("mallopt") is None:
        return {}
    settings |= {"mmap_threshold": _MAPPED, "trim_threshold": _TOP}
    named = ":".join(f"glibc.malloc.{name}={value}" for name, value in settings.items())
    # Arrow's own pool keeps what a read needed; here memory that is free is anybody's.
    return {
        TUNABLES: named,
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "8",
    }


def reuse_freed_memory() -> None:
    """Let this process keep what it frees; for commands that do one large thing and end.

    A fold frees and asks for the same few hundred MB with every part. Left to themselves, malloc
    and Arrow's pool give them back and the kernel fills them with zeros again: a quarter of the
    fold's processor time (10 million payments: 5.8 against 4.4 s). Does nothing where the C library
    is another one.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is None:
        return
    import pyarrow as pa

    mallopt(_MMAP_THRESHOLD, _KEPT // 2)
    mallopt(_TRIM_THRESHOLD, _KEPT)
    pa.set_memory_pool(pa.system_memory_pool())


def give_back_freed_memory(*, whole: bool = False) -> None:
    """Give the kernel what this process has freed; for long runs whose parts differ in size.

    Threads leave holes that malloc keeps, unless it was told not to at the start (`at_start`):
    scoring a million users held 2.2 GB, 1.6 GB with this after every half million payments. Does
    nothing where there are no holes, or the C library is another one.

    Args:
        whole: even so, because what lies free at the top of the heaps (up to `_TOP` of each) is not
            needed soon.
    """
    trim = _of_glibc("malloc_trim")
    if trim is not None and (whole or "tcache_count=0" not in os.environ.get(TUNABLES, "")):
        trim(0)


def _of_glibc(name: str) -> Callable[..., int] | None:
    """A function of glibc; None elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        found: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None
    return found
