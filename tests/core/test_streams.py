"""`readable` and `writable` on real connections: one contract for every kind of connection (`link`).

What breaks a connection is in `test_aborts`. What does not depend on its kind is in `test_readable`, `test_writable`
and `test_pipe_to`, in clear text.
"""

from __future__ import annotations

import asyncio
import threading
import tracemalloc

import pytest

from cfcat import (
    ClosedError,
    Promise,
    Socket,
    connect,
)
from tests.helpers.links import BIG, Link, fact, outcome, read_all, turns, until, watched
from tests.helpers.peers import Peer, serve
from tests.helpers.streams import (
    READABLE_CLOSING,
    SOCKET_CLOSED,
    WRITABLE_CLOSED,
    WRITABLE_CLOSING,
    rejection,
    talk,
)


async def test_what_is_written_arrives_whole_and_in_order(link: Link) -> None:
    """W4: writes queue, awaited or not, and the peer gets their bytes one after the other."""
    with link.serve(Peer.recv_until_eof) as server:
        socket = await link.connect(server)
        writer = socket.writable.get_writer()
        writes = [writer.write(BIG), writer.write(b"short"), writer.write(b"")]
        await asyncio.gather(*writes)
        await writer.write(b"last")
        await socket.close()
    assert link.received(server) == BIG + b"short" + b"last"
    assert server.ended == link.eof


async def test_what_the_peer_sends_is_read_to_eof(link: Link) -> None:
    """API-R1, API-R6: chunks of at least a byte, joined what was sent; then b"", again and again; `closed` resolves."""
    with link.serve(lambda conn: conn.send(BIG)) as server:
        socket = await link.connect(server)
        reader = socket.readable.get_reader()
        data = b""
        while chunk := await reader.read():
            data += chunk
        assert data == BIG
        assert [await reader.read(), await reader.read()] == [b"", b""]
        await reader.closed
        await socket.closed


async def test_the_end_of_writing_is_seen_and_reading_goes_on(link: Link) -> None:
    """W6, T4: a half close; the whole answer comes after it."""

    def script(conn: Peer) -> None:
        request = conn.recv_until_eof()
        assert conn.ended == link.eof
        if link.tls:
            assert conn.quiet(0.05), "servers drop their answer when a FIN follows close_notify"
        conn.send(request + BIG)

    with link.serve(script) as server:
        socket = await link.connect(server)
        writer = socket.writable.get_writer()
        writer.write(b"request")
        await writer.close()
        await writer.closed
        assert await read_all(socket) == b"request" + BIG
        await socket.closed


async def test_eof_ends_our_side_unless_half_open(link: Link) -> None:
    """H1, H3: queued writes go out whole, then our EOF; later writes are refused."""

    def script(conn: Peer) -> None:
        conn.send(b"bye")
        link.end_data(conn)
        assert conn.recv_until_eof() == BIG
        assert conn.ended == link.eof

    with link.serve(script) as server:
        socket = await link.connect(server)
        await socket.opened
        writer = socket.writable.get_writer()
        queued = writer.write(BIG)
        assert await read_all(socket) == b"bye"
        assert await rejection(writer.write(b"late"), ClosedError) == WRITABLE_CLOSED
        await queued
        await writer.closed
        await socket.closed


async def test_half_open_writing_goes_on_after_eof(link: Link) -> None:
    """H4, H5: until we end it too; `closed` is for `close()` to settle."""

    def script(conn: Peer) -> None:
        link.end_data(conn)
        assert conn.recv_until_eof() == b"after EOF" + BIG
        assert conn.ended == link.eof

    with link.serve(script) as server:
        socket = await link.connect(server, allow_half_open=True)
        assert await read_all(socket) == b""
        writer = socket.writable.get_writer()
        await writer.write(b"after EOF")
        await writer.write(BIG)
        await writer.close()
        closed = socket.closed
        await fact(server.saw_eof)
        assert not closed.done()
        await socket.close()
        await closed


