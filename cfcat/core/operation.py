"""`Operation`: what every call that takes time returns.

The call is made at once, in program order, as a JavaScript call that returns a promise; awaiting only waits.
An operation may be awaited any number of times (N3, D5), cancelling one waiter harms no other, and a failure
that nobody awaits is never reported as "exception was never retrieved".
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Generic, TypeVar

__all__ = ["Operation", "called_back", "fail", "handled", "in_daemon_thread", "resolve"]

T = TypeVar("T")


def handled(future: asyncio.Future[T]) -> asyncio.Future[T]:
    """Mark a future's exception as seen, whenever it comes."""
    future.add_done_callback(_look)
    return future


def _look(future: asyncio.Future[T]) -> None:
    if not future.cancelled():
        future.exception()


def resolve(future: asyncio.Future[T], value: T) -> None:
    """Settle a future with a value, unless it is settled."""
    if not future.done():
        future.set_result(value)


def fail(future: asyncio.Future[T], error: BaseException) -> None:
    """Settle a future with an error, unless it is settled."""
    if not future.done():
        future.set_exception(error)


async def called_back(watch: Callable[[Callable[[], object]], object], unwatch: Callable[[], object]) -> None:
    """Wait until what is watched calls back; it is not watched afterwards, nor after a cancellation."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    watch(lambda: resolve(future, None))
    try:
        await future
    finally:
        unwatch()


def in_daemon_thread(work: Callable[[], T], name: str) -> asyncio.Future[T]:
    """Do what cannot be interrupted in a thread of its own, which holds up neither a deadline nor the exit."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            tell(fail, future, error)
        else:
            tell(resolve, future, result)

    def tell(settle: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, *arguments)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


class Operation(Coroutine[Any, Any, T], Generic[T]):
    """The outcome of a call that has been made.

    A coroutine in asyncio's eyes, so that `create_task`, `wait_for`, `gather` and `timeout` take it.
    Cancelling a waiter leaves the operation as it is, unless `on_cancel` was given: it is called when the last
    waiter was cancelled, and undoes the call (a read gives its chunk back).
    """

    __slots__ = ("_future", "_on_cancel", "_steps", "_taken", "_waiters")

    def __init__(self, future: asyncio.Future[T], on_cancel: Callable[[asyncio.Future[T]], None] | None = None) -> None:
        self._future = future
        self._on_cancel = on_cancel
        self._waiters = 0
        self._taken = False
        self._steps: dict[asyncio.Task[Any] | None, Generator[Any, Any, T]] = {}

    def done(self) -> bool:
        """Has it settled?"""
        return self._future.done()

    def __await__(self) -> Generator[Any, Any, T]:
        self._waiters += 1
        try:
            if self._future.done():
                yield  # a loop of calls that succeed at once must not starve other tasks
            else:
                yield from asyncio.shield(self._future)
        except asyncio.CancelledError:
            if self._waiters == 1:
                self._undo()
            raise
        finally:
            self._waiters -= 1
        return self._result()

    def _undo(self) -> None:
        if self._on_cancel is not None and not self._taken and not self._future.cancelled():
            self._on_cancel(self._future)
            # Whoever awaits it again is told: the chunk is the next read's now.
            self._future = asyncio.get_running_loop().create_future()
            self._future.cancel()

    def _result(self) -> T:
        self._taken = True
        error = self._future.exception()
        if error is None:
            return self._future.result()
        # The same exception object may be raised to many waiters, each adding its own frames:
        # keep the traceback of none.
        raise error.with_traceback(None)

    # asyncio drives a coroutine by these; each task that waits has its own way through `__await__`.

    def send(self, value: Any, /) -> Any:
        return self._step(lambda waiting: waiting.send(value))

    def throw(self, typ: Any, val: object = None, tb: TracebackType | None = None, /) -> Any:
        task = asyncio.current_task()
        if task not in self._steps:
            # Cancelled before its first step: a generator that has not begun would not see it.
            if isinstance(typ, asyncio.CancelledError) and not self._waiters:
                self._undo()
            raise typ
        return self._step(lambda waiting: waiting.throw(typ))

    def close(self) -> None:
        waiting = self._steps.pop(asyncio.current_task(), None) if self._steps else None
        if waiting is not None:
            waiting.close()

    def _step(self, step: Callable[[Generator[Any, Any, T]], Any]) -> Any:
        task = asyncio.current_task()
        waiting = self._steps.get(task)
        if waiting is None:
            waiting = self._steps[task] = self.__await__()
        try:
            return step(waiting)
        except BaseException:
            del self._steps[task]
            raise
