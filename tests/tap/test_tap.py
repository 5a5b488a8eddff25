"""`cfcat --tap` as a program: what it takes and refuses, shows and keeps, and how it bears clients and servers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import ssl
import stat
from importlib import resources
from pathlib import Path

import pytest

from cfcat.record.recording import End, PeerEnd, ReceiveStep, SendStep, StartTls, read_transcript
from tests.helpers.certs import CertSet, Kind
from tests.helpers.json_schema import violations
from tests.helpers.peers import Peer, Script, blackhole, refusing, serve
from tests.helpers.program import cfcat, start
from tests.program.command import Command
from tests.report.form import check_form
from tests.tap.sides import Side
from tests.tap.tapping import Tap, tapping
from tests.tap.test_hello import HELLO

pytestmark = pytest.mark.one_python


def echo(conn: Peer) -> None:
    conn.send(conn.recv_until_eof())


def dial(tap: Tap) -> Side:
    return Side(socket.create_connection(("127.0.0.1", tap.port)))


def trusting(tap: Tap) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(tap.ca))


def secured(certs: CertSet, kind: Kind = "good", script: Script = echo) -> Script:
    """A server with TLS from the first byte."""

    def play(conn: Peer) -> None:
        conn.start_tls(certs.server_context(kind))
        script(conn)

    return play


# ---------------------------------------------------------------------------------------------- what is shown


def test_each_line_has_the_number_of_its_connection(tmp_path: Path) -> None:
    """Two at a time, each in the form of a transcript."""
    with serve(echo) as server, tapping(server.address, folder=tmp_path) as tap:
        first, second = dial(tap), dial(tap)
        second.send(b"two\n")
        tap.shows(r"^#2 .* > - two\\n$")
        first.send(b"one\n")
        tap.shows(r"^#1 .* > - one\\n$")
        for side in (first, second):
            side.fin()
            side.hear_all()
            side.close()
        tap.shows(r"^#1 .*over after")
        shown = tap.shows(r"^#2 .*over after")
        tap.end()
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert all(re.fullmatch(rf"#[12] {moment} [<>*] - .*", line) for line in shown.splitlines())


def test_a_line_without_an_end_is_shown_after_a_moment(tmp_path: Path) -> None:
    """A prompt, or a message of a binary protocol."""

    def prompt(conn: Peer) -> None:
        conn.send(b"login: ")
        conn.recv_until_eof()

    with serve(prompt) as server, tapping(server.address, folder=tmp_path) as tap:
        client = dial(tap)
        tap.shows(r"< - login: $")
        client.close()
        tap.end()


def test_what_a_peer_says_reaches_no_terminal_as_it_is(tmp_path: Path) -> None:
    """Escape sequences, control and bidirectional characters, in data and in a server name."""
    with serve(echo) as server, tapping(server.address, "-v", folder=tmp_path) as tap:
        client = dial(tap)
        client.send("\x1b[2J\x07‮evil\n".encode())
        client.fin()
        client.hear_all()
        client.close()
        tap.shows("over after")
        result = tap.end()
    text = result.stdout.decode() + result.stderr
    assert r"\x1b[2J\x07\xe2\x80\xaeevil\n" in text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f‮]", text)


def test_secrets_are_masked_in_display_and_log(tmp_path: Path) -> None:
    """As in every transcript."""
    log = tmp_path / "log"
    with serve(echo) as server, tapping(server.address, "--log", log, folder=tmp_path) as tap:
        say_password(tap)
        result = tap.end()
    assert b"geheim" not in result.stdout.replace(b"< - PASS geheim", b"")  # the echo is the server's
    assert b"> - PASS ****\\r\\n" in result.stdout
    assert "> - PASS ****\\r\\n" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_log_secrets_shows_them_everywhere(tmp_path: Path) -> None:
    """With a log or without one: that is what was asked for."""
    with serve(echo) as server, tapping(server.address, "--log-secrets", folder=tmp_path) as tap:
        say_password(tap)
        result = tap.end()
    assert b"> - PASS geheim\\r\\n" in result.stdout


def say_password(tap: Tap) -> None:
    client = dial(tap)
    client.send(b"USER me\r\nPASS geheim\r\n")
    client.fin()
    client.hear_all()
    client.close()
    tap.shows("over after")


def test_hexdump_takes_the_place_of_lines(tmp_path: Path) -> None:
    """-x: on standard output, each row with the number; events stay."""
    with serve(echo) as server, tapping(server.address, "-x", folder=tmp_path) as tap:
        client = dial(tap)
        client.send(b"hello\n")
        client.fin()
        client.hear_all()
        client.close()
        shown = tap.shows("over after")
        tap.end()
    assert re.search(r"^#1 > 00000000  68 65 6c 6c 6f 0a +\|hello\.\|$", shown, re.M)
    assert re.search(r"^#1 < 00000000  68 65 6c 6c 6f 0a +\|hello\.\|$", shown, re.M)
    assert "* - the client ended (FIN)" in shown
    assert "> - hello" not in shown


def test_quiet_shows_nothing_and_logs(tmp_path: Path) -> None:
    """The transcript is kept all the same."""
    log = tmp_path / "log"
    with serve(echo) as server, tapping(server.address, "--quiet", "--log", log, "--once", folder=tmp_path) as tap:
        client = dial(tap)
        client.send(b"hello\n")
        client.fin()
        assert client.hear_all() == (b"hello\n", ["fin"])
        client.close()
        result = tap.end(by=None)
    assert (result.stdout, result.status) == (b"", 0)
    assert "> - hello\\n" in log.read_text()


def test_json_is_one_object_a_connection(certs: CertSet, tmp_path: Path) -> None:
    """On standard error, by its schema, with the client and the ends of both sides."""
    with (
        serve(secured(certs)) as server,
        tapping(f"localhost:{server.port}", "--cacert", certs.ca, "--json", folder=tmp_path) as tap,
    ):
        for _ in range(2):
            client = dial(tap)
            client.secure(trusting(tap), "localhost")
            client.send(b"hello")
            client.close_notify()
            client.fin()
            assert client.hear_all() == (b"hello", ["close_notify", "fin"])
            client.close()
        tap.program.read_stderr_until('"connection": 2')
        result = tap.end()
    schema = json.loads(resources.files("cfcat.report").joinpath("report.schema.json").read_text())
    reports = [json.loads(line) for line in result.stderr.splitlines() if line.startswith("{")]
    for number, report in enumerate(reports, start=1):
        assert list(violations(report, schema)) == []
        assert report["connection"] == number
        assert report["bytes"] == {"sent": 5, "received": 5}
        assert report["client"]["tls"]["server_name"] == "localhost"
        assert (report["mode"], report["status"], report["end"]) == ("tap", 0, "client ended")
        assert {"side": "client", "how": "close_notify", "detail": None} in report["ends"]
    assert len(reports) == 2


def test_a_transcript_becomes_worker_code(certs: CertSet, tmp_path: Path) -> None:
    """`--from` takes the numbers; each connection by itself, with the moment of TLS and both ends."""
    log, module = tmp_path / "log", tmp_path / "w.js"

    def starttls(conn: Peer) -> None:
        conn.send(b"220 ready\r\n")
        conn.recv_until(b"\n")
        conn.send(b"220 go\r\n")
        conn.start_tls(certs.server_context())
        conn.send(conn.recv_until(b"\n"))

    with (
        serve(starttls) as server,
        tapping(f"localhost:{server.port}", "--cacert", certs.ca, "--log", log, folder=tmp_path) as tap,
    ):
        for word in (b"one\n", b"two\n"):
            client = dial(tap)
            client.hear_bytes(11)
            client.send(b"STARTTLS\r\n")
            client.hear_bytes(8)
            client.secure(trusting(tap), "localhost")
            client.send(word)
            assert client.hear_bytes(4) == word
            client.close_notify()
            client.fin()
            client.hear_all()
            client.close()
        tap.shows("#2 .* over after")
        tap.end()
    conversations = read_transcript(log.read_text().splitlines())
    assert [conversation.connecting.target for conversation in conversations] == [f"localhost:{server.port}"] * 2
    for conversation, word in zip(conversations, (b"one\n", b"two\n"), strict=True):
        assert conversation.steps[:7] == [
            ReceiveStep(bytearray(b"220 ready\r\n")),
            SendStep([bytearray(b"STARTTLS\r\n")]),
            ReceiveStep(bytearray(b"220 go\r\n")),
            StartTls(),
            SendStep([bytearray(word)]),
            ReceiveStep(bytearray(word)),
            conversation.steps[6],
        ]
        assert set(map(type, conversation.steps[6:])) == {End, PeerEnd}
    result = cfcat("--from", log, "--export", module)
    assert (result.status, result.stderr) == (0, "")
    assert "startTls" in module.read_text()


# --------------------------------------------------------------------------------------- bytes that look like TLS


def test_a_mail_that_holds_a_client_hello_passes_unchanged(tmp_path: Path) -> None:
    """In the middle of a turn, and with more behind it; byte for byte."""
    mail = b"Subject: x\r\n\r\n" + HELLO + b"\r\n.\r\n"

    def smtp(conn: Peer) -> None:
        conn.send(b"354 go on\r\n")
        conn.send(conn.recv_exactly(len(mail) * 2 + len(HELLO) + 1))

    with serve(smtp) as server, tapping(server.address, folder=tmp_path) as tap:
        client = dial(tap)
        client.hear_bytes(11)
        for piece in (mail, HELLO, b"x", mail):  # the second is a chunk of its own, in the middle
            client.send(piece)
        assert client.hear_bytes(len(mail) * 2 + len(HELLO) + 1) == mail + HELLO + b"x" + mail
        client.close()
        tap.end()


@pytest.mark.parametrize("data", [HELLO[:100], HELLO[:5], b"\x16\x03"], ids=len)
def test_what_only_begins_like_a_client_hello_is_let_go_after_a_moment(data: bytes, tmp_path: Path) -> None:
    """Nothing is lost, and nobody waits for ever."""

    def answer(conn: Peer) -> None:
        assert conn.recv_exactly(len(data)) == data
        conn.send(b"ok")

    with serve(answer) as server, tapping(server.address, folder=tmp_path) as tap:
        client = dial(tap)
        client.send(data)
        assert client.hear_bytes(2) == b"ok"
        client.close()
        tap.end()


def test_its_end_lets_it_go_at_once(tmp_path: Path) -> None:
    """What is held comes before the FIN."""
    with serve(echo) as server, tapping(server.address, folder=tmp_path) as tap:
        client = dial(tap)
        client.send(HELLO[:50])
        client.fin()
        assert client.hear_all() == (HELLO[:50], ["fin"])
        client.close()
        tap.end()


class Slowly:
    """A socket that sends byte by byte."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock

    def sendall(self, data: bytes) -> None:
        for begin in range(0, len(data), 7):
            self._sock.send(data[begin : begin + 7])

    def __getattr__(self, name: str) -> object:
        return getattr(self._sock, name)


