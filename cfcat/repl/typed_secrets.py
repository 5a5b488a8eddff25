"""Which of what a session sends carries a secret: judged line by line, as the peer gets it.

Source: rules SEC-R26, SEC-R29.
"""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from cfcat.errors import CommandError
from cfcat.protocols.secrets import SecretGuard
from cfcat.repl.arguments import parse_hex, sent_by
from cfcat.repl.commands import COMMANDS

__all__ = ["Judged", "TypedSecrets"]

# The beginning of a line shows whether it carries a secret.
JUDGED_BYTES = 4096
# A challenge, or the verdict on an answer, stands at the end of what came. Every line would be too slow for a bulk
# transfer.
HEARD_BYTES = 16 * 1024
# A line ends as the peer may take it. A CR at the very end may be half of an end.
LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")
# The commands that send their argument, and what they make of it.
SENDS: Mapping[str, Callable[[str], bytes]] = {"send": sent_by, "hex": parse_hex}


class _Unfinished(NamedTuple):
    """What was sent of a line whose end was not: its beginning, and how many bytes more."""

    line: bytes
    more_bytes: int


class Judged(NamedTuple):
    """What is about to be sent: does it carry a secret? `guard`, `unfinished`: what is known once it was sent."""

    is_secret: bool
    guard: SecretGuard
    unfinished: _Unfinished


class TypedSecrets:
    """The guard of one session. `judge()` changes nothing; tell `sent()` when the data goes out."""

    def __init__(self) -> None:
        self.begin(None)

    def begin(self, protocol: str | None) -> None:
        """Begin anew: the connection, its protocol or its encryption is another one. None: any protocol's secrets."""
        self._guard = SecretGuard(protocol)
        self._unfinished = _Unfinished(b"", 0)

    @property
    def hides_input(self) -> bool:
        """Has the peer asked for a password, so that what is typed now is not shown (SEC-R29)?"""
        return self._guard.hides_input

    def received(self, data: bytes) -> None:
        """Take what the peer says: it may ask for a secret."""
        self._guard.received(data[-HEARD_BYTES:])

    def judge(self, data: bytes) -> Judged:
        """Does any line carry a secret, as the peer gets it: with what was sent of it before (SEC-R26)?"""
        guard, is_secret = copy.copy(self._guard), False
        (text, forgotten), start = self._unfinished, 0
        text += data
        for end in LINE_END.finditer(text):
            is_secret |= guard.is_secret(text[start : end.start()][:JUDGED_BYTES], end.end() - start + forgotten)
            start, forgotten = end.end(), 0
        rest = text[start:]
        begun = rest[:JUDGED_BYTES].rstrip(b"\r")
        unfinished = _Unfinished(rest[:JUDGED_BYTES], forgotten + max(0, len(rest) - JUDGED_BYTES))
        return Judged(is_secret or (bool(begun) and guard.would_be_secret(begun)), guard, unfinished)

    def sent(self, judged: Judged) -> None:
        """This is sent now."""
        _, self._guard, self._unfinished = judged

    def are_in(self, line: str) -> bool:
        """Is a line that was entered a secret, or part of one, whether it can be sent or not?"""
        text = line.encode("utf-8", "surrogateescape")
        if not line.startswith(":") or line.startswith("::"):
            return self.judge(text.removeprefix(b":")).is_secret
        name, _, argument = line[1:].partition(" ")
        if name in COMMANDS and name not in SENDS:
            return False
        meant = text.partition(b" ")[2]  # of a mistyped command, or where the argument makes no sense
        with contextlib.suppress(CommandError):
            meant = SENDS[name](argument) if name in SENDS else meant
        return bool(meant) and self.judge(meant).is_secret
