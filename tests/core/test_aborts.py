"""What breaks a connection of any kind: `abort()` of ours, and a reset of the peer's."""

from __future__ import annotations

import threading

import pytest

from cfcat import (
    AbortError,
    ClosedError,
    LostError,
)
from tests.helpers.links import BIG, Link, fact
from tests.helpers.peers import Peer
from tests.helpers.streams import (
    LOST,
    SOCKET_CLOSED,
    WRITABLE_CLOSED,
    drain,
    rejection,
)


async def test_abort_resets_the_connection(link: Link) -> None:
    """The peer must not take a part for the whole; waiting calls end, and `closed` says how much was not sent."""

    def script(conn: Peer) -> None:
        conn.send(b"ready")  # also: the server's part of the handshake is over
        conn.recv_until_eof()

    with link.serve(script) as server:
        socket = await link.connect(server)
        reader, writer = socket.readable.get_reader(), socket.writable.get_writer()
        assert await reader.read() == b"ready"
        read, write = reader.read(), writer.write(bytes(64 << 20))
        assert not write.done()
        socket.abort()
        assert await rejection(read, ClosedError) == SOCKET_CLOSED
        assert await rejection(write, ClosedError) == SOCKET_CLOSED
        with pytest.raises(ClosedError, match=r"This socket has been closed: [0-9]+ bytes were not sent"):
            await socket.closed
        await socket.close()
        await fact(server.saw_end)
    assert server.ended == "reset"


async def test_abort_of_an_idle_socket_lets_closed_resolve(link: Link) -> None:
    """Nothing was dropped: what was written has been sent."""

    def script(conn: Peer) -> None:
        conn.send(b"ready")  # also: the server's part of the handshake is over
        conn.recv_until_eof()

    with link.serve(script) as server:
        socket = await link.connect(server)
        assert await socket.readable.get_reader().read() == b"ready"
        await socket.writable.get_writer().write(b"all")
        socket.abort()
        await socket.closed
        await fact(server.saw_end)


async def test_a_reset_is_told_after_the_data(link: Link) -> None:
    """API-R9, T9, rows 16, 68: what came before is complete; then every read says so, and `closed` rejects (V5)."""

    def script(conn: Peer) -> None:
        conn.send(b"genuine")
        conn.wait(taken)
        conn.reset()

    taken = threading.Event()

    with link.serve(script) as server:
        socket = await link.connect(server)
        reader, writer = socket.readable.get_reader(), socket.writable.get_writer()
        assert await reader.read() == b"genuine"
        taken.set()
        for _ in range(2):
            assert await rejection(reader.read(), LostError) == LOST
        assert await rejection(reader.closed, LostError) == LOST
        assert await rejection(socket.closed, LostError) == LOST
        assert await rejection(writer.write(b"x"), LostError) == LOST
        assert await rejection(writer.write(b"x"), ClosedError) == WRITABLE_CLOSED
        await socket.close()


async def test_a_reset_found_by_a_write_leaves_the_answer_to_be_read(link: Link) -> None:
    """Row 17: the peer answers without reading all, and resets: its answer still counts."""
    answered = threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"ready")
        conn.recv_exactly(1)  # all that was sent is acknowledged: the answer leaves before the reset
        conn.send(b"413 too large")
        conn.reset()
        answered.set()

    with link.serve(script) as server:
        socket = await link.connect(server)
        reader, writer = socket.readable.get_reader(), socket.writable.get_writer()
        assert await reader.read() == b"ready"
        await writer.write(b"x")
        await fact(answered)
        assert await rejection(writer.write(BIG), LostError) == LOST
        assert await rejection(writer.closed, LostError) == LOST
        assert await reader.read() == b"413 too large"
        assert await rejection(reader.read(), LostError) == LOST
        assert await rejection(socket.closed, LostError) == LOST


async def test_a_reset_after_eof_is_no_error_for_readers(link: Link) -> None:
    """Row 19: the data was complete; only who still writes learns of it."""
    read_to_eof = threading.Event()
    was_reset = threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"all of it")
        link.end_data(conn)
        conn.wait(read_to_eof)
        conn.reset()
        was_reset.set()

    with link.serve(script) as server:
        socket = await link.connect(server, allow_half_open=True)
        reader, writer = socket.readable.get_reader(), socket.writable.get_writer()
        assert [await reader.read(), await reader.read()] == [b"all of it", b""]
        read_to_eof.set()
        await fact(was_reset)
        assert await rejection(writer.write(b"more"), LostError) == LOST
        assert await reader.read() == b""


async def test_writer_abort_drops_the_queue_and_shows_the_peer_nothing(link: Link) -> None:
    """W8: no EOF, no reset; the writes reject with the reason, and reading goes on."""
    aborted = threading.Event()

    def script(conn: Peer) -> None:
        conn.wait(aborted)
        drain(conn)
        assert conn.ended is None
        conn.send(b"still here")
        conn.recv_until_eof()

    with link.serve(script) as server:
        socket = await link.connect(server)
        await socket.opened
        writer = socket.writable.get_writer()
        writes = [writer.write(bytes(48 << 20)), writer.write(b"queued")]
        reason = ValueError("enough")
        await writer.abort(reason)
        for operation in (*writes, writer.closed):
            with pytest.raises(ValueError, match="enough") as caught:
                await operation
            assert caught.value is reason
        assert await rejection(writer.write(b"x"), ClosedError) == WRITABLE_CLOSED
        aborted.set()
        assert await socket.readable.get_reader().read() == b"still here"
        # V7: unlike in the reference, close() closes
        await socket.close()
        with pytest.raises(ValueError, match="enough"):
            await socket.closed
    assert server.ended != "close_notify", "it looked as if all had been sent"


async def test_no_close_notify_behind_dropped_data(link: Link) -> None:
    """V7: nothing of it was sent, so TLS could still end in order; the peer sees a bare FIN, never close_notify."""
    with link.serve(Peer.recv_until_eof) as server:
        socket = await link.connect(server)
        writer = socket.writable.get_writer()
        writer.write(b"dropped")
        await writer.abort("enough")
        await socket.opened
        await socket.close()
        with pytest.raises(AbortError, match="enough"):
            await socket.closed
    assert server.ended == "eof"
    assert link.received(server) == b""


async def test_writer_abort_takes_back_an_end_that_is_under_way(link: Link) -> None:
    """W8: a peer that got a part of the data must not be told that this was all."""
    aborted = threading.Event()

    def script(conn: Peer) -> None:
        conn.wait(aborted)
        drain(conn)
        conn.send(b"go")
        conn.recv_until_eof()

    with link.serve(script) as server:
        socket = await link.connect(server)
        await socket.opened
        writer = socket.writable.get_writer()
        writer.write(bytes(48 << 20))
        end = writer.close()
        await writer.abort("enough")
        with pytest.raises(AbortError, match="enough"):
            await end
        aborted.set()
        assert await socket.readable.get_reader().read() == b"go"
        socket.abort()
    assert server.ended == "reset", "it looked as if all had been sent"