def test_a_client_hello_in_many_segments_is_one(certs: CertSet, tmp_path: Path) -> None:
    """Seven bytes at a time."""
    with serve(secured(certs)) as server, tapping(server.address, "--cacert", certs.ca, folder=tmp_path) as tap:
        client = Side(Slowly(socket.create_connection(("127.0.0.1", tap.port))))  # type: ignore[arg-type]
        client.secure(trusting(tap), "localhost")
        client.send(b"hello")
        client.close_notify()
        client.fin()
        assert client.hear_all() == (b"hello", ["close_notify", "fin"])
        client.close()
        tap.end()


def test_accept_tls_off_passes_tls_untouched(certs: CertSet, tmp_path: Path) -> None:
    """The server's own certificate reaches the client; nothing is deciphered, and no authority is made."""
    with (
        serve(secured(certs)) as server,
        tapping(server.address, "--accept-tls", "off", folder=tmp_path) as tap,
    ):
        client = dial(tap)
        client.secure(certs.client_context(), "localhost")
        client.send(b"secret words")
        client.close_notify()
        client.fin()
        assert client.hear_all() == (b"secret words", ["close_notify", "fin"])
        client.close()
        tap.shows("over after")
        result = tap.end()
    assert b"secret words" not in result.stdout
    assert "clients trust" not in result.stderr
    assert not tap.ca.exists()


