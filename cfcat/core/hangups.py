"""Learns that a connection is gone although nobody reads from it: reset, or ended from both sides.

One descriptor of the kernel's (epoll) watches for that alone, whatever is unread, on all accepted connections of a
loop; it is there as long as there is one to watch, and the loop. Where the system has no epoll, or no descriptor for
it, nothing is told: then a read or a write finds out. Source: inbound rules I22, I23.
"""

from __future__ import annotations

import contextlib
import fcntl
import select
import socket
import struct
import termios
from collections.abc import Callable
from typing import ClassVar
from weakref import WeakValueDictionary

from cfcat.core.loop import Loop

__all__ = ["Hangups", "pending_bytes", "unsent_bytes"]

Gone = Callable[[int], None]  # with the error of the connection, or 0


class Hangups:
    """The watch of one loop. `watch()` and `unwatch()` find it, or make it, by the loop."""

    # Weak: the loop's own reader keeps it, until the loop is closed.
    _of: ClassVar[WeakValueDictionary[Loop, Hangups]] = WeakValueDictionary()

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._watched: dict[int, tuple[socket.socket, Gone]] = {}
        loop.add_reader(self._epoll.fileno(), self._tell)

    @classmethod
    def watch(cls, loop: Loop, sock: socket.socket, gone: Gone) -> None:
        """Call `gone` once, when nothing more can come or go on this connection."""
        if not hasattr(select, "epoll"):
            return
        with contextlib.suppress(OSError):
            hangups = cls._of.get(loop)
            if hangups is None:
                hangups = cls._of[loop] = cls(loop)
            hangups._epoll.register(sock.fileno(), select.EPOLLET)  # EPOLLHUP and EPOLLERR come unasked
            hangups._watched[sock.fileno()] = sock, gone

    @classmethod
    def unwatch(cls, loop: Loop, sock: socket.socket) -> None:
        """Leave it alone, before it is closed. It may have been told, or never watched."""
        hangups = cls._of.get(loop)
        if hangups is not None and hangups._watched.pop(sock.fileno(), None) is not None:
            hangups._forget(sock)

    def _forget(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self._epoll.unregister(sock.fileno())
        if not self._watched:
            del self._of[self._loop]
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    def _tell(self) -> None:
        # Promises call back in the next turn, so no `gone` here ends another connection of the same batch.
        for descriptor, events in self._epoll.poll(0):
            if not events & (select.EPOLLHUP | select.EPOLLERR):
                continue  # it was registered before it was connected
            sock, gone = self._watched.pop(descriptor)
            # The error is told once, and to us: whoever reads later is told by `gone`.
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if events & select.EPOLLERR else 0
            self._forget(sock)
            gone(error)


def pending_bytes(sock: socket.socket) -> int:
    """How many bytes the kernel holds that nobody has read.

    recv(MSG_PEEK) would not do: it takes a pending error away from whoever reads next.
    """
    return _count(sock, termios.FIONREAD)


def unsent_bytes(sock: socket.socket) -> int:
    """How many bytes the kernel has that the peer's has not acknowledged."""
    return _count(sock, termios.TIOCOUTQ)


def _count(sock: socket.socket, question: int) -> int:
    try:
        count: int = struct.unpack("i", fcntl.ioctl(sock, question, bytes(4)))[0]
    except OSError:
        return 0
    return count
