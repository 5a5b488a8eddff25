"""Exit statuses: one test for each row of the table, by a real run wherever it can be provoked."""

from __future__ import annotations

import threading

import pytest

from cfcat.errors import (
    AbortError,
    AddressError,
    BlockedError,
    CaFileError,
    CancelError,
    CertificateError,
    ClientCertificateError,
    ClosedError,
    CommandError,
    ConnectError,
    ConnectTimeout,
    CrossedWiresError,
    DialogError,
    IdleTimeout,
    InjectionError,
    LockError,
    LostError,
    OptionsError,
    ProxyError,
    ResolveError,
    StdinError,
    StdoutError,
    TlsError,
    TruncatedError,
    UsageError,
)
from cfcat.report.messages import status_of
from cfcat.report.status import ExitStatus
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, Script, refusing, serve
from tests.helpers.program import Result, cfcat, finish, shell, start
from tests.pipe.tools import DEADLINE_S, fill, halted, run_patched, until_arrived
from tests.report.form import check_form

pytestmark = pytest.mark.one_python


def check(result: Result, status: ExitStatus) -> None:
    """One message, and this status."""
    assert result.status == status, result.stderr
    check_form(result.stderr)


def test_0_ended_in_order() -> None:
    """Nothing to report: no message either."""
    with serve(Peer.recv_until_eof) as server:
        assert cfcat(server.address) == Result(b"", "", ExitStatus.OK)


def test_1_command_of_a_script_failed() -> None:
    """The peer ends without having said what was expected."""
    with serve(lambda conn: conn.send(b"220 hello\r\n")) as server:
        result = cfcat("--repl", server.address, stdin=b":expect ^250\n")
    assert result.stdout == b"220 hello\r\n"
    assert result.status == ExitStatus.EXPECT


def test_2_usage() -> None:
    """No port."""
    check(cfcat("localhost"), ExitStatus.USAGE)


def test_6_name_not_found() -> None:
    """A name with an empty label exists nowhere, and nobody has to be asked."""
    check(cfcat("a..b:1"), ExitStatus.RESOLVE)


def test_7_could_not_connect() -> None:
    """Nobody listens there."""
    with refusing() as port:
        check(cfcat(f"127.0.0.1:{port}"), ExitStatus.CONNECT)


def dialog(answer: bytes) -> Script:
    """A mail server that answers STARTTLS so."""

    def script(conn: Peer) -> None:
        conn.send(b"220 mail.test ESMTP\r\n")
        conn.recv_until(b"\n")
        conn.send(b"250-mail.test\r\n250 STARTTLS\r\n")
        assert conn.recv_until(b"\n") == b"STARTTLS\r\n"
        conn.send(answer)
        conn.recv_until_eof()

    return script


def test_8_injection() -> None:
    """A byte behind the go-ahead of a STARTTLS dialog."""
    with serve(dialog(b"220 go\r\nX")) as server:
        check(cfcat("--starttls", "smtp", server.address), ExitStatus.INJECTION)


def test_18_truncated(certs: CertSet) -> None:
    """TCP ends without close_notify."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        conn.recv_until_eof()
        conn.end()

    with serve(script) as server:
        check(cfcat("--tls", "on", "--cacert", certs.ca, server.address), ExitStatus.TRUNCATED)


def test_23_writing_stdout_failed() -> None:
    """The disk is full."""
    with serve(lambda conn: conn.send(b"data")) as server:
        check(shell(f"cfcat {server.address} >/dev/full"), ExitStatus.STDOUT)


def test_26_reading_stdin_failed() -> None:
    """The kernel answers EIO: nothing is mapped where the file stands."""
    with serve(Peer.recv_until_eof) as server, open("/proc/self/mem", "rb", buffering=0) as memory:
        check(cfcat("-q", "0", server.address, stdin=memory), ExitStatus.STDIN)


def test_28_timeout() -> None:
    """Nothing moves."""
    with serve(Peer.recv_until_eof) as server:
        check(cfcat("--no-shutdown", "-w", "0.05", server.address), ExitStatus.TIMEOUT)


def test_52_unanswered() -> None:
    """The server ends without a byte, and it was asked by HTTP."""
    with serve(lambda conn: conn.recv_until(b"\r\n\r\n")) as server:
        check(cfcat(server.address, stdin=b"GET / HTTP/1.0\r\n\r\n"), ExitStatus.UNANSWERED)


def test_35_tls_failed(certs: CertSet) -> None:
    """The server does not speak TLS."""
    with serve(lambda conn: conn.send(b"220 mail.example ESMTP\r\n")) as server:
        check(cfcat("--tls", "on", "--cacert", certs.ca, server.address), ExitStatus.TLS)


def test_55_sending_failed() -> None:
    """A reset while stdin is being sent."""
    flowing, stopped, gone = threading.Event(), threading.Event(), threading.Event()

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        flowing.set()
        conn.wait(stopped)
        conn.send(b"x")  # what is unread keeps the reading busy: the sending finds out first
        until_arrived(conn)
        conn.reset()
        gone.set()

    with serve(script) as server, start(server.address) as program:
        fill(program.stdin, flowing)
        with halted(program):
            stopped.set()
            assert gone.wait(DEADLINE_S)
        program.wait(DEADLINE_S)
        check(finish(program), ExitStatus.SEND)


def test_56_receiving_failed() -> None:
    """A reset where an answer should be."""

    def script(conn: Peer) -> None:
        conn.recv_until_eof()
        conn.reset()

    with serve(script) as server:
        check(cfcat(server.address), ExitStatus.RECEIVE)


def test_60_certificate_not_trusted(certs: CertSet) -> None:
    """Its authority is not known."""
    with serve(lambda conn: conn.start_tls(certs.server_context("untrusted"), may_fail=True)) as server:
        check(cfcat("--tls", "on", "--cacert", certs.ca, server.address), ExitStatus.CERTIFICATE)


def test_58_client_certificate() -> None:
    """--cert names nothing."""
    check(cfcat("--tls", "on", "--cert", "/nowhere", "127.0.0.1:1"), ExitStatus.CLIENT_CERTIFICATE)


def test_64_starttls_refused() -> None:
    """The server would rather not."""
    with serve(dialog(b"454 not now\r\n")) as server:
        check(cfcat("--starttls", "smtp", server.address), ExitStatus.STARTTLS)


def test_70_bug_in_cfcat(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody expects is one line too, which asks for a report; the traceback is there for who wants it."""
    run_patched(monkeypatch, "from cfcat.core import dial\ndial.dial = lambda *a, **k: 1 / 0")
    result = cfcat("127.0.0.1:1")
    assert result.status == ExitStatus.INTERNAL
    assert result.stderr == (
        "cfcat: internal error: ZeroDivisionError: division by zero\n"
        "  hint: this is a bug in cfcat; CFCAT_DEBUG=1 shows where\n"
    )
    assert "Traceback" in cfcat("127.0.0.1:1", env={"CFCAT_DEBUG": "1"}).stderr


