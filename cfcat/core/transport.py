"""What both directions of a connection share: the OS socket, the codec, and the facts that each needs of the other.

`Wire` is the one transport there is; `Sending` and `Receiving` know it as a `Transport`, because it is made of them.
"""

from __future__ import annotations

import errno
import math
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable

from cfcat.core.codec import Codec, PlainCodec
from cfcat.core.loop import Loop
from cfcat.errors import LOST, LostError, SocketError, reason_of

__all__ = ["CANNOT_JOIN", "TURN_BYTES", "Transport", "lost_by"]

# Bytes moved in one turn before other callbacks of the loop get theirs.
TURN_BYTES = 1024 * 1024
# What splice(2) and sendfile(2) answer where two descriptors cannot be joined, by their kind, an old kernel, a sandbox;
# and where it is not the socket that failed. Sending and receiving in the ordinary way finds out.
CANNOT_JOIN = frozenset(
    {errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP}
    | {errno.EBADF, errno.EIO, errno.EISDIR, errno.ESPIPE, errno.EOVERFLOW, errno.ENOMEM, errno.ENOBUFS}
)


class Transport(ABC):
    """The connection, as one of its directions knows it. Everything is set by `Wire`, but where it says otherwise.

    `sock`: connected and non-blocking; None before and after. `is_open`: may the application's bytes move?
    `lost`: why reads fail, once all that is here has been read.
    """

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.sock: socket.socket | None = None
        self.codec: Codec = PlainCodec()
        self.is_open = False
        self.lost: BaseException | None = None
        self.sent_bytes = 0  # on the wire, as all counts; by the handshake, and by `Sending`
        self.can_join = True  # until the kernel tells a direction that it cannot
        self.received_s = -math.inf  # when bytes, or the end, last came since the handshake; set by `Receiving`
        self.peer_has_ended = False  # its EOF was read; set by `Receiving`
        self.received_bytes = 0  # by the handshake, and by `Receiving`
        self.notes_arrivals = False  # is `about_to_send` to be called?

    @property
    def moved_bytes(self) -> int:
        """How much went over the wire, either way."""
        return self.sent_bytes + self.received_bytes

    @abstractmethod
    def lose(self, error: SocketError) -> None:
        """A direction has found the connection broken."""

    @abstractmethod
    def wake_reader(self) -> None:
        """Ending our side may have found a TLS error that the reader must get."""

    @property
    @abstractmethod
    def resets_at_close(self) -> bool:
        """Would closing now make the kernel send a reset, over what the peer has not read yet?"""

    @abstractmethod
    def about_to_send(self) -> None:
        """Note how much has come: it came before the bytes that are about to be sent, so it is no answer to them."""

    @abstractmethod
    def linger(self, then: Callable[[], None]) -> None:
        """All is sent, the end too: give the peer a moment to end as well."""

    def join_failed(self, error: OSError, *, sending: bool) -> None:
        """The kernel did not move bytes by itself: it cannot, or the connection is broken."""
        if error.errno in CANNOT_JOIN:
            self.can_join = False
        else:
            self.lose(lost_by(error, sending=sending))


def lost_by(error: BaseException, *, sending: bool) -> LostError:
    """The LostError for what a system call raised; `sending`: were bytes of ours on their way?"""
    lost = LostError(LOST, reason_of(error), sending=sending)
    lost.__cause__ = error
    return lost
