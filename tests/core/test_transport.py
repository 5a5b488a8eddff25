"""What both directions share: whether the kernel can move bytes by itself, and how a broken connection is told."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable

import pytest

from cfcat.core.transport import CANNOT_JOIN, Transport, lost_by
from cfcat.errors import LostError, SocketError

BROKEN = (errno.EPIPE, errno.ECONNRESET, errno.ETIMEDOUT, errno.ENETUNREACH, errno.EHOSTUNREACH)


class Losing(Transport):
    """It notes the errors that a direction finds; nothing else is asked of it here."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self.losses: list[SocketError] = []

    def lose(self, error: SocketError) -> None:
        self.losses.append(error)

    def wake_reader(self) -> None:
        raise AssertionError

    @property
    def resets_at_close(self) -> bool:
        raise AssertionError

    def about_to_send(self) -> None:
        raise AssertionError

    def linger(self, then: Callable[[], None]) -> None:
        raise AssertionError


@pytest.mark.parametrize("code", sorted(CANNOT_JOIN), ids=errno.errorcode.__getitem__)
@pytest.mark.parametrize("sending", [True, False])
async def test_what_the_kernel_cannot_join_breaks_nothing(code: int, sending: bool) -> None:
    """It is not asked again; the ordinary way finds out what is the matter."""
    transport = Losing()
    assert transport.can_join
    transport.join_failed(OSError(code, os.strerror(code)), sending=sending)
    assert (transport.can_join, transport.losses) == (False, [])


@pytest.mark.parametrize("code", BROKEN, ids=errno.errorcode.__getitem__)
@pytest.mark.parametrize("sending", [True, False])
async def test_a_connection_that_broke_while_joined_is_lost(code: int, sending: bool) -> None:
    """The error says whether our bytes were on their way; the kernel may go on to join others."""
    transport = Losing()
    cause = OSError(code, os.strerror(code))
    transport.join_failed(cause, sending=sending)
    (lost,) = transport.losses
    assert isinstance(lost, LostError)
    assert (lost.sending, lost.__cause__) == (sending, cause)
    assert transport.can_join


async def test_a_transport_begins_with_nothing() -> None:
    """In clear text, with nothing received: the last arrival is longer ago than any silence."""
    transport = Losing()
    assert (transport.sock, transport.lost, transport.is_open, transport.moved_bytes) == (None, None, False, 0)
    assert transport.codec.clear_in
    assert transport.codec.clear_out
    assert transport.loop.time() - transport.received_s == float("inf")


def test_a_loss_has_the_words_of_the_system() -> None:
    """Of a real reset; a connection that the peer has reset says so."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        conn = socket.create_connection(listener.getsockname())
        with conn, listener.accept()[0] as peer:
            peer.sendall(b"unread")
            assert conn.recv(1, socket.MSG_PEEK) == b"u"
            conn.close()  # with bytes unread: a reset
            with pytest.raises(ConnectionResetError) as caught:
                peer.recv(1)
    lost = lost_by(caught.value, sending=False)
    assert (lost.message, lost.detail) == ("Network connection lost.", "connection reset by peer")
    assert not lost.sending
    assert lost.__cause__ is caught.value