def test_70_out_of_memory_before_there_is_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no bug, and one line."""
    run_patched(monkeypatch, "from cfcat.program import start\nstart._parsed = lambda *a: bytes(1 << 60)")
    assert cfcat("-4", "127.0.0.1:1") == Result(b"", "cfcat: out of memory\n", ExitStatus.INTERNAL)


BUGS_UNSEEN = {
    "in a callback": "Wire.open = lambda wire: wire.loop.call_soon(lambda: 1 / 0)",
    "in opening": "Wire.open = lambda wire: 1 / 0",
}


@pytest.mark.parametrize("bug", BUGS_UNSEEN.values(), ids=BUGS_UNSEEN)
@pytest.mark.parametrize("mode", ["--pipe", "--repl"])
def test_70_bug_that_nobody_waits_for(mode: str, bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the run all the same: no hang, no traceback of the event loop."""
    run_patched(monkeypatch, f"from cfcat.core.wire import Wire\n{bug}")
    with serve(Peer.recv_until_eof) as server:
        result = cfcat(mode, server.address, stdin=b":wait 20\n")
    assert result.status == ExitStatus.INTERNAL
    assert result.stderr.startswith("cfcat: internal error: ZeroDivisionError: division by zero\n")
    assert "Traceback" not in result.stderr


def test_77_file_of_authorities() -> None:
    """--cacert names nothing."""
    check(cfcat("--tls", "on", "--cacert", "/nowhere", "127.0.0.1:1"), ExitStatus.CA_FILE)


def test_97_proxy() -> None:
    """It was reached, and did not answer."""
    with serve(Peer.end) as server:
        check(cfcat("--proxy", f"socks5h://{server.address}", "mail.example:25"), ExitStatus.PROXY)


def test_every_row_has_its_test() -> None:
    """A new row is tested here, under its number."""
    tested = {int(name.split("_")[1]) for name in globals() if name.startswith("test_") and name[5].isdigit()}
    assert tested == set(ExitStatus)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CommandError("x"), 1),
        (UsageError("x"), 2),
        (AddressError("x"), 2),
        (OptionsError("x"), 2),
        (CaFileError("x"), 77),
        (ClientCertificateError("x"), 58),
        (DialogError("x"), 64),
        (BlockedError("x"), 7),
        (ResolveError("x"), 6),
        (ResolveError("x", temporary=True), 6),
        (ConnectError("x"), 7),
        (ProxyError("x"), 97),
        (ConnectTimeout("x"), 28),
        (IdleTimeout("x"), 28),
        (TlsError("x"), 35),
        (CrossedWiresError("x"), 35),
        (CertificateError("x"), 60),
        (TruncatedError("x"), 18),
        (InjectionError("x", 1), 8),
        (LostError(sending=True), 55),
        (LostError(sending=False), 56),
        (StdoutError("x"), 23),
        (StdinError("x"), 26),
        # These are for users of the library; to see one here would be a mistake of ours.
        (LockError("x"), 70),
        (ClosedError("x"), 70),
        (AbortError("x"), 70),
        (CancelError("x"), 70),
        (ValueError("x"), 70),
        (OSError(5, "x"), 70),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_status_of_error(error: Exception, status: int) -> None:
    """The most special class decides."""
    assert status_of(error) == status


def test_statuses_are_those_of_curl() -> None:
    """Scripts that know curl know these."""
    known = {"RESOLVE": 6, "CONNECT": 7, "STDOUT": 23, "STDIN": 26, "TIMEOUT": 28, "TLS": 35}
    known |= {"SEND": 55, "RECEIVE": 56, "CERTIFICATE": 60, "CA_FILE": 77, "PROXY": 97}
    assert {name: ExitStatus[name].value for name in known} == known
