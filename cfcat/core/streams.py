"""`readable` and `writable`: streams with one reader and one writer at a time.

They hold what waits (one read, a queue of writes) and the locks; they decide nothing: what a read or a write meets
is asked of the lifecycle (`reading`, `writing`), bytes come from and go to the wire, both through `Owner`.

Source: connect-semantics rules R1-R11, W1-W11, H3, C5-C11, S6; the texts are the reference's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Literal, Protocol, TypeVar, overload

from cfcat.core.codec import Buffer
from cfcat.core.lifecycle import Event, Reading, Writing
from cfcat.core.operation import Operation, fail, handled, resolve
from cfcat.errors import AbortError, CancelError, ClosedError, LockError, WrongTypeError

__all__ = [
    "ReadableStream",
    "ReadableStreamBYOBReader",
    "ReadableStreamReader",
    "WritableStream",
    "WritableStreamWriter",
]

T = TypeVar("T")

# A chunk of a default reader: at first as small as the reference's (R2), which is plenty for a dialog; twice as much
# each time that a read was filled, up to where more is no faster (V14).
FIRST_READ_BYTES = 4096
MAX_READ_BYTES = 256 * 1024
DEFAULT_HIGH_WATER_BYTES = 1  # O4

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


class Owner(Protocol):
    """The socket that a stream belongs to."""

    @property
    def reading(self) -> Reading: ...
    @property
    def writing(self) -> Writing: ...
    @property
    def error(self) -> BaseException: ...  # why the socket failed
    def on(self, event: Event) -> None: ...
    def pull(self) -> None: ...  # a read waits
    def push(self) -> None: ...  # a write waits


def _new_future() -> asyncio.Future[None]:
    return handled(asyncio.get_running_loop().create_future())


def _resolved() -> Operation[None]:
    future = _new_future()
    future.set_result(None)
    return Operation(future)


def _rejected(error: BaseException) -> Operation[None]:
    future = _new_future()
    future.set_exception(error)
    return Operation(future)


class _Outcome:
    """How a stream ended, for `closed` of each of its readers or writers, one after the other."""

    def __init__(self) -> None:
        self._settle: Callable[[asyncio.Future[None]], None] | None = None
        self.holder: asyncio.Future[None] | None = None

    @property
    def settled(self) -> bool:
        return self._settle is not None

    def future(self) -> asyncio.Future[None]:
        """The `closed` of a new holder of the lock."""
        self.holder = _new_future()
        if self._settle is not None:
            self._settle(self.holder)
        return self.holder

    def end(self, error: BaseException | None = None) -> None:
        """Settle, once: in order, or with an error."""
        if self._settle is None:
            self._settle = (lambda f: resolve(f, None)) if error is None else (lambda f: fail(f, error))
            if self.holder is not None:
                self._settle(self.holder)


# ---------------------------------------------------------------- reading


class _Read(Generic[T]):
    """A read that waits: for a chunk, or for the filling of a caller's buffer.

    `answer` makes the result of a chunk, `chunk_of` the chunk of a result (to give it back).
    """

    __slots__ = ("answer", "chunk_of", "future", "limit")

    def __init__(self, limit: int, answer: Callable[[bytes], T], chunk_of: Callable[[T], bytes | memoryview]) -> None:
        self.limit = limit
        self.answer = answer
        self.chunk_of = chunk_of
        self.future: asyncio.Future[T] = handled(asyncio.get_running_loop().create_future())

    def deliver(self, chunk: bytes) -> None:
        resolve(self.future, self.answer(chunk))


class _Chunks:
    """`async for chunk in readable`: holds the lock, and gives it back with the last reference to itself."""

    def __init__(self, reader: ReadableStreamReader) -> None:
        self._reader = reader

    def __aiter__(self) -> _Chunks:
        return self

    async def __anext__(self) -> bytes:
        try:
            if chunk := await self._reader.read():
                return chunk
        except BaseException:
            self._reader.release_lock()  # a traceback that is kept would keep us, and with us the lock
            raise
        self._reader.release_lock()
        raise StopAsyncIteration

    def __del__(self) -> None:
        self._reader.release_lock()


class ReadableStream:
    """The bytes that the peer sends (R1). `async for chunk in readable` reads to EOF."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._reader: ReadableStreamReader | None = None
        self._read: _Read[Any] | None = None
        self._kept: deque[bytes] = deque()  # given back by a cancelled read
        self._piping = False
        self.read_bytes = FIRST_READ_BYTES
        self.outcome = _Outcome()

    @property
    def locked(self) -> bool:
        """Is a reader or a pipe attached? For good after `start_tls()` (S6)."""
        return self._reader is not None or self._owner.reading is Reading.RELEASED

    @overload
    def get_reader(self, mode: None = None) -> ReadableStreamReader: ...
    @overload
    def get_reader(self, mode: Literal["byob"]) -> ReadableStreamBYOBReader: ...
    def get_reader(self, mode: str | None = None) -> ReadableStreamReader:
        """Lock the stream to a new reader; `mode="byob"` gives one that reads into the caller's buffer (R8).

        Works before `opened` and after `close()` alike (R1, C8).

        Raises:
            LockError: it is locked (R4).
        """
        if mode not in (None, "byob"):
            raise TypeError(f"mode must be None or 'byob', not {mode!r}")
        if self.locked:
            raise LockError(READER_LOCKED)
        self._reader = ReadableStreamBYOBReader(self) if mode else ReadableStreamReader(self)
        return self._reader

    def cancel(self, reason: object = None) -> Operation[None]:
        """Stop reading: reads say EOF from now on; the peer sees nothing of it, writing goes on (R7).

        Rejects with `LockError` while a reader is held.
        """
        if self.locked:
            return _rejected(LockError(READER_LOCKED))
        return self._cancel(reason)

    def pipe_to(self, writable: WritableStream, prevent_close: bool = False) -> Operation[None]:
        """Copy everything to a writable and close that at EOF, unless `prevent_close` (R10).

        Both streams are locked until it is done. EOF seen by a pipe ends neither the socket's own writing side
        nor `closed`. If reading fails, the destination is aborted with the error; if writing fails, reading is
        cancelled with it; either way the operation rejects with it.
        """
        if self.locked:
            return _rejected(LockError(READER_LOCKED))
        if writable.locked:
            return _rejected(LockError(WRITER_LOCKED))
        reader, writer = self.get_reader(), writable.get_writer()
        task = asyncio.get_running_loop().create_task(self._pipe(reader, writer, prevent_close))
        return Operation(handled(task))

    def __aiter__(self) -> _Chunks:
        """Read to EOF, holding the lock until the loop ends, also by `break` or an error."""
        return _Chunks(self.get_reader())

    async def _pipe(self, reader: ReadableStreamReader, writer: WritableStreamWriter, prevent_close: bool) -> None:
        self._piping = True
        try:
            try:
                while chunk := await reader.read():
                    try:
                        await writer.write(chunk)
                    except Exception as error:
                        await reader.cancel(error)
                        raise
            except Exception as error:
                await writer.abort(error)
                raise
            if not prevent_close:
                await writer.close()
        finally:
            self._piping = False
            reader.release_lock()
            writer.release_lock()

    # ---- the wire's side

    @property
    def wanted(self) -> int:
        """How many bytes a waiting read would take; 0: nobody reads, leave it to the kernel (R3)."""
        return self._read.limit if self._read is not None else 0

    @property
    def kept_bytes(self) -> int:
        """Bytes that a cancelled read gave back: received, and unread."""
        return sum(map(len, self._kept))

    def deliver(self, chunk: bytes) -> None:
        """Give a chunk to the read that waits; b"" is the peer's EOF, and counts now that it is read (H2)."""
        assert self._read is not None
        read, self._read = self._read, None
        if len(chunk) == self.read_bytes < MAX_READ_BYTES:
            self.read_bytes *= 2
        if not chunk:
            self.outcome.end()
            self._owner.on(Event.PIPED_EOF if self._piping else Event.PEER_EOF)
        read.deliver(chunk)

    def stop(self, error: BaseException) -> None:
        """Fail the read that waits, if one does."""
        read, self._read = self._read, None
        if read is not None:
            fail(read.future, error)

    def fail(self, error: BaseException) -> None:
        """The stream is broken, and all before the error has been read."""
        self.outcome.end(error)
        self.stop(error)

    # ---- the readers' side

    def _request(self, read: _Read[Any]) -> None:
        """Begin a read; it may be answered at once."""
        meets = self._owner.reading
        if self._read is not None:
            fail(read.future, LockError(ONE_READ))
        elif meets is Reading.CLOSING:
            fail(read.future, ClosedError(READABLE_CLOSING))
        elif self._kept:
            read.deliver(self._take_kept(read.limit))
        elif meets is Reading.DONE:
            read.deliver(b"")
        else:
            self._read = read
            self._owner.pull()

    def _take_kept(self, limit: int) -> bytes:
        chunk = self._kept.popleft()
        if len(chunk) > limit:
            self._kept.appendleft(chunk[limit:])
        return chunk[:limit]

    def _give_back(self, read: _Read[Any]) -> None:
        """A read was cancelled: forget it, or keep the chunk that it had got for the next read."""
        if self._read is read:
            self._read = None
        elif read.future.done() and read.future.exception() is None:
            chunk = read.chunk_of(read.future.result())
            if chunk:
                self._kept.appendleft(bytes(chunk))

    def _cancel(self, reason: object) -> Operation[None]:
        if self._owner.reading in (Reading.FLOWING, Reading.FAILED):
            self._kept.clear()
            self.outcome.end()
            self.stop(CancelError("undefined" if reason is None else str(reason)))
            self._owner.on(Event.CANCEL)
        return _resolved()


