"""The dashboard's own ASGI app, with the fake workspace put in the facade's place."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

from dashboard import state
from dashboard.asgi import app
from tests.dashboard.fake_workspace import FakeWorkspace, broken_open

MODE = Path(os.environ[state.WORKSPACE_ENV]).name
SUMMARIES: dict[str, dict[str, object]] = {
    "empty": {"samples": 0, "users": 0, "payments": 0, "labelled": 0, "bad": 0},
    "proxy": {"simulated": False, "proxy": True, "label": "no payment for 60 days"},
}
NAMES = ("retail 2023", "retail 2024", "small business") if MODE == "several" else (MODE,)


def _open(path: Path) -> FakeWorkspace:
    return FakeWorkspace(path, **SUMMARIES.get(MODE, {}))


state.find_workspaces = lambda _: {name: Path("/nowhere") / name for name in NAMES}
state.Workspace = SimpleNamespace(open=broken_open if MODE == "broken" else _open)

__all__ = ["app"]
