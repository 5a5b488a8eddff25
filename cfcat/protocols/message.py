"""A message as SMTP, LMTP and NNTP send it: lines with CR LF, dots doubled, a dot alone behind it.

Pure. Sources: RFC 5321 §2.3.8 and §4.5.2; RFC 3977 §3.1.1.
"""

from __future__ import annotations

import re

__all__ = ["Message"]

# What is changed: a LF without its CR, and a dot at the beginning of a line.
CHANGED = re.compile(rb"(?<!\r)\n|(?<=\n)\.")
CHANGES = {b"\n": b"\r\n", b".": b".."}


class Message:
    """Turns the text of a message, which comes in pieces of any size, into what is sent."""

    def __init__(self) -> None:
        self._before = b"\r\n"  # what the next piece stands behind, as far as it counts

    def feed(self, piece: bytes) -> bytes:
        """Return what is sent for the next piece, which must not be empty."""
        text = CHANGED.sub(lambda found: CHANGES[found[0]], self._before + piece)[len(self._before) :]
        self._before = b"\r\n" if piece.endswith(b"\n") else piece[-1:]
        return text

    def end(self) -> bytes:
        """The end of its last line, where that has none, and the dot."""
        return {b"\r\n": b"", b"\r": b"\n"}.get(self._before, b"\r\n") + b".\r\n"