class ReadableStreamReader:
    """The reader that holds the stream's lock."""

    def __init__(self, stream: ReadableStream) -> None:
        self._stream: ReadableStream | None = stream
        self._closed = stream.outcome.future()

    @property
    def closed(self) -> Operation[None]:
        """Resolves at EOF, `cancel()` or the socket's `close()`; rejects with what broke the stream (R6, C5)."""
        if not self._attached:
            return _rejected(ClosedError(READER_RELEASED))
        return Operation(self._closed)

    def read(self) -> Operation[bytes]:
        """Return the next chunk, or b"" at EOF.

        Chunks are at least one byte and carry no boundaries from the peer. May be called before `opened`.
        Cancelling loses nothing: the chunk stays for the next read.

        Raises:
            LockError: a read is waiting already (R4).
            ClosedError: the reader was released, or `close()` or `start_tls()` was called (R5, C7, V8).
            LostError, TruncatedError, TlsError: the connection broke; all before it has been read (R9, T7).
            ConnectError, TlsError: it never came about (V2).
        """
        limit = FIRST_READ_BYTES if self._stream is None else self._stream.read_bytes
        return self._begin(_Read(limit, lambda chunk: chunk, lambda chunk: chunk))

    def cancel(self, reason: object = None) -> Operation[None]:
        """As `ReadableStream.cancel()`; a read that waits rejects with `CancelError` (R7)."""
        stream = self._stream
        if stream is None or not self._attached:
            return _rejected(ClosedError(READER_RELEASED))
        return stream._cancel(reason)

    def release_lock(self) -> None:
        """Give the lock back; every use of this reader fails from then on (R5).

        Raises:
            LockError: a read is waiting.
        """
        stream = self._stream
        if stream is None:
            return
        if stream._read is not None:
            raise LockError(READ_OUTSTANDING)
        self._stream = stream._reader = None
        fail(self._closed, ClosedError(READER_RELEASED))

    @property
    def _attached(self) -> bool:
        return self._stream is not None and self._stream._owner.reading is not Reading.RELEASED

    def _begin(self, read: _Read[T]) -> Operation[T]:
        stream = self._stream
        if stream is None or not self._attached:
            fail(read.future, ClosedError(READER_RELEASED))
            return Operation(read.future)
        stream._request(read)
        return Operation(read.future, lambda _: stream._give_back(read))


