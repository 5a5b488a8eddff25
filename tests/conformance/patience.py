"""Waiting that counts the program's own time.

A wait is cut into slices, and each slice counts as no more than its length however late the program was woken
from it. So a wait is never shorter than asked for, and longer by as much as a busy machine kept the event loop
from running: what should settle in time is not blamed for a slow machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

__all__ = ["settles", "turns_true"]

SLICE_S = 0.02


async def settles(future: asyncio.Future[Any], within_ms: float) -> bool:
    """Wait for a future, without touching it; False when it has not settled within the time."""
    for _ in range(_slices(within_ms)):
        if future.done():
            break
        await asyncio.wait({future}, timeout=SLICE_S)
    return future.done()


async def turns_true(fact: Callable[[], bool], within_ms: float) -> bool:
    """Wait for a fact that no future tells of; False when it was not so within the time."""
    for _ in range(_slices(within_ms)):
        if fact():
            break
        await asyncio.sleep(SLICE_S)
    return fact()


def _slices(within_ms: float) -> int:
    return int(within_ms / 1000 / SLICE_S) + 1
