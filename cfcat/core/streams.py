"""What the two streams have in common: whom they ask, how they end, the words of their refusals.

The texts are the reference's (RULES.md, API-R4 to API-R8, W3, W5, W7, C5-C11).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from cfcat.core.lifecycle import Event, Reading, Writing
from cfcat.core.operation import Operation, fail, handled, resolve

__all__ = ["Incoming", "Outcome", "Outgoing", "Owner", "new_future", "rejected", "resolved"]

READER_LOCKED = "This ReadableStream is currently locked to a reader."
WRITER_LOCKED = "This WritableStream is currently locked to a writer."
READER_RELEASED = "This ReadableStream reader has been released."
WRITER_RELEASED = "This WritableStream writer has been released."
ONE_READ = "This ReadableStream only supports a single pending read request at a time."
READ_OUTSTANDING = "Cannot call releaseLock() on a reader with outstanding read promises."
EMPTY_BUFFER = 'You must call read() on a "byob" reader with a positive-sized TypedArray object.'
READABLE_CLOSING = "This ReadableStream belongs to an object that is closing."
WRITABLE_CLOSING = "This WritableStream belongs to an object that is closing."
WRITABLE_CLOSED = "This WritableStream has been closed."
SOCKET_CLOSED = "This socket has been closed."
NOT_BYTES = (
    "This TransformStream is being used as a byte stream, but received an object of "
    "non-ArrayBuffer/ArrayBufferView type on its writable side."
)


class Incoming(Protocol):
    """Where a readable's bytes come from: `receiving.Receiving`, which imports the readable."""

    def pull(self) -> None: ...  # a read waits
    def take_into(self, buffer: memoryview) -> int | None: ...
    def answer(self) -> None: ...  # sends the TLS answers (alerts, KeyUpdate) that a read produced
    def receive_by(self, move: Callable[[int], int]) -> int | None: ...
    def watch(self, callback: Callable[[], object] | None) -> None: ...


class Outgoing(Protocol):
    """Where a writable's bytes go: `sending.Sending`, which imports the writable."""

    def push(self) -> None: ...  # a write waits
    def push_now(self) -> None: ...  # like push(), but settles finished writes before it returns
    def send_by(self, move: Callable[[int], int]) -> int | None: ...


class Owner(Protocol):
    """The socket that a stream belongs to: `sockets.Socket`, which imports the streams."""

    @property
    def reading(self) -> Reading: ...
    @property
    def writing(self) -> Writing: ...
    @property
    def error(self) -> BaseException: ...  # why the socket failed
    @property
    def receiving(self) -> Incoming: ...
    @property
    def sending(self) -> Outgoing: ...
    def on(self, event: Event) -> None: ...


def new_future() -> asyncio.Future[None]:
    return handled(asyncio.get_running_loop().create_future())


def resolved() -> Operation[None]:
    future = new_future()
    future.set_result(None)
    return Operation(future)


def rejected(error: BaseException) -> Operation[None]:
    future = new_future()
    future.set_exception(error)
    return Operation(future)


class Outcome:
    """How a stream ended, for `closed` of each of its readers or writers, one after the other."""

    def __init__(self) -> None:
        self._settle: Callable[[asyncio.Future[None]], None] | None = None
        self.holder: asyncio.Future[None] | None = None

    @property
    def settled(self) -> bool:
        return self._settle is not None

    def future(self) -> asyncio.Future[None]:
        """The `closed` of a new holder of the lock."""
        self.holder = new_future()
        if self._settle is not None:
            self._settle(self.holder)
        return self.holder

    def end(self, error: BaseException | None = None) -> None:
        """Settle, once: in order, or with an error."""
        if self._settle is None:
            self._settle = (lambda f: resolve(f, None)) if error is None else (lambda f: fail(f, error))
            if self.holder is not None:
                self._settle(self.holder)
