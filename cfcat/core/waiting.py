"""Waiting: as long as bytes move, until they have not moved for a while, for the first of several.

It knows futures and a count of bytes that somebody else keeps; what is done when the waiting was in vain is the
caller's affair.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

__all__ = ["STALL_S", "first_of", "until_idle", "while_moving"]

T = TypeVar("T")

# What is queued at an end may still be taken: give up when nothing moves for so long. A peer that is slow but alive
# takes something within a second; who waits at a prompt notices more.
STALL_S = 1.0
# How often the idle clock looks: fine enough to end within a tenth of what was asked for.
IDLE_LOOKS = 10


async def while_moving(work: asyncio.Future[Any], moved: Callable[[], object]) -> bool:
    """Wait for `work` as long as `moved()` keeps changing; False when it has not for STALL_S.

    `work` is left as it is: not cancelled, and its error not raised.
    """
    before: object = None
    while not work.done():
        now = moved()
        if now == before:
            return False
        before = now
        await asyncio.wait({work}, timeout=STALL_S)
    return True


async def until_idle(limit_s: float, moved: Callable[[], object]) -> None:
    """Return when `moved()` has not changed for `limit_s`. None counts as a change: there is nothing to be idle yet."""
    before, since = moved(), time.monotonic()
    while (still := time.monotonic() - since) < limit_s:
        await asyncio.sleep(min(limit_s / IDLE_LOOKS, limit_s - still))
        now = moved()
        if now is None or now != before:
            before, since = now, time.monotonic()


async def first_of(work: Iterable[Coroutine[Any, Any, T]]) -> T:
    """Run all side by side until one ends: its result or error is that of all, and the others are cancelled.

    Of those that end at the same time, the first in order counts.
    """
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task in done).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
