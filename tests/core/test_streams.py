"""`readable` and `writable`, on real connections.

First one contract for every kind of connection (`link`), then what does not depend on the kind, in clear text.
"""

from __future__ import annotations

import array
import asyncio
import threading
import tracemalloc
from collections.abc import Awaitable, Callable

import pytest

from cfcat import (
    AbortError,
    CancelError,
    ClosedError,
    LockError,
    LostError,
    Promise,
    Socket,
    connect,
)
from tests.core.links import BIG, Link, fact, outcome, read_all, turns, until
from tests.helpers.aio import run
from tests.helpers.peers import Peer, refusing, serve

READER_LOCKED = "This ReadableStream is currently locked to a reader."
WRITER_LOCKED = "This WritableStream is currently locked to a writer."
READER_RELEASED = "This ReadableStream reader has been released."
WRITER_RELEASED = "This WritableStream writer has been released."
WRITABLE_CLOSED = "This WritableStream has been closed."
SOCKET_CLOSED = "This socket has been closed."
READABLE_CLOSING = "This ReadableStream belongs to an object that is closing."
WRITABLE_CLOSING = "This WritableStream belongs to an object that is closing."
LOST = "Network connection lost."


async def rejection(operation: Awaitable[object], kind: type[BaseException]) -> str:
    """The reference's text of the error that an operation rejects with."""
    with pytest.raises(kind) as caught:
        await operation
    return str(getattr(caught.value, "message", caught.value))


def drain(conn: Peer) -> None:
    """Take what is on the wire, until nothing has come for a moment, or its end."""
    while not conn.quiet(0.1) and conn.recv():
        pass


# ------------------------------------------------------------------------------- the contract of all kinds


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
        read = reader.read()
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


# ------------------------------------------------------------------------------------------------- locks


def talk(script: Callable[[Peer], object], client: Callable[[Socket], Awaitable[None]]) -> None:
    """Run a client on a socket in clear text, which is closed afterwards."""

    async def main() -> None:
        with serve(script) as server:
            socket = connect(server.address)
            try:
                await client(socket)
            finally:
                await socket.close()

    run(main())


def test_api_r4_one_reader_at_a_time() -> None:
    """API-R4: a second one is refused, and so is what wants the unlocked stream."""

    async def client(socket: Socket) -> None:
        readable = socket.readable
        assert not readable.locked
        reader = readable.get_reader()
        assert readable.locked
        for attempt in (readable.get_reader, lambda: readable.get_reader(mode="byob"), readable.__aiter__):
            with pytest.raises(LockError) as caught:
                attempt()
            assert caught.value.message == READER_LOCKED
        assert await rejection(readable.cancel(), LockError) == READER_LOCKED
        assert await rejection(readable.pipe_to(socket.writable), LockError) == READER_LOCKED
        reader.release_lock()
        assert not readable.locked
        readable.get_reader()

    talk(Peer.recv_until_eof, client)


def test_api_r4_one_read_at_a_time() -> None:
    """API-R4: the second rejects, the first goes on."""

    async def client(socket: Socket) -> None:
        reader = socket.readable.get_reader()
        first = reader.read()
        assert await rejection(reader.read(), LockError) == (
            "This ReadableStream only supports a single pending read request at a time."
        )
        await socket.writable.get_writer().write(b"?")
        assert await first == b"!"

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        conn.send(b"!")

    talk(script, client)


def test_api_r5_a_reader_that_waits_cannot_be_released() -> None:
    """API-R5: it throws, and the lock stays."""

    async def client(socket: Socket) -> None:
        reader = socket.readable.get_reader()
        read = reader.read()
        with pytest.raises(LockError) as caught:
            reader.release_lock()
        assert caught.value.message == "Cannot call releaseLock() on a reader with outstanding read promises."
        assert socket.readable.locked
        await reader.cancel()
        assert await rejection(read, CancelError) == "undefined"
        reader.release_lock()

    talk(Peer.recv_until_eof, client)


def test_api_r5_a_released_reader_refuses_everything() -> None:
    """API-R5: also `closed`, whether it was awaited before or after; a second release does nothing."""

    async def client(socket: Socket) -> None:
        reader = socket.readable.get_reader(mode="byob")
        closed = reader.closed
        reader.release_lock()
        for operation in (reader.read(), reader.read_into(bytearray(1)), reader.cancel(), reader.closed, closed):
            assert await rejection(operation, ClosedError) == READER_RELEASED
        reader.release_lock()
        assert not socket.readable.locked

    talk(Peer.recv_until_eof, client)