async def test_both_directions_at_once(link: Link) -> None:
    """Row 24: an echo of more than all buffers hold, without a deadlock."""
    size = 8 * len(BIG)

    def script(conn: Peer) -> None:
        while chunk := conn.recv():
            conn.send(chunk)

    with link.serve(script) as server:
        socket = await link.connect(server)
        writer = socket.writable.get_writer()
        for _ in range(8):
            writer.write(BIG)
        writer.close()
        reader = socket.readable.get_reader()
        count = 0
        while chunk := await reader.read():
            count += len(chunk)
        assert count == size


async def test_cancelled_reading_leaves_writing_alone(link: Link) -> None:
    """API-R7: reads say EOF, the peer may go on sending, what we write arrives, nothing closes by itself."""

    def script(conn: Peer) -> None:
        conn.send(b"first")
        assert conn.recv_exactly(5) == b"write"
        conn.send(b"not wanted")
        assert conn.recv_exactly(4) == b"more"

    with link.serve(script) as server:
        socket = await link.connect(server)
        reader, writer = socket.readable.get_reader(), socket.writable.get_writer()
        assert await reader.read() == b"first"
        await reader.cancel("enough")
        assert await reader.read() == b""
        await reader.closed
        await writer.write(b"write")
        await writer.write(b"more")
        assert not socket.closed.done()
        await socket.close()


async def test_writing_after_the_end_is_refused(link: Link) -> None:
    """W7: and the peer sees nothing of it."""
    with link.serve(Peer.recv_until_eof) as server:
        socket = await link.connect(server)
        writer = socket.writable.get_writer()
        writer.write(b"all")
        ended = writer.close()
        assert await rejection(writer.write(b"x"), ClosedError) == WRITABLE_CLOSED
        await writer.close()  # asked for twice while under way
        await ended
        assert await rejection(writer.write(b"x"), ClosedError) == WRITABLE_CLOSED
        assert await rejection(writer.close(), ClosedError) == WRITABLE_CLOSED
        assert writer.desired_size == 0
        await socket.close()
    assert link.received(server) == b"all"


async def test_close_sends_what_is_queued_and_ends_both_directions(link: Link) -> None:
    """C1, C2, C5, V11: the peer sees our EOF behind all the data."""
    with link.serve(Peer.recv_until_eof) as server:
        socket = await link.connect(server)
        reader, writer = socket.readable.get_reader(), socket.writable.get_writer()
        write = writer.write(BIG)
        await socket.close()
        await write
        await socket.closed
        await reader.closed
        assert await rejection(writer.closed, ClosedError) == SOCKET_CLOSED
        assert (socket.readable.locked, socket.writable.locked) == (True, True)
    assert link.received(server) == BIG
    assert server.ended == link.eof


async def test_close_may_be_called_at_once_and_again(link: Link) -> None:
    """C2, C3, T3: before anything has happened, with a write behind it in the queue."""
    with link.serve(Peer.recv_until_eof) as server:
        socket = await link.connect(server)
        socket.writable.get_writer().write(b"early")
        await asyncio.gather(socket.close(), socket.close())
        await socket.close()
        await socket.opened
    assert link.received(server) == b"early"
    assert server.ended == link.eof


async def test_a_write_stays_pending_while_the_peer_does_not_read(link: Link) -> None:
    """W4, row 21: and what waits is not copied; once the peer reads, all of it arrives."""
    data = bytes(48 << 20)  # more than all buffers of the kernel

    def script(conn: Peer) -> None:
        conn.hang()
        size = 0
        while chunk := conn.recv():
            size += len(chunk)
        assert size == len(data)

    with link.serve(script) as server:
        socket = await link.connect(server)
        await socket.opened
        writer = socket.writable.get_writer()
        tracemalloc.start()
        write = writer.write(data)
        await turns(100)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 4 << 20
        assert writer.desired_size == 1 - len(data)
        assert not write.done()
        server.release()
        await write
        assert writer.desired_size == 1
        await socket.close()


