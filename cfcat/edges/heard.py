"""What has come from the peer and no match has taken yet: for `:expect`, `:reply`, `--after` and `--until`."""

from __future__ import annotations

import re

from cfcat.core.loop import Loop
from cfcat.edges.search import Found, search

__all__ = ["LINE_BYTES", "MEMORY_BYTES", "RECENT_BYTES", "Heard"]

# So much of what came is searched: plenty for an answer, and bounded.
MEMORY_BYTES = 1024 * 1024
# The last line is looked for in so much of it, and quoted so far.
RECENT_BYTES = 16 * 1024
LINE_BYTES = 400


class Heard:
    """The last MEMORY_BYTES since the last match. Places in it are counted from the beginning of the stream."""

    def __init__(self) -> None:
        self.unmatched = bytearray()
        self.matched = 0  # the place behind the last match, forgotten or not
        self.recent = b""  # the last RECENT_BYTES, matched or not
        self._forgotten_bytes = 0  # how many came before `unmatched`

    @property
    def begin(self) -> int:
        """The place behind the last match, or where the memory begins."""
        return self._forgotten_bytes

    @property
    def end(self) -> int:
        """The place behind all that has come."""
        return self._forgotten_bytes + len(self.unmatched)

    @property
    def last_line(self) -> bytes:
        """The last line with anything in it, as far as it has come; b"" where there is none."""
        return next((line[:LINE_BYTES] for line in reversed(self.recent.split(b"\n")) if line.strip()), b"")

    def feed(self, chunk: bytes) -> None:
        """Take what came."""
        self.unmatched += chunk
        self.recent = (self.recent + chunk[-RECENT_BYTES:])[-RECENT_BYTES:]
        self._forget(self.end - MEMORY_BYTES)

    def take(self, place: int) -> None:
        """A match ends at this place: what is before it is matched no more."""
        self.matched = max(self.matched, place)
        self._forget(place)

    def _forget(self, place: int) -> None:
        count = max(0, place - self._forgotten_bytes)
        self._forgotten_bytes += count
        del self.unmatched[:count]

    async def find(self, loop: Loop, pattern: re.Pattern[bytes]) -> Found | None:
        """The first match in it; nothing is taken, and more may come meanwhile. Cancelling ends the search."""
        begin = self.begin
        found = await search(loop, pattern, bytes(self.unmatched))
        return found and found._replace(start=begin + found.start, end=begin + found.end)