def test_api_r6_readers_taken_after_eof_say_eof() -> None:
    """API-R6: one after the other."""

    async def client(socket: Socket) -> None:
        for _ in range(2):
            assert await read_all(socket) == b""
        await socket.readable.get_reader().closed

    talk(lambda conn: None, client)


def test_api_r7_a_waiting_read_rejects_with_the_reason_of_cancel() -> None:
    """API-R7: the message is the reason."""

    async def client(socket: Socket) -> None:
        reader = socket.readable.get_reader()
        read = reader.read()
        await reader.cancel("enough")
        assert await rejection(read, CancelError) == "enough"

    talk(Peer.recv_until_eof, client)


def test_api_r7_the_unlocked_stream_can_be_cancelled() -> None:
    """API-R7: readers taken later say EOF."""

    async def client(socket: Socket) -> None:
        await socket.opened
        await socket.readable.cancel()
        assert await socket.readable.get_reader().read() == b""

    talk(lambda conn: conn.send(b"x"), client)


def test_w5_one_writer_at_a_time() -> None:
    """W5: also for `writable.close()` and `writable.abort()`, and for a pipe."""

    async def client(socket: Socket) -> None:
        writable = socket.writable
        writer = writable.get_writer()
        assert writable.locked
        with pytest.raises(LockError) as caught:
            writable.get_writer()
        assert caught.value.message == WRITER_LOCKED
        for operation in (writable.close(), writable.abort(), socket.readable.pipe_to(writable)):
            assert await rejection(operation, LockError) == WRITER_LOCKED
        assert not socket.readable.locked
        writer.release_lock()
        assert not writable.locked
        writable.get_writer()

    talk(Peer.recv_until_eof, client)


def test_w5_a_released_writer_refuses_everything_and_its_writes_are_done() -> None:
    """W5: what was under way at the release still arrives."""

    def script(conn: Peer) -> None:
        assert conn.recv_until_eof() == b"under way"

    async def client(socket: Socket) -> None:
        writer = socket.writable.get_writer()
        closed = writer.closed
        write = writer.write(b"under way")
        writer.release_lock()
        await write
        operations = (writer.write(b"x"), writer.close(), writer.abort(), writer.closed, writer.ready, closed)
        for operation in operations:
            assert await rejection(operation, ClosedError) == WRITER_RELEASED
        assert writer.desired_size == 0
        writer.release_lock()

    talk(script, client)


# ------------------------------------------------------------------------------------------------ reading


def test_api_r8_a_byob_reader_fills_at_most_the_buffer() -> None:
    """API-R8: the rest is for the next read, be it into a buffer or not; 0 is EOF."""

    async def client(socket: Socket) -> None:
        reader = socket.readable.get_reader(mode="byob")
        buffer = bytearray(b"........")
        size = 0
        while size < 5:
            size += await reader.read_into(memoryview(buffer)[size:5])
        assert buffer == b"01234..."
        assert await reader.read() == b"56789"
        assert await reader.read_into(buffer) == 0
        assert buffer == b"01234..."

    talk(lambda conn: conn.send(b"0123456789"), client)


def test_api_r8_an_empty_buffer_is_refused() -> None:
    """API-R8: with the reference's text; a buffer that cannot be written to is one of ours."""

    async def client(socket: Socket) -> None:
        reader = socket.readable.get_reader(mode="byob")
        text = await rejection(reader.read_into(bytearray()), TypeError)
        assert text == 'You must call read() on a "byob" reader with a positive-sized TypedArray object.'
        with pytest.raises(TypeError):
            reader.read_into(b"constant")  # type: ignore[arg-type]
        reader.release_lock()

    talk(Peer.recv_until_eof, client)


def test_a_cancelled_read_into_gives_its_bytes_back() -> None:
    """As a cancelled read does."""

    async def client(socket: Socket) -> None:
        reader = socket.readable.get_reader(mode="byob")
        read = reader.read_into(bytearray(4))
        task = asyncio.create_task(outcome(read))
        await until(read.done)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        data = b""
        while len(data) < 10:
            data += await reader.read()
        assert data == b"0123456789"

    talk(lambda conn: conn.send(b"0123456789"), client)


