"""`readable` in clear text: its lock, its readers, and reads that are cancelled."""

from __future__ import annotations

import asyncio

import pytest

from cfcat import (
    CancelError,
    ClosedError,
    LockError,
    LostError,
    Socket,
    connect,
)
from tests.helpers.links import BIG, outcome, read_all, turns, until, watched
from tests.helpers.peers import Peer, serve
from tests.helpers.streams import (
    READER_LOCKED,
    READER_RELEASED,
    rejection,
    talk,
)

# -------------------------------------------------------------------------------------------------- locks


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
        read = watched(reader.read_into(bytearray(4)))
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
            watched(read)
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
