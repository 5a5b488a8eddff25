"""Incoming connections: a listener returns sockets that are connected already.

`sockets.adopt` takes either's result. Resolving names is not done here, nor is anything decided about who may connect.
"""

from __future__ import annotations

import socket
from typing import Protocol

from cfcat.core.dial import Address
from cfcat.core.loop import running_loop
from cfcat.core.promise import Promise

__all__ = ["Listener", "TcpListener"]

BACKLOG = 128  # connections that the kernel keeps until they are accepted; Linux allowed no more for a long time


class Listener(Protocol):
    """What yields connected sockets."""

    def accept(self) -> Promise[socket.socket]:
        """Resolves with the next connection, non-blocking. Cancelling the wait loses none.

        Raises:
            OSError: it cannot be accepted, such as for want of descriptors; later ones may be.
        """

    def close(self) -> None:
        """Accept no more. Nobody may be waiting in `accept()`."""


class TcpListener:
    """Listens on one address as soon as it is created. Port 0 lets the kernel choose; `address` has the real one.

    Raises:
        OSError: the address is in use, or not this machine's.
    """

    def __init__(self, address: Address) -> None:
        self._sock = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            # A listener that was closed a moment ago must not keep its successor out. nc, curl's tests: the same.
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if address.family == socket.AF_INET6:
                self._sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # "::" is IPv6 alone everywhere
            self._sock.bind(address.sockaddr)
            self._sock.listen(BACKLOG)
            self._sock.setblocking(False)
            self.address = Address(address.family, self._sock.getsockname())
        except OSError:
            self._sock.close()
            raise

    def accept(self) -> Promise[socket.socket]:
        """As `Listener.accept`."""
        loop = running_loop()
        accepted: Promise[socket.socket] = Promise(loop, lambda _: loop.remove_reader(self._sock))

        def try_it() -> None:
            try:
                sock, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):  # the last: gone before it was accepted
                loop.add_reader(self._sock, try_it)
                return
            except OSError as error:
                accepted.reject(error)
            else:
                sock.setblocking(False)
                accepted.resolve(sock)
            loop.remove_reader(self._sock)

        try_it()
        return accepted

    def close(self) -> None:
        """As `Listener.close`."""
        self._sock.close()
