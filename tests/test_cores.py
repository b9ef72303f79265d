"""Who gets how many cores for the model."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from lbsf_core import cores
from lbsf_core.cores import LONG, THREADS, shared_out


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    monkeypatch.setattr(cores, "cores", lambda: 2)
    monkeypatch.setenv(THREADS, "1")
    yield
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
