"""Bytes on a connection before the application's move: a proxy's dialog, a handshake. Sent and received by waiting.

Nothing is read ahead: what is not asked for stays where it is.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from cfcat.core.codec import Buffer
from cfcat.core.loop import Loop
from cfcat.core.waiting import is_readable, is_writable
from cfcat.errors import SocketError, TlsError, reason_of

if TYPE_CHECKING:
    import ssl

    from cfcat.core.tls import TlsCodec

__all__ = ["Channel", "client_codec", "shake_hands"]


class Channel:
    """A connected, non-blocking socket, which somebody else owns and nobody else watches meanwhile."""

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        self._loop = loop
        self._sock = sock

    async def send(self, data: Buffer, shown: Buffer | None = None) -> None:
        """Return when the kernel has all of it. `shown`: what a capture has in its place, of the same length.

        Raises:
            OSError: the connection is broken.
        """
        if shown is not None:
            from cfcat.core.watched import disguise  # lazy: credentials only

            disguise(self._sock, shown)
        left = memoryview(data)
        while left:
            try:
                left = left[self._sock.send(left) :]
            except (BlockingIOError, InterruptedError):
                await is_writable(self._loop, self._sock)

    async def receive(self, limit: int) -> bytes:
        """Return what comes next, so many bytes at most; b"" at the end. Raises OSError as `send`."""
        while True:
            try:
                return self._sock.recv(limit)
            except (BlockingIOError, InterruptedError):
                await is_readable(self._loop, self._sock)

    def here(self, limit: int) -> bytes:
        """What has come already, so many bytes at most; for a message, so an error is no news."""
        try:
            return self._sock.recv(limit)
        except OSError:
            return b""


def client_codec(
    context: ssl.SSLContext,
    name: str,
    *,
    max_tls: str | None = None,
    ignore_unexpected_eof: bool = False,
    relays: bool = False,
) -> TlsCodec:
    """The codec of a client that knows the server by this name, or by none (""). `max_tls`: as for `limited()`; the
    other options are the codec's.

    Raises:
        TlsError: that cannot be the name of a server.
    """
    from cfcat.core.context import limited  # lazy: ssl
    from cfcat.core.tls import TlsCodec

    try:
        with limited(context, max_tls):
            return TlsCodec(context, name or None, ignore_unexpected_eof=ignore_unexpected_eof, relays=relays)
    except (ValueError, OSError) as error:  # UnicodeError, ssl.SSLError
        raise TlsError(f"TLS cannot begin with {name!r}: {error}") from error


async def shake_hands(
    codec: TlsCodec, send: Callable[[], Awaitable[None]], receive: Callable[[], Awaitable[None]]
) -> None:
    """Do a TLS handshake. `send`: send what `codec.answer()` has; `receive`: wait for bytes, and give the codec these.

    Raises:
        TlsError, CertificateError: as `TlsCodec.handshake`; also for a reset (its cause says so).
    """
    try:
        while not codec.handshake():
            await send()
            await receive()
        await send()
    except SocketError:
        with contextlib.suppress(OSError):
            await send()  # the alert tells the peer why
        raise
    except OSError as error:
        raise TlsError(f"{reason_of(error)} during the TLS handshake", reason="RESET") from error