class ReadableStreamBYOBReader(ReadableStreamReader):
    """A reader that fills the caller's buffer ("bring your own buffer", R8)."""

    def read_into(self, buffer: bytearray | memoryview) -> Operation[int]:
        """Fill at most `buffer`; return the number of bytes, 0 at EOF. What does not fit is for the next read.

        Cancelling loses nothing; the contents of the buffer are then undefined.

        Raises:
            TypeError: the buffer is empty or cannot be written to.
            Otherwise as `read()`.
        """
        view = memoryview(buffer).cast("B")
        if view.readonly:
            raise TypeError("read_into() needs a writable buffer")

        def answer(chunk: bytes) -> int:
            view[: len(chunk)] = chunk
            return len(chunk)

        read = _Read(len(view), answer, lambda size: bytes(view[:size]))
        if not len(view):
            fail(read.future, TypeError(EMPTY_BUFFER))
            return Operation(read.future)
        return self._begin(read)


# ---------------------------------------------------------------- writing


class Write:
    """A chunk on its way: what is left of it, and who waits for it."""

    __slots__ = ("data", "future", "size")

    def __init__(self, data: memoryview, future: asyncio.Future[None]) -> None:
        self.data = data
        self.size = len(data)
        self.future = future


class WritableStream:
    """The bytes for the peer. Writes queue, also before `opened`, and are sent in order (W4)."""

    def __init__(self, owner: Owner, high_water_bytes: int | None) -> None:
        self._owner = owner
        self._high_water = DEFAULT_HIGH_WATER_BYTES if high_water_bytes is None else high_water_bytes
        self._writer: WritableStreamWriter | None = None
        self._ready: list[asyncio.Future[None]] = []
        self._ending: asyncio.Future[None] | None = None
        self._failure_told = False  # N7, W10: the error is told once, then "has been closed"
        self._closing_writer: WritableStreamWriter | None = None
        self.queue: deque[Write] = deque()
        self.queued_bytes = 0
        self.abort_reason: BaseException = AbortError(None)
        self.outcome = _Outcome()

    @property
    def locked(self) -> bool:
        """Is a writer or a pipe attached? For good after `start_tls()` (S6)."""
        return self._writer is not None or self._owner.writing is Writing.RELEASED

    def get_writer(self) -> WritableStreamWriter:
        """Lock the stream to a new writer. Works before `opened` and after `close()` alike (W4, C8).

        Raises:
            LockError: it is locked (W5).
        """
        if self.locked:
            raise LockError(WRITER_LOCKED)
        self._writer = WritableStreamWriter(self)
        return self._writer

    def close(self) -> Operation[None]:
        """End our side: as `WritableStreamWriter.close()`, but resolves when it has ended already (W7).

        Rejects with `LockError` while a writer is held.
        """
        if self.locked:
            return _rejected(LockError(WRITER_LOCKED))
        if self._owner.writing is Writing.CLOSING:
            return _rejected(ClosedError(SOCKET_CLOSED))  # C10
        if self._ending is not None:
            return Operation(self._ending)
        return self._end()

    def abort(self, reason: object = None) -> Operation[None]:
        """Drop what is queued: as `WritableStreamWriter.abort()`. Rejects with `LockError` while one is held."""
        if self.locked:
            return _rejected(LockError(WRITER_LOCKED))
        return self._abort(reason)

    # ---- the wire's side

    def sent(self) -> None:
        """The first write of the queue has been handed to the kernel (W4)."""
        write = self.queue.popleft()
        self.queued_bytes -= write.size
        resolve(write.future, None)
        if self._ready:
            self._tell_ready()

    def ended(self) -> None:
        """Our EOF has been sent."""
        if self._ending is not None:
            resolve(self._ending, None)
        self.outcome.end()
        self._tell_ready()

    def drop(self, error: BaseException) -> None:
        """Forget what is queued; every write that waits fails, and `closed` with it."""
        self._failure_told = bool(self.queue) or self._ending is not None or self._failure_told
        while self.queue:
            fail(self.queue.popleft().future, error)
        self.queued_bytes = 0
        if self._ending is not None:
            fail(self._ending, error)
        self.outcome.end(error)
        self._tell_ready()

    def released(self, error: BaseException) -> None:
        """The upgrade took the lock away; writes that are queued still go out (S7, V8)."""
        self.outcome.end(error)
        self._tell_ready()

    def socket_closed(self) -> None:
        """The socket's `close()` is complete: `closed` of the writer says so, locks stay (C5)."""
        self._closing_writer = self._writer
        self.outcome.end(ClosedError(SOCKET_CLOSED))
        self._tell_ready()

    # ---- the writers' side

    @property
    def _desired_bytes(self) -> int:
        return self._high_water - self.queued_bytes if self._owner.writing is Writing.FLOWING else 0

    def _refusal(self, writer: WritableStreamWriter | None) -> BaseException | None:
        """Why a write or an end is refused now, or None."""
        meets = self._owner.writing
        if meets is Writing.FLOWING:
            return None
        if meets is Writing.FAILED and not self._failure_told:
            self._failure_told = True
            return self._owner.error
        if meets is Writing.CLOSING and (writer is None or writer is not self._closing_writer):
            return ClosedError(WRITABLE_CLOSING)  # C7
        return ClosedError(WRITABLE_CLOSED)

    def _write(self, chunk: Buffer, writer: WritableStreamWriter) -> Operation[None]:
        try:
            data = memoryview(chunk).cast("B")
        except TypeError:
            # V4, W3: the stream goes on working
            return _rejected(WrongTypeError(NOT_BYTES, f"a chunk is bytes-like, not {type(chunk).__name__}"))
        refusal = self._refusal(writer)
        if refusal is not None:
            return _rejected(refusal)
        if not data:
            return _resolved()  # W2
        future = _new_future()
        self.queue.append(Write(data, future))
        self.queued_bytes += len(data)
        self._owner.push()
        return Operation(future)

    def _end(self, writer: WritableStreamWriter | None = None) -> Operation[None]:
        if self._ending is not None and not self._ending.done():
            return Operation(self._ending)  # W7: asked for twice while under way
        refusal = self._refusal(writer)
        if refusal is not None:
            return _rejected(refusal)
        self._ending = _new_future()
        self._owner.on(Event.END)
        return Operation(self._ending)

    def _abort(self, reason: object) -> Operation[None]:
        if self._owner.writing not in (Writing.FAILED, Writing.RELEASED):
            self.abort_reason = reason if isinstance(reason, BaseException) else AbortError(reason)
            self._owner.on(Event.ABORT)
        return _resolved()

    def _tell_ready(self) -> None:
        if self._desired_bytes > 0 or self._owner.writing is not Writing.FLOWING:
            for future in self._ready:
                resolve(future, None)
            self._ready.clear()


