"""What a figure was measured on: without it a figure means nothing."""

from __future__ import annotations

import os
import platform
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lbsf_core.cores import cores
from lbsf_core.memory import TUNABLES

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
