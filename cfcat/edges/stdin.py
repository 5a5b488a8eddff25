"""Standard input, whatever it is, and every other descriptor that is read: `descriptors` says how."""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
from abc import ABC, abstractmethod

from cfcat.core.loop import Loop
from cfcat.core.promise import Promise, in_daemon_thread
from cfcat.edges import descriptors
from cfcat.edges.descriptors import NOTHING, Callback, Join
from cfcat.errors import StdinError, reason_of

__all__ = ["READ_BYTES", "Input", "no_input", "open_input"]

# stdin is read ahead so far and no further. One buffer, used again: a new one costs its page faults with each chunk.
READ_BYTES = 256 * 1024
# A larger pipe means fewer wake-ups on both sides; the kernel's default is 64 KiB.
PIPE_BYTES = 512 * 1024
# What one call of the kernel's moves to the network: one segment of loopback holds it. With 4 KiB more, a second one
# carries the last 53 bytes of each call, for twice the processor time. And a pipe's writer waits for the call.
JOINED_BYTES = 60 * 1024


def open_input(fd: int, loop: Loop) -> Input:
    """The way to read from this descriptor, whose callbacks come from this event loop."""
    mode = os.fstat(fd).st_mode
    if descriptors.access_of(fd) == os.O_WRONLY:
        return _EmptyInput(loop)
    if stat.S_ISSOCK(mode):
        return _SocketInput(fd, loop)
    if not descriptors.can_poll(fd):
        return _DirectInput(fd, loop)
    own = descriptors.open_again(fd, os.O_RDONLY, PIPE_BYTES)
    if own is None:
        return _ThreadInput(fd, loop)
    return _PolledInput(fd, own, loop, fifo=stat.S_ISFIFO(mode))


def no_input(loop: Loop) -> Input:
    """An input that is at its end."""
    return _EmptyInput(loop)


class Input(ABC):
    """A descriptor to read from.

    `joined`, where the kernel has such a thing: moves the next bytes into the socket with a given descriptor without
    their coming into this process; how many, 0 at EOF. Raises OSError as the system calls do, whoever has failed.
    """

    joined: Join | None = None

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self._buffer = bytearray(READ_BYTES)
        self._view = memoryview(self._buffer)

    @abstractmethod
    def take(self, limit: int = READ_BYTES) -> memoryview | None:
        """Return the next chunk, empty at EOF, None where there is nothing now; it is good until the next call.

        Some sources cannot keep to `limit`.

        Raises:
            StdinError: reading failed.
        """

    def watch(self, callback: Callback) -> bool:
        """Call back whenever `take` may have something, until `unwatch`; False: once. Files always have."""
        self.loop.call_soon(callback)
        return False

    def unwatch(self) -> None:
        """Call back no more."""

    def read(self) -> Promise[memoryview]:
        """Wait for the next chunk, as `take`. Cancelling loses nothing: what was not returned was not read."""
        read: Promise[memoryview] = Promise(self.loop, lambda _: self.unwatch())

        def try_it() -> None:
            try:
                chunk = self.take()
            except StdinError as error:
                self.unwatch()
                read.reject(error)
            else:
                if chunk is None:
                    self.watch(try_it)
                else:
                    self.unwatch()
                    read.resolve(chunk)

        try_it()
        return read

    def _end(self, fd: int, error: OSError | MemoryError) -> memoryview:
        """Turn a failed read into EOF or StdinError."""
        # A terminal gives EIO after a hangup, or to an orphaned background process.
        if isinstance(error, OSError) and error.errno == errno.EIO and os.isatty(fd):
            return NOTHING
        raise StdinError("cannot read standard input", reason_of(error)) from error

    def close(self) -> None:
        """Give back what was opened; the descriptor itself is the process's."""


class _EmptyInput(Input):
    """Opened for writing only, as nohup gives /dev/null: there is nothing to read, and nothing wrong."""

    def take(self, limit: int = READ_BYTES) -> memoryview | None:
        return NOTHING


