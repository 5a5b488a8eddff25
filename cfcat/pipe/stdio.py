"""The process's own edges: every kind of descriptor as stdin and stdout, without changing any of them.

The descriptors are shared with the shell and with other programs, so O_NONBLOCK must never be set on them: it is a
flag of the open file, not of the process, and would stay behind. Instead, each kind has its own way of not blocking:

| kind | reading and writing |
|---|---|
| regular file, /dev/null, other devices that cannot be polled | directly: they are always ready |
| socket | MSG_DONTWAIT |
| pipe, FIFO, terminal on Linux | through an open file of our own, opened again by /proc/self/fd, non-blocking |
| the same elsewhere, or where opening again is refused | a daemon thread that blocks in our place |

Each is tried without waiting (`take`, `give`) and then watched, which costs a chunk nothing where the kernel has it
at hand; `read` and `write` wait, for those who have but little to move.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import select
import socket
import stat
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable

from cfcat.core.codec import Buffer
from cfcat.core.operation import in_daemon_thread, resolve
from cfcat.errors import StdinError, StdoutError, reason_of

__all__ = ["Input", "Output", "open_input", "open_output"]

# stdin is read ahead so far and no further. One buffer, used again: a new one costs its page faults with each chunk.
READ_BYTES = 256 * 1024
# Fewer wake-ups on both sides; the kernel's default is 64 KiB. Refused above the user's limit: then it stays.
PIPE_BYTES = {os.O_RDONLY: 512 * 1024, os.O_WRONLY: 1024 * 1024}
# What one call of the kernel's moves to the network: one segment of loopback holds it. With 4 KiB more, a second one
# carries the last 53 bytes of each call, for twice the processor time. And a pipe's writer waits for the call.
JOINED_BYTES = 60 * 1024
LINUX = sys.platform == "linux"  # splice(2), and a sendfile(2) that begins where the file stands
F_SETPIPE_SZ, F_GETPIPE_SZ = 1031, 1032  # Linux; fcntl has the names from Python 3.10 on, but not everywhere
PTMX = os.makedev(5, 2)  # /dev/ptmx on Linux (Documentation/admin-guide/devices.txt)
GONE = frozenset({errno.EPIPE, errno.ECONNRESET})


def open_input(fd: int) -> Input:
    """The way to read from this descriptor."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISSOCK(mode):
        return _SocketInput(fd)
    if not _can_poll(fd):
        return _DirectInput(fd)
    own = _open_again(fd, os.O_RDONLY)
    if own is None:
        return _ThreadInput(fd)
    return _PolledInput(fd, own, fifo=stat.S_ISFIFO(mode))


def open_output(fd: int) -> Output:
    """The way to write to this descriptor."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISSOCK(mode):
        return _SocketOutput(fd)
    if not _can_poll(fd):
        return _DirectOutput(fd)
    own = _open_again(fd, os.O_WRONLY)
    if own is None:
        return _ThreadOutput(fd)
    return _PolledOutput(fd, own, fifo=stat.S_ISFIFO(mode))


def _access(fd: int) -> int:
    """What the descriptor was given for: O_RDONLY, O_WRONLY or O_RDWR."""
    return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE


def _can_poll(fd: int) -> bool:
    """Does the kernel say when this descriptor is ready? Regular files and /dev/null have no such notion."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISFIFO(mode) or os.isatty(fd):
        return True
    return stat.S_ISCHR(mode) and not os.path.samestat(os.fstat(fd), os.stat(os.devnull)) and _epoll_takes(fd)


def _epoll_takes(fd: int) -> bool:
    if not hasattr(select, "epoll"):
        return True
    with select.epoll() as poll:
        try:
            poll.register(fd, select.EPOLLIN)
        except PermissionError:
            return False
    return True


def _open_again(fd: int, access: int) -> int | None:
    """An open file of our own for the same pipe or terminal, non-blocking; None where that cannot be."""
    # Opening again would grant what was not given: reading from an output is an error, not a way.
    # Opening the master of a terminal again makes a new terminal.
    if _access(fd) not in (access, os.O_RDWR) or os.fstat(fd).st_rdev == PTMX:
        return None
    # On macOS /dev/fd/N shares the open file with its flags; only Linux makes a new one.
    try:
        own = os.open(f"/proc/self/fd/{fd}", access | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        if fcntl.fcntl(own, F_GETPIPE_SZ) < PIPE_BYTES[access]:
            fcntl.fcntl(own, F_SETPIPE_SZ, PIPE_BYTES[access])
    return own


def _has_room(fd: int) -> bool:
    """Would this pipe or socket take something now, or fail?"""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))


