"""Bytes and patterns of Python as literals of JavaScript: pure, and nothing but ASCII comes out.

A text is a string in quotes, which is sent as UTF-8; all else is hexadecimal. Source: ECMAScript 2024, §12.9.
"""

from __future__ import annotations

import json
import re

__all__ = ["bytes_literals", "is_text", "string_literal", "translate_regex"]

HEX_BYTES = 48  # on a line
BINARY = re.compile(r"[^\t\n\r -~\u00a0-\U0010ffff]")
FLAG = re.compile(r"\(\?i\)")
COUNT = re.compile(r"\{(\d*)(,?)(\d*)\}")
GROUP = re.compile(r"\(\?(?::|=|!)|\((?!\?)")
QUANTIFIERS = "*+?{"
# Letter escapes that mean the same in both languages; \s does not: it matches other blanks.
SAME = frozenset("dDwWbBrntfv")
SAME_IN_CLASS = SAME - {"B"}
BLANKS = r"\t\n\v\f\r "


def is_text(data: bytes) -> bool:
    """Is it UTF-8 without control characters, but for tabs and line ends?"""
    try:
        return BINARY.search(data.decode()) is None
    except UnicodeDecodeError:
        return False


def string_literal(text: str) -> str:
    """A string without surrogates. What JSON writes is JavaScript, too."""
    return json.dumps(text)


def bytes_literals(data: bytes) -> list[str]:
    """Expressions, each for a piece of the data: a string for a line, or a call of hex()."""
    if is_text(data):
        return [string_literal(line) for line in re.split(r"(?<=\n)", data.decode()) if line]
    pieces = [data[at : at + HEX_BYTES] for at in range(0, len(data), HEX_BYTES)]
    return [f'hex("{piece.hex()}")' for piece in pieces]


def translate_regex(pattern: bytes) -> str | None:
    """A pattern of `:expect` as a literal that finds the same in bytes; None if no JavaScript pattern is certain to
    match the same.

    The searched text has one character for each byte. Meanings are spelled out where the languages differ: of `^`, `$`
    and `.` by lines that end in LF alone.
    """
    text = pattern.decode("latin-1")
    flags = ""
    if (flag := FLAG.match(text)) is not None:
        text, flags = text[flag.end() :], "i"
    source = ""
    at = 0
    while at < len(text):
        piece, length = _translate(text, at)
        if piece is None:
            return None
        source += piece
        at += length
    return f"/{source or '(?:)'}/{flags}"


def _translate(text: str, at: int) -> tuple[str | None, int]:
    """The piece that begins at `at`, and how long it was in Python."""
    character = text[at]
    if character == "\\":
        return _escape(text, at, SAME, {"s": f"[{BLANKS}]", "S": f"[^{BLANKS}]"})
    if character == "[":
        return _class(text, at)
    if character in "^$":
        if text[at + 1 : at + 2] in tuple(QUANTIFIERS):
            return None, 0
        return (r"(?<![^\n])" if character == "^" else r"(?![^\n])"), 1
    if character == ".":
        return r"[^\n]", 1
    if character == "(":
        group = GROUP.match(text, at)
        return (None, 0) if group is None else (group[0], len(group[0]))
    if character in QUANTIFIERS:
        return _quantifier(text, at)
    if character in ")|":
        return character, 1
    return _plain(character), 1


def _quantifier(text: str, at: int) -> tuple[str | None, int]:
    count = COUNT.match(text, at)
    if text[at] == "{":
        if count is None or not (count[1] or count[3]):
            return r"\{", 1
        piece, length = f"{{{count[1] or 0}{count[2]}{count[3]}}}", len(count[0])
    else:
        piece, length = text[at], 1
    after = text[at + length : at + length + 1]
    if after == "?":
        return piece + "?", length + 1
    return (None, 0) if after == "+" else (piece, length)  # possessive


def _class(text: str, at: int) -> tuple[str | None, int]:
    begin = at + 1
    source = "["
    if text[begin : begin + 1] == "^":
        source, begin = "[^", begin + 1
    here = begin
    while here < len(text):
        character = text[here]
        if character == "]" and here > begin:
            return source + "]", here + 1 - at
        if character == "\\":
            piece, length = _escape(text, here, SAME_IN_CLASS, {"s": BLANKS})
        else:
            piece, length = (character if character in "-" else _plain(character)), 1
        if piece is None:
            return None, 0
        source += piece
        here += length
    return None, 0


def _escape(text: str, at: int, same: frozenset[str], others: dict[str, str]) -> tuple[str | None, int]:
    code = text[at + 1 : at + 2]
    if code in others:
        return others[code], 2
    if code in same:
        return "\\" + code, 2
    if re.match(r"x[0-9A-Fa-f]{2}", text[at + 1 :]):
        return text[at : at + 4], 4
    if not code or (code.isalnum() and code.isascii()):
        return None, 0
    return _plain(code), 2


def _plain(character: str) -> str:
    """A character that stands for itself."""
    if (character.isascii() and character.isalnum()) or character in " _\"'#%&,:;<=>@`~!":
        return character
    if " " < character <= "~":
        return "\\" + character
    return f"\\x{ord(character):02x}"
