"""The process's own edges: every kind of descriptor as stdin and stdout, without changing any of them.

The descriptors are shared with the shell and with other programs, so O_NONBLOCK must never be set on them: it is a
flag of the open file, not of the process, and would stay behind. Instead, each kind has its own way of not blocking:

| kind | reading and writing |
|---|---|
| regular file, /dev/null, other devices that cannot be polled | directly: they are always ready |
| socket | MSG_DONTWAIT |
| pipe, FIFO, terminal on Linux | through an open file of our own, opened again by /proc/self/fd, non-blocking |
| the same elsewhere, or where opening again is refused | a daemon thread that blocks in our place |
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
from abc import ABC, abstractmethod
from collections.abc import Callable

from cfcat.core.operation import in_daemon_thread
from cfcat.errors import StdinError, StdoutError

__all__ = ["Input", "Output", "open_input", "open_output"]

# stdin is read ahead so far and no further. One buffer, used again: a new one costs its page faults with each chunk.
READ_BYTES = 256 * 1024
# Fewer wake-ups on both sides; the kernel's default is 64 KiB. Refused above the user's limit: then it stays.
PIPE_BYTES = 1024 * 1024
F_SETPIPE_SZ = 1031  # Linux; fcntl has the name from Python 3.10 on, but not everywhere
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
    return _PolledInput(own, eager=stat.S_ISFIFO(mode))


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
    # One end of a FIFO that is open both ways becomes readable by what we write ourselves.
    return _PolledOutput(fd, own, watch=stat.S_ISFIFO(mode) and _access(fd) == os.O_WRONLY)


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
        fcntl.fcntl(own, F_SETPIPE_SZ, PIPE_BYTES)
    return own


def _text(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


class Input(ABC):
    """A descriptor to read from."""

    def __init__(self) -> None:
        self._buffer = bytearray(READ_BYTES)
        self._view = memoryview(self._buffer)

    @abstractmethod
    async def read(self) -> memoryview:
        """Return the next chunk, empty at EOF; it is good until the next call.

        Cancelling loses nothing: what was not returned was not read.

        Raises:
            StdinError: reading failed.
        """

    def _end(self, fd: int, error: OSError) -> memoryview:
        """What a read that failed comes to: EOF or StdinError."""
        # EIO is what a terminal gives that has hung up, or to a process that was left behind by its shell.
        if error.errno == errno.EIO and os.isatty(fd):
            return self._view[:0]
        raise StdinError("cannot read standard input", _text(error)) from error

    def close(self) -> None:
        """Give back what was opened; the descriptor itself is the process's."""


class Output(ABC):
    """A descriptor to write to: `inherited`, the process's own number for it."""

    def __init__(self, inherited: int) -> None:
        self.inherited = inherited

    @abstractmethod
    async def write(self, chunk: bytes) -> None:
        """Write all of a chunk, at the reader's pace.

        Raises:
            BrokenPipeError: the reader is gone.
            StdoutError: writing failed.
        """

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


