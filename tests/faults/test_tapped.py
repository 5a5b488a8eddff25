"""The fault matrix for a tapped connection: ends, handshakes and certificates, of either side.

Each ends the one connection in words, the other side gets what came before it and then an end of the same kind, and the
tap goes on.
"""

from __future__ import annotations

import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.core.test_client_hello import hello as client_hello
from tests.faults.forge import ALERT, FATAL, record
from tests.faults.tapped import TAPS, TLS_TAPS, Played, Tapping, make_tapping
from tests.faults.test_certificates import AUTHORITY, CHAIN, CLOCK, NAME, RENEWED, REPLACED
from tests.helpers.certs import CertSet, Kind
from tests.helpers.peers import Peer, Script
from tests.helpers.program import Argument
from tests.pipe.tools import pattern

pytestmark = pytest.mark.one_python

Near = Literal["client", "server"]
SHORT_S = 0.3
INTERNAL_ERROR = "INTERNAL_ERROR"  # the alert of the tap: the reason is the server's, and no alert is for that


@pytest.fixture(params=TAPS)
def way(request: pytest.FixtureRequest, certs: CertSet, tmp_path: Path) -> Tapping:
    """Every kind of tapped connection."""
    return make_tapping(request.param, certs, tmp_path)


@pytest.fixture(params=TLS_TAPS)
def tls_way(request: pytest.FixtureRequest, certs: CertSet, tmp_path: Path) -> Tapping:
    """Every kind under TLS."""
    return make_tapping(request.param, certs, tmp_path)


@pytest.fixture(params=["tls1.2", "tls1.3", "upgraded"])
def handshake_way(request: pytest.FixtureRequest, certs: CertSet, tmp_path: Path) -> Tapping:
    """The kinds whose handshakes differ."""
    return make_tapping(request.param, certs, tmp_path)


@pytest.fixture(params=["client", "server"])
def near(request: pytest.FixtureRequest) -> Any:
    """The side whose fault it is."""
    return request.param


def play(way: Tapping, near: Near, fault: Script, other: Script, *options: Argument) -> Played:
    """The fault is that of this side."""
    return way.play(fault, other, *options) if near == "client" else way.play(other, fault, *options)


def far_of(played: Played, near: Near) -> Peer:
    return (played.server if near == "client" else played.client).peers[0]


# ------------------------------------------------------------------------------------------------ 12 to 19: ends


def test_row_12_end_without_a_byte(way: Tapping, near: Near) -> None:
    """It is passed on, and no error."""
    played = play(way, near, way.end_data, Peer.recv_until_eof)
    played.check(near, 0)
    assert far_of(played, near).ended == way.end


def test_row_16_reset_after_data(way: Tapping, near: Near) -> None:
    """All the data is there before it; 56, or 55 where the tap was sending."""
    data, came = pattern(300_000), threading.Event()

    def fault(conn: Peer) -> None:
        conn.send(data)
        conn.wait(came)
        conn.reset()

    def other(conn: Peer) -> None:
        assert conn.recv_exactly(len(data)) == data
        came.set()
        conn.recv_until_eof()

    played = play(way, near, fault, other)
    assert played.report["status"] in (55, 56)
    assert "connection reset by peer" in played.report["message"]
    assert far_of(played, near).ended == "reset"
    assert played.ends == [(near, "reset")]


def test_row_17_reset_with_an_unread_answer(way: Tapping, near: Near) -> None:
    """What it had said before is passed on although it has not read what it was sent."""

    def fault(conn: Peer) -> None:
        conn.recv_exactly(1)
        conn.send(b"answer")
        conn.close()  # with bytes unread

    def other(conn: Peer) -> None:
        with suppress(OSError):
            conn.send(bytes(1 << 20))
        conn.recv_until_eof()

    played = play(way, near, fault, other)
    assert far_of(played, near).received == b"answer"
    assert far_of(played, near).ended == ("close_notify" if way.is_secure else "reset")
    assert played.ends[-1] == (near, "reset")
    assert played.report["status"] in (55, 56)


def test_row_18_reset_before_any_data(way: Tapping, near: Near) -> None:
    """The same; nobody waits for the other side to say something. A server's reset may be noticed in connecting: 7."""
    played = play(way, near, Peer.reset, Peer.recv_until_eof)
    assert played.report["status"] in (7, 35, 55, 56)
    assert "connection reset by peer" in played.report["message"]
    assert far_of(played, near).ended == "reset"


