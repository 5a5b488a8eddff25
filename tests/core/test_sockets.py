"""`connect()` and `Socket`: opening, closing, dropping and upgrading real connections."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket as stdlib
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cfcat import (
    CertificateError,
    ClosedError,
    ConnectError,
    ConnectTimeout,
    InjectionError,
    LockError,
    LostError,
    Socket,
    SocketAddress,
    SocketError,
    TlsError,
    TruncatedError,
    UpgradeError,
    WorkersPolicy,
    connect,
    make_tls_context,
)
from tests.helpers.certs import CertSet, Kind
from tests.helpers.links import (
    BIG,
    GO_AHEAD,
    STARTTLS,
    Link,
    fact,
    no_descriptor_left,
    outcome,
    read_all,
    turns,
    until,
    watched,
)
from tests.helpers.links import Kind as LinkKind
from tests.helpers.peers import Peer, blackhole, refusing, serve
from tests.helpers.streams import (
    LOST,
    READER_LOCKED,
    READER_RELEASED,
    SOCKET_CLOSED,
    WRITABLE_CLOSED,
    WRITER_LOCKED,
    WRITER_RELEASED,
    rejection,
)

PROJECT = Path(__file__).parents[2]
STREAMS_AND_SOCKETS = ("streams", "aborts", "readable", "writable", "pipe_to", "sockets")

CONNECT_FAILED = "proxy request failed, cannot connect to the specified address"


# -------------------------------------------------------------------------------------- opened and closed


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_v1_opened_tells_the_real_endpoints(host: str) -> None:
    """V1, N1: `ip:port` of both ends, IPv6 in brackets."""
    done = threading.Event()

    def script(conn: Peer) -> None:
        conn.wait(done)

    with serve(script, host=host) as server:
        socket = connect(SocketAddress(f"[{host}]" if ":" in host else host, server.port))
        info = await socket.opened
        await until(lambda: server.peers)
        client_host, client_port = server.peers[0].address
        assert info.remote_address == server.address
        assert info.local_address == server.address.replace(str(server.port), str(client_port))
        assert client_host == host
        done.set()
        await socket.close()


async def test_n1_opened_does_not_wait_for_accept() -> None:
    """N1: the kernel's word is enough."""
    with stdlib.create_server(("127.0.0.1", 0)) as listener:
        socket = connect(f"127.0.0.1:{listener.getsockname()[1]}")
        await socket.opened
        await socket.close()


async def test_opened_and_closed_may_be_awaited_many_times() -> None:
    """N3, D5: at once, one after the other, and by somebody who gives up; that harms no other."""
    with serve(Peer.recv_until_eof) as server:
        socket = connect(server.address)
        first, *others = [asyncio.create_task(outcome(socket.opened)) for _ in range(4)]
        await turns(1)
        first.cancel()
        infos = await asyncio.gather(*others)
        assert infos == [await socket.opened] * 3
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.closed, 0.01)
        waiters = [asyncio.create_task(outcome(socket.closed)) for _ in range(3)]
        await turns(2)
        waiters[1].cancel()
        await socket.close()
        await asyncio.gather(waiters[0], waiters[2], socket.closed)
        assert waiters[1].cancelled()


@pytest.mark.parametrize("ask", ["opened", "closed"])
async def test_n4_a_failure_to_connect_rejects_opened_and_closed(ask: str) -> None:
    """N4: both with the same error, whichever is asked first and how often."""
    with refusing() as port:
        socket = connect(f"127.0.0.1:{port}")
        with pytest.raises(ConnectError) as caught:
            await getattr(socket, ask)
        error = caught.value
        assert error.message == CONNECT_FAILED
        assert str(error) == f"{CONNECT_FAILED}: 127.0.0.1:{port}: connection refused"
        assert isinstance(error.__cause__, ConnectionRefusedError)
        for operation in (socket.opened, socket.closed, socket.closed):
            with pytest.raises(ConnectError) as caught:
                await operation
            assert caught.value is error
        await socket.close()


async def test_n5_http_ports_get_a_hint() -> None:
    """N5: 80 and 443, by value; the em dash included."""
    hint = ". It looks like you might be trying to connect to a HTTP-based service — consider using fetch instead"
    for port in ("80", "443", "0080"):
        socket = connect(f"127.0.0.1:{port}", policy=WorkersPolicy())
        assert await rejection(socket.opened, ConnectError) == CONNECT_FAILED + hint


@pytest.mark.parametrize("address", [SocketAddress("::1", 80), SocketAddress("", 4444), "127.0.0.1:0"])
async def test_a6_a11_what_cannot_be_connected_to_fails_as_n4(address: str | SocketAddress) -> None:
    """A6, A11: a record that names nothing, port 0."""
    with no_descriptor_left():
        text = await rejection(connect(address).opened, ConnectError)
        assert text.startswith(CONNECT_FAILED)


async def test_nothing_of_a_failed_socket_is_ever_reported_as_not_retrieved() -> None:
    """Nobody awaits anything: `run` would complain."""
    with refusing() as port:
        socket = connect(f"127.0.0.1:{port}")
        socket.writable.get_writer().write(b"x")
        socket.readable.get_reader().read()
        closed = socket.closed
        socket.close()
        await until(closed.done)


