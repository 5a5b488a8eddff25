"""Who looks on while pipe mode moves its bytes: the hook for hex dumps, transcripts and summaries.

The pump calls an observer from the event loop, so what it does must not block. Whether chunks are shown at all
decides how they travel: an observer that wants bytes keeps descriptors from being joined in the kernel.
"""

from __future__ import annotations

from typing import Literal, Protocol

from cfcat.core.codec import Buffer

__all__ = ["Direction", "Observer"]

Direction = Literal["sent", "received"]


class Observer(Protocol):
    """Told of every chunk and of each direction's end."""

    @property
    def wants_bytes(self) -> bool:
        """Are `sent` and `received` to be called? Asked once, when the pump starts."""

    def sent(self, chunk: Buffer) -> None:
        """A chunk of stdin, as it goes to the peer (after `--crlf`). Good only during the call."""

    def received(self, chunk: Buffer) -> None:
        """A chunk from the peer, before it goes to stdout. Good only during the call."""

    def held(self) -> None:
        """Stdin has ended and all of it was sent, but our end waits; once at most, and `ended("sent")` may follow."""

    def ended(self, direction: Direction) -> None:
        """Our end is sent, or stdin has ended and it never will be; or the peer's EOF was read. At most once each."""
