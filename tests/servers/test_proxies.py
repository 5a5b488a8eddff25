"""`cfcat --proxy` through real proxies, to real servers behind them."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import quote

import pytest

from tests.documents.examples import README
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, refusing, serve
from tests.helpers.program import Result, cfcat, shell
from tests.pipe.fast import MIB
from tests.pipe.tools import pattern
from tests.report.form import check_form
from tests.servers import proxies
from tests.servers.daemons import NGINX_FILE
from tests.servers.fleet import Fleet
from tests.servers.launcher import Daemon, Launch, Variant, launched
from tests.servers.proxies import FORBIDDEN_PORT, PASSWORD, SIMPLE_PASSWORD, SIMPLE_USER, USER

pytestmark = pytest.mark.one_python


class Way(NamedTuple):
    """A proxy, and how it is gone through."""

    daemon: Callable[[Launch], Daemon]
    scheme: str
    user: str = ""
    password: str = ""


WAYS = {
    "microsocks": Way(proxies.microsocks, "socks5h"),
    "microsocks, names resolved here": Way(proxies.microsocks, "socks5"),
    "microsocks, password": Way(proxies.microsocks_with_password, "socks5h", USER, PASSWORD),
    "dante, 5": Way(proxies.dante, "socks5h"),
    "dante, 4": Way(proxies.dante, "socks4"),
    "ssh -D, 5": Way(proxies.ssh_dynamic, "socks5h"),
    "ssh -D, 4a": Way(proxies.ssh_dynamic, "socks4a"),
    "tinyproxy": Way(proxies.tinyproxy, "http"),
    "tinyproxy, password": Way(proxies.tinyproxy_with_password, "http", SIMPLE_USER, SIMPLE_PASSWORD),
    "ncat, password": Way(proxies.ncat_proxy, "http", USER, PASSWORD),
    "squid": Way(proxies.squid, "http"),
    "squid, TLS": Way(proxies.squid, "https"),
    "apache": Way(proxies.apache_proxy, "http"),
    "apache, TLS": Way(proxies.apache_proxy, "https"),
}
PASSES_OUR_END = ("dante, 5", "dante, 4", "ssh -D, 5", "ssh -D, 4a", "apache", "apache, TLS")


class Proxies:
    """The proxies that run by now, each started when it is first gone through."""

    def __init__(self, certs: CertSet) -> None:
        self._certs = certs
        self._running: dict[Callable[[Launch], Daemon], Daemon] = {}
        self._stack: list[Iterator[Daemon]] = []

    def through(self, name: str) -> list[str]:
        """The options that go through it."""
        way = WAYS[name]
        daemon = self._daemon(way.daemon)
        port = daemon.tls_port if way.scheme == "https" else daemon.port
        credentials = f"{quote(way.user, safe='')}:{quote(way.password, safe='')}@" if way.user else ""
        url = f"{way.scheme}://{credentials}localhost:{port}"
        return ["--proxy", url, *(["--proxy-cacert", str(self._certs.ca)] if way.scheme == "https" else [])]

    def _daemon(self, function: Callable[[Launch], Daemon]) -> Daemon:
        if function not in self._running:
            running = _running(function, self._certs)
            self._running[function] = next(running)
            self._stack.append(running)
        return self._running[function]

    def stop(self) -> None:
        for running in self._stack:
            next(running, None)


def _running(function: Callable[[Launch], Daemon], certs: CertSet) -> Iterator[Daemon]:
    with launched(function, certs, Variant(host="127.0.0.1")) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def through(certs: CertSet) -> Iterator[Callable[[str], list[str]]]:
    """What options go through a way."""
    running = Proxies(certs)
    try:
        yield running.through
    finally:
        running.stop()


Through = Callable[[str], list[str]]
EACH = pytest.mark.parametrize("way", WAYS)


@contextmanager
def refused() -> Iterator[str]:
    with refusing() as port:
        yield f"127.0.0.1:{port}"


@EACH
def test_redis(way: str, through: Through, daemon: Fleet) -> None:
    """A request, its answer, and the server's end, by name."""
    target = f"localhost:{daemon('redis').port}"
    assert cfcat(*through(way), target, stdin=b"PING\r\nQUIT\r\n") == Result(b"+PONG\r\n+OK\r\n", "", 0)