@pytest.mark.parametrize("turned", range(12))
async def test_a_reset_at_any_turn_of_opening_is_a_socket_error(turned: int) -> None:
    """Row 18: the peer accepts and resets at once; every waiter gets an error of ours."""
    with no_descriptor_left():
        with stdlib.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            socket = connect(f"127.0.0.1:{listener.getsockname()[1]}")
            peers: list[stdlib.socket] = []

            def accepted() -> bool:
                with contextlib.suppress(BlockingIOError):
                    peers.append(listener.accept()[0])
                return bool(peers)

            await until(accepted)
            await turns(turned)
            peers[0].setsockopt(stdlib.SOL_SOCKET, stdlib.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peers[0].close()
            with contextlib.suppress(SocketError):
                await socket.opened
                await socket.readable.get_reader().read()
            with pytest.raises(SocketError):
                await socket.closed


async def test_h2_d3_what_nobody_reads_changes_nothing() -> None:
    """H2: a FIN that is not read lets writes work and the peer sees none of ours; `closed` is pending."""
    ended, nothing_came = threading.Event(), threading.Event()

    def script(conn: Peer) -> None:
        conn.end()
        ended.set()
        assert conn.recv_exactly(4) == b"more"
        assert conn.quiet(0.05)
        nothing_came.set()

    with serve(script) as server:
        socket = connect(server.address)
        await fact(ended)
        await socket.writable.get_writer().write(b"more")
        await fact(nothing_came)
        assert not socket.closed.done()
        assert await read_all(socket) == b""
        await socket.closed


async def test_d3_v5_a_reset_of_an_idle_socket_is_found_by_a_read() -> None:
    """D3: `closed` is pending until then; V5: it rejects."""
    go, was_reset = threading.Event(), threading.Event()

    def script(conn: Peer) -> None:
        conn.wait(go)
        conn.reset()
        was_reset.set()

    with serve(script) as server:
        socket = connect(server.address)
        await socket.opened
        go.set()
        await fact(was_reset)
        await turns(20)
        assert not socket.closed.done()
        assert await rejection(socket.readable.get_reader().read(), LostError) == LOST
        assert await rejection(socket.closed, LostError) == LOST


async def test_d4_both_sides_finished_by_hand_do_not_settle_closed() -> None:
    """D4: `cancel()` and `writer.close()` are not `close()`."""
    with serve(Peer.recv_until_eof) as server:
        socket = connect(server.address)
        await socket.readable.cancel()
        await socket.writable.close()
        await fact(server.saw_eof)
        assert not socket.closed.done()
        await socket.close()


async def test_c9_close_with_unread_data_is_a_reset_to_the_peer() -> None:
    """C9: that is the kernel's doing; `closed` resolves all the same."""
    sent = threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"unread")
        sent.set()
        conn.recv_until_eof()

    with serve(script) as server:
        socket = connect(server.address)
        await socket.opened
        await fact(sent)
        await socket.close()
        await socket.closed
    assert server.ended == "reset"


@pytest.mark.parametrize("half_open", [False, True])
async def test_v6_close_right_after_eof_resolves_closed(half_open: bool) -> None:
    """V6: it may overtake the automatic close."""
    with serve(lambda conn: None) as server:
        socket = connect(server.address, allow_half_open=half_open)
        reader = socket.readable.get_reader()
        assert await reader.read() == b""
        await socket.close()
        await socket.closed
    assert server.ended == "eof"


async def test_moved_bytes_counts_both_directions() -> None:
    """Unchanged means that nothing moves."""
    with serve(lambda conn: conn.send(b"greeting")) as server:
        socket = connect(server.address)
        await socket.opened
        assert socket.moved_bytes == 0
        await socket.writable.get_writer().write(b"xyz")
        assert socket.moved_bytes == 3
        await read_all(socket)
        assert socket.moved_bytes == 3 + 8


# --------------------------------------------------------------------------------------------- async with


async def test_async_with_closes_in_order(link: Link) -> None:
    """What was written and not awaited arrives, then our EOF."""
    with link.serve(Peer.recv_until_eof) as server:
        async with await link.connect(server) as socket:
            socket.writable.get_writer().write(b"all of it")
        await socket.closed
    assert link.received(server) == b"all of it"
    assert server.ended == link.eof


async def test_async_with_drops_the_connection_when_the_block_raises(link: Link) -> None:
    """The peer sees a reset, not an end in order, and the exception passes."""

    def script(conn: Peer) -> None:
        conn.send(b"ready")
        conn.recv_until_eof()

    with link.serve(script) as server:
        socket = await link.connect(server)

        async def block() -> None:
            async with socket:
                assert await socket.readable.get_reader().read() == b"ready"
                await socket.writable.get_writer().write(b"half")
                raise KeyError

        with pytest.raises(KeyError):
            await block()
        await socket.closed
    assert server.ended == "reset"


async def test_async_with_a_cancelled_task_drops_the_connection() -> None:
    """A timeout around the block leaves nothing behind."""
    with no_descriptor_left(), serve(Peer.recv_until_eof) as server:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), connect(server.address) as socket:
                await socket.readable.get_reader().read()
        await fact(server.saw_end)
    assert server.ended == "reset"


# ---------------------------------------------------------------------------------------- abort, deadlines


