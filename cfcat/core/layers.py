"""TLS to a proxy, and what goes through it: clear text, or the target's TLS (TLS in TLS).

The outer TLS is a codec, and the wire bytes of the inner codec pass through it. It protects the way to the proxy, not
what the target says: its end without close_notify is an end like TCP's FIN, and no truncation.
"""

from __future__ import annotations

import contextlib
import socket

from cfcat.core.channel import Channel
from cfcat.core.codec import Buffer, Codec, PlainCodec
from cfcat.core.tls import TlsCodec
from cfcat.errors import SocketError, TlsError

__all__ = ["Layered", "Outer"]

PIECE_BYTES = 60 * 1024  # no more goes into `tls` at once


class Outer:
    """The TLS to a proxy, after its handshake. `name`: what messages call the proxy."""

    def __init__(self, codec: TlsCodec, name: str) -> None:
        self.codec = codec
        self.name = name

    def describe(self) -> str:
        """Return version and cipher."""
        info = self.codec.info()
        return f"{info.version}, {info.cipher}"

    def channel(self, channel: Channel) -> OuterChannel:
        """Return a channel through this TLS. `channel`: the socket's own."""
        return OuterChannel(channel, self)

    def unread_bytes(self, codec: Codec, sock: socket.socket) -> int:
        """As `Wire.unread_bytes`; `codec`: the wire's. Session tickets of the proxy do not count as clear text."""
        with contextlib.suppress(OSError, TlsError):
            codec.receive(sock.recv(PIECE_BYTES))
        assert isinstance(codec, Layered)
        assert isinstance(codec.inner, PlainCodec)
        return codec.inner.unread_bytes

    def encode(self, data: Buffer) -> bytes:
        """Return the wire bytes for all of `data`."""
        left, parts = memoryview(data), []
        while left:
            part, taken = self.codec.encode(left)
            parts.append(part)
            left = left[taken:]
        return b"".join(parts)

    def read(self, limit: int) -> bytes | None:
        """Return what the proxy has sent, at most `limit` bytes; b"" at its end, None where nothing has come yet.

        Raises:
            TlsError: the proxy broke TLS; the message names it.
        """
        buffer = memoryview(bytearray(limit))
        try:
            size = self.codec.read_into(buffer)
        except TlsError as error:
            if not error.message.startswith(self.name):
                error.message = f"{self.name}: {error.message}"
            raise
        return None if size is None else bytes(buffer[:size])


class OuterChannel(Channel):
    """Bytes to and from the proxy, under TLS."""

    def __init__(self, channel: Channel, outer: Outer) -> None:
        self._channel = channel
        self._outer = outer

    async def send(self, data: Buffer, shown: Buffer | None = None) -> None:
        """As `Channel.send`; a capture has what it has of the TLS."""
        await self._channel.send(self._outer.encode(data))

    async def receive(self, limit: int) -> bytes:
        while (data := self._outer.read(limit)) is None:
            self._outer.codec.receive(await self._channel.receive(PIECE_BYTES))
            await self._channel.send(self._outer.codec.answer())
        return data

    def here(self, limit: int) -> bytes:
        return self._outer.read(limit) or b""


class Layered:
    """The codec of a connection through the TLS to a proxy; see `Codec`. `inner`: clear text, or the target's TLS."""

    ends_with_fin = False  # close_notify ends it, as any TLS stream
    clear_in = False
    clear_out = False

    def __init__(self, outer: Outer, inner: Codec) -> None:
        self._outer = outer
        self._inner = inner
        self._has_ended = False  # the proxy's end has been passed on
        self._pass_on()  # bytes that came right behind the proxy's answer

    @property
    def reset_is_eof(self) -> bool:
        return self._inner.reset_is_eof

    @property
    def is_drained(self) -> bool:
        return self._inner.is_drained

    @property
    def has_answer(self) -> bool:
        return self._inner.has_answer or self._outer.codec.has_answer

    def receive(self, data: Buffer) -> None:
        self._outer.codec.receive(data)
        self._pass_on()

    def _pass_on(self) -> None:
        while not self._has_ended and (data := self._outer.read(PIECE_BYTES)) is not None:
            self._has_ended = not data
            self._inner.receive(data)

    def read_into(self, buffer: memoryview) -> int | None:
        return self._inner.read_into(buffer)

    def encode(self, chunk: memoryview) -> tuple[Buffer, int]:
        data, taken = self._inner.encode(chunk[:PIECE_BYTES])
        return self._outer.encode(data), taken

    def end(self) -> bytes:
        end = self._outer.encode(self._inner.end())
        return end + self._outer.codec.end() if self._inner.ends_with_fin else end

    def answer(self) -> bytes:
        return self._outer.encode(self._inner.answer()) + self._outer.codec.answer()

    def refusal(self) -> SocketError | None:
        return self._inner.refusal()

    @property
    def inner(self) -> Codec:
        """The codec of what goes through."""
        return self._inner
