"""`read_exactly()`, `read_at_least()`, `read_until()`: reads that wait for more than one chunk."""

from __future__ import annotations

import asyncio

import pytest

from cfcat import IncompleteReadError, InjectionError, LimitError, LockError, LostError, connect
from tests.helpers.links import Link, until
from tests.helpers.peers import Peer, serve


async def test_they_take_what_they_ask_for_and_leave_the_rest(link: Link) -> None:
    """Over chunks of one byte, in clear text and TLS; what is behind a separator is for the next read."""

    def script(conn: Peer) -> None:
        for byte in b"one\ntwo\r\nsix4at least":
            conn.send(bytes([byte]))
        link.end_data(conn)
        conn.recv_until_eof()

    with link.serve(script) as server:
        async with await link.connect(server) as socket:
            reader = socket.readable.get_reader()
            assert await reader.read_until() == b"one\n"
            assert await reader.read_until(b"\r\n") == b"two\r\n"
            reader.release_lock()
            reader = socket.readable.get_reader()
            assert await reader.read_exactly(4) == b"six4"
            some = await reader.read_at_least(2)
            assert len(some) >= 2
            assert some + await reader.read_at_least(100) == b"at least"
            assert await reader.read_at_least(1) == b""


async def test_an_early_eof_raises_with_what_came() -> None:
    """It is an EOFError, as with asyncio's streams."""

    def script(conn: Peer) -> None:
        conn.send(b"par")
        conn.end()
        conn.recv_until_eof()

    for read in ("read_exactly", "read_until"):
        with serve(script) as server:
            async with connect(server.address, {"allow_half_open": True}) as socket:
                reader = socket.readable.get_reader()
                with pytest.raises(IncompleteReadError) as caught:
                    await (reader.read_exactly(5) if read == "read_exactly" else reader.read_until())
                assert isinstance(caught.value, EOFError)
                assert caught.value.partial == b"par"
                assert await reader.read() == b""


async def test_beyond_the_limit_nothing_is_taken() -> None:
    """The line and its end are at most `limit` bytes; the bytes are there for another read."""

    def script(conn: Peer) -> None:
        conn.send(b"12345\n")
        conn.recv_until_eof()

    with serve(script) as server:
        async with connect(server.address) as socket:
            reader = socket.readable.get_reader()
            with pytest.raises(LimitError):
                await reader.read_until(limit=5)
            assert await reader.read_until(limit=6) == b"12345\n"


async def test_cancelling_loses_nothing_and_a_second_read_is_refused() -> None:
    """What had come for the cancelled read is for the next one."""

    def script(conn: Peer) -> None:
        conn.send(b"abc")
        assert conn.recv_exactly(2) == b"go"
        conn.send(b"def")
        conn.recv_until_eof()

    with serve(script) as server:
        async with connect(server.address) as socket:
            reader, writer = socket.readable.get_reader(), socket.writable.get_writer()
            waiting = asyncio.ensure_future(reader.read_exactly(6))
            await until(lambda: socket.readable.returned_bytes == 3)
            with pytest.raises(LockError):
                await reader.read()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await writer.write(b"go")
            assert await reader.read_exactly(6) == b"abcdef"


async def test_an_error_comes_after_what_was_received() -> None:
    """A reset: the read fails, and the next ones have the bytes before the error."""

    def script(conn: Peer) -> None:
        conn.send(b"abc")
        assert conn.recv_exactly(2) == b"go"
        conn.reset()

    with serve(script) as server:
        socket = connect(server.address)
        reader, writer = socket.readable.get_reader(), socket.writable.get_writer()
        waiting = reader.read_exactly(6)
        await until(lambda: socket.readable.returned_bytes == 3)
        writer.write(b"go")
        with pytest.raises(LostError):
            await waiting
        assert await reader.read() == b"abc"
        with pytest.raises(LostError):
            await reader.read()


async def test_v13_what_is_left_over_is_unread_clear_text() -> None:
    """V13: an injected command behind the go-ahead is in the same chunk."""

    def script(conn: Peer) -> None:
        conn.send(b"220 go\r\nINJECTED\r\n")
        conn.recv_until_eof()

    with serve(script) as server:
        socket = connect(server.address, secure_transport="starttls")
        assert await socket.readable.get_reader().read_until() == b"220 go\r\n"
        with pytest.raises(InjectionError) as caught:
            await socket.start_tls().opened
        assert caught.value.count == len(b"INJECTED\r\n")


async def test_read_exactly_reads_nothing_ahead() -> None:
    """API-R3: what it did not ask for stays in the kernel."""

    def script(conn: Peer) -> None:
        conn.send(b"abcdef")
        conn.recv_until_eof()

    with serve(script) as server:
        async with connect(server.address) as socket:
            assert await socket.readable.get_reader().read_exactly(4) == b"abcd"
            assert socket.readable.returned_bytes == 0


async def test_text_is_no_separator_and_no_count() -> None:
    """V15: said at once, and not by what it would meet within."""
    with serve(Peer.recv_until_eof) as server:
        async with connect(server.address) as socket:
            reader = socket.readable.get_reader()
            with pytest.raises(TypeError, match=r"^a separator is bytes, not str$"):
                reader.read_until("\n")  # type: ignore[arg-type]
            with pytest.raises(TypeError, match=r"^a count is int, not str$"):
                reader.read_exactly("3")  # type: ignore[arg-type]


async def test_impossible_arguments_are_value_errors() -> None:
    """At once, from the call itself."""
    with serve(Peer.recv_until_eof) as server:
        async with connect(server.address) as socket:
            reader = socket.readable.get_reader()
            with pytest.raises(ValueError, match="cannot read -1 bytes"):
                reader.read_exactly(-1)
            with pytest.raises(ValueError, match="cannot read -1 bytes"):
                reader.read_at_least(-1)
            with pytest.raises(ValueError, match="separator is empty"):
                reader.read_until(b"")
            assert await reader.read_exactly(0) == b""