def test_the_tap_asks_the_server_for_what_its_client_asked(certs: CertSet, tmp_path: Path) -> None:
    """Server name and ALPN of the client; its choice goes back."""
    seen: list[tuple[str | None, str | None]] = []

    def script(conn: Peer) -> None:
        context = certs.server_context()
        context.set_alpn_protocols(["imap", "h2"])
        conn.start_tls(context)
        seen.append((conn.sni, conn.alpn()))

    with serve(script) as server, tapping(server.address, "--cacert", certs.ca, folder=tmp_path) as tap:
        context = trusting(tap)
        context.set_alpn_protocols(["h2", "imap"])
        client = dial(tap)
        client.secure(context, "localhost")
        assert client.alpn == "imap"
        client.close()
        tap.end()
    assert seen[0][1] == "imap"


# --------------------------------------------------------------------------------------------- what goes wrong


def test_a_server_that_refuses_is_told_and_the_client_reset(tmp_path: Path) -> None:
    """7 for the one connection; the tap goes on."""
    with refusing() as port, tapping(f"127.0.0.1:{port}", folder=tmp_path) as tap:
        client = dial(tap)
        assert client.hear_all() == (b"", ["reset"])
        client.close()
        said = tap.program.read_stderr_until("refused")
        tap.end()
    assert f"cfcat: #1 127.0.0.1:{port}: connection refused" in said


