"""What a dialog is written in: the turns it yields, and the names it may need.

A dialog is a generator. It yields `Send` to speak, `Until` and `Exactly` to listen, and returns at the go-ahead. The
client's half raises DialogError where the server refuses, the server's half where the client leaves without TLS; both
raise Nonsense where what comes does not follow the protocol. `DialogRun` runs either, with the limits of SEC-R7.
Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, TypeVar

from cfcat.errors import DialogError, InjectionError
from cfcat.protocols.wrapper import HandshakeWrapper, Peer
from cfcat.record.words import plural

__all__ = [
    "MAX_MESSAGE_BYTES",
    "SAID_BYTES",
    "TLS_FIRST_BYTES",
    "Dialog",
    "Exactly",
    "Names",
    "Nonsense",
    "Peer",
    "Send",
    "Step",
    "Turn",
    "Until",
    "injected",
    "left",
    "speaks_tls",
]

SAID_BYTES = 512  # of what the peer said, kept for an error
MAX_MESSAGE_BYTES = 64 * 1024  # SEC-R7: one line with its end, one packet
TLS_FIRST_BYTES = frozenset({0x15, 0x16})  # alert, handshake (RFC 8446 §5.1)


class Send(NamedTuple):
    """Say this. The dialog gets b"" in return."""

    data: bytes


class Until(NamedTuple):
    """Listen up to and including the byte `mark`. `what` the peer is to send, in words, is for messages.

    `first`: the only bytes that it may begin with, or b"" for any. Another one is nonsense at once: nobody waits
    for the end of a line that cannot be an answer.
    """

    mark: bytes
    what: str
    first: bytes = b""


class Exactly(NamedTuple):
    """Listen for so many bytes. `what`, `first`: as in `Until`."""

    size: int
    what: str
    first: bytes = b""


# One turn of a dialog, to speak or to listen.
Turn: TypeAlias = Send | Until | Exactly
T = TypeVar("T")
# A part of a dialog: `line = yield from read_line("greeting")`
Step: TypeAlias = Generator[Turn, bytes, T]
# The whole. It returns a wrapper only where the handshake itself travels in packets of the protocol.
Dialog: TypeAlias = Step[HandshakeWrapper | None]


class Nonsense(Exception):
    """What came is no message of the protocol, or not one that can be an answer here. `said`: what came.

    `fault`: what is wrong with it, such as "has no end within 64 KiB", where it is not just another protocol.
    """

    def __init__(self, said: bytes, fault: str = "") -> None:
        super().__init__(said)
        self.said = said
        self.fault = fault


def left(how: str) -> DialogError:
    """The error for a client that has gone, or has to go, without asking for TLS. `how`: in a word or two."""
    return DialogError(f"the client left without asking for TLS ({how})")


def speaks_tls(peer: Peer = "server") -> DialogError:
    """The error for a peer whose first byte is that of a TLS record (row 89)."""
    return DialogError(f"the {peer} seems to speak TLS from the first byte", speaks_tls=True)


def injected(count: int, peer: Peer = "server") -> InjectionError:
    """The error for this many bytes after a server's go-ahead, or after a client's request for TLS (SEC-R1)."""
    behind = "STARTTLS go-ahead" if peer == "server" else "client's request for TLS"
    return InjectionError(
        f"{plural(count, 'byte')} of plain text after the {behind}; refusing (possible injection)", count
    )


@dataclass(frozen=True, slots=True)
class Names:
    """Who talks to whom, where a protocol wants to know.

    `client_name`: what EHLO and LHLO say. `server_name`: the domain that XMPP asks for, and what a server's greeting
    says; where that is an IPv6 address, it has no brackets.
    A name that could be more than a name (blanks, line ends, control characters) is a ValueError.
    """

    client_name: str
    server_name: str

    def __post_init__(self) -> None:
        for name in (self.client_name, self.server_name):
            if not name.isprintable() or " " in name or not name:
                raise ValueError(f"not usable as a name: {name!a}")
        if not self.client_name.isascii():
            raise ValueError(f"not an ASCII name: {self.client_name!a}")
