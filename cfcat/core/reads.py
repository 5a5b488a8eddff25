"""`Read`: a read that waits, a promise that the stream answers with a chunk.

Source: RULES.md, API-R1 to API-R8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from cfcat.core.loop import Loop
from cfcat.core.promise import RESOLVED, Promise, is_others_turn

__all__ = ["BufferRead", "ChunkRead", "Read", "taken"]

T = TypeVar("T")


def taken(unread: bytearray, limit: int) -> bytes:
    """The first bytes of what is unread, which are removed from it."""
    chunk = bytes(unread[:limit])
    del unread[:limit]
    return chunk


class Read(Promise[T]):
    """A read that waits: for a chunk, for the filling of a caller's buffer, or for several chunks (`gathering`).

    `limit`: how many bytes it takes at a time. A read that is cancelled is given back to the stream, with the bytes
    that it may have got.
    """

    __slots__ = ("limit",)

    def __init__(self, loop: Loop, limit: int, give_back: Callable[[Promise[T]], object] | None = None) -> None:
        Promise.__init__(self, loop, give_back)  # for each chunk: half the price of `super()`
        self.limit = limit

    def _takes_turn(self) -> bool:
        # The end brings more with it than an answer, in the next turn (H1).
        return self._state is not RESOLVED or not self._value or next(is_others_turn)

    def begin(self, unread: bytearray) -> bool:
        """Take from what was received before; was it enough?"""
        return bool(unread) and self.deliver(taken(unread, self.limit))

    def deliver(self, chunk: bytes, at_once: bool = False) -> bool:
        """Take a chunk, b"" at EOF; is the read done? `at_once`: as for `Promise.resolve`."""
        raise NotImplementedError

    def delivered(self) -> bytes:
        """The bytes that it was answered with; b"" where it was not."""
        raise NotImplementedError


class ChunkRead(Read[bytes]):
    __slots__ = ()

    def deliver(self, chunk: bytes, at_once: bool = False) -> bool:
        self.resolve(chunk, at_once)
        return True

    def delivered(self) -> bytes:
        return self.result() if self.done() and self.exception() is None else b""


class BufferRead(Read[int]):
    __slots__ = ("_view",)

    def __init__(self, loop: Loop, view: memoryview, give_back: Callable[[Promise[int]], object] | None) -> None:
        super().__init__(loop, len(view), give_back)
        self._view = view

    def deliver(self, chunk: bytes, at_once: bool = False) -> bool:
        self._view[: len(chunk)] = chunk
        self.resolve(len(chunk), at_once)
        return True

    def delivered(self) -> bytes:
        return bytes(self._view[: self.result()]) if self.done() and self.exception() is None else b""
