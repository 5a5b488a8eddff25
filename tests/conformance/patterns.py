"""What an expected event may hold in place of a value: a statement about the value that cfcat shows.

Each says as exactly as it can what is right; `matches` gets the value seen and the run that it was seen in.
"""

from __future__ import annotations

import ipaddress
import socket
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.conformance.data import Event, Json, data_size, encode
from tests.conformance.names import SeenError

__all__ = ["AnyOf", "Chunk", "EndAfter", "ErrorOf", "Hello", "Info", "Pattern", "Run", "same", "shown"]

TLS_HELLO = b"\x16\x03"  # a handshake record, whatever its minor version
LOCAL_KEY, REMOTE_KEY = "localAddress", "remoteAddress"


@dataclass(frozen=True)
class Run:
    """What a scenario showed when cfcat ran it; `complaints` are of the event loop, or of the server."""

    port: int
    trace: list[Event]
    saw: list[Event]
    complaints: list[str]


class Pattern(ABC):
    """A statement about a value; `str()` puts it in words."""

    @abstractmethod
    def matches(self, seen: Json, run: Run) -> bool:
        """Is it true of the value seen?"""


@dataclass(frozen=True)
class AnyOf(Pattern):
    """One of several values, where it is the machine's timing or the program's choice which."""

    choices: tuple[Json, ...]

    def matches(self, seen: Json, run: Run) -> bool:
        return any(same(choice, seen, run) for choice in self.choices)

    def __str__(self) -> str:
        return " or ".join(map(shown, self.choices))


@dataclass(frozen=True)
class ErrorOf(Pattern):
    """An error of one of these Python classes, recorded as `name`; `message` None: a text of cfcat's own.

    cfcat's own text must be non-empty and must not contain the runtime's internal text.
    """

    name: str
    classes: tuple[str, ...]
    message: str | None = None
    count: int | None = None  # of an InjectionError

    def matches(self, seen: Json, run: Run) -> bool:
        if not isinstance(seen, SeenError) or seen.get("name") != self.name:
            return False
        if not {kind.__name__ for kind in type(seen.exception).__mro__} & set(self.classes):
            return False
        if self.count is not None and getattr(seen.exception, "count", None) != self.count:
            return False
        text = seen.get("message")
        if self.message is not None:
            return bool(text == self.message)
        return bool(text) and "internal error" not in str(text) and "jsg." not in str(text)

    def __str__(self) -> str:
        count = "" if self.count is None else f" counting {self.count} bytes"
        text = "a text of its own" if self.message is None else repr(self.message)
        return f"<{self.name}, {' or '.join(self.classes)}{count}: {text}>"


@dataclass(frozen=True)
class Info(Pattern):
    """What `opened` resolves with: the real ends of the connection (V1).

    `address` is the text given, `host:port`; the remote end must have that port, and an address that the host
    resolves to.
    """

    address: str

    def matches(self, seen: Json, run: Run) -> bool:
        if not isinstance(seen, Mapping) or set(seen) != {REMOTE_KEY, LOCAL_KEY}:
            return False
        host, _, port = self.address.replace("{port}", str(run.port)).rpartition(":")
        remote, local = (_endpoint(seen[key], run) for key in (REMOTE_KEY, LOCAL_KEY))
        if remote is None or local is None or local[1] == 0 or not port.isdigit():
            return False
        return remote[1] == int(port) and remote[0] in _resolved(host)

    def __str__(self) -> str:
        return f"<the ends of a connection to {self.address}>"


@dataclass(frozen=True)
class Chunk(Pattern):
    """The next piece of a stream, of at least `least` bytes; `before` are the events that read from it earlier."""

    stream: bytes
    least: int
    before: tuple[int, ...]

    def matches(self, seen: Json, run: Run) -> bool:
        start = sum(data_size(run.trace[index].get("data", "")) for index in self.before)
        size = data_size(seen)
        piece = self.stream[start : start + size]
        return size == len(piece) >= self.least and bool(seen == encode(piece))

    def __str__(self) -> str:
        return f"<the next {self.least} bytes or more of {len(self.stream)}>"


@dataclass(frozen=True)
class EndAfter(Pattern):
    """How the peer sees a close: EOF when all `size` bytes that it sent were read, else a reset (C9)."""

    size: int
    reads: tuple[int, ...]

    def matches(self, seen: Json, run: Run) -> bool:
        read = sum(data_size(run.trace[index].get("data", "")) for index in self.reads)
        return bool(seen == ("eof" if read >= self.size else "reset"))

    def __str__(self) -> str:
        return f"<eof if all {self.size} bytes were read, else reset>"


@dataclass(frozen=True)
class Hello(Pattern):
    """`size` bytes: some clear text, then the start of a ClientHello."""

    clear: bytes
    size: int

    def matches(self, seen: Json, run: Run) -> bool:
        data = bytes.fromhex(seen["hex"]) if isinstance(seen, dict) and "hex" in seen else str(seen).encode()
        return len(data) == self.size and data.startswith((self.clear + TLS_HELLO)[: self.size])

    def __str__(self) -> str:
        return f"<{self.size} bytes: {self.clear!r} and a ClientHello>"


def same(expected: Json, seen: Json, run: Run) -> bool:
    """Are two values equal, where patterns say what they say, and null and left out mean the same?"""
    if isinstance(expected, Pattern):
        return expected.matches(seen, run)
    if isinstance(expected, Mapping) and isinstance(seen, Mapping):
        return all(same(expected.get(key), seen.get(key), run) for key in {*expected, *seen})
    if isinstance(expected, list) and isinstance(seen, list):
        return len(expected) == len(seen) and all(same(e, s, run) for e, s in zip(expected, seen, strict=True))
    # JSON's true is no number, Python's is.
    return bool(expected == seen) and isinstance(expected, bool) == isinstance(seen, bool)


def shown(value: Any) -> str:
    """A value on one line, patterns in words."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f'"{key}": {shown(member)}' for key, member in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(shown, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return '"' + value.encode("unicode_escape").decode().replace('"', '\\"') + '"'
    return str(value)


def _endpoint(text: Json, run: Run) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int] | None:
    """`ip:port`, with IPv6 in brackets, as an address and a number."""
    host, _, port = str(text).replace("{port}", str(run.port)).rpartition(":")
    if (":" in host) != (host[:1] == "[" and host[-1:] == "]"):
        return None
    try:
        return _address(host.strip("[]")), int(port)
    except ValueError:
        return None


def _address(ip: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(ip.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _resolved(host: str) -> set[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {_address(str(info[4][0])) for info in found}