async def _ready(fd: int, add: Callable[..., None], remove: Callable[[int], bool]) -> None:
    """Wait until the loop says that a descriptor is ready."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def tell() -> None:
        if not future.done():
            future.set_result(None)

    add(fd, tell)
    try:
        await future
    finally:
        remove(fd)


# ---------------------------------------------------------------- stdin


class _WaitingInput(Input):
    """Try, and wait where there is nothing.

    Not `eager`: wait before each try. A program in the background is stopped when it tries to read its terminal
    (SIGTTIN), and should not be before somebody types. A FIFO opened again after its writer has closed never
    becomes ready: only trying finds the EOF.
    """

    fd: int
    eager: bool

    async def read(self) -> memoryview:
        loop = asyncio.get_running_loop()
        wait = not self.eager
        while True:
            if wait:
                await _ready(self.fd, loop.add_reader, loop.remove_reader)
            wait = True
            try:
                return self._view[: self._take()]
            except (BlockingIOError, InterruptedError):
                continue
            except OSError as error:
                return self._end(self.fd, error)

    @abstractmethod
    def _take(self) -> int:
        """Read into the buffer, without waiting."""


class _PolledInput(_WaitingInput):
    def __init__(self, fd: int, *, eager: bool) -> None:
        super().__init__()
        self.fd = fd
        self.eager = eager

    def _take(self) -> int:
        return os.readv(self.fd, [self._buffer])

    def close(self) -> None:
        os.close(self.fd)


class _SocketInput(_WaitingInput):
    eager = True

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._socket = socket.socket(fileno=os.dup(fd))
        self.fd = self._socket.fileno()

    def _take(self) -> int:
        return self._socket.recv_into(self._buffer, 0, socket.MSG_DONTWAIT)

    def close(self) -> None:
        self._socket.close()


class _DirectInput(Input):
    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd

    async def read(self) -> memoryview:
        try:
            return self._view[: os.readv(self._fd, [self._buffer])]
        except OSError as error:
            return self._end(self._fd, error)


class _ThreadInput(Input):
    """One read at a time, in a daemon thread: a thread that is blocked must not hold up the exit."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd
        self._pending: asyncio.Future[int] | None = None

    async def read(self) -> memoryview:
        if self._pending is None:
            self._pending = in_daemon_thread(self._take, "cfcat-stdin")
        # Shielded: a chunk that comes after a cancelled wait is for the next read.
        try:
            size = await asyncio.shield(self._pending)
        except OSError as error:
            return self._end(self._fd, error)
        self._pending = None
        return self._view[:size]

    def _take(self) -> int:
        while True:
            try:
                return os.readv(self._fd, [self._buffer])
            except BlockingIOError:  # O_NONBLOCK was set by whoever started us
                select.select([self._fd], [], [])


# ---------------------------------------------------------------- stdout


class _WaitingOutput(Output):
    """Write what is taken, and wait where nothing is."""

    fd: int

    async def write(self, chunk: bytes) -> None:
        loop = asyncio.get_running_loop()
        rest = memoryview(chunk)
        while rest:
            try:
                rest = rest[self._give(rest) :]
            except (BlockingIOError, InterruptedError):
                await _ready(self.fd, loop.add_writer, loop.remove_writer)
            except OSError as error:
                raise _output_error(error) from error

    @abstractmethod
    def _give(self, data: memoryview) -> int:
        """Write what is taken, without waiting."""


class _PolledOutput(_WaitingOutput):
    def __init__(self, inherited: int, fd: int, *, watch: bool) -> None:
        super().__init__(inherited)
        self.fd = fd
        self._watch = watch
        self._closed = False

    def _give(self, data: memoryview) -> int:
        return os.write(self.fd, data)

    async def reader_gone(self) -> None:
        if not self._watch:
            await super().reader_gone()
        loop = asyncio.get_running_loop()
        # The write end of a pipe never becomes readable: what wakes us is EPOLLERR, the last reader has closed.
        # The inherited descriptor is watched: our own may be waiting for room at the same time.
        await _ready(self.inherited, loop.add_reader, loop.remove_reader)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        # The loop would go on watching the open file, which other processes share, under a number that is gone.
        asyncio.get_running_loop().remove_reader(self.inherited)
        os.close(self.fd)


class _SocketOutput(_WaitingOutput):
    def __init__(self, inherited: int) -> None:
        super().__init__(inherited)
        self._socket = socket.socket(fileno=os.dup(inherited))
        self.fd = self._socket.fileno()

    def _give(self, data: memoryview) -> int:
        return self._socket.send(data, socket.MSG_DONTWAIT)

    def close(self) -> None:
        self._socket.close()


class _DirectOutput(Output):
    async def write(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[os.write(self.inherited, rest) :]
        except OSError as error:
            raise _output_error(error) from error
        await asyncio.sleep(0)


class _ThreadOutput(Output):
    async def write(self, chunk: bytes) -> None:
        try:
            await in_daemon_thread(lambda: self._give(memoryview(chunk)), "cfcat-stdout")
        except OSError as error:
            raise _output_error(error) from error

    def _give(self, rest: memoryview) -> None:
        while rest:
            try:
                rest = rest[os.write(self.inherited, rest) :]
            except BlockingIOError:
                select.select([], [self.inherited], [])


def _output_error(error: OSError) -> Exception:
    if error.errno in GONE:
        return BrokenPipeError(error.errno, _text(error))
    return StdoutError("cannot write standard output", _text(error))
