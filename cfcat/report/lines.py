"""What happened, in lines for a person: `-v`.

What a peer said is escaped (R20), and what it said in clear text before TLS is marked as that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cfcat.core.trace import Attempted, Connected, Resolved, TlsEstablished, TraceEvent
from cfcat.report.facts import describe_certificate, describe_tls
from cfcat.report.render import escape

__all__ = ["MARKS", "dialog_lines", "duration", "trace_lines"]

MARKS = {"sent": ">", "received": "<"}


def trace_lines(event: TraceEvent, target: str, *, now_s: float, offered: Sequence[str] = ()) -> list[str]:
    """The lines for an event of a socket; `now_s`: seconds since 1970; `offered`: ALPN protocols."""
    if isinstance(event, Resolved):
        if event.addresses == (target,):
            return []  # it was an address
        return [f"{target} resolved to {', '.join(event.addresses)} in {duration(event.seconds)}"]
    if isinstance(event, Attempted):
        return _attempt_lines(event)
    if isinstance(event, Connected):
        return [f"connected to {event.remote_address} from {event.local_address} in {duration(event.seconds)}"]
    return list(_tls_lines(event, now_s, offered))


def dialog_lines(direction: str, data: bytes) -> list[str]:
    """A message of a STARTTLS dialog, line by line."""
    return [f"plain text {MARKS[direction]} {_escape_line(line)}" for line in data.splitlines(keepends=True)]


def duration(seconds: float) -> str:
    """`0.4 ms`, `1.25 s`."""
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _attempt_lines(event: Attempted) -> list[str]:
    if event.outcome == "connected":
        return []  # Connected says more
    if event.error is None:
        return [f"{event.address}: given up after {duration(event.seconds)}"]
    return [f"{event.address}: {event.reason} after {duration(event.seconds)}"]


def _tls_lines(event: TlsEstablished, now_s: float, offered: Sequence[str]) -> Iterator[str]:
    first, *others = describe_tls(event.info, offered)
    yield f"TLS established in {duration(event.seconds)}: {first}"
    if event.info.chain:
        others += describe_certificate(event.info.chain[0], now_s)
    yield from (f"  {line}" for line in others)


def _escape_line(line: bytes) -> str:
    """A line without its end, where that is the usual one; any other is shown."""
    return escape(line.removesuffix(b"\r\n"))
