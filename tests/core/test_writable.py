"""`writable` in clear text: its lock, its writers, and what they may write."""

from __future__ import annotations

import array
import asyncio

import pytest

from cfcat import (
    AbortError,
    ClosedError,
    LockError,
    Socket,
    connect,
)
from tests.helpers.links import read_all
from tests.helpers.peers import Peer, refusing, serve
from tests.helpers.streams import (
    WRITABLE_CLOSED,
    WRITER_LOCKED,
    WRITER_RELEASED,
    rejection,
    talk,
)

# -------------------------------------------------------------------------------------------------- locks


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
