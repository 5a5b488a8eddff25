"""Receiving: the non-blocking path on every kind of connection, and both ways through the kernel alone.

`take_into` does what `read` does; `receive_by` and `send_by` let the kernel do it, where the bytes are those on the
wire. The same bytes, ends, errors and counts come of it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable

import pytest

from cfcat import ClosedError, LostError, Socket, TruncatedError, connect
from tests.helpers.links import BIG, Link, called, fact, outcome, take, take_all, turns, until
from tests.helpers.peers import Peer, serve

# ------------------------------------------------------------------------------------------------- receiving


async def test_everything_can_be_taken_to_eof(link: Link) -> None:
    """The bytes of the peer, then 0, again and again; the streams and the socket have ended as by reading."""
    with link.serve(lambda conn: conn.send(BIG)) as server:
        socket = await link.connect(server)
        await socket.opened
        reader = socket.readable.get_reader()
        assert await take_all(socket.readable) == BIG
        assert await take(socket.readable) == b""
        assert await reader.read() == b""
        await reader.closed
        await socket.closed  # EOF counts: it has ended our side too (H1)
    assert server.ended == link.eof


async def test_taking_and_reading_may_take_turns(link: Link) -> None:
    """Nothing is kept back by either; also what a cancelled read gives back is taken first."""
    said = threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"first")
        conn.wait(said)
        conn.send(b"second")

    with link.serve(script) as server:
        socket = await link.connect(server)
        reader = socket.readable.get_reader()
        await socket.opened
        reading = asyncio.ensure_future(reader.read())
        await until(lambda: socket.readable.read is None and socket.moved_bytes)
        reading.cancel()
        await turns(2)
        assert await take(socket.readable, 2) == b"fi"
        assert await take(socket.readable) == b"rst"
        said.set()
        assert await reader.read() == b"second"
        assert await take(socket.readable) == b""
        await socket.closed


async def test_watching_reads_nothing(plain: Link) -> None:
    """API-R3: what has come stays with the kernel until it is taken, no more of it than fits."""
    with plain.serve(lambda conn: conn.send(b"0123456789")) as server:
        socket = await plain.connect(server)
        await socket.opened
        await called(socket.readable)
        await called(socket.readable)
        assert socket.moved_bytes == 0
        assert await take(socket.readable, 4) == b"0123"
        assert socket.moved_bytes == 4
        socket.abort()


async def test_a_reset_is_found_after_the_data(link: Link) -> None:
    """LostError from the call that would be next, and from every one after it, as from a read."""
    arrived, gone = threading.Event(), threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"data")
        conn.wait(arrived)
        conn.reset()
        gone.set()

    with link.serve(script) as server:
        socket = await link.connect(server)
        reader = socket.readable.get_reader()
        await socket.opened
        assert await take(socket.readable) == b"data"
        arrived.set()
        await fact(gone)
        for _ in range(2):
            with pytest.raises(LostError):
                await take(socket.readable)
        with pytest.raises(LostError):
            await reader.read()
        with pytest.raises(LostError):
            await socket.closed


async def test_truncation_is_an_error_after_the_data(link: Link) -> None:
    """T7: a FIN without close_notify. In clear text it is the end."""

    def script(conn: Peer) -> None:
        conn.send(BIG)
        conn.end()

    with link.serve(script) as server:
        socket = await link.connect(server)
        await socket.opened
        data = bytearray()
        try:
            while chunk := await take(socket.readable):
                data += chunk
            assert not link.tls
        except TruncatedError:
            assert link.tls
        assert data == BIG
        await socket.close()


@pytest.mark.parametrize("end", [Socket.abort, Socket.close], ids=["abort", "close"])
async def test_who_watches_is_told_of_the_end(link: Link, end: Callable[[Socket], object]) -> None:
    """Nothing more comes: the callback comes once more, and taking says why."""

    def script(conn: Peer) -> None:
        conn.send(b"hello")
        conn.hang()

    with link.serve(script) as server:
        socket = await link.connect(server)
        await socket.opened
        assert await take(socket.readable) == b"hello"  # the peer's handshake is over too
        taking = asyncio.ensure_future(take(socket.readable))
        await turns(3)
        end(socket)
        with pytest.raises(ClosedError):
            await taking
        await socket.close()
        server.release()


async def test_who_watches_is_told_of_what_comes_after_our_end(link: Link) -> None:
    """A watcher stays until it is taken away, also where the end of TLS wakes it."""

    def script(conn: Peer) -> None:
        conn.recv_until_eof()
        conn.send(b"bye")

    heard, buffer = bytearray(), memoryview(bytearray(100))

    with link.serve(script) as server:
        socket = await link.connect(server)
        await socket.opened

        def look() -> None:
            heard.extend(buffer[: socket.readable.take_into(buffer) or 0])

        socket.readable.watch(look)
        await socket.writable.get_writer().close()
        await until(lambda: heard == b"bye")
        socket.readable.watch(None)
        socket.abort()


async def test_who_does_not_watch_any_more_is_not_called(certs_link: Link) -> None:
    """Not even where the end of TLS was about to wake it."""
    with certs_link.serve(lambda conn: conn.recv_until_eof()) as server:
        socket = await certs_link.connect(server)
        await socket.opened
        calls: list[None] = []
        socket.readable.watch(lambda: calls.append(None))
        socket.writable.get_writer().close()
        await turns(1)  # our end is on its way
        socket.readable.watch(None)
        await turns(3)
        assert calls == []
        socket.abort()


# ------------------------------------------------------------------------------------------ within the kernel


def never(fd: int) -> int:
    raise AssertionError("called")


async def test_tls_bytes_are_never_moved_by_the_kernel(certs_link: Link) -> None:
    """Under TLS wire bytes differ from data, so splice() is not called."""
    with certs_link.serve(lambda conn: conn.send(b"data")) as server:
        socket = await certs_link.connect(server)
        await socket.opened
        await called(socket.readable)
        assert socket.readable.receive_by(never) is None
        assert socket.writable.send_by(never) is None
        assert await take_all(socket.readable) == b"data"
        await socket.closed


@pytest.fixture(params=["tls13", "upgraded12"])
def certs_link(request: pytest.FixtureRequest, certs: object) -> Link:
    """Two kinds with TLS."""
    return Link(request.param, certs)  # type: ignore[arg-type]


async def test_the_kernel_moves_what_is_on_the_wire(plain: Link) -> None:
    """Both ways, counted; the end is read as any other."""
    with plain.serve(lambda conn: conn.send(conn.recv_exactly(4))) as server:
        socket = await plain.connect(server)
        await socket.opened
        there, back = socket.writable, socket.readable
        assert there.send_by(lambda fd: os.write(fd, b"ping")) == 4
        read = bytearray()

        def move(fd: int) -> int:
            data = os.read(fd, 3)
            read.extend(data)
            return len(data)

        while len(read) < 4:
            await called(back)
            back.receive_by(move)
        assert read == b"ping"
        assert socket.moved_bytes == 8
        await called(back)
        with pytest.raises(BlockingIOError):  # 0 may be EOF, or not: who takes finds out
            back.receive_by(move)
        assert await take(back) == b""
        await socket.closed


async def test_queued_writes_go_before_what_the_kernel_sends(plain: Link) -> None:
    """W4: while something waits, only the queue helps."""
    go = threading.Event()

    def script(conn: Peer) -> None:
        conn.wait(go)
        conn.recv_until_eof()

    with plain.serve(script) as server:
        socket = await plain.connect(server)
        await socket.opened
        written = socket.writable.get_writer().write(BIG * 8)
        with pytest.raises(BlockingIOError):
            socket.writable.send_by(never)
        go.set()
        await written
        assert socket.writable.send_by(lambda fd: os.write(fd, b"behind")) == 6
        await socket.close()
    assert server.received == BIG * 8 + b"behind"


async def test_what_has_been_salvaged_is_not_behind_what_the_kernel_has(plain: Link) -> None:
    """Row 17: a failed send has moved the answer here; it is taken before anything else, then comes the error."""
    sent, gone = threading.Event(), threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"answer")
        conn.wait(sent)
        conn.reset()
        gone.set()

    with plain.serve(script) as server:
        socket = await plain.connect(server)
        await socket.opened
        await called(socket.readable)
        sent.set()
        await fact(gone)
        with pytest.raises(LostError):
            socket.writable.send_by(lambda fd: os.write(fd, b"x"))
        assert socket.readable.receive_by(lambda fd: 0) is None
        assert await take(socket.readable) == b"answer"
        with pytest.raises(LostError):
            await take(socket.readable)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EIO, errno.ENOBUFS])
async def test_what_the_kernel_refuses_is_no_error(plain: Link, code: int) -> None:
    """The ordinary way goes on, and the short one is not tried again."""
    tried = 0

    def refuse(fd: int) -> int:
        nonlocal tried
        tried += 1
        raise OSError(code, os.strerror(code))

    with plain.serve(lambda conn: conn.send(conn.recv_exactly(4))) as server:
        socket = await plain.connect(server)
        await socket.opened
        for _ in range(3):
            assert socket.writable.send_by(refuse) is None
            assert socket.readable.receive_by(refuse) is None
        assert socket.writable.offer(memoryview(b"ping")) is None
        assert await take_all(socket.readable) == b"ping"
        await socket.closed
    assert tried == 1


async def test_the_other_descriptors_failure_is_not_the_connections(plain: Link) -> None:
    """EPIPE in receiving is that of the pipe: it passes, and the socket is as it was."""

    def broken(fd: int) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    with plain.serve(lambda conn: conn.send(b"data")) as server:
        socket = await plain.connect(server)
        await socket.opened
        with pytest.raises(BrokenPipeError):
            socket.readable.receive_by(broken)
        assert await take_all(socket.readable) == b"data"
        await socket.closed


async def test_before_opened_there_is_nothing_to_move() -> None:
    """Neither way, and no error."""
    with serve(lambda conn: conn.send(b"data")) as server:
        socket = connect(server.address)
        assert socket.readable.take_into(memoryview(bytearray(1))) is None
        assert socket.readable.receive_by(lambda fd: 0) is None
        assert socket.writable.send_by(lambda fd: 0) is None
        assert await take_all(socket.readable) == b"data"
        await socket.closed


async def test_whoever_reads_goes_on_in_the_turn_in_which_the_chunk_came() -> None:
    """A round trip takes a turn less of the loop."""
    with serve(lambda conn: conn.send(b"data")) as server:
        socket = connect(server.address)
        read = socket.readable.get_reader().read()
        task = asyncio.create_task(outcome(read))
        await until(read.done)
        assert task.done()
        socket.abort()


async def test_a_watcher_is_called_after_our_end_too(link: Link) -> None:
    """Ending our side looks for an error of TLS that a read must get; a watcher stays registered all the same."""

    def script(conn: Peer) -> None:
        conn.recv_until_eof()
        conn.send(b"late")

    with link.serve(script) as server:
        socket = await link.connect(server, allow_half_open=True)
        await socket.opened
        event, buffer = asyncio.Event(), memoryview(bytearray(10))
        socket.readable.watch(event.set)
        await socket.writable.get_writer().close()
        while (size := socket.readable.take_into(buffer)) is None:
            event.clear()
            await event.wait()
        assert bytes(buffer[:size]) == b"late"
        await socket.close()
