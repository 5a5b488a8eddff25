"""A record of a connection, one line for each line that was sent or received: `--log` and `:log`.

    2026-11-23T15:04:05.123Z * - connected to 192.0.2.7:25
    2026-11-23T15:04:05.130Z < - 220 mail.example ESMTP\\r\\n
    2026-11-23T15:04:05.131Z > T AUTH PLAIN ****\\r\\n

Time, direction (`>` sent, `<` received, `*` what happened), `T` under TLS, the data. Printable text is as it is, all
else is `\\\\`, `\\r`, `\\n`, `\\xNN`: put together, the entries of one direction are its bytes, but for what is masked.
An entry without `\\n` at its end goes on in the next one of its direction. `parse_entry` reads one back.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import NamedTuple

from cfcat.errors import reason_of
from cfcat.protocols.secrets import MASK, SecretGuard

__all__ = ["Entry", "Journal", "Piece", "Transcript", "escape_bytes", "parse_entry"]

# A line that grows beyond this is written in pieces, and judged by its beginning.
MAX_LINE_BYTES = 64 * 1024
SENT, RECEIVED, EVENT = ">", "<", "*"
ENTRY = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) ([<>*]) ([T-]) (.*)")
# XMPP has no lines; what is said after its authentication is no secret any more.
LINE_END = re.compile(rb"(?<=\n)|(?<=\r)(?=[^\n])|(?<=</auth>)|(?<=</response>)")
ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|.)", re.DOTALL)
SHORT = {"\\": "\\\\", "\r": "\\r", "\n": "\\n"}
LONG = {"\\": "\\", "r": "\r", "n": "\n"}


Piece = tuple[str, bool, bytes]  # direction, TLS, data


class Entry(NamedTuple):
    """One line of a transcript: `time` in UTC, `direction` ">", "<" or "*"; of "*" `data` is a text."""

    time: str
    direction: str
    tls: bool
    data: bytes


def escape_bytes(data: bytes) -> str:
    """One line of printable characters that `parse_entry` turns into the same bytes again."""
    text = data.decode("utf-8", "surrogateescape")
    return text if text.isprintable() and "\\" not in text else "".join(map(_escape_character, text))


def _escape_character(character: str) -> str:
    if character in SHORT:
        return SHORT[character]
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def parse_entry(line: str) -> Entry:
    """Read back one line of a transcript, with or without its line end.

    Raises:
        ValueError: it is not one.
    """
    match = ENTRY.fullmatch(line.removesuffix("\n"))
    if match is None:
        raise ValueError("not an entry of a transcript")
    return Entry(match[1], match[2], match[3] == "T", _unescape(match[4]))


def _unescape(text: str) -> bytes:
    def one(match: re.Match[str]) -> str:
        code = match[1]
        if code not in LONG and len(code) != 3:
            raise ValueError(f"unknown escape \\{code}")
        # latin-1 in a surrogate's place: a byte by itself, whatever stands beside it
        return LONG[code] if code in LONG else chr(0xDC00 + int(code[1:], 16))

    return b"".join(
        bytes([ord(character) - 0xDC00]) if 0xDC00 <= ord(character) <= 0xDCFF else character.encode()
        for character in ESCAPE.sub(one, text)
    )


class Journal(ABC):
    """What a connection did, line by line with the secrets masked, for whoever writes it down: `_write()`."""

    def __init__(self, guard: SecretGuard | None) -> None:
        """`guard`: who tells what must be masked; None: nothing."""
        self._guard = guard
        self._sent = _Direction(SENT, _SentLines(guard))
        self._received = _Direction(RECEIVED, _ReceivedLines())

    def sent(self, data: bytes | memoryview, *, tls: bool) -> None:
        """Record what was sent, in whole lines or any pieces of them."""
        self._record(self._sent, bytes(data), tls, other=self._received)

    def received(self, data: bytes | memoryview, *, tls: bool) -> None:
        """Record what was received."""
        if self._guard is not None:
            self._guard.received(bytes(data))
        self._record(self._received, bytes(data), tls, other=self._sent)

    def event(self, text: str) -> None:
        """Record what happened."""
        self._write([*self._held(), (EVENT, False, text.encode("utf-8", "surrogateescape"))])

    def _record(self, direction: _Direction, data: bytes, tls: bool, *, other: _Direction) -> None:
        """What the other side has begun goes first: entries stand in the order of their time."""
        self._write([*other.held(), *direction.feed(data, tls)])

    def _held(self) -> list[Piece]:
        return [*self._sent.held(), *self._received.held()]

    @abstractmethod
    def _write(self, pieces: list[Piece]) -> None:
        """Take what is complete, or cannot be waited for."""


class Transcript(Journal):
    """An open transcript. It never fails: what went wrong is in `problem`, and nothing more is written then."""

    def __init__(self, fd: int, guard: SecretGuard | None, clock: Callable[[], float] = time.time) -> None:
        """`guard`: who tells what must be masked; None: nothing. `clock`: seconds since 1970."""
        super().__init__(guard)
        self.problem = ""
        self._fd: int | None = fd
        self._clock = clock

    @classmethod
    def open(
        cls, path: str, *, target: str, protocol: str | None, secrets: bool = False, typed: bool = False
    ) -> Transcript:
        """Append to a file that only its owner may read; it is made where there is none.

        `protocol` says where secrets are (None: every protocol's), `secrets` that they are not masked, `typed` that
        a line with a blank before it is one too. Raises OSError.
        """
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, 0o600)
        if stat.S_ISREG(os.fstat(fd).st_mode):
            with contextlib.suppress(OSError):  # somebody else's file
                os.fchmod(fd, 0o600)
        transcript = cls(fd, None if secrets else SecretGuard(protocol, typed=typed))
        transcript.event(f"transcript of {target}")
        return transcript

    def close(self) -> None:
        """Write what was held back, and close the file. May be called again."""
        self._write(self._held())
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _write(self, pieces: list[Piece]) -> None:
        if self._fd is None or not pieces:
            return
        now = self._clock()
        stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03}Z"
        text = "".join(f"{stamp} {mark} {'T' if tls else '-'} {escape_bytes(data)}\n" for mark, tls, data in pieces)
        rest = memoryview(text.encode())
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            self.problem = reason_of(error)
            os.close(self._fd)
            self._fd = None


class _Direction:
    """The pieces of one direction, each under TLS or not."""

    def __init__(self, mark: str, lines: _ReceivedLines | _SentLines) -> None:
        self._mark = mark
        self._lines = lines
        self._tls = False

    def feed(self, data: bytes, tls: bool) -> Iterator[Piece]:
        if tls != self._tls:
            yield from self.held()  # no line goes on from clear text into TLS
        self._tls = tls
        for piece in self._lines.feed(data):
            yield self._mark, tls, piece

    def held(self) -> Iterator[Piece]:
        for piece in self._lines.held():
            yield self._mark, self._tls, piece


class _ReceivedLines:
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


class _SentLines:
    """The same for what is sent, with the secrets masked.

    A line ends with LF, CR LF or CR: whatever the peer takes for its end, two lines must not pass for one. Where a
    line has been written in part, its next piece is judged with all that came before it.
    """

    def __init__(self, guard: SecretGuard | None) -> None:
        self._guard = guard
        self._line = b""  # the line that is not complete
        self._written = 0  # so much of it is in the file

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
        self._line = self._line[:MAX_LINE_BYTES]  # enough to judge what comes
        self._written = len(self._line)
        return [piece]

    def _complete(self, line: bytes) -> bytes:
        piece = self._shown(line, self._guard is not None and self._guard.is_secret(_body(line)))
        self._written = 0
        return piece

    def _shown(self, line: bytes, secret: bool) -> bytes:
        """What is not yet written of a line; of a secret one only the verb and the end."""
        new = line[self._written :]
        if not secret or not (body := new.rstrip(b"\r\n")):
            return new
        stars = MASK if self._written else SecretGuard.mask(_body(line))
        return stars + new[len(body) :]


def _body(line: bytes) -> bytes:
    return line[:MAX_LINE_BYTES].rstrip(b"\r\n")
