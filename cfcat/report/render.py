"""Bytes to text that is safe to show.

Pure. Anything that came from a peer can move the cursor, set the clipboard or make the terminal type an answer, so
nothing but printable characters passes. Source: rules SEC-R20 to SEC-R22.
"""

from __future__ import annotations

import codecs
import re

__all__ = ["TerminalFilter", "escape", "is_byte", "is_visible", "quote"]


# Characters that Python calls printable and no font shows: combining joiners, fillers, variation selectors. They are
# what is left of Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt) when those are taken away that are
# not printable anyway.
INVISIBLE = frozenset(
    chr(code)
    for codes in (
        *(
            range(0x34F, 0x350),
            range(0x115F, 0x1161),
            range(0x17B4, 0x17B6),
            range(0x180B, 0x180E),
            range(0x180F, 0x1810),
        ),
        *(range(0x3164, 0x3165), range(0xFE00, 0xFE10), range(0xFFA0, 0xFFA1), range(0xE0100, 0xE01F0)),
    )
    for code in codes
)


def is_visible(text: str) -> bool:
    """Is every character one that is seen? A space is."""
    return text.isprintable() and (text.isascii() or INVISIBLE.isdisjoint(text))


def is_byte(character: str) -> bool:
    """Is it what `surrogateescape` makes of a byte that is no UTF-8?"""
    return 0xDC80 <= ord(character) <= 0xDCFF


def escape(said: bytes | str) -> str:
    """One line of visible characters: all else as `\\xNN`, `\\uNNNN` or `\\UNNNNNNNN` (SEC-R20).

    Printable is what Unicode says is: no control, format (bidi, zero width, tags), surrogate or unassigned
    character, and no blank but the space; and of those none that is invisible. A byte that was no UTF-8, which
    `surrogateescape` has made a surrogate of, is shown as that byte.
    """
    text = said if isinstance(said, str) else said.decode("utf-8", "backslashreplace")
    return text if is_visible(text) else "".join(map(_escape_character, text))


def quote(said: bytes | str) -> str:
    """What a peer said, in quotes, without the line ending."""
    line = said.rstrip("\r\n\0 ") if isinstance(said, str) else said.rstrip(b"\r\n\0 ")
    return f'"{escape(line)}"'


def _escape_character(character: str) -> str:
    if is_visible(character):
        return character
    code = ord(character)
    if is_byte(character):
        code -= 0xDC00
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# Blanks of other widths and of other scripts: as harmless as the space, and text is full of them.
# So pass newline and tab, and the two that choose between a character's forms as text and as a picture.
PASSING = frozenset("\n\t\ufe0e\ufe0f") | frozenset(
    "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
)


# RFC 854 has CR NUL for a carriage return alone, and old software ends its lines with it, or with LF CR.
LINE_END = re.compile("\r\n|\n\r(?!\n)|\r\0")


class TerminalFilter:
    """Received bytes to what a terminal may get (SEC-R22).

    Visible characters, newline and tab pass; CR LF, LF CR and CR NUL become a newline; the rest is shown escaped.
    Characters and line endings that are split over two chunks come out whole: any split gives the same output.
    `escaped` counts what was not passed. `dim`: what to put before and after that, on a terminal with colours.
    """

    def __init__(self, *, dim: tuple[str, str] = ("", "")) -> None:
        self._before, self._after = dim
        self._encoding = "utf-8"
        self._decoder = codecs.getincrementaldecoder(self._encoding)("surrogateescape")
        self._decoded = ""  # by the decoder before this one, and not fed yet
        self._held_cr = False
        self._is_after_lf = False  # was LF the last that came, and not the second half of CR LF?
        self.escaped = 0

    def decode_as(self, encoding: str) -> None:
        """What comes from here on is text in this encoding."""
        if encoding != self._encoding:
            self._encoding = encoding
            self._decoded += self._decoder.decode(b"", True)
            self._decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")

    def feed(self, chunk: bytes, final: bool = False) -> bytes:
        """Filter a chunk; with `final`, also what was held back for the next one."""
        return self.feed_text(chunk, final).encode()

    def feed_text(self, chunk: bytes, final: bool = False) -> str:
        """As `feed()`, as text."""
        text, self._decoded = self._decoded + self._decoder.decode(chunk, final), ""
        if self._held_cr:
            text = "\r" + text
        self._held_cr = text.endswith("\r") and not final
        if self._held_cr:
            text = text[:-1]
        if text:
            after_lf, self._is_after_lf = self._is_after_lf, text.endswith("\n") and not text.endswith("\r\n")
            if after_lf and text.startswith("\r") and not text.startswith("\r\n"):
                text = text[1:]  # of an LF CR that came in two chunks
        if "\r" in text:
            text = LINE_END.sub("\n", text)
        # Whole lines are nearly always clean, and asking once is a hundred times faster than asking each character.
        shown = "".join(map(self._line, text.splitlines(keepends=True) if "\n" in text else [text]))
        return shown.replace(self._after + self._before, "") if self._before else shown

    def _line(self, line: str) -> str:
        return line if is_visible(line.rstrip("\n")) else "".join(map(self._character, line))

    def _character(self, character: str) -> str:
        if character in PASSING or is_visible(character):
            return character
        self.escaped += 1
        return f"{self._before}{_escape_character(character)}{self._after}"