@pytest.mark.parametrize(
    ("target", "status"),
    [("nobody.invalid:25", 6), ("127.0.0.1:{refusing}", 7), ("127.0.0.1:{blackhole}", 28)],
    ids=["name", "down", "silent"],
)
def test_once_has_the_status_of_the_one_connection(target: str, status: int, tmp_path: Path) -> None:
    """And one line that says why."""
    with refusing() as down, blackhole() as silent:
        where = target.format(refusing=down, blackhole=silent)
        with tapping(where, "--once", "--connect-timeout", "0.5", folder=tmp_path) as tap:
            client = dial(tap)
            assert client.hear_all() == (b"", ["reset"])
            client.close()
            result = tap.end(by=None)
    assert result.status == status
    check_form("cfcat: " + result.stderr.partition("cfcat: #1 ")[2])


def test_a_server_that_is_not_trusted_gets_nothing_and_the_client_an_alert(certs: CertSet, tmp_path: Path) -> None:
    """60; not a byte of the client's TLS data goes on."""

    def refused(conn: Peer) -> None:
        with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
            conn.start_tls(certs.server_context("untrusted"))

    with (
        serve(refused) as server,
        tapping(server.address, "--cacert", certs.ca, "--once", folder=tmp_path) as tap,
    ):
        client = dial(tap)
        with pytest.raises(ssl.SSLError, match="INTERNAL_ERROR"):
            client.secure(trusting(tap), "localhost")
        client.close()
        result = tap.end(by=None)
    assert result.status == 60
    assert "certificate not trusted" in result.stderr
    assert server.received == b""


def test_a_client_that_does_not_trust_us_is_told_in_words(certs: CertSet, tmp_path: Path) -> None:
    """35, naming the client."""
    with (
        serve(secured(certs)) as server,
        tapping(server.address, "--cacert", certs.ca, "--once", folder=tmp_path) as tap,
    ):
        client = dial(tap)
        with pytest.raises(ssl.SSLCertVerificationError):
            client.secure(certs.client_context(), "localhost")
        client.close()
        result = tap.end(by=None)
    assert result.status == 35
    assert re.search(r"cfcat: #1 127\.0\.0\.1:\d+: .*the client does not trust our certificate", result.stderr)


def test_a_server_that_speaks_no_tls_is_told_in_words(certs: CertSet, tmp_path: Path) -> None:
    """Rubbish in place of the handshake: 35, quoted and escaped."""

    def rubbish(conn: Peer) -> None:
        conn.recv()
        conn.send(b"\x1b[2Jwhat?\r\n")

    with serve(rubbish) as server, tapping(server.address, "--once", folder=tmp_path) as tap:
        client = dial(tap)
        with pytest.raises(ssl.SSLError):
            client.secure(trusting(tap), "localhost")
        client.close()
        result = tap.end(by=None)
    assert result.status == 35
    assert r"\x1b[2Jwhat?" in result.stderr


