"""`--after` and `--until`: what came is searched on its way to stdout.

A chunk is searched before it is delivered, so nothing is delivered behind the line with the last match. As for
`:expect`, a pattern that may backtrack is searched for by another process (SEC-R28), and what comes waits meanwhile.
"""

from __future__ import annotations

import re

from cfcat.core.codec import Buffer
from cfcat.core.job import Job
from cfcat.core.loop import running_loop
from cfcat.core.promise import Promise
from cfcat.edges.descriptors import NOTHING, Callback
from cfcat.edges.heard import Heard
from cfcat.edges.stdout import Output
from cfcat.errors import UnmatchedError, UnmatchedTimeout
from cfcat.record.events import Expected
from cfcat.record.subscribers import Subscribers
from cfcat.report.render import escape, quote

__all__ = ["Matching"]


class Matching(Output):
    """stdout behind a search for `after`, then for `until` in what comes behind the match; either may be None.

    `began` resolves when `after` has matched, `over` when `until` has, and its line was delivered as far as it came.
    """

    def __init__(
        self,
        output: Output,
        after: re.Pattern[bytes] | None,
        until: re.Pattern[bytes] | None,
        events: Subscribers,
    ) -> None:
        super().__init__(output.inherited, output.loop)
        self._output = output
        self._until = until
        self._wanted = [pattern for pattern in (after, until) if pattern is not None]
        self._heard = Heard()
        self._events = events
        self._search: Job[bytes] | None = None
        self._has_ended = False  # `until` has matched
        self.began: Promise[None] = Promise(output.loop)
        self.over: Promise[None] = Promise(output.loop)
        if after is None:
            self.began.resolve(None)

    def give(self, chunk: Buffer = NOTHING) -> bool:
        if self._has_ended and self._search is None:
            return self._deliver()
        if chunk and not self._wanted:
            return self._output.give(chunk)
        if chunk:
            self._search = Job(running_loop(), self._look_at(bytes(chunk)))
            return False
        if self._search is None:
            return self._output.give()
        if not self._search.done():
            return False
        searched, self._search = self._search.result(), None
        return self._deliver(searched)

    def _deliver(self, data: bytes = b"") -> bool:
        """True when all of it is written; never once `until` has matched, so that nothing more comes."""
        is_done = self._output.give(data)
        if not self._has_ended:
            return is_done
        if is_done:
            self.over.resolve(None)
        return False

    async def _look_at(self, chunk: bytes) -> bytes:
        """Search with it; returns what of it is to be delivered."""
        begin = self._heard.end
        self._heard.feed(chunk)
        while self._wanted and (found := await self._heard.find(running_loop(), self._wanted[0])):
            pattern = self._wanted.pop(0)
            self._events.tell(Expected(pattern.pattern))
            self.began.resolve(None)
            if pattern is self._until and not self._wanted:
                self._has_ended = True
                return chunk[: max(0, self._line_end(found.start, found.end) - begin)]
            self._heard.take(found.end)
        return chunk

    def _line_end(self, start: int, end: int) -> int:
        """The place behind the line that a match ends in, or behind all that has come."""
        first = self._heard.begin
        place = self._heard.unmatched.find(b"\n", (end - 1 if end > start else end) - first)
        return self._heard.end if place < 0 else first + place + 1

    def watch(self, callback: Callback) -> None:
        if self._search is not None:
            self._search.add_done_callback(lambda _: callback())
        elif not self.over.done():
            self._output.watch(callback)

    def unwatch(self) -> None:
        """Call back no more; a search that is under way is given up."""
        if self._search is not None:
            self._search.cancel()
        self._output.unwatch()

    def reader_gone(self) -> Promise[None]:
        return self._output.reader_gone()

    def end(self) -> None:
        self._output.end()

    @property
    def is_over(self) -> bool:
        """Is nothing more wanted, `until` having matched?"""
        return self.over.done()

    def check(self, what: str) -> None:
        """Raise UnmatchedError where something was to match and has not; `what`: what has happened before it did."""
        if self._wanted:
            raise UnmatchedError(self._complaint(what))

    def check_began(self, limit_s: float) -> None:
        """Raise UnmatchedTimeout: `after` has not matched within this time."""
        if not self.began.done():
            raise UnmatchedTimeout(self._complaint(f"no match within {limit_s:g} s"))

    def _complaint(self, what: str) -> str:
        pattern = self._wanted[0]
        option = "--until" if pattern is self._until and self.began.done() else "--after"
        last = self._heard.last_line
        seen = f"the last line seen is {quote(last)}" if last else "nothing was received"
        return f"{option} {escape(pattern.pattern)}: {what}; {seen}"
