"""A listener's connections, and sockets over them."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket as stdlib
import struct
from collections.abc import Iterator

import pytest

from cfcat import ClosedError, ConnectError, LostError, SocketOptions, UpgradeError, connect
from cfcat.core.address import parse_address
from cfcat.core.dial import Address
from cfcat.core.listen import TcpListener
from cfcat.core.sockets import Socket, adopt
from tests.core.links import BIG, open_descriptors, outcome, read_all, turns

HOSTS = {"127.0.0.1": stdlib.AF_INET, "::1": stdlib.AF_INET6}


@contextlib.contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[TcpListener]:
    listener = TcpListener(Address(HOSTS[host], (host, 0)))
    try:
        yield listener
    finally:
        listener.close()


async def accepted(listener: TcpListener, options: SocketOptions | None = None) -> Socket:
    sock = await listener.accept()
    target = parse_address(Address(sock.family, sock.getpeername()).text)
    return adopt(sock, target, options or SocketOptions(allow_half_open=True))


@pytest.mark.parametrize("host", HOSTS)
async def test_a_connection_is_accepted_and_each_end_knows_the_other(host: str) -> None:
    """What one calls remote the other calls local, as `ip:port`; `opened` needs no byte to have come."""
    with listening(host) as listener:
        theirs = connect(listener.address.text)
        ours = await accepted(listener)
        remote, local = await ours.opened
        assert (local, remote) == await theirs.opened
        assert local == listener.address.text
        await asyncio.gather(theirs.close(), ours.close())


async def test_an_accepted_socket_is_a_socket() -> None:
    """Bytes and ends both ways, more than a buffer holds; half-open where the options say so."""
    with listening() as listener:
        theirs = connect(listener.address.text, allow_half_open=True)
        ours = await accepted(listener)
        writing = theirs.writable.get_writer()
        sent = writing.write(BIG), writing.close()
        assert await read_all(ours) == BIG
        await asyncio.gather(*sent)
        answer = ours.writable.get_writer()
        sent = answer.write(BIG[::-1]), answer.close()
        assert await read_all(theirs) == BIG[::-1]
        await asyncio.gather(*sent, theirs.close(), ours.close())


async def test_an_accepted_socket_learns_of_a_reset() -> None:
    """As any other: the read rejects."""
    with listening() as listener:
        theirs = connect(listener.address.text)
        ours = await accepted(listener)
        await asyncio.gather(theirs.opened, ours.opened)
        theirs.abort()
        with pytest.raises(LostError):
            await ours.readable.get_reader().read()
        with pytest.raises(LostError):
            await ours.closed


async def test_a_client_that_is_gone_already_rejects_opened() -> None:
    """Its reset came between `accept()` and the first look at the socket; the descriptor is closed."""
    before = open_descriptors()
    with listening() as listener:
        client = stdlib.create_connection(listener.address.sockaddr[:2])
        sock = await listener.accept()
        client.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        assert select.select([sock], [], [], 5)[0]
        ours = adopt(sock, parse_address("client.test:1"), SocketOptions())
        with pytest.raises(ConnectError, match="connection reset by peer"):
            await ours.opened
    assert open_descriptors() == before


async def test_an_accepted_socket_may_be_dropped_at_once() -> None:
    """Before its first turn: the descriptor is closed all the same."""
    before = open_descriptors()
    with listening() as listener:
        with stdlib.create_connection(listener.address.sockaddr[:2], timeout=5) as theirs:
            ours = await accepted(listener)
            ours.abort()
            with pytest.raises(ClosedError):
                await ours.opened
            await turns(5)
            with pytest.raises(ConnectionResetError):
                theirs.recv(1)
    assert open_descriptors() == before


async def test_an_accepted_socket_in_clear_text_is_not_upgraded() -> None:
    """Its options are `off`, and the text is the same as for `connect()`."""
    with listening() as listener:
        theirs = connect(listener.address.text)
        ours = await accepted(listener)
        with pytest.raises(UpgradeError):
            ours.start_tls()
        await asyncio.gather(theirs.close(), ours.close())


async def test_a_cancelled_accept_loses_no_connection() -> None:
    """The next `accept()` has it."""
    with listening() as listener:
        waiting = asyncio.create_task(outcome(listener.accept()))
        await turns(2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        theirs = connect(listener.address.text)
        ours = await accepted(listener)
        await asyncio.gather(theirs.opened, ours.opened)
        await asyncio.gather(theirs.close(), ours.close())


def test_an_address_in_use_is_an_error_and_leaves_nothing_behind() -> None:
    """Said when the listener is made."""
    with listening() as listener:
        before = open_descriptors()
        with pytest.raises(OSError, match="in use"):
            TcpListener(listener.address)
        assert open_descriptors() == before
