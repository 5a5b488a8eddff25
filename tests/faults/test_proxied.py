"""The rows of the fault matrix on connecting, through a proxy: whose fault it was is in the message and the status.

What is wrong on the way to the proxy has the status that it has without one, and names the proxy; what the proxy says
of the way behind it is 97; from its answer on the connection is the target's.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.core.test_proxy import granted
from tests.faults.ways import check_message, injecting, resolving, shell_does
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, Script, blackhole, refusing, serve
from tests.helpers.program import Argument, Result, cfcat, finish, start
from tests.pipe.tools import DEADLINE_S, until_arrived

pytestmark = pytest.mark.one_python

SCHEMES = ("socks5h", "socks4a", "http")
EACH = pytest.mark.parametrize("scheme", SCHEMES)
NAME = "mail.test:25"  # no resolver knows it
SHORT_S = 0.4
SLACK_S = 0.8
TIMEOUT_HINT = "--connect-timeout SECS waits longer"


def through(scheme: str, script: Script) -> Script:
    """A proxy that grants what it is asked for, and a target that behaves like `script`."""

    def whole(conn: Peer) -> None:
        granted(scheme, conn)
        script(conn)

    return whole


def dial(scheme: str, address: str, *options: Argument, by: list[str] | None = None, stdin: bytes = b"") -> Result:
    return cfcat("--proxy", f"{scheme}://{address}", *options, NAME, by=by or (), stdin=stdin)


# ------------------------------------------------------------------------------------ on the way to the proxy


@EACH
def test_row_01_the_proxys_name_does_not_exist(scheme: str) -> None:
    """The target's is never looked up here."""
    answer = "assert host == b'gate.test', host; raise socket.gaierror(socket.EAI_NONAME, 'Name or service not known')"
    result = dial(scheme, "gate.test:1", by=resolving(answer=answer))
    assert result == Result(b"", "cfcat: proxy gate.test:1: name or service not known\n", 7)


@EACH
def test_row_05_the_proxy_refuses(scheme: str) -> None:
    """Every address of it is tried, and named."""
    with refusing("::1") as port:
        result = dial(scheme, f"gate.test:{port}", by=resolving("::1", "127.0.0.1"))
    assert result == Result(b"", f"cfcat: proxy gate.test:{port}: connection refused (tried ::1, 127.0.0.1)\n", 7)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("ENETUNREACH", "network is unreachable"),
        ("EHOSTUNREACH", "no route to host"),
        ("EADDRNOTAVAIL", "no local address and port left to connect from"),
        ("EACCES", "permission denied"),
        ("EPERM", "operation not permitted"),
    ],
)
def test_rows_06_and_10_the_proxy_cannot_be_reached(code: str, text: str) -> None:
    """As a target that cannot be, but for the name."""
    result = dial("socks5h", "127.0.0.1:1", by=injecting(f"connect:error={code}"))
    assert check_message(result, 7, f"proxy 127.0.0.1:1: {text}") == ""


@EACH
def test_row_07_the_proxys_second_address_works(scheme: str) -> None:
    """The race of addresses is the proxy's, too."""
    with serve(through(scheme, lambda conn: conn.send(b"hello"))) as server, socket.socket(socket.AF_INET6) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("::1", server.port))
        other.listen(0)
        with socket.create_connection(("::1", server.port)):
            result = dial(scheme, f"gate.test:{server.port}", by=resolving("::1", "127.0.0.1"))
    assert result == Result(b"hello", "", 0)


@EACH
def test_rows_08_and_09_the_proxy_does_not_answer(scheme: str) -> None:
    """28 when the time is up, and not before."""
    with blackhole() as port:
        began = time.monotonic()
        result = dial(scheme, f"127.0.0.1:{port}", "--connect-timeout", str(SHORT_S))
        assert SHORT_S <= time.monotonic() - began < SHORT_S + SLACK_S
    assert check_message(result, 28, f"proxy 127.0.0.1:{port}: no connection after {SHORT_S} s") == TIMEOUT_HINT


@EACH
@pytest.mark.parametrize("options", [[], ["--tls", "on"], ["--starttls", "smtp"]], ids=" ".join)
def test_row_18_reset_in_the_proxys_dialog(scheme: str, options: list[str]) -> None:
    """It is the proxy's, and no TLS has begun."""

    def script(conn: Peer) -> None:
        conn.recv()
        conn.reset()

    with serve(script) as server:
        result = dial(scheme, server.address, *options, stdin=b"data")
    check_message(result, 97, f"proxy {server.address}: connection reset by peer")
    assert b"data" not in server.received


