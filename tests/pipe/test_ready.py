"""`--check` and `--wait`: is the server there, and until when is it tried? By real processes."""

from __future__ import annotations

import json
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cfcat.protocols import PROTOCOLS
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, Script, Server, refusing, serve
from tests.helpers.program import Result, cfcat, finish, shell, start
from tests.report.form import check_form
from tests.servers.fleet import ALL, UPGRADING, Fleet, Name

pytestmark = pytest.mark.one_python

AT_ONCE = "it accepted and closed at once"
STARTS_S = 3.0  # for the start of Python, on a busy machine


def listens(conn: Peer) -> None:
    conn.recv_until_eof()


def closes(conn: Peer) -> None:
    """A proxy that has nobody behind it."""
    conn.close()


def at_last(*scripts: Script) -> Script:
    """A connection each, in this order; the last one for all that follow."""
    left = list(scripts)
    lock = threading.Lock()

    def script(conn: Peer) -> object:
        with lock:
            this = left.pop(0) if len(left) > 1 else left[0]
        return this(conn)

    return script


def under_tls(certs: CertSet, then: Script = listens, **context: object) -> Script:
    def script(conn: Peer) -> None:
        if conn.start_tls(certs.server_context(**context), may_fail=True):  # type: ignore[arg-type]
            then(conn)

    return script


# ------------------------------------------------------------------------------------------- --check


def test_check_of_a_server_that_listens() -> None:
    """0 and silence; nothing was sent, and our end came in order."""
    with serve(listens) as server:
        assert cfcat("-z", server.address) == Result(b"", "", 0)
    assert (server.received, server.ended) == (b"", "eof")


def test_check_does_not_read_stdin(tmp_path: Path) -> None:
    """What is there is for somebody else; and where there is none, none is needed."""
    (tmp_path / "in").write_bytes(b"data")
    with serve(listens) as server, (tmp_path / "in").open("rb") as file:
        assert cfcat("-z", server.address, stdin=file).status == 0
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 0
        assert shell(f"cfcat -z {server.address} <&-; echo $?").stdout == b"0\n"
    assert server.received == b""


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (closes, ""),
        (lambda conn: conn.quiet(0.05) and conn.reset(), ""),
        (lambda conn: conn.send(b"421 \x1btoo many\r\n"), '; it said "421 \\x1btoo many"'),
    ],
    ids=["closes", "resets", "says why"],
)
def test_check_of_what_accepts_and_closes(script: Script, said: str) -> None:
    """56: what nc calls open."""
    with serve(script) as server:
        result = cfcat("-z", server.address)
        assert result == Result(b"", f"cfcat: {server.address}: {AT_ONCE}{said}\n", 56)


def test_check_of_a_server_that_greets() -> None:
    """A greeting is nobody's data; the quarter of a second is over all the same."""

    def script(conn: Peer) -> None:
        conn.send(b"220 hello\r\n")
        began = time.monotonic()
        conn.recv_until_eof()
        stayed.append(time.monotonic() - began)

    stayed: list[float] = []
    with serve(script) as server:
        assert cfcat("-z", server.address) == Result(b"", "", 0)
    assert 0.2 < stayed[0] < STARTS_S


def test_check_on_a_terminal_and_with_options_of_nc() -> None:
    """`nc -zv` is understood; what means nothing is refused, with what is meant."""
    with serve(listens) as server:
        result = cfcat("-zv", "127.0.0.1", str(server.port))
        assert result.status == 0
        assert f"connected to {server.address}" in result.stderr
        refused = cfcat("-z", "-w", "3", server.address)
    assert refused == Result(b"", "cfcat: -w is not for -z\n  hint: --connect-timeout SECS is its deadline\n", 2)


@pytest.mark.parametrize(
    "option",
    ["--half-open", "-C", "-q 1", "--raw", "--export x", "--repl", "--pipe", "--progress", "-l", "--shutdown now"],
)
def test_options_without_a_meaning_in_a_check(option: str) -> None:
    """A usage error each."""
    assert cfcat("-z", *option.split(), "127.0.0.1:1").status == 2