def test_a_client_in_clear_text_is_refused_where_tls_is_demanded(certs: CertSet, tmp_path: Path) -> None:
    """`--accept-tls on`: 35, quoted; the server is never bothered."""
    with serve(echo) as server, tapping(server.address, "--accept-tls", "on", "--once", folder=tmp_path) as tap:
        client = dial(tap)
        client.send(b"EHLO me\r\n")
        assert client.hear_all() == (b"", ["reset"])
        client.close()
        result = tap.end(by=None)
        assert server.connections == 0
    assert result.status == 35
    assert 'does not speak TLS; it said "EHLO me"' in result.stderr


def test_clear_text_behind_the_go_ahead_is_an_injection(certs: CertSet, tmp_path: Path) -> None:
    """What the server has sent, and nobody has read when TLS begins: 8; no ClientHello goes there."""

    def inject(conn: Peer) -> None:
        conn.recv_until(b"\n")
        with contextlib.suppress(OSError):
            conn.send(b"x" * 64_000_000)  # more than the client takes: it is unread when TLS begins

    with (
        serve(inject) as server,
        tapping(server.address, "--cacert", certs.ca, "--once", folder=tmp_path) as tap,
    ):
        client = dial(tap)
        client.send(b"STARTTLS\n")
        client.hear_bytes(1)
        client.send_raw(HELLO)
        data, ends = client.hear_all()
        client.close()
        result = tap.end(by=None)
    assert result.status == 8
    assert "possible injection" in result.stderr
    assert data.endswith(b"\x15\x03\x03\x00\x02\x02\x50")
    assert ends in (["fin"], ["reset"])


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (b"220 go\r\n", 0, ""),
        (b"454 not now\r\n", 64, 'the server refused STARTTLS (code 454); it said "454 not now"'),
        (b"220 go\r\n250 OK\r\n", 8, "possible injection"),
        (b"+OK\r\n", 64, "the server's answer to STARTTLS is no go-ahead"),
    ],
    ids=["agreed", "refused", "injected", "nonsense"],
)
def test_starttls_checks_that_the_server_has_agreed(
    answer: bytes, status: int, words: str, certs: CertSet, tmp_path: Path
) -> None:
    """`--starttls PROTO`: a client that begins all the same is reset, and so is the server; else TLS begins anyhow."""

    def smtp(conn: Peer) -> None:
        conn.send(b"220 ready\r\n")
        conn.recv_until(b"STARTTLS\r\n")
        conn.send(answer)
        if status == 0:
            conn.start_tls(certs.server_context())
        else:
            assert conn.recv() == b""
            assert conn.ended == "reset"

    with (
        serve(smtp) as server,
        tapping(server.address, "--cacert", certs.ca, "--starttls", "smtp", "--once", folder=tmp_path) as tap,
    ):
        client = dial(tap)
        client.hear_bytes(11)
        client.send(b"EHLO me\r\nSTARTTLS\r\n")
        client.hear_bytes(len(answer))
        if status == 0:
            client.secure(trusting(tap), "localhost")
            client.close_notify()
            client.fin()
            client.hear_all()
        else:
            client.send(HELLO)
            assert client.hear_all() == (b"", ["reset"])
        client.close()
        result = tap.end(by=None)
    assert result.status == status
    assert words in result.stderr


def test_starttls_wants_a_dialog_before_tls(certs: CertSet, tmp_path: Path) -> None:
    """TLS at the first byte is none: 64."""
    with (
        serve(echo) as server,
        tapping(server.address, "--starttls", "imap", "--once", folder=tmp_path) as tap,
    ):
        client = dial(tap)
        client.send(HELLO)
        assert client.hear_all() == (b"", ["reset"])
        client.close()
        result = tap.end(by=None)
    assert result.status == 64
    assert "the client began TLS without the dialog of IMAP" in result.stderr


