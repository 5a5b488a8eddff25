"""What is exported: each connection of a run, step by step, from its events.

    recorder = Recorder(); Journal(recorder)      a journal's writer: records a run while it happens
    read_transcript(lines)                        or from a transcript that was kept

A journal masks what is secret before it is kept, so that a recording has no secret in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from cfcat.errors import CommandError
from cfcat.protocols.secrets import MASK
from cfcat.record.events import Accepted, Connecting, Expected, Failed, OurSideEnded, PeerEnded, StdinEnded, TlsUp
from cfcat.record.journal import Item, Journal, Line
from cfcat.record.kept import Event
from cfcat.record.making import TlsEstablished
from cfcat.record.sides import SideEnded
from cfcat.record.transcript import parse_entry

__all__ = [
    "MAX_BYTES",
    "Conversation",
    "End",
    "Expect",
    "PeerEnd",
    "ReceiveStep",
    "Recorder",
    "SendStep",
    "StartTls",
    "Step",
    "read_transcript",
]

# All bytes of all connections, both ways: nobody needs a larger program, and memory is bounded.
MAX_BYTES = 16 * 1024 * 1024
TOO_MUCH = "more has moved than can be kept for it, 16 MiB with both directions together"
STEP_BYTES = 256  # what a step, or a connection, costs besides its data
# Protocols whose TLS handshake travels in packets of their own (MS-TDS).
WRAPPED = "mssql"
# How a side of the tap ends its direction; what breaks a connection is none.
ENDED = frozenset({"end", "close_notify", "cut"})


@dataclass(slots=True)
class SendStep:
    """Bytes, and None for each secret among them."""

    parts: list[bytearray | None] = field(default_factory=list)


@dataclass(slots=True)
class ReceiveStep:
    """All that came between two other steps."""

    data: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True)
class Expect:
    """A match of this pattern was waited for, and found; or a reply that matches at its beginning."""

    pattern: bytes
    is_reply: bool = False


@dataclass(frozen=True, slots=True)
class StartTls:
    """The connection was upgraded."""


@dataclass(frozen=True, slots=True)
class End:
    """Our side ended."""


@dataclass(frozen=True, slots=True)
class PeerEnd:
    """The peer's end was read."""


Data = TypeVar("Data", SendStep, ReceiveStep)
Step = SendStep | ReceiveStep | Expect | StartTls | End | PeerEnd


@dataclass(slots=True)
class Conversation:
    """One connection."""

    connecting: Connecting
    steps: list[Step] = field(default_factory=list)

    def has(self, kind: type[Step]) -> bool:
        """Is there such a step?"""
        return any(isinstance(step, kind) for step in self.steps)


