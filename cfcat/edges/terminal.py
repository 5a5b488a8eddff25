"""The terminal that a session is drawn on: one ordered queue of what is to be written, and its settings.

A terminal may be slow or stopped, and the event loop must never wait for it: what is drawn goes into a queue, and a
task of its own writes it, in pieces. The descriptors are shared with the shell, so O_NONBLOCK is not set on them: that
is settled in `descriptors`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
from collections.abc import Callable
from typing import Any

from cfcat.core.waiting import while_moving
from cfcat.edges.stdout import Output
from cfcat.errors import StdoutError

__all__ = ["Modes", "TerminalQueue", "size_of"]

# Written at once: a piece that is taken is the sign that the terminal moves.
PIECE_BYTES = 4096
LOCAL = 3  # the place of c_lflag in what tcgetattr() returns
# A terminal that says nothing of its size.
COLUMNS, ROWS = 80, 24


class TerminalQueue:
    """What is waiting to be written to the terminal. `write()` and `flush()` are what prompt_toolkit asks of a stdout.

    `on_room`: called whenever all has been written. `on_gone`: the terminal has hung up; what comes then is dropped.
    """

    encoding = "utf-8"

    def __init__(self, output: Output, on_room: Callable[[], None], on_gone: Callable[[], None]) -> None:
        self._output = output
        self._on_room = on_room
        self._on_gone = on_gone
        self._queue = bytearray()
        self._some = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._written = 0
        self._stuck_at = -1  # `_written` at the moment when drain() gave up: tells if the terminal moved since
        self._is_gone = False
        self._task = asyncio.create_task(self._write_all())

    @property
    def waiting_bytes(self) -> int:
        """How much the terminal has not taken yet."""
        return len(self._queue)

    def write(self, text: str) -> None:
        """Put text at the end; a byte that is no UTF-8 is `surrogateescape`."""
        if self._is_gone or not text:
            return
        self._queue += text.encode("utf-8", "surrogateescape")
        self._empty.clear()
        self._some.set()

    def flush(self) -> None:
        """Do nothing: it is written as soon as the terminal takes it."""

    async def drain(self) -> None:
        """Wait until all is written, or the terminal takes nothing any more because it is stopped."""
        if self._empty.is_set() or self._stuck_at == self._written:
            return
        emptied = asyncio.ensure_future(self._empty.wait())
        try:
            if not await while_moving(emptied, lambda: self._written):
                self._stuck_at = self._written
        finally:
            emptied.cancel()

    async def close(self) -> None:
        """Write what can be written, and give the descriptor back."""
        await self.drain()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._output.close()

    async def _write_all(self) -> None:
        try:
            while True:
                await self._some.wait()
                await self._write_queue()
                self._on_room()
        except (StdoutError, OSError):
            self._is_gone = True
            self._queue.clear()
            self._empty.set()
            self._on_gone()

    async def _write_queue(self) -> None:
        while self._queue:
            piece = bytes(self._queue[:PIECE_BYTES])
            await self._output.write(piece)
            del self._queue[: len(piece)]
            self._written += len(piece)
        self._some.clear()
        self._empty.set()


class Modes:
    """The settings of a terminal, as they were."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._before = self.now()

    def now(self) -> list[Any] | None:
        """The settings that it has; None if it is gone."""
        try:
            return termios.tcgetattr(self._fd)
        except termios.error:
            return None

    def set(self, settings: list[Any] | None) -> None:
        """Give it other settings."""
        if settings is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._fd, termios.TCSANOW, settings)

    def echo(self, wanted: bool) -> None:
        """Have it echo what is typed, as it did before, or the end of the line alone."""
        settings = self.now()
        if settings is None or self._before is None:
            return
        kept = settings[LOCAL] & ~(termios.ECHO | termios.ECHONL)
        settings[LOCAL] = kept | (self._before[LOCAL] & (termios.ECHO | termios.ECHONL) if wanted else termios.ECHONL)
        self.set(settings)

    def restore(self) -> None:
        """Give it back the settings that it had."""
        self.set(self._before)

    def forget_answers(self) -> None:
        """Drop what was typed and not read: the terminal's answers to a peer's questions must not reach the shell."""
        with contextlib.suppress(termios.error):
            termios.tcflush(self._fd, termios.TCIFLUSH)


def size_of(fd: int) -> tuple[int, int]:
    """Columns and rows, at least one of each."""
    try:
        columns, rows = os.get_terminal_size(fd)
    except OSError:
        columns, rows = 0, 0
    return columns or COLUMNS, rows or ROWS
