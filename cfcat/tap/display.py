"""The tap's standard output: lines and rows of all its connections, at the pace of whoever reads them.

A slow reader slows the connections, and nothing is lost: `slowed()` makes a flow wait while there is too much here.
"""

from __future__ import annotations

from collections.abc import Callable

from cfcat.core.codec import Buffer
from cfcat.core.loop import Loop
from cfcat.core.promise import Promise
from cfcat.core.waiting import settled
from cfcat.edges.descriptors import NOTHING, Callback
from cfcat.edges.stdout import Output, open_output
from cfcat.pipe.flow import Sink

__all__ = ["Display"]

FULL_BYTES = 256 * 1024


class Display:
    """Standard output, written to without waiting.

    `failed` rejects with BrokenPipeError when its reader is gone, and with StdoutError when writing fails.
    """

    def __init__(self, loop: Loop, output: Output | None = None) -> None:
        self._loop = loop
        self._output = open_output(1, loop) if output is None else output
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0  # what the output has kept of the last chunk included
        self._is_busy = False  # the output has kept some of a chunk
        self._for_room: list[Callback] = []
        self._idle: Promise[None] = Promise.resolved(loop, None)
        self.failed: Promise[None] = Promise(loop)
        self._output.reader_gone().add_done_callback(lambda _: self.failed.reject(BrokenPipeError()))

    @property
    def is_full(self) -> bool:
        """Should those who make more wait?"""
        return self._waiting_bytes > FULL_BYTES

    def write(self, data: bytes) -> None:
        """Write whole lines, now or later."""
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if not self._is_busy:
            self._go_on()

    def _go_on(self) -> None:
        try:
            if self._is_busy and not self._output.give():
                return
            while self._waiting:
                chunk = b"".join(self._waiting)
                self._waiting.clear()
                self._waiting_bytes = len(chunk)
                if not self._output.give(chunk):
                    self._be_busy()
                    return
        except Exception as error:  # nobody reads, or it cannot be written: there is nothing to wait for any more
            self._waiting.clear()
            self.failed.reject(error)
        self._be_idle()

    def _be_busy(self) -> None:
        if not self._is_busy:
            self._is_busy = True
            self._idle = Promise(self._loop)
        self._output.watch(self._go_on)

    def _be_idle(self) -> None:
        self._is_busy = False
        self._waiting_bytes = 0
        self._output.unwatch()
        self._idle.resolve(None)
        waiting, self._for_room = self._for_room, []
        for callback in waiting:
            callback()

    def when_room(self, callback: Callback) -> None:
        """Call back once when more may be written."""
        self._for_room.append(callback)

    def slowed(self, sink: Sink) -> Sink:
        """A sink that is full while this is, too."""
        return _Slowed(sink, self)

    async def finish(self) -> None:
        """Wait until all is written, or has failed."""
        while not self._idle.done():
            await settled([self._idle, self.failed])

    def close(self) -> None:
        """Write no more."""
        self._output.close()


class _Slowed:
    def __init__(self, sink: Sink, display: Display) -> None:
        self._sink = sink
        self._display = display
        self.is_full: Callable[[], bool] = sink.is_full

    def give(self, chunk: Buffer = NOTHING) -> bool:
        return self._sink.give(chunk) and not self._display.is_full

    def watch(self, callback: Callback) -> None:
        self._sink.watch(callback)
        if self._display.is_full:
            self._display.when_room(callback)

    def unwatch(self) -> None:
        self._sink.unwatch()