class WritableStreamWriter:
    """The writer that holds the stream's lock."""

    def __init__(self, stream: WritableStream) -> None:
        self._stream: WritableStream | None = stream
        self._closed = stream.outcome.future()

    @property
    def closed(self) -> Operation[None]:
        """Resolves when our EOF was sent; rejects with the reason, the error or `ClosedError` (W8, W10, C5)."""
        if self._attached is None:
            return _rejected(ClosedError(WRITER_RELEASED))
        return Operation(self._closed)

    @property
    def ready(self) -> Operation[None]:
        """Resolves when `desired_size` is positive, or there is nothing to wait for any more (W11)."""
        stream = self._attached
        if stream is None:
            return _rejected(ClosedError(WRITER_RELEASED))
        future = _new_future()
        stream._ready.append(future)
        stream._tell_ready()
        return Operation(future)

    @property
    def desired_size(self) -> int:
        """Bytes that should be written now: high-water mark less what is queued; may be negative (O4).

        Advice only, no write is refused. 0 after the end (W7).
        """
        stream = self._attached
        return 0 if stream is None else stream._desired_bytes

    def write(self, chunk: Buffer) -> Operation[None]:
        """Queue a bytes-like chunk; resolves when all of it has been handed to the kernel (W4).

        The chunk is not copied: leave it alone until then. An empty one sends nothing (W2). Cancelling the wait
        does not take it back.

        Raises:
            WrongTypeError: it is not bytes-like (V4); the stream goes on working.
            ClosedError: after `close()`, `release_lock()`, `start_tls()`, or once EOF was read without
                `allow_half_open` (W7, H3, C7, V8).
            LostError: the connection broke (W10). ConnectError: it never came about (N7).
        """
        stream = self._attached
        if stream is None:
            return _rejected(ClosedError(WRITER_RELEASED))
        return stream._write(chunk, self)

    def close(self) -> Operation[None]:
        """Send what is queued, then our EOF: FIN, or close_notify under TLS (W6, T4). Reading goes on.

        Raises:
            ClosedError: it has ended already (W7).
        """
        stream = self._attached
        if stream is None:
            return _rejected(ClosedError(WRITER_RELEASED))
        return stream._end(self)

    def abort(self, reason: object = None) -> Operation[None]:
        """Drop what is queued: those writes and `closed` reject with the reason. The peer sees nothing (W8).

        A reason that is an exception is raised itself, any other is wrapped in `AbortError`.
        """
        stream = self._attached
        if stream is None:
            return _rejected(ClosedError(WRITER_RELEASED))
        return stream._abort(reason)

    def release_lock(self) -> None:
        """Give the lock back; every use of this writer fails from then on. Writes under way are done (W5)."""
        stream = self._stream
        if stream is None:
            return
        self._stream = stream._writer = None
        fail(self._closed, ClosedError(WRITER_RELEASED))

    @property
    def _attached(self) -> WritableStream | None:
        stream = self._stream
        return None if stream is None or stream._owner.writing is Writing.RELEASED else stream
