"""What a socket tells while it is made, to `SocketOptions.trace`: names resolved, addresses tried, TLS.

Pure. Public, by way of `cfcat.core.trace`.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

from cfcat.record.events import TlsUp
from cfcat.record.words import DURATION, duration, seconds_of

if TYPE_CHECKING:
    from cfcat.core.certificate import TlsInfo

__all__ = [
    "Attempted",
    "Connected",
    "Outcome",
    "Proxied",
    "Resolved",
    "TlsEstablished",
    "Trace",
    "TraceEvent",
    "os_reason",
]

Outcome = Literal["connected", "failed", "abandoned"]


class Resolved(NamedTuple):
    """The name of `target` has these addresses, as `ip:port`, in the order in which they will be tried."""

    addresses: tuple[str, ...]
    seconds: float
    target: str = ""

    def text(self) -> str:
        """`mail.example:25 resolved to 192.0.2.7:25 in 1.2 ms`; "" where the target was an address."""
        if self.addresses == (self.target,):
            return ""
        return f"{self.target} resolved to {', '.join(self.addresses)} in {duration(self.seconds)}"

    @classmethod
    def parse(cls, text: str) -> Resolved | None:
        match = re.fullmatch(rf"(\S+) resolved to (\S+(?:, \S+)*) in {DURATION}", text)
        return match and cls(tuple(match[2].split(", ")), seconds_of(match[3]), match[1])


class Attempted(NamedTuple):
    """What became of one address: `error` where it failed; abandoned: another was faster, or the time was up."""

    address: str
    outcome: Outcome
    error: OSError | None
    seconds: float

    @property
    def reason(self) -> str:
        """The operating system's words for `error`, or "" if there is no error."""
        return "" if self.error is None else os_reason(self.error)

    def text(self) -> str:
        """`192.0.2.7:25: connection refused after 0.2 ms`; "" where it connected: `Connected` says more."""
        if self.outcome == "connected":
            return ""
        return f"{self.address}: {self.reason or 'given up'} after {duration(self.seconds)}"

    @classmethod
    def parse(cls, text: str) -> Attempted | None:
        if (match := re.fullmatch(rf"(\S+): (given up|.+) after {DURATION}", text)) is None:
            return None
        address, reason, shown = match.groups()
        failed = reason != "given up"
        error = OSError(reason) if failed else None
        return cls(address, "failed" if failed else "abandoned", error, seconds_of(shown))


class Connected(NamedTuple):
    """TCP is connected: both ends as `ip:port`; `seconds` since `connect()`. On a Unix socket: `unix:/path`, and ""."""

    remote_address: str
    local_address: str
    seconds: float

    def text(self) -> str:
        local = f" from {self.local_address}" if self.local_address else ""  # a Unix socket of ours has no name
        return f"connected to {self.remote_address}{local} in {duration(self.seconds)}"

    @classmethod
    def parse(cls, text: str) -> Connected | None:
        match = re.fullmatch(rf"connected to (\S+)(?: from (\S+))? in {DURATION}", text)
        return match and cls(match[1], match[2] or "", seconds_of(match[3]))


class Proxied(NamedTuple):
    """A proxy is connected to the target, or says so: from here on everything goes there.

    `proxy`: its URL, without credentials. `seconds`: since it was reached. `bound`: where it connects from, as it says,
    or "". `tls`: version and cipher to the proxy, or "".
    """

    proxy: str
    target: str
    seconds: float
    bound: str = ""
    tls: str = ""

    def text(self) -> str:
        """`mail.example:25 reached through socks5h://10.0.0.1:1080 in 3.2 ms, from 10.9.8.7:4711`."""
        bound = f", from {self.bound}" if self.bound else ""
        tls = f", under {self.tls}" if self.tls else ""
        return f"{self.target} reached through {self.proxy} in {duration(self.seconds)}{bound}{tls}"

    @classmethod
    def parse(cls, text: str) -> Proxied | None:
        pattern = rf"(\S+) reached through (\S+) in {DURATION}(?:, from ([^\s,]+))?(?:, under (.+))?"
        match = re.fullmatch(pattern, text)
        return match and cls(match[2], match[1], seconds_of(match[3]), match[4] or "", match[5] or "")


class TlsEstablished(NamedTuple):
    """The handshake is done, and the peer verified where that was asked for (SEC-R11: nothing is told before)."""

    info: TlsInfo
    seconds: float

    def text(self) -> str:
        """Same text as `TlsUp`, and it is read back as a `TlsUp`, because a transcript does not keep all of `info`."""
        return TlsUp(self.info.version, self.info.cipher, self.seconds).text()


TraceEvent = Resolved | Attempted | Proxied | Connected | TlsEstablished
Trace = Callable[[TraceEvent], None]


def os_reason(error: OSError) -> str:
    """The operating system's words alone: asyncio adds "[Errno 111] Connect call failed" around them."""
    if error.errno == errno.EADDRNOTAVAIL:  # the system's text assumes that the user chose the address
        return "no local address and port left to connect from"
    return (os.strerror(error.errno) if error.errno else str(error)).lower()
