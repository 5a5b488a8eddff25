"""`:expect` and `:reply`: they wait for what the peer says, and word the error where it says something else.

Both look at what came behind the last match. Another process searches where that may take long (SEC-R28).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cfcat.edges.heard import LINE_BYTES
from cfcat.edges.search import search
from cfcat.errors import CommandError
from cfcat.repl.arguments import Expectation
from cfcat.report.render import escape, quote

if TYPE_CHECKING:
    from cfcat.protocols.replies import Reply
    from cfcat.repl.memory import Memory
    from cfcat.repl.session import Session

__all__ = ["expect", "reply"]

DEFAULT_WAIT_S = 10.0
# For so long after the deadline, what came before it is still searched.
SEARCH_GRACE_S = 0.4


async def expect(session: Session, wanted: Expectation) -> None:
    """Wait for a match of `wanted.pattern`, and for none of `wanted.forbidden` before it.

    Raises:
        CommandError: the time is over, the connection ended, or a forbidden match came first.
    """
    await _Waiting(session, "expect", wanted).until_match()


async def reply(session: Session, wanted: Expectation) -> None:
    """Wait for the next reply of the protocol, which must match.

    Raises:
        CommandError: the reply does not match, or the time or the connection ended before there was one.
    """
    await _Waiting(session, "reply", wanted).until_reply()


class _Waiting:
    """One wait of a session, under its deadline."""

    def __init__(self, session: Session, name: str, wanted: Expectation) -> None:
        self._session = session
        self._memory: Memory = session.need_connection().memory
        self._loop = asyncio.get_running_loop()
        self._limit_s = DEFAULT_WAIT_S if wanted.timeout_s is None else wanted.timeout_s
        self._until_s = self._loop.time() + self._limit_s
        self._wanted = wanted
        self._command = f":{name} {escape(wanted.pattern.pattern)}"

    async def until_match(self) -> None:
        try:
            while True:
                ended = self._memory.ended  # what comes during a search is looked at in the next one
                async with asyncio.timeout_at(self._until_s + SEARCH_GRACE_S):
                    if await self._matches():
                        return
                if ended:
                    raise self._unmatched("the connection ended before a match")
                await self._news()
        except TimeoutError as error:
            raise self._unmatched(f"no match within {self._limit_s:g} s") from error

    async def _matches(self) -> bool:
        heard, wanted = self._memory.heard, self._wanted
        found = await heard.find(self._loop, wanted.pattern)
        forbidden = None if wanted.forbidden is None else await heard.find(self._loop, wanted.forbidden)
        if forbidden is not None and (found is None or forbidden.start <= found.start):
            line = _line_at(heard.unmatched, forbidden.start - heard.begin)
            heard.take(forbidden.end)
            raise CommandError(f"{self._command}: {self._quote(line)} came, which must not")
        if found is None:
            return False
        heard.take(found.end)
        self._session.note_match(wanted.pattern.pattern, found.groups)
        return True

    async def until_reply(self) -> None:
        try:
            reply = await self._next_reply()
        except TimeoutError as error:
            raise self._without_reply(f"no whole reply within {self._limit_s:g} s") from error
        self._memory.heard.take(reply.end)
        pattern = self._wanted.pattern
        try:
            async with asyncio.timeout_at(max(self._until_s, self._loop.time()) + SEARCH_GRACE_S):
                found = await search(self._loop, pattern, reply.judged, at_start=True)
        except TimeoutError as error:
            raise CommandError(f"{self._command}: no match within {self._limit_s:g} s") from error
        if found is None:
            raise CommandError(f"{self._command}: the reply is {self._quote(reply.judged[:LINE_BYTES])}")
        self._session.note_match(pattern.pattern, found.groups, is_reply=True)

    async def _next_reply(self) -> Reply:
        memory = self._memory
        while (reply := memory.replies.next(memory.heard.matched)) is None:
            if memory.ended:
                where = "in the middle of" if memory.replies.partial else "before"
                raise self._without_reply(f"the connection ended {where} a reply")
            await self._news()
        return reply

    def _without_reply(self, what: str) -> CommandError:
        if begun := self._memory.replies.partial:
            return CommandError(f"{self._command}: {what}, which begins with {self._quote(_line_at(begun, 0))}")
        return self._unmatched(what)

    async def _news(self) -> None:
        async with asyncio.timeout_at(self._until_s):
            await self._memory.change()

    def _unmatched(self, what: str) -> CommandError:
        last = self._memory.last_line
        seen = f"the last line seen is {self._quote(last)}" if last else "nothing was received"
        return CommandError(f"{self._command}: {what}; {seen}")

    def _quote(self, said: bytes) -> str:
        return quote(said.decode(self._session.settings.encoding, "surrogateescape"))


def _line_at(text: bytes | bytearray, place: int) -> bytes:
    """The line at this place."""
    begin = text.rfind(b"\n", 0, place) + 1
    end = text.find(b"\n", place)
    return bytes(text[begin : None if end < 0 else end][:LINE_BYTES])