def test_check_under_tls(certs: CertSet) -> None:
    """Verified, and ended by close_notify; the facts are told with -v and --json, the days that are left among them."""
    with serve(under_tls(certs)) as server:
        result = cfcat("-z", "-v", "--json", "--tls", "on", "--cacert", certs.ca, server.address)
    *lines, report = result.stderr.splitlines()
    told = json.loads(report)
    assert (result.stdout, result.status, server.ended) == (b"", 0, "close_notify")
    assert told["tls"]["verified"]
    assert told["tls"]["certificate"]["days_left"] > 0
    assert (told["mode"], told["end"], told["status"]) == ("check", "checked", 0)
    assert any("days left" in line for line in lines)


def test_check_with_a_bad_certificate(certs: CertSet) -> None:
    """60, as in any other mode."""
    with serve(under_tls(certs, kind="expired")) as server:
        assert cfcat("-z", "--tls", "on", "--cacert", certs.ca, server.address).status == 60


def test_check_without_the_certificate_that_the_server_wants(certs: CertSet) -> None:
    """TLS 1.3 says so behind the handshake: nothing but this quarter of a second sees it."""
    context = certs.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certs.ca)
    with serve(lambda conn: conn.start_tls(context, may_fail=True)) as server:
        result = cfcat("-z", "--tls", "on", "--cacert", certs.ca, server.address)
    assert result.status == 35
    assert "certificate" in result.stderr


def test_report_of_a_check_that_failed() -> None:
    """The peer's end is the end of it."""
    with serve(lambda conn: conn.send(b"421 busy\r\n")) as server:
        told = json.loads(cfcat("-z", "--json", server.address).stderr)
    assert (told["end"], told["status"], told["phase"]) == ("peer ended", 56, "session")
    assert told["bytes"] == {"sent": 0, "received": 10}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_check_behind_the_dialog_of_each_protocol(protocol: str, certs: CertSet) -> None:
    """The test server is cfcat itself, which plays the server's half."""
    certificate = ["--cert", str(certs["good"].chain), "--key", str(certs["good"].key)]
    with start("-l", "0", "--starttls", protocol, *certificate, "-v") as server:
        said = server.read_stderr_until("listening on 127.0.0.1:")
        said = server.read_stderr_until("\n") if "\n" not in said else said
        address = said.partition("listening on ")[2].split()[0]
        result = cfcat("-z", "--starttls", protocol, "--cacert", certs.ca, address)
        server.end_input()
        assert result == Result(b"", "", 0), result
        assert finish(server).stdout == b""


@pytest.mark.parametrize("name", ALL)
def test_check_of_each_daemon(daemon: Fleet, certs: CertSet, name: Name) -> None:
    """Under TLS, by STARTTLS where there is one."""
    running = daemon(name)
    if name in UPGRADING:
        asked, port = ["--starttls", name], running.port
    else:
        asked, port = ["--tls", "on"], running.tls_port
    result = cfcat("-z", *asked, "--cacert", certs.ca, f"localhost:{port}")
    assert result == Result(b"", "", 0)


# -------------------------------------------------------------------------------------------- --wait


def test_wait_until_a_proxy_has_a_server(tmp_path: Path) -> None:
    """Three early ends, then the server: stdin is whole, and in time order."""
    (tmp_path / "in").write_bytes(b"data" * 1000)
    with serve(at_last(closes, closes, listens)) as server, (tmp_path / "in").open("rb") as file:
        result = cfcat("--wait", "8", "-q", "0.1", server.address, stdin=file)
    assert result == Result(b"", "", 0)
    assert server.connections == 3
    assert server.peers[2].received == b"data" * 1000


def test_stdin_is_not_read_before_it_is_ready() -> None:
    """A pipe's data is whole afterwards: for the next program where it failed."""
    with serve(closes) as server:
        done = shell(f"printf hello | {{ cfcat --wait 0.4 {server.address}; echo $?; cat; }}")
    assert done.stdout == b"56\nhello"
    assert done.stderr == f"cfcat: {server.address}: {AT_ONCE}\n"


def test_a_byte_ends_the_watching() -> None:
    """A server that greets and ends at once was there: its data is delivered, and nothing is tried again."""
    with serve(lambda conn: conn.send(b"the time\r\n")) as server:
        assert cfcat("--wait", "5", server.address) == Result(b"the time\r\n", "", 0)
    assert server.connections == 1