@contextlib.contextmanager
def hanging_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Names are not answered while the block runs; afterwards the threads that asked come to their end."""
    answer = threading.Event()

    def getaddrinfo(*args: Any) -> list[Any]:
        if args[-1] == stdlib.AI_NUMERICHOST:
            raise stdlib.gaierror(stdlib.EAI_NONAME, "not a number")
        answer.wait(20)
        return []

    monkeypatch.setattr(stdlib, "getaddrinfo", getaddrinfo)
    yield
    answer.set()
    for thread in threading.enumerate():
        if thread.name == "cfcat-resolver":
            thread.join(5)
            assert not thread.is_alive()


def silent(conn: Peer) -> None:
    """A peer that accepts and says nothing."""
    conn.recv_until_eof()


@contextlib.contextmanager
def stuck_in(phase: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An address with which opening gets no further than `phase`."""
    if phase == "resolve":
        with hanging_resolver(monkeypatch):
            yield "name.test:25"
    elif phase == "connect":
        with blackhole() as port:
            yield f"127.0.0.1:{port}"
    else:
        with serve(silent) as server:
            yield server.address


PHASES = ["resolve", "connect", "handshake"]


@pytest.mark.parametrize("phase", PHASES)
async def test_the_deadline_covers_every_phase(phase: str, monkeypatch: pytest.MonkeyPatch, certs: CertSet) -> None:
    """Rows 3, 8, 9, 61: it is a ConnectTimeout and a TimeoutError, its text says how far things had got."""
    with no_descriptor_left(), stuck_in(phase, monkeypatch) as address:
        context = make_tls_context(cacert=certs.ca)
        socket = connect(address, secure_transport="on", tls=context, connect_timeout=0.1)
        with pytest.raises(ConnectTimeout) as caught:
            await socket.opened
        reached = "the TLS handshake was not complete" if phase == "handshake" else "no connection"
        assert str(caught.value) == f"{CONNECT_FAILED}: {address}: {reached} after 0.1 s"
        assert isinstance(caught.value, TimeoutError)
        assert isinstance(caught.value, ConnectError)
        assert await rejection(socket.closed, ConnectTimeout) == CONNECT_FAILED


async def test_the_deadline_covers_an_upgrade_too(certs: CertSet) -> None:
    """S16: a peer that never answers the ClientHello."""
    with serve(silent) as server:
        context = make_tls_context(cacert=certs.ca)
        socket = connect(server.address, secure_transport="starttls", tls=context, connect_timeout=0.1)
        await socket.opened
        assert await rejection(socket.start_tls().opened, ConnectTimeout) == CONNECT_FAILED


@pytest.mark.parametrize("turned", [0, 1, 5, 20])
@pytest.mark.parametrize("phase", PHASES)
async def test_abort_while_opening_leaves_nothing_behind(
    phase: str, turned: int, monkeypatch: pytest.MonkeyPatch, certs: CertSet
) -> None:
    """Row 59: `opened` and, for the write, `closed` reject, `close()` resolves; no descriptor and no task is left."""
    with no_descriptor_left(), stuck_in(phase, monkeypatch) as address:
        socket = connect(address, secure_transport="on", tls=make_tls_context(cacert=certs.ca))
        write = socket.writable.get_writer().write(b"x")
        read = socket.readable.get_reader().read()
        await turns(turned)
        socket.abort()
        for operation in (socket.opened, write, read, socket.closed):
            assert await rejection(operation, ClosedError) == SOCKET_CLOSED
        await socket.close()
        socket.abort()
        await turns(5)


@pytest.mark.parametrize("phase", PHASES)
def test_the_loop_may_end_while_a_socket_opens(phase: str, monkeypatch: pytest.MonkeyPatch, certs: CertSet) -> None:
    """A program that forgets a socket, or is stopped by Ctrl-C, is not held up by it."""

    async def main(address: str) -> None:
        connect(address, secure_transport="on", tls=make_tls_context(cacert=certs.ca))
        await turns(20)

    with no_descriptor_left(), stuck_in(phase, monkeypatch) as address:
        asyncio.run(main(address))


async def test_close_waits_for_opened(certs: CertSet) -> None:
    """C2, T3: and then ends the TLS stream in order."""
    go = threading.Event()

    def script(conn: Peer) -> None:
        conn.wait(go)
        conn.start_tls(certs.server_context())
        conn.recv_until_eof()
        assert conn.ended == "close_notify"

    with serve(script) as server:
        socket = connect(server.address, secure_transport="on", tls=make_tls_context(cacert=certs.ca))
        closing = socket.close()
        await turns(30)
        assert not closing.done()
        go.set()
        await closing
        await asyncio.gather(socket.opened, socket.closed)


