"""What a figure was measured on, and what no program is faster than there."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lbsf_core.cores import cores
from lbsf_core.memory import TUNABLES

#: Rows and columns of the matrices whose product is measured, and operations of it.
MATMUL_ROWS = 2_048
MATMUL_FLOPS = 2 * MATMUL_ROWS**3
_PACKAGES = ("lbsf", "duckdb", "numpy", "pandas", "pyarrow", "torch")


def machine() -> dict[str, Any]:
    """Cores, processor, memory and its settings, load, versions and date, as JSON values."""
    return {
        "cores": cores(),
        "cpu": _cpu_model(),
        "memory_gb": _memory_gb(),
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "malloc": os.environ.get(TUNABLES),
        "versions": {"python": platform.python_version()} | {p: _version(p) for p in _PACKAGES},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def python_rate(turns: int = 2_000_000, rounds: int = 5) -> float:
    """Turns of an empty loop that this Python takes in a second: the best of some rounds.

    What a page costs hangs on it, and builds of the same version differ by half: one that pyenv
    compiled without being asked for optimisation is slower than a Linux distribution's.
    """
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        left = turns
        while left:
            left -= 1
        seconds.append(time.perf_counter() - start)
    return turns / min(seconds)


def limits() -> dict[str, float]:
    """What no program is faster than here, measured now by all of torch's threads; 2 s.

    Returns:
        "memory_gb_per_s": bytes read and written when memory is copied; "matmul_gflops": of a
        large fp32 matrix product.
    """
    gflops = MATMUL_FLOPS / matmul_seconds() / 1e9
    return {"memory_gb_per_s": round(_memory_rate() / 1e9, 1), "matmul_gflops": round(gflops, 1)}


def matmul_seconds(rounds: int = 3) -> float:
    """Seconds of a product of `MATMUL_FLOPS` operations: the best of some rounds."""
    import torch

    left, right = torch.randn(MATMUL_ROWS, MATMUL_ROWS), torch.randn(MATMUL_ROWS, MATMUL_ROWS)
    return min(seconds_of(lambda: torch.mm(left, right), rounds))


def _memory_rate(size: int = 2**28, rounds: int = 5) -> float:
    """Bytes a second that a copy of so many bytes reads and writes: the best of some rounds."""
    import torch

    source = torch.ones(size // 4)
    target = torch.empty_like(source)
    return 2 * size / min(seconds_of(lambda: target.copy_(source), rounds))


def seconds_of(run: Callable[[], object], rounds: int) -> list[float]:
    """What each of some rounds takes, after one that is not counted."""
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):
        return None
