"""`--wait` and real programs: a daemon that starts late, and a certificate that is exchanged meanwhile."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.helpers.certs import CertSet, Kind
from tests.helpers.program import Argument, finish, start
from tests.servers.launcher import demand

pytestmark = pytest.mark.one_python

WAIT = ("-v", "--wait", "20")


def free_port() -> int:
    """Below those of outgoing connections: nobody takes it before the daemon does."""
    for port in range(21_000, 32_000):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")


@contextlib.contextmanager
def running(command: Sequence[Argument]) -> Iterator[None]:
    with subprocess.Popen([*map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as program:
        try:
            yield
        finally:
            program.kill()


def redis(port: int, folder: Path) -> list[Argument]:
    return [demand("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]


def test_a_daemon_that_starts_late_is_waited_for(tmp_path: Path) -> None:
    """`-z`: refused at first, then there: 0."""
    port = free_port()
    with start("-z", *WAIT, f"127.0.0.1:{port}", timeout_s=25) as program:
        program.read_stderr_until("connection refused")
        with running(redis(port, tmp_path)):
            result = finish(program)
    assert result.status == 0, result.stderr


def test_what_stdin_has_is_whole_when_the_daemon_has_come(tmp_path: Path) -> None:
    """It is not read before; the connection that succeeds is the one that is used."""
    port = free_port()
    with start(*WAIT, f"127.0.0.1:{port}", timeout_s=25) as program:
        program.say(b"SET key value\r\nGET key\r\nQUIT\r\n")
        program.read_stderr_until("connection refused")
        with running(redis(port, tmp_path)):
            result = finish(program, b"")
    assert (result.stdout, result.status) == (b"+OK\r\n$5\r\nvalue\r\n+OK\r\n", 0)


def test_a_certificate_that_is_exchanged_is_waited_for(certs: CertSet) -> None:
    """openssl's server, first with one that nobody vouches for, then with a good one: 0."""
    port = free_port()

    def server(kind: Kind) -> list[Argument]:
        listening = [demand("openssl"), "s_server", "-quiet", "-accept", f"127.0.0.1:{port}"]
        return [*listening, "-cert", certs[kind].chain, "-key", certs[kind].key]

    flags: list[Argument] = ["-z", *WAIT, "--tls", "on", "--cacert", certs.ca, f"localhost:{port}"]
    with start(*flags, timeout_s=25) as program:
        with running(server("untrusted")):
            program.read_stderr_until("certificate not trusted")
        with running(server("good")):
            result = finish(program)
    assert result.status == 0, result.stderr
