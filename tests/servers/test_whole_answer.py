"""The whole answer from real servers, with the commands that a user would type, and no option about ends.

All of them but Apache, HAProxy, Python's and redis are known to drop their answer, or a part of it, when a FIN or a
close_notify comes right behind the request. Each is asked several times: some do so now and then only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.helpers.certs import CertSet
from tests.helpers.program import cfcat
from tests.servers import chat, daemons, data, news, web
from tests.servers.chat import xmpp_header
from tests.servers.daemons import NGINX_FILE
from tests.servers.launcher import Daemon, Launch, Tls, Variant, launched

pytestmark = pytest.mark.one_python

RUNS = 3


def get(path: str, version: str = "1.0") -> bytes:
    return f"GET {path} HTTP/{version}\r\nHost: localhost\r\n\r\n".encode()


def _ldap() -> bytes:
    """A bind without a name, and a search for the one entry; nothing says that it was all."""
    search = b"\x04\x07dc=test" + bytes.fromhex("0a0100 0a0100 020100 020100 010100") + b"\x87\x0bobjectClass0\0"
    message = b"\x02\x01\x02\x63" + bytes([len(search)]) + search
    return bytes.fromhex("300c 020101 6007 020103 0400 8000") + b"\x30" + bytes([len(message)]) + message


@dataclass(frozen=True)
class Case:
    """A server, what it is asked, and how the answer begins and ends.

    `cut`: it ends TLS without close_notify. `has_tls`: it has a port for TLS.
    """

    server: Callable[[Launch], Daemon]
    request: bytes
    begins: bytes
    ends: bytes
    cut: bool = False
    has_tls: bool = True

    def check(self, answer: bytes) -> None:
        assert re.match(self.begins, answer), answer[:200]
        whole = answer.endswith(self.ends)  # not in the assertion: pytest would explain 10 MiB
        assert whole, f"{len(answer)} bytes, which end with {answer[-200:]!r}"


_VALUE = b"v" * 1000
_STORE, _STORED = b"SET k " + _VALUE + b"\r\n", b"$1000\r\n" + _VALUE + b"\r\n"
OK = rb"HTTP/1\.[01] 200 OK\r\n"
CASES = {
    "nginx": Case(daemons.nginx, get("/10M.bin"), OK, NGINX_FILE),
    "nginx, keep-alive": Case(daemons.nginx, get("/10M.bin", "1.1"), OK, NGINX_FILE, cut=True),
    "nginx, proxy": Case(web.nginx_proxy, get("/"), OK, web.ANSWER),
    "apache": Case(web.apache, get("/10M.bin"), OK, NGINX_FILE),
    "haproxy": Case(web.haproxy, get("/"), OK, web.ANSWER),
    "node, http": Case(web.node_http, get("/"), OK, NGINX_FILE),
    "node, net": Case(web.node_net, b"question\n", b"", web.ANSWER),
    "node, net, half-open": Case(web.node_net_half_open, b"question\n", b"", web.ANSWER),
    "python": Case(web.python_http, get("/10M.bin"), OK, NGINX_FILE, has_tls=False),
    "gophernicus": Case(daemons.gophernicus, b"\r\n", b"iWelcome", b"\r\n.\r\n"),
    "slapd": Case(data.slapd, _ldap(), b"0\x0c\x02\x01\x01a", b"\x02\x01\x02e\x07\n\x01\0\x04\0\x04\0"),
    "prosody": Case(chat.prosody_c2s, xmpp_header("client"), rb"<\?xml", b"</stream:features>"),
    "proftpd": Case(
        news.proftpd,
        b"FEAT\r\nHELP\r\nQUIT\r\n",
        rb"220 (?s:.*)\r\n211 (?s:.*)\r\n214 ",
        b"221 Goodbye.\r\n",
        has_tls=False,
    ),
    "redis": Case(data.redis, b"PING\r\n" * 100, b"", b"+PONG\r\n" * 100, cut=True),
    # More is asked than the peer has read when we have sent all of it.
    "redis, a long list": Case(data.redis, _STORE + b"GET k\r\n" * 12_000, rb"\+OK\r\n", _STORED * 12_000, cut=True),
}


@contextmanager
def running(case: Case, certs: CertSet, version: Tls | None) -> Iterator[tuple[Daemon, list[str]]]:
    """The server, and cfcat's arguments for it; `version` of TLS, None for clear text."""
    with launched(case.server, certs, Variant(tls=version or "any")) as daemon:
        if version is None:
            yield daemon, [f"localhost:{daemon.port}"]
        else:
            yield daemon, ["--tls", "on", "--cacert", str(certs.ca), f"localhost:{daemon.tls_port}"]


VERSIONS: tuple[Tls | None, ...] = (None, "1.2", "1.3")


@pytest.mark.parametrize(
    ("name", "version"),
    [(name, version) for name, case in CASES.items() for version in VERSIONS if case.has_tls or version is None],
)
def test_the_answer_is_whole(certs: CertSet, name: str, version: Tls | None) -> None:
    """Each time, with status 0; or 18 where the server leaves TLS without close_notify, which is its own fault."""
    case = CASES[name]
    with running(case, certs, version) as (_, arguments):
        for _ in range(RUNS):
            result = cfcat(*arguments, stdin=case.request, timeout_s=20)
            case.check(result.stdout)
            expected = 18 if case.cut and version else 0
            assert result.status == expected, result.stderr
