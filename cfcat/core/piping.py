"""`Pipe`: what `readable.pipe_to(writable)` does and returns, a promise that reads and writes in turn.

It needs no task: each read and each write calls it back. It holds both locks until it settles or is stopped.

Source: RULES.md, API-R10.
"""

from __future__ import annotations

from typing import Any, Protocol

from cfcat.core.loop import Loop
from cfcat.core.promise import Promise
from cfcat.core.streams import WRITABLE_CLOSED
from cfcat.core.writable import WritableStreamWriter
from cfcat.errors import ClosedError

__all__ = ["Pipe"]


class Reader(Protocol):
    """The source's reader: `readable.ReadableStreamReader`, which imports the pipe."""

    def read(self) -> Promise[bytes]: ...
    def cancel(self, reason: object = None) -> Promise[None]: ...
    def release_lock(self) -> None: ...


class Pipe(Promise[None]):
    """Copies from a reader to a writer. Cancelling stops it at once and loses nothing: see `pipe_to()`."""

    __slots__ = ("_prevent_abort", "_prevent_cancel", "_prevent_close", "_read", "_reader", "_writer")

    def __init__(
        self,
        loop: Loop,
        reader: Reader,
        writer: WritableStreamWriter,
        *,
        prevent_close: bool,
        prevent_abort: bool,
        prevent_cancel: bool,
    ) -> None:
        super().__init__(loop, _stop)
        self._reader, self._writer = reader, writer
        self._prevent_close, self._prevent_abort, self._prevent_cancel = prevent_close, prevent_abort, prevent_cancel
        self._read: Promise[bytes] | None = None  # under way, or answered and not yet taken
        writer.closed.add_done_callback(self._sink_ended)
        self._read_on()

    def _read_on(self) -> None:
        self._read = self._reader.read()
        self._read.add_done_callback(self._was_read)

    def _was_read(self, read: Promise[bytes]) -> None:
        if read is not self._read or self.done():
            return  # it was given back
        self._read = None
        error = read.exception()
        if error is not None:
            if not self._prevent_abort:
                self._writer.cut(error)
            self._finish(error)
        elif chunk := read.result():
            self._writer.write(chunk).add_done_callback(self._was_written)
        elif self._prevent_close:
            self._finish()
        else:
            self._writer.close().add_done_callback(lambda closed: self._finish(closed.exception()))

    def _was_written(self, write: Promise[None]) -> None:
        if self.done():
            return
        error = write.exception()
        if error is None:
            self._read_on()
        else:
            self._sink_failed(error)

    def _sink_ended(self, closed: Promise[None]) -> None:
        """The destination fails or ends while the pipe waits for its source: nothing could be written any more."""
        if self._read is not None and not self.done():
            self._give_read_back()
            self._sink_failed(closed.exception() or ClosedError(WRITABLE_CLOSED))

    def _sink_failed(self, error: BaseException) -> None:
        if not self._prevent_cancel:
            self._reader.cancel(error)
        self._finish(error)

    def _finish(self, error: BaseException | None = None) -> None:
        if self.done():
            return
        self._release_locks()
        if error is None:
            self.resolve(None)
        else:
            self.reject(error)

    def _give_read_back(self) -> None:
        read, self._read = self._read, None
        if read is not None:
            read.cancel()

    def _release_locks(self) -> None:
        self._reader.release_lock()
        self._writer.release_lock()


def _stop(pipe: Any) -> None:
    """The pipe is cancelled. No method of its own, which would keep it alive until the collector of cycles runs."""
    if not pipe.done():
        pipe._give_read_back()
        pipe._release_locks()
