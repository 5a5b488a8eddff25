"""`--starttls PROTO` against peers that refuse, stall, inject and flood, and what holds once TLS is up.

The dialogs are those of `tests/starttls/scripts.py`; each test runs them over real sockets, in every protocol.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest

from cfcat.starttls import PROTOCOLS, HandshakeWrapper
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, serve
from tests.helpers.peers import Script as Play
from tests.helpers.program import Result, cfcat, finish, start
from tests.pipe.tools import DEADLINE_S, run_patched, until_arrived
from tests.report.form import check_form
from tests.starttls.scripts import NBD_GREETING, RFB, SCRIPTS, XMPP_TLS, Script, mysql_greeting, prelogin

T = TypeVar("T")

DIALOGS = {script.protocol: script for script in reversed(SCRIPTS)}  # the first of each protocol
EACH = pytest.mark.parametrize("protocol", PROTOCOLS)
READY_BYTES = 1 << 20
# With the start of Python, on a busy machine; the deadline is ten times as long.
AT_ONCE_S = 3.0
SHORT_S = 0.5
# A client with bounded memory has left long before; sockets buffer some megabytes.
ENOUGH_BYTES = 64 << 20
WARNING = "cfcat: warning: the certificate is not checked (-k): anyone can be at the other end\n"
NOTE = "cfcat: note: --tls starttls stays in clear text here; --starttls PROTO upgrades\n"
TRUNCATED = "the connection ended without TLS close_notify: output may be truncated"


class Run(NamedTuple):
    """A run with 1 MiB ready on its standard input: `offset` is how much of that it has read."""

    result: Result
    target: str
    received: bytes  # by the peer
    sent: int  # by the peer
    offset: int
    took_s: float


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A regular file for standard input: a megabyte of a secret."""
    path = tmp_path_factory.mktemp("stdin") / "ready"
    path.write_bytes(b"secret\r\n" * (READY_BYTES // 8))
    return path


def ours(text: bytes) -> bytes:
    """What a script has us say, with the names of this machine and of the target."""
    name = socket.gethostname().encode()
    return text.replace(b"client.example", name).replace(b"server.example", b"127.0.0.1")


def said_before(script: Script, turn: int) -> bytes:
    """All that we may have said when the server's turn has this number; negative ones count from the end."""
    return ours(script.opening + b"".join(we for _, we in script.turns[:turn]))


def said(script: Script) -> bytes:
    return said_before(script, len(script.turns))


def play(conn: Peer, script: Script, turns: int | None = None) -> None:
    """Hold the dialog, or its first turns; what we say must be it, to the byte."""
    assert conn.recv_exactly(len(ours(script.opening))) == ours(script.opening)
    for server, we in script.turns[:turns]:
        conn.send(server)
        assert conn.recv_exactly(len(ours(we))) == ours(we)


def start_tls(conn: Peer, protocol: str, certs: CertSet) -> None:
    """Be the TLS server after the go-ahead; for mssql in its packets."""
    context = certs.server_context()
    if protocol != "mssql":
        conn.start_tls(context)
        return
    wrapper = HandshakeWrapper()
    send, receive = conn._send_wire, conn._recv_wire

    def receive_packets(limit: int) -> bytes:
        while data := receive(limit):
            if tls := wrapper.unwrap(data):
                return tls
        return b""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conn, "_send_wire", lambda data: send(wrapper.wrap(data)))
        patch.setattr(conn, "_recv_wire", receive_packets)
        conn.start_tls(context)
    assert not wrapper.incomplete


def trusting(protocol: str, certs: CertSet) -> list[str]:
    return ["--starttls", protocol, "--cacert", str(certs.ca)]


def run(protocol: str, script: Play, ready: Path, *options: str) -> Run:
    """Run cfcat against `script` with a megabyte ready on its standard input."""
    with serve(script) as server, ready.open("rb") as file:
        began = time.monotonic()
        result = cfcat("--starttls", protocol, "-k", *options, server.address, stdin=file)
        took_s = time.monotonic() - began
        offset = os.lseek(file.fileno(), 0, os.SEEK_CUR)
    assert server.connections == 1  # no second try, in clear text or otherwise
    stderr = result.stderr.removeprefix(WARNING)
    assert stderr != result.stderr
    result = Result(result.stdout, stderr, result.status)
    return Run(result, server.address, server.received, server.peers[0].sent, offset, took_s)


def at_once(jobs: Iterable[Callable[[], T]]) -> list[T]:
    """Run these at the same time: most of each is waiting, or the start of Python."""
    with ThreadPoolExecutor(32) as pool:
        return [future.result() for future in [pool.submit(job) for job in jobs]]


def check_failed(run: Run, status: int, *, received: bytes | None = None) -> str:
    """Nothing was printed, nothing of stdin read or sent, in no time; return the message after the target."""
    text, _ = check_form(run.result.stderr)
    assert (run.result.stdout, run.result.status, run.offset) == (b"", status, 0), run.result
    assert received is None or run.received == received
    assert b"secret" not in run.received
    assert run.took_s < AT_ONCE_S
    assert text.startswith(f"{run.target}: ")
    return text.removeprefix(f"{run.target}: ")


# ----------------------------------------------------------------------------------- surplus after the go-ahead

SURPLUS = {
    "a byte": b"X",
    "an answer": b"250-forged.example\r\n250 AUTH PLAIN\r\n",
}


@EACH
def test_r1_surplus_in_the_segment_of_the_go_ahead_is_an_injection(protocol: str, ready: Path) -> None:
    """R1: status 8 and nothing shown; no ClientHello, not even MySQL's request for one, comes after the dialog."""
    script = DIALOGS[protocol]

    def inject(surplus: bytes, conn: Peer) -> None:
        play(conn, script, -1)
        conn.send(script.turns[-1][0] + surplus)
        conn.recv_until_eof()

    runs = at_once(partial(run, protocol, partial(inject, surplus), ready) for surplus in SURPLUS.values())
    for surplus, failed in zip(SURPLUS.values(), runs, strict=True):
        count = "1 byte" if len(surplus) == 1 else f"{len(surplus)} bytes"
        text = f"{count} of plain text after the STARTTLS go-ahead; refusing (possible injection)"
        assert check_failed(failed, 8, received=said_before(script, -1)) == text


# Halts the client between the go-ahead and its ClientHello until more has come.
LATE = """
import select
from cfcat.core.sockets import Socket
start_tls = Socket.start_tls
def late(self, *args, **options):
    assert select.select([self._wire._sock], [], [], 5)[0]
    return start_tls(self, *args, **options)
Socket.start_tls = late
"""


@EACH
def test_r1_surplus_in_a_later_segment_before_the_client_hello_is_an_injection(
    protocol: str, ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R1: what is only in the kernel at that moment counts too; the dialog is complete, and nothing follows it."""
    script = DIALOGS[protocol]

    def inject(conn: Peer) -> None:
        play(conn, script)
        until_arrived(conn, read=True)
        conn.send(b"forged")
        conn.recv_until_eof()

    run_patched(monkeypatch, LATE)
    text = check_failed(run(protocol, inject, ready), 8, received=said(script))
    assert text.startswith("6 bytes of ")
    assert text.endswith("(possible injection)")


@EACH
def test_r1_go_ahead_in_single_bytes_is_one(protocol: str, certs: CertSet) -> None:
    """R1 (d), R2, R5: any split works; then comes the ClientHello, and stdout begins with the first byte under TLS."""
    script = DIALOGS[protocol]
    hello = b"" if protocol == "mssql" else b"hello, "  # TDS servers do not speak first

    def byte_by_byte(conn: Peer) -> None:
        play(conn, script, -1)
        server, we = script.turns[-1]
        for byte in server:
            conn.send(bytes((byte,)))
            until_arrived(conn, read=True)
        assert conn.recv_exactly(len(we)) == we
        start_tls(conn, protocol, certs)
        assert conn.tls_version == f"TLSv{PROTOCOLS[protocol].max_tls or '1.3'}"
        conn.send(hello)
        assert conn.recv_until_eof() == b"question"
        conn.send(b"answer")

    with serve(byte_by_byte) as server:
        result = cfcat(*trusting(protocol, certs), server.address, stdin=b"question")
    assert result == Result(hello + b"answer", "", 0)
    assert (server.received, server.ended) == (said(script) + b"question", "close_notify")


@pytest.mark.parametrize("script", [script for script in SCRIPTS if script not in DIALOGS.values()], ids=repr)
def test_every_good_dialog_leads_to_tls(script: Script, certs: CertSet) -> None:
    """R3: the go-ahead counts, whatever was or was not said before it."""

    def good(conn: Peer) -> None:
        play(conn, script)
        start_tls(conn, script.protocol, certs)
        assert conn.recv_until_eof() == b"question"
        conn.send(b"answer")

    with serve(good) as server:
        result = cfcat(*trusting(script.protocol, certs), server.address, stdin=b"question")
    assert result == Result(b"answer", "", 0)


# -------------------------------------------------------------------------------------------------- no go-ahead


class Refusal(NamedTuple):
    """What the server says in its turn of this number in place of what it should."""

    protocol: str
    turn: int
    said: bytes
    quoted: bool = True  # is it in the message?


NBD_REFUSED = bytes.fromhex("0003e889045565a9 00000005 80000002")
REFUSALS = [
    Refusal("smtp", 0, b"554 go away\r\n"),
    Refusal("smtp", 1, b"502 what?\r\n"),
    Refusal("smtp", 2, b"454 not now\r\n"),
    Refusal("smtp", 2, b"220-go\r\n220 ahead\r\n"),
    Refusal("smtp", 2, b"2200 go\r\n"),
    Refusal("smtp", 2, b"220go\r\n"),
    Refusal("smtp", 2, b"250 go\r\n"),
    Refusal("lmtp", 2, b"502 no\r\n"),
    Refusal("pop3", 1, b"-ERR no\r\n"),
    Refusal("pop3", 1, b"+OKAY\r\n"),
    Refusal("imap", 0, b"* PREAUTH you are known\r\n"),
    Refusal("imap", 0, b"* BYE full\r\n"),
    Refusal("imap", 2, b"b NO not now\r\n"),
    Refusal("imap", 2, b"b BAD what\r\n"),
    Refusal("imap", 2, b"a OK go\r\n"),
    Refusal("ftp", 1, b"530 no\r\n"),
    Refusal("ftp", 1, b"220 no\r\n"),
    Refusal("nntp", 2, b"580 no\r\n"),
    Refusal("sieve", 1, b'NO "not now"\r\n'),
    Refusal("sieve", 1, b'BYE "full"\r\n'),
    Refusal("xmpp", 1, b"<failure xmlns='" + XMPP_TLS + b"'/></stream:stream>", quoted=False),
    Refusal("xmpp", 1, b"<proceed/>"),
    Refusal("xmpp", 1, b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"),
    Refusal("xmpp-server", 1, b"</stream:stream>"),
    Refusal("irc", 0, b":irc.example 691 * :no\r\n"),
    Refusal("irc", 0, b":irc.example 421 * STARTTLS :what?\r\n"),
    Refusal("ldap", 0, bytes.fromhex("300c 020101 7807 0a0134 0400 0400"), quoted=False),
    Refusal("ldap", 0, bytes.fromhex("300c 020102 7807 0a0100 0400 0400"), quoted=False),
    Refusal("postgres", 0, b"N", quoted=False),
    Refusal("mysql", 0, b"\x0d\0\0\0\xff\x10\x04#08004full", quoted=False),
    Refusal("mysql", 0, mysql_greeting(b"8.0.36", 0xF7FF, 0xDFFF, b"x\0"), quoted=False),
    Refusal("telnet", 0, bytes.fromhex("fffe2e"), quoted=False),
    Refusal("telnet", 1, bytes.fromhex("fffe2e"), quoted=False),
    Refusal("rdp", 0, bytes.fromhex("03000013 0ed0 0000 1234 00 03 00 0800 02000000"), quoted=False),
    Refusal("rdp", 0, bytes.fromhex("03000013 0ed0 0000 1234 00 02 00 0800 03000000"), quoted=False),
    Refusal("mssql", 0, prelogin(0), quoted=False),
    Refusal("mssql", 0, prelogin(2), quoted=False),
    Refusal("amqp", 0, b"AMQP\0\1\0\0", quoted=False),
    Refusal("nbd", 1, NBD_REFUSED + b"\0\0\0\x06denied", quoted=False),
    Refusal("vnc", 1, b"\x02\x01\x02", quoted=False),
    Refusal("vnc", 4, b"\x01\x00\x00\x01\x01", quoted=False),
    Refusal("vnc", 5, b"\x00", quoted=False),
]


@EACH
def test_r2_refusal_ends_the_run_at_once_with_nothing_sent(protocol: str, ready: Path) -> None:
    """R2, R3, R4: 64 in a moment, the peer has seen nothing but the dialog, and stdin is where it was."""
    script = DIALOGS[protocol]
    refusals = [refusal for refusal in REFUSALS if refusal.protocol == protocol]
    assert refusals

    def refuse(refusal: Refusal, conn: Peer) -> None:
        play(conn, script, refusal.turn)
        conn.send(refusal.said)
        conn.recv_until_eof()

    runs = at_once(partial(run, protocol, partial(refuse, refusal), ready) for refusal in refusals)
    for refusal, failed in zip(refusals, runs, strict=True):
        text = check_failed(failed, 64, received=said_before(script, refusal.turn))
        if refusal.quoted:
            assert text.endswith(f'; it said "{refusal.said.splitlines()[0].decode()}"')


@EACH
def test_r2_connection_that_ends_in_the_dialog_is_no_go_ahead(protocol: str, ready: Path) -> None:
    """R2: 64, in order or by a reset, which is named."""
    script = DIALOGS[protocol]

    def leave(reset: bool, conn: Peer) -> None:
        play(conn, script, -1)
        if reset:
            if not said_before(script, -1):  # or it may be gone before it is seen to be connected, which is 7
                conn.send(script.turns[0][0][:1])
                until_arrived(conn, read=True)
            conn.reset()

    closed, reset = at_once(partial(run, protocol, partial(leave, reset), ready) for reset in (False, True))
    text = check_failed(closed, 64, received=said_before(script, -1))
    assert text.startswith("the server closed the connection before its ")
    text = check_failed(reset, 64, received=said_before(script, -1))
    assert text == f"connection reset by peer during the {PROTOCOLS[protocol].title} dialog"


def test_r7_silence_in_the_place_of_the_go_ahead_meets_the_deadline(ready: Path) -> None:
    """R7: 28, said to be in the dialog, in every protocol."""

    def fall_silent(script: Script, conn: Peer) -> None:
        play(conn, script, -1)
        conn.recv_until_eof()

    options = ("--connect-timeout", str(SHORT_S))
    runs = at_once(
        partial(run, protocol, partial(fall_silent, DIALOGS[protocol]), ready, *options) for protocol in PROTOCOLS
    )
    for protocol, failed in zip(PROTOCOLS, runs, strict=True):
        text = f"the {PROTOCOLS[protocol].title} dialog was not complete after {SHORT_S} s"
        assert failed.result.stderr == f"cfcat: {failed.target}: {text}\n  hint: --connect-timeout SECS waits longer\n"
        assert (failed.result.stdout, failed.result.status, failed.offset) == (b"", 28, 0)
        assert failed.received == said_before(DIALOGS[protocol], -1)


def test_r7_a_byte_now_and_then_does_not_prolong_the_deadline(ready: Path) -> None:
    """R7: it is one for all, not one for each read."""

    def drip(conn: Peer) -> None:
        conn.send(b"220 ")
        while conn.quiet(SHORT_S / 10):
            conn.send(b"x")

    failed = run("smtp", drip, ready, "--connect-timeout", str(SHORT_S))
    assert "dialog was not complete" in check_failed(failed, 28, received=b"")


def test_r7_dialog_and_handshake_have_one_deadline(ready: Path) -> None:
    """R7: a late go-ahead leaves the handshake what is left, not as much again."""
    seen = []

    def late_and_silent(conn: Peer) -> None:
        began = time.monotonic()
        play(conn, DIALOGS["postgres"], 0)
        assert conn.quiet(0.8 * SHORT_S)
        conn.send(b"S")
        while conn.recv():
            pass
        seen.append(time.monotonic() - began)

    failed = run("postgres", late_and_silent, ready, "--connect-timeout", str(SHORT_S))
    check_failed(failed, 28)
    assert seen[0] < 1.5 * SHORT_S


def test_deadline_in_the_handshake_names_the_handshake(ready: Path) -> None:
    """The message says what it was that was not complete."""

    def silent(conn: Peer) -> None:
        play(conn, DIALOGS["postgres"])
        conn.recv_until_eof()

    failed = run("postgres", silent, ready, "--connect-timeout", str(SHORT_S))
    assert check_failed(failed, 28) == f"the TLS handshake was not complete after {SHORT_S} s"


# What begins a message that never ends, or says of itself that it is of a gigabyte.
ENDLESS = {
    "smtp": b"220 ",
    "lmtp": b"220 ",
    "pop3": b"+OK ",
    "imap": b"* OK ",
    "ftp": b"220 ",
    "nntp": b"200 ",
    "sieve": b'"IMPLEMENTATION" "',
    "xmpp": b"<stream:stream xmlns='",
    "xmpp-server": b"<stream:stream xmlns='",
    "irc": b":irc.example NOTICE * :",
    "ldap": bytes.fromhex("30 84 40000000"),
    "postgres": b"E\x40\0\0\0",
    "mysql": b"\xff\xff\xff\0\x0a",
    "telnet": b"login: ",
    "rdp": b"\x03\x00\xff\xff",
    "mssql": bytes.fromhex("0401 ffff 0000 0100"),
    "amqp": b"AMQP",
    "nbd": NBD_GREETING + NBD_REFUSED + b"\x40\0\0\0",
    "vnc": RFB + b"\0" + b"\x40\0\0\0",
}


def pour(begin: bytes, pieces: Iterable[bytes], conn: Peer) -> None:
    """Send all of this, or as much as the client waits for."""
    with suppress(ConnectionError):
        conn.send(begin)
        for piece in pieces:
            conn.send(piece)


@EACH
def test_r7_message_of_a_gigabyte_is_not_waited_for(protocol: str, ready: Path) -> None:
    """R7: 64 as soon as it is too long; all the client takes is what fits into a few buffers."""
    failed = run(protocol, partial(pour, ENDLESS[protocol], repeat(b"a" * 65536, 1 << 14)), ready)
    check_failed(failed, 64)
    assert said(DIALOGS[protocol]).startswith(failed.received)
    assert failed.sent < ENOUGH_BYTES


# What begins a list, and a line of it.
LISTS = {
    "smtp": (b"", b"220-a banner without an end\r\n"),
    "lmtp": (b"", b"220-a banner without an end\r\n"),
    "imap": (b"* OK\r\n", b"* OK still here, and still here\r\n"),
    "ftp": (b"220-\r\n", b"a banner without an end\r\n"),
    "nntp": (b"200\r\n101\r\n", b"CAPABILITY of no use\r\n"),
    "sieve": (b"", b'"CAPABILITY" "of no use"\r\n'),
    "xmpp": (DIALOGS["xmpp"].turns[0][0].partition(b"<starttls")[0], b"<hint>of no use</hint>"),
    "irc": (b"", b":irc.example NOTICE * :wait\r\n"),
    "telnet": (b"", b"\xff\xfd\x18\xff\xfb\x18welcome\r\nwelcome\r\n"),
}


@pytest.mark.parametrize("protocol", LISTS)
def test_r7_a_hundred_thousand_lines_are_too_many(protocol: str, ready: Path) -> None:
    """R7: 64 after a mebibyte of them."""
    begin, line = LISTS[protocol]
    failed = run(protocol, partial(pour, begin, repeat(line * 1000, 100)), ready)
    assert check_failed(failed, 64) == "the server sent more than 1 MiB before its go-ahead"
    assert said(DIALOGS[protocol]).startswith(failed.received)


# ------------------------------------------------------------------------------------------------ what is shown


def test_r2_text_of_an_error_of_postgres_is_not_shown(ready: Path) -> None:
    """CVE-2024-10977: whoever is on the path would be believed to be the server."""
    body = b"SFATAL\0C28000\0Mrun psql evil.example\0\0"

    def refuse(conn: Peer) -> None:
        play(conn, DIALOGS["postgres"], 0)
        conn.send(b"E" + (len(body) + 4).to_bytes(4, "big") + body)
        conn.recv_until_eof()

    text = check_failed(run("postgres", refuse, ready), 64, received=DIALOGS["postgres"].opening)
    assert text == "the server refused SSLRequest with an error, whose text cannot be trusted"


def test_r20_what_the_server_said_is_escaped(ready: Path) -> None:
    """R20: no control character of the peer's comes to the terminal by way of a message."""

    def refuse(conn: Peer) -> None:
        play(conn, DIALOGS["smtp"], 2)
        conn.send(b"454 \x1b]0;title\x07 \xc2\x9b31m \xe2\x80\xae\xff\r\n")
        conn.recv_until_eof()

    text = check_failed(run("smtp", refuse, ready), 64)
    assert '; it said "454 \\x1b]0;title\\x07 \\x9b31m \\u202e\\xff"' in text


def test_server_that_speaks_tls_from_the_first_byte_is_recognised(ready: Path) -> None:
    """Row 89: 64 and the hint what to say."""

    def alert(conn: Peer) -> None:
        conn.send(b"\x15\x03\x01\x00\x02\x02\x46")
        conn.recv_until_eof()

    failed = run("smtp", alert, ready)
    assert check_failed(failed, 64, received=b"") == "the server seems to speak TLS from the first byte"
    assert failed.result.stderr.endswith("\n  hint: --tls on\n")


# --------------------------------------------------------------------------------------------------- the options


def test_tls_starttls_alone_stays_in_clear_text_with_one_note() -> None:
    """There is no dialog that it could hold: the user is told, and has his clear text."""

    def script(conn: Peer) -> None:
        conn.send(b"220 hello\r\n")
        conn.recv_until_eof()

    with serve(script) as server:
        assert cfcat("--tls", "starttls", server.address, stdin=b"EHLO\r\n") == Result(b"220 hello\r\n", NOTE, 0)
    assert (server.received, server.ended) == (b"EHLO\r\n", "eof")


def test_tls_starttls_may_be_said_along_with_the_protocol(certs: CertSet) -> None:
    """It is what --starttls means anyway: no note."""

    def script(conn: Peer) -> None:
        play(conn, DIALOGS["smtp"])
        start_tls(conn, "smtp", certs)
        conn.recv_until_eof()

    with serve(script) as server:
        result = cfcat("--tls", "starttls", *trusting("smtp", certs), server.address, stdin=b"QUIT")
    assert result == Result(b"", "", 0)


@pytest.mark.parametrize("name", ["x", "", "SMTP", "smtp ", "http", "x\x1b[2J"])
def test_unknown_protocol_is_a_usage_error_that_names_the_known(name: str) -> None:
    """2, before anything is connected; what was typed is escaped."""
    with serve(Peer.recv_until_eof) as server:
        result = cfcat("--starttls", name, server.address)
        assert server.connections == 0
    assert (result.stdout, result.status) == (b"", 2)
    _, hint = check_form(result.stderr)
    assert hint == f"one of {', '.join(PROTOCOLS)}"


@pytest.mark.parametrize("tls", ["on", "off"])
def test_starttls_excludes_another_kind_of_tls(tls: str) -> None:
    """2, before anything is connected."""
    with serve(Peer.recv_until_eof) as server:
        result = cfcat("--starttls", "smtp", "--tls", tls, server.address)
        assert server.connections == 0
    assert result == Result(b"", f"cfcat: --starttls excludes --tls {tls}\n", 2)


def test_insecure_upgrade_works_and_warns(certs: CertSet) -> None:
    """-k accepts a certificate that is nobody's, and says so."""

    def script(conn: Peer) -> None:
        play(conn, DIALOGS["smtp"])
        conn.start_tls(certs.server_context("self_signed"))
        assert conn.recv_until_eof() == b"question"
        conn.send(b"answer")

    with serve(script) as server:
        result = cfcat("--starttls", "smtp", "-k", server.address, stdin=b"question")
    assert result == Result(b"answer", WARNING, 0)


@pytest.mark.parametrize("protocol", ["smtp", "xmpp", "mysql", "mssql"])
def test_bad_certificate_after_the_dialog_ends_the_run(protocol: str, certs: CertSet, tmp_path: Path) -> None:
    """Step 4: a handshake that failed is final: 60, an alert to the server, nothing of stdin read or sent."""
    script = DIALOGS[protocol]
    stdin = tmp_path / "stdin"
    stdin.write_bytes(b"secret")

    def serve_wrong_one(conn: Peer) -> None:
        play(conn, script)
        if protocol == "mssql":
            with pytest.raises(ssl.SSLError):
                start_tls(conn, protocol, certs)
        else:
            assert not conn.start_tls(certs.server_context(), may_fail=True)

    with serve(serve_wrong_one) as server, stdin.open("rb") as file:
        result = cfcat("--starttls", protocol, server.address, stdin=file)
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 0
    text, _ = check_form(result.stderr)
    assert (result.stdout, result.status) == (b"", 60)
    assert text.startswith(f"{server.address}: certificate not trusted: ")
    assert (server.received, server.connections) == (said(script), 1)


def test_sni_is_the_name_in_the_certificate_and_in_the_dialog(certs: CertSet) -> None:
    """R8: --sni is what TLS asks for and verifies, and whom XMPP wants to talk to."""
    script = DIALOGS["xmpp"]
    opening = script.opening.replace(b"server.example", b"localhost")

    def script_(conn: Peer) -> None:
        assert conn.recv_exactly(len(opening)) == opening
        play(conn, script._replace(opening=b""))
        start_tls(conn, "xmpp", certs)
        conn.recv_until_eof()

    with serve(script_) as server:
        assert cfcat(*trusting("xmpp", certs), "--sni", "localhost", server.address) == Result(b"", "", 0)
    assert server.peers[0].sni == "localhost"


# ------------------------------------------------------------------------------------------- the ends, under TLS


def upgraded(certs: CertSet, then: Play) -> Play:
    """Upgrade by the dialog of SMTP; then this."""

    def script(conn: Peer) -> None:
        play(conn, DIALOGS["smtp"])
        start_tls(conn, "smtp", certs)
        then(conn)

    return script


def test_end_of_stdin_is_close_notify_after_an_upgrade_too(certs: CertSet) -> None:
    """No FIN behind it, and the whole of the answer is read."""
    answer = bytes(range(256)) * 4096

    def script(conn: Peer) -> None:
        assert conn.recv_until_eof() == b"question"
        assert conn.ended == "close_notify"
        assert conn.quiet(SHORT_S / 2)
        conn.send(answer)

    with serve(upgraded(certs, script)) as server:
        result = cfcat(*trusting("smtp", certs), server.address, stdin=b"question")
    assert (result.stderr, result.status, len(result.stdout)) == ("", 0, len(answer))
    assert result.stdout == answer


def test_truncation_after_an_upgrade_is_told(certs: CertSet) -> None:
    """V9: TCP ends without close_notify: what came is printed, 18."""

    def script(conn: Peer) -> None:
        conn.send(b"data")
        conn.end()

    with serve(upgraded(certs, script)) as server:
        result = cfcat(*trusting("smtp", certs), server.address, stdin=b"question")
    assert (result.stdout, result.status) == (b"data", 18)
    assert check_form(result.stderr)[0] == f"{server.address}: {TRUNCATED}"


def test_servers_end_after_an_upgrade_ends_the_run(certs: CertSet) -> None:
    """S13, the default: with stdin still open."""

    def script(conn: Peer) -> None:
        conn.send(b"bye")
        conn.close_notify()
        conn.recv_until_eof()

    with serve(upgraded(certs, script)) as server, start(*trusting("smtp", certs), server.address) as program:
        assert program.wait(DEADLINE_S) == 0
        assert finish(program) == Result(b"bye", "", 0)
    assert server.ended == "close_notify"


def test_half_open_after_an_upgrade_keeps_sending(certs: CertSet) -> None:
    """S13: --half-open carries over to the socket under TLS."""

    def script(conn: Peer) -> None:
        conn.send(b"bye")
        conn.close_notify()
        assert conn.recv_until_eof() == b"one more thing"

    options = [*trusting("smtp", certs), "--half-open"]
    with serve(upgraded(certs, script)) as server, start(*options, server.address) as program:
        program.read_until(b"bye")
        program.say(b"one more thing")
        assert finish(program) == Result(b"bye", "", 0)
    assert server.ended == "close_notify"


def test_r9_clear_text_after_close_notify_is_never_shown(certs: CertSet) -> None:
    """R9: once TLS is up, clear text does not come back."""

    def script(conn: Peer) -> None:
        conn.send(b"data")
        conn.close_notify()
        conn.send_raw(b"220 clear text again\r\n")
        conn.recv_until_eof()

    with serve(upgraded(certs, script)) as server:
        result = cfcat(*trusting("smtp", certs), server.address, stdin=b"")
    assert (result.stdout, result.status) == (b"data", 0)
