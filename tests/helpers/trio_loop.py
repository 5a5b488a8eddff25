"""cfcat on trio: the six calls that the core asks of a loop, and a socket as one of trio's streams.

For tests alone. It shows that the core knows its loop by these calls only, and lets trio's checks look at its streams.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import trio

from cfcat import SocketError
from cfcat.core.loop import set_running_loop
from cfcat.core.promise import Promise
from cfcat.core.sockets import Socket

__all__ = ["SocketStream", "TrioLoop", "running_in_trio"]

T = TypeVar("T")
Wait = Callable[[Any], Awaitable[None]]


class _Handle:
    def __init__(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel

    def cancel(self) -> None:
        self._cancel()


class TrioLoop:
    """As `cfcat.core.loop.Loop`: a task for each descriptor that is watched, and for each timer."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._token = trio.lowlevel.current_trio_token()
        self._watched: dict[tuple[int, Wait], trio.CancelScope] = {}

    def add_reader(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:
        self._watch(trio.lowlevel.wait_readable, fd, partial(callback, *args))

    def add_writer(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:
        self._watch(trio.lowlevel.wait_writable, fd, partial(callback, *args))

    def remove_reader(self, fd: Any) -> None:
        self._unwatch(trio.lowlevel.wait_readable, fd)

    def remove_writer(self, fd: Any) -> None:
        self._unwatch(trio.lowlevel.wait_writable, fd)

    def call_soon(self, callback: Callable[..., object], *args: Any) -> _Handle:
        waiting = [partial(callback, *args)]
        self._token.run_sync_soon(lambda: waiting and waiting.pop()())
        return _Handle(waiting.clear)

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> _Handle:
        scope = trio.CancelScope()

        async def later() -> None:
            with scope:
                await trio.sleep(delay)
                callback(*args)

        self._nursery.start_soon(later)
        return _Handle(scope.cancel)

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        self._token.run_sync_soon(callback, *args)

    def time(self) -> float:
        return trio.current_time()

    def _watch(self, wait: Wait, fd: Any, callback: Callable[[], object]) -> None:
        self._unwatch(wait, fd)
        number = fd if isinstance(fd, int) else fd.fileno()
        scope = self._watched[number, wait] = trio.CancelScope()

        async def watch() -> None:
            with scope:
                while not scope.cancel_called:
                    try:
                        await wait(number)
                    except (trio.BusyResourceError, trio.ClosedResourceError):
                        await trio.lowlevel.checkpoint()  # the one before us has yet to leave; or the other direction
                    else:
                        if not scope.cancel_called:
                            callback()

        self._nursery.start_soon(watch)

    def _unwatch(self, wait: Wait, fd: Any) -> None:
        number = fd if isinstance(fd, int) else fd.fileno()
        if (scope := self._watched.pop((number, wait), None)) is not None:
            scope.cancel()
            trio.lowlevel.notify_closing(number)  # it may be closed next


@contextlib.asynccontextmanager
async def running_in_trio() -> AsyncIterator[None]:
    """While the block runs, cfcat's loop is trio's."""
    async with trio.open_nursery() as nursery:
        set_running_loop(TrioLoop(nursery))
        try:
            yield
        finally:
            set_running_loop(None)
            nursery.cancel_scope.cancel()


async def wait_for(promise: Promise[T]) -> T:
    """Await a promise in trio; being cancelled takes the call back, as it does in asyncio."""
    settled = trio.Event()
    promise.add_done_callback(lambda _: settled.set())
    try:
        await settled.wait()
    except trio.Cancelled:
        promise.cancel()
        raise
    return promise.result()


class SocketStream(trio.abc.HalfCloseableStream):
    """A socket of ours as trio wants a stream to be: one sender and one receiver at a time, and its errors."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self._reader = socket.readable.get_reader("byob")
        self._writer = socket.writable.get_writer()
        self._is_closed = self._has_ended = self._is_sending = self._is_receiving = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with self._one_sender(may_have_ended=False):
            await self._done(self._writer.write(data))

    async def wait_send_all_might_not_block(self) -> None:
        with self._one_sender(may_have_ended=False):
            await self._done(self._writer.ready)
            self._check_open()  # `ready` is also the end

    async def send_eof(self) -> None:
        with self._one_sender(may_have_ended=True):
            if self._has_ended:
                await trio.lowlevel.checkpoint()
                return
            self._has_ended = True
            await self._done(self._writer.close())

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        if self._is_receiving:
            raise trio.BusyResourceError
        self._check_open()
        self._is_receiving = True
        try:
            buffer = bytearray(65536 if max_bytes is None else max_bytes)
            size = await self._done(self._reader.read_into(buffer))
            return bytes(buffer[:size])
        finally:
            self._is_receiving = False

    async def aclose(self) -> None:
        if self._is_closed:
            await trio.lowlevel.checkpoint()
            return
        self._is_closed = True
        try:
            await wait_for(self.socket.close())
        except trio.Cancelled:
            self.socket.abort()
            raise

    @contextlib.contextmanager
    def _one_sender(self, *, may_have_ended: bool) -> Any:
        if self._is_sending:
            raise trio.BusyResourceError
        self._check_open()
        if self._has_ended and not may_have_ended:
            raise trio.ClosedResourceError
        self._is_sending = True
        try:
            yield
        finally:
            self._is_sending = False

    def _check_open(self) -> None:
        if self._is_closed:
            raise trio.ClosedResourceError

    async def _done(self, promise: Promise[T]) -> T:
        try:
            return await wait_for(promise)
        except SocketError as error:
            if self._is_closed:
                raise trio.ClosedResourceError from error
            raise trio.BrokenResourceError from error
