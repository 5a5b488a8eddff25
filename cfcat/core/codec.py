"""Wire bytes to chunks and back: what a codec is, and that of clear text. That of TLS is in `tls`.

Pure: it never sees a socket, `wire` moves the bytes.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from cfcat.errors import SocketError

__all__ = ["TLS_ALERT", "TLS_HELLO", "Buffer", "Codec", "PlainCodec", "fill"]

Buffer = bytes | bytearray | memoryview

# How the answer of a TLS server to clear text begins: content type alert, major version 3 (RFC 5246 §6.2.1).
TLS_ALERT = b"\x15\x03"
TLS_HELLO = b"\x16\x03"  # and how a client begins: handshake


class Codec(Protocol):
    """The codec as `wire` uses it."""

    @property
    def ends_with_fin(self) -> bool:
        """Does TCP's FIN follow our EOF? A TLS client sends none: servers lose data when it follows close_notify."""

    @property
    def clear_in(self) -> bool:
        """Can the next bytes on the wire be handed to the reader unchanged?"""

    @property
    def is_drained(self) -> bool:
        """Must the wire give more before there is anything to read? False: `read_into` knows."""

    @property
    def has_answer(self) -> bool:
        """Has reading produced something to send, for `answer`?"""

    @property
    def clear_out(self) -> bool:
        """Do written bytes go on the wire unchanged?"""

    @property
    def reset_is_eof(self) -> bool:
        """Does a reset count as EOF? (`--ignore-unexpected-eof`)"""

    def receive(self, data: Buffer) -> None:
        """Take bytes from the wire and copy them; b"" is the wire's EOF (FIN)."""

    def read_into(self, buffer: memoryview) -> int | None:
        """Fill a buffer, as far as there is something; 0 at the peer's EOF, None when the wire must give more.

        Raises:
            TruncatedError: TCP ended without close_notify.
            TlsError: what came is no TLS. In both cases all data before the error has been returned first.
        """

    def encode(self, chunk: memoryview) -> tuple[Buffer, int]:
        """Wire bytes for the head of a chunk, and how much of the chunk they are."""

    def end(self) -> bytes:
        """Wire bytes of our EOF. May be called again; the end comes once."""

    def answer(self) -> bytes:
        """Bytes to send that reading produced: handshake, alerts, KeyUpdate answers."""

    def refusal(self) -> SocketError | None:
        """Why the peer has broken the connection, where it has said so; what it said before stays to be read."""


class PlainCodec:
    """Clear text: what is on the wire is what is read."""

    __slots__ = ("_chunks", "_is_eof", "clear_in", "is_drained")
    ends_with_fin = True
    clear_out = True
    reset_is_eof = False
    has_answer = False

    def __init__(self) -> None:
        self._chunks: deque[memoryview] | None = None  # a reader takes nearly everything from the wire itself
        self._is_eof = False
        self.is_drained = self.clear_in = True  # asked for each chunk: a property costs a call

    @property
    def unread_bytes(self) -> int:
        """How much has come and was not read."""
        return sum(map(len, self._chunks or ()))

    def receive(self, data: Buffer) -> None:
        self.is_drained = self.clear_in = False
        if not data:
            self._is_eof = True
        elif self._chunks is None:
            self._chunks = deque((memoryview(bytes(data)),))
        else:
            self._chunks.append(memoryview(bytes(data)))

    def read_into(self, buffer: memoryview) -> int | None:
        if not self._chunks:
            return 0 if self._is_eof else None
        size = fill(buffer, self._chunks)
        self.is_drained = self.clear_in = not self._chunks and not self._is_eof
        return size

    def encode(self, chunk: memoryview) -> tuple[Buffer, int]:
        return chunk, len(chunk)

    def end(self) -> bytes:
        return b""

    def answer(self) -> bytes:
        return b""

    def refusal(self) -> None:
        return None


def fill(buffer: memoryview, chunks: deque[memoryview]) -> int:
    """Move what fits of the first chunk into a buffer."""
    chunk = chunks.popleft()
    size = min(len(chunk), len(buffer))
    buffer[:size] = chunk[:size]
    if size < len(chunk):
        chunks.appendleft(chunk[size:])
    return size
