"""Standard output, whatever it is, and every other descriptor that is written to: `descriptors` says how."""

from __future__ import annotations

import os
import select
import socket
import stat
from abc import ABC, abstractmethod

from cfcat.core.codec import Buffer
from cfcat.core.loop import Loop
from cfcat.core.promise import Promise, in_daemon_thread
from cfcat.edges import descriptors
from cfcat.edges.descriptors import NOTHING, Callback, Join
from cfcat.errors import StdoutError, reason_of

__all__ = ["Output", "open_output"]

# A larger pipe means fewer wake-ups on both sides; the kernel's default is 64 KiB.
PIPE_BYTES = 1024 * 1024


def open_output(fd: int, loop: Loop) -> Output:
    """The way to write to this descriptor, whose callbacks come from this event loop."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISSOCK(mode):
        return _SocketOutput(fd, loop)
    if not descriptors.can_poll(fd):
        return _DirectOutput(fd, loop)
    own = descriptors.open_again(fd, os.O_WRONLY, PIPE_BYTES)
    if own is None:
        return _ThreadOutput(fd, loop)
    return _PolledOutput(fd, own, loop, fifo=stat.S_ISFIFO(mode))


class Output(ABC):
    """A descriptor to write to.

    `inherited`: the process's own number for it. `joined`: as in `Input`, but moves bytes from a socket to this one.
    """

    joined: Join | None = None

    def __init__(self, inherited: int, loop: Loop) -> None:
        self.inherited = inherited
        self.loop = loop

    @abstractmethod
    def give(self, chunk: Buffer = NOTHING) -> bool:
        """Write a chunk: True when all of it is written, False when some is left.

        The rest is kept, not copied. Call without a chunk to write it.

        Raises:
            BrokenPipeError: the reader is gone.
            StdoutError: writing failed.
        """

    def watch(self, callback: Callback) -> None:
        """Call back whenever `give` may do more, until `unwatch`. Not needed where `give` always writes everything."""

    def unwatch(self) -> None:
        """Call back no more."""

    def is_full(self) -> bool:
        """Would a pipe take nothing now?"""
        return False

    def write(self, chunk: Buffer) -> Promise[None]:
        """Write all of a chunk, at the reader's pace, as `give`. Cancelled, the rest is not written."""
        write: Promise[None] = Promise(self.loop, lambda _: self.unwatch())

        def try_it(chunk: Buffer = NOTHING) -> None:
            try:
                is_done = self.give(chunk)
            except (OSError, StdoutError) as error:
                self.unwatch()
                write.reject(error)
            else:
                if is_done:
                    self.unwatch()
                    write.resolve(None)
                else:
                    self.watch(try_it)

        try_it(chunk)
        return write

    def reader_gone(self) -> Promise[None]:
        """Resolves when nobody can read any more; never where that cannot be known."""
        return Promise(self.loop)

    def end(self) -> None:
        """Close the descriptor itself, so that its reader sees EOF."""
        self.close()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.inherited)  # the number stays taken: nothing else may become stdout
        os.close(null)

    def close(self) -> None:
        """Give back what was opened; the descriptor itself is the process's."""


class _WaitingOutput(Output):
    """Write what is taken, and wait where nothing is."""

    def __init__(self, inherited: int, fd: int, loop: Loop) -> None:
        super().__init__(inherited, loop)
        self.fd = fd
        self._rest = NOTHING
        self._watched = False

    def give(self, chunk: Buffer = NOTHING) -> bool:
        rest = memoryview(chunk) if chunk else self._rest
        self._rest = NOTHING
        try:
            while rest:
                rest = rest[self._give(rest) :]
        except (BlockingIOError, InterruptedError):
            self._rest = rest
        except (OSError, MemoryError) as error:
            raise _output_error(error) from error
        return not self._rest

    @abstractmethod
    def _give(self, data: memoryview) -> int:
        """Write what is taken, without waiting."""

    def watch(self, callback: Callback) -> None:
        self._watched = True
        self.loop.add_writer(self.fd, callback)

    def unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self.loop.remove_writer(self.fd)


class _PolledOutput(_WaitingOutput):
    def __init__(self, inherited: int, fd: int, loop: Loop, *, fifo: bool) -> None:
        super().__init__(inherited, fd, loop)
        if fifo and descriptors.LINUX:
            self.joined = self._splice
        # One end of a FIFO that is open both ways becomes readable by what we write ourselves.
        self._watch_reader = fifo and descriptors.access_of(inherited) == os.O_WRONLY
        self._closed = False

    def _give(self, data: memoryview) -> int:
        return os.write(self.fd, data)

    def _splice(self, fd: int) -> int:
        return os.splice(fd, self.fd, PIPE_BYTES, flags=os.SPLICE_F_NONBLOCK)

    def is_full(self) -> bool:
        return not descriptors.has_room(self.fd)

    def reader_gone(self) -> Promise[None]:
        if self._closed or not self._watch_reader:
            return super().reader_gone()
        gone: Promise[None] = Promise(self.loop, lambda _: self.loop.remove_reader(self.inherited))

        def tell() -> None:
            self.loop.remove_reader(self.inherited)
            gone.resolve(None)

        # The write end of a pipe never becomes readable: what wakes us is EPOLLERR, the last reader has closed.
        # The inherited descriptor is watched: our own may be waiting for room at the same time.
        self.loop.add_reader(self.inherited, tell)
        return gone

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        # Otherwise epoll would keep watching the shared open file although our descriptor is closed.
        self.loop.remove_reader(self.inherited)
        os.close(self.fd)


class _SocketOutput(_WaitingOutput):
    def __init__(self, inherited: int, loop: Loop) -> None:
        self._socket = socket.socket(fileno=os.dup(inherited))
        super().__init__(inherited, self._socket.fileno(), loop)

    def _give(self, data: memoryview) -> int:
        return self._socket.send(data, socket.MSG_DONTWAIT)

    def close(self) -> None:
        self._socket.close()


class _DirectOutput(Output):
    def give(self, chunk: Buffer = NOTHING) -> bool:
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[os.write(self.inherited, rest) :]
        except (OSError, MemoryError) as error:
            raise _output_error(error) from error
        return True


class _ThreadOutput(Output):
    """One chunk at a time, in a daemon thread."""

    def __init__(self, inherited: int, loop: Loop) -> None:
        super().__init__(inherited, loop)
        self._pending: Promise[None] | None = None
        self._callback: Callback | None = None

    def give(self, chunk: Buffer = NOTHING) -> bool:
        if self._pending is not None and self._pending.done():
            pending, self._pending = self._pending, None
            try:
                pending.result()
            except (OSError, MemoryError) as error:
                raise _output_error(error) from error
        if chunk:
            self._pending = in_daemon_thread(self.loop, lambda: self._give(memoryview(chunk)), "cfcat-stdout")
            self._pending.add_done_callback(lambda _: self._callback and self._callback())
        return self._pending is None

    def watch(self, callback: Callback) -> None:
        self._callback = callback

    def unwatch(self) -> None:
        self._callback = None

    def _give(self, rest: memoryview) -> None:
        while rest:
            try:
                rest = rest[os.write(self.inherited, rest) :]
            except BlockingIOError:
                select.select([], [self.inherited], [])


def _output_error(error: OSError | MemoryError) -> Exception:
    if isinstance(error, OSError) and error.errno in descriptors.GONE:
        return BrokenPipeError(error.errno, reason_of(error))
    return StdoutError("cannot write standard output", reason_of(error))
