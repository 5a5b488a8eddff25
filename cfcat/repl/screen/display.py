"""Received bytes to what a terminal shows of them: rows that are complete, and the one that is not.

Pure. A row that is complete goes up, above the prompt; the unfinished one (`login: `) stays inside the prompt. However
the bytes were split, the picture is the same. Memory is bounded: a line that has no end goes up row by row.
Source: rules SEC-R20 to SEC-R22.
"""

from __future__ import annotations

import re
import unicodedata
from abc import ABC, abstractmethod
from functools import lru_cache

from cfcat.report.hexdump import HexDump, row_bytes_for
from cfcat.report.render import TerminalFilter
from cfcat.report.theme import ESCAPED

__all__ = ["Display"]

TAB_COLUMNS = 8
PIECES = re.compile(r"\x1b\[2?2m|\t|[^\x1b\t]+")
# Characters without a width of their own may follow each other without end, and the row would never be full.
CHARACTERS_PER_COLUMN = 16
# A line that is passed as it is goes up in pieces: it may have no end.
RAW_PIECE = re.compile(rb"[^\n]{0,16384}\n|[^\n]{1,16384}")


class Display:
    """What one session has received, for a terminal of so many columns.

    All methods that return rows return those that go up now. A row ends with a newline if its line ends there, or is
    broken off; a row without one is full, and its line goes on with the next. Text of the peer is filtered, but in the
    view "raw". `color`: dim what is shown escaped, colour the bytes of the dump.
    """

    def __init__(self, columns: int, *, view: str = "text", color: bool = False) -> None:
        self._columns = columns
        self._color = color
        self._encoding = "utf-8"
        self.view = view
        self._drawing = self._make()

    @property
    def unfinished(self) -> str:
        """The row that is not complete, or ""; with SGR sequences only where there is colour."""
        return self._drawing.unfinished

    @property
    def has_escaped(self) -> bool:
        """Was anything shown escaped in this view?"""
        return self._drawing.has_escaped

    def feed(self, chunk: bytes) -> list[str]:
        """Take what was received."""
        return self._drawing.feed(chunk)

    def end_row(self) -> list[str]:
        """Let what comes next begin a row of its own: the user has pressed Enter."""
        return self._drawing.end_row()

    def finish(self) -> list[str]:
        """End the row, and show what was held back: nothing will complete it."""
        return self._drawing.finish()

    def resize(self, columns: int) -> list[str]:
        """The terminal has another width."""
        self._columns = columns
        return self._drawing.resize(columns)

    def set_view(self, view: str) -> list[str]:
        """Draw what comes next as "text", "hex" or "raw"."""
        if view == self.view:
            return []
        rows = self.finish()
        self.view = view
        self._drawing = self._make()
        return rows

    def decode_as(self, encoding: str) -> None:
        """What comes next is text in this encoding."""
        self._encoding = encoding
        self._drawing.decode_as(encoding)

    def _make(self) -> _Drawing:
        if self.view == "hex":
            return _Hex(self._columns, self._color)
        if self.view == "raw":
            return _Raw(self._columns)
        text = _Text(self._columns, self._color)
        text.decode_as(self._encoding)
        return text


class _Drawing(ABC):
    """One way to draw."""

    has_escaped = False

    @property
    @abstractmethod
    def unfinished(self) -> str: ...

    @abstractmethod
    def feed(self, chunk: bytes) -> list[str]: ...

    @abstractmethod
    def end_row(self) -> list[str]: ...

    def finish(self) -> list[str]:
        return self.end_row()

    def resize(self, columns: int) -> list[str]:
        return []

    def decode_as(self, encoding: str) -> None:
        """What comes next is text in this encoding: only text has one."""