Callback = Callable[[], object]
Join = Callable[[int], int]
NOTHING = memoryview(b"")


class Input(ABC):
    """A descriptor to read from.

    `joined`, where the kernel has such a thing: moves the next bytes into the socket with a given descriptor without
    their coming into this process; how many, 0 at EOF. Raises OSError as the system calls do, whoever has failed.
    """

    joined: Join | None = None

    def __init__(self) -> None:
        self._buffer = bytearray(READ_BYTES)
        self._view = memoryview(self._buffer)

    @abstractmethod
    def take(self, limit: int = READ_BYTES) -> memoryview | None:
        """Return the next chunk, empty at EOF, None where there is nothing now; it is good until the next call.

        Some sources cannot keep to `limit`.

        Raises:
            StdinError: reading failed.
        """

    def watch(self, callback: Callback) -> None:
        """Call back whenever `take` may have something, until `unwatch`. Files always have."""
        asyncio.get_running_loop().call_soon(callback)

    def unwatch(self) -> None:
        """Call back no more."""

    async def read(self) -> memoryview:
        """Wait for the next chunk, as `take`. Cancelling loses nothing: what was not returned was not read."""
        while (chunk := self.take()) is None:
            await _called(self)
        return chunk

    def _end(self, fd: int, error: OSError | MemoryError) -> memoryview:
        """What a read that failed comes to: EOF or StdinError."""
        # EIO is what a terminal gives that has hung up, or to a process that was left behind by its shell.
        if isinstance(error, OSError) and error.errno == errno.EIO and os.isatty(fd):
            return NOTHING
        raise StdinError("cannot read standard input", reason_of(error)) from error

    def close(self) -> None:
        """Give back what was opened; the descriptor itself is the process's."""


class Output(ABC):
    """A descriptor to write to: `inherited`, the process's own number for it. `joined`: as `Input`'s, from a socket."""

    joined: Join | None = None

    def __init__(self, inherited: int) -> None:
        self.inherited = inherited

    @abstractmethod
    def give(self, chunk: Buffer = NOTHING) -> bool:
        """Write a chunk: True when all of it is written, False when some is left.

        That is kept, not copied, and written by the next calls, without a chunk.

        Raises:
            BrokenPipeError: the reader is gone.
            StdoutError: writing failed.
        """

    def watch(self, callback: Callback) -> None:
        """Call back whenever `give` may do more, until `unwatch`. Never needed where it always does all."""

    def unwatch(self) -> None:
        """Call back no more."""

    def is_full(self) -> bool:
        """Would a pipe take nothing now?"""
        return False

    async def write(self, chunk: Buffer) -> None:
        """Write all of a chunk, at the reader's pace, as `give`."""
        done = self.give(chunk)
        while not done:
            await _called(self)
            done = self.give()

    async def reader_gone(self) -> None:
        """Return when nobody can read any more; wait for ever where that cannot be known."""
        await asyncio.get_running_loop().create_future()

    def end(self) -> None:
        """Close the descriptor itself, so that its reader sees EOF."""
        self.close()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.inherited)  # the number stays taken: nothing else may become stdout
        os.close(null)

    def close(self) -> None:
        """Give back what was opened; the descriptor itself is the process's."""


