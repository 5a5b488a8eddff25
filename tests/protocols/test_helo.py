"""What EHLO may say of us, and what it says where nobody chose."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cfcat import connect
from cfcat.core.options import SocketOptions
from cfcat.errors import DialogError
from cfcat.protocols import PROTOCOLS
from cfcat.protocols.helo import is_helo_name, own_helo_name
from cfcat.protocols.upgrade import names_for, open_upgraded
from tests.helpers.peers import Peer, serve
from tests.protocols.scripts import XMPP_START

pytestmark = pytest.mark.one_python


@pytest.mark.parametrize(
    "name",
    [
        *("mail.example", "box", "a-b.example", "3com.example", "1.2.3", "x" * 63 + ".example"),
        *("[127.0.0.1]", "[255.255.255.255]", "[IPv6:::1]", "[ipv6:2001:DB8::7]", "[IPv6:::ffff:192.0.2.1]"),
    ],
)
def test_names_that_may_be_said(name: str) -> None:
    """RFC 5321: a domain of letters, digits and hyphens, or an address in brackets."""
    assert is_helo_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "my_host", "-a.example", "a-.example", "a..b", "mail.example.", ".a", "x" * 64, "a." * 127 + "bc"),
        *("a b", "a\r\nQUIT", "a\n", "a\0", "bücher.example", "\u0661.example", "a.example\n"),
        *("127.0.0.1]", "[127.0.0.1", "[127.0.0.256]", "[127.0.0]", "[\u0661.0.0.1]", "[::1]", "[IPv6:fe80::1%lo]"),
        *("[IPv6:]", "[IPv6:x]", "[IPv6:127.0.0.1]", "[127.0.0.1]\n", "[tag:x]", "2001:db8::7"),
    ],
)
def test_names_that_may_not_be_said(name: str) -> None:
    """Underscores, empty labels, anything that is more than a name, and addresses that are none."""
    assert not is_helo_name(name)


@pytest.mark.parametrize(
    ("hostname", "address", "name"),
    [
        ("mail.example", "192.0.2.1", "mail.example"),
        ("my_host", "127.0.0.1", "[127.0.0.1]"),
        ("my_host.example", "127.0.0.1", "[127.0.0.1]"),
        ("box", "127.0.0.1", "[127.0.0.1]"),
        ("localhost", "::1", "[IPv6:::1]"),
        ("10.0.0.1", "192.0.2.1", "[192.0.2.1]"),
        ("[10.0.0.1]", "192.0.2.1", "[192.0.2.1]"),
        ("box.", "192.0.2.1", "[192.0.2.1]"),
        ("", "192.0.2.1", "[192.0.2.1]"),
        ("box", "fe80::1%eth0", "[IPv6:fe80::1]"),
    ],
)
def test_own_name(hostname: str, address: str, name: str) -> None:
    """The host's where servers take it, else the literal of our address; never its zone."""
    assert own_helo_name(hostname, address) == name


@given(st.text(), st.ip_addresses().map(str))
def test_own_name_may_always_be_said(hostname: str, address: str) -> None:
    """Whatever the host is called."""
    assert is_helo_name(own_helo_name(hostname, address))


@pytest.mark.parametrize(
    ("protocol", "host", "hostname", "helo", "said"),
    [
        ("smtp", "127.0.0.1", "my_host", None, b"EHLO [127.0.0.1]\r\n"),
        ("lmtp", "::1", "box", None, b"LHLO [IPv6:::1]\r\n"),
        ("smtp", "127.0.0.1", "mail.example", None, b"EHLO mail.example\r\n"),
        ("smtp", "127.0.0.1", "mail.example", "other.example", b"EHLO other.example\r\n"),
    ],
)
async def test_dialog_says_the_name(
    monkeypatch: pytest.MonkeyPatch, protocol: str, host: str, hostname: str, helo: str | None, said: bytes
) -> None:
    """The name of this host, our end of this very connection, or what was chosen."""
    monkeypatch.setattr(socket, "gethostname", lambda: hostname)

    def refuse(conn: Peer) -> None:
        conn.send(b"220 ready\r\n")
        assert conn.recv_until(b"\n") == said
        conn.send(b"550 no\r\n")
        conn.recv_until_eof()

    with serve(refuse, host=host) as server:
        options = SocketOptions(secure_transport="starttls")
        with pytest.raises(DialogError, match="refused"):
            await open_upgraded(
                connect(server.address, options), server.address, options, PROTOCOLS[protocol], helo=helo
            )


@pytest.mark.parametrize(
    ("host", "sni", "server"),
    [
        ("xmpp.example.", None, "xmpp.example"),
        ("xmpp.example", None, "xmpp.example"),
        ("fe80::1%eth0", None, "fe80::1"),
        ("fe80::1%eth0", "xmpp.example", "xmpp.example"),
    ],
)
def test_names_of_a_dialog_have_no_zone_and_no_last_dot(host: str, sni: str | None, server: str) -> None:
    """RFC 7622; a zone is this machine's own affair, on either side."""
    names = names_for(host, "fe80::2%eth0", sni=sni)
    assert names.server_name == server
    assert "%" not in names.client_name


@pytest.mark.parametrize(
    ("host", "sni", "domain"),
    [
        ("localhost", None, b"localhost"),
        ("[::1]", None, b"[::1]"),
        ("127.0.0.1", None, b"127.0.0.1"),
        ("127.0.0.1", "other.example.", b"other.example"),
    ],
)
async def test_xmpp_asks_for_the_host(host: str, sni: str | None, domain: bytes) -> None:
    """RFC 7622: without the dot that ends it, without a zone, an IPv6 address in brackets; or for the name of --sni."""

    def refuse(conn: Peer) -> None:
        assert b" to='" + domain + b"' " in conn.recv_until(b">")
        conn.send(b"<stream:stream><stream:features/>")
        assert conn.recv_exactly(len(XMPP_START)) == XMPP_START
        conn.send(b"<failure/>")
        conn.recv_until_eof()

    with serve(refuse, host="::1" if ":" in host else "127.0.0.1") as server:
        target = f"{host}:{server.port}"
        options = SocketOptions(secure_transport="starttls", expected_server_hostname=sni)
        with pytest.raises(DialogError, match="failure"):
            await open_upgraded(connect(target, options), target, options, PROTOCOLS["xmpp"])