@contextmanager
def late(address: int, script: Script) -> Iterator[Callable[[], Server]]:
    """A server at this port, which begins when it is called for."""
    running: list[object] = []

    def begin() -> Server:
        manager = serve(script, port=address)
        running.append(manager)
        return manager.__enter__()

    try:
        yield begin
    finally:
        for manager in running:
            manager.__exit__(None, None, None)  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", [["-z"], [], ["--repl"]], ids=["check", "pipe", "script"])
def test_server_that_starts_late(mode: list[str]) -> None:
    """-v tells the reason, once; of the attempt that succeeded it tells all."""
    with refusing() as port:
        pass  # nobody has it any more
    with late(port, listens) as begin, start(*mode, "-v", "--wait", "8", f"127.0.0.1:{port}") as program:
        program.read_stderr_until("connection refused")
        begin()
        if mode == ["-z"]:
            result = finish(program)
        else:
            program.say(b"hello\n")
            program.end_input()
            result = finish(program)
    assert result.status == 0, result
    assert result.stderr.count("not ready: ") == 1
    assert result.stderr.count("connected to") == 1


def test_reasons_are_told_when_they_change(certs: CertSet) -> None:
    """Each once, in order; the certificate is exchanged while waiting."""
    expired, good = under_tls(certs, kind="expired"), under_tls(certs, lambda conn: conn.send(b"hello"))
    with serve(at_last(closes, expired, expired, good)) as server:
        tls = ["--tls", "on", "--cacert", str(certs.ca)]
        result = cfcat("-v", "--wait", "8", *tls, server.address)
    told = [line for line in result.stderr.splitlines() if "not ready" in line]
    assert len(told) == 2
    assert "TLS" in told[0]
    assert "it expired on" in told[1]
    assert (result.stdout, result.status, server.connections) == (b"hello", 0, 4)


def refuses_starttls(conn: Peer) -> None:
    conn.send(b"554 no\r\n")
    conn.recv_until_eof()


def resets_in_the_handshake(conn: Peer) -> None:
    conn.recv(1)
    conn.reset()


def nothing(conn: Peer) -> None:
    conn.hang()


@pytest.mark.parametrize(
    ("script", "options", "status", "reason"),
    [
        (closes, [], 56, AT_ONCE),
        (resets_in_the_handshake, ["--tls", "on", "-k"], 35, "TLS"),
        (refuses_starttls, ["--starttls", "smtp", "-k"], 64, "the server refused"),
        (nothing, ["--starttls", "smtp", "-k", "--connect-timeout", "0.2"], 28, "the SMTP dialog was not complete"),
    ],
    ids=["early end", "reset", "starttls", "deadline"],
)
def test_last_reason_is_message_and_status(script: Script, options: list[str], status: int, reason: str) -> None:
    """Each failure that is tried again; at the deadline, and no later."""
    began = time.monotonic()
    with serve(script) as server:
        result = cfcat("-z", "--wait", "1", *options, server.address)
        server.release()
    assert result.status == status, result
    assert reason in result.stderr
    assert server.connections >= 2
    assert 1 <= time.monotonic() - began < 1 + STARTS_S


def test_last_reason_of_name_refusal_and_certificate(certs: CertSet) -> None:
    """6, 7 and 60."""
    assert cfcat("-z", "--wait", "0.3", "a..b:1").status == 6
    with refusing() as port:
        result = cfcat("-z", "--wait", "0.5", f"127.0.0.1:{port}")
    assert result == Result(b"", f"cfcat: 127.0.0.1:{port}: connection refused\n", 7)
    with serve(under_tls(certs, kind="expired")) as server:
        assert cfcat("-z", "--wait", "0.5", "--tls", "on", "--cacert", certs.ca, server.address).status == 60
    assert server.connections >= 2


def test_deadline_cuts_an_attempt() -> None:
    """Nothing had been learned: 28, and what the option is called. Otherwise it is what was learned before."""
    with serve(nothing) as server:
        began = time.monotonic()
        result = cfcat("-z", "--wait", "0.5", "--starttls", "smtp", "-k", server.address)
        assert time.monotonic() - began < 0.5 + STARTS_S
        server.release()
    text, hint = check_form(result.stderr.partition("\n")[2])
    assert (text, result.status) == (f"{server.address}: not ready after 0.5 s", 28)
    assert hint == "--wait SECS with more seconds waits longer"
    with serve(at_last(closes, nothing)) as server:
        result = cfcat("-z", "--wait", "1", "--starttls", "smtp", "-k", server.address)
        server.release()
    assert result.status == 64


