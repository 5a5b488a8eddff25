"""What a client has asked for in its ClientHello, as far as the `ssl` module does not say: the server name.

Pure. A callback of the context would tell it too, but that is the caller's to set, and it prints a traceback for a name
that is no ASCII. Source: RFC 8446 §4.1.2 and §5.1, RFC 6066 §3.
"""

from __future__ import annotations

__all__ = ["MAX_HELLO_BYTES", "server_name_in"]

MAX_HELLO_BYTES = 64 * 1024  # the usual one has some hundred bytes, with post-quantum keys two thousand
HANDSHAKE, CLIENT_HELLO, SERVER_NAME, HOST_NAME = 22, 1, 0, 0
RECORD_HEAD_BYTES, VERSION_AND_RANDOM_BYTES = 5, 2 + 32


class _Fields:
    """Bytes that are read from the front; ValueError where there are too few."""

    def __init__(self, data: bytes) -> None:
        self.left = data

    def take(self, count: int) -> bytes:
        if len(self.left) < count:
            raise ValueError("too short")
        taken, self.left = self.left[:count], self.left[count:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def counted(self, size: int) -> _Fields:
        """What comes behind its own length, which is a number of so many bytes."""
        return _Fields(self.take(self.number(size)))


def server_name_in(data: bytes) -> str | None:
    """The server name (SNI) in the first records of a client; None where it names none, or this is no ClientHello.

    What is no ASCII in it is shown as an escape. It is the client's word: escape it again where it is shown.
    """
    try:
        return _server_name(_Fields(_messages(_Fields(data))))
    except ValueError:
        return None


def _messages(records: _Fields) -> bytes:
    """What is in the handshake records, which may cut a message anywhere."""
    messages = b""
    while records.left[:1] == bytes((HANDSHAKE,)) and len(records.left) >= RECORD_HEAD_BYTES:
        records.take(RECORD_HEAD_BYTES - 2)
        size = records.number(2)
        messages += records.take(min(size, len(records.left)))
    return messages


def _server_name(messages: _Fields) -> str | None:
    if messages.number(1) != CLIENT_HELLO:
        return None
    hello = messages.counted(3)
    hello.take(VERSION_AND_RANDOM_BYTES)
    for size in (1, 2, 1):  # session, suites, compressions
        hello.counted(size)
    extensions = hello.counted(2)
    while extensions.left:
        kind, content = extensions.number(2), extensions.counted(2)
        if kind == SERVER_NAME:
            names = content.counted(2)
            if names.number(1) == HOST_NAME:
                return names.counted(2).left.decode("ascii", "backslashreplace")
            return None
    return None
