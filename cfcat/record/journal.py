"""From the events of a run to what is kept of it: lines in place of chunks, with the secrets masked.

A `Journal` does that once for all who write it down: the transcript, and the recording for an export. With
`--log-secrets` the transcript has its own journal that does not mask.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from cfcat.protocols.secrets import MASK, SecretGuard
from cfcat.record.events import Connecting, Dialog, Direction, Hidden, Listening, Moved
from cfcat.record.kept import Event

__all__ = ["Item", "Journal", "Line", "Mask", "Writer"]

# A line that grows beyond this is written in pieces, and judged by its beginning.
MAX_LINE_BYTES = 64 * 1024
# XMPP has no lines; after authentication XMPP data is not masked.
LINE_END = re.compile(rb"(?<=\n)|(?<=\r)(?=[^\n])|(?<=</auth>)|(?<=</response>)")


class Line(NamedTuple):
    """A line that was sent or received, or a piece of one that could not be waited for; masked."""

    direction: Direction
    tls: bool
    data: bytes


Item = Line | Event  # an event that is neither `Moved` nor `Dialog`


class Writer(Protocol):
    """Who writes a journal down."""

    @property
    def is_done(self) -> bool:
        """Has it given up? Nothing needs to be written any more then."""

    def write(self, items: Sequence[Item]) -> None:
        """Take what is complete, or cannot be waited for, in the order of its time. It must not raise."""


class Journal:
    """A subscriber that tells its writers what a connection did, line by line.

    What one direction has begun is written before anything of the other, and before an event. `masks`: secrets are
    masked, those of `protocol` (None: of every protocol). It is the client who says secrets: that is us if we dialed,
    and the peer if we listen.
    """

    def __init__(self, *writers: Writer, masks: bool = True, protocol: str | None = None) -> None:
        self._writers = list(writers)
        self._masks = masks
        self._protocol = protocol
        self._client: Direction = "sent"  # the direction of what the client says
        self._hides = False  # is what is sent next a secret?
        self._begin()

    def _begin(self) -> None:
        """Forget all buffered data and what the guard knows."""
        self._guard = SecretGuard(self._protocol) if self._masks else None
        server: Direction = "received" if self._client == "sent" else "sent"
        halves = _Half(self._client, _ClientLines(self._guard)), _Half(server, _ServerLines())
        self._halves = {half.direction: half for half in halves}

    @property
    def is_done(self) -> bool:
        """Is there nobody who would write it down?"""
        return all(writer.is_done for writer in self._writers)

    @property
    def wants_bytes(self) -> bool:
        return not self.is_done

    def add(self, writer: Writer) -> None:
        """Write for this one too, from now on."""
        if self.is_done:
            self._begin()  # nobody has listened
        self.flush()
        self._writers.append(writer)

    def remove(self, writer: Writer) -> None:
        """Write what was held back, and no more for this one."""
        self.flush()
        self._writers.remove(writer)

    def take(self, event: Event) -> None:
        if isinstance(event, (Connecting, Listening)):
            self._roles("sent" if isinstance(event, Connecting) else "received")
        if self.is_done:
            return
        if isinstance(event, Moved):
            self._take_bytes(event.direction, event.data, event.tls)
        elif isinstance(event, Dialog):
            self._take_bytes(event.direction, event.data, False)
        elif isinstance(event, Hidden):
            self._hides = self._masks
        else:
            self._write([*self._held(), event])

    def _roles(self, client: Direction) -> None:
        if client != self._client:
            self.flush()
            self._client = client
            self._begin()

    def flush(self) -> None:
        """Write what was held back."""
        self._write(self._held())

    def _take_bytes(self, direction: Direction, data: bytes, tls: bool) -> None:
        others = [line for half in self._halves.values() if half.direction != direction for line in half.held()]
        if self._guard is not None and direction != self._client:
            self._guard.received(data)  # it says nothing of what was sent before it
        feed = self._halves[direction].feed
        if self._hides and direction == "sent":
            self._hides, feed = False, self._halves[direction].hide
        self._write([*others, *feed(data, tls)])

    def _held(self) -> list[Item]:
        return [line for half in self._halves.values() for line in half.held()]

    def _write(self, items: Sequence[Item]) -> None:
        if items:
            for writer in self._writers:
                writer.write(items)


class Mask:
    """As a journal masks, for one who cannot wait for the end of a line: chunk by chunk, and nothing is held back.

    What of a line is not there yet is judged with what came before it.
    """

    def __init__(self) -> None:
        self._begin("sent")

    def _begin(self, client: Direction) -> None:
        self._client = client
        self._guard = SecretGuard(None)
        self._lines = _ClientLines(self._guard)
        self._hides = False

    def take(self, event: Event) -> None:
        """Who is the client, and what is a secret, may depend on what happens."""
        if isinstance(event, (Connecting, Listening)):
            client: Direction = "sent" if isinstance(event, Connecting) else "received"
            if client != self._client:
                self._begin(client)
        elif isinstance(event, Hidden):
            self._hides = True

    def shown(self, direction: Direction, data: bytes) -> bytes:
        """The chunk that moves, without what is secret in it."""
        if direction != self._client:
            self._guard.received(data)
        if self._hides and direction == "sent":
            self._hides = False
            if direction == self._client:
                self._lines.skip(data)
            return _hidden(data)
        return data if direction != self._client else b"".join([*self._lines.feed(data), *self._lines.held()])


class _Half:
    """The lines of one direction, each under TLS or not."""

    def __init__(self, direction: Direction, lines: _ServerLines | _ClientLines) -> None:
        self.direction = direction
        self._lines = lines
        self._tls = False

    def feed(self, data: bytes, tls: bool) -> Iterator[Line]:
        if tls != self._tls:
            yield from self.held()  # no line goes on from clear text into TLS
        self._tls = tls
        for piece in self._lines.feed(data):
            yield Line(self.direction, tls, piece)

    def hide(self, data: bytes, tls: bool) -> Iterator[Line]:
        """As `feed`, of a secret."""
        yield from self.held()
        self._tls = tls
        self._lines.skip(data)
        yield Line(self.direction, tls, _hidden(data))

    def held(self) -> Iterator[Line]:
        for piece in self._lines.held():
            yield Line(self.direction, self._tls, piece)


class _ServerLines:
    """Chunks to lines; what is not complete is held, up to a limit."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete by now, or the pieces that they have become too long for."""
        *lines, self._rest = re.split(rb"(?<=\n)", self._rest + data)
        return lines if len(self._rest) < MAX_LINE_BYTES else [*lines, *self.held()]

    def held(self) -> list[bytes]:
        """What is held, to be written now; the rest of its line comes later."""
        held, self._rest = self._rest, b""
        return [held] if held else []

    def skip(self, data: bytes) -> None:
        """This comes next, and is written by somebody else."""


