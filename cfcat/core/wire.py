"""The event loop's side of a connection: readiness and bytes to events, effects to system calls.

One wire belongs to one socket; an upgrade moves the connection to the wire of the new one. It decides nothing: what it
finds is an event for the lifecycle. Bytes are moved by its two directions, `sending` and `receiving`; here are the
connection's beginning, the handshake, what breaks it, and its end.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from cfcat.core.lifecycle import Event
from cfcat.core.readable import ReadableStream
from cfcat.core.receiving import Receiving
from cfcat.core.sending import Sending
from cfcat.core.transport import Transport
from cfcat.core.writable import WritableStream
from cfcat.errors import LOST, LostError, SocketError, TlsError

if TYPE_CHECKING:
    from cfcat.core.channel import Channel
    from cfcat.core.hangups import Hangups
    from cfcat.core.layers import Outer
    from cfcat.core.tls import TlsCodec

__all__ = ["HandshakeWrapper", "Wire"]

HANDSHAKE_READ_BYTES = 64 * 1024
SALVAGE_BYTES = 256 * 1024
# Written and not yet sent: beyond that the kernel takes no more. What is in flight is not limited by it; but less waits
# here for a slow peer, and on a fast path it is sent while it is still in the cache: half the time of a bulk.
UNSENT_BYTES = 256 * 1024
TCP_OPTIONS = [
    # A debugger's line should leave at once, and pipe mode writes whole chunks anyway. nc: off; curl: on.
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    # Row 20: an idle session learns that the cable was pulled.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
]
if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # not every system has it
    TCP_OPTIONS.append((socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES))
LINGER_NONE = struct.pack("ii", 1, 0)  # close() sends RST


class HandshakeWrapper(Protocol):
    """How the records of a handshake travel where they are not on the wire as they are (MS-TDS)."""

    @property
    def max_tls(self) -> str | None:
        """The highest TLS version ("1.2", "1.3") whose handshake can travel this way; None: any."""

    @property
    def wanted(self) -> int:
        """Bytes to ask the wire for, and no more."""

    def wrap(self, tls: bytes) -> bytes:
        """Wire bytes for what TLS wants to send."""

    def unwrap(self, wire: bytes) -> bytes:
        """The TLS bytes in what came; b"" where a packet has only begun."""


class Wire(Transport):
    """One connection, with or without TLS.

    States: empty → attached (`attach`, or `move_to` of the wire before an upgrade) → `handshake`, where there is TLS →
    open (`open`): bytes move → closed (`close`, `reset`) or empty again (`move_to`). It may break in any of them
    (`lose`): LOST is told once, and what the kernel holds can still be read.

    `Socket` calls everything here; the two streams call `sending` and `receiving`. `on` is told LOST and FLUSHED.
    """

    def __init__(
        self,
        readable: ReadableStream,
        writable: WritableStream,
        on: Callable[[Event, BaseException | None], None],
        *,
        accepted: bool = False,
        relays: bool = False,
    ) -> None:
        """`relays`: that the connection broke is told although nobody reads or writes, as for accepted ones."""
        super().__init__(readable.owner.loop)
        self._on = on
        self._accepted = accepted
        self._relays = relays
        self._outer: Outer | None = None  # the TLS to a proxy, around everything
        self._hangups: type[Hangups] | None = None  # while they are watched
        self._early = b""  # read already, and part of the handshake
        self._arrived_bytes = 0  # of `received_bytes`: so many had come, read or not, when we last sent something
        self.sending = Sending(self, writable, lambda: on(Event.FLUSHED, None))
        self.receiving = Receiving(self, readable, self.sending)

    # ---- making

    def attach(self, sock: socket.socket, outer: Outer | None = None) -> None:
        """Take a connected, non-blocking socket. TCP's options are set where the socket has them.

        `outer`: the TLS to a proxy, through which everything goes.
        """
        for option in TCP_OPTIONS:
            try:
                sock.setsockopt(*option)
            except OSError:  # a Unix socket
                break
        self.sock = sock
        self.can_join = type(sock) is socket.socket  # one that is watched must see what passes
        if outer is not None:
            self._go_through(outer)

    def _go_through(self, outer: Outer) -> None:
        from cfcat.core.layers import Layered  # lazy: most connections have no proxy, and few of these TLS

        self._outer = outer
        self.codec = Layered(outer, self.codec)

    @property
    def is_attached(self) -> bool:
        """Is there a connection, open or not?"""
        return self.sock is not None

    def move_to(self, other: Wire, early: bytes = b"") -> None:
        """Give the connection to the wire of the upgraded socket. `early`: what has been read of its handshake."""
        self._unwatch()
        self._unwatch_hangups()
        other.sock, self.sock = self.sock, None
        other.can_join = self.can_join
        other._outer, self._outer = self._outer, None
        other._early = early
        self.is_open = False

    def unread_bytes(self) -> int:
        """How much clear text the kernel holds that nobody has read (V13); more than 64 KiB counts as that."""
        if self.sock is None:
            return 0
        if self._outer is not None:
            return self._outer.unread_bytes(self.codec, self.sock)
        try:
            return len(self.sock.recv(HANDSHAKE_READ_BYTES, socket.MSG_PEEK))
        except OSError:
            return 0  # nothing there; or broken, which the handshake will find out

    def about_to_send(self) -> None:
        from cfcat.core.hangups import pending_bytes  # lazy: most runs dial

        # A client may begin TLS right behind our go-ahead: only what came before that is out of place (V13).
        assert self.sock is not None
        self._arrived_bytes = self.received_bytes + pending_bytes(self.sock)

    def injected_bytes(self, unread: int) -> int:
        """How much of the clear text that nobody has read had come when we last sent something (V13). `unread`: how
        much the application has given back, or left over.
        """
        return max(0, self._arrived_bytes - (self.received_bytes - unread))

    @property
    def quiet_s(self) -> float:
        """Seconds since anything came from the network, after the handshake; 0 while the kernel has it unread."""
        return 0.0 if self._has_unread() else time.monotonic() - self.received_s

    def _has_unread(self) -> bool:
        """Would a read find something, the end and an error included?

        recv(MSG_PEEK) cannot tell: it would consume a pending error.
        """
        if self.sock is None:
            return False
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(0))

    async def handshake(self, codec: TlsCodec, wrapper: HandshakeWrapper | None = None) -> None:
        """Put TLS on the wire; returns when the handshake is done and the peer is known to be itself.

        Raises:
            TlsError, CertificateError: as `TlsCodec.handshake`; also for a reset (its cause says so).
        """
        self._unwatch()  # the loop has one callback for each descriptor
        from cfcat.core.channel import shake_hands  # lazy: clear text needs none
        from cfcat.core.watched import holding

        self.codec = codec
        try:
            with holding(self.sock, codec.context):
                await shake_hands(
                    codec, lambda: self._send_handshake(codec, wrapper), lambda: self._receive_handshake(codec, wrapper)
                )
        except TlsError as error:
            error.by_client = self._accepted
            raise
        if self._outer is not None:
            self._go_through(self._outer)

    async def say(self, data: bytes) -> None:
        """Send this before anything else. Raises OSError where the connection is broken."""
        self.sent_bytes += len(data)
        await self._channel().send(data)

    def _channel(self) -> Channel:
        from cfcat.core.channel import Channel  # lazy: as above

        assert self.sock is not None
        channel = Channel(self.loop, self.sock)
        return channel if self._outer is None else self._outer.channel(channel)

    async def _send_handshake(self, codec: TlsCodec, wrapper: HandshakeWrapper | None) -> None:
        answer = codec.answer()
        if answer and self.sock is not None:
            data = answer if wrapper is None else wrapper.wrap(answer)
            self.sent_bytes += len(data)
            await self._channel().send(data)

    async def _receive_handshake(self, codec: TlsCodec, wrapper: HandshakeWrapper | None) -> None:
        limit = HANDSHAKE_READ_BYTES if wrapper is None else wrapper.wanted
        data, self._early = self._early[:limit], self._early[limit:]
        if not data:
            data = await self._channel().receive(limit)
        self.received_bytes += len(data)
        if data and wrapper is not None:
            data = wrapper.unwrap(data)
            if not data:
                return  # a packet has only begun
        codec.receive(data)

    def open(self) -> None:
        """From here on the application's bytes move."""
        self.is_open = True
        if (self._accepted or self._relays) and self.sock is not None:
            from cfcat.core.hangups import Hangups  # lazy: most runs dial

            self._hangups = Hangups
            Hangups.watch(self.loop, self.sock, self._gone)
        self.sending.push()
        self.receiving.open()

    # ---- the end

    def _gone(self, error: int) -> None:
        """The kernel has given the connection up, although nobody reads or writes."""
        ends_with_fin = self.codec.ends_with_fin  # else TCP's end is one more, for which a relay waits
        both_ended = ends_with_fin and self.peer_has_ended and self.sending.has_ended
        if error and not (self.codec.reset_is_eof or both_ended):
            self.lose(LostError(LOST, os.strerror(error).lower(), sending=self.sending.has_queued))
        elif self._accepted and ends_with_fin:
            self._on(Event.GONE, None)

    def lose(self, error: SocketError) -> None:
        """The connection is broken. What the kernel holds still counts: it is kept for the reads to come."""
        if self.lost is not None:
            return
        self.lost = error
        self.sending.settle_writes()
        if isinstance(error, LostError):
            self._salvage()
            self.lost = error = self._refusal() or error
        self._on(Event.LOST, error)
        self.receiving.pull()

    def _salvage(self) -> None:
        # Row 17: after a reset the answer that had come before it can still be read. It is finite: the peer
        # is gone, and the receive buffer is what it is.
        with contextlib.suppress(OSError, MemoryError, SocketError):
            while self.sock is not None and (data := self.sock.recv(SALVAGE_BYTES)):
                self.codec.receive(data)

    def _refusal(self) -> SocketError | None:
        """A server that refuses us under TLS 1.3 sends an alert, and then a reset for what we have sent meanwhile."""
        with contextlib.suppress(MemoryError):
            return self.codec.refusal()
        return None

    def wake_reader(self) -> None:
        """Wake the reader: it must get a TLS error that was found while our side was ending."""
        self.receiving.pull()
        self.receiving.call_watcher()

    @property
    def resets_at_close(self) -> bool:
        if self._accepted and self.sending.is_cut:
            return False  # the client is to see a reset (V23), and no FIN before it
        if self._accepted and self._has_unread():  # V24
            return True
        return not (self.codec.ends_with_fin or self.received_s > -math.inf)

    def linger(self, then: Callable[[], None]) -> None:
        """Send TCP's FIN and wait a moment for the peer's end, so that what was sent arrives.

        A TLS 1.3 server sends session tickets after the handshake. Where nothing has been read since, closing makes
        the kernel answer them with a reset, and the peer may lose what it has not read yet. A client may still be
        sending a request that nobody wants: the same (V24).
        """
        if self.sock is None:
            return
        self._end_outer()
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
        self._unwatch()
        self.receiving.discard_until_end(lambda _: then())

    @property
    def unsent_bytes(self) -> int:
        """How much of what was sent the peer's kernel has not taken; 0 where the system cannot tell."""
        from cfcat.core.hangups import unsent_bytes  # lazy: a relay only

        return 0 if self.sock is None else unsent_bytes(self.sock)

    def close(self) -> None:
        """Close the connection. In clear text, with unread bytes in the kernel the peer sees a reset (C9)."""
        self._unwatch()
        self.is_open = False
        if self.sock is not None:
            self._unwatch_hangups()
            self._end_outer()
            self.sock.close()
            self.sock = None

    def _end_outer(self) -> None:
        """Tell the proxy that nothing more comes, if it takes that now: the target's end has been sent inside."""
        if self._outer is not None and self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.send(self._outer.codec.end())
            self._outer = None

    def reset(self) -> None:
        """Close the connection so that the peer sees a reset: it must not take a part for the whole."""
        self._outer = None
        if self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
        self.close()

    def let_go(self) -> None:
        """All is over: forget the directions, which refer to the wire and would keep it alive, and the listener."""
        del self._on, self.sending, self.receiving

    def _unwatch_hangups(self) -> None:
        if self._hangups is not None and self.sock is not None:
            self._hangups.unwatch(self.loop, self.sock)
        self._hangups = None

    def _unwatch(self) -> None:
        self.sending.unwatch()
        self.receiving.unwatch()