@pytest.mark.parametrize("timeout_s", [0, 0.01])
def test_a_read_that_timed_out_leaves_the_reader_usable(timeout_s: float) -> None:
    """`wait_for`, with and without time: the lock can be released, and the next read has the data."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        conn.send(b"late")

    async def client(socket: Socket) -> None:
        reader = socket.readable.get_reader()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(), timeout_s)
        reader.release_lock()
        reader = socket.readable.get_reader()
        await socket.writable.get_writer().write(b"?")
        assert await reader.read() == b"late"

    talk(script, client)


@pytest.mark.parametrize("came", [False, True], ids=["before the chunk", "with the chunk"])
def test_a_read_that_was_undone_neither_hangs_nor_gives_its_chunk_twice(came: bool) -> None:
    """Its last waiter was cancelled, so the chunk is the next read's; awaiting the cancelled read again says so."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        conn.send(b"once")

    async def client(socket: Socket) -> None:
        reader, writer = socket.readable.get_reader(), socket.writable.get_writer()
        read = reader.read()
        task = asyncio.create_task(outcome(read))
        await turns(2)
        if came:
            await writer.write(b"?")
            await until(read.done)
        task.cancel()
        await asyncio.wait({task})
        if not came:
            await writer.write(b"?")
        again = asyncio.create_task(outcome(read))
        assert await reader.read() == b"once"
        await asyncio.wait({again}, timeout=2)
        assert again.done()
        assert again.cancelled() or again.exception() is not None

    talk(script, client)


def test_a_read_cancelled_before_its_task_ran_leaves_the_reader_usable() -> None:
    """The call was made when `read()` was called: it must be undone though nothing was awaited yet."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        conn.send(b"late")

    async def client(socket: Socket) -> None:
        await socket.opened
        reader = socket.readable.get_reader()
        task = asyncio.ensure_future(reader.read())
        task.cancel()
        await asyncio.wait({task})
        await socket.writable.get_writer().write(b"?")
        assert await reader.read() == b"late"

    talk(script, client)


def test_reads_in_a_timeout_and_in_a_task_group() -> None:
    """What asyncio has for deadlines and for doing two things at once takes reads and writes."""

    def script(conn: Peer) -> None:
        assert conn.recv_exactly(4) == b"ping"
        conn.send(b"pong")

    async def client(socket: Socket) -> None:
        reader, writer = socket.readable.get_reader(), socket.writable.get_writer()
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            read = group.create_task(outcome(reader.read()))
            group.create_task(outcome(writer.write(b"ping")))
        assert read.result() == b"pong"
        assert tuple(await asyncio.gather(reader.read(), socket.closed)) == (b"", None)

    talk(script, client)


def test_async_for_reads_to_eof_and_releases() -> None:
    """The loop holds the lock while it runs."""

    async def client(socket: Socket) -> None:
        data = b""
        async for chunk in socket.readable:
            assert socket.readable.locked
            data += chunk
        assert data == BIG
        assert not socket.readable.locked

    talk(lambda conn: conn.send(BIG), client)


def test_break_releases_the_lock_at_once() -> None:
    """What was not taken is there for the next reader."""

    async def client(socket: Socket) -> None:
        data = b""
        async for chunk in socket.readable:
            data += chunk
            break
        assert not socket.readable.locked
        assert data + await read_all(socket) == BIG

    talk(lambda conn: conn.send(BIG), client)


@pytest.mark.parametrize("keep", [True, False], ids=["error kept", "error dropped"])
async def test_an_error_ends_the_loop_and_releases_the_lock(keep: bool) -> None:
    """Code that keeps the exception, for a log or a retry, does not keep the lock with it."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        conn.reset()

    with serve(script) as server:
        socket = connect(server.address)
        await socket.writable.get_writer().write(b"?")
        errors = []
        try:
            async for _ in socket.readable:
                pass
        except LostError as error:
            if keep:
                errors.append(error)
        assert len(errors) == keep
        assert not socket.readable.locked


