"""Connecting through a proxy: its dialog, what is behind that, its TLS, and every way in which it may not work."""

from __future__ import annotations

import gc
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from cfcat import (
    CertificateError,
    ConnectError,
    ConnectTimeout,
    InjectionError,
    LostError,
    OptionsError,
    Proxy,
    ProxyError,
    ResolveError,
    Socket,
    SocketError,
    TlsError,
    WorkersPolicy,
    connect,
    make_tls_context,
    proxy,
)
from cfcat.core.trace import Attempted, Proxied, Resolved, TraceEvent
from tests.core.test_dial import Resolve, found, names  # noqa: F401  # `names` is a fixture
from tests.helpers.certs import CertSet
from tests.helpers.links import open_descriptors, until
from tests.helpers.peers import Peer, Script, Server, blackhole, refusing, serve

NAME = "mail.test:25"  # no resolver knows it
SCHEMES = ["socks5h", "socks4a", "http", "https"]
GRANTED_5 = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"


def granted(scheme: str, conn: Peer, behind: bytes = b"") -> None:
    """Play the proxy up to the target, whatever that is; `behind` comes with the answer."""
    if scheme in ("socks5", "socks5h"):
        conn.recv_exactly(3)
        conn.send(b"\x05\x00")
        head = conn.recv_exactly(4)
        conn.recv_exactly({1: 4, 3: 0, 4: 16}[head[3]] or conn.recv_exactly(1)[0])
        conn.recv_exactly(2)
        answer = GRANTED_5
    elif scheme.startswith("socks4"):
        head = conn.recv_exactly(8)
        conn.recv_until(b"\0")
        if head[4:7] == bytes(3):
            conn.recv_until(b"\0")
        answer = b"\0\x5a" + bytes(6)
    else:
        conn.recv_until(b"\r\n\r\n")
        answer = b"HTTP/1.1 200 OK\r\n\r\n"
    conn.forget()
    conn.send(answer + behind)


@contextmanager
def serving(scheme: str, certs: CertSet, script: Script, behind: bytes = b"") -> Iterator[tuple[Server, Proxy]]:
    """A proxy whose target says `behind` at once and then behaves like `script`; and what `via` takes to go there."""

    def whole(conn: Peer) -> None:
        if scheme == "https":
            conn.start_tls(certs.server_context())
        granted(scheme, conn, behind)
        script(conn)

    with serve(whole) as server:
        context = make_tls_context(cacert=certs.ca) if scheme == "https" else None
        yield server, proxy(f"{scheme}://{server.address}", tls=context)


async def read_all(socket: Socket) -> bytes:
    return b"".join([chunk async for chunk in socket.readable])


# ------------------------------------------------------------------------------------ what goes through


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_both_ways_and_both_ends(scheme: str, certs: CertSet) -> None:
    """Data, our end, and then the rest of the answer: half-close passes."""

    def script(conn: Peer) -> None:
        conn.send(b"220 hello\r\n")
        conn.send(b"got " + conn.recv_until_eof())

    with serving(scheme, certs, script) as (server, via):
        async with connect(NAME, via=via, allow_half_open=True) as socket:
            info = await socket.opened
            assert info.remote_address == server.address
            writer = socket.writable.get_writer()
            await writer.write(b"ping")
            await writer.close()
            assert await read_all(socket) == b"220 hello\r\ngot ping"
    assert server.peers[0].ended == ("close_notify" if scheme == "https" else "eof")


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_what_stands_right_behind_the_answer_is_data(scheme: str, certs: CertSet) -> None:
    """A server that speaks first may be heard in the same segment, or the same TLS record."""

    with serving(scheme, certs, Peer.recv_until_eof, behind=b"220 hello\r\n") as (_, via):
        async with connect(NAME, via=via) as socket:
            reader = socket.readable.get_reader()
            assert await reader.read_until(b"\n") == b"220 hello\r\n"


@pytest.mark.parametrize("scheme", ["socks5h", "http", "https"])
async def test_an_answer_in_single_bytes(scheme: str, certs: CertSet) -> None:
    """Any split of it is the same."""

    def script(conn: Peer) -> None:
        if scheme == "https":
            conn.start_tls(certs.server_context())
        send = conn.send

        def slowly(data: bytes) -> None:
            for byte in data:
                send(bytes((byte,)))

        conn.send = slowly  # type: ignore[method-assign]
        granted(scheme, conn)
        conn.send(b"hello")

    with serve(script) as server:
        context = make_tls_context(cacert=certs.ca)
        async with connect(NAME, via=proxy(f"{scheme}://{server.address}", tls=context)) as socket:
            assert await read_all(socket) == b"hello"


