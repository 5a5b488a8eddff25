"""When our end is sent: stdin's end becomes ours only when that cannot cost the answer.

A FIN right behind a request makes common servers drop their answer: nginx cuts a large file and, as a proxy, answers
nothing at all, because it takes the FIN for a client that left; so do Node's servers, and slapd, prosody and ProFTPD
now and then. Under TLS 1.2 a peer must even discard what it has not sent when our close_notify comes (RFC 5246 §7.2.1).
On the other hand there are servers that answer only when our end has come. So our end waits for a silence of the
peer's, and how long that must be depends on what was sent: that is the table below.

Pure. It knows what was sent and whether anything has come; `hold` has the clock and the socket. The same table serves
pipes and the ends of scripts. A writer's `close()` in the library, and `:eof` in a session, send the end at once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

__all__ = [
    "STDIN_LOST_S",
    "TRANSFER_BYTES",
    "UNTIL_S",
    "Opening",
    "Sent",
    "Silence",
    "least_s",
    "sent_what",
    "silence_s",
]

# More than that is no request but a transfer: a server waits for its end, and has nothing to say before. The kernels
# of both sides keep some MiB that nobody has read, and a list of requests may be that long; of more than this the
# server has read a part, and would have answered it.
TRANSFER_BYTES = 16 * 1024 * 1024
# Where stdin cannot be read any more our end is not sent: the peer must not take a part for the whole. What it still
# says is delivered, until it has been silent for so long.
STDIN_LOST_S = 5.0
# So much of a request line is looked at for its version: what servers must support at least (RFC 9112 §3).
LINE_BYTES = 8000
# The longest method that is registered, UPDATEREDIRECTREF, has 17 characters; for binary data the first few bytes are
# enough to decide.
_METHOD, _TARGET = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}", rb"[!-~\x80-\xff]+"
_REQUEST = re.compile(_METHOD + b" " + _TARGET + rb" HTTP/1\.")
# A line beginning that may still become an HTTP request line.
_PART = re.compile(_METHOD + b"(?: (?:" + _TARGET + rb"(?: (?:H(?:T(?:T(?:P(?:/1?)?)?)?)?)?)?)?)?")


class Sent(Enum):
    """The kinds of sent data that the table distinguishes."""

    HTTP = "an HTTP/1 request, in clear text or under TLS"
    TLS = "anything else under TLS"
    PROXIED = "anything else through a proxy"
    TRANSFER = "clear text, more than TRANSFER_BYTES"
    REQUEST = "clear text, no more than that"


class Silence(NamedTuple):
    """How long the peer must be silent: `seconds` plus this number of round trips."""

    seconds: float
    round_trips: int = 0


# How long the peer must have been silent since stdin's end: first before the answer has begun, then after that.
TABLE: Mapping[Sent, tuple[Silence, Silence]] = {
    Sent.HTTP: (Silence(math.inf), Silence(1.0)),
    Sent.TLS: (Silence(1.0), Silence(1.0)),
    Sent.PROXIED: (Silence(1.0), Silence(1.0)),
    Sent.TRANSFER: (Silence(0.0), Silence(0.25, 4)),
    Sent.REQUEST: (Silence(0.5, 4), Silence(0.25, 4)),
}


def sent_what(*, is_http: bool, is_secure: bool, is_proxied: bool, sent_bytes: int) -> Sent:
    """The row of the table. Most proxies drop the connection at our end, with what they still hold of the answer."""
    if is_http:
        return Sent.HTTP
    if is_secure:
        return Sent.TLS
    if is_proxied:
        return Sent.PROXIED
    return Sent.TRANSFER if sent_bytes > TRANSFER_BYTES else Sent.REQUEST


def silence_s(sent: Sent, *, has_answer: bool, round_trip_s: float) -> float:
    """How many seconds the peer must have been silent before our end is sent; 0: at once, inf: not yet."""
    silence = TABLE[sent][has_answer]
    return silence.seconds + silence.round_trips * round_trip_s


# With `--until`: as long as `:expect` waits.
UNTIL_S = 10.0


def least_s(*, receives_on: bool, sent_bytes: int, until: bool) -> float:
    """A pipe's own least silence, beside the table's: what it is there for comes from the peer.

    A half-open listener that says nothing at all receives until its client ends, however slow that is: `-l >file
    </dev/null`.
    What `--until` waits for may come late, and many servers drop their client at its end.
    """
    if receives_on and not sent_bytes:
        return math.inf
    return UNTIL_S if until else 0.0


class Opening:
    """How the stream that we send begins. `is_http`: as an HTTP/1 request? None: that is not known yet."""

    def __init__(self) -> None:
        self.is_http: bool | None = None
        self._line = b""

    def feed(self, chunk: bytes | bytearray | memoryview) -> None:
        """Take what is sent next; after the first line nothing is looked at any more."""
        if self.is_http is None:
            self._line += bytes(chunk[: LINE_BYTES - len(self._line)])
            self.is_http = _is_request(self._line)


def _is_request(line: bytes) -> bool | None:
    if _REQUEST.match(line):
        return True
    return None if len(line) < LINE_BYTES and (not line or _PART.fullmatch(line)) else False
