"""The event loop's side of a connection: readiness and bytes to events, effects to system calls.

One wire belongs to one socket; an upgrade moves the connection to the wire of the new one. It moves bytes only
while somebody wants them: nothing is received that no read asked for (R3), and what is sent is asked of the
writable's queue. It decides nothing: what it finds is an event for the lifecycle.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import math
import socket
import struct
import threading
from collections.abc import Callable
from typing import Protocol

from cfcat.core.codec import Buffer, Codec, PlainCodec, TlsCodec
from cfcat.core.lifecycle import Event
from cfcat.core.readable import ReadableStream
from cfcat.core.writable import WritableStream
from cfcat.errors import LOST, LostError, SocketError, TlsError, reason_of

__all__ = ["HandshakeWrapper", "Wire"]

# Bytes moved in one turn before other callbacks of the loop get theirs.
TURN_BYTES = 1024 * 1024
HANDSHAKE_READ_BYTES = 64 * 1024
# Asked of the network at a time: each system call and each call into OpenSSL has its price. What OpenSSL is given at a
# time matters most: with 1 MiB, receiving takes a fifth less processor time than with 256 KiB.
READ_BYTES = 256 * 1024
CIPHER_TEXT_BYTES = 1024 * 1024
SALVAGE_BYTES = 256 * 1024
# Written and not yet sent: beyond that the kernel takes no more. What is in flight is not limited by it; but less waits
# here for a slow peer, and on a fast path it is sent while it is still in the cache: half the time of a bulk.
UNSENT_BYTES = 256 * 1024
LINGER_S = 0.25  # a round trip to nearly anywhere, and little to wait for a peer that does not end
# What splice(2) and sendfile(2) answer where two descriptors cannot be joined, by their kind, an old kernel, a sandbox;
# and where it is not the socket that failed. The ordinary way finds out.
CANNOT_JOIN = frozenset(
    {errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP}
    | {errno.EBADF, errno.EIO, errno.EISDIR, errno.ESPIPE, errno.EOVERFLOW, errno.ENOMEM, errno.ENOBUFS}
)
LINGER_NONE = struct.pack("ii", 1, 0)  # close() sends RST


class _Scratch(threading.local):
    """Buffers for the moment between two calls, one of each for all wires of a loop: a new one costs page faults."""

    def __init__(self) -> None:
        self.wire = memoryview(bytearray(CIPHER_TEXT_BYTES))
        self.chunk = memoryview(bytearray(READ_BYTES))


_scratch = _Scratch()


class HandshakeWrapper(Protocol):
    """How the records of a handshake travel where they are not on the wire as they are (MS-TDS)."""

    @property
    def wanted(self) -> int:
        """Bytes to ask the wire for, and no more."""

    def wrap(self, tls: bytes) -> bytes:
        """Wire bytes for what TLS wants to send."""

    def unwrap(self, wire: bytes) -> bytes:
        """The TLS bytes in what came; b"" where a packet has only begun."""


class WireOwner(Protocol):
    """The socket that a wire works for."""

    readable: ReadableStream
    writable: WritableStream

    def on(self, event: Event, error: BaseException | None = None) -> None: ...


class Wire:
    """One TCP connection, with or without TLS."""

    def __init__(self, owner: WireOwner) -> None:
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._sock: socket.socket | None = None
        self._codec: Codec = PlainCodec()
        self.lost: BaseException | None = None  # why reads fail, once all that is here is read
        self._reading = False  # registered with the loop
        self._writing = False
        self._watcher: Callable[[], object] | None = None  # is told when there is something to take
        self._joins = True  # until the kernel says that it cannot
        self._open = False  # may the writable's queue be sent?
        self._unsent = memoryview(b"")  # wire bytes that the kernel has not taken
        self._heard = False  # has anything been received, after the handshake?
        self._lingering: asyncio.TimerHandle | None = None
        self._taken = 0  # how many writes at the head of the queue the kernel has, and do not know it
        self._settling = False
        self._follow: Callable[[], None] | None = None  # to be done when the queue is empty
        self._planned: Callable[[], None] | None = None  # to become that in the next turn
        self.moved_bytes = 0  # on the wire, either way
        self._received_s = -math.inf  # when bytes, or the end, last came from the network, by the loop's clock
        self._cut = False  # writes were dropped: no end in order, and under TLS perhaps half a record
        self._peer_ended = False  # its EOF was read
        self._ending = False  # nothing is left to send but our own end

    # ---- making

    def attach(self, sock: socket.socket) -> None:
        """Take a connected, non-blocking socket."""
        # A debugger's line should leave at once, and pipe mode writes whole chunks anyway. nc: off; curl: on.
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Row 20: an idle session learns that the cable was pulled.
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        with contextlib.suppress(OSError, AttributeError):  # not every system has it
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self._sock = sock

    @property
    def attached(self) -> bool:
        return self._sock is not None

    def move_to(self, other: Wire) -> None:
        """Give the connection to the wire of the upgraded socket."""
        self._stop_watching()
        other._sock, self._sock = self._sock, None
        self._open = False

    def unread_bytes(self) -> int:
        """How much clear text the kernel holds that nobody has read (V13); more than 64 KiB counts as that."""
        if self._sock is None:
            return 0
        try:
            return len(self._sock.recv(HANDSHAKE_READ_BYTES, socket.MSG_PEEK))
        except OSError:
            return 0  # nothing there; or broken, which the handshake will find out

    @property
    def quiet_s(self) -> float:
        """Seconds since anything came from the network, after the handshake; 0 while the kernel has it unread."""
        return 0.0 if self._has_unread() else self._loop.time() - self._received_s

    def _has_unread(self) -> bool:
        try:
            return self._sock is not None and bool(self._sock.recv(1, socket.MSG_PEEK))
        except (OSError, MemoryError):
            return False  # whatever is wrong, reading finds it out

    async def handshake(self, codec: TlsCodec, wrapper: HandshakeWrapper | None = None) -> None:
        """Put TLS on the wire: the ClientHello goes out, and this returns when the peer is known to be itself.

        Raises:
            TlsError, CertificateError: as `TlsCodec.handshake`; also for a reset (its cause says so).
        """
        self._stop_watching()  # the loop has one callback for each descriptor
        self._codec = codec
        try:
            while not codec.handshake():
                await self._send_handshake(codec, wrapper)
                await self._receive_handshake(codec, wrapper)
            await self._send_handshake(codec, wrapper)
        except SocketError:
            with contextlib.suppress(OSError):
                await self._send_handshake(codec, wrapper)  # the alert tells the peer why
            raise
        except OSError as error:
            text = f"{reason_of(error)} during the TLS handshake"
            raise TlsError(text, reason="RESET") from error

    async def _send_handshake(self, codec: TlsCodec, wrapper: HandshakeWrapper | None) -> None:
        answer = codec.answer()
        if answer and self._sock is not None:
            data = answer if wrapper is None else wrapper.wrap(answer)
            self.moved_bytes += len(data)
            await self._loop.sock_sendall(self._sock, data)

    async def _receive_handshake(self, codec: TlsCodec, wrapper: HandshakeWrapper | None) -> None:
        assert self._sock is not None
        limit = HANDSHAKE_READ_BYTES if wrapper is None else wrapper.wanted
        data = await self._loop.sock_recv(self._sock, limit)
        self.moved_bytes += len(data)
        if data and wrapper is not None:
            data = wrapper.unwrap(data)
            if not data:
                return  # a packet has only begun
        codec.receive(data)

    def open(self) -> None:
        """From here on the writable's queue is sent."""
        self._open = True
        self.push()
        self.pull()
        if self._watcher is not None:
            self._listen()

    # ---- receiving

    def pull(self) -> None:
        """A read waits: answer it from what is here, else when the peer sends."""
        if not self._owner.readable.wanted:
            return
        if self._open or self.lost is not None:
            self._serve(from_codec_only=True)
        if self._owner.readable.wanted:
            self._listen()

    def _listen(self) -> None:
        if self._open and self._sock is not None and not self._reading:
            self._reading = True
            self._loop.add_reader(self._sock, self._watcher or self._serve)

    def _serve(self, from_codec_only: bool = False) -> None:
        """Give waiting reads what has come: from the codec first, then from the kernel."""
        moved = 0
        while (limit := self._owner.readable.wanted) and moved < TURN_BYTES:
            buffer = _scratch.chunk[:limit]
            try:
                size = self._take(buffer, from_codec_only=from_codec_only)
                chunk = bytes(buffer[: size or 0])
            except (SocketError, MemoryError) as error:
                if self.lost is None:
                    # Which comes back here, for what was salvaged.
                    self.lose(error if isinstance(error, SocketError) else _lost(error, sending=False))
                else:
                    self._owner.readable.fail(self.lost)
                return
            if size is None:
                self.answer()
                return
            moved += size
            self._owner.readable.deliver(chunk)
            self.answer()  # may find the connection broken: the read has its chunk by then
        # Nobody wants more: the registration is kept for the next read, and ends when the loop calls in vain.
        if self._reading and not moved and not self._owner.readable.wanted:
            self._stop_reading()

    def _take(self, buffer: memoryview, *, from_codec_only: bool = False) -> int | None:
        """Fill a buffer: 0 at EOF, None where there is nothing now.

        Raises:
            SocketError: `lost`, when all before it was taken; or a new error, of which nobody knows yet.
        """
        while (size := self._codec.read_into(buffer)) is None:
            if self.lost is not None:
                raise self.lost
            if from_codec_only or self._sock is None:
                return None
            if self._codec.clear_in:
                size = self._receive(buffer)
                break
            if self._receive(_scratch.wire) is None:
                return None
        self._peer_ended |= size == 0
        return size

    def _receive(self, buffer: memoryview) -> int | None:
        """Ask the kernel for bytes; None where there are none now. The codec gets what it must see of them."""
        assert self._sock is not None
        try:
            size = self._sock.recv_into(buffer)
        except (BlockingIOError, InterruptedError):
            return None
        except (OSError, MemoryError) as error:
            if not (self._codec.reset_is_eof and isinstance(error, ConnectionResetError)):
                raise _lost(error, sending=self._waits) from error
            size = 0
        self._received(size)
        if not size or not self._codec.clear_in:
            self._codec.receive(buffer[:size])
        return size

    def _received(self, size: int) -> None:
        self.moved_bytes += size
        self._received_s = self._loop.time()
        self._heard = True

    # ---- receiving without waiting: the same bytes, for who moves many (`ReadableStream.take_into`, `receive_by`)

    def take_into(self, buffer: memoryview) -> int | None:
        """Fill a buffer with what is here: 0 at EOF, None where there is nothing now. To be followed by `answer()`.

        Raises:
            SocketError: the connection broke; all before it was taken.
        """
        while True:
            try:
                return self._take(buffer)
            except (SocketError, MemoryError) as error:
                if self.lost is not None:
                    raise self.lost from None
                # Then comes what was salvaged, and then the error.
                self.lose(error if isinstance(error, SocketError) else _lost(error, sending=False))

    def receive_by(self, move: Callable[[int], int]) -> int | None:
        """Let the kernel move what has come, by a call that takes our descriptor; None where that cannot be.

        Raises:
            BlockingIOError: nothing there, no room, EOF, or bytes that are not passed on that way (urgent ones).
            BrokenPipeError: nobody reads where they would go to.
        """
        if not (self._joins and self._codec.clear_in and self._open and self._sock is not None):
            return None
        try:
            size = move(self._sock.fileno())
        except (BlockingIOError, BrokenPipeError):
            raise  # a broken pipe is the other descriptor's: reading from a socket never ends so
        except OSError as error:
            self._join_failed(error, sending=self._waits)
            return None
        if not size:
            # EOF, or urgent bytes in front of it, where splice() stops for good: only receiving tells.
            raise BlockingIOError(errno.EAGAIN, "nothing was moved")
        self._received(size)
        return size

    @property
    def _waits(self) -> bool:
        """Is there something to be sent? Then it is lost with the connection, whichever side finds that broken."""
        return bool(self._owner.writable.queue)

    def _join_failed(self, error: OSError, *, sending: bool) -> None:
        if error.errno in CANNOT_JOIN:
            self._joins = False
        else:
            self.lose(_lost(error, sending=sending))

    def watch(self, callback: Callable[[], object] | None) -> None:
        """Call back whenever `take_into()` may have something, an error included; None ends that."""
        if callback != self._watcher:
            self._watcher = callback
            self._stop_reading()
        if callback is not None:
            self._listen()

    def answer(self) -> None:
        """Send what reading gave rise to (TLS alerts, KeyUpdate)."""
        try:
            answer = self._codec.answer()
        except MemoryError as error:
            self.lose(_lost(error, sending=True))
            return
        if answer:
            self._put(answer)
            if not self._writing:
                self._transmit()

    # ---- sending

    def push(self) -> None:
        """The queue has changed: send what the kernel takes, the rest when it is ready.

        What is done by that is settled in the next turn: the statement after an un-awaited `write()` still finds
        it queued (O4, W7).
        """
        if self._open and not self._writing and self._sock is not None:
            self._transmit()
            if not self._settling:
                self._settling = True
                self._loop.call_soon(self._settle)

    def push_now(self) -> None:
        """As `push()`, for who does not mind that what is done is settled before this returns."""
        if self._open and not self._writing and self._sock is not None:
            self._transmit()
        self.settle_writes()

    def send_by(self, move: Callable[[int], int]) -> int | None:
        """Let the kernel send, by a call that takes our descriptor: 0 at the end, None where that cannot be.

        What goes wrong with the connection is `lost`, as in all sending.

        Raises:
            BlockingIOError: nothing there, or no room: the queue is the way to wait for that.
        """
        if not (self._joins and self._codec.clear_out and self._open and self._sock is not None):
            return None
        if self._unsent or self._owner.writable.queue:
            raise BlockingIOError(errno.EAGAIN, "older bytes are to be sent first")
        try:
            size = move(self._sock.fileno())
        except BlockingIOError:
            raise
        except OSError as error:
            self._join_failed(error, sending=True)
            return None
        self.moved_bytes += size
        return size

    def flush_then_end(self) -> None:
        """Send what is queued, then our EOF: close_notify alone under TLS, else a FIN. Event FLUSHED."""
        self._when_empty(self._end)

    def flush_then_close_notify(self) -> None:
        """From the next turn on, send what is queued and under TLS close_notify (V11). Event FLUSHED."""
        self._plan(self._end_and_leave)

    def flush(self) -> None:
        """From the next turn on, send what is queued. Event FLUSHED."""
        self._plan(self._flushed)

    def _plan(self, follow: Callable[[], None]) -> None:
        """`follow` replaces what was to follow; the program's own next steps come first, and may replace it."""
        self._follow = None
        self._planned = follow
        self._loop.call_soon(self._begin_planned, follow)

    def _begin_planned(self, follow: Callable[[], None]) -> None:
        if self._planned is follow:
            self._when_empty(follow)

    def _when_empty(self, follow: Callable[[], None]) -> None:
        self._planned = None
        self._follow = follow
        self.push()

    def _end(self) -> None:
        self._put_end()
        self._when_empty(self._fin)

    def _end_and_leave(self) -> None:
        self._put_end()
        self._when_empty(self._flushed if self._codec.ends_with_fin or self._heard else self._linger)

    def _linger(self) -> None:
        """Wait a moment for the peer's end, so that what was sent arrives.

        A TLS 1.3 server sends session tickets after the handshake. Where nothing has been read since, closing makes
        the kernel answer them with a reset, and the peer may lose what it has not read yet.
        """
        if self._sock is None:
            return
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
        self._stop_watching()
        self._reading = True
        self._loop.add_reader(self._sock, self._discard)
        self._lingering = self._loop.call_later(LINGER_S, self._flushed)

    def _discard(self) -> None:
        assert self._sock is not None
        try:
            if self._sock.recv(SALVAGE_BYTES):
                return
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            pass
        self._flushed()

    def _put_end(self) -> None:
        self._ending = True
        if not self._cut:
            try:
                self._put(self._codec.end())
            except MemoryError as error:
                self.lose(_lost(error, sending=True))
            # Whoever waits for the peer is told of what went wrong with TLS.
            self.pull()
            if self._watcher is not None:
                self._loop.call_soon(self._watcher)

    def _fin(self) -> None:
        if self._codec.ends_with_fin and self._sock is not None:
            # Row 19: it fails where the peer has reset the connection. Nothing of ours is lost by that; whether
            # something of the peer's is, behind its end or not, the reads find out.
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)
        self._flushed()

    def _flushed(self) -> None:
        self._owner.on(Event.FLUSHED)

    def _put(self, data: Buffer) -> None:
        if data:
            self._unsent = memoryview(bytes(self._unsent) + data if self._unsent else data)

    def _on_writable(self) -> None:
        self._transmit()
        self._settle()

    def _transmit(self) -> None:
        """Hand to the kernel what it takes; wait for it if that is not all."""
        try:
            all_sent = self._send_some()
        except SocketError as error:
            self.lose(error)
        except (OSError, MemoryError) as error:
            if self._ending and (self._peer_ended or self._codec.reset_is_eof):
                # Row 19: nothing is lost, and nobody waits for our end.
                self._unsent = memoryview(b"")
                self._stop_writing()
            else:
                self.lose(_lost(error, sending=True))
        else:
            if all_sent:
                self._stop_writing()
            elif self._sock is not None and not self._writing:
                self._writing = True
                self._loop.add_writer(self._sock, self._on_writable)

    def _send_some(self) -> bool:
        """Send until all is sent (True), or the kernel is full or this turn is used up (False)."""
        queue = self._owner.writable.queue
        moved = 0
        while self._sock is not None:
            if self._unsent:
                try:
                    count = self._sock.send(self._unsent)
                except (BlockingIOError, InterruptedError):
                    return False
                self._unsent = self._unsent[count:]
                moved += count
                self.moved_bytes += count
            elif not self._open or self._taken == len(queue):
                return True
            elif not queue[self._taken].data:
                self._taken += 1
            elif moved >= TURN_BYTES:
                return False
            else:
                write = queue[self._taken]
                wire_bytes, taken = self._codec.encode(write.data)
                write.data = write.data[taken:]
                self._unsent = memoryview(wire_bytes)
        return True

    def _settle(self) -> None:
        """Tell the writes that are done so; go on with what is to follow when all are."""
        self._settling = True  # what follows may push, and is settled here
        self.settle_writes()
        while self._follow is not None and self._idle:
            follow, self._follow = self._follow, None
            follow()
            self.settle_writes()
        self._settling = False

    @property
    def _idle(self) -> bool:
        return self._sock is not None and not self._unsent and not self._owner.writable.queue

    def settle_writes(self) -> None:
        """Tell the writes whose bytes the kernel has that they are done (W4)."""
        while self._taken:
            self._taken -= 1
            self._owner.writable.sent()

    def drop_unsent(self) -> None:
        """Forget what the kernel has not taken: the stream is cut, and has no end in order any more."""
        self._cut = True
        self._unsent = memoryview(b"")
        if self._follow in (self._end, self._fin):
            self._follow = None
        self.push()

    # ---- the end

    def lose(self, error: SocketError) -> None:
        """The connection is broken. What the kernel holds still counts: it is kept for the reads to come."""
        if self.lost is not None:
            return
        self.lost = error
        self.settle_writes()
        if isinstance(error, LostError):
            self._salvage()
        self._owner.on(Event.LOST, error)
        self.pull()

    def _salvage(self) -> None:
        # Row 17: after a reset the answer that had come before it can still be read. It is finite: the peer
        # is gone, and the receive buffer is what it is.
        with contextlib.suppress(OSError, MemoryError, SocketError):
            while self._sock is not None and (data := self._sock.recv(SALVAGE_BYTES)):
                self._codec.receive(data)

    def close(self) -> None:
        """Close the connection. In clear text, with unread bytes in the kernel the peer sees a reset (C9)."""
        self._stop_watching()
        self._open = False
        if self._lingering is not None:
            self._lingering.cancel()
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def reset(self) -> None:
        """Close the connection so that the peer sees a reset: it must not take a part for the whole."""
        if self._sock is not None:
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
        self.close()

    # ---- the loop

    def _stop_reading(self) -> None:
        if self._reading and self._sock is not None:
            self._loop.remove_reader(self._sock)
        self._reading = False

    def _stop_writing(self) -> None:
        if self._writing and self._sock is not None:
            self._loop.remove_writer(self._sock)
        self._writing = False

    def _stop_watching(self) -> None:
        self._stop_reading()
        self._stop_writing()
        if self._watcher is not None:
            self._loop.call_soon(self._watcher)  # it will find out why


def _lost(error: BaseException, *, sending: bool) -> LostError:
    lost = LostError(LOST, reason_of(error), sending=sending)
    lost.__cause__ = error
    return lost
