"""Where connections come in: one bound address of the operating system, TCP or Unix, that accepts.

What is accepted here becomes a socket in `accepting`. Resolving names is not done here. TCP's doors let everybody in,
Unix's their owner.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import struct
import time
from abc import ABC, abstractmethod
from typing import NamedTuple

from cfcat.core.address import UNIX, bound_name
from cfcat.core.loop import running_loop
from cfcat.core.promise import Promise
from cfcat.core.race import Address

__all__ = ["Accepted", "Door", "NameDoor", "TcpDoor", "UnixDoor"]

BACKLOG = 128  # connections that the kernel keeps until they are accepted; Linux allowed no more for a long time
OWNER_ONLY = 0o177  # a mask of permissions
ROOT = 0
CREDENTIALS = struct.Struct("3i")  # process, user and group of the one that has connected: SO_PEERCRED, unix(7)
# A server that has bound its Unix socket and does not listen yet refuses as one that has died does. Its two calls
# follow each other: this is enough on a busy machine, and nobody waits for it but a start after such a death.
BIND_TO_LISTEN_S = 0.05
# accept(2): a connection that failed before it was accepted. The next one has nothing to do with it.
GONE_ALREADY = frozenset(
    {errno.ECONNABORTED, errno.ENETDOWN, errno.EPROTO, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.ENONET}
    | {errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.EAGAIN, errno.EINTR}
)


class Accepted(NamedTuple):
    """A connection, non-blocking, and where it comes from: `ip:port`, "" on a Unix socket."""

    sock: socket.socket
    remote: str


class Door(ABC):
    """One address that connections come in by: a listening, non-blocking OS socket."""

    def __init__(self, family: socket.AddressFamily) -> None:
        self._sock = socket.socket(family, socket.SOCK_STREAM)

    @property
    @abstractmethod
    def text(self) -> str:
        """`ip:port`, or `unix:PATH`."""

    def accept(self) -> Promise[Accepted]:
        """Resolves with the next connection. Cancelling the wait loses none.

        Raises:
            OSError: it cannot be accepted, such as for want of descriptors; later ones may be.
        """
        loop = running_loop()
        accepted: Promise[Accepted] = Promise(loop, lambda _: loop.remove_reader(self._sock))

        def try_it() -> None:
            try:
                sock, address = self._sock.accept()
                while not self._is_welcome(sock):
                    sock.close()
                    sock, address = self._sock.accept()
            except OSError as error:
                if error.errno in GONE_ALREADY:
                    loop.add_reader(self._sock, try_it)
                    return
                accepted.reject(error)
            else:
                sock.setblocking(False)
                accepted.resolve(Accepted(sock, self._remote(sock, address)))
            loop.remove_reader(self._sock)

        try_it()
        return accepted

    def close(self) -> None:
        """Accept no more. Nobody may be waiting in `accept()`."""
        self._sock.close()

    @abstractmethod
    def _remote(self, sock: socket.socket, address: tuple[object, ...]) -> str:
        """Where the connection comes from: `Accepted.remote`."""

    def _is_welcome(self, sock: socket.socket) -> bool:
        """May who has connected come in? Otherwise the connection is closed."""
        return True

    def _listen(self) -> None:
        self._sock.listen(BACKLOG)
        self._sock.setblocking(False)


class TcpDoor(Door):
    """Listens on one address as soon as it is created. Port 0 lets the kernel choose; `address` has the real one.

    Raises:
        OSError: the address is in use, or not this machine's.
    """

    def __init__(self, address: Address) -> None:
        super().__init__(address.family)
        try:
            # A listener that was closed a moment ago must not keep its successor out. nc, curl's tests: the same.
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if address.family == socket.AF_INET6:
                self._sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # "::" is IPv6 alone everywhere
            self._sock.bind(address.sockaddr)
            self._listen()
            self.address = Address(address.family, self._sock.getsockname())
        except BaseException:
            self._sock.close()
            raise

    @property
    def text(self) -> str:
        return self.address.text

    def _remote(self, sock: socket.socket, address: tuple[object, ...]) -> str:
        return Address(sock.family, address).text


class UnixDoor(Door):
    """Listens on a path that only its owner may connect to, and removes it at the end.

    A socket that nobody listens on any more is replaced; anything else that is there is left alone.

    Raises:
        OSError: something is there that is no socket (EEXIST), or somebody listens on it (EADDRINUSE), or the path is
            too long or not to be written.
        ValueError: no path can be like that: there is a NUL in it.
    """

    def __init__(self, path: str) -> None:
        super().__init__(socket.AF_UNIX)
        self.path = path
        self._file: tuple[int, int] | None = None
        try:
            if "\0" in path:
                raise ValueError("no path has a NUL in it")
            _remove_stale(path)
            mask = os.umask(OWNER_ONLY)
            try:
                self._sock.bind(path)
            finally:
                os.umask(mask)
            self._file = _identity(os.lstat(path))
            self._listen()
        except BaseException:
            self.close()
            raise

    @property
    def text(self) -> str:
        return UNIX + self.path

    def _remote(self, sock: socket.socket, address: tuple[object, ...]) -> str:
        return ""

    def close(self) -> None:
        """As every door; the file goes too if it is still ours."""
        super().close()
        with contextlib.suppress(OSError, ValueError):
            if _identity(os.lstat(self.path)) == self._file:
                os.unlink(self.path)


class NameDoor(Door):
    """Listens on a name without a file (unix(7)), `@name`.

    Such a name has no permissions. Its door looks at each client, so that it is for its owner, and for root, as the
    file of a Unix socket is.

    Raises:
        OSError: somebody listens there, or the name is too long.
    """

    def __init__(self, name: str) -> None:
        super().__init__(socket.AF_UNIX)
        self._name = name
        try:
            self._sock.bind(bound_name(name))
            self._listen()
        except BaseException:
            self._sock.close()
            raise

    @property
    def text(self) -> str:
        return UNIX + self._name

    def _remote(self, sock: socket.socket, address: tuple[object, ...]) -> str:
        return ""

    def _is_welcome(self, sock: socket.socket) -> bool:
        _, user, _ = CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))
        return user in (os.geteuid(), ROOT)


def _remove_stale(path: str) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError(errno.EEXIST, "something is there that is no socket")
    if not _is_refused(path):
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    time.sleep(BIND_TO_LISTEN_S)
    if not _is_refused(path) or _identity(os.lstat(path)) != _identity(found):
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    os.unlink(path)


def _is_refused(path: str) -> bool:
    """Does nobody listen there?"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except BlockingIOError:  # somebody listens, and its backlog is full
            return False
    return False


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
