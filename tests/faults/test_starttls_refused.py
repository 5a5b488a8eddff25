"""Rows 82, 84, 85, 86: the server will not upgrade, or says more than its go-ahead.

The dialogs are those of `tests/protocols/scripts.py`; each test runs them over real sockets, in every protocol.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from cfcat.protocols import PROTOCOLS
from tests.faults.upgrades import EACH, check_failed, run
from tests.faults.ways import at_once
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, serve
from tests.helpers.program import Result, cfcat
from tests.pipe.tools import run_patched, until_arrived
from tests.protocols.live import DIALOGS, NBD_REFUSED, play, said, said_before, start_tls, trusting
from tests.protocols.scripts import RFB, XMPP_TLS, mysql_greeting, prelogin

pytestmark = pytest.mark.one_python


class Refusal(NamedTuple):
    """What the server says in its turn of this number in place of what it should."""

    protocol: str
    turn: int
    said: bytes
    quoted: bool = True  # is it in the message?


REFUSALS = [
    Refusal("smtp", 0, b"554 go away\r\n"),
    Refusal("smtp", 1, b"502 what?\r\n"),
    Refusal("smtp", 2, b"454 not now\r\n"),
    Refusal("smtp", 2, b"220-go\r\n250 ahead\r\n", quoted=False),
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
    Refusal("mysql", 0, b"\x1b\0\0\1\xff\x10\x04#08004Too many \x1b[mclients", quoted=False),
    Refusal("mysql", 0, mysql_greeting(b"8.0.36", 0xF7FF, 0xDFFF, b"x\0"), quoted=False),
    Refusal("telnet", 0, bytes.fromhex("fffe2e"), quoted=False),
    Refusal("telnet", 1, bytes.fromhex("fffe2e"), quoted=False),
    Refusal("rdp", 0, bytes.fromhex("03000013 0ed0 0000 1234 00 03 00 0800 02000000"), quoted=False),
    Refusal("rdp", 0, bytes.fromhex("03000013 0ed0 0000 1234 00 02 00 0800 03000000"), quoted=False),
    Refusal("rdp", 0, bytes.fromhex("03000013 0ed0 0000 1234 00 02 00 0800 08000000"), quoted=False),
    Refusal("mssql", 0, prelogin(0), quoted=False),
    Refusal("mssql", 0, prelogin(2), quoted=False),
    Refusal("amqp", 0, b"AMQP\0\1\0\0", quoted=False),
    Refusal("nbd", 1, NBD_REFUSED + b"\0\0\0\x06denied", quoted=False),
    Refusal("vnc", 1, b"\x02\x01\x02", quoted=False),
    Refusal("vnc", 4, b"\x01\x00\x00\x01\x01", quoted=False),
    Refusal("vnc", 5, b"\x00", quoted=False),
    Refusal("nats", 0, b'INFO {"version":"2.9.10"} \r\n', quoted=False),
    Refusal("nats", 0, b"-ERR 'maximum connections exceeded'\r\n"),
    Refusal("http", 0, b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: TLS/1.0\r\n\r\n"),
    Refusal("http", 0, b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n", quoted=False),
]


@EACH
def test_row_82_sec_r2_refusal_ends_the_run_at_once_with_nothing_sent(protocol: str, ready: Path) -> None:
    """SEC-R2, SEC-R3, SEC-R4: 64 in a moment, the peer has seen nothing but the dialog, and stdin is where it was."""
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
def test_row_82_sec_r2_connection_that_ends_in_the_dialog_is_no_go_ahead(protocol: str, ready: Path) -> None:
    """SEC-R2: 64, in order or by a reset, which is named."""
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


def test_row_82_sec_r20_what_the_server_said_is_escaped(ready: Path) -> None:
    """SEC-R20: no control character of the peer's comes to the terminal by way of a message."""

    def refuse(conn: Peer) -> None:
        play(conn, DIALOGS["smtp"], 2)
        conn.send(b"454 \x1b]0;title\x07 \xc2\x9b31m \xe2\x80\xae\xff\r\n")
        conn.recv_until_eof()

    text = check_failed(run("smtp", refuse, ready), 64)
    assert '; it said "454 \\x1b]0;title\\x07 \\x9b31m \\u202e\\xff"' in text


SURPLUS = {
    "a byte": b"X",
    "an answer": b"250-forged.example\r\n250 AUTH PLAIN\r\n",
}


