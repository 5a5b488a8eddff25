"""What a dialog with a proxy yields, returns and raises.

A dialog is a generator. It yields bytes to send them, or a number to receive that many bytes, and returns when the
proxy has connected to the target. It receives only the proxy's own bytes: those behind its answer are the target's.
Pure.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal, TypeAlias, TypeVar

__all__ = ["Dialog", "Refusal", "RefusalKind", "Secret", "Step"]

T = TypeVar("T")
# A part of a dialog: `head = yield from read_header()`
Step: TypeAlias = Generator[bytes | int, bytes, T]
# The whole: it returns the address that the proxy connects from, `ip:port`, or "" where it does not say.
Dialog: TypeAlias = Step[str]

# "target": another address of the target may work; "credentials": other ones may work; "nonsense": it speaks another
# protocol.
RefusalKind = Literal["target", "credentials", "nonsense", "ended", "other"]


class Secret(bytes):
    """Bytes to send that have credentials in them. A capture has `shown` in their place, of the same length."""

    shown: bytes

    @classmethod
    def between(cls, *parts: bytes) -> Secret:
        """What may be shown and what may not, in turn: the second part, and the fourth, are asterisks in `shown`."""
        made = cls(b"".join(parts))
        made.shown = b"".join(b"*" * len(part) if number % 2 else part for number, part in enumerate(parts))
        return made


class Refusal(Exception):
    """The proxy does not connect us. `text`: why, after "proxy ADDRESS: ". `said`: its answer, where that is text.

    `reason`: the words in `text` that say why the proxy did not reach the address.
    """

    def __init__(self, text: str, *, kind: RefusalKind = "other", reason: str = "", said: bytes = b"") -> None:
        super().__init__(text)
        self.text = text
        self.kind = kind
        self.reason = reason
        self.said = said
