"""`writable`: the stream of what goes to the peer, with one writer at a time.

It holds the queue of writes and the lock; it decides nothing: what a write meets is asked of the lifecycle
(`writing`), bytes go to the wire, both through `Owner`.

Source: RULES.md, W1-W11, H3, C5-C11, S6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from cfcat.core.codec import Buffer
from cfcat.core.lifecycle import Event, Writing
from cfcat.core.loop import Loop
from cfcat.core.promise import PENDING, RESOLVED, Promise, is_others_turn
from cfcat.core.spelling import Spelt
from cfcat.core.streams import (
    NOT_BYTES,
    SOCKET_CLOSED,
    WRITABLE_CLOSED,
    WRITABLE_CLOSING,
    WRITER_LOCKED,
    WRITER_RELEASED,
    Outcome,
    Outgoing,
    Owner,
)
from cfcat.errors import AbortError, ClosedError, LockError, WrongTypeError

__all__ = ["WritableStream", "WritableStreamWriter", "Write"]

DEFAULT_HIGH_WATER_BYTES = 1  # O4
FLOWING = Writing.FLOWING  # asked for each chunk: an attribute of an Enum costs more than a name of the module
AT_ONCE: Iterator[Any] = iter(())  # awaiting it gives None


class Write(Promise[None]):
    """A chunk on its way, and what is left of it. It is settled in the turn after it was sent (W4), or as soon as
    somebody awaits it."""

    __slots__ = ("_sending", "data", "size")

    def __init__(self, loop: Loop, data: memoryview, sending: Outgoing) -> None:
        Promise.__init__(self, loop)  # for each chunk: half the price of `super()`
        self.data = data
        self.size = len(data)
        self._sending = sending

    def __await__(self) -> Iterator[Any]:  # type: ignore[override]  # as good as a generator: nobody sends into it
        if self._state is PENDING:
            self._sending.settle_writes()
        if self._state is RESOLVED and not next(is_others_turn):
            return AT_ONCE
        return super().__await__()


class WritableStream(Spelt, instead={"write": "get_writer().write()"}):
    """The bytes for the peer. Writes queue, also before `opened`, and are sent in order (W4).

    States: free, or held by one writer or pipe; then ended, once, in order or with an error (`outcome`). What a write
    meets is the lifecycle's to say (`owner.writing`).

    Invariants:
        - `queued_bytes` is the size of all writes that have not settled.
        - Each write settles once: when the kernel has all of it, or with the error that dropped it.
        - The error of a broken connection is told once; later uses say that the stream was closed (N7, W10).

    The application and the writers call `get_writer()`, `close()`, `abort()` and what they stand on; `Sending` takes
    from the queue and calls `sent()`; `Socket` calls `ended()`, `drop()`, `released()` and `socket_closed()`; pipe mode
    has the non-blocking path.
    """

    def __init__(self, owner: Owner, high_water_bytes: int | None) -> None:
        self.owner = owner  # the socket; later what is left of it
        self._high_water = DEFAULT_HIGH_WATER_BYTES if high_water_bytes is None else high_water_bytes
        self._lock: object | None = None  # the writer's too; a reference to the writer would make a circle
        self._ready: list[Promise[None]] = []
        self._ending: Promise[None] | None = None
        self._failure_told = False  # N7, W10: the error is told once, then "has been closed"
        self._closing_lock: object | None = None
        self.pipe: Promise[None] | None = None  # that writes here, while it is under way
        self.queue: list[Write] = []  # mostly empty: a deque is 600 bytes even so
        self.queued_bytes = 0
        self.abort_reason: BaseException | None = None
        self.outcome = Outcome()

    def __repr__(self) -> str:
        return f"<WritableStream of {self.owner!r}, {'locked' if self.locked else 'unlocked'}>"

    @property
    def locked(self) -> bool:
        """Is a writer or a pipe attached? For good after `start_tls()` (S6)."""
        return self._lock is not None or self.owner.writing is Writing.RELEASED

    def get_writer(self) -> WritableStreamWriter:
        """Lock the stream to a new writer. Works before `opened` and after `close()` alike (W4, C8).

        Raises:
            LockError: it is locked (W5).
        """
        if self.locked:
            raise LockError(WRITER_LOCKED)
        self._lock = object()
        return WritableStreamWriter(self, self._lock)

    def close(self) -> Promise[None]:
        """End our side: as `WritableStreamWriter.close()`, but resolves when it has ended already (W7).

        Rejects with `LockError` while a writer is held.
        """
        if self.locked:
            return Promise.rejected(self.owner.loop, LockError(WRITER_LOCKED))
        if self.owner.writing is Writing.CLOSING:
            return Promise.rejected(self.owner.loop, ClosedError(SOCKET_CLOSED))  # C10
        if self._ending is not None:
            return self._ending
        return self._end()

    def abort(self, reason: object = None) -> Promise[None]:
        """Drop what is queued: as `WritableStreamWriter.abort()`. Rejects with `LockError` while one is held."""
        if self.locked:
            return Promise.rejected(self.owner.loop, LockError(WRITER_LOCKED))
        return self._abort(reason)

    # ---- the wire's side

    def sent(self, count: int) -> None:
        """The first writes of the queue have been handed to the kernel (W4)."""
        writes = self.queue[:count]
        del self.queue[:count]
        for write in writes:
            self.queued_bytes -= write.size
            write.resolve(None)
        if self._ready:
            self._tell_ready()

    def ended(self) -> None:
        """Our EOF has been sent."""
        if self._ending is not None:
            self._ending.resolve(None)
        self.outcome.end()
        self._tell_ready()

    def drop(self, error: BaseException) -> None:
        """Forget what is queued; every write that waits fails, and `closed` with it."""
        self._failure_told = bool(self.queue) or self._ending is not None or self._failure_told
        for write in self.queue:
            write.reject(error)
        self.queue.clear()
        self.queued_bytes = 0
        if self._ending is not None:
            self._ending.reject(error)
        self.outcome.end(error)
        self._tell_ready()

    def released(self, error: BaseException) -> None:
        """The upgrade took the lock away; writes that are queued still go out (S7, V8)."""
        self.outcome.end(error)
        self._tell_ready()

    def socket_closed(self) -> None:
        """The socket's `close()` is complete: `closed` of the writer says so, locks stay (C5)."""
        self._closing_lock = self._lock
        self.outcome.end(ClosedError(SOCKET_CLOSED))
        self._tell_ready()

    # ---- the non-blocking send path, used by pipe mode: the caller holds the lock

    def offer(self, chunk: memoryview) -> Promise[None] | None:
        """As `WritableStreamWriter.write()`; None where the kernel has taken the chunk at once.

        Otherwise the chunk is queued, is to be left alone, and the promise settles as that of a write.
        """
        sending = self._outgoing()
        write = self._enqueue(chunk, sending)
        sending.push_now()
        if not write.done():
            return write
        if (error := write.exception()) is not None:
            raise error
        return None

    def send_by(self, move: Callable[[int], int]) -> int | None:
        """Send by a call of the kernel's that takes the socket's descriptor, and returns 0 at the source's EOF.

        None: these descriptors cannot be joined; use `offer()`.

        Raises:
            BlockingIOError: no data, or no room. To wait for room, call `offer()`.
            Otherwise as `offer()`.
        """
        count = self._outgoing().send_by(move)
        if count is None:
            self._outgoing()  # the connection may have been found broken
        return count

    def _outgoing(self) -> Outgoing:
        """Where bytes go. Raises why none are taken."""
        refusal = self._refusal(None)
        if refusal is not None:
            raise refusal
        sending = self.owner.sending
        assert sending is not None, "whoever may write has a connection"
        return sending

    # ---- the writers' side

    @property
    def _desired_bytes(self) -> int:
        return self._high_water - self.queued_bytes if self.owner.writing is Writing.FLOWING else 0

    def _refusal(self, lock: object | None) -> BaseException | None:
        """Why a write or an end is refused now, or None."""
        meets = self.owner.writing
        if meets is FLOWING:
            return None
        if meets is Writing.FAILED and not self._failure_told:
            self._failure_told = True
            return self.owner.error
        if meets is Writing.CLOSING and (lock is None or lock is not self._closing_lock):
            return ClosedError(WRITABLE_CLOSING)  # C7
        return ClosedError(WRITABLE_CLOSED)

    def _write(self, chunk: Buffer, lock: object) -> Promise[None]:
        owner = self.owner
        if owner.writing is Writing.RELEASED:
            return Promise.rejected(owner.loop, ClosedError(WRITER_RELEASED))
        try:
            data = memoryview(chunk) if type(chunk) is bytes else memoryview(chunk).cast("B")
        except TypeError:
            # V4, W3: the stream goes on working
            return Promise.rejected(
                owner.loop, WrongTypeError(NOT_BYTES, f"a chunk is bytes-like, not {type(chunk).__name__}")
            )
        if owner.writing is not FLOWING and (refusal := self._refusal(lock)) is not None:
            return Promise.rejected(owner.loop, refusal)
        if not data:
            return Promise.resolved(owner.loop, None)  # W2
        sending = owner.sending
        assert sending is not None, "whoever may write has a connection"
        write = self._enqueue(data, sending)
        sending.push()
        return write

    def _enqueue(self, data: memoryview, sending: Outgoing) -> Write:
        write = Write(self.owner.loop, data, sending)
        self.queue.append(write)
        self.queued_bytes += write.size
        return write

    def _end(self, lock: object | None = None) -> Promise[None]:
        if self._ending is not None and not self._ending.done():
            return self._ending  # W7: a second close() waits for the first
        refusal = self._refusal(lock)
        if refusal is not None:
            return Promise.rejected(self.owner.loop, refusal)
        self._ending = Promise(self.owner.loop)
        self.owner.on(Event.END)
        return self._ending

    def _abort(self, reason: object, event: Event = Event.ABORT) -> Promise[None]:
        if self.owner.writing not in (Writing.FAILED, Writing.RELEASED):
            self.abort_reason = reason if isinstance(reason, BaseException) else AbortError(reason)
            self.owner.on(event)
        return Promise.resolved(self.owner.loop, None)

    def _tell_ready(self) -> None:
        if not self._ready:
            return
        if self._desired_bytes > 0 or self.owner.writing is not Writing.FLOWING:
            for promise in self._ready:
                promise.resolve(None)
            self._ready.clear()