@pytest.mark.parametrize("reads", [False, True], ids=["deaf", "listening"])
def test_row_17_a_side_that_goes_on_writing_to_one_that_is_gone(way: Tapping, near: Near, reads: bool) -> None:
    """It learns of the reset: having read all that there was, or, where it reads nothing, by its own writing."""
    filled = threading.Event()

    def fault(conn: Peer) -> None:
        conn.fill()
        filled.set()
        conn.reset()

    def other(conn: Peer) -> None:
        conn.wait(filled)
        if reads:
            conn.recv_until_eof()
        else:
            with pytest.raises(ConnectionError):
                conn.send(bytes(1 << 30))

    played = play(way, near, fault, other)
    assert played.report["status"] in (55, 56)
    if reads:
        assert far_of(played, near).ended == "reset"
        if not way.is_secure:
            assert (
                len(far_of(played, near).received)
                == (played.report["bytes"]["sent" if near == "client" else "received"])
            )


# --------------------------------------------------------------------------------------- 18, 60 to 65: handshakes


@pytest.mark.parametrize("end", [Peer.reset, Peer.close], ids=["RST", "FIN"])
def test_row_62_server_that_leaves_in_the_handshake(handshake_way: Tapping, end: Script) -> None:
    """35, named after the handshake; the client gets an alert."""
    way = handshake_way

    def server(conn: Peer) -> None:
        way.expect_hello(conn)
        assert conn.recv().startswith(b"\x16\x03")
        end(conn)

    played = way.play(refused_client(way), server, raw="both")
    text = "connection reset by peer" if end is Peer.reset else "peer closed the connection"
    played.check("server", 35, f"{text} during the TLS handshake", "" if way.is_upgraded else CLEAR_TEXT)


def refused_client(way: Tapping, alert: str = INTERNAL_ERROR) -> Script:
    """A client whose handshake the tap ends by its alert."""

    def client(conn: Peer) -> None:
        way.hello(conn)
        with pytest.raises(ssl.SSLError, match=alert):
            conn.start_tls(way.trust())

    return client


@pytest.mark.parametrize("part", [3, 100, None], ids=["in the hello's head", "in the hello", "for its last flight"])
@pytest.mark.parametrize("end", [Peer.reset, Peer.close], ids=["RST", "FIN"])
def test_row_62_client_that_leaves_in_the_handshake(handshake_way: Tapping, end: Script, part: int | None) -> None:
    """A part of a hello is passed on with the end behind it; in the tap's own handshake it is 35."""
    way = handshake_way
    hello = client_hello("localhost")[:part]

    def client(conn: Peer) -> None:
        way.hello(conn)
        conn.send(hello)
        if part is None:
            assert conn.recv().startswith(b"\x16\x03")
            while not conn.quiet(SHORT_S):
                conn.recv()
        end(conn)

    def server(conn: Peer) -> None:
        way.expect_hello(conn)
        conn.forget()
        if part is None:
            conn.start_tls(way.certs.server_context(version=way.server_version))
        conn.recv_until_eof()

    played = way.play(client, server, raw="both")
    if part is None:
        text = "connection reset by peer" if end is Peer.reset else "peer closed the connection"
        played.check("client", 35, f"{text} during the TLS handshake")
        assert played.server.received == b""
        return
    assert played.server.received == hello
    assert played.server.ended == ("reset" if end is Peer.reset else "eof")
    assert played.report["status"] == (0 if end is Peer.close else 56)


def test_row_61_server_that_never_answers_the_hello(handshake_way: Tapping) -> None:
    """28 at the deadline; the client gets an alert."""
    way = handshake_way

    def server(conn: Peer) -> None:
        way.expect_hello(conn)
        while conn.recv():
            pass

    played = way.play(refused_client(way), server, "--connect-timeout", str(SHORT_S), raw="both")
    text = f"the TLS handshake was not complete after {SHORT_S} s"
    hint = "--connect-timeout SECS waits longer" if way.is_upgraded else CLEAR_TEXT
    played.check("server", 28, text, hint)


def test_row_61_client_that_stops_behind_its_hello(handshake_way: Tapping) -> None:
    """28 at the deadline; the server, whose handshake is done, is reset."""
    way = handshake_way

    def client(conn: Peer) -> None:
        way.hello(conn)
        conn.send(client_hello("localhost"))
        while conn.recv():
            pass

    played = way.play(client, Peer.recv_until_eof, "--connect-timeout", "1", raw="client")
    text = "the TLS handshake was not complete after 1 s"
    played.check("client", 28, text, "--connect-timeout SECS waits longer")
    assert played.server.peers[0].ended == "reset"


