"""Waiting as long as bytes move, until they rest, under a deadline, and for one of several to settle."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time

import pytest

from cfcat.core import waiting
from cfcat.core.loop import running_loop
from cfcat.core.promise import Promise
from cfcat.core.waiting import in_time, is_readable, is_writable, settled, sleep, until_idle, while_moving

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


async def test_sleep_lasts_as_long_as_it_is_told() -> None:
    """And no shorter."""
    began = time.monotonic()
    await sleep(SHORT_S)
    assert time.monotonic() - began >= SHORT_S


async def test_settled_is_told_of_the_first() -> None:
    """Whatever becomes of it; the others are left alone, and so is its error."""
    loop = running_loop()
    work: list[Promise[None]] = [Promise(loop) for _ in range(3)]
    loop.call_later(0.001, work[1].reject, ValueError("its own"))
    await settled(work, 10)
    assert [each.done() for each in work] == [False, True, False]
    await settled(work, 10)  # one that has settled before


async def test_settled_waits_no_longer_than_it_is_told() -> None:
    """What has not settled then is as it was."""
    work: Promise[None] = Promise(running_loop())
    began = time.monotonic()
    await settled([work], SHORT_S)
    assert time.monotonic() - began >= SHORT_S
    assert not work.done()


async def test_work_in_time_is_as_without_a_deadline() -> None:
    """Its value, or its error."""

    async def soon(value: int) -> int:
        await sleep(0)
        if not value:
            raise ValueError("its own")
        return value

    assert await in_time(10, soon(7)) == 7
    assert await in_time(None, soon(7)) == 7
    for limit_s in (10, None):
        with pytest.raises(ValueError, match="its own"):
            await in_time(limit_s, soon(0))


async def until_cancelled(ended: list[bool]) -> None:
    try:
        await Promise(running_loop())
    finally:
        ended.append(True)


async def test_work_that_is_late_is_cancelled() -> None:
    """It has ended when the error is raised."""
    ended = list[bool]()
    with pytest.raises(TimeoutError):
        await in_time(SHORT_S, until_cancelled(ended))
    assert ended == [True]


async def test_cancelling_who_waits_cancels_the_work() -> None:
    """With a deadline as without one."""
    ended = list[bool]()
    for limit_s in (10, None):
        task = asyncio.create_task(in_time(limit_s, until_cancelled(ended)))
        await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert ended == [True, True]


async def test_a_descriptor_is_waited_for() -> None:
    """And watched no longer than that; cancelling ends it too."""
    loop = running_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        await is_writable(loop, ours)
        readable = is_readable(loop, ours)
        await settled([readable], 0.001)
        assert not readable.done()
        theirs.send(b"x")
        await settled([readable], 10)
        assert readable.done()
        again = is_writable(loop, ours)
        assert again.cancel()
        assert not asyncio.get_running_loop().remove_reader(ours)
        assert not asyncio.get_running_loop().remove_writer(ours)
