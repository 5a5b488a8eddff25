"""What a dialog with a proxy is written in, and what it may end in.

A dialog is a generator. It yields bytes to say them, or a number to listen for so many, and returns when the target is
at the other end. It never listens for more than is the proxy's to say: what stands behind the answer is the target's.
Pure.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal, TypeAlias, TypeVar

__all__ = ["Dialog", "Refusal", "RefusalKind", "Step"]

T = TypeVar("T")
# A part of a dialog: `head = yield from read_header()`
Step: TypeAlias = Generator[bytes | int, bytes, T]
# The whole: it returns the address that the proxy connects from, `ip:port`, or "" where it does not say.
Dialog: TypeAlias = Step[str]

# "target": another address of the target may do; "credentials": others may do; "nonsense": it speaks something else.
RefusalKind = Literal["target", "credentials", "nonsense", "ended", "other"]


class Refusal(Exception):
    """The proxy does not connect us. `text`: why, after "proxy ADDRESS: ". `said`: its answer, where that is words.

    `reason`: the few words in `text` that say what is the matter with the address.
    """

    def __init__(self, text: str, *, kind: RefusalKind = "other", reason: str = "", said: bytes = b"") -> None:
        super().__init__(text)
        self.text = text
        self.kind = kind
        self.reason = reason
        self.said = said
