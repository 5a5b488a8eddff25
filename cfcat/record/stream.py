"""A run as a stream of events for programs, one JSON object a line, as it happens: `--events`.

    {"event": "resolved", "connection": 1, "time": 0.0021, "target": "mail.example:25", "addresses": [...], ...}
    {"event": "received", "connection": 1, "time": 0.0154, "offset": 0, "text": "220 mail.example ESMTP\\r\\n"}

`events.schema.json` describes the objects. The bytes of one direction are those of its `sent` or `received` events, one
behind the other, but for what is masked: `offset` says where in the stream each begins. All is ASCII.
"""

from __future__ import annotations

import json
import time
from binascii import b2a_base64
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from cfcat.core.certificate import TlsInfo
from cfcat.edges.records import Records
from cfcat.edges.stderr import own
from cfcat.record.events import (
    Accepted,
    Broke,
    Connecting,
    Dialog,
    Direction,
    Exited,
    Expected,
    Failed,
    LineFailed,
    Listening,
    Moved,
    NotReady,
    OurSideEnded,
    PeerEnded,
    Said,
    StdinEnded,
)
from cfcat.record.journal import Mask
from cfcat.record.kept import Event
from cfcat.record.making import Attempted, Connected, Proxied, Resolved, TlsEstablished
from cfcat.record.sides import ClientCame, ClientTls, Side, SideEnded
from cfcat.record.transcript import open_private

__all__ = ["STDERR", "EventFile", "Stream"]

STDERR = "-"
# Which direction of the tap a side's end is the end of.
SAYS: dict[Side, Direction] = {"client": "sent", "server": "received"}
Fields = dict[str, Any]