async def test_nothing_is_read_that_nobody_asked_for(link: Link) -> None:
    """API-R3, row 23: the kernel's buffers fill, and the peer has to wait."""
    stalled = threading.Event()

    def script(conn: Peer) -> None:
        assert conn.fill(stall_s=0.1) < 64 << 20
        stalled.set()
        conn.send(b"the end")

    with link.serve(script) as server:
        socket = await link.connect(server)
        await socket.opened
        before = socket.moved_bytes
        await fact(stalled)
        assert socket.moved_bytes == before
        assert (await read_all(socket)).lstrip(b"\0") == b"the end"


async def test_a_cancelled_read_loses_nothing(link: Link) -> None:
    """Cancelled before the chunk comes, or with the chunk in hand: the next read has it."""
    asked = [threading.Event() for _ in range(2)]

    def script(conn: Peer) -> None:
        for event, data in zip(asked, (b"first", b"second"), strict=True):
            conn.wait(event)
            conn.send(data)

    with link.serve(script) as server:
        socket = await link.connect(server)
        reader = socket.readable.get_reader()
        task = asyncio.create_task(outcome(reader.read()))
        await turns(2)
        task.cancel()
        await asyncio.wait({task})
        asked[0].set()
        assert await reader.read() == b"first"
        read = watched(reader.read())
        task = asyncio.create_task(outcome(read))
        await turns(2)
        asked[1].set()
        await until(read.done)  # the chunk is here, and its task has not run yet
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        assert await reader.read() == b"second"
        assert await reader.read() == b""


async def test_a_cancelled_write_is_still_sent(link: Link) -> None:
    """Cancelling the wait does not take it back."""
    with link.serve(Peer.recv_until_eof) as server:
        socket = await link.connect(server)
        await socket.opened
        writer = socket.writable.get_writer()
        task = asyncio.create_task(outcome(writer.write(BIG)))
        await turns(1)
        task.cancel()
        await socket.close()
    assert link.received(server) == BIG


# --------------------------------------------------------------------------- while closing, in clear text


@pytest.mark.deadline(30)
async def test_c7_reads_and_writes_are_refused_while_closing() -> None:
    """C6, C7: a read that waits goes on until the close is done; afterwards the old writer has W7's text."""

    def script(conn: Peer) -> None:
        conn.hang()
        conn.recv_until_eof()

    with serve(script) as server:
        socket = connect(server.address)
        await socket.opened
        reader, writer = socket.readable.get_reader(), socket.writable.get_writer()
        waiting = reader.read()
        writer.write(bytes(48 << 20))
        closing = socket.close()
        await turns(10)
        assert not closing.done()
        assert await rejection(writer.write(b"x"), ClosedError) == WRITABLE_CLOSING
        assert not waiting.done()
        server.release()
        await closing
        assert await rejection(waiting, ClosedError) == SOCKET_CLOSED
        assert await rejection(reader.read(), ClosedError) == READABLE_CLOSING
        assert await rejection(writer.write(b"x"), ClosedError) == WRITABLE_CLOSED


async def test_c8_c10_streams_can_be_taken_after_close_and_refuse_to_work() -> None:
    """C8, C10: cancel and abort resolve, the end of writing does not."""
    with serve(Peer.recv_until_eof) as server:
        socket = connect(server.address)
        await socket.close()
        await socket.readable.cancel()
        assert await rejection(socket.writable.close(), ClosedError) == SOCKET_CLOSED
        await socket.writable.abort()
        reader, writer = socket.readable.get_reader(), socket.writable.get_writer()
        assert await rejection(reader.read(), ClosedError) == READABLE_CLOSING
        assert await rejection(writer.write(b"x"), ClosedError) == WRITABLE_CLOSING


def test_every_call_returns_an_operation() -> None:
    """At once, in program order, and whether or not somebody awaits it."""

    async def client(socket: Socket) -> None:
        reader, writer = socket.readable.get_reader(), socket.writable.get_writer()
        made: list[object] = [writer.write(b"x"), reader.read(), reader.closed, writer.closed, writer.ready]
        made += [reader.cancel(), writer.close(), socket.opened, socket.closed, socket.close()]
        assert all(isinstance(operation, Promise) for operation in made)

    talk(Peer.recv_until_eof, client)