@EACH
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_rows_41_to_44_signal_in_the_proxys_dialog(scheme: str, number: int) -> None:
    """Dead by the signal, at once, without a word."""
    asked = threading.Event()

    def script(conn: Peer) -> None:
        conn.recv()
        asked.set()
        conn.recv_until_eof()

    with serve(script) as server, start("--proxy", f"{scheme}://{server.address}", NAME) as program:
        assert asked.wait(DEADLINE_S)
        os.kill(program.pid, number)
        assert finish(program) == Result(b"", "", -number)


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "http"])
def test_row_50_too_few_descriptors_for_a_proxy(scheme: str) -> None:
    """7, and what is missing."""
    with serve(through(scheme, lambda conn: conn.send(b"hello"))) as server:
        for count in (5, 6, 7, 8):
            by = shell_does(f'ulimit -n {count}; exec "$@"')
            result = cfcat("--proxy", f"{scheme}://{server.address}", "127.0.0.1:25", by=by)
            if result.status:
                check_message(result, 7, "127.0.0.1:25: too many open files")


# ------------------------------------------------------------------------------------------ behind the proxy


@EACH
@pytest.mark.parametrize("end", [Peer.reset, Peer.end], ids=["RST", "FIN"])
def test_rows_12_and_18_the_target_ends_at_once(scheme: str, end: Callable[[Peer], None]) -> None:
    """The proxy has answered: now it is as without one."""
    with serve(through(scheme, end)) as server:
        result = dial(scheme, server.address)
    if end is Peer.end:
        assert result == Result(b"", "", 0)
    else:  # 7 where it is noticed in connecting
        check_message(result, 56 if result.status == 56 else 7, f"{NAME}: connection reset by peer")


@EACH
def test_row_16_reset_after_data(scheme: str) -> None:
    """All that came is delivered before the message."""

    def script(conn: Peer) -> None:
        conn.send(b"hello")
        until_arrived(conn)
        conn.reset()

    with serve(through(scheme, script)) as server:
        result = dial(scheme, server.address)
    check_message(result, 56, f"{NAME}: connection reset by peer while receiving", stdout=b"hello")


@EACH
def test_row_60_the_target_speaks_clear_text(scheme: str) -> None:
    """It is the target's word, not the proxy's."""
    with serve(through(scheme, lambda conn: conn.send(b"220 hello\r\n"))) as server:
        result = dial(scheme, server.address, "--tls", "on")
    check_message(result, 35, f"{NAME}: peer does not speak TLS; it said ")


@EACH
def test_row_61_the_target_is_silent_in_the_handshake(scheme: str) -> None:
    """One deadline for proxy and target together; the message names the target."""
    with serve(through(scheme, Peer.recv_until_eof)) as server:
        began = time.monotonic()
        result = dial(scheme, server.address, "--tls", "on", "--connect-timeout", str(SHORT_S))
        assert SHORT_S <= time.monotonic() - began < SHORT_S + SLACK_S
    check_message(result, 28, f"{NAME}: ")


@EACH
@pytest.mark.parametrize("end", [Peer.reset, Peer.end], ids=["RST", "FIN"])
def test_row_62_the_target_ends_in_the_handshake(scheme: str, end: Callable[[Peer], None]) -> None:
    """35, behind a proxy too."""

    def script(conn: Peer) -> None:
        conn.recv()
        end(conn)

    with serve(through(scheme, script)) as server:
        result = dial(scheme, server.address, "--tls", "on")
    check_message(result, 35, f"{NAME}: ")
    assert "proxy" not in result.stderr.splitlines()[0]


@EACH
@pytest.mark.parametrize("kind", ["expired", "untrusted", "wrong_host"])
def test_rows_73_to_75_the_targets_certificate(scheme: str, kind: Any, certs: CertSet) -> None:
    """60; nothing of stdin is sent."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context(kind), may_fail=True)

    with serve(through(scheme, script)) as server:
        result = dial(scheme, server.address, "--tls", "on", "--cacert", certs.ca, "--sni", "localhost", stdin=b"data")
    check_message(result, 60, f"{NAME}: certificate not trusted: ")
    assert b"data" not in server.received


@EACH
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda each: each.name)
def test_row_67_tls_is_cut_short(scheme: str, version: ssl.TLSVersion, certs: CertSet) -> None:
    """18, behind what came."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context(version=version))
        conn.send(b"hello")
        conn.end()

    with serve(through(scheme, script)) as server:
        result = dial(scheme, server.address, "--tls", "on", "--cacert", certs.ca, "--sni", "localhost")
    check_message(result, 18, f"{NAME}: ", stdout=b"hello")
