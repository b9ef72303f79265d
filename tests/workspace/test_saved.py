"""Saved cohorts in SQLite and in a real PostgreSQL, written by many at once."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbsf_core.errors import WorkspaceError
from lbsf_core.workspace.saved import NAME_LENGTH, SavedCohorts, filter_of, filter_values
from lbsf_core.workspace.types import BANDS, SampleFilter

WIDE = SampleFilter(
    merchants=("casino", "'; DROP TABLE saved_cohort; --"),
    pd_min=0.25,
    labels=("bad",),
    bands=("high",),
    cutoff_from=date(2024, 1, 1),
    ids=("U1", "U2"),
    area=((0.0, 1.5), (2.0, -1.0), (3.0, 3.0)),
)
_SERVERS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a PostgreSQL server of our own; it refuses to run as root."""
    if not _SERVERS:
        pytest.skip("no PostgreSQL server is installed (Debian: postgresql)")
    root = os.geteuid() == 0
    if root and not shutil.which("runuser"):
        pytest.skip("PostgreSQL does not run as root, and runuser is not there")
    folder = tmp_path_factory.mktemp("postgres")
    folder.chmod(0o777)
    for parent in folder.parents:
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    who = ["runuser", "-u", "postgres", "--"] if root else []
    data, tools = folder / "data", _SERVERS[-1].parent

    def run(*command: object) -> None:
        line = [*who, *map(str, command)]
        subprocess.run(line, check=True, capture_output=True, cwd=folder, timeout=60)

    run(tools / "initdb", "-D", data, "-U", "lbsf", "-A", "trust")
    options = f"-c listen_addresses= -c unix_socket_directories={folder}"
    run(tools / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start")
    yield f"postgresql+psycopg://lbsf@/postgres?host={folder}"
    run(tools / "pg_ctl", "-D", data, "-m", "immediate", "stop")


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/cases.db"
    return str(request.getfixturevalue("postgres"))


def test_a_cohort_comes_back_as_it_was_saved(url: str) -> None:
    saved, before = SavedCohorts(url), datetime.now(UTC)
    saved.save("one", " Watch list ", WIDE, "Ada")
    saved.save("other", "Watch list", SampleFilter(), "Bo")
    (found,) = SavedCohorts(url).all("one")  # opened anew
    assert (found.name, found.chosen, found.by) == ("Watch list", WIDE, "Ada")
    assert abs((found.at - before).total_seconds()) < 60
    saved.save("one", "Watch list", SampleFilter(), "Cy")  # the last one counts
    assert [one.by for one in saved.all("one")] == ["Cy"]
    saved.delete("one", "Watch list")
    saved.delete("one", "never there")
    assert saved.all("one") == []
    assert len(saved.all("other")) == 1
    saved.delete("other", "Watch list")


@pytest.mark.parametrize("name", ["", "  ", "x" * (NAME_LENGTH + 1)])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(WorkspaceError, match="1 to 40 characters"):
        SavedCohorts(f"sqlite:///{tmp_path}/cases.db").save("w", name, WIDE, "Ada")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("no url", "can't be reached"),
        ("oracles://x", "can't be reached"),
        ("sqlite:////no/such/folder/cases.db", "Look whether it is there"),
        ("postgresql+psycopg://lbsf@127.0.0.1:9/none", "Look whether it is there"),
    ],
)
def test_a_database_that_is_not_there_is_told(wrong: str, told: str) -> None:
    with pytest.raises(WorkspaceError, match=told):
        SavedCohorts(wrong)


def test_a_password_is_not_told() -> None:
    with pytest.raises(WorkspaceError) as caught:
        SavedCohorts("postgresql+psycopg://lbsf:secret@127.0.0.1:9/none")
    assert "secret" not in str(caught.value)


def test_a_condition_of_another_version_is_told() -> None:
    with pytest.raises(WorkspaceError, match="'moon'"):
        filter_of({"moon": 1})


FILTERS = st.builds(
    SampleFilter,
    user=st.text(max_size=5),
    merchants=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    pd_min=st.floats(0, 1),
    labels=st.lists(st.sampled_from(["good", "bad"])).map(tuple),
    bands=st.lists(st.sampled_from(BANDS)).map(tuple),
    payments_max=st.none() | st.integers(0, 9999),
    cutoff_to=st.none() | st.dates(),
    ids=st.none() | st.lists(st.text(max_size=5), max_size=3).map(tuple),
    area=st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), max_size=4).map(tuple),
)


@given(FILTERS)
def test_any_filter_survives_json(chosen: SampleFilter) -> None:
    assert filter_of(filter_values(chosen)) == chosen


def _save_many(url: str, writer: int) -> None:
    saved = SavedCohorts(url)
    for number in range(20):
        saved.save("w", f"{writer}-{number}", WIDE, str(writer))


def test_writers_in_several_processes_lose_nothing(url: str) -> None:
    with ProcessPoolExecutor(3, get_context("spawn")) as pool:
        list(pool.map(_save_many, [url] * 3, range(3)))
    assert len(SavedCohorts(url).all("w")) == 60
