"""`pipe_to()`: copying, cancelling, and errors both ways."""

from __future__ import annotations

import asyncio
import threading

import pytest

from cfcat import (
    ClosedError,
    LostError,
    Socket,
    connect,
)
from tests.helpers.aio import run
from tests.helpers.links import BIG, turns
from tests.helpers.peers import Peer, serve
from tests.helpers.streams import (
    LOST,
    WRITABLE_CLOSING,
    rejection,
    talk,
    two,
)


def test_api_r10_a_pipe_copies_to_eof_and_closes_its_destination() -> None:
    """API-R10: both streams are locked meanwhile, and free afterwards."""

    def target(conn: Peer) -> None:
        assert conn.recv_until_eof() == BIG
        assert conn.ended == "eof"

    async def client(left: Socket, right: Socket) -> None:
        pipe = left.readable.pipe_to(right.writable)
        assert (left.readable.locked, right.writable.locked) == (True, True)
        await pipe
        assert (left.readable.locked, right.writable.locked) == (False, False)
        # EOF seen by a pipe does not end the source's own side, nor settle `closed`
        assert not left.closed.done()
        await left.writable.get_writer().write(b"still open")

    def source(conn: Peer) -> None:
        conn.send(BIG)
        conn.end()
        assert conn.recv_exactly(10) == b"still open"

    run(two(source, target, client))


def test_api_r10_prevent_close_leaves_the_destination_open() -> None:
    """API-R10: more may be written behind it."""

    def target(conn: Peer) -> None:
        assert conn.recv_until_eof() == b"piped, and more"

    async def client(left: Socket, right: Socket) -> None:
        await left.readable.pipe_to(right.writable, prevent_close=True)
        await right.writable.get_writer().write(b", and more")

    run(two(lambda conn: conn.send(b"piped"), target, client))


def test_api_r10_a_socket_can_be_piped_to_itself() -> None:
    """API-R10: an echo in one line."""

    def script(conn: Peer) -> None:
        conn.send(b"echo me")
        conn.end()
        assert conn.recv_until_eof() == b"echo me"

    async def client(socket: Socket) -> None:
        await socket.readable.pipe_to(socket.writable)

    talk(script, client)


def test_v25_a_pipe_whose_source_breaks_resets_its_destination() -> None:
    """Which then must not look complete."""

    def target(conn: Peer) -> None:
        assert conn.recv_exactly(4) == b"part"
        broken.set()
        conn.recv_until_eof()
        assert conn.ended == "reset"

    broken = threading.Event()

    def source(conn: Peer) -> None:
        conn.send(b"part")
        conn.wait(broken)
        conn.reset()

    async def client(left: Socket, right: Socket) -> None:
        pipe = left.readable.pipe_to(right.writable)
        assert await rejection(pipe, LostError) == LOST
        assert await rejection(right.writable.get_writer().write(b"x"), ClosedError) == WRITABLE_CLOSING
        await right.close()
        assert await rejection(right.closed, LostError) == LOST

    run(two(source, target, client))


def test_a_pipe_whose_destination_breaks_cancels_its_source() -> None:
    """Reading stops, and the operation says why."""
    ready, gone = threading.Event(), threading.Event()

    def target(conn: Peer) -> None:
        conn.wait(ready)
        conn.reset()
        gone.set()

    def source(conn: Peer) -> None:
        conn.wait(gone)
        conn.send(b"x")
        conn.recv_until_eof()

    async def client(left: Socket, right: Socket) -> None:
        await asyncio.gather(left.opened, right.opened)
        pipe = left.readable.pipe_to(right.writable)
        ready.set()
        assert await rejection(pipe, LostError) == LOST
        assert await left.readable.get_reader().read() == b""

    run(two(source, target, client))


async def test_cancelling_stops_a_pipe_and_loses_nothing() -> None:
    """Both locks are free when the wait returns, nothing more moves by itself, and the next pipe goes on."""
    go = threading.Event()

    def say(conn: Peer) -> None:
        conn.send(b"before ")
        conn.wait(go)
        conn.send(b"after")
        conn.end()
        conn.recv_until_eof()

    with serve(say) as source, serve(Peer.recv_until_eof) as sink:
        async with connect(source.address) as a, connect(sink.address) as b:
            piping = asyncio.ensure_future(a.readable.pipe_to(b.writable))
            while not b.moved_bytes:
                await turns(1)
            piping.cancel()
            with pytest.raises(asyncio.CancelledError):
                await piping
            assert not a.readable.locked
            assert not b.writable.locked
            go.set()
            await turns(20)
            assert b.moved_bytes == len(b"before ")
            await a.readable.pipe_to(b.writable)
    assert sink.received == b"before after"


@pytest.mark.parametrize("prevent_cancel", [True, False])
async def test_a_destination_that_fails_cancels_the_source(prevent_cancel: bool) -> None:
    """Unless told not to; also while the pipe waits for the source."""
    go = threading.Event()

    def say(conn: Peer) -> None:
        conn.wait(go)
        conn.send(b"late")
        conn.recv_until_eof()

    up = threading.Event()

    def break_off(conn: Peer) -> None:
        conn.wait(up)
        conn.reset()

    with serve(say) as source, serve(break_off) as sink:
        async with connect(source.address) as a:
            b = connect(sink.address)
            piping = a.readable.pipe_to(b.writable, prevent_cancel=prevent_cancel)
            await b.opened
            up.set()
            with pytest.raises(LostError):
                await b.readable.get_reader().read()
            with pytest.raises(LostError):
                await piping
            go.set()
            assert await a.readable.get_reader().read() == (b"late" if prevent_cancel else b"")


@pytest.mark.parametrize("prevent_abort", [True, False])
async def test_a_source_that_fails_aborts_the_destination(prevent_abort: bool) -> None:
    """Unless told not to: then it can still be written to."""
    up = threading.Event()

    def break_off(conn: Peer) -> None:
        conn.wait(up)
        conn.reset()

    with serve(break_off) as source, serve(Peer.recv_until_eof) as sink:
        a = connect(source.address)
        await a.opened
        up.set()
        async with connect(sink.address) as b:
            with pytest.raises(LostError):
                await a.readable.pipe_to(b.writable, prevent_abort=prevent_abort)
            writer = b.writable.get_writer()
            if prevent_abort:
                await writer.write(b"more")
            else:
                with pytest.raises(LostError):
                    await writer.closed
    assert sink.received == (b"more" if prevent_abort else b"")
