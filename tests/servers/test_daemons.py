"""Each daemon must answer clients that are known to work, and be gone when the run is."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.certs import CertSet
from tests.servers import daemons
from tests.servers.launcher import Daemon, Launch, LaunchError, NotInstalled, demand, launched

pytestmark = pytest.mark.one_python

HOSTS = ["127.0.0.1", "::1"]
SECURE = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


def ask(daemon: Daemon, certs: CertSet, host: str, tls: bool, request: bytes) -> bytes:
    """Return the whole answer, the certificate being verified against the address."""
    daemon.need(host)
    port = daemon.tls_port if tls else daemon.port
    with socket.create_connection((host, port), timeout=5) as plain, secured(plain, certs, host, tls) as sock:
        sock.sendall(request)
        return b"".join(iter(lambda: sock.recv(1 << 16), b""))


@contextmanager
def secured(sock: socket.socket, certs: CertSet, host: str, tls: bool) -> Iterator[socket.socket]:
    if not tls:
        yield sock
        return
    context = certs.client_context()
    with context.wrap_socket(sock, server_hostname=host, suppress_ragged_eofs=False) as wrapped:
        yield wrapped


@SECURE
@pytest.mark.parametrize("host", HOSTS)
def test_gophernicus(gopher: Daemon, certs: CertSet, host: str, tls: bool) -> None:
    port = gopher.tls_port if tls else gopher.port
    assert ask(gopher, certs, host, tls, b"\r\n") == daemons.gopher_menu(port)
    assert ask(gopher, certs, host, tls, b"/hello.txt\r\n") == b"hello\r\n"


@SECURE
@pytest.mark.parametrize("host", HOSTS)
def test_nginx(nginx: Daemon, certs: CertSet, host: str, tls: bool) -> None:
    head, _, body = ask(nginx, certs, host, tls, b"GET /10M.bin HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert body == daemons.NGINX_FILE, "the body differs"
    negotiated = ask(nginx, certs, host, tls, b"GET /tls HTTP/1.0\r\n\r\n")
    assert (b"\r\n\r\nTLSv1.3 " in negotiated) == tls


def test_missing_program_skips_or_fails(certs: CertSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def daemon(_: Launch) -> Daemon:
        raise AssertionError(demand("no-such-daemon"))

    monkeypatch.delenv("CFCAT_REQUIRE_SERVERS", raising=False)
    skipped = pytest.raises(pytest.skip.Exception, match="no-such-daemon is not installed")
    with skipped, launched(daemon, certs):
        pass
    monkeypatch.setenv("CFCAT_REQUIRE_SERVERS", "1")
    with pytest.raises(NotInstalled), launched(daemon, certs):
        pass


def test_daemon_that_does_not_come_up_shows_its_log(certs: CertSet) -> None:
    def daemon(launch: Launch) -> Daemon:
        launch.start(["sh", "-c", "echo bad configuration >&2; exit 1"])
        launch.answers(launch.port(), b"", b"hello")
        raise AssertionError

    with pytest.raises(LaunchError, match="bad configuration"), launched(daemon, certs):
        pass


def test_program_that_cannot_prepare_shows_what_it_said(certs: CertSet) -> None:
    def daemon(launch: Launch) -> Daemon:
        launch.run("sh", "-c", "echo no space; exit 3")
        raise AssertionError

    with pytest.raises(LaunchError, match="status 3\nno space"), launched(daemon, certs):
        pass


def test_daemon_that_dies_during_the_tests_is_an_error(certs: CertSet) -> None:
    launches = []

    def daemon(launch: Launch) -> Daemon:
        launches.append(launch)
        launch.start(["sh", "-c", "echo out of order"])
        return Daemon(launch.hosts, 0, 0, launch.folder)

    error = pytest.raises(LaunchError, match="out of order")
    with error, launched(daemon, certs):
        assert launches[0].supervisor is not None
        assert launches[0].supervisor.wait(5) == 1
    assert not launches[0].folder.exists()


@pytest.mark.usefixtures("nginx")  # skips where it is not installed
def test_daemon_does_not_outlive_a_killed_run(tmp_path: Path) -> None:
    """SIGKILL leaves a run no time for anything; the daemon and its folder must go all the same."""
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from tests.helpers.certs import make_certs\n"
        "from tests.servers.daemons import nginx\n"
        "from tests.servers.launcher import launched\n"
        "with launched(nginx, make_certs(Path(sys.argv[1]))) as daemon:\n"
        "    print(daemon.port, daemon.folder, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    # The supervisor has the same standard output: its end is the end of both.
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=20,
        cwd=Path(__file__).parents[2],
    )
    port, folder = run.stdout.split()
    assert run.returncode == -9
    assert not Path(folder).exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port)), timeout=5)
