"""`readable`: the stream of what the peer sends, with one reader at a time.

It holds the pending read and the lock. Whether a read gives data, EOF or an error is decided by the lifecycle
(`reading`), bytes come from the wire, both through `Owner`.

Source: RULES.md, API-R1 to API-R10, H2, C5-C8, S6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, overload

from cfcat.core.lifecycle import Event, Reading
from cfcat.core.promise import Promise
from cfcat.core.reads import BufferRead, ChunkRead, Read, taken
from cfcat.core.spelling import Spelt
from cfcat.core.streams import (
    EMPTY_BUFFER,
    ONE_READ,
    READ_OUTSTANDING,
    READABLE_CLOSING,
    READER_LOCKED,
    READER_RELEASED,
    WRITER_LOCKED,
    Outcome,
    Owner,
)
from cfcat.core.writable import WritableStream
from cfcat.errors import CancelError, ClosedError, LockError, SocketError

if TYPE_CHECKING:
    from cfcat.core.gathering import Goal

__all__ = ["ReadableStream", "ReadableStreamBYOBReader", "ReadableStreamReader"]

# A chunk of a default reader: at first as small as the reference's (API-R2), which is plenty for a dialog. The size
# doubles whenever a read fills it, up to the fastest size (V14).
FIRST_READ_BYTES = 4096
MAX_READ_BYTES = 256 * 1024
# Asked for each chunk: an attribute of an Enum costs more than a name of the module.
FLOWING, DONE = Reading.FLOWING, Reading.DONE


class _Chunks:
    """`async for chunk in readable`: holds the lock until the loop ends, and no longer than this iterator lives."""

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


class ReadableStream(
    Spelt,
    instead={
        "read": "get_reader().read()",
        "readline": "get_reader().read_until()",
        "values": "async for chunk in it",
    },
):
    """The bytes that the peer sends (API-R1). `async for chunk in readable` reads to EOF.

    States: free, or held by one reader or pipe; with a read that waits, or none; then ended, once, in order or with an
    error (`outcome`). What a read meets is the lifecycle's to say (`owner.reading`).

    Invariants:
        - At most one read waits, and only while a reader holds the stream.
        - What a cancelled read gave back comes before anything from the wire.
        - The wire is asked only where a read waits or somebody watches (API-R3).

    The application calls the first part; `Receiving` gives chunks and errors, `Socket` ends it, pipe mode has the
    non-blocking path, and the readers call the last part.
    """

    def __init__(self, owner: Owner) -> None:
        self.owner = owner  # the socket; later what is left of it
        self._is_held = False  # by a reader; a reference to it would make a circle
        self._is_piped = False
        self.pipe: Promise[None] | None = None  # that reads here, while it is under way
        self.read: Read[Any] | None = None  # that waits; None: nobody reads, leave it to the kernel (API-R3)
        self._returned = bytearray()  # by cancelled reads, or left by gathering ones; the next read has them first
        self.read_bytes = FIRST_READ_BYTES
        self.outcome = Outcome()

    def __repr__(self) -> str:
        return f"<ReadableStream of {self.owner!r}, {'locked' if self.locked else 'unlocked'}>"

    @property
    def locked(self) -> bool:
        """Is a reader or a pipe attached? For good after `start_tls()` (S6)."""
        return self._is_held or self.owner.reading is Reading.RELEASED

    @overload
    def get_reader(self, mode: None = None) -> ReadableStreamReader: ...
    @overload
    def get_reader(self, mode: Literal["byob"]) -> ReadableStreamBYOBReader: ...
    def get_reader(self, mode: str | None = None) -> ReadableStreamReader:
        """Lock the stream to a new reader; `mode="byob"` gives one that reads into the caller's buffer (API-R8).

        Works before `opened` and after `close()` alike (API-R1, C8).

        Raises:
            LockError: it is locked (API-R4).
        """
        if mode not in (None, "byob"):
            raise TypeError(f"mode must be None or 'byob', not {mode!r}")
        if self.locked:
            raise LockError(READER_LOCKED)
        self._is_held = True
        return ReadableStreamBYOBReader(self) if mode else ReadableStreamReader(self)

    def cancel(self, reason: object = None) -> Promise[None]:
        """Stop reading: reads say EOF from now on; the peer sees nothing of it, writing goes on (API-R7).

        Rejects with `LockError` while a reader is held.
        """
        if self.locked:
            return Promise.rejected(self.owner.loop, LockError(READER_LOCKED))
        return self._cancel(reason)

    def pipe_to(
        self,
        writable: WritableStream,
        *,
        prevent_close: bool = False,
        prevent_abort: bool = False,
        prevent_cancel: bool = False,
    ) -> Promise[None]:
        """Copy everything to a writable and close that at EOF, unless `prevent_close` (API-R10).

        Both streams are locked until it is done. When a pipe reads EOF, the socket's writing side stays open and
        `closed` stays pending. If reading fails, the destination is aborted with the error and its peer sees a reset
        (V25), unless `prevent_abort`; if writing fails, or the destination ends meanwhile, reading is cancelled, unless
        `prevent_cancel`; either way the promise rejects with the error.

        Cancelling the wait stops it at once: both locks are free, both streams can be used, and no byte is lost
        between them (what the destination has queued it still sends).
        """
        if self.locked:
            return Promise.rejected(self.owner.loop, LockError(READER_LOCKED))
        if writable.locked:
            return Promise.rejected(self.owner.loop, LockError(WRITER_LOCKED))
        from cfcat.core.piping import Pipe  # lazy: most connections are never piped

        reader = self.get_reader()
        self._is_piped = True
        pipe = Pipe(
            self.owner.loop,
            reader,
            writable.get_writer(),
            prevent_close=prevent_close,
            prevent_abort=prevent_abort,
            prevent_cancel=prevent_cancel,
        )
        self.pipe = writable.pipe = pipe
        pipe.add_done_callback(lambda _: self._unpiped(writable))
        return pipe

    def _unpiped(self, writable: WritableStream) -> None:
        self.pipe = writable.pipe = None

    def __aiter__(self) -> _Chunks:
        """Read to EOF, holding the lock until the loop ends, also by `break` or an error."""
        return _Chunks(self.get_reader())

    # ---- the wire's side

    def take_returned(self) -> bytes:
        """Take what a read gave back or left over, so that another may have it: the upgraded socket's handshake."""
        returned = bytes(self._returned)
        self._returned.clear()
        return returned

    def give_back(self, data: bytes) -> None:
        """Have this read again: before all that a read gave back, and before what the wire has."""
        self._returned[:0] = data

    @property
    def returned_bytes(self) -> int:
        """Bytes that a read gave back or left over: received, and unread."""
        return len(self._returned)

    def deliver(self, chunk: bytes, at_once: bool = False) -> bool:
        """Give a chunk to the read that waits; b"" is the peer's EOF: it takes effect now that a read sees it (H2).

        False: the read gathers more. `at_once`: as for `Promise.resolve`.
        """
        assert self.read is not None
        read, self.read = self.read, None
        if len(chunk) == self.read_bytes < MAX_READ_BYTES:
            self.read_bytes *= 2
        if not chunk:
            self._end()
        is_done = read.deliver(chunk, at_once)
        if not is_done:
            self.read = read
        return is_done

    def _end(self) -> None:
        self.outcome.end()
        self.owner.on(Event.PIPED_EOF if self._is_piped else Event.PEER_EOF)

    def stop(self, error: BaseException) -> None:
        """Fail the read that waits, if one does."""
        read, self.read = self.read, None
        if read is not None:
            read.reject(error)

    def fail(self, error: BaseException) -> None:
        """The stream is broken, and all before the error has been read."""
        self.outcome.end(error)
        self.stop(error)
        self.owner.drained()

    # ---- the non-blocking receive path, used by pipe mode: the caller holds the lock, and no read waits

    def take_into(self, buffer: memoryview) -> int | None:
        """Fill a buffer with what is here now: 0 at EOF, None where there is nothing. Raises as `read()`."""
        meets = self.owner.reading
        if meets is Reading.CLOSING:
            raise ClosedError(READABLE_CLOSING)
        if meets is Reading.RELEASED:
            raise ClosedError(READER_RELEASED)
        if self._returned:
            chunk = taken(self._returned, len(buffer))
            buffer[: len(chunk)] = chunk
            return len(chunk)
        if meets is Reading.DONE:
            return 0
        receiving = self.owner.receiving
        if receiving is None:
            raise self.owner.error
        try:
            size = receiving.take_into(buffer)
        except SocketError as error:
            self.fail(error)
            raise
        if size == 0:
            self._end()
        receiving.answer()
        return size

    def receive_by(self, move: Callable[[int], int]) -> int | None:
        """As `take_into()`, but by a call of the kernel's that takes the socket's descriptor.

        None: the kernel cannot connect these two descriptors. Use `take_into()`, which also reports the connection's
        errors.

        Raises:
            BlockingIOError: nothing there, or no room where the bytes go to; or EOF, which `take_into()` finds.
            BrokenPipeError: nobody reads there.
        """
        receiving = self.owner.receiving
        if receiving is None or self._returned or self.owner.reading is not Reading.FLOWING:
            return None
        return receiving.receive_by(move)

    def watch(self, callback: Callable[[], object] | None) -> None:
        """Call back whenever `take_into()` may have something, an error included; None ends that."""
        if self.owner.receiving is not None:
            self.owner.receiving.watch(callback)

    # ---- the readers' side

    def _request(self, read: Read[Any]) -> None:
        """Begin a read; it may be answered at once."""
        owner = self.owner
        meets = owner.reading
        refusal = None if meets is FLOWING and self.read is None else self._refusal()
        if refusal is not None:
            read.reject(refusal)
        elif read.begin(self._returned):
            pass
        elif meets is DONE:
            read.deliver(b"")
        elif owner.receiving is None:
            read.reject(owner.error)
        else:
            self.read = read
            owner.receiving.pull()

    def _refusal(self) -> BaseException | None:
        """Why no read can begin, or None."""
        if self.owner.reading is Reading.RELEASED:
            return ClosedError(READER_RELEASED)
        if self.read is not None:
            return LockError(ONE_READ)
        return ClosedError(READABLE_CLOSING) if self.owner.reading is Reading.CLOSING else None

    def _give_back(self, read: Any) -> None:
        """A read was cancelled: forget it, or keep the chunk that it had got for the next read."""
        if self.read is read:
            self.read = None
        else:
            self._returned[:0] = read.delivered()

    def _cancel(self, reason: object) -> Promise[None]:
        if self.owner.reading in (Reading.FLOWING, Reading.FAILED):
            self._returned.clear()
            self.outcome.end()
            self.stop(CancelError("undefined" if reason is None else str(reason)))
            self.owner.on(Event.CANCEL)
        return Promise.resolved(self.owner.loop, None)


