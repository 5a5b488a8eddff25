"""`--starttls` against the daemons of `devices`: the upgrade, something under TLS, and what they refuse."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest

from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, serve
from tests.helpers.program import Result, cfcat, finish, start
from tests.report.form import check_form
from tests.servers import devices
from tests.servers.launcher import Daemon, Launch, launched

pytestmark = pytest.mark.one_python


class Case(NamedTuple):
    """A daemon, its protocol, what is said under TLS, and what comes there before and after that."""

    name: str
    daemon: Callable[[Launch], Daemon]
    protocol: str
    said: bytes
    answer: bytes


GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
# An empty packet in place of MS-RDPBCGR 2.2.1.3 is answered with a disconnect provider ultimatum.
RDP_NOTHING = b"\x03\x00\x00\x07\x02\xf0\x80"
RDP_ULTIMATUM = rb"\A\x03\x00\x00\x09\x02\xf0\x80\x21\x80\Z"
NBD_LIST = b"IHAVEOPT\0\0\0\3\0\0\0\0"
NBD_LISTED = bytes.fromhex("0003e889045565a9 00000003 00000001 00000000")  # the end of the list
CASES = [
    Case("pure-ftpd", devices.pure_ftpd, "ftp", b"FEAT\r\nQUIT\r\n", rb"^211 End\.\r\n221-.*\r\n221 .*\r\n\Z"),
    Case("cups, if requested", devices.cups, "http", GET, rb"\AHTTP/1\.1 200 OK\r\n(.+\r\n)*\r\nHTTP/1\.1 \d\d\d "),
    Case("cups, required", partial(devices.cups, encryption="Required"), "http", GET, rb"\r\n\r\nHTTP/1\.1 \d\d\d "),
    Case("nbdkit, required", devices.nbdkit, "nbd", NBD_LIST, re.escape(NBD_LISTED) + rb"\Z"),
    Case("nbdkit, offered", partial(devices.nbdkit, tls="on"), "nbd", NBD_LIST, re.escape(NBD_LISTED) + rb"\Z"),
    Case("TigerVNC", devices.xvnc, "vnc", b"\x01", rb"(?s)\A\0\0\0\0\x00\x40\x00\x30.{16}\0\0\0\x05cfcat\Z"),
    Case("xrdp", devices.xrdp, "rdp", RDP_NOTHING, RDP_ULTIMATUM),
    Case("xrdp, TLS only", partial(devices.xrdp, security="tls"), "rdp", RDP_NOTHING, RDP_ULTIMATUM),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_command_is_answered_under_tls(case: Case, certs: CertSet) -> None:
    """With the configuration that people have: the certificate is verified, and the daemon answers under TLS."""
    with launched(case.daemon, certs) as daemon:
        options = [
            "-v",
            "--starttls",
            case.protocol,
            "--cacert",
            str(certs.ca),
            "--ignore-unexpected-eof",
            "--shutdown",
            "now",
        ]
        with start(*options, f"localhost:{daemon.port}") as program:
            program.say(case.said)
            while not re.search(case.answer, program.seen_stdout, re.M):
                assert program.stdout is not None
                program.seen_stdout += program._more(program.stdout, case.answer)
            program.end_input()
            result = finish(program)
    assert re.search(case.answer, result.stdout, re.M), result
    assert ": TLS established in " in result.stderr
    assert "certificate: verified" in result.stderr


@pytest.mark.parametrize(
    ("daemon", "protocol", "text"),
    [
        (
            partial(devices.xrdp, security="rdp"),
            "rdp",
            "the server selected RDP's own encryption, in place of TLS or NLA",
        ),
        (partial(devices.nbdkit, tls="off"), "nbd", "the server refused TLS (NBD_REP_ERR_POLICY)"),
    ],
    ids=["xrdp", "nbdkit"],
)
def test_daemon_without_tls_refuses(
    daemon: Callable[[Launch], Daemon], protocol: str, text: str, certs: CertSet
) -> None:
    """SEC-R2: 64, in the words of the protocol, and nothing of stdin is sent."""
    with launched(daemon, certs) as running:
        target = f"localhost:{running.port}"
        result = cfcat("--starttls", protocol, "--cacert", certs.ca, target, stdin=b"secret")
    assert (result.stdout, result.status) == (b"", 64)
    assert check_form(result.stderr)[0].startswith(f"{target}: {text}")


# ------------------------------------------------------------------------- stunnel, in front of what has no TLS


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_stunnel_passes_the_whole_answer(version: str, certs: CertSet) -> None:
    """A server that answers slowly, and drops what it has not sent when an end comes: all of it arrives, and 0."""

    def slow(conn: Peer) -> None:
        assert conn.recv_until(b"\n") == b"LIST\n"
        for number in range(4):
            conn.send(b"%d\n" % number * 1000)
            assert conn.quiet(0.2)

    with serve(slow) as server, launched(partial(devices.stunnel, backend=server.port), certs) as daemon:
        options = ("--tls", "on", "--tls-min", version, "--tls-max", version, "--cacert", certs.ca)
        result = connected(*options, f"127.0.0.1:{daemon.port}", stdin=b"LIST\n")
    assert result == Result(b"".join(b"%d\n" % number * 1000 for number in range(4)), "", 0)


def test_stunnel_speaks_the_dialog_of_smtp(certs: CertSet) -> None:
    """Its own half of STARTTLS, in front of a server that knows none of it."""

    def smtp(conn: Peer) -> None:
        conn.send(b"220 mail.example ESMTP\r\n")
        for expected, answer in (
            (b"EHLO", b"250 mail.example\r\n"),
            (b"NOOP", b"250 ok\r\n"),
            (b"QUIT", b"221 bye\r\n"),
        ):
            assert conn.recv_until(b"\n").startswith(expected)
            conn.send(answer)

    backend = partial(devices.stunnel, protocol="smtp")
    with serve(smtp) as server, launched(partial(backend, backend=server.port), certs) as daemon:
        target = f"127.0.0.1:{daemon.port}"
        result = connected("--starttls", "smtp", "--cacert", certs.ca, target, stdin=b"EHLO me\r\nNOOP\r\nQUIT\r\n")
    assert result == Result(b"250 mail.example\r\n250 ok\r\n221 bye\r\n", "", 0)


def connected(*arguments: object, stdin: bytes) -> Result:
    """stunnel does not say when it listens: try again while nobody does."""
    until = time.monotonic() + 10
    while (result := cfcat(*map(str, arguments), stdin=stdin)).status == 7:
        assert time.monotonic() < until, result
    return result
