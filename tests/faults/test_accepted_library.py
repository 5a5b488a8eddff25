"""The fault matrix for connections that come in, in the library: `listen()` in the place of `connect()`.

The tests of streams and sockets are about ends, resets, cancelling and backpressure, whoever has dialed: here they run
once more, with a peer that dials.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket as sockets
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, get_args

import pytest

from cfcat import ConnectTimeout, Listener, Socket, SocketError, TlsError, listen
from tests.core import (
    test_aborts,
    test_gathering,
    test_leaving,
    test_receiving,
    test_sending,
    test_sockets,
    test_streams,
)
from tests.core.test_client_hello import hello as client_hello
from tests.helpers.callers import calling
from tests.helpers.certs import CertSet
from tests.helpers.links import GO_AHEAD, STARTTLS, Kind, Link, open_descriptors, read_all, turns, until
from tests.helpers.peers import Peer, Script, Server
from tests.pipe.tools import until_arrived

pytestmark = pytest.mark.one_python

Test = Callable[[Link], Awaitable[None]]


class AcceptedLink(Link):
    """A kind of connection that comes in. Its options are those of one that was dialed, so that the tests fit."""

    def serve(self, script: Script) -> AbstractContextManager[Server]:
        def prepared(conn: Peer) -> None:
            if self.upgraded:
                conn.send(STARTTLS)
                assert conn.recv_until(b"\n") == GO_AHEAD
            if self.tls:
                version = ssl.TLSVersion.TLSv1_2 if self.kind.endswith("12") else ssl.TLSVersion.TLSv1_3
                conn.start_tls(self.certs.client_context(version))
            script(conn)

        return calling(prepared)

    async def connect(self, server: Server, **options: Any) -> Socket:
        if self.tls:
            options["tls"] = self.certs.server_context()
            options["secure_transport"] = "starttls" if self.upgraded else "on"
        listener = listen(server.address, {"allow_half_open": False, **options})
        await listener.start()
        socket = await listener.accept()
        listener.close()
        if self.upgraded:
            reader = socket.readable.get_reader()
            assert await reader.read_until(b"\n") == STARTTLS
            await socket.writable.get_writer().write(GO_AHEAD)
            socket = socket.start_tls()
        return socket

    def received(self, server: Server) -> bytes:
        return server.received.removeprefix(GO_AHEAD) if self.upgraded else server.received


def about_links(*modules: Any) -> list[Test]:
    """The tests that are about a connection and nothing else."""
    found = [each for module in modules for each in vars(module).values() if inspect.iscoroutinefunction(each)]
    return [each for each in found if each.__name__.startswith("test_") and list(parameters(each)) == ["link"]]


def parameters(test: Callable[..., object]) -> Any:
    return inspect.signature(test).parameters


# What is settled otherwise for a connection that comes in, by the rule that says so.
DIFFERENT = {
    test_streams.test_the_end_of_writing_is_seen_and_reading_goes_on: "I38: a FIN follows close_notify",
    test_streams.test_half_open_writing_goes_on_after_eof: "I22: both ends are the end of the connection",
    test_streams.test_writing_after_the_end_is_refused: "I2: it is open at once, so the first end is no more under way",
    test_aborts.test_no_close_notify_behind_dropped_data: "V23: the client sees a reset",
}
SAME = about_links(test_streams, test_aborts, test_sending, test_receiving, test_gathering, test_leaving, test_sockets)


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize(
    "test", [test for test in SAME if test not in DIFFERENT], ids=lambda test: test.__name__.removeprefix("test_")
)
async def test_an_accepted_connection_behaves_alike(test: Test, kind: Kind, certs: CertSet) -> None:
    """Every end of it, every error, and what came before."""
    await test(AcceptedLink(kind, certs))


@contextlib.asynccontextmanager
async def listening(certs: CertSet, **options: Any) -> AsyncIterator[Listener]:
    context = certs.server_context()
    async with listen("127.0.0.1:0", {"secure_transport": "on", "tls": context, **options}) as listener:
        yield listener


def dial(listener: Listener) -> sockets.socket:
    host, _, port = listener.local_address.rpartition(":")
    return sockets.create_connection((host, int(port)), timeout=10)


def reset(client: sockets.socket) -> None:
    client.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.parametrize("said", [b"", b"\x16", b"whole"], ids=["nothing", "a byte", "a hello"])
@pytest.mark.parametrize("end", [sockets.socket.close, reset], ids=["FIN", "RST"])
async def test_rows_18_and_62_client_that_leaves_in_the_handshake(
    certs: CertSet, said: bytes, end: Callable[[sockets.socket], None]
) -> None:
    """TlsError, by the client, on `opened` and `closed`; whoever iterates gets the next one, and nothing is left."""
    async with listening(certs) as listener:
        before = open_descriptors()
        client = dial(listener)
        client.sendall(client_hello() if said == b"whole" else said)
        accepted = await listener.accept()
        end(client)
        with pytest.raises(TlsError) as caught:
            await accepted.opened
        assert caught.value.by_client
        with pytest.raises(TlsError):
            await accepted.closed
        await until(lambda: open_descriptors() == before)
        end(dial(listener))
        with dial(listener) as plain:
            handshake = asyncio.create_task(asyncio.to_thread(shake_hands, plain, certs))
            assert (await anext(listener)).tls_info is not None
            (await handshake).close()


def shake_hands(plain: sockets.socket, certs: CertSet) -> ssl.SSLSocket:
    return certs.client_context().wrap_socket(plain, server_hostname="localhost")


async def test_row_60_client_that_speaks_clear_text(certs: CertSet) -> None:
    """What it said is told, and it gets an alert."""
    async with listening(certs) as listener, contextlib.AsyncExitStack() as stack:
        client = stack.enter_context(dial(listener))
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        accepted = await listener.accept()
        with pytest.raises(TlsError, match="peer does not speak TLS") as caught:
            await accepted.opened
        assert caught.value.said == b"GET / HTTP/1.1\r\n\r\n"


async def test_row_61_client_that_keeps_us_waiting(certs: CertSet) -> None:
    """ConnectTimeout at the deadline, and the client sees the end."""
    async with listening(certs, connect_timeout=0.1) as listener:
        with dial(listener) as client:
            client.sendall(client_hello()[:50])
            accepted = await listener.accept()
            with pytest.raises(ConnectTimeout, match=r"the TLS handshake was not complete after 0\.1 s"):
                await accepted.opened
            assert await asyncio.to_thread(received_or_reset, client) == b""


@pytest.mark.parametrize("how", [Socket.close, Socket.abort], ids=["close", "abort"])
async def test_row_59_ended_while_the_handshake_is_pending(certs: CertSet, how: Callable[[Socket], object]) -> None:
    """`opened`, reads, writes and `closed` settle once; nothing is left of it."""
    async with listening(certs) as listener:
        before = open_descriptors()
        with dial(listener) as client:
            accepted = await listener.accept()
            reading = asyncio.ensure_future(accepted.readable.get_reader().read())
            writing = asyncio.ensure_future(accepted.writable.get_writer().write(b"never sent"))
            await turns(2)
            how(accepted)
            with contextlib.suppress(OSError):  # the reset was faster
                client.sendall(b"\x16\x03")
                client.shutdown(sockets.SHUT_WR)
            results = await asyncio.gather(accepted.opened, reading, writing, accepted.closed, return_exceptions=True)
            assert all(isinstance(result, SocketError) for result in results[:3]), results
            assert await asyncio.to_thread(received_or_reset, client) == b""
        await until(lambda: open_descriptors() == before)


def received_or_reset(client: sockets.socket) -> bytes:
    """What it gets to the end, but for an alert."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := client.recv(1000):
            data += chunk
    return b"" if data[:1] == b"\x15" else data


async def test_row_69_what_is_behind_close_notify_is_counted(certs: CertSet) -> None:
    """SEC-R9: it is not read."""
    behind = threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"data")
        conn.close_notify()
        conn.send_raw(b"220 clear text again\r\n")
        until_arrived(conn)
        behind.set()

    link = AcceptedLink("tls13", certs)
    with link.serve(script) as caller:
        socket = await link.connect(caller)
        await socket.opened
        await asyncio.to_thread(behind.wait, 10)
        assert await read_all(socket) == b"data"
        assert socket.ignored_bytes == 22
        await socket.close()