class WritableStreamWriter(Spelt, instead={"drain": "await write()", "write_eof": "close()"}):
    """The writer that holds the stream's lock."""

    def __init__(self, stream: WritableStream, lock: object) -> None:
        self._lock = lock
        self._stream: WritableStream | None = stream
        self._loop = stream.owner.loop
        self._closed = stream.outcome.promise(self._loop)

    @property
    def closed(self) -> Promise[None]:
        """Resolves when our EOF was sent; rejects with the reason, the error or `ClosedError` (W8, W10, C5)."""
        if self._attached is None:
            return Promise.rejected(self._loop, ClosedError(WRITER_RELEASED))
        return self._closed

    @property
    def ready(self) -> Promise[None]:
        """Resolves when `desired_size` is positive, or there is nothing to wait for any more (W11)."""
        stream = self._attached
        if stream is None:
            return Promise.rejected(self._loop, ClosedError(WRITER_RELEASED))
        promise: Promise[None] = Promise(self._loop)
        stream._ready.append(promise)
        stream._tell_ready()
        return promise

    @property
    def desired_size(self) -> int:
        """Bytes that should be written now: high-water mark less what is queued; may be negative (O4).

        Advice only, no write is refused. 0 after the end (W7).
        """
        stream = self._attached
        return 0 if stream is None else stream._desired_bytes

    def write(self, chunk: Buffer) -> Promise[None]:
        """Queue a bytes-like chunk; resolves when all of it has been handed to the kernel (W4).

        The chunk is not copied: leave it alone until then. An empty one sends nothing (W2). Cancelling the wait
        does not take it back.

        Raises:
            WrongTypeError: it is not bytes-like (V4); the stream goes on working.
            ClosedError: after `close()`, `release_lock()`, `start_tls()`, or once EOF was read without
                `allow_half_open` (W7, H3, C7, V8).
            LostError: the connection broke (W10). ConnectError: it never came about (N7).
        """
        stream = self._stream
        if stream is None:
            return Promise.rejected(self._loop, ClosedError(WRITER_RELEASED))
        return stream._write(chunk, self._lock)

    def close(self) -> Promise[None]:
        """Send what is queued, then our EOF: FIN, or close_notify under TLS (W6, T4). Reading goes on.

        Raises:
            ClosedError: it has ended already (W7).
        """
        stream = self._attached
        if stream is None:
            return Promise.rejected(self._loop, ClosedError(WRITER_RELEASED))
        return stream._end(self._lock)

    def abort(self, reason: object = None) -> Promise[None]:
        """Drop what is queued: those writes and `closed` reject with the reason. The peer sees nothing (W8).

        A reason that is an exception is raised itself, any other is wrapped in `AbortError`.
        """
        stream = self._attached
        if stream is None:
            return Promise.rejected(self._loop, ClosedError(WRITER_RELEASED))
        return stream._abort(reason)

    def cut(self, error: BaseException) -> None:
        """For a pipe: its source broke. As `abort()`, and the peer sees a reset: it has a part only (V25)."""
        stream = self._attached
        if stream is not None:
            stream._abort(error, Event.SOURCE_FAILED)

    def release_lock(self) -> None:
        """Give the lock back; every use of this writer fails from then on. Writes under way are done (W5)."""
        stream = self._stream
        if stream is None:
            return
        self._stream = stream._lock = None
        self._closed.reject(ClosedError(WRITER_RELEASED))

    @property
    def _attached(self) -> WritableStream | None:
        stream = self._stream
        return None if stream is None or stream.owner.writing is Writing.RELEASED else stream
