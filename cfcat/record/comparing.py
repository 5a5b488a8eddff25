"""What comes, compared with what was recorded: by bytes, and where these differ by lines.

Pure: any split of what comes leads to the same end. A line in which the bytes differ may still be the same: `****`
matches anything, and what the patterns of `--ignore` match is left out of both. A search for a pattern may take long,
so it is not made here: a `Comparison` that has a `doubt` asks for it.

    comparison.feed(data)                       what has come
    comparison.doubt, comparison.answer(same)   a pair of lines that the patterns may make the same
    comparison.pause()                          nothing has come for a moment: what has no line end may be all
    comparison.stop()                           nothing more will come
    comparison.is_done, comparison.rest         all was the same; what came behind it
    comparison.difference                       the first one
"""

from __future__ import annotations

import re
from typing import NamedTuple

from cfcat.record.replaying import Said
from cfcat.record.transcript import escape_bytes

__all__ = ["Comparison", "Difference", "diff_lines", "fits"]

ANYTHING = re.compile(rb"\*{4,}")
# A line without an end that differs is judged when it is so much longer than what was recorded.
MORE_BYTES = 64 * 1024
SHOWN_BYTES = 160  # of a line in a diff, around the place where it differs
SHOWN_BEFORE = 60


class Difference(NamedTuple):
    """`line` of the transcript has `recorded`; `received` came in its place, b"" where nothing did."""

    line: int
    recorded: bytes
    received: bytes


class Comparison:
    """Of what one side says with what it said in the recording. `may_ignore`: are there patterns of `--ignore`?"""

    def __init__(self, said: Said, *, may_ignore: bool = False) -> None:
        self.difference: Difference | None = None
        self.doubt: tuple[bytes, bytes] | None = None
        self._said = said
        self._wanted = bytes(said.data)
        self._may_ignore = may_ignore
        self._at = 0  # so much of it has come
        self._came = bytearray()  # and this behind that
        self._differs = False  # with its first byte
        self._judged = 0  # so much of `_came` is in the line of the doubt

    @property
    def is_done(self) -> bool:
        """Has all of it come?"""
        return self._at == len(self._wanted)

    @property
    def rest(self) -> bytes:
        """What came behind it."""
        return bytes(self._came)

    def feed(self, data: bytes) -> None:
        """Take what came."""
        self._came += data
        self._go_on()

    def _go_on(self) -> None:
        while self._came and not (self.is_done or self.difference or self.doubt):
            if not self._differs:
                self._take_same()
            if not self._differs or not self._judge_line():
                return

    def _take_same(self) -> None:
        """As many bytes as are the same."""
        count = _common(self._wanted, self._at, self._came)
        self._at += count
        del self._came[:count]
        self._differs = bool(self._came) and not self.is_done

    @property
    def _line(self) -> tuple[int, int]:
        """Where the recorded line begins and ends in which we are."""
        start = self._wanted.rfind(b"\n", 0, self._at) + 1
        end = self._wanted.find(b"\n", self._at) + 1
        return start, end or len(self._wanted)

    def _judge_line(self) -> bool:
        """If the line has come that differs. Returns whether it is the same after all."""
        start, end = self._line
        most = MORE_BYTES + end - start
        size = self._came.find(b"\n", 0, most) + 1 if self._wanted[end - 1 : end] == b"\n" else 0
        if not size and len(self._came) < most:
            return False
        return self._judge(size or most)

    def _judge(self, size: int) -> bool:
        start, end = self._line
        recorded, received = self._wanted[start:end], self._wanted[start : self._at] + bytes(self._came[:size])
        self._judged = size
        if self._may_ignore:
            self.doubt = recorded, received
            return False
        return self._settle(fits(recorded, received), recorded, received)

    def answer(self, same: bool) -> None:
        """Settle the doubt."""
        assert self.doubt is not None
        (recorded, received), self.doubt = self.doubt, None
        if self._settle(same, recorded, received):
            self._go_on()

    def _settle(self, same: bool, recorded: bytes, received: bytes) -> bool:
        start, end = self._line
        if not same:
            self.difference = Difference(self._said.line_of(start), recorded, received)
            return False
        self._at = end
        del self._came[: self._judged]
        self._differs = False
        return True

    @property
    def waits_for_pause(self) -> bool:
        """Does it need to know that nothing more comes for a moment?"""
        if not self._differs or self.is_done or self.difference or self.doubt:
            return False
        start, end = self._line
        is_line = self._wanted[end - 1 : end] == b"\n"
        return not is_line or not (self._may_ignore or ANYTHING.search(self._wanted, start, end))

    def pause(self) -> None:
        """Nothing has come for a moment."""
        if self.waits_for_pause and self._judge(len(self._came)):
            self._go_on()

    def stop(self) -> None:
        """Nothing more will come. Then it is done, has a difference or, before that, a doubt."""
        if self.is_done or self.difference or self.doubt:
            return
        if self._differs:
            if self._judge(len(self._came)):
                self.stop()
            return
        start, end = self._line
        self.difference = Difference(
            self._said.line_of(self._at), self._wanted[start:end], self._wanted[start : self._at]
        )


def _common(wanted: bytes, at: int, came: bytearray) -> int:
    """How many bytes of `came` are those of `wanted` from `at` on."""
    low, high = 0, min(len(came), len(wanted) - at)
    if wanted.startswith(bytes(came[:high]), at):
        return high
    while high - low > 1:  # the first `low` are the same, the first `high` are not
        middle = (low + high) // 2
        if wanted.startswith(bytes(came[low:middle]), at + low):
            low = middle
        else:
            high = middle
    return low


def fits(recorded: bytes, received: bytes) -> bool:
    """Are these lines the same, where `****` in the recorded one is anything?"""
    first, *others = ANYTHING.split(recorded)
    if not others:
        return recorded == received
    last = others.pop()
    if not received.startswith(first) or not received.endswith(last) or len(received) < len(first) + len(last):
        return False
    place, end = len(first), len(received) - len(last)
    for part in others:
        if (found := received.find(part, place, end)) < 0:
            return False
        place = found + len(part)
    return True


def diff_lines(difference: Difference, before: list[tuple[str, bytes]], mark: str) -> list[str]:
    """The difference for a person: lines that came before, each with its mark, then what was recorded and what came."""
    recorded, received = difference.recorded, difference.received
    at = _common(recorded, 0, bytearray(received))
    lines = [f"  {way} {_clipped(data, 0)}" for way, data in before]
    lines += [f"- {mark} {_clipped(recorded, at)}"] if recorded else []
    return lines + ([f"+ {mark} {_clipped(received, at)}"] if received else [])


def _clipped(data: bytes, at: int) -> str:
    """What of it is shown, with the byte at this place."""
    start = max(0, at - SHOWN_BEFORE) if len(data) > SHOWN_BYTES else 0
    end = start + SHOWN_BYTES
    return ("…" if start else "") + escape_bytes(data[start:end]) + ("…" if end < len(data) else "")