@EACH
def test_a_file_by_tls(way: str, through: Through, daemon: Fleet, certs: CertSet) -> None:
    """10 MiB from nginx under TLS, which is inside; through an https proxy that is TLS in TLS."""
    options = [*through(way), "--tls", "on", "--cacert", str(certs.ca)]
    result = cfcat(
        *options, f"localhost:{daemon('http').tls_port}", stdin=b"GET /10M.bin HTTP/1.0\r\n\r\n", timeout_s=30
    )
    assert (result.stderr, result.status) == ("", 0)
    same = result.stdout.partition(b"\r\n\r\n")[2] == NGINX_FILE  # not in the assertion: pytest would explain 10 MiB
    assert same


@EACH
def test_64_mib_each_way(way: str, through: Through) -> None:
    """Not a byte is lost, added or changed; the end is the server's, as many a proxy does not pass on ours."""
    there, back = pattern(64 * MIB), pattern(64 * MIB)[::-1]
    digests: list[str] = []

    def script(conn: Peer) -> None:
        digest, left = hashlib.sha256(), len(there)
        while left and (chunk := conn.recv()):
            digest.update(chunk)
            left -= len(chunk)
            conn.forget()
        digests.append(digest.hexdigest())
        conn.send(back)

    with serve(script, timeout_s=60) as server:
        result = cfcat(*through(way), f"localhost:{server.port}", stdin=there, timeout_s=60)
    assert (result.stderr, result.status) == ("", 0)
    assert digests == [hashlib.sha256(there).hexdigest()]
    assert hashlib.sha256(result.stdout).hexdigest() == hashlib.sha256(back).hexdigest()


@EACH
def test_starttls(way: str, through: Through, daemon: Fleet, certs: CertSet) -> None:
    """Exim speaks first: its greeting may stand right behind the proxy's answer."""
    options = [*through(way), "--starttls", "smtp", "--cacert", str(certs.ca)]
    result = cfcat(*options, f"localhost:{daemon('smtp').port}", stdin=b"EHLO me.test\r\nQUIT\r\n")
    assert (result.stderr, result.status) == ("", 0)
    assert result.stdout.startswith(b"250-localhost Hello me.test")
    assert result.stdout.endswith(b"221 localhost closing connection\r\n")


@EACH
def test_a_server_that_speaks_first_is_heard(way: str, through: Through) -> None:
    """Every time: nothing of what is behind the answer is lost."""
    with serve(lambda conn: conn.send(b"220 hello\r\n")) as server:
        for _ in range(5):
            assert cfcat(*through(way), f"localhost:{server.port}") == Result(b"220 hello\r\n", "", 0)


@pytest.mark.parametrize("way", PASSES_OUR_END)
def test_half_close_passes(way: str, through: Through) -> None:
    """Where the proxy passes our end on, what comes after it arrives."""

    def script(conn: Peer) -> None:
        conn.send(b"got " + conn.recv_until_eof())

    with serve(script) as server:
        result = cfcat(*through(way), "--shutdown", "now", f"localhost:{server.port}", stdin=b"ping")
    assert result == Result(b"got ping", "", 0)