async def test_close_under_tls_does_not_wait_for_a_peer_that_does_not_end(certs: CertSet) -> None:
    """C1, C2: sending what is queued is what it waits for; the peer's own end may never come."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        assert conn.recv_until_eof() == b"all"
        conn.hang()

    with serve(script) as server:
        socket = connect(server.address, secure_transport="on", tls=make_tls_context(cacert=certs.ca))
        await socket.writable.get_writer().write(b"all")
        await asyncio.wait_for(socket.close(), 3)
        await socket.closed
        server.release()


@pytest.mark.parametrize("turned", [0, 1, 2, 5])
@pytest.mark.parametrize("kind", ["plain", "tls12", "tls13"])
async def test_abort_cuts_a_close_short(kind: LinkKind, certs: CertSet, turned: int) -> None:
    """It is what a timeout needs while `close()` waits for a peer that does not read, or does not end."""

    def script(conn: Peer) -> None:
        conn.send(b"ready")
        conn.hang()

    link = Link(kind, certs)
    with no_descriptor_left():
        with link.serve(script) as server:
            socket = await link.connect(server)
            assert await socket.readable.get_reader().read() == b"ready"
            socket.writable.get_writer().write(bytes(48 << 20))
            closing = socket.close()
            await turns(turned)
            assert not closing.done()
            socket.abort()
            await closing
            assert await rejection(socket.closed, ClosedError) == SOCKET_CLOSED
            server.release()


async def test_c4_close_resolves_after_a_failure() -> None:
    """C4: the error is on `closed`."""
    with refusing() as port:
        socket = connect(f"127.0.0.1:{port}")
        await socket.close()
        await rejection(socket.closed, ConnectError)


# ---------------------------------------------------------------------------------------------- TLS from on


@pytest.mark.parametrize(("kind", "code"), [("wrong_host", 62), ("untrusted", 20), ("expired", 10), ("cn_only", 62)])
async def test_t1_n4_a_bad_certificate_fails_to_open(certs: CertSet, kind: Kind, code: int) -> None:
    """T1, N4: the message is N4's, the reason is the detail; nothing that was written is sent but an alert."""

    def script(conn: Peer) -> None:
        assert not conn.start_tls(certs.server_context(kind, ssl.TLSVersion.TLSv1_2), may_fail=True)

    with no_descriptor_left():
        with serve(script) as server:
            context = make_tls_context(cacert=certs.ca)
            socket = connect(f"localhost:{server.port}", secure_transport="on", tls=context, address_family="ipv4")
            write = socket.writable.get_writer().write(b"secret")
            with pytest.raises(CertificateError) as caught:
                await socket.opened
            assert caught.value.message == CONNECT_FAILED
            assert caught.value.detail.startswith("certificate not trusted: ")
            assert caught.value.verify_code == code
            for operation in (socket.closed, write):
                with pytest.raises(CertificateError):
                    await operation
        assert server.received == b""
        told = server.peers[0].tls_error
        assert told is not None
        assert "ALERT" in (told.reason or "")


