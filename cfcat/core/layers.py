"""TLS to a proxy, and what goes through it: clear text, or the TLS of the target (TLS in TLS).

The outer TLS is a codec that another codec's wire bytes pass. It is between us and the proxy alone and does not protect
what the target says: an end without close_notify is an end there, as TCP's FIN is one.
"""

from __future__ import annotations

import contextlib
import socket

from cfcat.core.channel import Channel
from cfcat.core.codec import Buffer, Codec, PlainCodec
from cfcat.core.tls import TlsCodec
from cfcat.errors import TlsError

__all__ = ["Layered", "Outer"]

PIECE_BYTES = 60 * 1024  # `tls` takes so much at a time


class Outer:
    """The TLS to a proxy, after its handshake. `name`: what messages call the proxy."""

    def __init__(self, codec: TlsCodec, name: str) -> None:
        self.codec = codec
        self.name = name

    def describe(self) -> str:
        """Version and cipher."""
        info = self.codec.info()
        return f"{info.version}, {info.cipher}"

    def channel(self, channel: Channel) -> OuterChannel:
        """The channel that goes through it, on one of the socket's own."""
        return OuterChannel(channel, self)

    def unread_bytes(self, codec: Codec, sock: socket.socket) -> int:
        """As `Wire.unread_bytes`, where `codec` is that of the wire: session tickets of the proxy are no clear text."""
        with contextlib.suppress(OSError, TlsError):
            codec.receive(sock.recv(PIECE_BYTES))
        assert isinstance(codec, Layered)
        assert isinstance(codec.inner, PlainCodec)
        return codec.inner.unread_bytes

    def encode(self, data: Buffer) -> bytes:
        """The wire bytes for all of it."""
        left, parts = memoryview(data), []
        while left:
            part, taken = self.codec.encode(left)
            parts.append(part)
            left = left[taken:]
        return b"".join(parts)

    def read(self, limit: int) -> bytes | None:
        """What the proxy has sent, so many bytes at most; b"" at its end, None where that has not come yet.

        Raises:
            TlsError: what came is no TLS; it names the proxy.
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

    async def send(self, data: Buffer) -> None:
        await self._channel.send(self._outer.encode(data))

    async def receive(self, limit: int) -> bytes:
        while (data := self._outer.read(limit)) is None:
            self._outer.codec.receive(await self._channel.receive(PIECE_BYTES))
            await self._channel.send(self._outer.codec.answer())
        return data

    def here(self, limit: int) -> bytes:
        return self._outer.read(limit) or b""


class Layered:
    """A codec inside the TLS to a proxy. See `Codec`; that of clear text, or that of the target's TLS."""

    ends_with_fin = False  # close_notify is the proxy's end, as it is any TLS server's
    clear_in = False
    clear_out = False

    def __init__(self, outer: Outer, inner: Codec) -> None:
        self._outer = outer
        self._inner = inner
        self._has_ended = False  # the proxy's end has been passed on
        self._pass_on()  # what stood right behind the proxy's answer

    @property
    def reset_is_eof(self) -> bool:
        return self._inner.reset_is_eof

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

    @property
    def inner(self) -> Codec:
        """The codec of what goes through."""
        return self._inner
