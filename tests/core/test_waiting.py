"""Waiting as long as bytes move, until they rest, and for the first of several."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from cfcat.core import waiting
from cfcat.core.waiting import first_of, until_idle, while_moving

SHORT_S = 0.02


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "STALL_S", SHORT_S)


async def test_while_moving_waits_for_the_work() -> None:
    """As long as it takes, where each look finds that something has moved."""
    work: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    looks = itertools.count()

    def moved() -> int:
        count = next(looks)
        if count == 5:
            work.set_result(None)
        return count

    assert await while_moving(work, moved)
    assert next(looks) == 6


async def test_while_moving_gives_up_when_nothing_moves() -> None:
    """The work is left as it is."""
    work: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    began = time.monotonic()
    assert not await while_moving(work, lambda: 7)
    assert time.monotonic() - began >= SHORT_S
    assert not work.done()


async def test_while_moving_does_not_raise_what_the_work_raises() -> None:
    """The caller who awaits the work meets its error."""
    work: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    work.set_exception(ValueError("its own"))
    assert await while_moving(work, lambda: 7)
    with pytest.raises(ValueError, match="its own"):
        await work


@pytest.mark.parametrize("restless", ["moves", "nothing to be idle yet"])
async def test_until_idle_counts_from_the_last_movement(restless: str) -> None:
    """A change begins anew, and so does None."""
    looks = itertools.count()
    last = 0.0

    def moved() -> int | None:
        nonlocal last
        count = next(looks)
        if count < 15:
            last = time.monotonic()
            return count if restless == "moves" else None
        return 0

    await until_idle(SHORT_S, moved)
    assert time.monotonic() - last >= SHORT_S
    assert next(looks) > 15


async def test_first_of_several_is_the_outcome_of_all() -> None:
    """The others are cancelled, and have ended when it returns."""
    ended = []

    async def forever() -> int:
        never: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        try:
            return await never
        finally:
            ended.append(True)

    async def soon(value: int) -> int:
        await asyncio.sleep(0)
        return value

    async def wrong() -> int:
        raise ValueError("wrong")

    assert await first_of([forever(), soon(1), soon(2)]) == 1
    with pytest.raises(ValueError, match="wrong"):
        await first_of([forever(), wrong()])
    assert ended == [True, True]
