"""Pipe mode against real daemons, with the very commands that a user would type."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Iterable

import pytest

from tests.helpers.certs import CertSet
from tests.helpers.program import Result, finish, shell, start
from tests.servers import daemons
from tests.servers.launcher import Daemon

pytestmark = pytest.mark.one_python

FAMILIES = pytest.mark.parametrize("family", [[], ["-4"], ["-6"]], ids=["any", "-4", "-6"])
SECURE = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


def pipe(request: str, options: Iterable[str], target: str) -> Result:
    """Run `printf REQUEST | cfcat OPTIONS TARGET`; the status is cfcat's."""
    return shell(f"printf {shlex.quote(request)} | cfcat {shlex.join([*options, target])}")


def target(daemon: Daemon, tls: bool, family: list[str]) -> str:
    """Return localhost:port; with -6 the address, where localhost has no IPv6 address on this machine."""
    port = daemon.tls_port if tls else daemon.port
    if family == ["-6"]:
        daemon.need("::1")
        try:
            socket.getaddrinfo("localhost", port, socket.AF_INET6)
        except OSError:
            return f"[::1]:{port}"
    return f"localhost:{port}"


def trusting(certs: CertSet) -> list[str]:
    return ["--tls", "on", "--cacert", str(certs.ca)]


@SECURE
@FAMILIES
def test_gopher_menu(gopher: Daemon, certs: CertSet, tls: bool, family: list[str]) -> None:
    """`printf '\\r\\n' | cfcat localhost:PORT` prints the menu: the end of stdin ends our side only."""
    options = [*family, *(trusting(certs) if tls else [])]
    menu = daemons.gopher_menu(gopher.tls_port if tls else gopher.port)
    assert pipe(r"\r\n", options, target(gopher, tls, family)) == Result(menu, "", 0)


@FAMILIES
def test_whole_file_by_tls(nginx: Daemon, certs: CertSet, family: list[str]) -> None:
    """Our close_notify waits for the answer; one in its midst may cut it short, or cost nginx's own."""
    options = [*family, *trusting(certs)]
    check_file(pipe(r"GET /10M.bin HTTP/1.0\r\n\r\n", options, target(nginx, True, family)))


@FAMILIES
def test_stdin_ends_while_the_answer_comes(nginx: Daemon, certs: CertSet, family: list[str]) -> None:
    """As above, with the request surely read before its end is sent: this ends in order every time."""
    options = [*family, *trusting(certs)]
    with start(*options, target(nginx, True, family)) as program:
        program.say(b"GET /10M.bin HTTP/1.0\r\n\r\n")
        program.read_until(b"\r\n\r\n")
        check_file(finish(program))


@FAMILIES
def test_whole_file_in_clear_text(nginx: Daemon, family: list[str]) -> None:
    """nginx takes a FIN for a client that went away: the end of stdin is passed on when it cannot cost the answer."""
    check_file(pipe(r"GET /10M.bin HTTP/1.0\r\n\r\n", family, target(nginx, False, family)))


def test_the_end_at_once_costs_the_answer(nginx: Daemon) -> None:
    """What the waiting is for: asked to send its end at once, cfcat gets what nc -N gets."""
    sizes = set()
    for _ in range(10):
        result = pipe(r"GET /10M.bin HTTP/1.0\r\n\r\n", ["--shutdown", "now"], f"localhost:{nginx.port}")
        assert (result.stderr, result.status) == ("", 0)
        sizes.add(len(result.stdout.partition(b"\r\n\r\n")[2]))
    assert min(sizes) < len(daemons.NGINX_FILE)


def check_file(result: Result) -> None:
    assert (result.stderr, result.status) == ("", 0)
    head, _, body = result.stdout.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(body) == len(daemons.NGINX_FILE)
    same = body == daemons.NGINX_FILE  # not in the assertion: pytest would explain 10 MiB
    assert same


def test_server_name_and_version(nginx: Daemon, certs: CertSet) -> None:
    result = pipe(r"GET /tls HTTP/1.0\r\n\r\n", trusting(certs), f"localhost:{nginx.tls_port}")
    assert result.stdout.endswith(b" sni=localhost alpn=\n")
    assert b"\r\n\r\nTLSv1.3 " in result.stdout
    assert (result.stderr, result.status) == ("", 0)


def test_untrusted_certificate(gopher: Daemon, nginx: Daemon) -> None:
    """Without --cacert the test CA is unknown: nothing is sent, nothing is printed, status 60."""
    for port in (gopher.tls_port, nginx.tls_port):
        result = pipe(r"GET / HTTP/1.0\r\n\r\n", ["--tls", "on"], f"localhost:{port}")
        assert (result.stdout, result.status) == (b"", 60)
        assert result.stderr.startswith(f"cfcat: localhost:{port}: certificate not trusted")


def test_first_line_only(nginx: Daemon, certs: CertSet) -> None:
    """`| head -1` ends the download; cfcat dies of SIGPIPE, in silence."""
    command = f"cfcat {shlex.join(trusting(certs))} localhost:{nginx.tls_port}"
    result = shell(
        rf"printf 'GET /10M.bin HTTP/1.0\r\n\r\n' | {command} | head -1; echo ${{PIPESTATUS[1]}}",
    )
    assert result == Result(b"HTTP/1.1 200 OK\r\n141\n", "", 0)
