"""What the tap shows and keeps of one connection: lines of a transcript or rows of a hexdump, each with its number."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence

from cfcat.core.loop import Handle, running_loop
from cfcat.record.events import MARKS, Broke, Direction, Moved, Moving
from cfcat.record.journal import Item, Journal
from cfcat.record.kept import Event, Kept
from cfcat.record.transcript import Transcript, entry_lines
from cfcat.report.hexdump import HexDump
from cfcat.report.theme import WAYS, paint
from cfcat.tap.display import Display

__all__ = ["DataConnections", "Dump", "Late", "Logged", "Shown"]

LATE_S = 0.2  # a line that has no end by then is shown as far as it has come
# Answers to PASV and EPSV (RFC 959 §4.2, RFC 2428 §3): the client will connect elsewhere.
DATA_CONNECTION = re.compile(rb"227 .*\(?\d+,\d+,\d+,\d+,\d+,\d+|229 .*\(\|")
DATA_CONNECTION_NOTE = "note: FTP's data connections go past the tap"


class Shown:
    """A journal's writer: the lines of a transcript on the display. What broke it is said on standard error."""

    is_done = False

    def __init__(self, display: Display, number: int, *, color: bool) -> None:
        self._display = display
        self._number = number
        self._color = color

    def write(self, items: Sequence[Item]) -> None:
        """As `Writer.write`."""
        shown = [item for item in items if not isinstance(item, Broke)]
        if text := entry_lines(shown, time.time(), connection=self._number):
            self._display.write((_painted(text) if self._color else text).encode())


class Logged:
    """A journal's writer: one connection in the transcript of all."""

    def __init__(self, transcript: Transcript, number: int) -> None:
        self._transcript = transcript
        self._number = number

    @property
    def is_done(self) -> bool:
        """As `Writer.is_done`."""
        return self._transcript.is_done

    def write(self, items: Sequence[Item]) -> None:
        """As `Writer.write`."""
        self._transcript.write(items, self._number)


class Dump:
    """A subscriber: all bytes as a hexdump on the display, and what else happens in the lines of a transcript."""

    wants_bytes = True

    def __init__(self, display: Display, number: int, *, color: bool) -> None:
        self._display = display
        self._number = number
        self._color = color
        self._begin = paint("notice", f"#{number}") if color else f"#{number}"
        self._dumps: dict[Direction, HexDump] = {way: HexDump(mark, color=color) for way, mark in MARKS.items()}

    def take(self, event: Event) -> None:
        """As `Subscriber.take`."""
        if isinstance(event, Moved):
            dump = self._dumps[event.direction]
            rows = (*dump.feed(event.data), *dump.flush())
            self._display.write("".join(f"{self._begin} {row}\n" for row in rows).encode())
        elif isinstance(event, Kept) and not isinstance(event, Broke):
            text = entry_lines([event], time.time(), connection=self._number)
            self._display.write((_painted(text) if self._color else text).encode())


class Late:
    """A subscriber: has a journal write what it holds back, when nothing has moved for a moment."""

    wants_bytes = False

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._timer: Handle | None = None

    def take(self, event: Event) -> None:
        """As `Subscriber.take`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if isinstance(event, (Moved, Moving)):
            self._timer = running_loop().call_later(LATE_S, self._journal.flush)


class DataConnections:
    """A subscriber: notes, once, that a client is told to open FTP's data connection."""

    wants_bytes = False

    def __init__(self, note: Callable[[str], object]) -> None:
        self._note: Callable[[str], object] | None = note

    def take(self, event: Event) -> None:
        """As `Subscriber.take`."""
        if self._note is not None and isinstance(event, Moved) and event.direction == "received":
            if DATA_CONNECTION.match(event.data):
                self._note(DATA_CONNECTION_NOTE)
                self._note = None


def _painted(text: str) -> str:
    """Lines of a transcript in colours: what is said by its direction, all else is a notice."""
    return "".join(f"{_painted_line(line)}\n" for line in text.split("\n")[:-1])


def _painted_line(line: str) -> str:
    number, moment, mark, tls, data = line.split(" ", 4)
    if mark not in WAYS:
        return paint("notice", line)
    begin = paint("notice", f"{number} {moment}")
    way = WAYS[mark]
    return f"{begin} {paint(way, mark)} {paint('tls', tls) if tls == 'T' else tls} {paint(way, data)}"
