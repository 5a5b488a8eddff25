"""Standard error, which never holds up the run: what it does not take in time is dropped, and counted.

Closed, full, or a pipe that nobody reads: the result and the data stay as they are. The descriptor is shared with
other programs, so its flags are not touched; a pipe or terminal is opened again, non-blocking, where that can be done.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat

from cfcat.edges import descriptors

__all__ = ["PATIENCE_S", "PIECE_BYTES", "Stderr", "own"]

# A slow reader gets everything; one that pauses this long loses what did not fit.
PATIENCE_S = 0.25
# What a pipe that is ready takes without blocking (PIPE_BUF: 4096 on Linux, 512 on macOS).
PIECE_BYTES = select.PIPE_BUF


class Stderr:
    """The descriptor of standard error. Write errors are never raised."""

    def __init__(self, fd: int = 2) -> None:
        self._fd = own(fd)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLOUT)
        self._dropped = 0  # bytes dropped since the last write; while above 0, writes do not wait
        self._mid_line = False

    def write(self, text: str) -> None:
        """Write a text of whole lines, or drop what there is no room for."""
        data = text.encode("utf-8", "backslashreplace")
        if self._dropped and self._has_room(0):
            note = f"cfcat: {self._dropped} bytes of this were not read in time, and dropped\n"
            data = (b"\n" if self._mid_line else b"") + note.encode() + data
            self._dropped = 0
        rest = memoryview(data)
        with contextlib.suppress(OSError):  # closed, full, nobody there
            while rest and self._has_room(0 if self._dropped else PATIENCE_S):
                with contextlib.suppress(BlockingIOError):
                    count = os.write(self._fd, rest[:PIECE_BYTES])
                    self._mid_line = rest[count - 1] != ord("\n")
                    rest = rest[count:]
            self._dropped += len(rest)

    def _has_room(self, wait_s: float) -> bool:
        return bool(self._poll.poll(wait_s * 1000))


def own(fd: int) -> int:
    """An open file of our own for the same pipe or terminal; the descriptor itself where there is none to be had."""
    # A regular file, opened again, would be written from its beginning.
    if not (stat.S_ISFIFO(os.fstat(fd).st_mode) or os.isatty(fd)):
        return fd
    opened = descriptors.open_again(fd, os.O_WRONLY)
    return fd if opened is None else opened