async def _called(edge: Input | Output) -> None:
    """Wait until an edge calls back."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    edge.watch(lambda: resolve(future, None))
    try:
        await future
    finally:
        edge.unwatch()


# ---------------------------------------------------------------- stdin


class _WaitingInput(Input):
    """Try, and wait where there is nothing.

    Not `eager`: wait before each try by reading. A program in the background is stopped when it tries to read its
    terminal (SIGTTIN), and should not be before somebody types.
    """

    def __init__(self, fd: int, *, eager: bool) -> None:
        super().__init__()
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

    def watch(self, callback: Callback) -> None:
        if self._callback is None:
            asyncio.get_running_loop().add_reader(self.fd, self._call)
        self._callback = callback

    def unwatch(self) -> None:
        if self._callback is not None:
            self._callback = None
            asyncio.get_running_loop().remove_reader(self.fd)

    def _call(self) -> None:
        self._called = True
        if self._callback is not None:
            self._callback()


class _PolledInput(_WaitingInput):
    """The inherited descriptor is watched: one opened again after the last writer has closed never becomes ready."""

    def __init__(self, inherited: int, own: int, *, fifo: bool) -> None:
        super().__init__(inherited, eager=fifo)
        self._own = own
        if fifo and LINUX:
            self.joined = self._splice

    def _splice(self, fd: int) -> int:
        try:
            size = os.splice(self._own, fd, JOINED_BYTES, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            # Where the socket has room, the pipe is empty: to read from it now would be to spin for the lock of the
            # writer, who has just been woken. The loop will call when it has written.
            self._eager = not _has_room(fd)
            raise
        self._called = False
        return size

    def _take(self, buffer: memoryview) -> int:
        return os.readv(self._own, [buffer])

    def close(self) -> None:
        os.close(self._own)


class _SocketInput(_WaitingInput):
    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=os.dup(fd))
        super().__init__(self._socket.fileno(), eager=True)

    def _take(self, buffer: memoryview) -> int:
        return self._socket.recv_into(buffer, 0, socket.MSG_DONTWAIT)

    def close(self) -> None:
        self._socket.close()


class _DirectInput(Input):
    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd
        if LINUX and stat.S_ISREG(os.fstat(fd).st_mode):
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

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd
        self._pending: asyncio.Future[int] | None = None
        self._callback: Callback | None = None

    def take(self, limit: int = READ_BYTES) -> memoryview | None:
        if self._pending is None:
            self._pending = in_daemon_thread(self._take, "cfcat-stdin")
            self._pending.add_done_callback(lambda _: self._callback and self._callback())
        if not self._pending.done():
            return None
        pending, self._pending = self._pending, None
        try:
            return self._view[: pending.result()]
        except (OSError, MemoryError) as error:
            return self._end(self._fd, error)

    def watch(self, callback: Callback) -> None:
        self._callback = callback

    def unwatch(self) -> None:
        self._callback = None

    def _take(self) -> int:
        while True:
            try:
                return os.readv(self._fd, [self._buffer])
            except BlockingIOError:  # O_NONBLOCK was set by whoever started us
                select.select([self._fd], [], [])


# ---------------------------------------------------------------- stdout


class _WaitingOutput(Output):
    """Write what is taken, and wait where nothing is."""

    def __init__(self, inherited: int, fd: int) -> None:
        super().__init__(inherited)
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
        asyncio.get_running_loop().add_writer(self.fd, callback)

    def unwatch(self) -> None:
        if self._watched:
            self._watched = False
            asyncio.get_running_loop().remove_writer(self.fd)


class _PolledOutput(_WaitingOutput):
    def __init__(self, inherited: int, fd: int, *, fifo: bool) -> None:
        super().__init__(inherited, fd)
        if fifo and LINUX:
            self.joined = self._splice
        # One end of a FIFO that is open both ways becomes readable by what we write ourselves.
        self._watch_reader = fifo and _access(inherited) == os.O_WRONLY
        self._closed = False

    def _give(self, data: memoryview) -> int:
        return os.write(self.fd, data)

    def _splice(self, fd: int) -> int:
        return os.splice(fd, self.fd, PIPE_BYTES[os.O_WRONLY], flags=os.SPLICE_F_NONBLOCK)

    def is_full(self) -> bool:
        return not _has_room(self.fd)

    async def reader_gone(self) -> None:
        if self._closed or not self._watch_reader:
            await super().reader_gone()
        loop = asyncio.get_running_loop()
        gone: asyncio.Future[None] = loop.create_future()
        # The write end of a pipe never becomes readable: what wakes us is EPOLLERR, the last reader has closed.
        # The inherited descriptor is watched: our own may be waiting for room at the same time.
        loop.add_reader(self.inherited, resolve, gone, None)
        try:
            await gone
        finally:
            loop.remove_reader(self.inherited)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        # The loop would go on watching the open file, which other processes share, under a number that is gone.
        asyncio.get_running_loop().remove_reader(self.inherited)
        os.close(self.fd)


class _SocketOutput(_WaitingOutput):
    def __init__(self, inherited: int) -> None:
        self._socket = socket.socket(fileno=os.dup(inherited))
        super().__init__(inherited, self._socket.fileno())

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

    def __init__(self, inherited: int) -> None:
        super().__init__(inherited)
        self._pending: asyncio.Future[None] | None = None
        self._callback: Callback | None = None

    def give(self, chunk: Buffer = NOTHING) -> bool:
        if self._pending is not None and self._pending.done():
            pending, self._pending = self._pending, None
            try:
                pending.result()
            except (OSError, MemoryError) as error:
                raise _output_error(error) from error
        if chunk:
            self._pending = in_daemon_thread(lambda: self._give(memoryview(chunk)), "cfcat-stdout")
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
    if isinstance(error, OSError) and error.errno in GONE:
        return BrokenPipeError(error.errno, reason_of(error))
    return StdoutError("cannot write standard output", reason_of(error))
