"""Sending: `offer`, the non-blocking path, does what `write` does on every kind of connection."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from cfcat import ClosedError, LostError, Socket, SocketError, connect
from cfcat.core.promise import CALLS_A_TURN
from tests.helpers.links import BIG, Link, called, fact
from tests.helpers.peers import Peer, serve

# --------------------------------------------------------------------------------------------------- sending


async def test_what_the_kernel_takes_at_once_needs_no_waiting(link: Link) -> None:
    """None: it is sent; the queue is empty and the next one may follow."""
    with link.serve(Peer.recv_until_eof) as server:
        socket = await link.connect(server)
        await socket.opened
        writer = socket.writable.get_writer()
        for number in range(100):
            assert socket.writable.offer(memoryview(b"%02d" % number)) is None
        assert socket.writable.queued_bytes == 0
        await writer.write(b"and a write")
        await writer.close()
        await socket.close()
    assert link.received(server) == b"".join(b"%02d" % number for number in range(100)) + b"and a write"


async def test_what_has_no_room_is_queued_as_a_write(link: Link) -> None:
    """A future, which settles when the kernel has all of it; writes that came before go first."""
    go = threading.Event()

    def script(conn: Peer) -> None:
        conn.wait(go)
        conn.recv_until_eof()

    with link.serve(script) as server:
        socket = await link.connect(server)
        await socket.opened
        writer = socket.writable.get_writer()
        written = writer.write(BIG * 8)
        offered = socket.writable.offer(memoryview(b"behind"))
        assert offered is not None
        assert not offered.done()
        go.set()
        await offered
        await written
        await socket.close()
    assert link.received(server) == BIG * 8 + b"behind"


async def offer_until_refused(socket: Socket) -> None:
    while True:  # the first may be taken before the reset is known
        if pending := socket.writable.offer(memoryview(BIG)):
            await pending


async def test_a_broken_connection_refuses_an_offer(link: Link) -> None:
    """At once where that is known, or by its future; from then on as a write would be."""
    opened, gone = threading.Event(), threading.Event()

    def script(conn: Peer) -> None:
        conn.wait(opened)
        conn.reset()
        gone.set()

    with link.serve(script) as server:
        socket = await link.connect(server)
        await socket.opened
        opened.set()
        await fact(gone)
        with pytest.raises(SocketError):
            await offer_until_refused(socket)
        with pytest.raises(SocketError):
            socket.writable.offer(memoryview(b"more"))


async def test_an_offer_that_finds_the_connection_broken_says_so(plain: Link) -> None:
    """Not None: that would be success."""
    opened = threading.Event()

    def script(conn: Peer) -> None:
        conn.wait(opened)
        conn.reset()

    with plain.serve(script) as server:
        socket = await plain.connect(server)
        await socket.opened
        opened.set()
        await called(socket.readable)  # the reset is here
        with pytest.raises(LostError):
            socket.writable.offer(memoryview(b"x"))


async def test_an_offer_after_the_end_is_refused(link: Link) -> None:
    """W7, C7: as a write."""
    with link.serve(Peer.recv_until_eof) as server:
        socket = await link.connect(server)
        await socket.opened
        writer = socket.writable.get_writer()
        await writer.close()
        with pytest.raises(ClosedError):
            socket.writable.offer(memoryview(b"late"))
        with pytest.raises(ClosedError):
            socket.writable.send_by(lambda fd: os.write(fd, b"late"))
        await socket.close()
        with pytest.raises(ClosedError):
            socket.writable.offer(memoryview(b"later"))
    assert link.received(server) == b""


async def test_writes_that_the_kernel_takes_at_once_leave_others_a_turn_now_and_then() -> None:
    """Awaiting one takes no turn of the loop; a loop of them does not starve other tasks."""
    with serve(Peer.recv_until_eof) as server:
        socket = connect(server.address)
        await socket.opened
        writer = socket.writable.get_writer()
        others = 0

        async def other() -> None:
            nonlocal others
            while True:
                others += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        for _ in range(10 * CALLS_A_TURN):
            await writer.write(b"x")
        assert others == 10
        task.cancel()
        await socket.close()
