"""Rows 61 and 87: a dialog that stalls, drips or never ends (SEC-R7)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from itertools import repeat
from pathlib import Path

import pytest

from cfcat.protocols import PROTOCOLS
from tests.faults.upgrades import EACH, SHORT_S, check_failed, run
from tests.faults.ways import at_once
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, serve
from tests.helpers.program import Result, cfcat
from tests.pipe.tools import until_arrived
from tests.protocols.live import DIALOGS, NBD_REFUSED, ours, play, said, said_before, start_tls, trusting
from tests.protocols.scripts import NBD_GREETING, RFB, Script

pytestmark = pytest.mark.one_python

TLS_AT_ONCE = "--tls on, if TLS begins at once on this port"
WAITS_LONGER = "--connect-timeout SECS waits longer"
# A client with bounded memory has left long before; sockets buffer some megabytes.
ENOUGH_BYTES = 64 << 20


@pytest.mark.parametrize("protocol", ["smtp", "mysql", "vnc", "ldap"])
def test_row_87_greeting_that_never_comes(protocol: str, ready: Path) -> None:
    """SEC-R7: 28, whether client or server speaks first; only the first message of the dialog was sent."""
    failed = run(protocol, Peer.recv_until_eof, ready, "--connect-timeout", str(SHORT_S))
    assert "dialog was not complete" in check_failed(failed, 28, received=ours(DIALOGS[protocol].opening))
    assert failed.result.stderr.endswith(f"\n  hint: {TLS_AT_ONCE}\n")


def test_row_87_a_port_where_tls_begins_at_once(certs: CertSet, ready: Path) -> None:
    """Such a server waits for a ClientHello as the client waits for a greeting. The hint is how to go on."""

    def imaps(conn: Peer) -> None:
        assert not conn.start_tls(certs.server_context(), may_fail=True)

    failed = run("imap", imaps, ready, "--connect-timeout", str(SHORT_S))
    assert failed.result.stderr.endswith(f"the IMAP dialog was not complete after {SHORT_S} s\n  hint: {TLS_AT_ONCE}\n")


@pytest.mark.parametrize("end", [Peer.close, Peer.reset], ids=["end", "reset"])
@pytest.mark.parametrize("protocol", ["ldap", "postgres"])
def test_row_87_a_port_where_tls_begins_at_once_and_the_server_goes(
    protocol: str, end: Callable[[Peer], None], ready: Path
) -> None:
    """What it gets is no TLS: slapd ends, and others reset. The hint is the same."""

    def leave(conn: Peer) -> None:
        conn.recv()
        end(conn)

    failed = run(protocol, leave, ready)
    assert failed.result.status == 64
    assert failed.result.stderr.endswith(f"\n  hint: {TLS_AT_ONCE}\n")


def test_row_87_half_a_greeting_is_no_silence(ready: Path) -> None:
    """A byte has come: the server talks, and may only be slow."""

    def begin(conn: Peer) -> None:
        conn.send(b"2")
        conn.recv_until_eof()

    failed = run("smtp", begin, ready, "--connect-timeout", str(SHORT_S))
    assert failed.result.stderr.endswith(f"\n  hint: {WAITS_LONGER}\n")


def test_row_87_lines_without_cr_and_greeting_in_single_bytes(certs: CertSet) -> None:
    """A server that is merely odd is understood."""

    def odd(conn: Peer) -> None:
        for answer, request in ((b"220 x\n", b"EHLO"), (b"250-y\n250 z\n", b"STARTTLS"), (b"220 go\n", b"")):
            for byte in answer:
                conn.send(bytes((byte,)))
                until_arrived(conn, read=True)
            if request:
                assert conn.recv_until(b"\n").startswith(request)
        start_tls(conn, "smtp", certs)
        conn.send(b"hello")

    with serve(odd) as server:
        assert cfcat(*trusting("smtp", certs), server.address) == Result(b"hello", "", 0)


def test_row_87_sec_r7_silence_in_the_place_of_the_go_ahead_meets_the_deadline(ready: Path) -> None:
    """SEC-R7: 28, said to be in the dialog, in every protocol."""

    def fall_silent(script: Script, conn: Peer) -> None:
        play(conn, script, -1)
        conn.recv_until_eof()

    options = ("--connect-timeout", str(SHORT_S))
    runs = at_once(
        partial(run, protocol, partial(fall_silent, DIALOGS[protocol]), ready, *options) for protocol in PROTOCOLS
    )
    for protocol, failed in zip(PROTOCOLS, runs, strict=True):
        text = f"the {PROTOCOLS[protocol].title} dialog was not complete after {SHORT_S} s"
        hint = WAITS_LONGER if DIALOGS[protocol].turns[:-1] else TLS_AT_ONCE  # not a byte has come
        assert failed.result.stderr == f"cfcat: {failed.target}: {text}\n  hint: {hint}\n"
        assert (failed.result.stdout, failed.result.status, failed.offset) == (b"", 28, 0)
        assert failed.received == said_before(DIALOGS[protocol], -1)


def test_row_87_sec_r7_a_byte_now_and_then_does_not_prolong_the_deadline(ready: Path) -> None:
    """SEC-R7: it is one for all, not one for each read."""

    def drip(conn: Peer) -> None:
        conn.send(b"220 ")
        while conn.quiet(SHORT_S / 10):
            conn.send(b"x")

    failed = run("smtp", drip, ready, "--connect-timeout", str(SHORT_S))
    assert "dialog was not complete" in check_failed(failed, 28, received=b"")


def test_row_87_sec_r7_dialog_and_handshake_have_one_deadline(ready: Path) -> None:
    """SEC-R7: a late go-ahead leaves the handshake what is left, not as much again."""
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


def test_row_61_deadline_in_the_handshake_names_the_handshake(ready: Path) -> None:
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
    "nats": b'INFO {"tls_required":true,"server_name":"',
    "http": b"HTTP/1.1 101 ",
}


def pour(begin: bytes, pieces: Iterable[bytes], conn: Peer) -> None:
    """Send all of this, or as much as the client waits for."""
    with suppress(ConnectionError):
        conn.send(begin)
        for piece in pieces:
            conn.send(piece)


@EACH
def test_row_87_sec_r7_message_of_a_gigabyte_is_not_waited_for(protocol: str, ready: Path) -> None:
    """SEC-R7: 64 as soon as it is too long; all the client takes is what fits into a few buffers."""
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
    "http": (b"HTTP/1.1 101\r\n", b"X-Field: of no use\r\n"),
    "telnet": (b"", b"\xff\xfd\x18\xff\xfb\x18welcome\r\nwelcome\r\n"),
}


@pytest.mark.parametrize("protocol", LISTS)
def test_row_87_sec_r7_a_hundred_thousand_lines_are_too_many(protocol: str, ready: Path) -> None:
    """SEC-R7: 64 after a mebibyte of them."""
    begin, line = LISTS[protocol]
    failed = run(protocol, partial(pour, begin, repeat(line * 1000, 100)), ready)
    assert check_failed(failed, 64) == "the server sent more than 1 MiB before its go-ahead"
    assert said(DIALOGS[protocol]).startswith(failed.received)