@pytest.mark.parametrize("size", [0, 5, 100])
def test_row_61_client_that_does_not_finish_the_hello_that_is_demanded(
    certs: CertSet, tmp_path: Path, size: int
) -> None:
    """`--accept-tls on`: 28 at the deadline; the server is never bothered."""
    way = make_tapping("tls1.3", certs, tmp_path)

    def client(conn: Peer) -> None:
        conn.send(client_hello("localhost")[:size])
        conn.recv_until_eof()

    options = ["--accept-tls", "on", "--tls", "on", "--connect-timeout", "1"]
    played = way.play(client, Peer.recv_until_eof, *options, raw="client", is_reached=False)
    text = "the client did not begin TLS within 1 s"
    played.check("client", 28, text, "--connect-timeout SECS waits longer")
    assert played.server.connections == 1  # of the one that came behind it


@pytest.mark.parametrize("speaks", ["server", "client"])
def test_row_60_a_side_that_goes_on_in_clear_text(certs: CertSet, tmp_path: Path, speaks: Near) -> None:
    """In place of TLS behind the go-ahead: 35 and a quote, escaped, of the server's; a client's is passed on."""
    way = make_tapping("upgraded", certs, tmp_path)
    said = b"\x1b]0;pwn\x07\r\n"

    def server(conn: Peer) -> None:
        way.expect_hello(conn)
        if speaks == "server":
            conn.recv()
            conn.send(said)
        else:
            assert conn.recv_until(b"\n") == said
            conn.send(b"500 what?\r\n")
        conn.recv_until_eof()

    def client(conn: Peer) -> None:
        way.hello(conn)
        conn.send(said)
        assert conn.recv_until(b"\n") == b"500 what?\r\n"

    played = way.play(client if speaks == "client" else refused_client(way), server, raw="both")
    if speaks == "client":
        played.check("client", 0)
    else:
        text = r'the server went on in clear text in place of TLS; it said "\\x1b\]0;pwn\\x07"'
        played.check("server", 35, text)


# For a server that has not said a byte, behind a client that began TLS with its first.
CLEAR_TEXT = "--accept-tls on takes TLS from the client alone, if the server wants clear text"
ALERTS = {
    40: (
        "handshake failure",
        "no version or cipher in common, or a certificate is wanted: --cert FILE shows who we are",
    ),
    70: (
        "protocol version",
        "TLS 1.2 and 1.3 are spoken here, or what --tls-min and --tls-max leave of them",
    ),
    80: ("internal error", ""),
    112: ("unrecognized name", "--sni NAME asks for another name"),
    120: ("no application protocol", "--alpn LIST offers other protocols"),
}


@pytest.mark.parametrize("code", ALERTS)
def test_row_63_alert_of_the_server(certs: CertSet, tmp_path: Path, code: int) -> None:
    """35, by its name and with its hint; the client gets one, too."""
    way = make_tapping("upgraded", certs, tmp_path)

    def server(conn: Peer) -> None:
        way.expect_hello(conn)
        conn.recv()
        conn.send(record(ALERT, bytes((FATAL, code))))
        conn.recv_until_eof()

    played = way.play(refused_client(way), server, raw="both")
    text, hint = ALERTS[code]
    played.check("server", 35, f"TLS handshake failed: the peer sent the alert {text}", hint)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (40, "the peer sent the alert handshake failure"),
        (48, "the client does not trust our certificate (alert unknown ca)"),
        (80, "the peer sent the alert internal error"),
    ],
)
def test_row_63_alert_of_the_client(certs: CertSet, tmp_path: Path, code: int, text: str) -> None:
    """35, and it is the client's; the server is reset."""
    way = make_tapping("upgraded", certs, tmp_path)

    def client(conn: Peer) -> None:
        way.hello(conn)
        conn.send(client_hello("localhost"))
        conn.recv()
        conn.send(record(ALERT, bytes((FATAL, code))))
        conn.recv_until_eof()

    played = way.play(client, Peer.recv_until_eof, raw="client")
    assert played.report["message"] == f"{played.client.name}: TLS handshake failed: {text}"
    assert played.report["status"] == 35
    assert played.server.peers[0].ended == "reset"


