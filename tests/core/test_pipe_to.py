"""`pipe_to()`: cancelling, and errors both ways."""

from __future__ import annotations

import asyncio
import threading

import pytest

from cfcat import LostError, connect
from tests.core.links import turns
from tests.helpers.peers import Peer, serve


async def test_cancelling_stops_a_pipe_and_loses_nothing() -> None:
    """Both locks are free when the wait returns, nothing more moves by itself, and the next pipe goes on."""
    go = threading.Event()

    def talk(conn: Peer) -> None:
        conn.send(b"before ")
        conn.wait(go)
        conn.send(b"after")
        conn.end()
        conn.recv_until_eof()

    with serve(talk) as source, serve(Peer.recv_until_eof) as sink:
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

    def talk(conn: Peer) -> None:
        conn.wait(go)
        conn.send(b"late")
        conn.recv_until_eof()

    up = threading.Event()

    def break_off(conn: Peer) -> None:
        conn.wait(up)
        conn.reset()

    with serve(talk) as source, serve(break_off) as sink:
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
