"""The events of a connection while it is opened, which `SocketOptions.trace` is called with.

They are those of `cfcat.record.making`, under the name by which the library's users know them. Each is told once, at
the moment that it has happened, from the event loop.
"""

from __future__ import annotations

from cfcat.record.making import (
    Attempted,
    Connected,
    Outcome,
    Proxied,
    Resolved,
    TlsEstablished,
    Trace,
    TraceEvent,
    os_reason,
)

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
