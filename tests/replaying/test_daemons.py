"""Real clients and daemons, recorded by the tap, then each of them played by a replay."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.certs import CertSet
from tests.helpers.program import Argument, Program, cfcat, start
from tests.servers.daemons import NGINX_FILE
from tests.servers.fleet import Fleet
from tests.tap.tapping import run_client, tapping

pytestmark = pytest.mark.one_python

LISTENING = re.compile(r"cfcat: listening on 127\.0\.0\.1:(\d+)")
# What another day has in exim's answers: the date, and the id of the message.
OTHER_DAY = ("--ignore", r"\w{3}, \d+ \w{3} \d{4} [\d:]+ [+-]\d{4}", "--ignore", r"id=\S+")
SWAKS = ("--to", "you@localhost", "--from", "me@me.example", "--ehlo", "me.example")
SAME_MAIL = (
    *("--header", "Date: today", "--header", "Message-Id: <1@me.example>", "--header", "Subject: replayed"),
    *("--body", "replayed", "--hide-all"),
)
LOGIN = ("--tls", "--tls-verify", "--auth", "PLAIN", "--auth-user", "me", "--auth-password")


@contextlib.contextmanager
def replaying(log: Path, *flags: Argument) -> Iterator[tuple[Program, int]]:
    """`cfcat -l 0 --replay`, and its port."""
    with start("-l", "0", "--replay", log, *flags) as program:
        said = program.read_stderr_until("listening on ")
        while not (found := LISTENING.search(said)):
            said = program.read_stderr_until("\n")
        yield program, int(found[1])


def mail(address: str, *flags: Argument) -> tuple[int, bytes]:
    return run_client(["swaks", "--server", address, *SWAKS, *SAME_MAIL, *flags])


def test_swaks_and_exim(daemon: Fleet, certs: CertSet, tmp_path: Path) -> None:
    """A mail by STARTTLS and a login, recorded; then the same client with the recording in place of exim.

    Then exim with the recording in place of the client: on another day it is the same but for the date and the id.
    """
    smtp = daemon("smtp")
    log = tmp_path / "smtp.log"
    with tapping(f"localhost:{smtp.port}", "--cacert", certs.ca, "--log", log, "--log-secrets", folder=tmp_path) as tap:
        status, output = mail(tap.address, *LOGIN, "geheim", "--tls-ca-path", tap.ca)
        assert status == 0, output.decode()
        tap.shows("over after")
        tap.end()
    ca = tmp_path / "ca.pem"
    with replaying(log, "--ca-out", ca) as (program, port):
        status, output = mail(f"127.0.0.1:{port}", *LOGIN, "geheim", "--tls-ca-path", ca)
        assert status == 0, output.decode()
        assert program.wait(20) == 0
    result = cfcat("--replay", log, "--cacert", certs.ca, *OTHER_DAY, f"localhost:{smtp.port}")
    assert (result.status, result.stderr) == (0, "")
    result = cfcat("--replay", log, "--cacert", certs.ca, f"localhost:{smtp.port}")
    assert result.status == 1
    assert re.search(
        r"not as in smtp\.log, line \d+: the server said something else\n  .*- < 220 .*\n  \+ < 220 ",
        result.stderr,
        re.S,
    )


def test_a_masked_secret_is_anything_and_cannot_be_sent(daemon: Fleet, certs: CertSet, tmp_path: Path) -> None:
    """As a server a replay takes any password; as the client it has none, and says so before it connects."""
    smtp = daemon("smtp")
    log, ca = tmp_path / "smtp.log", tmp_path / "ca.pem"
    with tapping(f"localhost:{smtp.port}", "--cacert", certs.ca, "--log", log, folder=tmp_path) as tap:
        assert mail(tap.address, *LOGIN, "geheim", "--tls-ca-path", tap.ca)[0] == 0
        tap.shows("over after")
        tap.end()
    with replaying(log, "--ca-out", ca) as (program, port):
        assert mail(f"127.0.0.1:{port}", *LOGIN, "another", "--tls-ca-path", ca)[0] == 0
        assert program.wait(20) == 0
    result = cfcat("--replay", log, "localhost:1")
    assert result.status == 2
    assert re.fullmatch(
        r"cfcat: .*smtp\.log: line \d+: a secret is masked here .*\n  hint: --log-secrets .*\n", result.stderr
    )


def test_curl_and_nginx(daemon: Fleet, tmp_path: Path) -> None:
    """A MiB of anything, in clear text: --keep serves any number of clients."""
    server = daemon("http")
    log = tmp_path / "http.log"
    get: list[Argument] = ["curl", "-sS", "-H", "Host: h", "-H", "User-Agent: u", "-r", "0-1048575"]
    with tapping(f"localhost:{server.port}", "--log", log, folder=tmp_path) as tap:
        assert run_client([*get, f"http://{tap.address}/10M.bin"]) == (0, NGINX_FILE[: 1 << 20])
        tap.shows("over after")
        tap.end()
    with replaying(log, "--keep") as (_, port):
        for _ in range(2):
            assert run_client([*get, f"http://127.0.0.1:{port}/10M.bin"]) == (0, NGINX_FILE[: 1 << 20])


@pytest.mark.parametrize("alpn", ["--http1.1", "--http2"])
def test_curl_and_nginx_with_tls_at_the_first_byte(daemon: Fleet, certs: CertSet, tmp_path: Path, alpn: str) -> None:
    """The protocol of ALPN is the recorded one, and the certificate is for the name that the client asked for."""
    server = daemon("http")
    log, ca = tmp_path / "https.log", tmp_path / "ca.pem"
    get: list[Argument] = ["curl", "-sS", alpn, "-H", "Host: h", "-H", "User-Agent: u", "-w", "%{http_version}"]
    with tapping(f"localhost:{server.tls_port}", "--cacert", certs.ca, "--log", log, folder=tmp_path) as tap:
        recorded = run_client([*get, "--cacert", tap.ca, f"https://localhost:{tap.port}/tls"])
        assert recorded[0] == 0, recorded
        tap.shows("over after")
        tap.end()
    ignored = ("--ignore", r"(?s).*") if alpn == "--http2" else ()  # HPACK has the port in it
    with replaying(log, "--ca-out", ca, *ignored) as (program, port):
        assert run_client([*get, "--cacert", ca, f"https://localhost:{port}/tls"]) == recorded
        assert program.wait(20) == 0, program.stderr and program.stderr.read()
    if alpn == "--http1.1":  # the other side of it, to the same server
        target, ignored = f"localhost:{server.tls_port}", ("--ignore", r"^Date: .*$")
        result = cfcat("--replay", log, "--cacert", certs.ca, *ignored, target)
        assert (result.status, result.stderr) == (0, "")
        assert cfcat("--replay", log, *ignored, target).status == 60


def test_psql_and_postgresql(daemon: Fleet, certs: CertSet, tmp_path: Path) -> None:
    """SSLRequest, TLS, a query and its row: without PostgreSQL."""
    server = daemon("postgres")
    log, ca = tmp_path / "pg.log", tmp_path / "ca.pem"

    def query(port: int, root: Path) -> tuple[int, bytes]:
        target = f"host=localhost hostaddr=127.0.0.1 port={port} user=postgres dbname=postgres sslmode=verify-full"
        return run_client(["psql", f"{target} sslrootcert={root}", "-Atc", "select 6*7"])

    with tapping(f"localhost:{server.port}", "--cacert", certs.ca, "--log", log, folder=tmp_path) as tap:
        assert query(tap.port, tap.ca) == (0, b"42\n")
        tap.shows("over after")
        tap.end()
    with replaying(log, "--ca-out", ca) as (program, port):
        assert query(port, ca) == (0, b"42\n")
        assert program.wait(20) == 0, program.stderr and program.stderr.read()


def test_mariadb_and_mariadb(daemon: Fleet, certs: CertSet, tmp_path: Path) -> None:
    """Its ClientHello comes right behind the request, in one segment with it."""
    server = daemon("mysql")
    log, ca = tmp_path / "my.log", tmp_path / "ca.pem"

    def query(port: int, root: Path) -> tuple[int, bytes]:
        flags: list[Argument] = ["--protocol=tcp", "--host=127.0.0.1", f"--port={port}", "--user=me", "--ssl"]
        flags += [f"--ssl-ca={root}", "--ssl-verify-server-cert"]
        return run_client(["mariadb", "--no-defaults", *flags, "-Ne", "select 6*7"])

    with tapping(f"localhost:{server.port}", "--cacert", certs.ca, "--log", log, folder=tmp_path) as tap:
        assert query(tap.port, tap.ca) == (0, b"42\n")
        tap.shows(r"select 6\*7")
        tap.end()
    with replaying(log, "--ca-out", ca, "--ignore", r"_pid.*") as (_, port):
        status, output = query(port, ca)
        assert (status, output) == (0, b"42\n"), output
