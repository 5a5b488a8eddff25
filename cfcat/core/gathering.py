"""`Gather`: a read that waits for several chunks: `read_exactly()`, `read_at_least()`, `read_until()`.

The chunks stay among the stream's unread bytes until all are there. So cancelling, an error, a release and an upgrade
find them where they find all others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from cfcat.core.loop import Loop
from cfcat.core.promise import Promise
from cfcat.core.reads import Read, taken
from cfcat.errors import IncompleteReadError, LimitError

__all__ = ["Gather", "Goal", "at_least", "exactly", "until"]

STEP_BYTES = 4096


class Goal(NamedTuple):
    """What is waited for.

    `cut` says how many of the unread bytes are the answer; None: more are needed. It is asked after each chunk, and
    raises LimitError where there will be no answer. The stream is asked for what is missing of `least` bytes, or for
    `step` where that is more. At EOF the answer is what there is; where `needed` has words, it is an error with them.
    """

    cut: Callable[[bytearray], int | None]
    least: int
    step: int
    needed: str


def exactly(count: int) -> Goal:
    """`count` bytes; nothing is read ahead (API-R3)."""
    _check(count)
    return Goal(lambda unread: count if len(unread) >= count else None, count, 1, str(count))


def at_least(count: int) -> Goal:
    """`count` bytes, and what has come with them."""
    _check(count)
    return Goal(lambda unread: len(unread) if len(unread) >= count else None, count, STEP_BYTES, "")


def until(separator: bytes, limit: int) -> Goal:
    """All up to the separator, which is included."""
    if isinstance(separator, str):
        raise TypeError("a separator is bytes, not str")
    if not separator:
        raise ValueError("the separator is empty")
    searched = 0

    def cut(unread: bytearray) -> int | None:
        nonlocal searched
        at = unread.find(separator, searched, limit)
        if at >= 0:
            return at + len(separator)
        if len(unread) >= limit:
            raise LimitError(f"no {separator!r} within {limit} bytes")
        searched = max(0, len(unread) - len(separator) + 1)
        return None

    return Goal(cut, 0, STEP_BYTES, f"a part that ends with {separator!r}")


def _check(count: int) -> None:
    if not isinstance(count, int):
        raise TypeError(f"a count is int, not {type(count).__name__}")
    if count < 0:
        raise ValueError(f"cannot read {count} bytes")


class Gather(Read[bytes]):
    """A read that is done when its goal is met, or at EOF."""

    __slots__ = ("_goal", "_unread")

    def __init__(
        self, loop: Loop, unread: bytearray, goal: Goal, give_back: Callable[[Promise[bytes]], object]
    ) -> None:
        super().__init__(loop, max(goal.step, goal.least), give_back)
        self._unread = unread
        self._goal = goal

    def begin(self, unread: bytearray) -> bool:
        return self._look()

    def deliver(self, chunk: bytes, at_once: bool = False) -> bool:
        if chunk:
            self._unread += chunk
            return self._look(at_once)
        partial = taken(self._unread, len(self._unread))
        if self._goal.needed:
            text = f"EOF after {len(partial)} bytes of {self._goal.needed}"
            self.reject(IncompleteReadError(text, partial))
        else:
            self.resolve(partial)
        return True

    def delivered(self) -> bytes:
        if not self.done():
            return b""
        error = self.exception()
        if isinstance(error, IncompleteReadError):
            return error.partial
        return self.result() if error is None else b""

    def _look(self, at_once: bool = False) -> bool:
        try:
            size = self._goal.cut(self._unread)
        except LimitError as error:
            self.reject(error)
            return True
        if size is None:
            self.limit = max(self._goal.step, self._goal.least - len(self._unread))
            return False
        self.resolve(taken(self._unread, size), at_once)
        return True