class _Text(_Drawing):
    """Filtered text. A long line fills row after row, as the terminal itself would break it."""

    def __init__(self, columns: int, color: bool) -> None:
        self._columns = columns
        self._dim = ESCAPED if color else ("", "")
        self._filter = TerminalFilter(dim=self._dim)
        self._start_row()

    def decode_as(self, encoding: str) -> None:
        self._filter.decode_as(encoding)

    @property
    def unfinished(self) -> str:
        return self._row

    def feed(self, chunk: bytes) -> list[str]:
        return self._show(self._filter.feed_text(chunk))

    def end_row(self) -> list[str]:
        rows = [self._row + "\n"] if self._row else []
        self._start_row()
        return rows

    def finish(self) -> list[str]:
        rows = self._show(self._filter.feed_text(b"", final=True))
        return rows + self.end_row()

    def resize(self, columns: int) -> list[str]:
        self._columns = columns
        if self._used <= columns:
            return []
        row = self._row
        self._start_row()
        return self._extend(row)

    def _start_row(self, text: str = "", dimmed: bool = False) -> None:
        self._row = text
        self._dimmed = dimmed
        self._used = 0  # columns
        self._count = 0  # characters

    def _show(self, text: str) -> list[str]:
        self.has_escaped = self._filter.escaped > 0
        *lines, last = text.split("\n")
        rows: list[str] = []
        for line in lines:
            # The terminal breaks a whole line as we do, and then knows that it is one: it can be copied as one.
            if not self._row and line.isascii() and "\t" not in line:
                rows.append(line + "\n")
            else:
                rows += self._extend(line)
                rows += self.end_row() or ["\n"]
        return rows + self._extend(last)

    def _extend(self, text: str) -> list[str]:
        """Go on with the unfinished row; returns those that became full. A full row goes up when more follows it."""
        rows: list[str] = []
        for piece in PIECES.findall(text):
            if piece in ESCAPED:
                self._dimmed = piece == ESCAPED[0]
                self._row += piece
            elif piece == "\t":
                if self._used >= self._columns:
                    rows.append(self._take_row())
                blanks = min(TAB_COLUMNS - self._used % TAB_COLUMNS, self._columns - self._used)
                rows += self._fill(" " * blanks)
            else:
                rows += self._fill(piece)
        return rows

    def _fill(self, text: str) -> list[str]:
        rows = []
        start = 0
        most = CHARACTERS_PER_COLUMN * self._columns
        while start < len(text):
            if self._count >= most:
                rows.append(self._take_row() + "\n")
            end, columns = _fitting(text, start, min(len(text), start + most - self._count), self._columns - self._used)
            if end == start and self._used:
                rows.append(self._take_row())
                continue
            if end == start:  # wider than the terminal
                end, columns = start + 1, self._columns
            self._row += text[start:end]
            self._used += columns
            self._count += end - start
            start = end
        return rows

    def _take_row(self) -> str:
        """Take the row away, full; the next one goes on with the line."""
        before, after = self._dim if self._dimmed else ("", "")
        row = self._row + after
        self._start_row(before, self._dimmed)
        return row


class _Hex(_Drawing):
    """Rows of a dump."""

    def __init__(self, columns: int, color: bool) -> None:
        self._dump = HexDump("<", row_bytes=row_bytes_for(columns), color=color)

    @property
    def unfinished(self) -> str:
        return self._dump.partial

    def feed(self, chunk: bytes) -> list[str]:
        return [row + "\n" for row in self._dump.feed(chunk)]

    def end_row(self) -> list[str]:
        return [row + "\n" for row in self._dump.flush()]


class _Raw(_Drawing):
    """Lines as they are, bytes that are no UTF-8 as `surrogateescape`; only the one without an end yet is filtered."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._line = b""

    @property
    def unfinished(self) -> str:
        shown = TerminalFilter().feed_text(self._line, final=True).replace("\t", " ")
        return shown[-self._columns :]

    def feed(self, chunk: bytes) -> list[str]:
        *pieces, self._line = RAW_PIECE.findall(self._line + chunk) or [b""]
        if self._line.endswith(b"\n"):
            pieces.append(self._line)
            self._line = b""
        return [_as_is(piece if piece.endswith(b"\n") else piece + b"\n") for piece in pieces]

    def end_row(self) -> list[str]:
        row, self._line = self._line, b""
        return [_as_is(row + b"\n")] if row else []

    def resize(self, columns: int) -> list[str]:
        self._columns = columns
        return []


def _as_is(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _fitting(text: str, start: int, stop: int, room: int) -> tuple[int, int]:
    """How far the text from `start` to `stop` fits into so many columns, and how many it takes."""
    if text.isascii():
        end = min(stop, start + room)
        return end, end - start
    used = 0
    for end in range(start, stop):
        columns = _columns_of(text[end])
        if used + columns > room:
            return end, used
        used += columns
    return stop, used


@lru_cache(maxsize=4096)
def _columns_of(character: str) -> int:
    """Columns of a printable character on a terminal (Unicode Standard Annex 11)."""
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
