"""What benches measured, kept as JSON lines so that a regression shows, and as a table to read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lbsf_core.errors import LbsfError
from lbsf_core.files import atomic_write

#: What a measurement was made with; no figures.
_ABOUT = ("machine",)


def keep(path: str | Path, bench: str, found: dict[str, Any]) -> None:
    """Add one measurement to a file of them (JSON lines, written atomically)."""
    path = Path(path)
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    line = json.dumps({"bench": bench} | found, sort_keys=True, allow_nan=False)
    with atomic_write(path) as target:
        target.write_text(f"{before}{line}\n", encoding="utf-8")


def read(path: str | Path) -> list[dict[str, Any]]:
    """The measurements of a file, oldest first.

    Raises:
        LbsfError: there is no such file, or a line of it is no measurement.
    """
    path = Path(path)
    if not path.is_file():
        raise LbsfError(f"{path}: no such file. `lbsf bench --history {path} fold` begins one.")
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            entry = json.loads(line)
            _ = entry["bench"], entry["machine"]["date"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise LbsfError(f"{path}, line {number}: is no measurement ({error}).") from error
        found.append(entry)
    return found


def table(entries: list[dict[str, Any]]) -> str:
    """The latest measurement of every bench as Markdown, with the one before on such a processor
    and the change since."""
    lines = []
    for bench in dict.fromkeys(entry["bench"] for entry in entries):
        *earlier, last = [entry for entry in entries if entry["bench"] == bench]
        about = last["machine"]
        alike = [entry for entry in earlier if _processor(entry) == _processor(last)]
        before = dict(_figures(alike[-1])) if alike else {}
        lines += [
            f"## {bench}",
            "",
            f"{about['cores']} cores, {about['cpu']}, {about['memory_gb']} GB, "
            f"{about['date'][:10]}, load {about['load_1min']} when it ended.",
            "",
            "| figure | measured | before | change |",
            "|---|---|---|---|",
        ]
        for name, value in _figures(last):
            old = before.get(name)
            change = f"{value / old - 1:+.0%}" if old else ""
            lines.append(f"| {name} | {_number(value)} | {_number(old)} | {change} |")
        lines.append("")
    return "\n".join(lines)


def _processor(entry: dict[str, Any]) -> tuple[Any, Any]:
    """On what an entry was measured: from one kind of processor to another is no change of ours."""
    return entry["machine"].get("cpu"), entry["machine"].get("cores")


def _figures(entry: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, float]]:
    """Name and value of every number, those of inner groups behind the group's name."""
    for key, value in entry.items():
        name = f"{prefix}{key}"
        if key in _ABOUT or isinstance(value, bool | str) or value is None:
            continue
        if isinstance(value, dict):
            yield from _figures(value, f"{name} ")
        elif isinstance(value, int | float):
            yield name, float(value)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
