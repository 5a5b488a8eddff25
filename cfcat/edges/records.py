"""Lines for a program that may read slowly, or not at all: it gets whole lines, and is told of those that it lost.

As with standard error, the run is never held up: a reader that pauses for `PATIENCE_S` loses lines. A line that has
begun is finished first when there is room again, so that no line begins within another.
"""

from __future__ import annotations

import os
import select
import stat
import time
from collections.abc import Callable

from cfcat.edges.descriptors import GONE
from cfcat.edges.stderr import PATIENCE_S, PIECE_BYTES
from cfcat.errors import reason_of

__all__ = ["Records"]


class Records:
    """Writes lines to a descriptor, and closes it, unless it is a standard one.

    `told`: the line that says how many were dropped. An error ends it, and is kept in `problem`; a reader that has
    gone ends it without one.
    """

    def __init__(self, fd: int, told: Callable[[int], bytes]) -> None:
        self.problem = ""
        self._fd: int | None = fd
        self._told = told
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        can_take_all = stat.S_ISREG(os.fstat(fd).st_mode) or not os.get_blocking(fd)
        self._piece_bytes = None if can_take_all else PIECE_BYTES
        self._rest = memoryview(b"")  # of a line that has begun
        self._dropped = 0  # lines, since the last one that was written; while above 0, writes do not wait

    @property
    def is_done(self) -> bool:
        """Can nothing more be written?"""
        return self._fd is None

    def write(self, line: bytes, *, is_last: bool = False) -> None:
        """Write a line, with its end, or drop it. `is_last`: wait for room, whatever was dropped before it."""
        if self._fd is None:
            return
        try:
            self._write(self._fd, line, 0.0 if self._dropped and not is_last else PATIENCE_S)
        except OSError as error:
            if error.errno not in GONE:
                self.problem = reason_of(error)
            self.close()

    def _write(self, fd: int, line: bytes, patience_s: float) -> None:
        if not self._finish(fd, patience_s) or not self._poll.poll(patience_s * 1000):
            self._dropped += 1
            return
        if self._dropped:
            line = self._told(self._dropped) + line
            self._dropped = 0
        self._rest = memoryview(line)
        self._finish(fd, PATIENCE_S)

    def _finish(self, fd: int, patience_s: float) -> bool:
        """Write the rest of what has begun, as long as there is room now and then; is nothing left?"""
        until_s = time.monotonic() + patience_s
        while self._rest and self._poll.poll(max(0.0, until_s - time.monotonic()) * 1000):
            try:
                count = os.write(fd, self._rest[: self._piece_bytes])
            except BlockingIOError:
                if time.monotonic() >= until_s:
                    break
            else:
                self._rest = self._rest[count:]
                until_s = time.monotonic() + patience_s
        return not self._rest

    def close(self) -> None:
        """Nothing more is written. May be called again."""
        if self._fd is not None and self._fd > 2:
            os.close(self._fd)
        self._fd = None
