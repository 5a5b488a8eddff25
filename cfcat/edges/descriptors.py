"""What the edges of the process have in common: how a descriptor that others share is used without changing it.

Standard descriptors are shared with the shell and with other programs, so O_NONBLOCK must never be set on them: it is a
flag of the open file, not of the process, and would stay behind. Instead, each kind has its own way of not blocking:

| kind | reading and writing |
|---|---|
| regular file, /dev/null, other devices that cannot be polled | directly: they are always ready |
| socket | MSG_DONTWAIT |
| pipe, FIFO, terminal on Linux | through an open file of our own, opened again by /proc/self/fd, non-blocking |
| the same elsewhere, or where opening again is refused | a daemon thread that blocks in our place |

An edge is tried without waiting (`take`, `give`) and watched only if it was not ready, so a ready chunk costs no wait;
`read` and `write` wait, for callers that move little.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import stat
import sys
from collections.abc import Callable

__all__ = ["NOTHING", "Callback", "Join", "access_of", "can_poll", "has_room", "open_again"]

Callback = Callable[[], object]
Join = Callable[[int], int]
NOTHING = memoryview(b"")

LINUX = sys.platform == "linux"  # splice(2), and a sendfile(2) that begins where the file stands
F_SETPIPE_SZ, F_GETPIPE_SZ = 1031, 1032  # Linux; fcntl has the names from Python 3.10 on, but not everywhere
PTMX = os.makedev(5, 2)  # /dev/ptmx on Linux (Documentation/admin-guide/devices.txt)
GONE = frozenset({errno.EPIPE, errno.ECONNRESET})


def access_of(fd: int) -> int:
    """What the descriptor was given for: O_RDONLY, O_WRONLY or O_RDWR."""
    return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE


def can_poll(fd: int) -> bool:
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


def open_again(fd: int, access: int, pipe_bytes: int = 0) -> int | None:
    """An open file of our own for the same pipe or terminal, non-blocking; None where that cannot be.

    `pipe_bytes`: make a smaller pipe this large, if the user's limit allows it.
    """
    # Reopening could give rights the descriptor does not have. Reading from a write-only descriptor must stay an error.
    # Opening the master of a terminal again makes a new terminal.
    if access_of(fd) not in (access, os.O_RDWR) or os.fstat(fd).st_rdev == PTMX:
        return None
    # On macOS /dev/fd/N shares the open file with its flags; only Linux makes a new one.
    try:
        own = os.open(f"/proc/self/fd/{fd}", access | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        if fcntl.fcntl(own, F_GETPIPE_SZ) < pipe_bytes:
            fcntl.fcntl(own, F_SETPIPE_SZ, pipe_bytes)
    return own


def has_room(fd: int) -> bool:
    """Would this pipe or socket take something now, or fail?"""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))