class EventFile:
    """Where the events of a run go. `is_stderr`: they are on standard error, and nothing else is."""

    def __init__(self, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`path`: of a file that only its owner may read, to which they are appended; a FIFO; or STDERR.

        Raises:
            OSError: it cannot be written, or others could read or change it.
        """
        self.path = path
        self.is_stderr = path == STDERR
        self._clock = clock
        self._began_s = clock()
        self._records = Records(own(2) if self.is_stderr else open_private(path, allow_fifo=True), self._dropped)

    @property
    def is_done(self) -> bool:
        """Can nothing more be written?"""
        return self._records.is_done

    @property
    def problem(self) -> str:
        """Why the file is not complete, or "". Standard error may be whatever it is."""
        return "" if self.is_stderr else self._records.problem

    def tell(self, event: str, connection: int, fields: Fields) -> None:
        """Write one event. It never raises."""
        self._records.write(self._line(event, connection, fields), is_last=event == "exit")

    def _line(self, event: str, connection: int, fields: Fields) -> bytes:
        seconds = _rounded(self._clock() - self._began_s)
        text = json.dumps({"event": event, "connection": connection, "time": seconds, **fields})
        return text.replace("\x7f", "\\u007f").encode() + b"\n"  # the one control character that JSON leaves as it is

    def _dropped(self, count: int) -> bytes:
        what = f"{count} event was" if count == 1 else f"{count} events were"
        return self._line("note", 0, {"text": f"{what} not read in time, and dropped"})

    def close(self) -> None:
        """Nothing more is written. May be called again."""
        self._records.close()


class Stream:
    """A subscriber that writes the events of one connection after the other.

    `masks`: secrets are masked. `connection`: the number that all of it has; None: they are counted, from 1, and what
    belongs to none has 0.
    """

    def __init__(self, file: EventFile, *, masks: bool = True, connection: int | None = None) -> None:
        self._file = file
        self._mask = Mask() if masks else None
        self._counts = connection is None
        self._connection = connection or 0
        self._begin(Connecting(""))

    def _begin(self, event: Connecting | Accepted) -> None:
        """A connection begins."""
        self._offsets: dict[Direction, int] = {"sent": 0, "received": 0}
        self._passes_end = not (isinstance(event, Connecting) and event.no_shutdown)
        self._peer: Side = "client" if isinstance(event, Accepted) else "server"
        self._proxied: Proxied | None = None

    @property
    def wants_bytes(self) -> bool:
        """As `Subscriber.wants_bytes`."""
        return not self._file.is_done

    def take(self, event: Event) -> None:
        """As `Subscriber.take`."""
        if self._file.is_done:
            return
        if isinstance(event, (Moved, Dialog)):
            self._take_bytes(event)
            return
        if self._mask is not None:
            self._mask.take(event)
        if isinstance(event, (Connecting, Accepted)):
            self._connection += self._counts
            self._begin(event)
        elif isinstance(event, Proxied):
            self._proxied = event
        if (told := self._described(event)) is not None:
            name, fields = told
            self._file.tell(name, 0 if name == "listening" else self._connection, fields)

    def _take_bytes(self, event: Moved | Dialog) -> None:
        fields: Fields = {"direction": event.direction}
        if isinstance(event, Moved):
            fields = {"offset": self._offsets[event.direction], "tls": event.tls}
            self._offsets[event.direction] += len(event.data)
        data = event.data if self._mask is None else self._mask.shown(event.direction, event.data)
        fields |= _data(data)
        if data != event.data:
            fields["masked"] = True
        self._file.tell(event.direction if isinstance(event, Moved) else "dialog", self._connection, fields)

    def _described(self, event: Event) -> tuple[str, Fields] | None:
        """What is told of it, and under which name; None: nothing."""
        if isinstance(event, (Connected, Accepted, ClientCame)):
            return "connected", self._ends(event)
        if isinstance(event, TlsEstablished):
            return "tls", {"peer": self._peer, **_tls(event.info), "seconds": _rounded(event.seconds)}
        if isinstance(event, (StdinEnded, OurSideEnded, PeerEnded, SideEnded)):
            return self._ended(event)
        return _of_itself(event)

    def _ends(self, event: Connected | Accepted | ClientCame) -> Fields:
        dialed = isinstance(event, Connected)
        proxied = self._proxied if dialed else None
        return {
            "peer": "server" if dialed else "client",
            "remote_address": event.remote_address or None,
            "local_address": event.local_address,
            "proxy": None if proxied is None else _proxy(proxied),
            "seconds": _rounded(event.seconds) if isinstance(event, Connected) else None,
        }

    def _ended(self, event: StdinEnded | OurSideEnded | PeerEnded | SideEnded) -> tuple[str, Fields] | None:
        """The end of a direction; an end of stdin that is not passed on is none."""
        how, detail = "end", None
        direction: Direction = "received" if isinstance(event, PeerEnded) else "sent"
        if isinstance(event, StdinEnded) and (event.is_held or not self._passes_end):
            return None
        if isinstance(event, SideEnded):
            direction, how, detail = SAYS[event.side], event.how, event.detail or None
        return "ended", {"direction": direction, "how": how, "detail": detail, "offset": self._offsets[direction]}


def _of_itself(event: Event) -> tuple[str, Fields] | None:
    """What is told of an event that needs no other for that."""
    if isinstance(event, Listening):
        return "listening", {"addresses": list(event.addresses)}
    if isinstance(event, Resolved):
        seconds = _rounded(event.seconds)
        return "resolved", {"target": event.target, "addresses": list(event.addresses), "seconds": seconds}
    if isinstance(event, Attempted):
        return "attempt", _attempt(event)
    if isinstance(event, ClientTls):
        info = TlsInfo(event.version, event.cipher, event.alpn or None, event.server_name or None, False, ())
        return "tls", {"peer": "client", **_tls(info), "seconds": None}
    if isinstance(event, (Broke, LineFailed)):
        return "error", {"message": event.message, "hint": event.hint or None}
    if isinstance(event, Said):
        return "note", {"text": event.told}
    if isinstance(event, (Expected, Failed, NotReady)):
        return "note", {"text": event.text()}
    if isinstance(event, Exited):
        return "exit", {"status": event.status}
    return None


def _data(data: bytes) -> Fields:
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": b2a_base64(data, newline=False).decode()}


def _attempt(attempt: Attempted) -> Fields:
    return {
        "address": attempt.address,
        "outcome": attempt.outcome,
        "error": attempt.reason or None,
        "seconds": _rounded(attempt.seconds),
    }


def _proxy(proxied: Proxied) -> Fields:
    return {"url": proxied.proxy, "tls": proxied.tls or None, "bound_address": proxied.bound or None}


def _tls(info: TlsInfo) -> Fields:
    chain = [asdict(certificate) for certificate in info.chain]
    return {
        "version": info.version,
        "cipher": info.cipher,
        "alpn": info.alpn,
        "server_name": info.server_name,
        "verified": info.verified,
        "certificate": chain[0] if chain else None,
        "chain": chain,
    }


def _rounded(seconds: float) -> float:
    return round(seconds, 6)
