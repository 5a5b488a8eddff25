"""What ncat's own tests (ncat-test.pl, its clients that go through a proxy) ask of a client, asked of ours, by name.

Two things are otherwise here. We speak Basic, in the first request, and no Digest; and Basic has a colon behind a user
without a password (RFC 7617 §2). The tests left out have `--exec`, which we have not.
"""

from __future__ import annotations

import socket
from base64 import b64encode
from typing import Any, NamedTuple

import pytest

from cfcat import SocketError, connect, proxy
from tests.helpers.peers import Peer, serve

pytestmark = pytest.mark.one_python

PORT = 25
HERE = "127.0.0.1:25"
BASIC, DIGEST = 'Basic realm="realm"', 'Digest realm="realm", nonce="0123456789abcdef", qop="auth"'
GRANTED = b"HTTP/1.0 200 OK\r\n\r\n"
GRANTED_4, GRANTED_5 = b"\0\x5a" + bytes(6), b"\x05\0\0\x01" + bytes(6)
BY_ADDRESS_4 = b"\x04\x01\0\x19\x7f\0\0\x01\0"
BY_ADDRESS_5 = b"\x05\x01\0\x01\x7f\0\0\x01\0\x19"
REFUSED = "it refused the user name and the password (status 407)"
NO_BASIC = "it wants authentication by Digest, and Basic alone is spoken here"
LOG_IN = b"\x01\x05vasek\x05admin"


class Case(NamedTuple):
    """`steps`: what the proxy hears, and what it answers to that. `error`: of ours; "": the connection relays."""

    steps: list[tuple[bytes, bytes]]
    scheme: str = "http"
    credentials: str = ""
    target: str = HERE
    error: str = ""
    has_port: bool = False  # we connect from a port that is given


def request(credentials: bytes | None = None) -> bytes:
    """The CONNECT, with these credentials."""
    field = b"" if credentials is None else b"Proxy-Authorization: Basic " + b64encode(credentials) + b"\r\n"
    return b"CONNECT 127.0.0.1:25 HTTP/1.1\r\nHost: 127.0.0.1:25\r\n" + field + b"\r\n"


def challenged(*offers: str, error: str) -> Case:
    """A proxy that refuses the credentials, or wants others."""
    fields = "".join(f"Proxy-Authenticate: {offer}\r\n" for offer in offers)
    answer = f"HTTP/1.0 407 Authentication Required\r\n{fields}\r\n".encode()
    return Case([(request(b"user:pass"), answer)], credentials="user:pass@", error=error)


def logged_in(target: str, address: bytes) -> Case:
    """A SOCKS proxy that wants user name and password, and takes them."""
    asked = b"\x05\x01\0" + address + PORT.to_bytes(2, "big")
    steps = [(b"\x05\x02\0\x02", b"\x05\x02"), (LOG_IN, b"\x01\0"), (asked, GRANTED_5)]
    return Case(steps, "socks5h", "vasek:admin@", f"{target}:{PORT}")


