"""`wait_for()`: a socket that is ready, or the reason why there is none."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from cfcat import (
    AddressError,
    CertificateError,
    ConnectError,
    ConnectTimeout,
    EarlyEndError,
    LostError,
    Socket,
    SocketOptions,
    make_tls_context,
    wait_for,
)
from tests.helpers.certs import CertSet
from tests.helpers.links import Link, outcome, until
from tests.helpers.peers import Peer, Script, blackhole, refusing, serve

STARTS_S = 3.0


def third(script: Script) -> Script:
    """The first two connections are closed at once."""
    lock, count = threading.Lock(), iter(range(1000))

    def play(conn: Peer) -> None:
        with lock:
            number = next(count)
        if number < 2:
            conn.close()
        else:
            script(conn)

    return play


async def test_socket_that_is_ready_is_the_one_that_was_watched() -> None:
    """It is open, and what came meanwhile is there to be read."""
    with serve(third(lambda conn: conn.send(b"220 hello\r\n"))) as server:
        async with await wait_for(server.address, timeout=8) as socket:
            assert socket.opened.done()
            assert await socket.readable.get_reader().read_until() == b"220 hello\r\n"
    assert server.connections == 3


async def test_silent_server_is_ready_when_it_has_lasted(link: Link) -> None:
    """On every kind of connection that can be made at once, data goes both ways afterwards."""
    if link.upgraded:
        return

    def echo(conn: Peer) -> None:
        conn.send(conn.recv_exactly(4))
        conn.recv_until_eof()

    options = {"tls": make_tls_context(cacert=link.certs.ca), "secure_transport": "on"} if link.tls else {}
    with link.serve(echo) as server:
        socket = await wait_for(server.address, options, timeout=8)
        async with socket:
            await socket.writable.get_writer().write(b"ping")
            assert await socket.readable.get_reader().read_exactly(4) == b"ping"


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_last_error_is_raised_at_the_deadline(end: str) -> None:
    """It is a LostError, whatever the end was; a reset may come as early as the connection itself."""
    with serve(lambda conn: getattr(conn, end)()) as server:
        began = time.monotonic()
        with pytest.raises((EarlyEndError, ConnectError)) as caught:
            await wait_for(server.address, timeout=0.7)
    assert 0.7 <= time.monotonic() - began < 0.7 + STARTS_S
    assert isinstance(caught.value, LostError) or "reset" in (end, caught.value.detail)
    assert server.connections >= 2
    with refusing() as port:
        with pytest.raises(ConnectError, match="connection refused"):
            await wait_for(f"127.0.0.1:{port}", timeout=0.3)


async def test_deadline_cuts_the_first_attempt() -> None:
    """A TimeoutError then, as of any deadline."""
    with blackhole() as port:
        with pytest.raises(ConnectTimeout, match=r"not ready after 0\.2 s"):
            await wait_for(f"127.0.0.1:{port}", timeout=0.2)


async def test_certificate_may_be_exchanged(certs: CertSet) -> None:
    """One that is not trusted is tried again."""
    with serve(lambda conn: conn.start_tls(certs.server_context("expired"), may_fail=True)) as server:
        with pytest.raises(CertificateError):
            await wait_for(server.address, secure_transport="on", tls=make_tls_context(cacert=certs.ca), timeout=0.5)
    assert server.connections >= 2


async def test_what_would_fail_again_is_raised_at_once() -> None:
    """A mistake of the caller's."""
    with pytest.raises(AddressError):
        await wait_for("localhost", timeout=9)
    with pytest.raises(TypeError):
        await wait_for("localhost:1", {"secureTransport": "on"}, timeout=9)


async def test_until_looks_for_more() -> None:
    """Until it is true; what it raises of a connection, and its own timeout, are a no."""
    answers = iter((b"", b"421 busy\r\n", None, b"220 ready\r\n"))

    def script(conn: Peer) -> None:
        answer = next(answers)
        if answer is not None:
            conn.send(b"- " + answer)
        conn.recv_until_eof() if answer else conn.quiet(0.3)

    async def greets(socket: Socket) -> bool:
        reader = socket.readable.get_reader()
        try:
            async with asyncio.timeout(0.5):
                return (await reader.read_until()).startswith(b"- 220")
        finally:
            reader.release_lock()

    with serve(script) as server:
        async with await wait_for(server.address, SocketOptions(connect_timeout=5), until=greets, timeout=9):
            pass
    assert server.connections == 4


async def test_until_that_never_comes_true() -> None:
    """The deadline says so; a mistake in it is raised at once, and the socket is dropped."""

    async def never(socket: Socket) -> bool:
        return False

    async def mistaken(socket: Socket) -> bool:
        raise KeyError("greeting")

    with serve(Peer.recv_until_eof) as server:
        with pytest.raises(ConnectTimeout, match="it connects, but is not ready"):
            await wait_for(server.address, until=never, timeout=0.5)
        with pytest.raises(KeyError):
            await wait_for(server.address, until=mistaken, timeout=9)


async def test_cancelled_wait_leaves_nothing_behind() -> None:
    """The attempt under way is dropped; `run` looks for descriptors and tasks."""
    with serve(Peer.recv_until_eof) as server:
        waiting = asyncio.ensure_future(outcome(wait_for(server.address, timeout=9)))
        await until(lambda: server.connections)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