@pytest.mark.parametrize("scheme", ["socks5h", "http", "https"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls_to_the_target(scheme: str, version: ssl.TLSVersion, certs: CertSet) -> None:
    """It is inside, with the target's name; through an https proxy it is TLS in TLS."""

    def script(conn: Peer) -> None:
        inner(conn, certs.server_context(version=version))

    with serving(scheme, certs, script) as (_, via):
        options: Any = {"secure_transport": "on", "tls": make_tls_context(cacert=certs.ca), "allow_half_open": True}
        async with connect("localhost:25", via=via, **options) as socket:
            await socket.opened
            assert socket.tls_info is not None
            assert socket.tls_info.version == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
            assert socket.tls_info.server_name == "localhost"
            writer = socket.writable.get_writer()
            await writer.write(b"ping")
            await writer.close()
            assert await read_all(socket) == b"got ping"


def inner(conn: Peer, context: ssl.SSLContext) -> None:
    """A target under TLS of its own: it echoes up to the end. Where the proxy has TLS, that is around."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)

    def until(step: Callable[[], Any]) -> Any:
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                conn.send(outgoing.read())
                incoming.write(conn.recv())
            else:
                conn.send(outgoing.read())
                return done

    until(tls.do_handshake)
    data = until(lambda: tls.read(100))
    assert until(lambda: tls.read(100)) == b""  # close_notify
    tls.write(b"got " + data)
    until(tls.unwrap)


@pytest.mark.parametrize("scheme", ["socks5h", "http", "https"])
async def test_starttls_through_it(scheme: str, certs: CertSet) -> None:
    """In clear text first; the session tickets of the proxy's own TLS are none."""

    def script(conn: Peer) -> None:
        assert conn.recv_until(b"\n") == b"STARTTLS\r\n"
        conn.send(b"220 go\r\n")
        inner(conn, certs.server_context())

    with serving(scheme, certs, script) as (_, via):
        options: Any = {"secure_transport": "starttls", "tls": make_tls_context(cacert=certs.ca)}
        socket = connect("localhost:25", via=via, allow_half_open=True, **options)
        await socket.writable.get_writer().write(b"STARTTLS\r\n")
        assert await socket.readable.get_reader().read_until(b"\n") == b"220 go\r\n"
        async with socket.start_tls() as secure:
            await secure.opened
            writer = secure.writable.get_writer()
            await writer.write(b"ping")
            await writer.close()
            assert await read_all(secure) == b"got ping"


@pytest.mark.parametrize("scheme", ["socks5h", "http", "https"])
@pytest.mark.parametrize("read_first", [True, False])
async def test_injection_through_it(scheme: str, read_first: bool, certs: CertSet) -> None:
    """Clear text that nobody has read is refused before the ClientHello, wherever it waits."""

    with serving(scheme, certs, Peer.recv_until_eof, behind=b"220 go\r\nFORGED\r\n") as (_, via):
        options: Any = {"secure_transport": "starttls", "tls": make_tls_context(cacert=certs.ca)}
        socket = connect("localhost:25", via=via, **options)
        await socket.opened
        if read_first:
            assert await socket.readable.get_reader().read_until(b"\n") == b"220 go\r\n"
        with pytest.raises(InjectionError) as caught:
            await socket.start_tls().opened
        assert caught.value.count == len(b"FORGED\r\n" if read_first else b"220 go\r\nFORGED\r\n")


@pytest.mark.parametrize("scheme", ["socks5h", "https"])
async def test_a_lot_both_ways(scheme: str, certs: CertSet) -> None:
    """More than any buffer holds, and than one record of either TLS."""
    size = 3_000_000

    def script(conn: Peer) -> None:
        data = conn.recv_exactly(size)
        conn.send(data[::-1])

    with serving(scheme, certs, script) as (_, via):
        async with connect(NAME, via=via) as socket:
            data = bytes(range(256)) * (size // 256) + bytes(size % 256)
            await socket.writable.get_writer().write(data)
            assert await read_all(socket) == data[::-1]


@pytest.mark.parametrize("scheme", ["socks5h", "https"])
async def test_a_reset_is_one(scheme: str, certs: CertSet) -> None:
    """It is not taken for an end."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(4)
        conn.reset()

    with serving(scheme, certs, script) as (_, via):
        socket = connect(NAME, via=via)
        await socket.writable.get_writer().write(b"ping")
        with pytest.raises(LostError):
            await read_all(socket)
        with pytest.raises(LostError):
            await socket.closed


async def test_an_https_proxy_that_ends_without_close_notify_has_ended(certs: CertSet) -> None:
    """In clear text a FIN is all there is to tell; the TLS inside would find out."""

    def script(conn: Peer) -> None:
        conn.send(b"hello")
        conn.end()

    with serving("https", certs, script) as (_, via):
        async with connect(NAME, via=via) as socket:
            assert await read_all(socket) == b"hello"


# ------------------------------------------------------------------------------------- who resolves what


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_the_proxy_resolves(scheme: str, certs: CertSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """No resolver of this machine sees the name."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *more: Any, **named: Any) -> Any:
        assert b"mail" not in host
        return real(host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with serving(scheme, certs, Peer.recv_until_eof) as (_, via):
        async with connect(NAME, via=via) as connection:
            await connection.opened


@pytest.mark.parametrize("scheme", ["socks5", "socks4"])
async def test_we_resolve(scheme: str, certs: CertSet) -> None:
    """A name that we do not find is status 6, as without a proxy, and the proxy is asked for nothing."""
    with serve(lambda conn: conn.recv_until_eof()) as server:
        via = proxy(f"{scheme}://{server.address}")
        with pytest.raises(ResolveError, match=r"a\.\.b:25"):
            await connect("a..b:25", via=via).opened
    assert server.peers == []


async def test_every_address_that_we_resolve_is_tried(names: Resolve) -> None:  # noqa: F811
    """By a connection of its own to the proxy; the first one that comes about wins."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(3)
        conn.send(b"\x05\x00")
        host = conn.recv_exactly(10)[4:8]
        if host == b"\x7f\x00\x00\x02":
            conn.send(b"\x05\x04")
            conn.end()
            return
        conn.send(GRANTED_5 + b"hello")

    names("two.test", lambda family: [found("127.0.0.2", 25), found("127.0.0.3", 25)])
    events: list[TraceEvent] = []
    with serve(script) as server:
        async with connect("two.test:25", via=proxy(f"socks5://{server.address}"), trace=events.append) as connection:
            assert await read_all(connection) == b"hello"
    assert len(server.peers) == 2
    tried = [(event.address, event.outcome) for event in events if isinstance(event, Attempted)]
    assert tried == [
        (server.address, "connected"),
        ("127.0.0.2:25", "failed"),
        (server.address, "connected"),
        ("127.0.0.3:25", "connected"),
    ]


async def test_no_address_that_we_resolve_can_be_reached(names: Resolve) -> None:  # noqa: F811
    """All are named, with the proxy's words."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(3)
        conn.send(b"\x05\x00")
        last = conn.recv_exactly(10)[7]
        conn.send(bytes((5, 3 + last)))

    names("two.test", lambda family: [found("127.0.0.1", 25), found("127.0.0.2", 25)])
    with serve(script) as server:
        with pytest.raises(ProxyError) as caught:
            await connect("two.test:25", via=proxy(f"socks5://{server.address}")).opened
    assert caught.value.detail == (
        f"proxy {server.address}: it could not reach two.test:25 "
        "(127.0.0.1: host unreachable, 127.0.0.2: connection refused)"
    )
    assert [attempt.address for attempt in caught.value.attempts] == ["127.0.0.1:25", "127.0.0.2:25"]


async def test_what_is_wrong_with_the_proxy_ends_the_race(names: Resolve) -> None:  # noqa: F811
    """It would refuse each address for the same reason."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(3)
        conn.send(b"\x05\xff")

    names("two.test", lambda family: [found("127.0.0.1", 25), found("127.0.0.2", 25)])
    with serve(script) as server:
        with pytest.raises(ProxyError, match="it wants a user name and a password"):
            await connect("two.test:25", via=proxy(f"socks5://{server.address}")).opened
    assert len(server.peers) == 1


# ---------------------------------------------------------------------------------------- what is told


@pytest.mark.parametrize("scheme", ["socks5h", "https"])
async def test_each_hop_is_told(scheme: str, certs: CertSet) -> None:
    """The proxy's address, and the target behind it; with the TLS that is between us and the proxy."""
    events: list[TraceEvent] = []
    with serving(scheme, certs, Peer.recv_until_eof) as (server, via):
        async with connect(NAME, via=via, trace=events.append) as connection:
            await connection.opened
    kinds = [type(event).__name__ for event in events]
    assert kinds == ["Resolved", "Attempted", "Proxied", "Connected"]
    resolved, proxied = events[0], events[2]
    assert isinstance(resolved, Resolved)
    assert resolved.target == server.address
    assert isinstance(proxied, Proxied)
    assert (proxied.proxy, proxied.target) == (f"{scheme}://{server.address}", NAME)
    assert proxied.tls.startswith("TLSv1.3, ") == (scheme == "https")
    assert 0 < proxied.seconds < 5


async def test_credentials_are_told_nobody(certs: CertSet) -> None:
    """Not in events, errors and reprs."""
    events: list[TraceEvent] = []

    def script(conn: Peer) -> None:
        conn.recv_until(b"\r\n\r\n")
        conn.send(b"HTTP/1.1 407 no\r\n\r\n")

    with serve(script) as server:
        via = proxy(f"http://us:s3cret@{server.address}")
        connection = connect(NAME, via=via, trace=events.append)
        with pytest.raises(ProxyError) as caught:
            await connection.opened
        assert b"dXM6czNjcmV0" in server.received
    for shown in (caught.value, *events, connection, via):
        assert "s3cret" not in f"{shown!r} {shown!s} {getattr(shown, '__dict__', '')}"


# ------------------------------------------------------------------------------- what may not work


async def failure(script: Script, scheme: str = "socks5h", target: str = NAME, **options: Any) -> SocketError:
    with serve(script) as server:
        with pytest.raises(SocketError) as caught:
            await connect(target, via=proxy(f"{scheme}://{server.address}"), **options).opened
        caught.value.detail = caught.value.detail.replace(server.address, "PROXY")
    return caught.value


async def test_it_could_not_reach_the_target() -> None:
    """Its words, and who says so."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(3)
        conn.send(b"\x05\x00")
        conn.recv_until(b"\x00\x19")
        conn.send(b"\x05\x04\x00\x01" + bytes(6))

    error = await failure(script)
    assert isinstance(error, ProxyError)
    assert error.detail == "proxy PROXY: it could not reach mail.test:25 (host unreachable)"
    assert error.message == "proxy request failed, cannot connect to the specified address"


@pytest.mark.parametrize("scheme", ["socks5h", "socks4a", "http"])
@pytest.mark.parametrize("how", ["end", "close", "reset"])
async def test_it_hangs_up_in_place_of_an_answer(scheme: str, how: str) -> None:
    """Named, whichever way it ends."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(3)
        getattr(conn, how)()

    error = await failure(script, scheme)
    assert isinstance(error, ProxyError)
    assert error.kind == "ended"
    assert error.detail in (
        "proxy PROXY: it closed the connection instead of answering",
        "proxy PROXY: connection reset by peer instead of an answer",
    )


@pytest.mark.parametrize(
    ("scheme", "said", "text"),
    [
        ("socks5h", b"HTTP/1.1 400 Bad Request\r\n\r\n", "its answer is not SOCKS 5"),
        ("socks4a", b"SSH-2.0-x\r\n", "its answer is not SOCKS 4"),
        ("http", b"\x05\xff", "its answer is not that of an HTTP proxy"),
        ("http", b"220 mail.example ESMTP\r\n", "its answer is not that of an HTTP proxy"),
    ],
)
async def test_it_speaks_something_else(scheme: str, said: bytes, text: str) -> None:
    """What has come of that is kept for the message."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(3)
        conn.send(said)
        conn.recv_until_eof()

    error = await failure(script, scheme)
    assert isinstance(error, ProxyError)
    assert (error.detail, error.kind) == (f"proxy PROXY: {text}", "nonsense")
    assert said.startswith(error.said)


async def test_its_header_has_no_end() -> None:
    """It is not read for ever."""

    def script(conn: Peer) -> None:
        conn.recv_until(b"\r\n\r\n")
        with suppress(OSError):  # a reset, or a broken pipe
            while True:
                conn.send(b"HTTP/1.1 200 OK" + b"\r\nX: y" * 5000)

    error = await failure(script, "http")
    assert error.detail == "proxy PROXY: its answer has no end within 64 KiB"


@pytest.mark.parametrize("scheme", ["socks5h", "http", "https"])
async def test_it_is_silent(scheme: str, certs: CertSet) -> None:
    """The one deadline covers its dialog and its TLS, and the message says whose silence that is."""
    began = time.monotonic()
    error = await failure(lambda conn: conn.hang(), scheme, connect_timeout=0.3)
    assert time.monotonic() - began < 5
    assert isinstance(error, ConnectTimeout)
    missing = "the TLS handshake was not complete" if scheme == "https" else "no answer"
    assert error.detail == f"proxy PROXY: {missing} after 0.3 s"


async def test_nobody_is_there() -> None:
    """A ConnectError as any other, but for the name."""
    with refusing() as port:
        with pytest.raises(ConnectError) as caught:
            await connect(NAME, via=proxy(f"http://127.0.0.1:{port}")).opened
    assert type(caught.value) is ConnectError
    assert caught.value.detail == f"proxy 127.0.0.1:{port}: connection refused"
    assert [attempt.address for attempt in caught.value.attempts] == [f"127.0.0.1:{port}"]


async def test_it_cannot_be_reached_in_time() -> None:
    """Its packets go nowhere."""
    with blackhole() as port:
        with pytest.raises(ConnectTimeout) as caught:
            await connect(NAME, via=proxy(f"socks5h://127.0.0.1:{port}"), connect_timeout=0.3).opened
    assert caught.value.detail == f"proxy 127.0.0.1:{port}: no connection after 0.3 s"


async def test_its_name_is_not_found() -> None:
    """No ResolveError: that is for the target's."""
    with pytest.raises(ConnectError) as caught:
        await connect(NAME, via=proxy("socks5h://a..b:1080")).opened
    assert type(caught.value) is ConnectError
    assert caught.value.detail.startswith("proxy a..b:1080: ")


@pytest.mark.parametrize("kind", ["expired", "wrong_host", "untrusted"])
async def test_its_certificate_is_not_trusted(kind: Any, certs: CertSet) -> None:
    """It is named, and has heard nothing of the target then."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context(kind), may_fail=True)

    with serve(script) as server:
        via = proxy(f"https://us:s3cret@{server.address}", tls=make_tls_context(cacert=certs.ca))
        with pytest.raises(CertificateError) as caught:
            await connect(NAME, via=via).opened
    assert caught.value.proxy == server.address
    assert caught.value.detail.startswith("certificate not trusted: ")
    assert server.received == b""


async def test_it_has_no_tls() -> None:
    """What it said in clear text is quoted."""

    def script(conn: Peer) -> None:
        conn.recv()
        conn.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        conn.recv_until_eof()

    error = await failure(script, "https")
    assert isinstance(error, TlsError)
    assert (error.detail, error.said) == ("peer does not speak TLS", b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert error.proxy


async def test_a_record_of_its_tls_is_broken(certs: CertSet) -> None:
    """The error names the proxy: the target's TLS is another one."""

    def script(conn: Peer) -> None:
        conn.send_raw(b"\x17\x03\x03\x00\x20" + bytes(32))
        conn.recv_until_eof()

    with serving("https", certs, script) as (server, via):
        connection = connect(NAME, via=via)
        with pytest.raises(TlsError, match=f"proxy {server.address}: TLS failed"):
            await read_all(connection)
        connection.abort()


async def test_the_targets_certificate_is_the_targets(certs: CertSet) -> None:
    """A proxy that can be trusted vouches for nobody."""

    def script(conn: Peer) -> None:
        with pytest.raises(ssl.SSLError):
            inner(conn, certs.server_context())

    with serving("https", certs, script) as (_, via):
        options: Any = {"secure_transport": "on", "tls": make_tls_context()}
        with pytest.raises(CertificateError) as caught:
            await connect("localhost:25", via=via, **options).opened
    assert caught.value.proxy == ""


@pytest.mark.parametrize(
    ("url", "target"), [("socks4://127.0.0.1:1", "[::1]:25"), ("socks5h://127.0.0.1:1", "[fe80::1%eth0]:25")]
)
async def test_what_cannot_be_asked_for_is_refused_at_once(url: str, target: str) -> None:
    """By `connect()` itself."""
    with pytest.raises(OptionsError):
        connect(target, via=proxy(url))


async def test_a_policy_excludes_a_proxy() -> None:
    """It is about addresses that this machine connects to."""
    with pytest.raises(OptionsError, match="it excludes a proxy"):
        connect(NAME, via=proxy("http://gate"), policy=WorkersPolicy())
    with pytest.raises(TypeError, match="via must be Proxy"):
        connect(NAME, via="http://gate")  # type: ignore[arg-type]


@pytest.mark.parametrize("scheme", ["socks5h", "socks5", "https"])
async def test_nothing_is_left_of_what_was_given_up(scheme: str, certs: CertSet) -> None:
    """Cancelled in the middle of a dialog, or of its TLS."""
    gc.collect()
    before = open_descriptors()
    with serve(Peer.recv_until_eof) as server:
        connection = connect("127.0.0.1:25", via=proxy(f"{scheme}://{server.address}"))
        await until(lambda: server.received)
        connection.abort()
        with pytest.raises(SocketError):
            await connection.opened
    del connection
    gc.collect()
    assert open_descriptors() == before
