"""Our end, held until it cannot cost the answer: the clock beside the table of `ending`.

There is one for each connection. Whoever sends and receives tells it what passes, and asks `is_due()` when there is
nothing left to send; the pump does so at stdin's end, a script at its own. It sends nothing itself. Afterwards it knows
if our EOF made the peer drop data, or if no answer came: errors and exit statuses depend on that.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from cfcat.core.choices import Shutdown
from cfcat.core.lifecycle import Writing
from cfcat.core.loop import running_loop
from cfcat.core.promise import Promise
from cfcat.core.sockets import Socket
from cfcat.core.waiting import settled
from cfcat.errors import LostError, TruncatedError, UnansweredError, UnmatchedError
from cfcat.pipe.ending import Opening, sent_what, silence_s

__all__ = ["HeldEnd"]


UNANSWERED = "the server ended without an answer to the HTTP request"


class HeldEnd:
    """When our end of one connection is to be sent. `opening`: how what was sent begins."""

    def __init__(self) -> None:
        self.opening = Opening()
        self._came_first = False  # our end was sent, and before the peer's
        self._has_answer = False
        self._has_peer_ended = False
        self._loop = running_loop()
        self._news: Promise[None] = Promise(self._loop)  # what comes, or the peer's end

    def answer(self) -> None:
        """Bytes of the application have come; session tickets of TLS are none."""
        self._has_answer = True
        self._news.resolve(None)

    def peer_ended(self) -> None:
        """The peer's EOF was read: there is nothing to wait for."""
        self._has_peer_ended = True
        self._news.resolve(None)

    async def is_due(
        self,
        shutdown: Shutdown,
        socket: Socket,
        sent_bytes: int,
        *,
        is_stalled: Callable[[], bool],
        held: Callable[[], None],
        least_s: float = 0.0,
    ) -> bool:
        """Nothing is left to send: return when our end is to be sent.

        False: do not send it: either `--shutdown never`, or the peer's EOF has ended our side already.

        `is_stalled`: does what has come wait for a slow stdout? Then the silence is ours: we have stopped reading.
        `held` is called where our end has to wait. `least_s`: the silence is to be so long at least.
        """
        if shutdown == "never":
            return False
        if shutdown == "auto":
            await self._until_due(socket, sent_bytes, is_stalled, held, least_s)
            if socket.writing not in (Writing.FLOWING, Writing.FAILED):
                return False
        self._came_first = not self._has_peer_ended
        return True

    def note_failure(self, error: BaseException) -> None:
        """The connection broke: note in its error whether our end may be why; it is not where it could not be sent."""
        if isinstance(error, (LostError, TruncatedError, UnmatchedError)):
            error.after_our_end = self._came_first and not (isinstance(error, LostError) and error.sending)

    def check_answered(self, socket: Socket) -> None:
        """Raise UnansweredError where an HTTP request was sent, and the peer has ended without a byte."""
        if self._has_peer_ended and self.opening.is_http and not self._has_answer:
            secure = socket.secure_transport == "on"
            raise UnansweredError(UNANSWERED, after_our_end=self._came_first, is_secure=secure)

    async def _until_due(
        self,
        socket: Socket,
        sent_bytes: int,
        is_stalled: Callable[[], bool],
        held: Callable[[], None],
        least_s: float,
    ) -> None:
        loop = self._loop
        secure, is_http = socket.secure_transport == "on", bool(self.opening.is_http)
        sent = sent_what(is_http=is_http, is_secure=secure, is_proxied=socket.proxied, sent_bytes=sent_bytes)
        since_s, told = loop.time(), False
        while not self._has_peer_ended:
            now_s = loop.time()
            if is_stalled():
                since_s = now_s
            quiet_s = min(now_s - since_s, socket.quiet_s)
            wanted_s = silence_s(sent, has_answer=self._has_answer, round_trip_s=socket.round_trip_s)
            left_s = max(wanted_s, least_s) - quiet_s
            if left_s <= 0:
                break
            if not told:
                told = True
                held()
            await self._news_within(left_s)

    async def _news_within(self, seconds: float) -> None:
        """Return when an answer begins, the peer ends, or the time is up."""
        self._news = Promise(self._loop)
        await settled([self._news], None if math.isinf(seconds) else seconds)