def test_a_client_that_leaves_at_once_harms_nobody(tmp_path: Path) -> None:
    """In order or by a reset; the next is served."""
    with serve(echo) as server, tapping(server.address, folder=tmp_path) as tap:
        dial(tap).close()
        dial(tap).reset()
        client = dial(tap)
        client.send(b"still there")
        client.fin()
        assert client.hear_all() == (b"still there", ["fin"])
        client.close()
        tap.end()


def test_hundreds_of_clients_at_a_time(tmp_path: Path) -> None:
    """Each gets its own answer."""
    count = 200
    with serve(echo) as server, tapping(server.address, "--quiet", folder=tmp_path) as tap:
        clients = [dial(tap) for _ in range(count)]
        for number, client in enumerate(clients):
            client.send(f"client {number}".encode())
        for client in clients:
            client.fin()
        for number, client in enumerate(clients):
            assert client.hear_all() == (f"client {number}".encode(), ["fin"])
            client.close()
        tap.end()


def test_a_slow_side_slows_the_other(tmp_path: Path) -> None:
    """64 MiB for a client that does not read: the server is held up, and memory is bounded."""
    size = 64 * 1024 * 1024

    def flood(conn: Peer) -> None:
        conn.send(b"x" * size)

    with serve(flood, timeout_s=60) as server, tapping(server.address, "--quiet", folder=tmp_path) as tap:
        client = dial(tap)
        assert client.sock.recv(1) == b"x"
        assert _peak_mib(tap) < 64
        count = 1
        while isinstance(came := client.hear(), bytes):
            count += len(came)
        assert (count, came) == (size, "fin")
        client.close()
        assert _peak_mib(tap) < 64
        tap.end()