class Recorder:
    """Keeps what its journal tells, up to `limit` bytes; writing never raises; errors come from `conversations()`.

    A line that ends in the mask counts as secret, whoever has masked it.
    """

    def __init__(self, *, limit: int = MAX_BYTES) -> None:
        self._conversations: list[Conversation] = []
        self._left = limit
        self._problem = ""

    @property
    def is_done(self) -> bool:
        """Has recording stopped: too much data, or not exportable?"""
        return bool(self._problem)

    @property
    def has_any(self) -> bool:
        """Is there a connection, or was there one that cannot be exported?"""
        return bool(self._conversations or self._problem)

    def conversations(self) -> list[Conversation]:
        """The connections so far, without what the journal holds back: `Journal.flush()` it.

        Raises:
            CommandError: there is none, or they cannot be exported.
        """
        if self._problem:
            raise CommandError(f"cannot export: {self._problem}")
        if not self._conversations:
            raise CommandError("cannot export: there was no connection")
        return self._conversations

    def write(self, items: Sequence[Item]) -> None:
        """As `Writer.write`."""
        for item in items:
            if self._problem:
                return
            if not isinstance(item, Line):
                self._take_event(item)
            elif not self._conversations:
                self._fail("bytes moved before the first connection was recorded")
            else:
                self._take_line(item)
            if self._left < 0:
                self._fail(TOO_MUCH)

    def _fail(self, problem: str) -> None:
        self._problem = problem
        self._conversations.clear()

    def _take_line(self, line: Line) -> None:
        self._left -= len(line.data)
        if line.tls:
            self._upgraded()
        if line.direction == "received":
            self._last(ReceiveStep).data.extend(line.data)
            return
        parts = self._last(SendStep).parts
        data, body = line.data, line.data.rstrip(b"\r\n")
        if body.endswith(MASK):
            _add(parts, body.removesuffix(MASK))
            parts.append(None)
            data = data[len(body) :]
        _add(parts, data)

    def _take_event(self, event: Event) -> None:
        if isinstance(event, (Connecting, TlsUp)) and _is_wrapped(event):
            self._fail("TLS inside of the packets of MS-TDS, which connect() has not")
        elif isinstance(event, Accepted):
            self._fail("the connection was accepted, and an export dials")
        elif isinstance(event, Connecting):
            self._conversations.append(Conversation(event))
            self._left -= STEP_BYTES
        elif not self._conversations:
            return
        elif isinstance(event, (TlsEstablished, TlsUp)):
            self._upgraded()
        elif isinstance(event, Failed):
            self._conversations.pop()
        elif isinstance(event, Expected):
            self._add(Expect(event.pattern, event.is_reply))
        elif _is_peers_end(event):
            self._add(PeerEnd())
        elif _is_our_end(event) and self._passes_end_on():
            self._add(End())

    def _passes_end_on(self) -> bool:
        """Does our end reach the peer? Not behind the peer's own, which has ended both."""
        now = self._conversations[-1]
        over = now.has(PeerEnd) and not now.connecting.allow_half_open
        return not (now.connecting.no_shutdown or now.has(End) or over)

    def _upgraded(self) -> None:
        now = self._conversations[-1]
        if now.connecting.secure_transport == "starttls" and not now.has(StartTls):
            self._add(StartTls())

    def _add(self, step: Step) -> None:
        self._conversations[-1].steps.append(step)
        self._left -= STEP_BYTES

    def _last(self, kind: type[Data]) -> Data:
        """The last step, where it is one of this kind; else a new one."""
        steps = self._conversations[-1].steps
        if steps and isinstance(last := steps[-1], kind):
            return last
        step = kind()
        self._add(step)
        return step


def _is_wrapped(event: Connecting | TlsUp) -> bool:
    return WRAPPED == (event.protocol if isinstance(event, Connecting) else event.dialog)


def _is_our_end(event: Event) -> bool:
    """Was our end sent? When stdin ends our EOF is sent too, unless held; then another event reports it."""
    if isinstance(event, SideEnded):
        return event.side == "client" and event.how in ENDED
    return isinstance(event, OurSideEnded) or (isinstance(event, StdinEnded) and not event.is_held)


def _is_peers_end(event: Event) -> bool:
    return isinstance(event, PeerEnded) or (
        isinstance(event, SideEnded) and event.side == "server" and event.how in ENDED
    )


def _add(parts: list[bytearray | None], data: bytes) -> None:
    if not data:
        return
    if parts and (last := parts[-1]) is not None:
        last.extend(data)
    else:
        parts.append(bytearray(data))


def read_transcript(lines: Iterable[str]) -> list[Conversation]:
    """The connections of a transcript; secrets in it are taken out, where they have not been masked.

    Raises:
        CommandError: it is none, or has no connection from its beginning on.
    """
    recorders: dict[int, tuple[Recorder, Journal]] = {}  # the tap's have numbers
    left = MAX_BYTES  # of all of them
    for number, line in enumerate(lines, start=1):
        try:
            entry = parse_entry(line)
        except ValueError as error:
            raise CommandError(f"line {number}: {error}") from error
        if entry.connection not in recorders:
            recorder = Recorder()
            recorders[entry.connection] = recorder, Journal(recorder)
            left -= STEP_BYTES
        left -= len(entry.data)
        if left < 0:
            raise CommandError(f"cannot export: {TOO_MUCH}")
        recorders[entry.connection][1].take(entry.event)
    for _, journal in recorders.values():
        journal.flush()
    found = [recorder for recorder, _ in recorders.values() if recorder.has_any] or [Recorder()]
    return [conversation for recorder in found for conversation in recorder.conversations()]
