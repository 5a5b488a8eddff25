"""A socket of the operating system that tells somebody what passes: every byte on the wire, and every end.

It stands in place of the socket itself, so that whoever sends and receives knows nothing of it. A capture is made so.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from cfcat.core.codec import Buffer

if TYPE_CHECKING:
    import ssl

__all__ = ["Capture", "Passing", "WatchedSocket", "disguise", "hiding", "holding"]

RESET = frozenset({errno.ECONNRESET, errno.EPIPE})


class Passing(Protocol):
    """Who is told of one connection. It must neither block nor raise."""

    def sent(self, data: Buffer) -> None:
        """The kernel has taken these bytes."""

    def received(self, data: Buffer) -> None:
        """The kernel has given these bytes."""

    def ended(self, *, by_us: bool) -> None:
        """A FIN was sent, or found."""

    def reset(self, *, by_us: bool) -> None:
        """The connection was reset, or found to be."""

    def begin_handshake(self, context: ssl.SSLContext) -> None:
        """TLS begins. The keys are those of this context's connections."""

    def end_handshake(self) -> None:
        """It is done, or has failed."""

    def forget_keys(self) -> None:
        """The keys that have come and were not told yet are nobody's business."""


class Capture(Protocol):
    """Who is told of connections, `SocketOptions.capture`."""

    def __call__(self, local: Any, remote: Any, *, accepted: bool) -> Passing:
        """A connection is up: its ends, as the socket module has them. `accepted`: the other end has made it."""


class WatchedSocket(socket.socket):
    """Takes the place of a connected socket, and owns its descriptor from now on.

    Raises OSError where that was reset in the moment that it was made; it is left as it is then.
    """

    __slots__ = ("_is_over", "_is_reset", "_resets", "passing", "shown")

    def __init__(self, sock: socket.socket, capture: Capture, *, accepted: bool) -> None:
        local, remote = sock.getsockname(), sock.getpeername()
        super().__init__(fileno=sock.detach())
        self.setblocking(False)
        self.passing = capture(local, remote, accepted=accepted)
        self.shown = memoryview(b"")  # in place of the next bytes that are sent
        self._is_over = False  # nothing more will be told
        self._is_reset = False  # by the peer, as the kernel has told; what came before may still be unread
        self._resets = False  # close() will

    def send(self, data: Any, flags: int = 0, /) -> int:
        """As the socket's own; what the kernel took has been sent."""
        try:
            count = super().send(data, flags)
        except (ConnectionResetError, BrokenPipeError):
            self._was_reset()
            raise
        self.passing.sent((self.shown or memoryview(data).cast("B"))[:count])
        self.shown = self.shown[count:]
        return count

    def recv(self, limit: int, flags: int = 0, /) -> bytes:
        """As the socket's own."""
        try:
            data = super().recv(limit, flags)
        except ConnectionResetError:
            self._was_reset()
            raise
        if not flags & socket.MSG_PEEK:
            self._received(data)
        return data

    def recv_into(self, buffer: Any, size: int = 0, flags: int = 0, /) -> int:
        """As the socket's own."""
        try:
            count = super().recv_into(buffer, size, flags)
        except ConnectionResetError:
            self._was_reset()
            raise
        self._received(memoryview(buffer).cast("B")[:count])
        return count

    def _received(self, data: Buffer) -> None:
        if data:
            self.passing.received(data)
        elif self._is_reset:
            self._was_reset()
        elif not self._is_over:
            self.passing.ended(by_us=False)

    def _was_reset(self) -> None:
        if not self._is_over:
            self._is_over = True
            self.passing.reset(by_us=False)

    def getsockopt(self, *args: Any) -> Any:
        """As the socket's own; whoever asks for the error is the only one to learn of it."""
        value = super().getsockopt(*args)
        if args == (socket.SOL_SOCKET, socket.SO_ERROR):
            self._is_reset |= value in RESET
        return value

    def setsockopt(self, *args: Any) -> None:
        """As the socket's own; a linger of no time makes close() a reset."""
        super().setsockopt(*args)
        if args[:2] == (socket.SOL_SOCKET, socket.SO_LINGER):
            self._resets = True

    def shutdown(self, how: int, /) -> None:
        """As the socket's own."""
        super().shutdown(how)
        if how != socket.SHUT_RD:
            self.passing.ended(by_us=True)

    def close(self) -> None:
        """As the socket's own; with bytes unread the kernel makes a reset of it."""
        from cfcat.core.hangups import pending_bytes  # lazy: most sockets are not watched

        resets = self._resets or (self.fileno() >= 0 and pending_bytes(self) > 0)
        super().close()
        if self._is_reset:
            self._was_reset()
        if self._is_over:
            return
        self._is_over = True
        if resets:
            self.passing.reset(by_us=True)
        else:
            self.passing.ended(by_us=True)


def disguise(sock: socket.socket, shown: Buffer) -> None:
    """Let what is sent next be told as `shown`, which has the same length."""
    if isinstance(sock, WatchedSocket):
        sock.shown = memoryview(shown).cast("B")


@contextlib.contextmanager
def holding(sock: socket.socket | None, context: ssl.SSLContext) -> Iterator[None]:
    """A handshake in this block: what passes can be read once it is done."""
    if not isinstance(sock, WatchedSocket):
        yield
        return
    sock.passing.begin_handshake(context)
    try:
        yield
    finally:
        sock.passing.end_handshake()


@contextlib.contextmanager
def hiding(sock: socket.socket) -> Iterator[None]:
    """A handshake in this block: what passes cannot be read."""
    try:
        yield
    finally:
        if isinstance(sock, WatchedSocket):
            sock.passing.forget_keys()
