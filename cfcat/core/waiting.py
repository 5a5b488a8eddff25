"""Waiting: for a moment, for a descriptor, until one of several settles, under a deadline, as long as bytes move.

It knows promises and a count of bytes that somebody else keeps; the caller decides what to do after a timeout.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from cfcat.core.job import Job
from cfcat.core.loop import Loop, running_loop
from cfcat.core.promise import Promise

if TYPE_CHECKING:
    import asyncio
    import socket

__all__ = [
    "STALL_S",
    "in_time",
    "is_readable",
    "is_writable",
    "settled",
    "sleep",
    "until_idle",
    "while_moving",
]

T = TypeVar("T")

# What is queued at an end may still be taken: give up when nothing moves for so long. A peer that is slow but alive
# takes something within a second; a longer wait would annoy a user at a prompt.
STALL_S = 1.0
# How often the idle clock looks: fine enough to end within a tenth of what was asked for.
IDLE_LOOKS = 10


def sleep(seconds: float) -> Promise[None]:
    """Resolves after so many seconds."""
    return settled((), seconds)


def settled(work: Iterable[Promise[Any] | asyncio.Future[Any]], within_s: float | None = None) -> Promise[None]:
    """Resolves when one of these has settled, in one way or the other, or when so many seconds have passed."""
    return _Settled(running_loop(), tuple(work), within_s)


class _Settled(Promise[None]):
    __slots__ = ("_timer", "_work")

    def __init__(
        self, loop: Loop, work: tuple[Promise[Any] | asyncio.Future[Any], ...], within_s: float | None
    ) -> None:
        super().__init__(loop, _Settled._stop)  # type: ignore[arg-type]  # it is called with this promise
        self._work = work
        self._timer = None if within_s is None else loop.call_later(within_s, self._tell)
        for each in work:
            each.add_done_callback(self._tell)

    def _tell(self, _: object = None) -> None:
        self._stop()
        self.resolve(None)

    def _stop(self) -> None:
        for each in self._work:
            each.remove_done_callback(self._tell)
        if self._timer is not None:
            self._timer.cancel()


async def in_time(
    limit_s: float | None, work: Coroutine[Any, Any, T], *, lost: Callable[[T], object] | None = None
) -> T:
    """Do something under a deadline; None: without one.

    `lost` gets the result of work that was done in the moment in which the caller was cancelled.

    Raises:
        TimeoutError: it was not done after so many seconds, and is cancelled.
    """
    if limit_s is None:
        return await work
    job = Job(running_loop(), work)
    try:
        await settled([job], limit_s)
    except BaseException:
        if not job.done():
            job.cancel()
        elif lost is not None and job.exception() is None:
            lost(job.result())
        raise
    if job.done():
        return job.result()
    job.cancel()
    raise TimeoutError


def is_readable(loop: Loop, sock: socket.socket) -> Promise[None]:
    """Resolves when a read would not wait. Nobody else may be watching the descriptor for that."""
    return _ready(sock, loop.add_reader, loop.remove_reader, loop)


def is_writable(loop: Loop, sock: socket.socket) -> Promise[None]:
    """Resolves when a write would not wait. Nobody else may be watching the descriptor for that."""
    return _ready(sock, loop.add_writer, loop.remove_writer, loop)


def _ready(
    sock: socket.socket, watch: Callable[..., object], unwatch: Callable[[Any], object], loop: Loop
) -> Promise[None]:
    fd = sock.fileno()  # asyncio would make a text of the socket, each time, and not use it

    def tell() -> None:
        unwatch(fd)
        ready.resolve(None)

    ready: Promise[None] = Promise(loop, lambda _: unwatch(fd))
    watch(fd, tell)
    return ready


async def while_moving(work: Promise[Any] | asyncio.Future[Any], moved: Callable[[], object]) -> bool:
    """Wait for `work` as long as `moved()` keeps changing; False when it has not for STALL_S.

    `work` is left as it is: not cancelled, and its error not raised.
    """
    before: object = None
    while not work.done():
        now = moved()
        if now == before:
            return False
        before = now
        await settled([work], STALL_S)
    return True


async def until_idle(limit_s: float, moved: Callable[[], object]) -> None:
    """Return when `moved()` has not changed for `limit_s`. None counts as a change: there is nothing to be idle yet."""
    before, since = moved(), time.monotonic()
    while (still := time.monotonic() - since) < limit_s:
        await sleep(min(limit_s / IDLE_LOOKS, limit_s - still))
        now = moved()
        if now is None or now != before:
            before, since = now, time.monotonic()