CASES = {
    "Connect through HTTP proxy with -p": Case([(request(), GRANTED)], has_port=True),
    "Connect through SOCKS4 proxy with -p": Case([(BY_ADDRESS_4, GRANTED_4)], "socks4", has_port=True),
    "HTTP proxy client prefers Digest auth": challenged(BASIC, DIGEST, error=REFUSED),
    "HTTP proxy client prefers Digest auth, comma-separated": challenged(f"{BASIC}, {DIGEST}", error=REFUSED),
    "HTTP proxy Digest client auth": challenged(f'{DIGEST}, opaque="abcd"', error=NO_BASIC),
    "HTTP proxy Digest client auth, no qop": challenged('Digest realm="realm", nonce="01"', error=NO_BASIC),
    "HTTP proxy client handles scheme without auth-params": challenged(BASIC, "NTLM", DIGEST, error=REFUSED),
    "HTTP proxy client handles scheme without auth-params, comma-separated": challenged(
        f"{BASIC}, NTLM, {DIGEST}", error=REFUSED
    ),
    "HTTP CONNECT proxy relays": Case([(request(), GRANTED)]),
    "HTTP CONNECT client hides proxy server response": Case([(request(), b"HTTP/1.0 200 OK\r\nX: abc\r\n\r\n")]),
    "HTTP CONNECT client, different Status-Line": Case([(request(), b"HTTP/1.1 200 Go ahead\r\n\r\n")]),
    "HTTP CONNECT client, server sends header": Case(
        [(request(), b"HTTP/1.0 200 OK\r\nServer: ncat-test 1.2.3\r\n\r\n")]
    ),
    **{
        f'HTTP proxy auth base64 encoding: "{given}"': Case(
            [(request(sent if sent is None else sent.encode()), GRANTED)], credentials=f"{given}@"
        )
        for given, sent in {
            "": None,
            "a": "a:",
            **{same: same for same in ("a:", ":a", "user:sss", "user:ssss", "user:sssss")},
            **{same: same for same in ("user:~~~", "user:~~~~", "user:~~~~~")},
        }.items()
    },
    "SOCKS5 client, server require auth username/password (access allowed), IPv4": logged_in(
        "127.0.0.1", b"\x01\x7f\0\0\x01"
    ),
    "SOCKS5 client, server require auth username/password (access allowed), IPv6": logged_in(
        "[::1]", b"\x04" + bytes(15) + b"\x01"
    ),
    "SOCKS5 client, server require auth username/password (access allowed), domain": logged_in(
        "www.example", b"\x03\x0bwww.example"
    ),
    "SOCKS5 client, server allows connection - no auth": Case(
        [(b"\x05\x01\0", b"\x05\0"), (BY_ADDRESS_5, GRANTED_5)], "socks5h"
    ),
    "SOCKS5 client, server require auth username/password (access denied)": Case(
        [(b"\x05\x02\0\x02", b"\x05\x02"), (b"\x01\x05klara\x05admin", b"\x01\x11")],
        "socks5h",
        "klara:admin@",
        error="it refused the user name and the password",
    ),
    "SOCKS5 client, server require auth username/password (too long login)": Case(
        [], "socks5h", f"{'monika' * 100}:admindd@", error="user name and password of SOCKS 5 have 255 bytes at most"
    ),
    "SOCKS5 client, server sends short response": Case(
        [(b"\x05\x01\0", b"\x05")], "socks5h", error="it closed the connection instead of answering"
    ),
    "SOCKS5 client, server sends no acceptable auth method": Case(
        [(b"\x05\x01\0", b"\x05\xff")], "socks5h", error="it wants a user name and a password"
    ),
    "SOCKS5 client, server sends unkown code": Case(
        [(b"\x05\x01\0", b"\x05\xaa")],
        "socks5h",
        error="it chose an authentication that was not offered (method 170)",
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_a_case_of_ncats(name: str) -> None:
    """To the byte: what the proxy hears, and then what the target says right behind the answer, and what comes back."""
    case = CASES[name]

    def script(conn: Peer) -> None:
        for heard, said in case.steps:
            assert conn.recv_exactly(len(heard)) == heard
            conn.send(said + (b"def\n" if not case.error and (heard, said) == case.steps[-1] else b""))
        if not case.error:
            conn.send(conn.recv_exactly(4))

    options: dict[str, Any] = {}
    failure = ""
    if case.has_port:
        with socket.create_server(("127.0.0.1", 0)) as free:
            options["source"] = f":{free.getsockname()[1]}"
    with serve(script) as server:
        try:
            via = proxy(f"{case.scheme}://{case.credentials}{server.address}")
            async with connect(case.target, via=via, **options) as connection:
                await connection.writable.get_writer().write(b"abc\n")
                assert await connection.readable.get_reader().read_exactly(8) == b"def\nabc\n"
        except SocketError as error:
            failure = (error.detail or error.message).removeprefix(f"proxy {server.address}: ")
    assert failure == case.error
    sent = b"".join(heard for heard, _ in case.steps)
    assert server.received == sent + (b"" if case.error else b"abc\n")
    if case.has_port:
        assert server.peers[0].address[1] == int(options["source"][1:])