@pytest.mark.parametrize(
    ("options", "status"), [(["--tls", "on", "--cacert", "/nowhere"], 77), (["--starttls", "smtp", "-k"], 8)]
)
def test_what_would_fail_again_is_not_tried_again(options: list[str], status: int) -> None:
    """A file that is not there, and an attack."""

    def injects(conn: Peer) -> None:
        conn.send(b"220 mail\r\n")
        conn.recv_until(b"\n")
        conn.send(b"250-mail\r\n250 STARTTLS\r\n")
        conn.recv_until(b"\n")
        conn.send(b"220 go\r\nX")
        conn.recv_until_eof()

    with serve(injects) as server:
        assert cfcat("-z", "--wait", "9", *options, server.address).status == status
    assert server.connections < 2


def test_transcript_and_report_are_of_the_last_attempt(tmp_path: Path, certs: CertSet) -> None:
    """A dialog that had to be repeated is kept once, and timed as it was."""

    def dialog(conn: Peer) -> None:
        conn.send(b"220 mail.test\r\n")
        conn.recv_until(b"\n")
        conn.send(b"250-mail.test\r\n250 STARTTLS\r\n")
        conn.recv_until(b"\n")
        conn.quiet(0.1)
        conn.send(b"220 go\r\n")

    def fails(conn: Peer) -> None:
        dialog(conn)
        conn.recv()  # a hello unread would make a reset of the end
        conn.close()

    def works(conn: Peer) -> None:
        dialog(conn)
        conn.start_tls(certs.server_context())
        conn.send(b"250 hello\r\n")

    log = tmp_path / "log"
    with serve(at_last(fails, fails, works)) as server:
        options = ["--starttls", "smtp", "--cacert", str(certs.ca), "--log", str(log), "--json"]
        result = cfcat("--wait", "8", *options, server.address)
    told = json.loads(result.stderr)
    assert (result.stdout, result.status, server.connections) == (b"250 hello\r\n", 0, 3)
    assert len(told["addresses"]) == 1
    assert 0.1 <= told["times"]["starttls"] < STARTS_S
    assert log.read_text().count("EHLO") == 1
    assert log.read_text().count("not ready") == 1


def test_session_of_a_script_waits(certs: CertSet) -> None:
    """By STARTTLS; of a dialog that had to be repeated the last is shown."""

    def dialog(conn: Peer) -> None:
        conn.send(b"220 mail.test\r\n")
        conn.recv_until(b"\n")
        conn.send(b"250-mail.test\r\n250 STARTTLS\r\n")
        conn.recv_until(b"\n")
        conn.send(b"220 go\r\n")

    def breaks_off(conn: Peer) -> None:
        dialog(conn)
        conn.close()

    def works(conn: Peer) -> None:
        dialog(conn)
        conn.start_tls(certs.server_context())
        conn.send(b"250 hello\r\n")
        conn.recv_until(b"QUIT\r\n")

    with serve(at_last(closes, breaks_off, works)) as server:
        options = ["--starttls", "smtp", "--cacert", str(certs.ca)]
        result = cfcat("--repl", "--wait", "8", *options, server.address, stdin=b":expect ^250\nQUIT\n")
    assert (result.stdout, result.status, server.connections) == (b"250 hello\r\n", 0, 3)
    assert result.stderr.count("> EHLO") == 1


def test_script_that_waited_in_vain() -> None:
    """Status and message as in a pipe."""
    with serve(closes) as server:
        result = cfcat("--repl", "--wait", "0.5", server.address, stdin=b":expect ^220\n")
    assert result == Result(b"", f"cfcat: {server.address}: {AT_ONCE}\n", 56)


def test_interrupted_while_waiting() -> None:
    """SIGINT ends it as anywhere else."""
    with refusing() as port, start("-v", "--wait", "60", f"127.0.0.1:{port}") as program:
        program.read_stderr_until("not ready")
        program.send_signal(2)
        assert finish(program).status == -2


def test_wait_is_not_for_listeners() -> None:
    """They wait in any case."""
    result = cfcat("-l", "0", "--wait", "3")
    assert result.stderr == "cfcat: -l excludes --wait: a listener waits for its client in any case\n"
