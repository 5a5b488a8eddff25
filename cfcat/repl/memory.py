"""What has been received, kept for `:expect`, for `:wait` and for what they say when they fail."""

from __future__ import annotations

import asyncio
import re

__all__ = ["LINE_BYTES", "MEMORY_BYTES", "Memory"]

# A pattern is looked for in so much of what came last: plenty for an answer, and bounded.
MEMORY_BYTES = 1024 * 1024
# The last line is looked for in so much of it, and quoted so far.
RECENT_BYTES = 16 * 1024
LINE_BYTES = 400


class Memory:
    """The last MEMORY_BYTES received since the last match. `ended`: nothing more will come."""

    def __init__(self) -> None:
        self.ended = False
        self._unmatched = bytearray()
        self._recent = b""  # matched or not
        self._news = asyncio.Event()

    @property
    def last_line(self) -> bytes:
        """The last line with anything in it, as far as it has come; b"" where there is none."""
        return next((line[:LINE_BYTES] for line in reversed(self._recent.split(b"\n")) if line.strip()), b"")

    def feed(self, chunk: bytes) -> None:
        """Take what was received."""
        self._unmatched += chunk
        del self._unmatched[:-MEMORY_BYTES]
        self._recent = (self._recent + chunk[-RECENT_BYTES:])[-RECENT_BYTES:]
        self._news.set()

    def forget(self) -> None:
        """What came so far is no answer to anything that is asked later."""
        self._unmatched.clear()
        self._recent = b""

    def end(self) -> None:
        """Nothing more will come."""
        self.ended = True
        self._news.set()

    async def change(self) -> None:
        """Return when something has come since the last call, or nothing more will."""
        if not self.ended:
            await self._news.wait()
            self._news.clear()

    async def changes_within(self, seconds: float) -> bool:
        """Does something come, or end, before so long?"""
        try:
            async with asyncio.timeout(seconds):
                await self.change()
        except TimeoutError:
            return False
        return True

    def match(self, pattern: re.Pattern[bytes]) -> bool:
        """Is it in what came since the last match? If so, that is forgotten up to the end of the match."""
        found = pattern.search(self._unmatched)
        if found is None:
            return False
        del self._unmatched[: found.end()]
        return True
