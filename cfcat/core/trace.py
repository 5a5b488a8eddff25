"""What a connection tells of itself while it is made: the events that `SocketOptions.trace` is called with.

Pure. Each is told once, at the moment that it has happened, from the event loop.
"""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Callable
from typing import Literal

from cfcat.core.certificate import TlsInfo

__all__ = ["Attempted", "Connected", "Outcome", "Resolved", "TlsEstablished", "Trace", "TraceEvent", "os_reason"]

Outcome = Literal["connected", "failed", "abandoned"]


@dataclasses.dataclass(frozen=True, slots=True)
class Resolved:
    """The name has these addresses, as `ip:port`, in the order in which they will be tried."""

    addresses: tuple[str, ...]
    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class Attempted:
    """What became of one address: `error` where it failed; abandoned: another was faster, or the time was up."""

    address: str
    outcome: Outcome
    error: OSError | None
    seconds: float

    @property
    def reason(self) -> str:
        """The operating system's words for `error`; "" where there is none."""
        return "" if self.error is None else os_reason(self.error)


@dataclasses.dataclass(frozen=True, slots=True)
class Connected:
    """TCP is connected: both ends as `ip:port`; `seconds` since `connect()`."""

    remote_address: str
    local_address: str
    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class TlsEstablished:
    """The handshake is done, and the peer verified where that was asked for (R11: nothing is told before)."""

    info: TlsInfo
    seconds: float


TraceEvent = Resolved | Attempted | Connected | TlsEstablished
Trace = Callable[[TraceEvent], None]


def os_reason(error: OSError) -> str:
    """The operating system's words alone: asyncio adds "[Errno 111] Connect call failed" around them."""
    if error.errno == errno.EADDRNOTAVAIL:  # its own words are about an address that somebody had asked for
        return "no local address and port left to connect from"
    return (os.strerror(error.errno) if error.errno else str(error)).lower()
