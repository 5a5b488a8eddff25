"""What is exported: each connection of a run, step by step, from the entries of its transcript.

    recorder = Recorder(SecretGuard(None))        a `Journal`: it is told what a transcript is told
    read_transcript(lines)                        or from a transcript that was kept

Both mask what is secret before it is kept, so that a recording has no secret in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from cfcat.errors import CommandError
from cfcat.protocols.secrets import MASK, SecretGuard
from cfcat.record import events
from cfcat.record.events import Connecting
from cfcat.record.transcript import EVENT, SENT, Journal, Piece, parse_entry

__all__ = [
    "MAX_BYTES",
    "Conversation",
    "End",
    "Expect",
    "PeerEnd",
    "Receive",
    "Recorder",
    "Send",
    "StartTls",
    "Step",
    "read_transcript",
]

# All bytes of all connections, both ways: a program of that size is nobody's wish, and memory is bounded.
MAX_BYTES = 16 * 1024 * 1024
STEP_BYTES = 256  # what a step costs besides its data


@dataclass(slots=True)
class Send:
    """Bytes, and None for each secret among them."""

    parts: list[bytearray | None] = field(default_factory=list)


@dataclass(slots=True)
class Receive:
    """All that came between two other steps."""

    data: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True)
class Expect:
    """A match of this pattern was waited for, and found."""

    pattern: bytes


@dataclass(frozen=True, slots=True)
class StartTls:
    """The connection was upgraded."""


@dataclass(frozen=True, slots=True)
class End:
    """Our side ended."""


@dataclass(frozen=True, slots=True)
class PeerEnd:
    """The peer's end was read."""


Data = TypeVar("Data", Send, Receive)
Step = Send | Receive | Expect | StartTls | End | PeerEnd


@dataclass(slots=True)
class Conversation:
    """One connection."""

    connecting: Connecting
    steps: list[Step] = field(default_factory=list)

    def has(self, kind: type[Step]) -> bool:
        """Is there such a step?"""
        return any(isinstance(step, kind) for step in self.steps)


class Recorder(Journal):
    """Keeps what it is told, up to `limit` bytes; it never fails: `conversations()` does.

    A line that ends in the mask counts as secret, whoever has masked it.
    """

    def __init__(self, guard: SecretGuard | None, *, limit: int = MAX_BYTES) -> None:
        super().__init__(guard)
        self._conversations: list[Conversation] = []
        self._left = limit
        self._problem = ""

    def sent(self, data: bytes | memoryview, *, tls: bool) -> None:
        """As `Journal.sent`; nothing is looked at any more once it is too much."""
        if not self._problem:
            super().sent(data, tls=tls)

    def received(self, data: bytes | memoryview, *, tls: bool) -> None:
        """As `Journal.received`, with the same limit."""
        if not self._problem:
            super().received(data, tls=tls)

    def conversations(self) -> list[Conversation]:
        """The connections so far.

        Raises:
            CommandError: there is none, or they cannot be exported.
        """
        self._write(self._held())
        if self._problem:
            raise CommandError(f"cannot export: {self._problem}")
        if not self._conversations:
            raise CommandError("cannot export: there was no connection")
        return self._conversations

    def _write(self, pieces: list[Piece]) -> None:
        for direction, tls, data in pieces:
            if self._problem:
                return
            self._left -= len(data)
            if direction == EVENT:
                self._take_event(data.decode("utf-8", "surrogateescape"))
            elif not self._conversations:
                self._fail("bytes moved before the first connection was recorded")
            else:
                self._take_data(direction, tls, data)
            if self._left < 0:
                self._fail("more has moved than can be kept for it, 16 MiB with both directions together")

    def _fail(self, problem: str) -> None:
        self._problem = problem
        self._conversations.clear()

    def _take_data(self, direction: str, tls: bool, data: bytes) -> None:
        if tls:
            self._upgraded()
        if direction != SENT:
            self._last(Receive).data.extend(data)
            return
        parts = self._last(Send).parts
        body = data.rstrip(b"\r\n")
        if body.endswith(MASK):
            _add(parts, body.removesuffix(MASK))
            parts.append(None)
            data = data[len(body) :]
        _add(parts, data)

    def _take_event(self, text: str) -> None:
        if events.TLS_WRAPPED.match(text):
            self._fail("TLS inside of the packets of MS-TDS, which connect() has not")
        elif (connecting := events.parse_connecting(text)) is not None:
            self._conversations.append(Conversation(connecting))
        elif not self._conversations:
            return
        elif events.TLS_UP.match(text):
            self._upgraded()
        elif events.FAILED.match(text):
            self._conversations.pop()
        elif (expected := events.EXPECTED.fullmatch(text)) is not None:
            self._add(Expect(expected[1].encode("utf-8", "surrogateescape")))
        elif events.PEER_END.match(text):
            self._add(PeerEnd())
        elif events.OUR_END.match(text) and self._passes_end_on():
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
    recorder = Recorder(SecretGuard(None))
    for number, line in enumerate(lines, start=1):
        try:
            entry = parse_entry(line)
        except ValueError as error:
            raise CommandError(f"line {number}: {error}") from error
        if entry.direction == EVENT:
            recorder.event(entry.data.decode("utf-8", "surrogateescape"))
        elif entry.direction == SENT:
            recorder.sent(entry.data, tls=entry.tls)
        else:
            recorder.received(entry.data, tls=entry.tls)
    return recorder.conversations()