@pytest.mark.parametrize("near", ["client", "server"])
def test_row_64_old_tls_only(certs: CertSet, tmp_path: Path, near: Near) -> None:
    """TLS 1.1: 35, and what is spoken here."""
    way = make_tapping("tls1.3", certs, tmp_path)

    def old(context: ssl.SSLContext) -> ssl.SSLContext:
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        return context

    def client(conn: Peer) -> None:
        assert not conn.start_tls(old(way.trust()), may_fail=True)

    def server(conn: Peer) -> None:
        assert not conn.start_tls(old(certs.server_context()), may_fail=True)

    hint = "TLS 1.2 and 1.3 are spoken here, or what --tls-min and --tls-max leave of them"
    if near == "client":
        played = way.play(client, Peer.recv_until_eof, raw="client")
        assert played.server.peers[0].ended == "reset"
    else:
        played = way.play(refused_client(way), server, raw="both")
    played.check(near, 35, "TLS handshake failed: ", hint)


# --------------------------------------------------------------------------------------- 73 to 77: certificates

# What is said of each kind, and the hint; None: it is taken.
CERTIFICATES: dict[Kind, tuple[str, str] | None] = {
    "good": None,
    "chain": None,
    "wrong_host": ("it is for other.test, not localhost", NAME),
    "untrusted": ("it was issued by .*, which is not known here", CHAIN),
    "expired": ("", RENEWED),
    "not_yet": ("", CLOCK),
    "self_signed": ("", AUTHORITY),
    "cn_only": ("", NAME),
    "incomplete": ("", CHAIN),
    "client_purpose": ("", REPLACED),
    "weak": ("", REPLACED),
}


@pytest.mark.parametrize("kind", CERTIFICATES)
def test_rows_73_to_76_certificate_of_each_kind(certs: CertSet, tmp_path: Path, kind: Kind) -> None:
    """60 and the hint of a run that connects; not a byte of the client's TLS goes on, and it gets an alert."""
    way = make_tapping("upgraded", certs, tmp_path)
    expected = CERTIFICATES[kind]

    def server(conn: Peer) -> None:
        way.expect_hello(conn)
        conn.forget()
        if conn.start_tls(certs.server_context(kind), may_fail=expected is not None):
            conn.send(conn.recv_until(b"\n"))

    def client(conn: Peer) -> None:
        if expected is not None:
            refused_client(way)(conn)
            return
        way.secure_client(conn)
        conn.send(b"secret\n")
        assert conn.recv_until(b"\n") == b"secret\n"

    played = way.play(client, server, raw="both")
    if expected is None:
        played.check("server", 0)
    else:
        text, hint = expected
        played.check("server", 60, "certificate not trusted: .*" + text, hint)
        assert played.server.received == b""
        assert played.server.ended == "tls_error"


@pytest.mark.parametrize("version", ["tls1.2", "tls1.3"])
@pytest.mark.parametrize("shows", [False, True], ids=["without one", "with --cert"])
def test_row_81_server_that_wants_a_certificate(certs: CertSet, tmp_path: Path, version: str, shows: bool) -> None:
    """In the handshake of TLS 1.2, behind that of 1.3: 35 and the hint; the tap shows its own where it has one."""
    way = make_tapping(version, certs, tmp_path)
    context = certs.server_context(version=way.server_version)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certs.ca)

    def server(conn: Peer) -> None:
        if conn.start_tls(context, may_fail=True):
            conn.send(conn.recv_until(b"\n"))
        else:
            assert conn.ended == "tls_error"

    def client(conn: Peer) -> None:
        if version == "tls1.2" and not shows:
            refused_client(way)(conn)
            return
        conn.start_tls(way.trust())
        if shows:
            conn.send(b"hello\n")
            assert conn.recv_until(b"\n") == b"hello\n"
            return
        with suppress(ConnectionResetError):  # it may have come already
            conn.send(b"hello\n")
            assert conn.recv_until_eof() == b""
            assert conn.ended == "reset"

    own: list[Argument] = ["--cert", certs.client.chain, "--key", certs.client.key]
    played = way.play(client, server, *(own if shows else ()), raw="both")
    if shows:
        played.check("server", 0)
    else:
        hint = "--cert FILE shows who we are"
        assert played.report["status"] == 35
        assert (played.report["hint"] or "").endswith(hint), played.report