class _WaitingInput(Input):
    """A descriptor that is read without waiting, and watched while it has nothing.

    With `eager`, read first and wait if nothing is there. Without it, wait before each read. A program in the
    background is stopped when it tries to read its terminal (SIGTTIN), and should not be before somebody types.
    """

    def __init__(self, fd: int, loop: Loop, *, eager: bool) -> None:
        super().__init__(loop)
        self.fd = fd  # to watch
        self._eager = eager
        self._called = False  # the loop has said that there is something
        self._callback: Callback | None = None

    def take(self, limit: int = READ_BYTES) -> memoryview | None:
        if not self._called and not self._eager:
            return None
        self._called = False
        try:
            return self._view[: self._take(self._view[:limit])]
        except (BlockingIOError, InterruptedError):
            return None
        except (OSError, MemoryError) as error:
            return self._end(self.fd, error)

    @abstractmethod
    def _take(self, buffer: memoryview) -> int:
        """Read into a buffer, without waiting."""

    def watch(self, callback: Callback) -> bool:
        if self._callback is None:
            self.loop.add_reader(self.fd, self._call)
        self._callback = callback
        return True

    def unwatch(self) -> None:
        if self._callback is not None:
            self._callback = None
            self.loop.remove_reader(self.fd)

    def _call(self) -> None:
        self._called = True
        if self._callback is not None:
            self._callback()


class _PolledInput(_WaitingInput):
    """The inherited descriptor is watched: one opened again after the last writer has closed never becomes ready."""

    def __init__(self, inherited: int, own: int, loop: Loop, *, fifo: bool) -> None:
        super().__init__(inherited, loop, eager=fifo)
        self._own = own
        if fifo and descriptors.LINUX:
            self.joined = self._splice

    def _splice(self, fd: int) -> int:
        try:
            size = os.splice(self._own, fd, JOINED_BYTES, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            # The socket has room, so it was the pipe that was empty. Reading now would contend with the writer, which
            # was just woken, for the pipe's lock. The loop will call when it has written.
            self._eager = not descriptors.has_room(fd)
            raise
        self._called = False
        return size

    def _take(self, buffer: memoryview) -> int:
        return os.readv(self._own, [buffer])

    def close(self) -> None:
        os.close(self._own)


class _SocketInput(_WaitingInput):
    def __init__(self, fd: int, loop: Loop) -> None:
        self._socket = socket.socket(fileno=os.dup(fd))
        super().__init__(self._socket.fileno(), loop, eager=True)

    def _take(self, buffer: memoryview) -> int:
        return self._socket.recv_into(buffer, 0, socket.MSG_DONTWAIT)

    def close(self) -> None:
        self._socket.close()


class _DirectInput(Input):
    def __init__(self, fd: int, loop: Loop) -> None:
        super().__init__(loop)
        self._fd = fd
        if descriptors.LINUX and stat.S_ISREG(os.fstat(fd).st_mode):
            self.joined = self._send_file

    def _send_file(self, fd: int) -> int:
        return os.sendfile(fd, self._fd, None, JOINED_BYTES)

    def take(self, limit: int = READ_BYTES) -> memoryview | None:
        try:
            return self._view[: os.readv(self._fd, [self._view[:limit]])]
        except (OSError, MemoryError) as error:
            return self._end(self._fd, error)


class _ThreadInput(Input):
    """One read at a time, in a daemon thread: a thread that is blocked must not hold up the exit."""

    def __init__(self, fd: int, loop: Loop) -> None:
        super().__init__(loop)
        self._fd = fd
        self._pending: Promise[int] | None = None
        self._callback: Callback | None = None

    def take(self, limit: int = READ_BYTES) -> memoryview | None:
        if self._pending is None:
            self._pending = in_daemon_thread(self.loop, self._take, "cfcat-stdin")
            self._pending.add_done_callback(lambda _: self._callback and self._callback())
        if not self._pending.done():
            return None
        pending, self._pending = self._pending, None
        try:
            return self._view[: pending.result()]
        except (OSError, MemoryError) as error:
            return self._end(self._fd, error)

    def watch(self, callback: Callback) -> bool:
        self._callback = callback
        return True

    def unwatch(self) -> None:
        self._callback = None

    def _take(self) -> int:
        while True:
            try:
                return os.readv(self._fd, [self._buffer])
            except BlockingIOError:  # O_NONBLOCK was set by whoever started us
                select.select([self._fd], [], [])
