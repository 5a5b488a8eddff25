"""Calls that fail when they are told to: what is installed in a process that is tortured.

Every call that a session can make of the system, of OpenSSL and of its buffers is counted by what it is used on, such
as "wire.recv", "stdin.readv", "stdout.write", "wire-stdout.splice", "tls.read", "bio.write" or "loop.poll". One use of
one of them, or that and every later one, meets a `Fault`.

An interrupted or refused call has done nothing, but for `connect`, which goes on by itself.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import ssl
import stat
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

__all__ = ["Calls", "Fault"]

Shortened = Callable[..., tuple[Any, ...]]  # the arguments of a call, to those of one that moves a single byte

SHORT = "short"  # only the first byte is moved
GOES_ON = frozenset({"connect"})


class Fault(NamedTuple):
    """`what`: the name of an errno or signal, "MemoryError", "SSLError", "SSLWantReadError", "short"; `use`: from 1 on.

    `lasting`: from that use on.
    """

    call: str
    what: str
    use: int
    lasting: bool = False


def _error(what: str) -> Exception:
    if what == "MemoryError":
        return MemoryError()
    if what == "SSLWantReadError":
        return _named(ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "The operation did not complete (read)"), None)
    if what == "SSLError":
        return _named(ssl.SSLError(ssl.SSL_ERROR_SSL, "[SSL: INTERNAL_ERROR] internal error"), "INTERNAL_ERROR")
    number = getattr(errno, what)
    return OSError(number, os.strerror(number))


def _named(error: ssl.SSLError, reason: str | None) -> ssl.SSLError:
    """As the module makes it."""
    vars(error).update(library="SSL", reason=reason)
    return error


class Calls:
    """The calls of this process, from `install()` on.

    `struck` is told the phase in which the fault is met: "start", in the handshake "handshake", after it "tls".
    """

    def __init__(self, fault: Fault | None, struck: Callable[[str], None]) -> None:
        self.uses: Counter[str] = Counter()
        self._phase = "start"
        self._struck = struck
        self._fault = fault
        self._ends: dict[tuple[int, int], str] = {}  # of the process, by what they are
        for fd, name in enumerate(("stdin", "stdout", "stderr")):
            self._ends.setdefault(_identity(fd), name)

    def install(self) -> None:
        """Wrap everything, in this process and for good."""
        on_one: dict[str, Shortened] = {
            "read": lambda fd, size: (fd, 1),
            "readv": lambda fd, buffers: (fd, [memoryview(buffers[0])[:1]]),
            "write": lambda fd, data: (fd, memoryview(data)[:1]),
            "writev": lambda fd, buffers: (fd, [memoryview(buffers[0])[:1]]),
        }
        on_two: dict[str, Shortened] = {
            "splice": lambda source, sink, size, *rest: (source, sink, 1, *rest),
            "sendfile": lambda sink, source, offset, size: (sink, source, offset, 1),
        }
        on_sockets: dict[str, Shortened | None] = {
            "recv": lambda sock, size, *flags: (sock, 1, *flags),
            "recv_into": lambda sock, buffer, size=0, *flags: (sock, buffer, 1, *flags),
            "send": lambda sock, data, *flags: (sock, memoryview(data)[:1], *flags),
            "sendmsg": lambda sock, buffers, *rest: (sock, [memoryview(buffers[0])[:1]], *rest),
            "connect": None,
            "setsockopt": None,
        }
        for name, shortened in on_one.items():
            self._wrap(os, name, lambda fd, *_: self._name(fd), shortened)
        for name, shortened in on_two.items():
            if hasattr(os, name):
                order = -1 if name == "sendfile" else 1  # the sink comes first
                self._wrap(os, name, partial(self._owner_of_two, order), shortened)
        for name, shorter in on_sockets.items():
            self._wrap(socket.socket, name, self._owner_of_socket, shorter)
        self._install_poll()
        self._install_tls()

    def end(self) -> None:
        """Let everything work from here on."""
        self._fault = None

    def _install_poll(self) -> None:
        """What the loop of a pipe waits in."""
        real = select.poll

        class Poll:
            """The real class has no name to inherit from."""

            def __init__(self) -> None:
                self.inner = real()

            def poll(self, timeout: int | None = None) -> list[tuple[int, int]]:
                return self.inner.poll(timeout)

            def __getattr__(self, name: str) -> Any:
                return getattr(self.inner, name)

        self._wrap(Poll, "poll", lambda *_: "loop", None)
        select.poll = Poll  # type: ignore[assignment,misc]

    def _install_tls(self) -> None:
        class Tls(ssl.SSLObject):
            pass

        self._wrap(Tls, "do_handshake", lambda *_: "tls", None)
        self._wrap(Tls, "read", lambda *_: "tls", lambda tls, size=1024, *buffer: (tls, 1, *buffer))
        self._wrap(Tls, "write", lambda *_: "tls", lambda tls, data: (tls, memoryview(data)[:1]))
        self._wrap(Tls, "unwrap", lambda *_: "tls", None)
        real_wrap, real_bio = ssl.SSLContext.wrap_bio, ssl.MemoryBIO

        class Bio:
            """The real class cannot be inherited from."""

            def __init__(self) -> None:
                self.inner = real_bio()

            def read(self, size: int = -1) -> bytes:
                return self.inner.read(size)

            def write(self, data: Any) -> int:
                return self.inner.write(data)

            def __getattr__(self, name: str) -> Any:
                return getattr(self.inner, name)

        def wrap_bio(context: ssl.SSLContext, incoming: Any, outgoing: Any, *rest: Any, **more: Any) -> ssl.SSLObject:
            return real_wrap(context, incoming.inner, outgoing.inner, *rest, **more)

        self._wrap(Bio, "read", lambda *_: "bio", None)
        self._wrap(Bio, "write", lambda *_: "bio", None)
        ssl.MemoryBIO = Bio  # type: ignore[assignment,misc]
        ssl.SSLContext.sslobject_class = Tls
        ssl.SSLContext.wrap_bio = wrap_bio  # type: ignore[method-assign,assignment]

    def _wrap(
        self,
        place: Any,
        name: str,
        owner: Callable[..., str | None],
        shortened: Shortened | None,
    ) -> None:
        real = getattr(place, name)

        def call(*arguments: Any, **more: Any) -> Any:
            who = owner(*arguments)
            what = None if who is None else self._meet(f"{who}.{name}")
            if what is None:
                return real(*arguments, **more)
            if what == SHORT:
                assert shortened is not None
                return real(*shortened(*arguments), **more)
            if what.startswith("SIG"):
                os.kill(os.getpid(), getattr(signal, what))
                return real(*arguments, **more)
            if name in GOES_ON:
                with contextlib.suppress(BlockingIOError):
                    real(*arguments, **more)
            raise _error(what)

        setattr(place, name, call)

    def _meet(self, call: str) -> str | None:
        """What this use of a call meets, if it is not to be a real one."""
        if call == "tls.do_handshake":
            self._phase = "handshake"
        elif call.startswith("tls."):
            self._phase = "tls"
        self.uses[call] += 1
        fault = self._fault
        if fault is None or fault.call != call:
            return None
        if self.uses[call] == fault.use:
            self._struck(self._phase)
        elif self.uses[call] < fault.use or not fault.lasting:
            return None
        return fault.what

    # ---- what a call is used on

    def _owner_of_two(self, order: int, *arguments: Any) -> str:
        return "-".join([self._name(fd) for fd in arguments[:2]][::order])

    def _name(self, fd: int) -> str:
        """Which end of the process it is, the connection, or something between them."""
        socket_or_pipe = "wire" if stat.S_ISSOCK(os.fstat(fd).st_mode) else "between"
        return self._ends.get(_identity(fd), socket_or_pipe)

    def _owner_of_socket(self, sock: socket.socket, *arguments: Any) -> str | None:
        if socket.MSG_PEEK in arguments:
            return None  # whatever is wrong, the next call finds it out
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            return "wire"
        return self._ends.get(_identity(sock.fileno()))  # None: what wakes the event loop


def _identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino
