"""The dashboard's own ASGI app, with the fake workspace put in the facade's place."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

from dashboard import state
from dashboard.asgi import app
from lbsf_core.workspace import Summary
from tests.dashboard.fake_workspace import FakeWorkspace, broken_open

MODE = Path(os.environ[state.WORKSPACE_ENV]).name
SUMMARIES: dict[str, dict[str, object]] = {
    "empty": {"samples": 0, "users": 0, "payments": 0, "labelled": 0, "bad": 0},
    "proxy": {"simulated": False, "proxy": True, "label": "no payment for 60 days"},
}
NAMES = ("retail 2023", "retail 2024", "small business") if MODE == "several" else (MODE,)


class _Faulty(FakeWorkspace):
    """Fails in a way that nobody thought of."""

    def summary(self) -> Summary:
        raise RuntimeError("a fault of ours")


def _open(path: Path, *, verify: bool | str = True) -> FakeWorkspace:
    kind = _Faulty if MODE == "faulty" else FakeWorkspace
    return kind(path, **SUMMARIES.get(MODE, {}))


state.find_workspaces = lambda _: {name: Path("/nowhere") / name for name in NAMES}
state.Workspace = SimpleNamespace(open=broken_open if MODE == "broken" else _open)

__all__ = ["app"]
