"""Bytes as rows of hexadecimal, in `hexdump -C`'s shape, in pieces as they come.

Pure. One `HexDump` is one direction: the offset counts all its bytes. Any split of the input gives the same rows.

    < 00000010  48 65 6c 6c 6f 0d 0a 00  01 ff                   |Hello.....|
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from cfcat.report.theme import WAYS, Part, paint

__all__ = ["ROW_BYTES", "HexDump", "row_bytes_for"]

ROW_BYTES = 16
GROUP_BYTES = 8  # a wider gap after each
# The narrower rows are for narrow terminals: a row that is broken by the terminal's edge cannot be read.
ROW_CHOICES = (16, 8, 4)
TEXT = bytes(byte if 0x20 <= byte < 0x7F else ord(".") for byte in range(256))


NUL, BLANK, CONTROL, PRINTABLE, OTHER = range(5)
PARTS: tuple[Part, ...] = ("nul", "blank", "control", "printable", "other")


def _class(byte: int) -> int:
    if byte in b"\t\n\v\f\r ":
        return BLANK
    if byte >= 0x80:
        return OTHER
    return NUL if byte == 0 else PRINTABLE if 0x20 < byte < 0x7F else CONTROL


CLASSES = bytes(map(_class, range(256)))
RUN = re.compile(rb"(.)\1*", re.DOTALL)


def row_bytes_for(columns: int) -> int:
    """How many bytes a row may show on a terminal of that width, the direction mark included."""
    return next((count for count in ROW_CHOICES if _row_width(count) <= columns), ROW_CHOICES[-1])


def _row_width(count: int) -> int:
    return len("> 00000000  ") + _hex_width(count) + len(" ||") + count


def _hex_width(count: int) -> int:
    return 3 * count - 1 + (count - 1) // GROUP_BYTES if count else 0


WIDTHS = tuple(map(_hex_width, range(ROW_BYTES + 1)))


class HexDump:
    """One direction of a connection as rows.

    `mark`: in front of each row, "<" or ">". `row_bytes`: bytes in a row. `color`: with SGR sequences by the
    direction, and by the class of each byte (NUL, blank, control, printable, not ASCII).
    """

    def __init__(self, mark: str = "", *, row_bytes: int = ROW_BYTES, color: bool = False) -> None:
        self._mark = f"{paint(WAYS[mark], mark) if color else mark} " if mark else ""
        self._row_bytes = row_bytes
        self._color = color
        self._offset = 0  # of the first byte in `_rest`
        self._rest = b""

    def feed(self, chunk: bytes | bytearray | memoryview) -> list[str]:
        """Take a chunk; returns the rows that became complete."""
        data = self._rest + bytes(chunk)
        complete = len(data) - len(data) % self._row_bytes
        rows = [
            self._row(self._offset + start, data[start : start + self._row_bytes])
            for start in range(0, complete, self._row_bytes)
        ]
        self._offset += complete
        self._rest = data[complete:]
        return rows

    @property
    def partial(self) -> str:
        """The row that is not complete, or ""."""
        return self._row(self._offset, self._rest) if self._rest else ""

    def flush(self) -> list[str]:
        """End the row here, complete or not; the offset goes on."""
        rows = [self.partial] if self._rest else []
        self._offset += len(self._rest)
        self._rest = b""
        return rows

    def _row(self, offset: int, data: bytes) -> str:
        padding = " " * (_hex_width(self._row_bytes) - _hex_width(len(data)))
        groups = [data[start : start + GROUP_BYTES].hex(" ") for start in range(0, len(data), GROUP_BYTES)]
        cells, text = "  ".join(groups), data.translate(TEXT).decode("ascii")
        if self._color:
            runs = [(run.start(), run.end(), PARTS[run[0][0]]) for run in RUN.finditer(data.translate(CLASSES))]
            cells = _paint((WIDTHS[start], WIDTHS[end], part, cells) for start, end, part in runs)
            text = _paint((start, end, part, text) for start, end, part in runs)
        return f"{self._mark}{offset:08x}  {cells}{padding} |{text}|"


def _paint(runs: Iterable[tuple[int, int, Part, str]]) -> str:
    """One colour for each run of bytes of a class."""
    return "".join(paint(part, plain[start:end]) for start, end, part, plain in runs)
