"""A capture as it is kept: the file of `--pcap`, or the pipe to a program that shows packets as they come."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import time
from typing import Any

from cfcat.core.loop import running_loop
from cfcat.errors import reason_of
from cfcat.record.pcap import KeyLog, Packets, Stream
from cfcat.record.transcript import open_private

__all__ = ["Capture"]

PIPE_BYTES = 1024 * 1024
MAX_WAITING_BYTES = 16 * 1024 * 1024  # for a reader that is slow; one that is slower loses the rest
PATIENCE_S = 2.0  # for that reader, at the end


class Capture:
    """An open capture, `SocketOptions.capture`. An error is kept in `problem`, and nothing is written after it."""

    def __init__(self, path: str) -> None:
        """Begin a capture in this file, which is its owner's alone; a FIFO will do.

        Raises:
            OSError: it cannot be written.
        """
        self.problem = ""
        self._number = 0
        self._waiting = b""  # for a pipe that is full
        self._is_watching = False
        self._fd: int | None = open_private(path, append=False)
        with contextlib.suppress(OSError, AttributeError):  # no pipe, or no such system
            fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._keys = KeyLog()
        self._packets = Packets(self._write)
        if self.problem:
            raise OSError(self.problem)

    def __call__(self, local: Any, remote: Any, *, accepted: bool) -> Stream:
        """As `core.watched.Capture`."""
        self._number += 1
        return Stream(self._packets, self._keys, local, remote, accepted=accepted, number=self._number)

    def _write(self, block: bytes) -> None:
        if self._fd is None:
            return
        self._waiting += block
        if len(self._waiting) > MAX_WAITING_BYTES:
            self._give_up("its reader is too slow")
        elif not self._is_watching:
            self._push()

    def _push(self) -> None:
        """Write what the file takes now; the rest when it takes more."""
        assert self._fd is not None
        try:
            while self._waiting:
                self._waiting = self._waiting[os.write(self._fd, self._waiting) :]
        except BlockingIOError:
            if not self._is_watching:
                self._is_watching = True
                running_loop().add_writer(self._fd, self._push)
        except OSError as error:
            self._give_up(reason_of(error))
        else:
            self._unwatch()

    def _unwatch(self) -> None:
        if self._is_watching:
            self._is_watching = False
            with contextlib.suppress(RuntimeError):  # the loop is gone
                running_loop().remove_writer(self._fd)

    def _give_up(self, problem: str) -> None:
        self.problem = problem
        self._waiting = b""
        self._unwatch()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def close(self) -> None:
        """Write what is left, as long as its reader takes it, and end the capture. May be called again."""
        until_s = time.monotonic() + PATIENCE_S
        while self._fd is not None and self._waiting:
            if not select.select([], [self._fd], [], max(0.0, until_s - time.monotonic()))[1]:
                self._give_up("its reader is too slow")
                break
            self._is_watching = False  # the loop is over
            try:
                self._waiting = self._waiting[os.write(self._fd, self._waiting) :]
            except OSError as error:
                self._give_up(reason_of(error))
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        self._keys.close()
