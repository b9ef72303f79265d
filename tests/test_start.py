from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lbsf_core.memory import TUNABLES, at_start, of_a_server

pytestmark = pytest.mark.skipif(not at_start(), reason="glibc's settings: Linux with glibc only")

#: `lbsf`, where the command line says what it was given instead of running.
SAYS = """
import os, sys, lbsf_core.cli as cli
cli.main = lambda: print(os.getpid(), os.environ["GLIBC_TUNABLES"] or "none", *sys.argv[1:])
from lbsf_core.start import main
main()
"""


def started(**environment: str) -> tuple[int, list[str]]:
    """The process's number, and what the command line said."""
    clean = {k: v for k, v in os.environ.items() if k != TUNABLES}
    child = subprocess.Popen(
        [sys.executable, "-c", SAYS, "score", "a b", "--prior=0.1"],
        env=clean | environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    out, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    return child.pid, out.split()


def test_it_begins_anew_with_the_settings_as_the_same_process_with_the_same_words() -> None:
    pid, said = started()
    assert said == [str(pid), at_start()[TUNABLES], "score", "a", "b", "--prior=0.1"]


def test_settings_of_the_users_own_stay() -> None:
    pid, said = started(**{TUNABLES: "glibc.malloc.arena_max=7"})
    assert said[:2] == [str(pid), "glibc.malloc.arena_max=7"]
    assert started(**{TUNABLES: ""})[1][1] == "none"


def test_the_settings_are_names_that_this_glibc_knows() -> None:
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    loader = next(line.split()[-1] for line in maps if "/ld-linux" in line)
    known = subprocess.run([loader, "--list-tunables"], capture_output=True, text=True, check=True)
    names = {line.split(":")[0] for line in known.stdout.splitlines()}
    for settings in (at_start(), of_a_server()):
        assert {part.split("=")[0] for part in settings[TUNABLES].split(":")} <= names
