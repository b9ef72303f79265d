"""The server's start: ports, addresses, errors."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from dashboard import serve as serving
from lbsf_core.errors import LbsfError, WorkspaceError
from lbsf_core.memory import TUNABLES, at_start, of_a_server


@pytest.fixture
def taken_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield held.getsockname()[1]


def test_a_taken_port_says_what_to_do(taken_port):
    with pytest.raises(LbsfError, match=rf"Port {taken_port} .* is taken.*--port"):
        serving._listen("127.0.0.1", taken_port)


def test_without_a_port_a_free_one_is_found(taken_port, monkeypatch):
    monkeypatch.setattr(serving, "FIRST_PORT", taken_port)
    with serving._listen("127.0.0.1", None) as found:
        assert found.getsockname()[1] > taken_port
        with socket.create_connection(found.getsockname()):  # it listens
            pass


def test_a_folder_without_workspace_is_refused_before_the_server_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(serving.subprocess, "Popen", lambda *_, **__: pytest.fail("started"))
    with pytest.raises(WorkspaceError, match="no workspace"):
        serving.serve(tmp_path)


def test_the_address_is_one_that_a_browser_understands():
    assert serving._name("0.0.0.0") == "127.0.0.1"  # noqa: S104
    assert serving._name("::1") == "[::1]"


def test_only_the_loopback_address_limits_the_names_it_answers_to():
    assert any("allowedHosts" in part for part in serving._command("127.0.0.1", 1))
    assert not any("allowedHosts" in part for part in serving._command("10.0.0.4", 1))


@pytest.mark.skipif(not at_start(), reason="glibc's settings: Linux with glibc only")
def test_a_server_has_memory_settings_of_its_own_but_where_somebody_chose_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in at_start().items():  # as under `lbsf dashboard`
        monkeypatch.setenv(name, value)
    assert at_start()[TUNABLES] != of_a_server()[TUNABLES]
    assert serving.environment(Path("w"))[TUNABLES] == of_a_server()[TUNABLES]
    monkeypatch.setenv(TUNABLES, "glibc.malloc.arena_max=7")
    assert serving.environment(Path("w"))[TUNABLES] == "glibc.malloc.arena_max=7"
    assert set(os.environ) <= set(serving.environment(Path("w")))
