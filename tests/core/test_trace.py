"""What a socket tells while its connection is made."""

from __future__ import annotations

import asyncio
import errno
import socket as sockets
from typing import Any

import pytest

from cfcat import ConnectError, ConnectTimeout, OptionsError, ResolveError, TlsError, connect, make_tls_context
from cfcat.core.trace import Attempted, Connected, Resolved, TlsEstablished, TraceEvent, os_reason
from tests.helpers.aio import run
from tests.helpers.certs import CertSet
from tests.helpers.links import Link
from tests.helpers.peers import Peer, blackhole, refusing, serve


def told(address: str, **options: Any) -> tuple[list[TraceEvent], BaseException | None]:
    """What is told of one connection, and why it did not come about."""
    events: list[TraceEvent] = []

    async def connected() -> BaseException | None:
        socket = connect(address, trace=events.append, **options)
        try:
            await socket.opened
        except (ConnectError, TlsError) as error:
            return error
        await socket.close()
        return None

    return events, run(connected())


def resolving_to(monkeypatch: pytest.MonkeyPatch, *ports: int) -> None:
    """Let every name have 127.0.0.1 at each of these ports."""
    real = sockets.getaddrinfo

    def resolve(host: Any, port: Any, family: int = 0, kind: int = 0, proto: int = 0, flags: int = 0) -> list[Any]:
        if flags & sockets.AI_NUMERICHOST:
            return real(host, port, family, kind, proto, flags)
        return [(sockets.AF_INET, sockets.SOCK_STREAM, 6, "", ("127.0.0.1", number)) for number in ports]

    monkeypatch.setattr(sockets, "getaddrinfo", resolve)


def test_every_kind_of_socket(link: Link) -> None:
    """Addresses, the attempt, both ends; then TLS, at the handshake, whenever that is."""
    events: list[TraceEvent] = []

    async def connected() -> None:
        socket = await link.connect(server, trace=events.append)
        await socket.opened
        await socket.close()

    with link.serve(lambda conn: conn.recv_until_eof()) as server:
        run(connected())
    resolved, attempted, done, *secured = events
    assert isinstance(resolved, Resolved)
    assert resolved.addresses == (server.address,)
    assert isinstance(attempted, Attempted)
    assert (attempted.address, attempted.outcome, attempted.reason) == (server.address, "connected", "")
    assert isinstance(done, Connected)
    assert done.remote_address == server.address
    assert done.local_address == f"127.0.0.1:{server.peers[0].address[1]}"
    assert [isinstance(event, TlsEstablished) for event in secured] == [True] * link.tls
    assert all(0 <= event.seconds < 10 for event in events)
    assert done.seconds >= resolved.seconds + attempted.seconds


def test_the_info_is_the_sockets(certs: CertSet) -> None:
    """TLS is told as `tls_info` has it."""
    events: list[TraceEvent] = []

    async def connected() -> None:
        context = make_tls_context(cacert=certs.ca)
        async with connect(server.address, secure_transport="on", tls=context, trace=events.append) as socket:
            await socket.opened
            event = events[-1]
            assert isinstance(event, TlsEstablished)
            assert event.info == socket.tls_info

    with serve(lambda conn: conn.start_tls(certs.server_context())) as server:
        run(connected())


def test_sec_r11_a_certificate_that_is_not_trusted(certs: CertSet) -> None:
    """Nothing is told of TLS."""
    with serve(lambda conn: conn.start_tls(certs.server_context("expired"), may_fail=True)) as server:
        context = make_tls_context(cacert=certs.ca)
        events, error = told(server.address, secure_transport="on", tls=context)
    assert isinstance(error, TlsError)
    assert [type(event) for event in events] == [Resolved, Attempted, Connected]


def test_row_07_the_first_address_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told what became of it: given up, for another was faster."""
    with blackhole() as dead, serve(lambda conn: conn.recv_until_eof()) as server:
        resolving_to(monkeypatch, dead, server.port)
        events, error = told("two.test:1")
    assert error is None
    assert events[0] == Resolved((f"127.0.0.1:{dead}", server.address), events[0].seconds, "two.test:1")
    attempts = {event.address: event for event in events if isinstance(event, Attempted)}
    assert attempts[server.address].outcome == "connected"
    assert (attempts[f"127.0.0.1:{dead}"].outcome, attempts[f"127.0.0.1:{dead}"].error) == ("abandoned", None)
    assert attempts[f"127.0.0.1:{dead}"].seconds >= 0.25
    assert isinstance(events[-1], Connected)


def test_row_05_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each address with its error."""
    with refusing() as one, refusing() as two:
        resolving_to(monkeypatch, one, two)
        events, error = told("two.test:1")
    assert isinstance(error, ConnectError)
    attempts = [event for event in events if isinstance(event, Attempted)]
    assert [(event.address, event.outcome, event.reason) for event in attempts] == [
        (f"127.0.0.1:{port}", "failed", "connection refused") for port in (one, two)
    ]


def test_row_08_the_time_is_up() -> None:
    """The attempt that was under way is told of."""
    with blackhole() as port:
        events, error = told(f"127.0.0.1:{port}", connect_timeout=0.1)
    assert isinstance(error, ConnectTimeout)
    assert isinstance(events[-1], Attempted)
    assert events[-1].outcome == "abandoned"


def test_row_01_a_name_that_does_not_exist() -> None:
    """Nothing was tried."""
    assert told("nonexistent.invalid:1")[0] == []
    assert isinstance(told("nonexistent.invalid:1")[1], ResolveError)


def test_a_trace_that_fails_is_no_failure_of_the_socket() -> None:
    """What it raises goes to the loop's handler; connection and data are as ever."""
    reported: list[dict[str, Any]] = []

    def careless(event: TraceEvent) -> None:
        raise ZeroDivisionError(type(event).__name__)

    async def connected() -> bytes:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
        async with connect(server.address, trace=careless) as socket:
            return await socket.readable.get_reader().read()

    def script(conn: Peer) -> None:
        conn.send(b"hello")

    with serve(script) as server:
        assert run(connected()) == b"hello"
    assert [str(context["exception"]) for context in reported] == ["Resolved", "Attempted", "Connected"]


@pytest.mark.parametrize("trace", ["x", 1])
def test_what_cannot_be_called_is_no_trace(trace: object) -> None:
    """It is told at once (V15), not by an exception handler later."""

    async def connected() -> None:
        connect("localhost:1", trace=trace)  # type: ignore[arg-type]

    with pytest.raises((TypeError, OptionsError)):
        run(connected())


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"), "connection refused"),
        (OSError(errno.EADDRNOTAVAIL, "x"), "no local address and port left to connect from"),
        (OSError("Something Else"), "something else"),
    ],
)
def test_reasons_are_the_systems_words(error: OSError, reason: str) -> None:
    """Without what asyncio puts around them."""
    assert os_reason(error) == reason
