"""What came on a connection, as far as a command may ask for it later.

For `:expect` and `:wait`, and what they say when they fail; for an upgrade, which looks at the greeting and at the last
answer; and for the guess that the peer expects TLS.
"""

from __future__ import annotations

import asyncio
import re

from cfcat.core.codec import TLS_ALERT, TLS_HELLO
from cfcat.edges.search import search

__all__ = ["LINE_BYTES", "MEMORY_BYTES", "Memory"]

# `:expect` searches the last MEMORY_BYTES received: plenty for an answer, and bounded.
MEMORY_BYTES = 1024 * 1024
# The last line is looked for in so much of it, and quoted so far.
RECENT_BYTES = 16 * 1024
LINE_BYTES = 400
# So much of what a server says first is kept for a dialog that is run later (SEC-R7: a line of 64 KiB).
GREETING_BYTES = 64 * 1024
# So much of the last line sent and of its answer is looked at before a bare upgrade (SEC-R6).
EXCHANGE_BYTES = 64 * 1024


class Memory:
    """The last MEMORY_BYTES received since the last match, and the parts below. `ended`: nothing more will come.

    `first`: what came first. `unasked`: how much of that came before anything was sent. `asked`: what was sent last.
    `answer`: what came since.
    """

    def __init__(self) -> None:
        self.ended = False
        self.first = self.asked = self.answer = b""
        self.unasked = 0
        self._first_bytes = b""
        self._unmatched = bytearray()
        self._forgotten_bytes = 0  # how many came before `_unmatched`
        self._recent = b""  # matched or not
        self._news = asyncio.Event()

    @property
    def last_line(self) -> bytes:
        """The last line with anything in it, as far as it has come; b"" where there is none."""
        return next((line[:LINE_BYTES] for line in reversed(self._recent.split(b"\n")) if line.strip()), b"")

    @property
    def begins_with_tls_alert(self) -> bool:
        """Is the first that came a TLS alert?"""
        return self._first_bytes == TLS_ALERT

    @property
    def begins_with_tls_hello(self) -> bool:
        """Is the first that came a client's TLS?"""
        return self._first_bytes == TLS_HELLO

    def ask(self, data: bytes) -> None:
        """Take what is sent: what comes from now on is its answer."""
        self.asked = (self.asked + data)[-EXCHANGE_BYTES:]
        self.answer = b""

    def feed_first(self, chunk: bytes, *, unasked: bool) -> None:
        """Take what was received, for a dialog that is run later; `unasked`: before anything was sent."""
        self.first = (self.first + chunk)[:GREETING_BYTES]
        if unasked:
            self.unasked = len(self.first)

    def feed(self, chunk: bytes) -> None:
        """Take what was received outside of a dialog."""
        self._first_bytes += chunk[: len(TLS_ALERT) - len(self._first_bytes)]
        self.answer = (self.answer + chunk)[:EXCHANGE_BYTES]
        self._unmatched += chunk
        self._forget(max(0, len(self._unmatched) - MEMORY_BYTES))
        self._recent = (self._recent + chunk[-RECENT_BYTES:])[-RECENT_BYTES:]
        self._news.set()

    def forget(self) -> None:
        """Forget what has come: it cannot answer what is asked later."""
        self._forget(len(self._unmatched))
        self._recent = self.first = self.asked = self.answer = b""
        self.unasked = 0

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
        """Wait at most this long; True if data or the end came."""
        try:
            async with asyncio.timeout(seconds):
                await self.change()
        except TimeoutError:
            return False
        return True

    async def match(self, pattern: re.Pattern[bytes]) -> bool:
        """Is it in what came since the last match? If so, that is forgotten up to the end of the match.

        More may come meanwhile. Cancelling changes nothing.
        """
        begin = self._forgotten_bytes
        end = await search(asyncio.get_running_loop(), pattern, bytes(self._unmatched))
        if end is None:
            return False
        self._forget(max(0, begin + end - self._forgotten_bytes))
        return True

    def _forget(self, count: int) -> None:
        self._forgotten_bytes += count
        del self._unmatched[:count]