class ReadableStreamReader(
    Spelt, instead={"readline": "read_until()", "readuntil": "read_until()", "readexactly": "read_exactly()"}
):
    """The reader that holds the stream's lock."""

    def __init__(self, stream: ReadableStream) -> None:
        self._stream: ReadableStream | None = stream
        self._loop = stream.owner.loop
        self._closed = stream.outcome.promise(self._loop)

    @property
    def closed(self) -> Promise[None]:
        """Resolves at EOF, `cancel()` or the socket's `close()`; rejects with what broke the stream (API-R6, C5)."""
        if not self._attached:
            return Promise.rejected(self._loop, ClosedError(READER_RELEASED))
        return self._closed

    def read(self) -> Promise[bytes]:
        """Return the next chunk, or b"" at EOF.

        Chunks are at least one byte and carry no boundaries from the peer. May be called before `opened`.
        Cancelling loses nothing: the chunk stays for the next read.

        Raises:
            LockError: a read is waiting already (API-R4).
            ClosedError: the reader was released, or `close()` or `start_tls()` was called (API-R5, C7, V8).
            LostError, TruncatedError, TlsError: the connection broke; all before it has been read (API-R9, T7).
            ConnectError, TlsError: it never came about (V2).
        """
        stream = self._stream
        if stream is None:
            return Promise.rejected(self._loop, ClosedError(READER_RELEASED))
        read = ChunkRead(self._loop, stream.read_bytes, stream._give_back)
        stream._request(read)
        return read

    def read_exactly(self, count: int) -> Promise[bytes]:
        """Return exactly `count` bytes. Cancelling loses nothing, as with every read.

        Raises:
            ValueError: the count is negative.
            IncompleteReadError: EOF came before; its `partial` has what there was.
            Otherwise as `read()`.
        """
        from cfcat.core.gathering import exactly  # lazy: most runs read chunk by chunk

        return self._gather(exactly(count))

    def read_at_least(self, count: int) -> Promise[bytes]:
        """Return at least `count` bytes, fewer at EOF only.

        Raises:
            ValueError: the count is negative.
            Otherwise as `read()`.
        """
        from cfcat.core.gathering import at_least  # lazy: as above

        return self._gather(at_least(count))

    def read_until(self, separator: bytes = b"\n", *, limit: int = 64 * 1024) -> Promise[bytes]:
        """Return all bytes up to the separator and the separator itself, together at most `limit` bytes.

        What has come behind it stays for the next read, also that of another reader.

        Raises:
            ValueError: the separator is empty.
            LimitError: there is no separator within the limit; nothing was taken.
            IncompleteReadError: EOF came before; its `partial` has what there was.
            Otherwise as `read()`.
        """
        from cfcat.core.gathering import until  # lazy: as above

        return self._gather(until(separator, limit))

    def _gather(self, goal: Goal) -> Promise[bytes]:
        from cfcat.core.gathering import Gather  # lazy: as above

        stream = self._stream
        if stream is None:
            return Promise.rejected(self._loop, ClosedError(READER_RELEASED))
        read = Gather(self._loop, stream._returned, goal, stream._give_back)
        stream._request(read)
        return read

    def cancel(self, reason: object = None) -> Promise[None]:
        """As `ReadableStream.cancel()`; a read that waits rejects with `CancelError` (API-R7)."""
        stream = self._stream
        if stream is None or not self._attached:
            return Promise.rejected(self._loop, ClosedError(READER_RELEASED))
        return stream._cancel(reason)

    def release_lock(self) -> None:
        """Give the lock back; every use of this reader fails from then on (API-R5).

        Raises:
            LockError: a read is waiting.
        """
        stream = self._stream
        if stream is None:
            return
        if stream.read is not None:
            raise LockError(READ_OUTSTANDING)
        self._stream = None
        stream._is_held = stream._is_piped = False
        self._closed.reject(ClosedError(READER_RELEASED))

    @property
    def _attached(self) -> bool:
        return self._stream is not None and self._stream.owner.reading is not Reading.RELEASED


class ReadableStreamBYOBReader(ReadableStreamReader):
    """A reader that fills the caller's buffer ("bring your own buffer", API-R8)."""

    def read_into(self, buffer: bytearray | memoryview) -> Promise[int]:
        """Fill at most `buffer`; return the number of bytes, 0 at EOF. What does not fit is for the next read.

        Cancelling loses nothing; the contents of the buffer are then undefined.

        Raises:
            TypeError: the buffer is empty or cannot be written to.
            Otherwise as `read()`.
        """
        view = memoryview(buffer).cast("B")
        if view.readonly:
            raise TypeError("read_into() needs a writable buffer")

        if not len(view):
            return Promise.rejected(self._loop, TypeError(EMPTY_BUFFER))
        stream = self._stream
        if stream is None:
            return Promise.rejected(self._loop, ClosedError(READER_RELEASED))
        read = BufferRead(self._loop, view, stream._give_back)
        stream._request(read)
        return read
