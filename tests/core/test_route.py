"""Where a connection comes from, and where a name is said to be."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from cfcat import ConnectError, OptionsError, ResolveError, connect, make_tls_context, proxy
from cfcat.core.route import named_addresses, parse_resolve, parse_source
from tests.core.test_proxy import granted
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, refusing, serve
from tests.proxies.play import at

pytestmark = pytest.mark.one_python


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.0.2.7", "192.0.2.7", 0),
        ("192.0.2.7:5000", "192.0.2.7", 5000),
        (":5000", "", 5000),
        ("2001:db8::7", "2001:db8::7", 0),
        ("[2001:db8::7]", "2001:db8::7", 0),
        ("[2001:db8::7]:5000", "2001:db8::7", 5000),
        ("fe80::1%eth0", "fe80::1%eth0", 0),
        ("host.example", "host.example", 0),
        ("host.example:5000", "host.example", 5000),
    ],
)
def test_sources(text: str, host: str, port: int) -> None:
    """An address, a port, or both; IPv6 needs brackets only where a port follows."""
    assert parse_source(text) == (text, host, port)


@pytest.mark.parametrize(
    "text", ["", ":", ":0", "192.0.2.7:0", ":65536", "a b", "[::1", "::1]:x", "host:", "host:http"]
)
def test_what_is_no_source(text: str) -> None:
    """In `connect()` too."""
    with pytest.raises(OptionsError, match="a source is an address of this machine"):
        parse_source(text)


def test_entries_of_resolve() -> None:
    """As curl has them; the last one for a name counts."""
    entries = ["a.test:1:192.0.2.1", "b.test:2:192.0.2.2,2001:db8::2", "*:3:[::1]", "a.test:1:192.0.2.9"]
    assert parse_resolve(entries) == {
        "a.test:1": ["192.0.2.9"],
        "b.test:2": ["192.0.2.2", "2001:db8::2"],
        "*:3": ["[::1]"],
    }


@pytest.mark.parametrize(
    "entry",
    ["", "a.test", "a.test:1", "a.test:1:", "a.test:x:192.0.2.1", "a.test:1:b.test", "a.test:1:192.0.2.1,", ":1:::1"],
)
def test_what_is_no_entry_of_resolve(entry: str) -> None:
    """Names are not resolved to names."""
    with pytest.raises(OptionsError):
        parse_resolve([entry])


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("a.test:1", ["192.0.2.1"]),
        ("A.TEST:1", ["192.0.2.1"]),
        ("a.test.:1", ["192.0.2.1"]),
        ("a.test:2", None),
        ("b.test:1", None),
        ("b.test:3", ["::1"]),
        ("a.test:3", ["192.0.2.3"]),
    ],
)
def test_which_entry_counts(target: str, found: list[str] | None) -> None:
    """Host and port, and before what is for any host."""
    resolve = {"*:3": ["[::1]"], "a.test:1": ["192.0.2.1"], "A.test:3": ["192.0.2.3"]}
    assert named_addresses(resolve, at(target)) == found


async def test_a_connection_comes_from_its_source() -> None:
    """Another address of loopback."""
    with serve(lambda conn: conn.send(b"hello")) as server:
        async with connect(server.address, source="127.0.0.2") as connection:
            info = await connection.opened
    assert info.local_address.startswith("127.0.0.2:")
    assert server.peers[0].address[0] == "127.0.0.2"


@pytest.mark.parametrize("host", ["", "127.0.0.3"])
async def test_a_connection_comes_from_its_port(host: str) -> None:
    """And again, a moment later."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for _ in range(2):
        with serve(lambda conn: conn.send(b"hello")) as server:
            async with connect(server.address, source=f"{host}:{port}") as connection:
                await connection.opened
        assert server.peers[0].address == (host or "127.0.0.1", port)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("192.0.2.7", "cannot connect from 192.0.2.7: not an address of this machine"),
        ("::1", "127.0.0.1:1: the source ::1 is of the other family"),
        ("a..b", "source a..b: "),
    ],
)
async def test_a_source_that_cannot_be(source: str, text: str) -> None:
    """It says which, and not that there is no port left."""
    with pytest.raises(ConnectError) as caught:
        await connect("127.0.0.1:1", source=source).opened
    assert caught.value.detail.startswith(text)


async def test_a_name_is_where_it_is_said_to_be(certs: CertSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """No resolver is asked, and TLS has the name."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *more: Any, **options: Any) -> Any:
        assert "localhost" not in str(host)
        return real(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with serve(lambda conn: conn.start_tls(certs.server_context())) as server:
        name = f"localhost:{server.port}"
        options: Any = {"secure_transport": "on", "tls": make_tls_context(cacert=certs.ca)}
        async with connect(name, resolve={name: ["127.0.0.1"]}, **options) as connection:
            info = await connection.opened
            assert info.remote_address == server.address
    assert server.peers[0].sni == "localhost"


async def test_all_addresses_that_are_given_are_raced() -> None:
    """The first is dead."""
    with serve(lambda conn: conn.send(b"hello")) as server:
        target = f"two.test:{server.port}"
        async with connect(target, resolve={target: ["127.0.0.9", "127.0.0.1"]}) as connection:
            assert (await connection.opened).remote_address == server.address


async def test_a_family_that_no_given_address_has() -> None:
    """It is no connection to another one."""
    with pytest.raises(ResolveError) as caught:
        await connect("a.test:1", resolve={"a.test:1": ["127.0.0.1"]}, address_family="ipv6").opened
    assert caught.value.detail == "a.test:1: it was given no IPv6 address"


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
async def test_through_a_proxy(scheme: str) -> None:
    """The source is for the connection to the proxy; both names may be given, and the target goes as an address."""
    asked: list[bytes] = []

    def script(conn: Peer) -> None:
        receive = conn.recv_exactly

        def note(count: int) -> bytes:
            asked.append(receive(count))
            return asked[-1]

        conn.recv_exactly = note  # type: ignore[method-assign]
        granted(scheme, conn)

    with serve(script) as server:
        resolve = {f"gate.test:{server.port}": ["127.0.0.1"], "mail.test:25": ["192.0.2.7"]}
        via = proxy(f"{scheme}://gate.test:{server.port}")
        async with connect("mail.test:25", via=via, source="127.0.0.2", resolve=resolve) as connection:
            await connection.opened
    assert server.peers[0].address[0] == "127.0.0.2"
    assert b"\xc0\x00\x02\x07" in asked


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"source": 7}, TypeError),
        ({"source": "a b"}, OptionsError),
        ({"resolve": ["a.test:1:::1"]}, TypeError),
        ({"resolve": {"a.test": ["::1"]}}, OptionsError),
        ({"resolve": {"a.test:1": "::1"}}, OptionsError),
        ({"resolve": {"a.test:1": []}}, OptionsError),
        ({"resolve": {"a.test:1": ["b.test"]}}, OptionsError),
    ],
)
async def test_options_of_the_wrong_kind(options: dict[str, Any], error: type[Exception]) -> None:
    """By `connect()` itself."""
    with pytest.raises(error):
        connect("a.test:1", **options)


async def test_an_address_that_is_given_and_refuses() -> None:
    """It is named as one that was tried."""
    with refusing() as port:
        target = f"a.test:{port}"
        with pytest.raises(ConnectError) as caught:
            await connect(target, resolve={target: ["127.0.0.1"]}).opened
    assert caught.value.detail == f"{target}: connection refused (tried 127.0.0.1)"
