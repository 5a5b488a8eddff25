"""ClientHello: is what a client begins with one, and what does it ask for?

Pure. A TLS client announces itself with this message, whatever protocol was spoken before it; so the tap needs to know
none. Sources: RFC 8446 §4.1.2 and §5.1, RFC 6066 §3 (server name), RFC 7301 §3.1 (ALPN).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from cfcat.errors import DialogError
from cfcat.protocols.wrapper import PRELOGIN, HandshakeWrapper

__all__ = ["MAX_HELLO_BYTES", "Hello", "look"]

HANDSHAKE = 0x16
MAJOR_VERSION = 3
CLIENT_HELLO = 0x01
RECORD_HEADER_BYTES, MESSAGE_HEADER_BYTES, RANDOM_BYTES = 5, 4, 32
MAX_RECORD_BYTES = 16 * 1024
MAX_HELLO_BYTES = 64 * 1024  # those of today's clients are below 4 KiB
SERVER_NAME, ALPN = 0, 16  # extensions
HOST_NAME = 0
MAX_NAME_BYTES = 255


class Hello(NamedTuple):
    """A whole ClientHello. `server_name`: None where it names none. `alpn`: the protocols it offers, in its order.

    `wrapped`: it came in the packets of MS-TDS.
    """

    server_name: str | None = None
    alpn: tuple[str, ...] = ()
    wrapped: bool = False


def look(data: bytes) -> Hello | Literal["partial"] | None:
    """Judge all that a client has said in its turn: one whole ClientHello and nothing else, its beginning, or neither.

    The whole of it is parsed, since clear text may begin with the same bytes.
    """
    if data[:1] == bytes((PRELOGIN,)):
        return _look_wrapped(data)
    message = bytearray()
    rest = memoryview(data)
    while True:
        if not _may_begin_record(bytes(rest[:RECORD_HEADER_BYTES])):
            return None
        if len(rest) < RECORD_HEADER_BYTES:
            return "partial"
        size = int.from_bytes(rest[3:RECORD_HEADER_BYTES], "big")
        if not 0 < size <= MAX_RECORD_BYTES:
            return None
        message += rest[RECORD_HEADER_BYTES:][:size]
        if not _may_begin_message(message):
            return None
        if len(rest) < RECORD_HEADER_BYTES + size:
            return "partial"
        rest = rest[RECORD_HEADER_BYTES + size :]
        if len(message) >= MESSAGE_HEADER_BYTES and len(message) >= _message_bytes(message):
            break
    if rest or len(message) > _message_bytes(message):
        return None
    try:
        return _parse(bytes(message[MESSAGE_HEADER_BYTES:]))
    except ValueError:
        return None


def _look_wrapped(data: bytes) -> Hello | Literal["partial"] | None:
    wrapper = HandshakeWrapper("client")
    try:
        tls = wrapper.unwrap(data)
    except DialogError:
        return None
    if not tls:
        return "partial"
    found = look(tls) if tls[:1] != bytes((PRELOGIN,)) else None
    if isinstance(found, Hello):
        return None if wrapper.incomplete else found._replace(wrapped=True)
    return found


def _may_begin_record(header: bytes) -> bool:
    return header[:2] == bytes((HANDSHAKE, MAJOR_VERSION))[: len(header)]


def _may_begin_message(message: bytearray) -> bool:
    if message[:1] not in (b"", bytes((CLIENT_HELLO,))):
        return False
    return len(message) < MESSAGE_HEADER_BYTES or _message_bytes(message) <= MAX_HELLO_BYTES


def _message_bytes(message: bytearray) -> int:
    return MESSAGE_HEADER_BYTES + int.from_bytes(message[1:MESSAGE_HEADER_BYTES], "big")


class _Fields:
    """Takes fields from the front of a structure. Raises ValueError where there is too little."""

    def __init__(self, data: bytes) -> None:
        self._rest = data

    def __bool__(self) -> bool:
        return bool(self._rest)

    def take(self, size: int) -> bytes:
        if len(self._rest) < size:
            raise ValueError("cut short")
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, length_bytes: int) -> bytes:
        return self.take(self.number(length_bytes))

    def end(self) -> None:
        if self._rest:
            raise ValueError("too long")


def _parse(body: bytes) -> Hello:
    """Raises ValueError: it is no ClientHello."""
    fields = _Fields(body)
    if fields.number(2) >> 8 != MAJOR_VERSION:
        raise ValueError("no version of TLS")
    fields.take(RANDOM_BYTES)
    session, suites, compressions = fields.vector(1), fields.vector(2), fields.vector(1)
    if len(session) > RANDOM_BYTES or not suites or len(suites) % 2 or not compressions:
        raise ValueError("impossible length")
    hello = Hello()
    if fields:
        extensions = _Fields(fields.vector(2))
        while extensions:
            kind, data = extensions.number(2), extensions.vector(2)
            if kind == SERVER_NAME:
                hello = hello._replace(server_name=_server_name(data))
            elif kind == ALPN:
                hello = hello._replace(alpn=_alpn(data))
    fields.end()
    return hello


def _server_name(data: bytes) -> str | None:
    names = _Fields(_whole_vector(data))
    found = None
    while names:
        kind, name = names.number(1), names.vector(2)
        if kind == HOST_NAME and 0 < len(name) <= MAX_NAME_BYTES and name.isascii():
            text = name.decode("ascii")
            found = text if text.isprintable() and " " not in text else None
    return found


def _alpn(data: bytes) -> tuple[str, ...]:
    protocols = _Fields(_whole_vector(data))
    found = []
    while protocols:
        name = protocols.vector(1)
        if name and name.isascii():  # others, such as GREASE, are made so that nobody takes them
            found.append(name.decode("ascii"))
    return tuple(found)


def _whole_vector(data: bytes) -> bytes:
    fields = _Fields(data)
    vector = fields.vector(2)
    fields.end()
    return vector
