"""A visitor without a browser, against a real server over the fake workspace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from dashboard.measure.session import Session, visitor
from lbsf_core.errors import LbsfError
from tests.browser.servers import fake_server


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with fake_server() as found:
        yield found


def run(address: str, steps: Callable[[Session], Awaitable[None]]) -> None:
    async def alone() -> None:
        async with visitor(address) as session:
            await steps(session)

    asyncio.run(alone())


def test_it_opens_pages_and_types(address: str):
    async def steps(session: Session) -> None:
        assert 0 < await session.visit("") < 60
        assert session.heading == "Portfolio"
        assert 0 < await session.enter("q_user", "U00") < 60
        assert 0 < await session.visit("user", user="U001") < 60
        assert 0 < await session.enter("user", "U002") < 60
        assert session.heading == "User U002"
        with pytest.raises(LbsfError, match="page user has no box with key 'q_user'"):
            await session.enter("q_user", "x")

    run(address, steps)


def test_what_goes_wrong_is_told(address: str):
    async def nowhere(session: Session) -> None:
        with pytest.raises(LbsfError, match="elsewhere shows a fault: there is no such page"):
            await session.visit("elsewhere")

    run(address, nowhere)

    async def nobody(_: Session) -> None:
        raise AssertionError("nobody is there")

    with pytest.raises(LbsfError, match="No dashboard answers"):
        run("http://127.0.0.1:9", nobody)


def test_a_page_that_shows_a_fault_is_an_error():
    with fake_server("faulty") as address:

        async def steps(session: Session) -> None:
            with pytest.raises(LbsfError, match=r"shows a fault: .*This page failed"):
                await session.visit("")

        run(address, steps)