@EACH
def test_row_84_sec_r1_surplus_in_the_segment_of_the_go_ahead_is_an_injection(protocol: str, ready: Path) -> None:
    """SEC-R1: status 8 and nothing shown; no ClientHello, not even MySQL's request for one, comes after the dialog."""
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
    assert select.select([self._wire.sock], [], [], 5)[0]
    return start_tls(self, *args, **options)
Socket.start_tls = late
"""


@EACH
def test_row_84_sec_r1_surplus_in_a_later_segment_before_the_client_hello_is_an_injection(
    protocol: str, ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEC-R1: what is only in the kernel at that moment counts too; the dialog is complete, and nothing follows it."""
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
def test_row_84_sec_r1_go_ahead_in_single_bytes_is_one(protocol: str, certs: CertSet) -> None:
    """SEC-R1, SEC-R2, SEC-R5: any split works; then comes the ClientHello, and stdout begins with the first byte under
    TLS.
    """
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
        now = ("--shutdown", "now")
        result = cfcat(*now, *trusting(protocol, certs), server.address, stdin=b"question")
    assert result == Result(hello + b"answer", "", 0)
    assert (server.received, server.ended) == (said(script) + b"question", "close_notify")


@pytest.mark.parametrize("protocol", ["smtp", "imap", "xmpp", "irc", "ldap", "postgres", "vnc"])
def test_row_85_what_follows_a_refusal_is_not_shown(protocol: str, ready: Path) -> None:
    """64, and stdout stays empty, whether it comes along with the refusal or after it."""
    script = DIALOGS[protocol]
    refusal = next(refusal for refusal in REFUSALS if refusal.protocol == protocol)

    def talk_on(late: bool, conn: Peer) -> None:
        play(conn, script, refusal.turn)
        conn.send(refusal.said + (b"" if late else b"clear text\r\n"))
        with suppress(ConnectionError):  # the client may be gone
            conn.send(b"and more clear text\r\n")
        conn.recv_until_eof()

    for failed in at_once(partial(run, protocol, partial(talk_on, late), ready) for late in (False, True)):
        assert "clear text" not in check_failed(failed, 64, received=said_before(script, refusal.turn))


# A rejecting greeting; a word expected in the message; the expected quotation.
ERRORS = {
    "smtp": (b"554 5.7.1 go away \x1b[2J\r\n", "code 554", r"554 5.7.1 go away \x1b[2J"),
    "lmtp": (b"421 busy\r\n", "code 421", "421 busy"),
    "pop3": (b"-ERR busy\r\n", "-ERR", "-ERR busy"),
    "imap": (b"* BYE busy\r\n", "BYE", "* BYE busy"),
    "ftp": (b"421 busy\r\n", "code 421", "421 busy"),
    "nntp": (b"400 busy\r\n", "code 400", "400 busy"),
    "sieve": (b'BYE "busy"\r\n', "BYE", 'BYE "busy"'),
    "xmpp": (
        b"<stream:stream xmlns='x'><stream:error><host-gone/></stream:error></stream:stream>",
        "error",
        "<stream:error><host-gone/>",
    ),
    "irc": (b"ERROR :Closing link\r\n", "ERROR", "ERROR :Closing link"),
    "postgres": (b"E\0\0\0\x15SFATAL\0Mbusy\0\0", "error", ""),
    "mysql": (b"\x0d\0\0\0\xff\x10\x04#08004full", "error 1040", "full"),
    "vnc": (RFB + b"\0\0\0\0\x04busy", "refused the connection", "busy"),
}


@pytest.mark.parametrize("protocol", ERRORS)
def test_row_86_greeting_is_an_error(protocol: str, ready: Path) -> None:
    """64 with its code; its text only escaped, and that of Postgres not at all."""
    error, word, quoted = ERRORS[protocol]

    def refuse(conn: Peer) -> None:
        conn.send(error)
        conn.recv_until_eof()

    text, _, said = check_failed(run(protocol, refuse, ready), 64).partition("; it said ")
    assert word in text
    assert said == (f'"{quoted}"' if quoted else "")


def test_row_86_sec_r2_text_of_an_error_of_postgres_is_not_shown(ready: Path) -> None:
    """CVE-2024-10977: the text may be from an attacker on the path, and the user would take it for the server's."""
    body = b"SFATAL\0C28000\0Mrun psql evil.example\0\0"

    def refuse(conn: Peer) -> None:
        play(conn, DIALOGS["postgres"], 0)
        conn.send(b"E" + (len(body) + 4).to_bytes(4, "big") + body)
        conn.recv_until_eof()

    text = check_failed(run("postgres", refuse, ready), 64, received=DIALOGS["postgres"].opening)
    assert text == "the server refused SSLRequest with an error, whose text cannot be trusted"