@EACH
def test_a_target_that_refuses(way: str, through: Through) -> None:
    """97, with the proxy's words as far as it has any."""
    with refused() as target:
        result = cfcat(*through(way), target)
    text, _ = check_form(result.stderr)
    assert text.startswith("proxy localhost:")
    assert "it could not reach " in text or way.startswith("ssh -D")
    assert result.status == 97


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("dante, 5", f"it refused to connect to localhost:{FORBIDDEN_PORT} (not allowed by its rules)"),
        ("squid", f"it refused to connect to localhost:{FORBIDDEN_PORT} (status 403); it said"),
        ("squid, TLS", f"it refused to connect to localhost:{FORBIDDEN_PORT} (status 403); it said"),
    ],
)
def test_a_target_that_is_not_allowed(way: str, words: str, through: Through) -> None:
    """The proxy's rules."""
    result = cfcat(*through(way), f"localhost:{FORBIDDEN_PORT}")
    assert words in check_form(result.stderr)[0]
    assert result.status == 97


@pytest.mark.parametrize("way", [name for name, way in WAYS.items() if way.user])
@pytest.mark.parametrize("credentials", ["", "other:secret@"])
def test_credentials_are_wanted(way: str, credentials: str, through: Through) -> None:
    """Without them, and with the wrong ones; where they come from is in the hint, and what they are nowhere."""
    _, url = through(way)
    scheme, _, place = url.partition("://")
    result = cfcat("--proxy", f"{scheme}://{credentials}{place.rpartition('@')[2]}", "localhost:1")
    text, hint = check_form(result.stderr)
    assert " user name and " in text
    assert hint == "they go into the URL, or into CFCAT_PROXY_USER and CFCAT_PROXY_PASSWORD"
    assert "secret" not in result.stderr
    assert result.status == 97


@pytest.mark.parametrize("way", [name for name, way in WAYS.items() if way.user])
def test_credentials_of_the_environment(way: str, through: Through, daemon: Fleet) -> None:
    """As they are, without encoding."""
    _, url = through(way)
    scheme, _, place = url.partition("://")
    env = {"CFCAT_PROXY_USER": WAYS[way].user, "CFCAT_PROXY_PASSWORD": WAYS[way].password}
    options = ["--proxy", f"{scheme}://{place.rpartition('@')[2]}", f"localhost:{daemon('redis').port}"]
    assert cfcat(*options, stdin=b"QUIT\r\n", env=env) == Result(b"+OK\r\n", "", 0)


@pytest.mark.parametrize("way", ["squid, TLS", "apache, TLS"])
def test_an_https_proxy_that_nobody_vouches_for(way: str, through: Through) -> None:
    """60, and it is the proxy; the options for the target do not help."""
    options = through(way)[:2]
    result = cfcat(*options, "--tls", "on", "-k", "localhost:1")
    *_, line, hint = result.stderr.splitlines()
    assert line.startswith("cfcat: proxy localhost:")
    assert ": certificate not trusted: " in line
    assert "--proxy-cacert FILE trusts another authority" in hint
    assert result.status == 60


def test_http_to_a_socks_proxy(through: Through) -> None:
    """microsocks answers in SOCKS; squid would wait for the end of a line."""
    url = through("microsocks")[1].replace("socks5h", "http")
    result = cfcat("--proxy", url, "localhost:1")
    text, hint = check_form(result.stderr)
    assert "its answer is not that of an HTTP proxy" in text
    assert hint == "socks5h:// in the URL, if it speaks SOCKS"
    assert result.status == 97


def test_ssh_by_a_proxy_command(certs: CertSet, daemon: Fleet) -> None:
    """As the README has it: cfcat is the way to the SSH server, and what ssh forwards arrives."""
    (command,) = re.findall("`(ssh -o ProxyCommand=.*) shell.example`", README)
    with launched(proxies.sshd, certs, Variant(host="127.0.0.1")) as server:
        options = shlex.join(proxies.ssh_options(server.folder))
        user = (server.folder / "user").read_text()
        forward = f"-W localhost:{daemon('redis').port} -p {server.port} {user}@127.0.0.1"
        result = shell(f"{command} {options} {forward}", stdin=b"PING\r\nQUIT\r\n", timeout_s=20)
    assert result == Result(b"+PONG\r\n+OK\r\n", "", 0)
