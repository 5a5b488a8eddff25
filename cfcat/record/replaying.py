"""A connection of a transcript as what each side said and did, in order: what `--replay` plays.

Pure. Where one entry ends and the next begins means nothing; each side's bytes between two deeds of the other are one
step. Whose transcript it is says how its connections begin: the client's are dialed, the server's accepted, and the
tap's are both.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from cfcat.errors import TranscriptError
from cfcat.protocols.secrets import MASK
from cfcat.record.events import (
    Accepted,
    Connecting,
    Failed,
    Moved,
    Opened,
    OurSideEnded,
    PeerEnded,
    Scribe,
    StdinEnded,
    TlsUp,
    TranscriptOf,
)
from cfcat.record.kept import Event
from cfcat.record.making import Connected, Proxied
from cfcat.record.recording import MAX_BYTES, STEP_BYTES, TOO_MUCH, WRAPPED
from cfcat.record.sides import ClientCame, ClientTls, Side, SideEnd, SideEnded
from cfcat.record.transcript import Entry, parse_entry

__all__ = ["Ended", "Recorded", "Row", "Said", "Secured", "Step", "other", "read_recorded"]

PRELOGIN = b"\x12\x01"  # how a client of MS-TDS begins
BEGINS: dict[Scribe, str] = {"client": "dialed", "server": "accepted", "tap": "tapped"}


class Row(NamedTuple):
    """What one line of the transcript has of a side's bytes: from `start` of its step on."""

    start: int
    line: int


@dataclass(slots=True)
class Said:
    """All that a side said before something else happened. `masked`: the first line with a secret in it, or 0."""

    side: Side
    data: bytearray = field(default_factory=bytearray)
    rows: list[Row] = field(default_factory=list)
    masked: int = 0

    def line_of(self, place: int) -> int:
        """The line of the transcript that has the byte at this place; of the place behind the last one, its line."""
        return self.rows[max(0, bisect_right(self.rows, place, key=lambda row: row.start) - 1)].line

    def entries(self) -> Iterator[tuple[int, bytes]]:
        """The number and the bytes of each line."""
        ends = [*(row.start for row in self.rows[1:]), len(self.data)]
        for row, end in zip(self.rows, ends, strict=True):
            yield row.line, bytes(self.data[row.start : end])


class Secured(NamedTuple):
    """TLS began: with `side` of the tap; None: on the whole connection. `wrapped`: in the packets of MS-TDS."""

    line: int
    side: Side | None = None
    server_name: str = ""
    alpn: str = ""
    wrapped: bool = False


class Ended(NamedTuple):
    """A side ended."""

    line: int
    side: Side
    how: SideEnd = "end"


Step = Said | Secured | Ended


@dataclass(slots=True)
class Recorded:
    """One connection. `ignores_cuts`: its TLS may end without close_notify."""

    by: Scribe
    steps: list[Step] = field(default_factory=list)
    ignores_cuts: bool = False

    def masked_line(self, side: Side) -> int:
        """The first line of a secret that this side said, or 0."""
        return next(
            (step.masked for step in self.steps if isinstance(step, Said) and step.side == side and step.masked), 0
        )

    def tls_with(self, peer: Side) -> list[Secured]:
        """Where TLS begins, for who talks to this side."""
        return [step for step in self.steps if isinstance(step, Secured) and step.side in (None, peer)]

    def begins_with_tls(self, peer: Side) -> bool:
        """Is TLS the first that happens, for who talks to this side?"""
        first = next((step for step in self.steps if not isinstance(step, Secured) or step.side in (None, peer)), None)
        return isinstance(first, Secured)

    def before(self, line: int, count: int) -> list[tuple[Side, bytes]]:
        """What the last lines before this one have, and who said it."""
        said = (
            (number, step.side, data)
            for step in self.steps
            if isinstance(step, Said)
            for number, data in step.entries()
        )
        return [(side, data) for number, side, data in said if number < line][-count:]


def other(side: Side) -> Side:
    """The other side of a connection."""
    return "server" if side == "client" else "client"


