"""`PollLoop`: the event loop of pipe mode, six calls over poll(2). It loads nothing, and so starts at once.

asyncio's loop serves the library and the session by the same six calls (`core.loop`).
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from operator import itemgetter
from typing import Any, TypeVar

from cfcat.core.job import Job
from cfcat.core.loop import set_running_loop

__all__ = ["PollLoop"]

T = TypeVar("T")

# poll() takes milliseconds in a C int: a longer wait is several.
LONGEST_WAIT_S = 24 * 3600
READABLE, WRITABLE = select.POLLIN, select.POLLOUT


class _Call:
    """A call that is to come."""

    __slots__ = ("args", "callback")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.callback: Callable[..., object] | None = callback
        self.args = args

    def cancel(self) -> None:
        self.callback = None

    def __call__(self) -> None:
        if self.callback is not None:
            self.callback(*self.args)


class PollLoop:
    """As `core.loop.Loop`. `run()` turns it until a coroutine has ended.

    A turn waits until a descriptor is ready, a timer is due, or a call waits; then it calls back: first the calls that
    waited, then for descriptors and timers, and last the calls that these have asked for, which saves a turn. What a
    callback raises ends the run: it is a bug.
    """

    def __init__(self) -> None:
        self._poll = select.poll()
        self._readers: dict[int, Callable[[], object]] = {}
        self._writers: dict[int, Callable[[], object]] = {}
        self._soon: deque[_Call] = deque()
        self._timers: list[tuple[float, _Call]] = []  # a handful: a pipe has no more
        self._woken, self._wake = os.pipe()  # written to by other threads; -1: closed
        self._lock = threading.Lock()  # of the two
        for end in (self._woken, self._wake):
            os.set_blocking(end, False)
        self.add_reader(self._woken, self._sleep_again)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and all that it begins; return or raise what it does. The loop is closed then."""
        set_running_loop(self)
        job = Job(self, main)
        try:
            while not job.done():
                self._turn()
            return job.result()
        finally:
            job.cancel()
            set_running_loop(None)
            self._soon.clear()
            with self._lock:
                for end in (self._woken, self._wake):
                    os.close(end)
                self._wake = -1

    def _turn(self) -> None:
        events = self._poll.poll(self._wait_ms())
        self._call_waiting()
        for fd, ready in events:
            # An error or a hang-up is for both: the callback finds it out.
            if ready & ~WRITABLE and (read := self._readers.get(fd)) is not None:
                read()
            if ready & ~READABLE and (write := self._writers.get(fd)) is not None:
                write()
        if self._timers:
            self._call_due()
        self._call_waiting()

    def _call_waiting(self) -> None:
        """Make the calls that wait now; those that they ask for wait for the next time."""
        for _ in range(len(self._soon)):
            self._soon.popleft()()

    def _wait_ms(self) -> int | None:
        if self._soon:
            return 0
        if self._timers:  # those that were cancelled go
            self._timers = [timer for timer in self._timers if timer[1].callback is not None]
        if not self._timers:
            return None
        wait_s = min(when for when, _ in self._timers) - self.time()
        return max(0, -int(-min(wait_s, LONGEST_WAIT_S) * 1000 // 1))  # rounded up: no turn in vain

    def _call_due(self) -> None:
        now = self.time()
        due = sorted((timer for timer in self._timers if timer[0] <= now), key=itemgetter(0))
        self._timers = [timer for timer in self._timers if timer[0] > now]
        for _, call in due:
            call()

    # ---- the six calls

    def add_reader(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:
        """As `Loop.add_reader`."""
        self._watch(self._readers, fd, callback, args)

    def add_writer(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:
        """As `Loop.add_writer`."""
        self._watch(self._writers, fd, callback, args)

    def remove_reader(self, fd: Any) -> None:
        """As `Loop.remove_reader`."""
        self._unwatch(self._readers, fd)

    def remove_writer(self, fd: Any) -> None:
        """As `Loop.remove_writer`."""
        self._unwatch(self._writers, fd)

    def call_soon(self, callback: Callable[..., object], *args: Any) -> _Call:
        """As `Loop.call_soon`."""
        call = _Call(callback, args)
        self._soon.append(call)
        return call

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> _Call:
        """As `Loop.call_later`."""
        call = _Call(callback, args)
        self._timers.append((self.time() + delay, call))
        return call

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        """As `Loop.call_soon_threadsafe`."""
        with self._lock:
            if self._wake == -1:
                raise RuntimeError("the loop is closed")
            self._soon.append(_Call(callback, args))
            with contextlib.suppress(BlockingIOError):  # it has been woken often enough
                os.write(self._wake, b"\0")

    time = staticmethod(time.monotonic)

    # ---- descriptors

    def _watch(
        self, watched: dict[int, Callable[[], object]], fd: Any, callback: Callable[..., object], args: tuple[Any, ...]
    ) -> None:
        number = fd if isinstance(fd, int) else fd.fileno()
        watched[number] = _Call(callback, args) if args else callback
        self._register(number)

    def _unwatch(self, watched: dict[int, Callable[[], object]], fd: Any) -> None:
        number = fd if isinstance(fd, int) else fd.fileno()
        if watched.pop(number, None) is not None:
            self._register(number)

    def _register(self, number: int) -> None:
        wanted = READABLE * (number in self._readers) | WRITABLE * (number in self._writers)
        if wanted:
            self._poll.register(number, wanted)
        else:
            self._poll.unregister(number)

    def _sleep_again(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 4096)
