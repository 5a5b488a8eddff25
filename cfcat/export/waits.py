"""What a Worker waits for, in place of the person or the script that waited: pure.

Where the session had an `:expect` or a `:reply`, its pattern, as long as JavaScript has the same; else as much as had
come: the number of lines, or of bytes where it is no text. All of it is counted from where the last wait ended, so that
the same conversation is found however it is cut into chunks, and whenever it comes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from cfcat.export.javascript import is_text, translate_regex

__all__ = ["Bytes", "Lines", "Match", "Replied", "Wait", "Waits"]


# An answer of at most this many bytes is taken to be always the same, such as the S of postgres.
SHORT = 64
# How a line that answers a request begins: with a code, a sign, or the tag of the request (IMAP).
VERDICT = re.compile(r"\d{3}(?=[ -])|\+OK|OK|\S+ OK")


# A reply whose end can be seen: one line, or all lines of a code (SMTP, FTP). conversation.js has the same.
REPLY = re.compile(rb"(\d{3})-[^\n]*\n(?:[^\n]*\n)*?\1(?=[ \r\n])[^\n]*\n|(?!\d{3}-)[^\n]*\n")
ANY = "/(?:)/"
FLAGS = re.compile(rb"(?:\(\?[aiLmsux]+\))?")


class Lines(NamedTuple):
    """So many line ends. `begins`: what the last line must begin with."""

    number: int
    begins: str = ""


class Bytes(NamedTuple):
    """So many bytes. `exactly`: what they must be, a character a byte; "" for any."""

    number: int
    exactly: str = ""


class Match(NamedTuple):
    """A match of this literal of JavaScript."""

    regex: str


class Replied(NamedTuple):
    """A whole reply, with a match of this literal of JavaScript at its beginning; any, where JavaScript has no such."""

    regex: str


Wait = Lines | Bytes | Match | Replied


Search = Callable[[bytes, bytes], int | None]


class Waits:
    """From what was received and what was expected to what is to be waited for.

    `search` returns the end of the first match of a pattern in a text, or None.
    """

    def __init__(self, search: Search) -> None:
        self._search = search
        self._rest = b""  # what came and is not waited for yet
        self._begins_line = True  # the rest
        self._matches: list[Wait] = []

    def receive(self, data: bytes) -> None:
        """This came."""
        self._rest += data

    def expect(self, pattern: bytes) -> None:
        """A match of this pattern was waited for."""
        regex = translate_regex(pattern)
        end = None if regex is None else self._search(pattern, self._rest)
        if regex is not None and end is not None:
            self._matches.append(Match(regex))
            self._take(end)

    def reply(self, pattern: bytes) -> None:
        """A reply with a match of this pattern at its beginning was waited for.

        Where nobody sees the end of the reply, such as that of IMAP, the match has to do.
        """
        reply = REPLY.match(self._rest) if self._begins_line else None
        if reply is None or self._search(_anchored(pattern, rb"\A"), reply[0]) is None:
            self.expect(_anchored(pattern, b"^"))
        else:
            self._matches.append(Replied(translate_regex(_anchored(pattern, b"^")) or ANY))
            self._take(reply.end())

    def _take(self, end: int) -> bytes:
        taken, self._rest = self._rest[:end], self._rest[end:]
        self._begins_line = taken.endswith(b"\n") if taken else self._begins_line
        return taken

    def take_matches(self) -> list[Wait]:
        """Only the patterns: at the end everything is read, and its amount may differ."""
        waits, self._matches = self._matches, []
        return waits

    def take(self) -> list[Wait]:
        """What is to be waited for before the next step."""
        waits = self.take_matches()
        return waits or self._take_rest(check=False)

    def take_all(self, *, check: bool = False) -> list[Wait]:
        """As `take`, until nothing that had come is missing.

        `check`: without a pattern, the answer must be positive in the same way as the recorded one.
        """
        waits = self.take_matches()
        return [*waits, *self._take_rest(check=check and not waits)]

    def _take_rest(self, *, check: bool) -> list[Wait]:
        rest = self._take(len(self._rest))
        text = rest.decode("latin-1")
        lines = rest.count(b"\n") if is_text(rest) else 0
        tail = text[text.rfind("\n") + 1 :] if lines else text
        last = text.split("\n")[lines - 1] if lines else ""
        begins = VERDICT.match(last) if check and not tail else None
        exactly = tail if check and len(tail) <= SHORT else ""
        counted = (Lines(lines, "" if begins is None else begins[0]), Bytes(len(tail), exactly))
        return [wait for wait in counted if wait.number]


def _anchored(pattern: bytes, anchor: bytes) -> bytes:
    """The pattern, behind this anchor only."""
    flags = FLAGS.match(pattern)
    assert flags is not None
    return flags[0] + anchor + b"(?:" + pattern[flags.end() :] + b")"
