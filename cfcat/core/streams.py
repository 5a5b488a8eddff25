"""What the two streams have in common: their owner's interface, their end, and the texts of their errors.

The texts are the reference's (RULES.md, API-R4 to API-R8, W3, W5, W7, C5-C11).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Protocol

from cfcat.core.lifecycle import Event, Reading, Writing
from cfcat.core.loop import Loop
from cfcat.core.promise import Promise

__all__ = ["Ended", "Incoming", "Outcome", "Outgoing", "Owner"]

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
    def settle_writes(self) -> None: ...  # those that are sent
    def push_now(self) -> None: ...  # like push(), but settles finished writes before it returns
    def send_by(self, move: Callable[[int], int]) -> int | None: ...


class Owner(Protocol):
    """The socket that a stream belongs to: `sockets.Socket`, which imports the streams."""

    @property
    def loop(self) -> Loop: ...
    @property
    def error(self) -> BaseException: ...  # why the socket failed
    @property
    def reading(self) -> Reading: ...
    @property
    def writing(self) -> Writing: ...
    @property
    def receiving(self) -> Incoming | None: ...  # None: it has ended, and nothing is left
    @property
    def sending(self) -> Outgoing | None: ...  # None: as above
    def on(self, event: Event) -> None: ...
    def drained(self) -> None: ...  # nothing is left to read


class Ended:
    """What streams know of their socket once it has ended, in place of it: so they do not keep it alive, nor it them.

    It is a snapshot. An event that still changes something, such as `close()` after both EOFs, makes a new one.
    """

    receiving = None
    sending = None

    def __init__(self, owner: Owner) -> None:
        self.loop = owner.loop
        self.reading = owner.reading
        self.writing = owner.writing
        self.error = owner.error
        self._owner = weakref.ref(owner)

    def __repr__(self) -> str:
        owner = self._owner()
        return "<Socket, gone>" if owner is None else repr(owner)

    def on(self, event: Event) -> None:
        """Tell the socket, if there is one."""
        owner = self._owner()
        if owner is not None:
            owner.on(event)

    def drained(self) -> None:
        """It is known."""


class Outcome:
    """How a stream ended, for `closed` of each of its readers or writers, one after the other."""

    def __init__(self) -> None:
        self.settled = False
        self._error: BaseException | None = None
        self._holder: Promise[None] | None = None

    def promise(self, loop: Loop) -> Promise[None]:
        """`closed` for a new reader or writer."""
        self._holder = Promise(loop)
        if self.settled:
            self._settle(self._holder)
        return self._holder

    def end(self, error: BaseException | None = None) -> None:
        """Settle, once: in order, or with an error."""
        if not self.settled:
            self.settled, self._error = True, error
            if self._holder is not None:
                self._settle(self._holder)

    def _settle(self, holder: Promise[None]) -> None:
        if self._error is None:
            holder.resolve(None)
        else:
            holder.reject(self._error)
