"""What came on a connection, as far as a command may ask for it later.

For `:expect` and `:wait`, and what they say when they fail; for an upgrade, which looks at the greeting and at the last
answer; and for the guess that the peer expects TLS.
"""

from __future__ import annotations

import asyncio

from cfcat.core.codec import TLS_ALERT, TLS_HELLO
from cfcat.edges.heard import LINE_BYTES, MEMORY_BYTES, Heard
from cfcat.protocols.replies import ReplyReader

__all__ = ["LINE_BYTES", "MEMORY_BYTES", "Memory"]

# So much of what a server says first is kept for a dialog that is run later (SEC-R7: a line of 64 KiB).
GREETING_BYTES = 64 * 1024
# So much of the last line sent and of its answer is looked at before a bare upgrade (SEC-R6).
EXCHANGE_BYTES = 64 * 1024


class Memory:
    """What was heard, and the parts below. `ended`: nothing more will come.

    `replies`: the same as whole replies.
    `first`: what came first. `unasked`: how much of that came before anything was sent. `asked`: what was sent last.
    `answer`: what came since.
    """

    def __init__(self) -> None:
        self.ended = False
        self.first = self.asked = self.answer = b""
        self.unasked = 0
        self._first_bytes = b""
        self.heard = Heard()
        self.replies = ReplyReader(None)
        self._greets = True  # the first reply answers nothing
        self._news = asyncio.Event()

    @property
    def last_line(self) -> bytes:
        """As `Heard.last_line`."""
        return self.heard.last_line

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
        self.replies.sent(data)

    def feed_first(self, chunk: bytes, *, unasked: bool) -> None:
        """Take what was received, for a dialog that is run later; `unasked`: before anything was sent."""
        self.first = (self.first + chunk)[:GREETING_BYTES]
        if unasked:
            self.unasked = len(self.first)

    def feed(self, chunk: bytes) -> None:
        """Take what was received outside of a dialog."""
        self._first_bytes += chunk[: len(TLS_ALERT) - len(self._first_bytes)]
        self.answer = (self.answer + chunk)[:EXCHANGE_BYTES]
        self.heard.feed(chunk)
        self.replies.received(chunk)
        self._news.set()

    def forget(self) -> None:
        """Forget what has come: it cannot answer what is asked later."""
        self.heard.take(self.heard.end)
        self.heard.recent = self.first = self.asked = self.answer = b""
        self.unasked = 0
        self._greets = False

    def read_replies(self, protocol: str | None) -> None:
        """From here on read replies of this protocol in what has come, and what will; None: of the one that greeted."""
        heard = self.heard
        greets = self._greets and not heard.matched
        self.replies = ReplyReader(protocol or self.replies.protocol, place=heard.begin, greets=greets)
        self.replies.received(bytes(heard.unmatched))

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