def _peak_mib(tap: Tap) -> float:
    status = Path(f"/proc/{tap.program.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1024


def test_a_signal_ends_it_and_its_files(certs: CertSet, tmp_path: Path) -> None:
    """What was held back is kept; the private file of the authority is gone; it dies of the signal."""
    log = tmp_path / "log"
    with serve(echo) as server, tapping(server.address, "--log", log, folder=tmp_path) as tap:
        client = dial(tap)
        client.send(b"no end of line")
        tap.shows("no end of line")
        result = tap.end(by=signal.SIGTERM)
        assert client.hear_all()[1] in (["fin"], ["reset"])
        client.close()
    assert result.status == -signal.SIGTERM
    assert "no end of line" in log.read_text()


def test_a_signal_reports_the_connections_that_it_ends(tmp_path: Path) -> None:
    """`--json`: one object each, with 128 and its number; one that has no server yet had no session."""

    def answer(conn: Peer) -> None:
        conn.send(conn.recv_until(b"\n"))
        conn.recv_until_eof()

    with (
        serve(answer) as server,
        blackhole() as silent,
        tapping(server.address, "--json", folder=tmp_path) as tap,
        tapping(f"127.0.0.1:{silent}", "--json", folder=tmp_path) as waiting,
    ):
        clients = [dial(tap), dial(tap), dial(waiting)]
        for number, client in enumerate(clients[:2], start=1):
            client.send(b"hello\n")
            tap.shows(f"#{number} .* < - hello")
        waiting.shows("connecting to")
        result, other = tap.end(by=signal.SIGTERM), waiting.end()
        for client in clients:
            client.close()
    objects = [json.loads(line) for line in (result.stderr + other.stderr).splitlines() if line.startswith("{")]
    assert [(each["connection"], each["status"], each["end"], each["bytes"]["sent"]) for each in objects] == [
        *((1, 143, "quit", 6), (2, 143, "quit", 6)),
        (1, 130, None, 0),
    ]
    schema = json.loads(resources.files("cfcat.report").joinpath("report.schema.json").read_text())
    assert all(list(violations(each, schema)) == [] for each in objects)


def test_a_port_in_use_is_7(tmp_path: Path) -> None:
    """Its message names the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = cfcat("--tap", f"127.0.0.1:{port}", "localhost:25")
    assert result.status == 7
    assert f"cannot listen on 127.0.0.1:{port}: address already in use" in result.stderr


def test_a_reader_that_leaves_ends_it() -> None:
    """`| head -1`: SIGPIPE, at once, whoever has come or not."""
    reading, writing = os.pipe()
    with serve(echo) as server, start("--tap", "0", server.address, stdout=writing) as program:
        os.close(writing)
        program.read_stderr_until("listening on")
        os.close(reading)
        assert program.wait(20) == -signal.SIGPIPE


def test_ftps_data_connections_are_pointed_out_once(tmp_path: Path) -> None:
    """They are not rewritten."""

    def ftp(conn: Peer) -> None:
        conn.send(b"220 ready\r\n")
        for _ in range(2):
            conn.recv_until(b"\n")
            conn.send(b"229 Entering Extended Passive Mode (|||50000|)\r\n")

    with serve(ftp) as server, tapping(server.address, folder=tmp_path) as tap:
        client = dial(tap)
        client.hear_bytes(11)
        for _ in range(2):
            client.send(b"EPSV\r\n")
            client.hear_bytes(48)
        client.fin()
        client.hear_all()
        client.close()
        tap.shows("over after")
        result = tap.end()
    assert result.stderr.count("cfcat: #1 note: FTP's data connections go past the tap\n") == 1


# ------------------------------------------------------------------------------------------------- command line


@pytest.mark.parametrize(
    ("arguments", "text", "hint"),
    [
        (["--tap", "0"], "no target given", "cfcat HOST:PORT, or cfcat --help"),
        (
            ["--tap", "x:y:z", "{}"],
            "--tap: 'x:y:z' is not an address to listen on",
            "cfcat --tap PORT, or --tap ADDRESS:PORT, or --tap unix:PATH",
        ),
        (["--tap", "0", "--tls", "starttls", "{}"], "--tap follows the client: --tls is on or off there", ""),
        (
            ["--tap", "0", "--crlf", "{}"],
            "--tap reads no standard input and has no session: --crlf has no meaning there",
            "",
        ),
        (
            ["--tap", "0", "-l", "{}"],
            "--tap reads no standard input and has no session: --listen has no meaning there",
            "",
        ),
        (["--tap", "0", "--quiet", "-x", "{}"], "--quiet excludes -x: it shows nothing", ""),
        (["--tap", "0", "-k", "--cacert", "f", "{}"], "-k and --cacert exclude each other", ""),
        (["--quiet", "{}"], "--quiet needs --tap", ""),
        (["--once", "{}"], "--once needs --tap", ""),
        (["--accept-tls", "on", "{}"], "--accept-tls needs --tap", ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_makes_no_sense_is_refused(
    arguments: list[str], text: str, hint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Status 2, nobody is connected to."""
    Command(capfd).check_refused(arguments, text, hint)


def test_files_that_cannot_be_used_are_told_before_anybody_comes(tmp_path: Path) -> None:
    """Authorities, the place for ours, the transcript."""
    missing = tmp_path / "missing" / "file"
    assert cfcat("--tap", "0", "--cacert", missing, "localhost:1").status == 77
    assert cfcat("--tap", "0", "--ca-out", missing, "localhost:1").status == 23
    assert cfcat("--tap", "0", "--log", missing, "localhost:1").status == 23
    assert cfcat("--tap", "0", "--cert", missing, "localhost:1").status == 58


def test_upgrade_by_hand_as_the_display_shows_it(certs: CertSet, tmp_path: Path) -> None:
    """A protocol that nobody knows: TLS begins where the client begins it."""

    def unknown(conn: Peer) -> None:
        conn.send(b"hi\n")
        conn.recv_until(b"\n")
        conn.send(b"now\n")
        conn.start_tls(certs.server_context())
        conn.send(conn.recv_until(b"\n"))

    with serve(unknown) as server, tapping(server.address, "--cacert", certs.ca, folder=tmp_path) as tap:
        client = dial(tap)
        client.hear_bytes(3)
        client.send(b"tls please\n")
        client.hear_bytes(4)
        client.secure(trusting(tap), "localhost")
        client.send(b"within\n")
        assert client.hear_bytes(7) == b"within\n"
        client.close_notify()
        client.close()
        shown = tap.shows("over after")
        tap.end()
    words = [line.split(" ", 2)[2] for line in shown.splitlines()]
    kept = [line for line in words if line[0] in "<>"]
    assert kept == ["< - hi\\n", "> - tls please\\n", "< - now\\n", "> T within\\n", "< T within\\n"]
