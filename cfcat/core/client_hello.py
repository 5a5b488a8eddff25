"""What a client asks for in its ClientHello, as far as the `ssl` module does not say: the server name, and ALPN.

Pure. A callback of the context would tell the name too, but that is the caller's to set, and it prints a traceback for
a name that is no ASCII. Sources: RFC 8446 §4.1.2 and §5.1, RFC 6066 §3 (server name), RFC 7301 §3.1 (ALPN).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["MAX_HELLO_BYTES", "ClientHello", "read_hello", "server_name_in"]

HANDSHAKE = 0x16
MAJOR_VERSION = 3
CLIENT_HELLO = 0x01
RECORD_HEADER_BYTES, MESSAGE_HEADER_BYTES, RANDOM_BYTES = 5, 4, 32
MAX_RECORD_BYTES = 16 * 1024
MAX_HELLO_BYTES = 64 * 1024  # the usual one has some hundred bytes, with post-quantum keys two thousand
SERVER_NAME, ALPN = 0, 16  # extensions
HOST_NAME = 0


class ClientHello(NamedTuple):
    """A whole ClientHello, of `size` bytes with the heads of its records.

    `server_name`: None where it names none; bytes of it that are no ASCII are escapes. It is the client's word: escape
    it again where it is shown. `alpn`: the protocols it offers, in its order.
    """

    size: int
    server_name: str | None = None
    alpn: tuple[str, ...] = ()


def server_name_in(data: bytes) -> str | None:
    """The server name (SNI) in the first records of a client; None where it names none, or this is no ClientHello."""
    found = read_hello(data)
    return found.server_name if isinstance(found, ClientHello) else None


def read_hello(data: bytes) -> ClientHello | Literal["partial"] | None:
    """The ClientHello at the beginning of this; "partial" where it may become one; None where it is none.

    The whole of it is parsed, since clear text may begin with the same bytes.
    """
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
    if len(message) > _message_bytes(message):
        return None
    try:
        hello = _parse(bytes(message[MESSAGE_HEADER_BYTES:]))
    except ValueError:
        return None
    return hello._replace(size=len(data) - len(rest))


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


def _parse(body: bytes) -> ClientHello:
    """Raises ValueError: it is no ClientHello."""
    fields = _Fields(body)
    if fields.number(2) >> 8 != MAJOR_VERSION:
        raise ValueError("no version of TLS")
    fields.take(RANDOM_BYTES)
    session, suites, compressions = fields.vector(1), fields.vector(2), fields.vector(1)
    if len(session) > RANDOM_BYTES or not suites or len(suites) % 2 or not compressions:
        raise ValueError("impossible length")
    hello = ClientHello(0)
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
        if kind == HOST_NAME and name and found is None:
            found = name.decode("ascii", "backslashreplace")
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
