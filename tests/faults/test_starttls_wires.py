"""Rows 83, 88, 89: crossed wires, where one side speaks of TLS and the other does not."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from cfcat.protocols import PROTOCOLS
from tests.faults.upgrades import check_failed, run
from tests.faults.ways import check_message
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, serve
from tests.helpers.program import cfcat
from tests.protocols.live import DIALOGS, play

pytestmark = pytest.mark.one_python


@pytest.mark.parametrize("protocol", ["smtp", "xmpp", "postgres", "mysql", "mssql"])
def test_row_83_clear_text_in_the_place_of_the_handshake(protocol: str, ready: Path) -> None:
    """SEC-R9: the server agrees, hears the ClientHello and goes on in clear text: 35, quoted and escaped, not shown."""

    def go_on(conn: Peer) -> None:
        play(conn, DIALOGS[protocol])
        assert conn.recv(1)  # the ClientHello, in TDS its packet
        conn.send(b"250 go on\x1b[2J, I am\r\n")
        conn.recv_until_eof()

    failed = run(protocol, go_on, ready)
    text = check_failed(failed, 64 if protocol == "mssql" else 35)
    if protocol == "mssql":
        assert text.startswith("the server's TLS handshake is not in TDS packets; it said ")
    else:
        said = r"250 go on\x1b[2J, I am"
        assert text == f'the server went on in clear text in place of TLS; it said "{said}"'
    assert "hint" not in failed.result.stderr


FOREIGN = b"HTTP/1.1 400 \x1b[2J\r\n"  # "SSH" would begin with the go-ahead of Postgres
FOREIGN_TO_HTTP = b"SSH-2.0 \x1b[2J\r\n"
PATIENT = ("irc", "telnet", "mysql")  # for these protocols no single first byte is wrong


@pytest.mark.parametrize("protocol", [protocol for protocol in PROTOCOLS if protocol not in PATIENT])
def test_row_88_greeting_of_another_protocol(protocol: str, ready: Path) -> None:
    """64 as soon as it is seen, quoted and escaped (Postgres: not at all)."""
    foreign = FOREIGN_TO_HTTP if protocol == "http" else FOREIGN

    def speak(conn: Peer) -> None:
        conn.send(foreign)
        conn.recv_until_eof()

    text, _, said = check_failed(run(protocol, speak, ready), 64).partition("; it said ")
    assert f"is not {PROTOCOLS[protocol].title}" in text
    assert said == ("" if protocol == "postgres" else f'"{foreign.splitlines()[0].decode()}"'.replace("\x1b", r"\x1b"))


def test_row_89_server_that_speaks_tls_from_the_first_byte_is_recognised(ready: Path) -> None:
    """64 and the hint what to say, at its first byte."""

    def alert(conn: Peer) -> None:
        conn.send(b"\x15\x03\x01\x00\x02\x02\x46")
        conn.recv_until_eof()

    failed = run("smtp", alert, ready)
    assert check_failed(failed, 64, received=b"") == "the server seems to speak TLS from the first byte"
    assert failed.result.stderr.endswith("\n  hint: --tls on\n")


@pytest.mark.parametrize("protocol", ["irc", "xmpp", "ldap", "postgres", "rdp", "mssql", "amqp", "http"])
def test_row_89_tls_port_that_the_client_speaks_to_first(protocol: str, ready: Path, certs: CertSet) -> None:
    """A real TLS server answers the first words of a dialog with an alert, if at all; then it is recognised."""

    def tls_server(conn: Peer) -> None:
        context = certs.server_context()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        incoming.write(conn.recv())
        with pytest.raises(ssl.SSLError):
            tls.do_handshake()
        conn.send(outgoing.read() or b"\x15\x03\x01\x00\x02\x02\x32")  # OpenSSL often says nothing, others decode_error
        conn.recv_until_eof()

    failed = run(protocol, tls_server, ready)
    assert check_failed(failed, 64) == "the server seems to speak TLS from the first byte"
    assert failed.result.stderr.endswith("\n  hint: --tls on\n")


@pytest.mark.parametrize(
    ("greeting", "protocol"),
    [
        (b"220 mail.example ESMTP", "smtp"),
        (b"220 (vsFTPd 3.0.3)", "ftp"),
        (b"220-mail.example", "smtp"),
        (b"+OK ready", "pop3"),
        (b"* OK [CAPABILITY IMAP4rev1]", "imap"),
        (b"200 news.example ready", "nntp"),
        (b'INFO {"tls_required":true}', "nats"),
        (b":irc.example NOTICE * :*** Looking up", "irc"),
    ],
)
def test_row_89_clear_text_server_that_may_be_upgraded(certs: CertSet, greeting: bytes, protocol: str) -> None:
    """The reverse: asked for TLS, it answers in its own protocol, which has a way to TLS."""
    with serve(lambda conn: conn.send(greeting + b"\r\n")) as server:
        result = cfcat("--tls", "on", "--cacert", certs.ca, server.address)
    text = f'{server.address}: peer does not speak TLS; it said "{greeting.decode()}"'
    assert check_message(result, 35, text) == f"try --starttls {protocol}"