@pytest.mark.parametrize(
    ("host", "sni"), [("localhost", "localhost"), ("localhost.", "localhost"), ("127.0.0.1", None), ("[::1]", None)]
)
async def test_t1_t2_the_host_is_verified_and_names_are_sent(
    certs: CertSet, host: str, sni: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T1, T2: names, IPv4 and IPv6 are found in the certificate; a trailing dot is for the resolver alone."""
    real = stdlib.getaddrinfo  # which knows `localhost.` on some machines only
    monkeypatch.setattr(stdlib, "getaddrinfo", lambda name, *rest: real(name.rstrip(b"."), *rest))

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        assert conn.recv_until_eof() == b"safe"

    with serve(script, host="::1" if "::1" in host else "127.0.0.1") as server:
        context = make_tls_context(cacert=certs.ca)
        async with connect(f"{host}:{server.port}", secure_transport="on", tls=context) as socket:
            await socket.writable.get_writer().write(b"safe")
    assert server.peers[0].sni == sni


async def test_n4_a_peer_without_tls_fails_to_open(certs: CertSet) -> None:
    """N4, row 60: what it said is in the error."""

    def script(conn: Peer) -> None:
        conn.send(b"220 mail.example ESMTP\r\n")
        conn.recv_until_eof()

    with serve(script) as server:
        socket = connect(server.address, secure_transport="on", tls=make_tls_context(cacert=certs.ca))
        with pytest.raises(TlsError) as caught:
            await socket.opened
        assert str(caught.value) == f"{CONNECT_FAILED}: peer does not speak TLS"
        assert caught.value.said == b"220 mail.example ESMTP\r\n"


@pytest.mark.parametrize("end", [Peer.end, Peer.reset])
async def test_rows_18_62_the_end_of_the_connection_in_the_handshake(
    certs: CertSet, end: Callable[[Peer], None]
) -> None:
    """Rows 18, 62: FIN and RST alike name the phase."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(5)
        end(conn)

    with serve(script) as server:
        socket = connect(server.address, secure_transport="on", tls=make_tls_context(cacert=certs.ca))
        with pytest.raises(TlsError, match="during the TLS handshake") as caught:
            await socket.opened
        assert caught.value.message == CONNECT_FAILED


@pytest.mark.parametrize("half_open", [False, True])
@pytest.mark.parametrize("kind", ["tls12", "tls13", "upgraded12", "upgraded13"])
async def test_t7_v9_truncation_is_an_error_after_the_data(kind: LinkKind, certs: CertSet, half_open: bool) -> None:
    """T7, V9: from the start and after an upgrade alike; `closed` rejects (V5)."""

    def script(conn: Peer) -> None:
        conn.send(b"cut")
        conn.end()

    link = Link(kind, certs)
    with link.serve(script) as server:
        socket = await link.connect(server, allow_half_open=half_open)
        reader = socket.readable.get_reader()
        assert await reader.read() == b"cut"
        for ask in (reader.read, reader.read, lambda: socket.closed, lambda: reader.closed):
            assert await rejection(ask(), TruncatedError) == LOST


@pytest.mark.parametrize("kind", ["tls13", "upgraded13"])
async def test_t8_what_is_no_tls_is_an_error_after_the_data(kind: LinkKind, certs: CertSet) -> None:
    """T8, V3: with the real reason."""

    def script(conn: Peer) -> None:
        conn.send(b"genuine")
        conn.send_raw(b"HTTP/1.1 400 Bad Request\r\n")

    link = Link(kind, certs)
    with link.serve(script) as server:
        socket = await link.connect(server)
        reader = socket.readable.get_reader()
        assert await reader.read() == b"genuine"
        for ask in (reader.read, reader.read, lambda: socket.closed):
            assert "wrong version number" in await rejection(ask(), TlsError)


# -------------------------------------------------------------------------------------------------- upgrade


def starttls(certs: CertSet, address: str, **options: Any) -> Socket:
    """A socket that can be upgraded, and then trusts the test's CA."""
    context = make_tls_context(cacert=certs.ca)
    return connect(address, secure_transport="starttls", tls=context, **options)


def tls_only(certs: CertSet) -> Callable[[Peer], None]:
    """A peer that expects a ClientHello and nothing before it, and receives to the end."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        conn.recv_until_eof()

    return script


async def test_s5_s6_s9_the_upgrade_ends_the_old_socket(certs: CertSet) -> None:
    """S5, S6, S9, O6: flags, `closed`, and `opened` with the same value."""
    with serve(tls_only(certs)) as server:
        old = starttls(certs, server.address)
        info = await old.opened
        new = old.start_tls()
        assert (old.upgraded, new.upgraded) == (False, False)
        await old.closed
        assert (old.upgraded, new.upgraded) == (True, False)
        assert (old.secure_transport, new.secure_transport) == ("starttls", "on")
        assert await new.opened == info
        await old.close()
        old.abort()
        await new.writable.get_writer().write(b"under TLS")
        await new.close()
    assert server.received == b"under TLS"
    assert server.ended == "close_notify"


async def test_s2_s7_the_upgrade_may_be_asked_for_before_opened(certs: CertSet) -> None:
    """S2, S7, S9: clear text that was queued goes out first, what is written to the new socket under TLS."""

    def script(conn: Peer) -> None:
        assert conn.recv_exactly(len(BIG)) == BIG
        conn.start_tls(certs.server_context())
        assert conn.recv_until_eof() == b"under TLS"

    with serve(script) as server:
        old = starttls(certs, server.address)
        old.writable.get_writer().write(BIG)
        new = old.start_tls()
        new.writable.get_writer().write(b"under TLS")
        await new.close()
        await asyncio.gather(old.opened, old.closed, new.opened, new.closed)


@pytest.mark.parametrize("held", [True, False], ids=["held", "released"])
async def test_v8_the_old_reader_and_writer_fail_from_the_call_on(certs: CertSet, held: bool) -> None:
    """V8, S6, SEC-R10: nothing more is read or sent in clear text; the streams are locked for good."""
    with serve(tls_only(certs)) as server:
        old = starttls(certs, server.address)
        await old.opened
        reader, writer = old.readable.get_reader(mode="byob"), old.writable.get_writer()
        if not held:
            reader.release_lock()
            writer.release_lock()
        new = old.start_tls()
        for _ in range(2):  # while upgrading, and afterwards
            for operation in (reader.read(), reader.read_into(bytearray(1)), reader.cancel(), reader.closed):
                assert await rejection(operation, ClosedError) == READER_RELEASED
            for operation in (writer.write(b"leak"), writer.close(), writer.abort(), writer.closed, writer.ready):
                assert await rejection(operation, ClosedError) == WRITER_RELEASED
            assert writer.desired_size == 0
            assert (old.readable.locked, old.writable.locked) == (True, True)
            with pytest.raises(LockError, match=READER_LOCKED):
                old.readable.get_reader()
            with pytest.raises(LockError, match=WRITER_LOCKED):
                old.writable.get_writer()
            await new.opened
        reader.release_lock()
        writer.release_lock()
        assert (old.readable.locked, old.writable.locked) == (True, True)
        await new.close()
    assert server.received == b""


async def test_v8_sec_r10_a_waiting_read_is_stopped_by_the_upgrade(certs: CertSet) -> None:
    """V8: at once, without taking a byte that belongs to TLS."""
    with serve(tls_only(certs)) as server:
        old = starttls(certs, server.address)
        await old.opened
        read = old.readable.get_reader().read()
        new = old.start_tls()
        assert await rejection(read, ClosedError) == READER_RELEASED
        await new.opened
        await new.close()


async def test_v8_what_was_awaited_before_the_upgrade_settles(certs: CertSet) -> None:
    """V8, V12: `closed` and `ready` of a reader and a writer that are held do not hang."""
    with serve(tls_only(certs)) as server:
        old = starttls(certs, server.address, high_water_mark=0)
        await old.opened
        reader, writer = old.readable.get_reader(), old.writable.get_writer()
        closed = [reader.closed, writer.closed]
        ready = writer.ready
        async with old.start_tls() as new:
            await new.opened
            for operation in closed:
                await rejection(asyncio.wait_for(operation, 1), ClosedError)
            with contextlib.suppress(ClosedError):
                await asyncio.wait_for(ready, 1)


async def test_v8_a_pipe_is_ended_by_the_upgrade(certs: CertSet) -> None:
    """V8: its operation rejects, nothing hangs."""
    with serve(tls_only(certs)) as server, serve(Peer.recv_until_eof) as other:
        old, target = starttls(certs, server.address), connect(other.address)
        await old.opened
        pipe = old.readable.pipe_to(target.writable)
        await turns(3)
        new = old.start_tls()
        assert await rejection(pipe, ClosedError) == READER_RELEASED
        await new.close()
        await target.close()


def injecting(surplus: bytes) -> Callable[[Peer], None]:
    """A peer that sends more than the go-ahead, and must not see a ClientHello."""

    def script(conn: Peer) -> None:
        assert conn.recv_until(b"\n") == STARTTLS
        conn.send(GO_AHEAD + surplus)
        assert conn.recv_until_eof() == b""

    return script


async def ask_for_tls(socket: Socket) -> None:
    """The dialog, reading exactly the go-ahead."""
    writer, reader = socket.writable.get_writer(), socket.readable.get_reader(mode="byob")
    await writer.write(STARTTLS)
    said = bytearray(len(GO_AHEAD))
    size = 0
    while size < len(said):
        size += await reader.read_into(memoryview(said)[size:])
    assert said == GO_AHEAD
    reader.release_lock()
    writer.release_lock()


@pytest.mark.parametrize("surplus", [b"X", b"250 OK forged\r\n", bytes(5000)], ids=["1", "15", "5000"])
async def test_v13_clear_text_behind_the_go_ahead_stops_the_upgrade(certs: CertSet, surplus: bytes) -> None:
    """V13, SEC-R1: the new socket fails and counts the bytes; no ClientHello is sent, no byte is delivered."""
    with no_descriptor_left():
        with serve(injecting(surplus)) as server:
            old = starttls(certs, server.address)
            await ask_for_tls(old)
            new = old.start_tls()
            read, write = new.readable.get_reader().read(), new.writable.get_writer().write(b"secret")
            with pytest.raises(InjectionError) as caught:
                await new.opened
            assert caught.value.count == len(surplus)
            assert f"{len(surplus)} bytes of clear text" in caught.value.message
            for operation in (read, write, new.closed):
                with pytest.raises(InjectionError):
                    await operation
            await asyncio.gather(old.closed, new.close())
        assert server.received == STARTTLS


async def test_v13_bytes_that_a_cancelled_read_gave_back_are_unread(certs: CertSet) -> None:
    """V13: they are clear text just as well."""
    with serve(injecting(b"forged")) as server:
        old = starttls(certs, server.address)
        await ask_for_tls(old)
        reader = old.readable.get_reader()
        read = watched(reader.read())
        task = asyncio.create_task(outcome(read))
        await until(read.done)
        task.cancel()
        await asyncio.wait({task})
        with pytest.raises(InjectionError) as caught:
            await old.start_tls().opened
        assert caught.value.count == len(b"forged")


async def test_s8_what_was_read_belongs_to_clear_text(certs: CertSet) -> None:
    """S8: a chunk that a reader took before is no injection to the socket, and never shows up under TLS."""

    def script(conn: Peer) -> None:
        assert conn.recv_until(b"\n") == STARTTLS
        conn.send(GO_AHEAD + b"surplus")
        conn.start_tls(certs.server_context())
        conn.send(b"under TLS")

    with serve(script) as server:
        old = starttls(certs, server.address)
        reader, writer = old.readable.get_reader(), old.writable.get_writer()
        writer.write(STARTTLS)
        said = b""
        while len(said) < len(GO_AHEAD + b"surplus"):
            said += await reader.read()
        new = old.start_tls()
        assert await read_all(new) == b"under TLS"


async def test_s11_the_expected_name_replaces_the_host(certs: CertSet) -> None:
    """S11, V10: it is sent as SNI and checked; an empty one counts as absent."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        conn.recv_until_eof()

    for host, name, sni in (("127.0.0.1", "localhost", "localhost"), ("127.0.0.1", "", None), ("::1", None, None)):
        with serve(script, host=host) as server:
            new = starttls(certs, server.address).start_tls(name)
            await new.opened
            await new.close()
        assert server.peers[0].sni == sni


async def test_s11_a_name_that_is_not_in_the_certificate_fails(certs: CertSet) -> None:
    """S10, S11: `opened`, `closed`, reads and writes reject; `close()` resolves; the old socket is upgraded."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context(version=ssl.TLSVersion.TLSv1_2), may_fail=True)

    with serve(script) as server:
        old = starttls(certs, server.address)
        new = old.start_tls("other.test")
        read, write = new.readable.get_reader().read(), new.writable.get_writer().write(b"secret")
        for operation in (new.opened, new.closed, read, write):
            text = await rejection(operation, CertificateError)
            assert text.startswith("certificate not trusted: it is for localhost, 127.0.0.1, ")
            assert text.endswith(", not other.test")
        await asyncio.gather(old.closed, new.close())
        assert old.upgraded
    assert server.received == b""


async def test_s11_a_name_that_tls_cannot_use_fails(certs: CertSet) -> None:
    """No ValueError or UnicodeError escapes: it is told on the new socket."""
    with no_descriptor_left():
        for name in ("a" * 300, "b\u00fccher..x", "."):
            with serve(Peer.recv_until_eof) as server:
                new = starttls(certs, server.address).start_tls(name)
                await rejection(new.opened, TlsError)
                await rejection(new.closed, TlsError)
            assert server.received == b""


async def test_s13_half_open_and_high_water_mark_carry_over(certs: CertSet) -> None:
    """S13: the new socket behaves as the old one was asked to."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        conn.close_notify()
        assert conn.recv_until_eof() == b"after EOF"

    with serve(script) as server:
        new = starttls(certs, server.address, allow_half_open=True, high_water_mark=77).start_tls()
        writer = new.writable.get_writer()
        assert writer.desired_size == 77
        assert await read_all(new) == b""
        await writer.write(b"after EOF")
        await new.close()


async def test_s1_v16_start_tls_misused_throws_and_changes_nothing(certs: CertSet) -> None:
    """S1, V16: on TLS, in the wrong mode, closed, twice."""
    with serve(tls_only(certs)) as server:
        old = starttls(certs, server.address)
        new = old.start_tls()
        with pytest.raises(UpgradeError) as caught:
            old.start_tls()
        assert caught.value.message == "startTls has already been called on this socket."
        with pytest.raises(UpgradeError) as caught:
            new.start_tls()
        assert caught.value.message == "Cannot startTls on a TLS socket."
        await new.opened
        await new.close()
    with serve(Peer.recv_until_eof) as server:
        for options in ({}, {"secure_transport": "starttls"}):
            socket = connect(server.address, options)
            if not options:
                with pytest.raises(UpgradeError, match="must be set to 'starttls'"):
                    socket.start_tls()
            await socket.writable.get_writer().write(b"fine")
            await socket.close()
            with pytest.raises(UpgradeError) as caught:
                socket.start_tls()
            assert caught.value.message == "The connection was closed before startTls could be started."


async def test_s14_the_upgrade_wins_over_an_unawaited_close(certs: CertSet) -> None:
    """S14: `close()` resolves with the upgrade, and the new socket lives."""
    with serve(tls_only(certs)) as server:
        old = starttls(certs, server.address)
        await old.opened
        closing = old.close()
        new = old.start_tls()
        await closing
        await new.opened
        await new.writable.get_writer().write(b"alive")
        await new.close()
    assert server.received == b"alive"


async def test_s14_the_upgrade_works_after_cancel(certs: CertSet) -> None:
    """S14: the new socket reads again."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        conn.send(b"under TLS")

    with serve(script) as server:
        old = starttls(certs, server.address)
        await old.opened
        await old.readable.cancel()
        assert await read_all(old.start_tls()) == b"under TLS"


@pytest.mark.parametrize("when", ["before", "after"])
async def test_v12_the_upgrade_of_a_connection_that_fails_fails_alike(certs: CertSet, when: str) -> None:
    """V12, S14: with the very error, asked for before or after it was known."""
    with refusing() as port:
        old = starttls(certs, f"127.0.0.1:{port}")
        if when == "after":
            await rejection(old.closed, ConnectError)
        new = old.start_tls()
        with pytest.raises(ConnectError) as first:
            await old.opened
        for operation in (new.opened, new.closed):
            with pytest.raises(ConnectError) as caught:
                await operation
            assert caught.value is first.value
        await new.close()
        assert not old.upgraded


async def test_v12_s14_after_our_side_has_ended_the_upgrade_fails(certs: CertSet) -> None:
    """V12, S14: by EOF or by hand; nothing stays pending."""
    for by_hand in (False, True):
        with serve(Peer.recv_until_eof if by_hand else lambda conn: None) as server:
            old = starttls(certs, server.address)
            await (old.writable.close() if by_hand else read_all(old))
            new = old.start_tls()
            for operation in (new.opened, new.closed):
                assert await rejection(operation, ClosedError) == WRITABLE_CLOSED
            await asyncio.gather(new.close(), old.close())
            assert not old.upgraded


async def test_v12_a_reset_while_clear_text_is_sent_fails_the_upgrade(certs: CertSet) -> None:
    """V12, S7: the wire breaks before it could be handed over."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        conn.wait(asked)
        conn.reset()

    asked = threading.Event()

    with serve(script) as server:
        old = starttls(certs, server.address)
        await old.opened
        old.writable.get_writer().write(bytes(48 << 20))
        new = old.start_tls()
        await turns(3)
        asked.set()
        for operation in (new.opened, new.closed, old.closed):
            assert await rejection(operation, LostError) == LOST


@pytest.mark.parametrize("turned", [0, 1, 3, 10, 40])
async def test_s14_close_of_the_new_socket_waits_for_the_handshake(certs: CertSet, turned: int) -> None:
    """S14: also where the upgrade has not begun, nor the connection."""
    with serve(tls_only(certs)) as server:
        old = starttls(certs, server.address)
        new = old.start_tls()
        await turns(turned)
        await new.close()
        await asyncio.gather(old.closed, new.opened, new.closed)
    assert server.ended == "close_notify"


@pytest.mark.parametrize("turned", [0, 1, 3, 10, 40])
@pytest.mark.parametrize("phase", PHASES)
async def test_abort_of_the_new_socket_drops_the_connection(
    phase: str, turned: int, monkeypatch: pytest.MonkeyPatch, certs: CertSet
) -> None:
    """Row 59: wherever the upgrade is, before it began too; everything settles and nothing is left."""
    with no_descriptor_left(), stuck_in(phase, monkeypatch) as address:
        old = starttls(certs, address)
        new = old.start_tls()
        await turns(turned)
        new.abort()
        assert await rejection(new.opened, ClosedError) == SOCKET_CLOSED
        await asyncio.gather(new.closed, old.closed, new.close(), old.close())
        await turns(5)


@pytest.mark.parametrize("turned", [0, 1, 3, 10])
async def test_abort_of_the_old_socket_before_the_upgrade_fails_the_new_one(certs: CertSet, turned: int) -> None:
    """V12: the connection is still its own then."""
    with no_descriptor_left(), blackhole() as port:
        old = starttls(certs, f"127.0.0.1:{port}")
        new = old.start_tls()
        await turns(turned)
        old.abort()
        for operation in (old.opened, new.opened, new.closed):
            assert await rejection(operation, ClosedError) == SOCKET_CLOSED
        await asyncio.gather(new.close(), old.closed)
        await turns(5)


class AtMost12:
    """A wrapper that leaves the handshake as it is, and asks for TLS 1.2."""

    max_tls = "1.2"
    wanted = 64 * 1024

    def wrap(self, tls: bytes) -> bytes:
        return tls

    def unwrap(self, wire: bytes) -> bytes:
        return wire


@pytest.mark.parametrize("limited_first", [True, False])
async def test_a_limit_of_tls_is_for_one_socket(certs: CertSet, limited_first: bool) -> None:
    """Two handshakes at the same time share one context: each has its own version, and the context is as before."""
    release = threading.Event()

    def slow(conn: Peer) -> None:
        conn.wait(release)
        tls_only(certs)(conn)

    context = make_tls_context(cacert=certs.ca)
    before = context.maximum_version
    with serve(slow) as first, serve(tls_only(certs)) as second:
        sockets = [connect(server.address, tls=context, secure_transport="starttls") for server in (first, second)]
        await asyncio.gather(*(socket.opened for socket in sockets))
        wrappers = [AtMost12(), None] if limited_first else [None, AtMost12()]
        slow_one, quick_one = (
            socket.start_tls(wrapper=wrapper) for socket, wrapper in zip(sockets, wrappers, strict=True)
        )
        await until(lambda: slow_one.moved_bytes)  # its ClientHello is on the way
        assert context.maximum_version is before
        await quick_one.opened
        release.set()
        await slow_one.opened
        versions = [socket.tls_info.version for socket in (slow_one, quick_one) if socket.tls_info is not None]
        assert versions == ["TLSv1.2", "TLSv1.3"][:: 1 if limited_first else -1]
        await asyncio.gather(slow_one.close(), quick_one.close())


# --------------------------------------------------------------------------------------------------- crowds


@pytest.mark.deadline(30)
async def test_row_58_sockets_dropped_at_random_points_leave_nothing_behind(certs: CertSet) -> None:
    """Row 58: 1,000 of them, in every mode and phase, by abort, close or cancellation."""
    dice = random.Random(58)
    context = make_tls_context(cacert=certs.ca)
    server_context = certs.server_context()

    def script(conn: Peer) -> None:
        with contextlib.suppress(OSError, AssertionError):
            first = conn.recv(1)
            if first == b"t":
                conn.start_tls(server_context, may_fail=True)
            while chunk := conn.recv():
                conn.send(chunk)

    async def one(address: str) -> None:
        mode = dice.choice(["off", "starttls", "on"])
        socket = connect(address, secure_transport=mode, tls=context)  # type: ignore[arg-type]
        sockets = [socket]
        reader, writer = socket.readable.get_reader(), socket.writable.get_writer()
        writer.write(b"t" if mode == "starttls" else b"p")
        work: list[asyncio.Task[Any]] = [
            asyncio.create_task(outcome(reader.read())),
            asyncio.create_task(outcome(writer.write(BIG))),
        ]
        await turns(dice.randrange(30))
        if mode == "starttls" and dice.random() < 0.7:
            sockets.append(socket.start_tls())
            work.append(asyncio.create_task(outcome(sockets[-1].opened)))
            await turns(dice.randrange(60))
        for task in work:
            if dice.random() < 0.5:
                task.cancel()
        await turns(dice.randrange(4))
        for each in dice.sample(sockets, len(sockets)):
            if dice.random() < 0.5:
                each.close()
                await turns(dice.randrange(4))
            each.abort()
        await asyncio.gather(*work, *(each.opened for each in sockets), return_exceptions=True)
        await asyncio.gather(*(each.closed for each in sockets), return_exceptions=True)

    with no_descriptor_left():
        with serve(script) as server, blackhole() as port:
            for _ in range(10):
                addresses = [server.address] * 75 + [f"127.0.0.1:{port}"] * 25
                await asyncio.gather(*map(one, addresses))
            await turns(5)


DEV_RUN = "CFCAT_TEST_IN_DEV_MODE"


@pytest.mark.skipif(DEV_RUN in os.environ, reason="this is the run")
def test_row_94_everything_holds_in_development_mode() -> None:
    """Row 94: `python -X dev -W error` with asyncio's own checks finds nothing in the tests of streams and sockets."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    command += [f"tests/core/test_{name}.py" for name in STREAMS_AND_SOCKETS]
    command += ["-k", "not tls12 and not upgraded12 and not row_58"]  # a fraction of the time for most of the truth
    environment = {**os.environ, DEV_RUN: "1"}
    done = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False, timeout=55
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
