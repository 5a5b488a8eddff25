"""A record of a connection, one line for each line that was sent or received: `--log` and `:log`.

    2026-11-23T15:04:05.123Z * - the client's transcript of mail.example:25
    2026-11-23T15:04:05.123Z * - connected to 192.0.2.7:25
    2026-11-23T15:04:05.130Z < - 220 mail.example ESMTP\\r\\n
    2026-11-23T15:04:05.131Z > T AUTH PLAIN ****\\r\\n

Time, direction (`>` sent, `<` received, `*` what happened), `T` under TLS, the data. Printable text is as it is, all
else is `\\\\`, `\\r`, `\\n`, `\\xNN`: put together, the entries of one direction are its bytes, but for what is masked.
An entry without `\\n` at its end goes on in the next one of its direction. `parse_entry` reads one back.

The tap has several connections in one transcript: there each line begins with the number of its connection, `#1 `.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from cfcat.errors import reason_of
from cfcat.record.events import MARKS, Moved, PeerEnded, Scribe, TranscriptOf
from cfcat.record.journal import Item, Line
from cfcat.record.kept import Event, Kept, parse
from cfcat.record.making import TraceEvent

__all__ = [
    "Entry",
    "Transcript",
    "entry_lines",
    "escape_bytes",
    "event_lines",
    "open_private",
    "parse_entry",
    "session_lines",
]

EVENT = "*"
ENTRY = re.compile(r"(?:#(\d{1,9}) )?(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) ([<>*]) ([T-]) (.*)")
DIRECTION_OF = {mark: direction for direction, mark in MARKS.items()}
ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|.)", re.DOTALL)
# One way alone to match a text: where an escape is unknown, every other way would be tried, for ever.
ESCAPED = re.compile(rb"[^\\]*(?:\\(?:x[0-9a-f]{2}|[\\rn])[^\\]*)*")
SHORT = {"\\": "\\\\", "\r": "\\r", "\n": "\\n"}
LONG = {"\\": "\\", "r": "\r", "n": "\n"}


class Entry(NamedTuple):
    """One line of a transcript: `time` in UTC, `direction` ">", "<" or "*"; of "*" `data` is a text.

    `connection`: its number, 0 where there is one connection.
    """

    time: str
    direction: str
    tls: bool
    data: bytes
    connection: int = 0

    @property
    def event(self) -> Event:
        """What it tells: that bytes have moved, or what else has happened."""
        if self.direction == EVENT:
            return parse(self.data.decode("utf-8", "surrogateescape"))
        return Moved(DIRECTION_OF[self.direction], self.data, self.tls)


def escape_bytes(data: bytes) -> str:
    """One line of printable characters that `parse_entry` turns into the same bytes again."""
    text = data.decode("utf-8", "surrogateescape")
    if text.isprintable() and "\\" not in text:
        return text
    text = text.translate(ESCAPES)
    return text if text.isprintable() else "".join(map(_escape_character, text))


def _escape_character(character: str) -> str:
    return character if character.isprintable() else _hexadecimal(character)


def _hexadecimal(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


# All that binary data is made of, looked up at once: characters one by one take a hundred times as long.
ESCAPES = {
    ord(each): _hexadecimal(each) for each in map(chr, (*range(0x20), *range(0x7F, 0xA0), *range(0xDC80, 0xDD00)))
}
ESCAPES |= {ord(each): escape for each, escape in SHORT.items()}


def parse_entry(line: str) -> Entry:
    """Read back one line of a transcript, with or without its line end.

    Raises:
        ValueError: it is not one.
    """
    match = ENTRY.fullmatch(line.removesuffix("\n"))
    if match is None:
        raise ValueError("not an entry of a transcript")
    number, moment, direction, tls, data = match.groups()
    return Entry(moment, direction, tls == "T", _unescape(data), int(number or 0))


def _unescape(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogateescape")
    if ESCAPED.fullmatch(raw):  # these escapes are Python's own, whose way is 50 times as fast
        return raw.decode("unicode_escape").encode("latin-1") if b"\\" in raw else raw

    def one(match: re.Match[str]) -> str:
        code = match[1]
        if code not in LONG and len(code) != 3:
            raise ValueError(f"unknown escape {ascii(code)[1:-1]} behind a backslash")
        # latin-1 in a surrogate's place: a byte by itself, whatever stands beside it
        return LONG[code] if code in LONG else chr(0xDC00 + int(code[1:], 16))

    return b"".join(
        bytes([ord(character) - 0xDC00]) if 0xDC00 <= ord(character) <= 0xDCFF else character.encode()
        for character in ESCAPE.sub(one, text)
    )


def open_private(path: str, *, allow_fifo: bool = True, append: bool = True) -> int:
    """A descriptor to write to, of a file for its owner alone. It never blocks: a FIFO whose reader has stopped must
    not stop a session (SEC-R28). `append`: to what is in the file.

    A symbolic link may lead anywhere, and a file that others own or may write to is not private. What the system
    itself links to, such as /dev/stderr, is meant.
    """
    follow = 0 if path.startswith("/dev/") else os.O_NOFOLLOW
    flags = os.O_WRONLY | os.O_APPEND * append | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    try:
        fd = os.open(path, flags | follow, 0o600)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "nobody reads it") from error
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a symbolic link") from error
        raise
    try:
        found = os.fstat(fd)
        if stat.S_ISREG(found.st_mode):
            if found.st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, "it belongs to another user")
            if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise PermissionError(errno.EPERM, "others may write to it")
            os.fchmod(fd, 0o600)
            if not append:
                os.ftruncate(fd, 0)
        elif stat.S_ISFIFO(found.st_mode) and not allow_fifo:
            raise OSError(errno.EINVAL, "it is a named pipe")
    except BaseException:
        os.close(fd)
        raise
    return fd


Lines = Callable[[Kept], Sequence[str]]


def event_lines(event: Kept) -> Sequence[str]:
    """An event as it is kept: its text, where it has one."""
    text = event.text()
    return [text] if text else []


def session_lines(event: Kept) -> Sequence[str]:
    """The same for a session, which has its own words for how a connection is made, and no numbers."""
    if isinstance(event, TraceEvent):
        return []
    return event_lines(PeerEnded() if isinstance(event, PeerEnded) else event)


def entry_lines(items: Sequence[Item], now_s: float, lines: Lines = event_lines, connection: int = 0) -> str:
    """The lines of a transcript for these items, at that time (seconds since 1970); `lines`: those of an event.

    `connection`: its number, 0 where there is one connection.
    """
    moment = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now_s))}.{int(now_s % 1 * 1000):03}Z"
    begin = f"#{connection} {moment}" if connection else moment
    return "".join(f"{begin} {entry}\n" for item in items for entry in _entries(item, lines))


def _entries(item: Item, lines: Lines) -> Iterator[str]:
    if isinstance(item, Line):
        yield f"{MARKS[item.direction]} {'T' if item.tls else '-'} {escape_bytes(item.data)}"
    elif isinstance(item, Kept):
        for line in lines(item):
            yield f"{EVENT} - {escape_bytes(line.encode('utf-8', 'surrogateescape'))}"


class Transcript:
    """An open transcript, a journal's writer. An error is kept in `problem`, and nothing is written after it."""

    def __init__(self, fd: int, lines: Lines = event_lines, clock: Callable[[], float] = time.time) -> None:
        """`lines`: the entries that an event has. `clock`: seconds since 1970."""
        self.problem = ""
        self._fd: int | None = fd
        self._lines = lines
        self._clock = clock

    @classmethod
    def open(
        cls,
        path: str,
        *,
        target: str,
        by: Scribe | None = None,
        lines: Lines = event_lines,
        allow_fifo: bool = True,
    ) -> Transcript:
        """Append to a file that only its owner may read; it is made where there is none.

        `by`: as which side of the connection. `allow_fifo`: a FIFO that somebody reads will do; what it does not take
        at once ends the transcript.

        Raises:
            OSError: it cannot be written, or others could read or change it; nothing has been written then.
        """
        transcript = cls(open_private(path, allow_fifo=allow_fifo), lines)
        transcript.write([TranscriptOf(target, by)])
        return transcript

    @property
    def is_done(self) -> bool:
        """Can nothing more be written?"""
        return self._fd is None

    def write(self, items: Sequence[Item], connection: int = 0) -> None:
        """Write them, all with the time that it is now."""
        if self._fd is None:
            return
        rest = memoryview(entry_lines(items, self._clock(), self._lines, connection).encode())
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            self.problem = reason_of(error)
            self.close()

    def close(self) -> None:
        """Close the file. May be called again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
