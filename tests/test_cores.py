"""Who gets how many cores for the model."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from lbsf_core import cores
from lbsf_core.cores import LONG, THREADS, shared_out


@pytest.fixture(autouse=True)
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two cores, and what the system says that they do: nothing but this."""
    before = torch.get_num_threads()
    monkeypatch.setattr(cores, "cores", lambda: 2)
    monkeypatch.setenv(THREADS, "1")
    path = tmp_path / "loadavg"
    path.write_text("0.20 0.18 0.12 1/312 4711\n")
    monkeypatch.setattr(cores, "_LOAD", path)
    yield path
    torch.set_num_threads(before)


def threads(payments: int) -> int:
    with shared_out(payments):
        return torch.get_num_threads()


def test_a_long_history_has_two_while_nobody_else_asks() -> None:
    assert threads(LONG) == 2
    assert threads(LONG - 1) == 1
    with shared_out(0), ThreadPoolExecutor(1) as other:
        assert other.submit(threads, LONG).result() == 1
    assert threads(LONG) == 2


def test_a_core_that_works_for_others_is_not_waited_for(load: Path) -> None:
    load.write_text("0.20 0.18 0.12 2/312 4711\n")
    assert threads(LONG) == 1
    load.write_text("0.20 0.18 0.12 1/312 4711\n")
    assert threads(LONG) == 2


@pytest.mark.parametrize("told", [None, "", "0.20 0.18 0.12", "0.20 0.18 0.12 many 1"])
def test_a_system_that_says_nothing_is_taken_to_be_idle(load: Path, told: str | None) -> None:
    load.unlink() if told is None else load.write_text(told)
    assert threads(LONG) == 2


def test_afterwards_there_is_one_again_however_it_went() -> None:
    with pytest.raises(ZeroDivisionError), shared_out(LONG):
        _ = 1 / 0
    assert torch.get_num_threads() == 1
    assert threads(LONG) == 2


@pytest.mark.parametrize(("chosen", "count"), [("3", 2), ("1", 1)])
def test_what_somebody_chose_stays_and_one_core_is_one(
    chosen: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(3)
    monkeypatch.setenv(THREADS, chosen)
    monkeypatch.setattr(cores, "cores", lambda: count)
    assert threads(LONG) == 3