class _ClientLines:
    """The same for what the client says, with the secrets masked.

    A line ends with LF, CR LF or CR: so that two lines are never judged as one, whichever line ending the peer uses.
    Where a line has been written in part, its next piece is judged with all that came before it.
    """

    def __init__(self, guard: SecretGuard | None) -> None:
        self._guard = guard
        self._line = b""  # the line that is not complete
        self._written = 0  # so much of it is in the file
        self._forgotten = 0  # so much of it, written long ago, is not in `_line` any more

    def skip(self, data: bytes) -> None:
        """As in `_ServerLines`; the guard sees it as a line."""
        if self._guard is not None:
            self._guard.is_secret(_body(self._line + data), len(self._line) + self._forgotten + len(data))
        self._line, self._written, self._forgotten = b"", 0, 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete by now, or the pieces that they have become too long for."""
        *lines, rest = re.split(LINE_END, self._line + data)
        pieces = [self._complete(line) for line in lines]
        self._line = rest
        return pieces if len(rest) - self._written < MAX_LINE_BYTES else [*pieces, *self.held()]

    def held(self) -> list[bytes]:
        """What is held, to be written now; the rest of its line comes later."""
        if len(self._line) == self._written:
            return []
        piece = self._shown(self._line, self._guard is not None and self._guard.would_be_secret(_body(self._line)))
        self._forgotten += max(0, len(self._line) - MAX_LINE_BYTES)
        self._line = self._line[:MAX_LINE_BYTES]  # enough to judge what comes
        self._written = len(self._line)
        return [piece]

    def _complete(self, line: bytes) -> bytes:
        size = len(line) + self._forgotten
        piece = self._shown(line, self._guard is not None and self._guard.is_secret(_body(line), size))
        self._written = self._forgotten = 0
        return piece

    def _shown(self, line: bytes, secret: bool) -> bytes:
        """What is not yet written of a line; of a secret one only the verb and the end."""
        new = line[self._written :]
        if not secret or not (body := new.rstrip(b"\r\n")):
            return new
        stars = MASK if self._written else SecretGuard.mask(_body(line))
        return stars + new[len(body) :]


def _hidden(data: bytes) -> bytes:
    """A line that is a secret."""
    return MASK + data[len(data.rstrip(b"\r\n")) :]


def _body(line: bytes) -> bytes:
    return line[:MAX_LINE_BYTES].rstrip(b"\r\n")
