"""A dashboard over the fake workspace, with caches that no test leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import dashboard
from dashboard import state
from tests.dashboard.fake_workspace import FakeWorkspace

APP = Path(dashboard.__file__).with_name("app.py")
Open = Callable[..., AppTest]


@pytest.fixture(autouse=True)
def fresh_caches() -> None:
    st.cache_data.clear()
    st.cache_resource.clear()


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Open:
    """`open_page("user", user="U001")`: a page of the app over a fake workspace."""

    def open_(
        page: str,
        *,
        workspaces: tuple[str, ...] = ("demo",),
        opener: Callable[..., Any] | None = None,
        summary: dict[str, Any] | None = None,
        smallest: str = "1",
        **link: str,
    ) -> AppTest:
        found = {name: Path("/nowhere") / name for name in workspaces}
        monkeypatch.setenv(state.WORKSPACE_ENV, "/nowhere")
        monkeypatch.setenv(state.CASES_ENV, f"sqlite:///{tmp_path}/cases.db")
        monkeypatch.setenv(state.SMALLEST_ENV, smallest)  # the fake holds few samples
        monkeypatch.setattr(state, "find_workspaces", lambda _: found)
        fake = opener or (lambda path, verify: FakeWorkspace(path, **(summary or {})))
        monkeypatch.setattr(state, "Workspace", SimpleNamespace(open=fake))
        at = AppTest.from_file(str(APP), default_timeout=30)
        for name, value in link.items():
            at.query_params[name] = value
        at.run()
        if page != "portfolio":
            at.switch_page(f"app_pages/{page}.py")
            at.run()
        return at

    return open_
