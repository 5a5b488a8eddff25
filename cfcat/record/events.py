"""The events of a transcript that an export goes by, as they are written and as they are read.

Pure. Session and reporter write them, `recording` reads them; the words of the first are those of the command line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cfcat.core.options import SocketOptions

__all__ = [
    "EXPECTED",
    "FAILED",
    "OUR_END",
    "PEER_END",
    "TLS_UP",
    "TLS_WRAPPED",
    "Connecting",
    "connecting_text",
    "expected_text",
    "parse_connecting",
]

# Stdin's end is ours, unless it says more: then ours is held, and "our side ended" follows where it was sent.
OUR_END = re.compile(r"our side ended$|stdin ended: \d+ bytes? sent$")
PEER_END = re.compile(r"(?:the )?peer ended(?:: |$)")
TLS_UP = re.compile(r"TLS established\b")
# Not as the dialog ends, but in packets of its own (MS-TDS).
TLS_WRAPPED = re.compile(r"TLS established\b.* by the dialog of mssql$|connecting to .* --starttls mssql\b")
FAILED = re.compile(r"could not connect: ")
EXPECTED = re.compile(r"expected (.*)", re.DOTALL)
_CONNECTING = re.compile(r"connecting to (\S+)(.*)")
_OPTION = re.compile(r" (--[a-z-]+)(?: (?!--)(\S+))?")


@dataclass(frozen=True, slots=True)
class Connecting:
    """How a connection was made: `connect()`'s address and options, and what the command line adds to them.

    `server_name`: to be verified in place of the host, or None. `protocol`: whose dialog is run first, or None.
    """

    target: str
    secure_transport: str = "off"
    allow_half_open: bool = False
    server_name: str | None = None
    protocol: str | None = None
    ignore_unexpected_eof: bool = False
    no_shutdown: bool = False

    @classmethod
    def by(cls, target: str, options: SocketOptions, protocol: str | None, *, no_shutdown: bool = False) -> Connecting:
        """How `connect(target, options)` is about to do it."""
        return cls(
            target,
            options.secure_transport,
            options.allow_half_open,
            options.expected_server_hostname,
            protocol,
            options.ignore_unexpected_eof,
            no_shutdown,
        )


def connecting_text(connecting: Connecting) -> str:
    """`connecting to mail.example:587 --tls starttls --half-open`."""
    words: Sequence[tuple[str, str | bool | None]] = (
        ("--tls", connecting.secure_transport),
        ("--half-open", connecting.allow_half_open),
        ("--sni", connecting.server_name),
        ("--starttls", connecting.protocol),
        ("--ignore-unexpected-eof", connecting.ignore_unexpected_eof),
        ("--no-shutdown", connecting.no_shutdown),
    )
    given = [option if value is True else f"{option} {value}" for option, value in words if value]
    return " ".join(["connecting to", connecting.target, *given])


def parse_connecting(text: str) -> Connecting | None:
    """What `connecting_text` wrote; None: it is another event."""
    match = _CONNECTING.fullmatch(text)
    if match is None:
        return None
    given = dict(_OPTION.findall(match[2]))
    return Connecting(
        match[1],
        given.get("--tls") or "off",
        "--half-open" in given,
        given.get("--sni") or None,
        given.get("--starttls") or None,
        "--ignore-unexpected-eof" in given,
        "--no-shutdown" in given,
    )


def expected_text(pattern: bytes) -> str:
    """`expected ^220 `: `:expect` has found its match."""
    return "expected " + pattern.decode("utf-8", "surrogateescape")
