"""How each part of what is shown looks on a terminal with colours: one theme for sessions, the tap and dumps.

Pure. All of it is foreground, in the 16 colours that a terminal's own palette defines. What is read most, the peer's
words, keeps the terminal's own colour; what goes to the peer is magenta, which of all 16 can be read best both on white
and on black.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["ESCAPED", "LOOKS", "WAYS", "Look", "Part", "paint"]

Part = Literal[
    "prompt",
    "tls",
    "insecure",
    "sent",
    "received",
    "notice",
    "error",
    "suggestion",
    "nul",
    "blank",
    "control",
    "printable",
    "other",
]


class Look(NamedTuple):
    """The same twice: SGR parameters (ECMA-48 §8.3.117), "" for none, and a style of prompt_toolkit."""

    sgr: str
    style: str = ""


LOOKS: dict[Part, Look] = {
    "prompt": Look("1", "bold"),
    "tls": Look("1;32", "bold ansigreen"),
    "insecure": Look("1;31", "bold ansired"),
    "sent": Look("35", "ansimagenta"),
    "received": Look(""),
    "notice": Look("2"),
    "error": Look("31"),
    "suggestion": Look("90", "ansibrightblack"),
    # Classes and colours of bytes as hexyl has them.
    "nul": Look("90"),
    "blank": Look("32"),
    "control": Look("35"),
    "printable": Look("36"),
    "other": Look("33"),
}
# What to put before and after a character that is shown escaped; it ends nothing but itself.
ESCAPED = ("\x1b[2m", "\x1b[22m")
# The two directions by their marks.
WAYS: dict[str, Part] = {">": "sent", "<": "received"}


def paint(part: Part, text: str) -> str:
    """The text as it looks; it has no line ends."""
    sgr = LOOKS[part].sgr
    return f"\x1b[{sgr}m{text}\x1b[0m" if sgr and text else text