class _Open:
    """A connection that is being read. It is kept only where it is wanted."""

    def __init__(self, by: Scribe) -> None:
        self.recorded = Recorded(by)
        self.connecting: Connecting | None = None
        self.is_there = False  # something has come about
        self.is_kept = False
        self._is_secure = False
        self._secured: set[Side | None] = set()  # with whom
        self._ends: dict[Side, SideEnd] = {}  # how each side has ended
        self._client_speaks_tds = False

    @property
    def _ours(self) -> Side:
        return "server" if self.recorded.by == "server" else "client"

    def dials(self, event: Connecting) -> None:
        self.connecting = event
        self.recorded.ignores_cuts = event.ignore_unexpected_eof

    def say(self, event: Moved, line: int) -> None:
        """Raises TranscriptError: it cannot have been said."""
        side = self._ours if event.direction == "sent" else other(self._ours)
        if self._is_secure and not event.tls:
            raise TranscriptError(f"line {line}: clear text behind the beginning of TLS")
        if event.tls and not self._is_secure:
            self.secure(Secured(line))
        if side in self._ends:
            raise TranscriptError(f"line {line}: the {side} had ended before")
        if not event.data:
            return
        last = self.recorded.steps[-1] if self.recorded.steps else None
        if not isinstance(last, Said) or last.side != side:
            self._client_speaks_tds |= side == "client" and last is None and event.data.startswith(PRELOGIN)
            last = Said(side)
            self.recorded.steps.append(last)
        last.rows.append(Row(len(last.data), line))
        if side == "client" and not last.masked and event.data.rstrip(b"\r\n").endswith(MASK):
            last.masked = line
        last.data += event.data

    def secure(self, step: Secured) -> None:
        if step.side in self._secured:
            return
        self._secured.add(step.side)
        protocol = None if self.connecting is None else self.connecting.protocol
        wrapped = step.wrapped or protocol == WRAPPED or self._client_speaks_tds
        self.recorded.steps.append(step._replace(wrapped=wrapped))
        self._is_secure = True

    def end(self, step: Ended) -> None:
        before = self._ends.get(step.side)
        if before is None or (step.how == "fin" and before == "close_notify"):
            self._ends[step.side] = step.how
            self.recorded.steps.append(step)

    def end_ours(self, line: int) -> None:
        """Our end was sent, unless it was kept back, or the peer's had ended both."""
        now = self.connecting
        peer_ended = other(self._ours) in self._ends
        if now is None or not (now.no_shutdown or (peer_ended and not now.allow_half_open)):
            self.end(Ended(line, self._ours))

    def end_peers(self, line: int) -> None:
        self.end(Ended(line, other(self._ours)))


class _Reader:
    """Takes the entries of a transcript, and keeps one connection."""

    def __init__(self, connection: int | None) -> None:
        self.found: Recorded | None = None
        self.count = 0  # connections that came about
        self._connection = connection
        self._by: Scribe | None = None
        self._open: dict[int, _Open] = {}
        self._left = MAX_BYTES

    def take(self, entry: Entry, line: int) -> None:
        """Raises TranscriptError: it makes no sense."""
        event, number = entry.event, entry.connection
        if isinstance(event, TranscriptOf):
            self._by = event.by
            self._open.clear()
        elif isinstance(event, Accepted):
            self._begin(number, "server", line)
            self._is_there(number)
        elif isinstance(event, ClientCame):
            self._begin(number, "tap", line)
        elif isinstance(event, Connecting):
            if not self._is_tapped(number):
                self._begin(number, "client", line)
            self._open[number].dials(event)
        elif isinstance(event, Failed):
            self._open.pop(number, None)
        elif number in self._open:
            if isinstance(event, Moved | Connected | Opened | Proxied | TlsUp):
                self._is_there(number)
            if self._open[number].is_kept:
                self._keep(self._open[number], event, line)

    def _is_tapped(self, number: int) -> bool:
        now = self._open.get(number)
        return now is not None and now.recorded.by == "tap" and now.connecting is None

    def _begin(self, number: int, by: Scribe, line: int) -> None:
        if self._by not in (None, by):
            raise TranscriptError(f"line {line}: the {self._by}'s transcript has a connection that was {BEGINS[by]}")
        self._open[number] = _Open(by)

    def _is_there(self, number: int) -> None:
        """The connection has come about: now it counts."""
        now = self._open[number]
        if now.is_there:
            return
        now.is_there = True
        self.count += 1
        if self.found is None and self._connection in (None, number or self.count):
            now.is_kept = True
            self.found = now.recorded

    def _keep(self, now: _Open, event: Event, line: int) -> None:
        self._left -= STEP_BYTES + (len(event.data) if isinstance(event, Moved) else 0)
        if self._left < 0:
            raise TranscriptError(f"line {line}: {TOO_MUCH}")
        if isinstance(event, Moved):
            now.say(event, line)
        elif isinstance(event, TlsUp):
            now.secure(Secured(line, "server" if now.recorded.by == "tap" else None))
        elif isinstance(event, ClientTls):
            now.secure(Secured(line, "client", event.server_name, event.alpn))
        elif isinstance(event, SideEnded):
            now.end(Ended(line, event.side, event.how))
        elif isinstance(event, OurSideEnded) or (isinstance(event, StdinEnded) and not event.is_held):
            now.end_ours(line)
        elif isinstance(event, PeerEnded):
            now.end_peers(line)


def read_recorded(lines: Iterable[str], connection: int | None = None) -> Recorded:
    """A connection of a transcript: the first that came about, or the one with this number.

    The tap's have their numbers; those of others are counted.

    Raises:
        TranscriptError: it is none, it is damaged, or has no such connection from its beginning on.
    """
    reader = _Reader(connection)
    for number, line in enumerate(lines, start=1):
        try:
            entry = parse_entry(line)
        except ValueError as error:
            raise TranscriptError(f"line {number}: {error}") from error
        reader.take(entry, number)
    if reader.found is not None:
        return reader.found
    if connection is None or not reader.count:
        raise TranscriptError("there is no connection in it, from its beginning on")
    raise TranscriptError(f"there is no connection {connection} in it", f"it has {reader.count}")
