"""The end of `async with connect(...)`: in order, by an exception, and cancelled (V17)."""

from __future__ import annotations

import asyncio
import threading

import pytest

from cfcat import CertificateError, ClosedError, ConnectError, LostError, connect
from cfcat.errors import AbortError
from tests.helpers.certs import CertSet
from tests.helpers.links import Link, no_descriptor_left, turns
from tests.helpers.peers import Peer, blackhole, refusing, serve

MANY_BYTES = 64 << 20  # more than any socket takes


async def test_v17_a_connection_that_never_came_about_is_raised() -> None:
    """Nobody has looked at `opened`, and what was written is lost."""
    with refusing() as port, pytest.raises(ConnectError, match="connection refused"):
        async with connect(f"127.0.0.1:{port}") as socket:
            socket.writable.get_writer().write(b"important")


async def test_v17_a_certificate_that_is_not_trusted_is_raised(certs: CertSet) -> None:
    """The block was content to write."""

    def script(conn: Peer) -> None:
        assert not conn.start_tls(certs.server_context("good"), may_fail=True)

    with serve(script) as server, pytest.raises(CertificateError):
        async with connect(server.address, secure_transport="on") as socket:
            socket.writable.get_writer().write(b"important")


async def test_v17_what_a_reset_has_cost_is_raised(link: Link) -> None:
    """The block has queued more than the peer took, and is over before the reset."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        conn.reset()

    with link.serve(script) as server, pytest.raises(LostError):
        async with await link.connect(server) as socket:
            socket.writable.get_writer().write(bytes(MANY_BYTES))


async def test_v17_all_is_sent_before_it_is_left(link: Link) -> None:
    """Leaving waits for a peer that is slow, and then there is nothing to raise."""
    go = threading.Event()

    def script(conn: Peer) -> None:
        conn.wait(go)
        conn.recv_until_eof()

    with link.serve(script) as server:
        async with await link.connect(server) as socket:
            socket.writable.get_writer().write(bytes(8 << 20))
            asyncio.get_running_loop().call_later(0.05, go.set)
    assert len(server.received) >= 8 << 20  # before an upgrade it has asked for that


async def test_v17_what_the_block_has_met_is_not_raised_again() -> None:
    """It has been caught: the block knows, and goes on."""
    with refusing() as port:
        async with connect(f"127.0.0.1:{port}") as socket:
            with pytest.raises(ConnectError):
                await socket.opened


async def test_v17_what_a_read_has_met_is_not_raised_again() -> None:
    """The same, by the reset that a read finds."""

    def script(conn: Peer) -> None:
        conn.hang()
        conn.reset()

    with serve(script) as server:
        async with connect(server.address) as socket:
            await socket.opened
            server.release()
            with pytest.raises(LostError):
                await socket.readable.get_reader().read()


@pytest.mark.parametrize("by", ["socket", "writer"])
async def test_v17_a_block_that_aborts_knows_what_it_does(by: str) -> None:
    """`closed` rejects; leaving does not."""

    def script(conn: Peer) -> None:
        conn.hang()

    with serve(script) as server:
        async with connect(server.address) as socket:
            await socket.opened
            writer = socket.writable.get_writer()
            writer.write(bytes(MANY_BYTES))
            if by == "socket":
                socket.abort()
            else:
                await writer.abort("enough")
        with pytest.raises((ClosedError, AbortError)):
            await socket.closed
        server.release()


async def test_v17_an_exception_of_the_block_is_its_own() -> None:
    """The connection is aborted, and its failure does not take the place of the block's."""
    with serve(Peer.recv_until_eof) as server:
        socket = connect(server.address)

        async def fail() -> None:
            async with socket:
                await socket.opened
                socket.writable.get_writer().write(bytes(MANY_BYTES))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        with pytest.raises(ClosedError):
            await socket.closed
    assert server.ended == "reset"


async def test_v17_a_timeout_that_strikes_while_leaving_aborts(link: Link) -> None:
    """Nothing goes on in the background: the peer sees a reset, not the rest."""

    def script(conn: Peer) -> None:
        conn.send(b"ready")
        conn.hang()
        conn.recv_until_eof()

    with no_descriptor_left(), link.serve(script) as server:
        socket = await link.connect(server)

        async def fill() -> None:
            async with socket:
                assert await socket.readable.get_reader().read() == b"ready"
                socket.writable.get_writer().write(bytes(MANY_BYTES))

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(fill(), 0.2)
        with pytest.raises(ClosedError, match="bytes were not sent"):
            await socket.closed
        server.release()
    assert server.ended == "reset"
    assert len(server.received) < MANY_BYTES


async def test_v17_leaving_a_connect_that_is_not_answered_can_be_cancelled() -> None:
    """Neither a task nor a descriptor is left; `run()` of the tests looks for tasks."""
    with no_descriptor_left(), blackhole() as port:
        socket = connect(f"127.0.0.1:{port}")

        async def write() -> None:
            async with socket:
                socket.writable.get_writer().write(b"x")

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(write(), 0.2)
        with pytest.raises(ClosedError):
            await socket.closed
        await turns(5)  # the attempt to connect is cancelled, and closes its descriptor then