def test_cancelling_the_loop_releases_the_lock_and_loses_nothing() -> None:
    """As `break` does."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        conn.send(b"late")

    async def client(socket: Socket) -> None:
        async def loop() -> None:
            async for _ in socket.readable:
                pass

        task = asyncio.create_task(loop())
        await turns(3)
        assert socket.readable.locked
        task.cancel()
        await asyncio.wait({task})
        assert not socket.readable.locked
        await socket.writable.get_writer().write(b"?")
        assert await read_all(socket) == b"late"

    talk(script, client)


# ------------------------------------------------------------------------------------------------ writing


@pytest.mark.parametrize(
    "chunk",
    [
        b"\x01\x00\x02\x00",
        bytearray(b"\x01\x00\x02\x00"),
        memoryview(b"-\x01\x00\x02\x00-")[1:5],
        array.array("H", [1, 2]),
    ],
    ids=["bytes", "bytearray", "subarray", "uint16array"],
)
def test_w1_any_buffer_is_a_chunk(chunk: bytes) -> None:
    """W1: of a view only its own bytes."""

    def script(conn: Peer) -> None:
        assert conn.recv_until_eof() == b"\x01\x00\x02\x00"

    async def client(socket: Socket) -> None:
        await socket.writable.get_writer().write(chunk)

    talk(script, client)


@pytest.mark.parametrize("chunk", ["text", 7, None, True, {}, [1]], ids=str)
def test_w3_v4_anything_else_is_refused_and_the_stream_goes_on(chunk: object) -> None:
    """W3, V4: also a string."""

    def script(conn: Peer) -> None:
        assert conn.recv_until_eof() == b"fine"

    async def client(socket: Socket) -> None:
        writer = socket.writable.get_writer()
        text = await rejection(writer.write(chunk), TypeError)  # type: ignore[arg-type]
        assert text.startswith("This TransformStream is being used as a byte stream, but received an object of")
        await writer.write(b"fine")

    talk(script, client)


@pytest.mark.parametrize(("option", "start"), [(None, 1), (0, 0), (100, 100)])
async def test_o4_desired_size_counts_what_is_queued(option: int | None, start: int) -> None:
    """O4: it may be negative, no write is refused, and it is back when the writes are done."""
    with serve(Peer.recv_until_eof) as server:
        socket = connect(server.address, high_water_mark=option)
        writer = socket.writable.get_writer()
        assert writer.desired_size == start
        writes = [writer.write(b"x" * 70), writer.write(b"x" * 70)]
        assert writer.desired_size == start - 140
        await asyncio.gather(*writes)
        assert writer.desired_size == start
        await socket.close()


async def test_w11_ready_waits_for_room() -> None:
    """W11, O4: it is pending while `desired_size` is not positive; with a mark of 0 that is until the end."""
    with serve(Peer.recv_until_eof) as server:
        socket = connect(server.address)
        writer = socket.writable.get_writer()
        await writer.ready
        write = writer.write(b"x")
        ready = writer.ready
        assert not ready.done()
        await write
        await ready
        await socket.close()
        never = connect(server.address, high_water_mark=0)
        writer = never.writable.get_writer()
        await writer.write(b"x")
        ready = writer.ready
        assert not ready.done()
        await writer.close()
        await ready
        await never.close()


def test_w7_the_unlocked_stream_can_be_ended_twice() -> None:
    """W7: `writable.close()` resolves again."""

    async def client(socket: Socket) -> None:
        await socket.writable.close()
        await socket.writable.close()

    talk(Peer.recv_until_eof, client)


@pytest.mark.parametrize("reason", [None, "enough", 7])
async def test_w8_the_reason_of_abort_is_carried(reason: object) -> None:
    """W8: any object, wrapped in an AbortError; V7: `closed` has it too."""
    with serve(Peer.recv_until_eof) as server:
        socket = connect(server.address)
        writer = socket.writable.get_writer()
        write = writer.write(b"never sent")
        await writer.abort(reason)
        await socket.close()
        for operation in (write, writer.closed, socket.closed):
            with pytest.raises(AbortError) as caught:
                await operation
            assert caught.value.reason == reason
    assert server.received == b""


async def test_w9_eof_after_abort_rejects_closed() -> None:
    """W9, D2: and leaves the connection to `close()`."""
    with serve(lambda conn: None) as server:
        socket = connect(server.address)
        await socket.opened
        await socket.writable.abort("enough")
        assert await read_all(socket) == b""
        with pytest.raises(AbortError, match="enough"):
            await socket.closed
        assert server.ended is None
        await socket.close()


async def test_n7_a_write_meets_the_failed_connection_once() -> None:
    """N7: then the stream says that it is closed; reads fail each time (V2)."""
    with refusing() as port:
        socket = connect(f"127.0.0.1:{port}")
        writer, reader = socket.writable.get_writer(), socket.readable.get_reader()
        waiting = writer.write(b"x")
        text = "proxy request failed, cannot connect to the specified address"
        assert await rejection(waiting, ConnectionError) == text
        assert await rejection(writer.closed, ConnectionError) == text
        assert await rejection(writer.write(b"x"), ClosedError) == WRITABLE_CLOSED
        for _ in range(2):
            assert await rejection(reader.read(), ConnectionError) == text
        assert await rejection(reader.closed, ConnectionError) == text


# --------------------------------------------------------------------------------------------------- pipes


async def two(
    source: Callable[[Peer], object], target: Callable[[Peer], object], client: Callable[..., Awaitable[None]]
) -> None:
    """Two sockets in clear text, closed afterwards."""
    with serve(source) as left, serve(target) as right:
        sockets = connect(left.address), connect(right.address)
        try:
            await client(*sockets)
        finally:
            await asyncio.gather(*(socket.close() for socket in sockets))


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


# ---------------------------------------------------------------------------------------- while closing


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
