"""A connection's incoming direction: from the kernel through the codec to whoever reads.

We read from the kernel only when somebody asked (API-R3). There are two ways to ask: a read that waits (`pull`), and
the non-blocking receive path (`watch`, then `take_into` or `receive_by`), used by pipe mode.

Source: rules API-R3, API-R9, T7; rows 17 and 19 of the fault matrix.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from functools import cached_property
from time import monotonic

from cfcat.core.loop import Handle
from cfcat.core.readable import ReadableStream
from cfcat.core.sending import Sending
from cfcat.core.transport import TURN_BYTES, Transport, lost_by
from cfcat.errors import SocketError

__all__ = ["Receiving"]

# Asked of the network at a time: each system call and each call into OpenSSL has its price. What OpenSSL is given at a
# time matters most: with 1 MiB, receiving takes a fifth less processor time than with 256 KiB.
READ_BYTES = 256 * 1024
CIPHER_TEXT_BYTES = 1024 * 1024
LINGER_S = 0.25  # a round trip to nearly anywhere, and little to wait for a peer that does not end


class _Scratch(threading.local):
    """Buffers for the moment between two calls, one of each for all wires of a loop: a new one costs page faults.

    Each is made when it is first needed: most runs need one of them, many none.
    """

    @cached_property
    def wire(self) -> memoryview:
        return memoryview(bytearray(CIPHER_TEXT_BYTES))

    @cached_property
    def chunk(self) -> memoryview:
        return memoryview(bytearray(READ_BYTES))


_scratch = _Scratch()


class Receiving:
    """Receives for `readable`, a chunk for each time that it is asked.

    Invariants:
        - Bytes are taken from the codec before the kernel is asked for more.
        - An error is reported only after all earlier bytes: `lose` is called at once, and readers get
          `Transport.lost` when everything is read.
        - The descriptor is registered with the loop at most once, for the watcher where there is one.

    `ReadableStream` calls `pull`, `take_into`, `receive_by` and `watch`, `Wire` the rest; the event loop calls
    `_on_readable`, `discard` or the watcher.
    """

    def __init__(self, transport: Transport, readable: ReadableStream, sending: Sending) -> None:
        self._transport = transport
        self._readable = readable
        self._sending = sending
        self._is_registered = False  # with the loop
        self._watcher: Callable[[], object] | None = None  # is called when there is something to take
        self._lingering: Handle | None = None

    # ---- for a read that waits

    def pull(self) -> None:
        """Answer a read that waits from what is here, else when the peer sends. A watcher stays registered."""
        if self._readable.read is None:
            return
        transport = self._transport
        if transport.lost is not None or (transport.is_open and not transport.codec.is_drained):
            self._serve(True)
        if not self._is_registered and self._readable.read is not None:
            self._register()

    def _on_readable(self) -> None:
        """There is something, the end, or an error."""
        # Stay registered for the next read; but if nobody is reading, leave it to the kernel (API-R3).
        if self._readable.read is not None:
            self._serve(False, True)
        else:
            self._unregister()

    def _serve(self, from_codec_only: bool, at_once: bool = False) -> None:
        """Give waiting reads what has come: from the codec first, then from the kernel.

        `at_once`: the loop calls, so whoever reads may go on from within.
        """
        transport, readable = self._transport, self._readable
        moved = 0
        while (read := readable.read) is not None and moved < TURN_BYTES:
            try:
                chunk = self._next_chunk(read.limit, from_codec_only)
            except (SocketError, MemoryError) as error:
                if transport.lost is None:
                    # `lose` pulls again, so that the read gets what it still found in the kernel.
                    transport.lose(error if isinstance(error, SocketError) else lost_by(error, sending=False))
                else:
                    readable.fail(transport.lost)
                return
            if chunk is None:
                self._sending.answer()
                return
            moved += len(chunk)
            is_last = at_once and bool(chunk) and not transport.codec.has_answer  # nothing is left to send
            if readable.deliver(chunk, is_last) and is_last:
                return
            self._sending.answer()  # may find the connection broken: the read has its chunk by then
        if not moved and readable.read is None:  # the end
            self._unregister()

    def _next_chunk(self, limit: int, from_codec_only: bool) -> bytes | None:
        """As `_take`, but what it has taken."""
        transport = self._transport
        sock = transport.sock
        if transport.codec.clear_in and not from_codec_only and sock is not None and transport.lost is None:
            try:
                chunk: bytes | None = sock.recv(limit)
            except (OSError, MemoryError) as error:
                chunk = self._instead(error)
            if chunk is not None:
                self._count(len(chunk))
                if not chunk:
                    transport.codec.receive(chunk)
                    transport.peer_has_ended = True
            return chunk
        buffer = _scratch.chunk[:limit]
        size = self._take(buffer, from_codec_only=from_codec_only)
        return None if size is None else bytes(buffer[:size])

    def _take(self, buffer: memoryview, *, from_codec_only: bool = False) -> int | None:
        """Fill a buffer: 0 at EOF, None where there is nothing now.

        Raises:
            SocketError: `Transport.lost`, when all before it was taken; or a new error, to be given to `lose`.
        """
        transport = self._transport
        while (size := transport.codec.read_into(buffer)) is None:
            if transport.lost is not None:
                raise transport.lost
            if from_codec_only or transport.sock is None:
                return None
            if transport.codec.clear_in:
                size = self._receive(buffer)
                break
            if self._receive(_scratch.wire) is None:
                return None
        transport.peer_has_ended |= size == 0
        return size

    def _receive(self, buffer: memoryview) -> int | None:
        """Ask the kernel for bytes; None where there are none now. The codec gets what it must see of them."""
        transport = self._transport
        assert transport.sock is not None
        try:
            size: int | None = transport.sock.recv_into(buffer)
        except (OSError, MemoryError) as error:
            end = self._instead(error)
            size = end if end is None else 0
        if size is not None:
            self._count(size)
            if not size or not transport.codec.clear_in:
                transport.codec.receive(buffer[:size])
        return size

    def _instead(self, error: OSError | MemoryError) -> bytes | None:
        """What a system call has told by its error: None, there is nothing now; b"", the end. Else raise it."""
        if isinstance(error, (BlockingIOError, InterruptedError)):
            return None
        if self._transport.codec.reset_is_eof and isinstance(error, ConnectionResetError):
            return b""
        raise lost_by(error, sending=self._sending.has_queued) from error

    # ---- the non-blocking receive path, used by pipe mode

    def take_into(self, buffer: memoryview) -> int | None:
        """Fill a buffer with what is here: 0 at EOF, None where there is nothing now. Call `answer()` afterwards.

        Raises:
            SocketError: the connection broke; all before it was taken.
        """
        transport = self._transport
        while True:
            try:
                return self._take(buffer)
            except (SocketError, MemoryError) as error:
                if transport.lost is not None:
                    raise transport.lost from None
                # Then comes what was salvaged, and then the error.
                transport.lose(error if isinstance(error, SocketError) else lost_by(error, sending=False))

    def answer(self) -> None:
        """Send what `take_into` gave rise to, now that the caller has its bytes."""
        self._sending.answer()

    def receive_by(self, move: Callable[[int], int]) -> int | None:
        """Let the kernel move what has come, by a call that takes our descriptor; None where that cannot be.

        Raises:
            BlockingIOError: nothing there, no room, EOF, or bytes that are not passed on that way (urgent ones).
            BrokenPipeError: nobody reads where they would go to.
        """
        transport = self._transport
        if not (transport.can_join and transport.codec.clear_in and transport.is_open and transport.sock is not None):
            return None
        try:
            size = move(transport.sock.fileno())
        except (BlockingIOError, BrokenPipeError):
            raise  # a broken pipe is the other descriptor's: reading from a socket never ends so
        except OSError as error:
            transport.join_failed(error, sending=self._sending.has_queued)
            return None
        if not size:
            # EOF, or urgent bytes in front of it, where splice() stops for good: only receiving tells.
            raise BlockingIOError(errno.EAGAIN, "nothing was moved")
        self._count(size)
        return size

    def _count(self, size: int) -> None:
        self._transport.received_bytes += size
        self._transport.received_s = monotonic()

    def watch(self, callback: Callable[[], object] | None) -> None:
        """Call back whenever `take_into()` may have something, an error included; None ends that."""
        if callback != self._watcher:
            self._watcher = callback
            self._unregister()
        if callback is not None:
            self._register()

    def call_watcher(self) -> None:
        """Call the watcher in the next turn, so that it checks again, unless it is taken away before that."""
        if self._watcher is not None:
            self._transport.loop.call_soon(self._call_watcher)

    def _call_watcher(self) -> None:
        if self._watcher is not None:
            self._watcher()

    # ---- the loop

    def open(self) -> None:
        """From now on there is something to receive: whoever has asked before is served."""
        self.pull()
        if self._watcher is not None:
            self._register()

    def discard_until_end(self, then: Callable[[OSError | None], None], within_s: float | None = LINGER_S) -> None:
        """Drop what comes until the peer's FIN, or a reset, for so long at most; `then` is told the latter."""

        def discard() -> None:
            assert self._transport.sock is not None
            failure = None
            try:
                if self._transport.sock.recv_into(_scratch.wire):
                    return
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                failure = error
            self._unregister()
            then(failure)

        if self._transport.sock is not None:
            self._is_registered = True
            self._transport.loop.add_reader(self._transport.sock.fileno(), discard)
            if within_s is not None:
                self._lingering = self._transport.loop.call_later(within_s, then, None)

    def unwatch(self) -> None:
        """Leave the descriptor alone: it is closed, or another wire's from now on. The watcher finds out why."""
        if self._lingering is not None:
            self._lingering.cancel()
        self._unregister()
        self.call_watcher()

    def _register(self) -> None:
        transport = self._transport
        if transport.is_open and transport.sock is not None and not self._is_registered:
            self._is_registered = True
            transport.loop.add_reader(transport.sock.fileno(), self._watcher or self._on_readable)

    def _unregister(self) -> None:
        if self._is_registered and self._transport.sock is not None:
            self._transport.loop.remove_reader(self._transport.sock.fileno())
        self._is_registered = False
