"""Rows 60 to 66: handshakes that fail, stall, or are cut into odd pieces."""

from __future__ import annotations

import ssl
import time
from base64 import b64encode
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.faults.forge import (
    ALERT,
    DATA,
    FATAL,
    HANDSHAKE,
    WARNING,
    Forger,
    cut_records,
    edited,
    forging,
    message,
    record,
)
from tests.faults.ways import at_once, check_message, upgrade
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, Script, serve
from tests.helpers.program import Result, cfcat
from tests.pipe.tools import DEADLINE_S, Transport, until_arrived
from tests.report.form import check_form

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
SHORT_S = 0.5
SERVER_HELLO = 2
HANDSHAKE_FAILED = "TLS handshake failed: "
OTHER_VERSION = "TLS 1.2 and 1.3 are spoken here, or what --tls-min and --tls-max leave of them"
CLEAR_TEXT_FIRST = "--starttls PROTO or --tls off, if clear text comes first on this port"
WANTED = "no version or cipher in common, or a certificate is wanted: --cert FILE shows who we are"


def fail(certs: CertSet, script: Script, status: int, text: str, *options: str, upgraded: bool = False) -> str:
    """Run against this server: the message must be so, and nothing of stdin is sent; return the hint."""
    how = ["--starttls", "smtp"] if upgraded else ["--tls", "on"]
    with serve(script) as server:
        result = cfcat(*how, "--cacert", certs.ca, *options, server.address, stdin=b"secret")
    assert b"secret" not in server.received
    return check_message(result, status, f"{server.address}: {text}")


# ---------------------------------------------------------------------------------------------- row 60: no TLS


@pytest.mark.parametrize(
    ("banner", "quoted"),
    [
        (b"220 mail.example ESMTP\r\n", "220 mail.example ESMTP"),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "SSH-2.0-OpenSSH_9.2p1 Debian-2"),
        (b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n", r"HTTP/1.1 400 Bad Request\x0d\x0aServer: x"),
        (b"\x1b]0;pwn\x07\xc2\x9b\xff" + b"x" * 100 + b"\r\n", r"\x1b]0;pwn\x07\x9b\xff" + "x" * 29),
        (b"no\n", "no"),
    ],
    ids=["SMTP", "SSH", "HTTP", "escape sequence", "less than a record's header"],
)
def test_row_60_peer_that_speaks_clear_text(certs: CertSet, banner: bytes, quoted: str) -> None:
    """35; the first 40 bytes are quoted, escaped."""
    assert fail(certs, lambda conn: conn.send(banner), 35, f'peer does not speak TLS; it said "{quoted}"')


# -------------------------------------------------------------------------------------------- row 61: no answer


@pytest.mark.parametrize("drips", [False, True], ids=["silent", "a byte now and then"])
def test_row_61_peer_that_keeps_us_waiting(certs: CertSet, drips: bool) -> None:
    """28 at the deadline, which is one for the whole handshake."""

    def script(conn: Peer) -> None:
        conn.recv()
        for byte in b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03" + bytes(100):
            if not conn.quiet(SHORT_S / 10):
                return
            if drips:
                conn.send(bytes([byte]))

    began = time.monotonic()
    text = f"the TLS handshake was not complete after {SHORT_S} s"
    hint = "--connect-timeout SECS waits longer" if drips else CLEAR_TEXT_FIRST
    assert fail(certs, script, 28, text, "--connect-timeout", str(SHORT_S)) == hint
    assert SHORT_S <= time.monotonic() - began < SHORT_S + 1


# ------------------------------------------------------------------------------------------- row 62: the end in it


def flight(conn: Peer, context: ssl.SSLContext, number: int) -> bytes:
    """Shake hands as a server up to its flight of this number, and return that, unsent."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)
    while True:
        incoming.write(conn.recv())
        with suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        data = outgoing.read()
        number -= bool(data)
        if not number:
            return data
        conn.send_raw(data)


@pytest.mark.parametrize("end", [Peer.end, Peer.reset], ids=["FIN", "RST"])
@pytest.mark.parametrize("kind", ["1.2", "1.3", "upgraded"])
def test_row_62_end_at_each_flight(certs: CertSet, kind: str, end: Script) -> None:
    """In a record's header, in the middle of a flight, in the place of one, and before the last byte: 35."""

    def cut(number: int, length: int, conn: Peer) -> None:
        if kind == "upgraded":
            upgrade(conn)
        conn.send_raw(flight(conn, certs.server_context(version=VERSIONS[kind != "1.2"]), number)[:length])
        until_arrived(conn, read=True)
        end(conn)

    text = "peer closed the connection" if end is Peer.end else "connection reset by peer"
    places = {"1.2": [(1, 1), (1, 100), (2, 0), (2, -1)], "1.3": [(1, 1), (1, 100), (1, -1)], "upgraded": [(1, 100)]}
    jobs = [
        partial(fail, certs, partial(cut, *place), 35, f"{text} during the TLS handshake", upgraded=kind == "upgraded")
        for place in places[kind]
    ]
    assert set(at_once(jobs)) == {""}


@pytest.mark.parametrize("options", [[], ["--ignore-unexpected-eof"]], ids=["", "lenient"])
@pytest.mark.parametrize(
    ("how", "read"), [(Peer.reset, 0), (Peer.close, 0), (Peer.close, 1), (Peer.close, 1 << 16), (Peer.end, 0)]
)
def test_row_62_server_that_leaves_when_it_has_the_client_hello(
    certs: CertSet, how: Script, read: int, options: list[str]
) -> None:
    """Closed with bytes unread it is a reset; --ignore-unexpected-eof does not apply to a handshake."""

    def script(conn: Peer) -> None:
        assert not conn.quiet(DEADLINE_S)  # before the ClientHello, a reset would be one of the connecting
        if read:
            conn.recv(read)
        how(conn)

    with serve(script) as server:
        result = cfcat("--tls", "on", "--cacert", certs.ca, *options, server.address, stdin=b"secret")
    assert check_message(result, 35, f"{server.address}: ") == CLEAR_TEXT_FIRST
    assert f" during the TLS handshake\n  hint: {CLEAR_TEXT_FIRST}\n" in result.stderr
    assert b"secret" not in server.received


# ------------------------------------------------------------------------------------- rows 63 to 65: it is refused

# RFC 8446 §6, RFC 5246 §7.2: a few have another name at OpenSSL; "number" where they have none.
ALERTS = {
    0: "number 0",
    10: "unexpected message",
    20: "bad record mac",
    40: "handshake failure",
    42: "bad certificate",
    45: "certificate expired",
    47: "illegal parameter",
    48: "unknown ca",
    50: "decode error",
    70: "protocol version",
    80: "internal error",
    90: "user cancelled",
    112: "unrecognized name",
    115: "unknown psk identity",
    116: "certificate required",
    120: "no application protocol",
    255: "number 255",
}
HINTS = {
    40: WANTED,
    42: "the peer wants a certificate, or another one: --cert FILE shows who we are",
    **dict.fromkeys((45, 48), "the peer does not accept the certificate of --cert"),
    70: OTHER_VERSION,
    112: "--sni NAME asks for another name",
    116: "--cert FILE shows who we are",
    120: "--alpn LIST offers other protocols",
}


def test_row_63_alert_of_each_kind(certs: CertSet) -> None:
    """35, by its name, with a hint where there is something to be done."""

    def alert(code: int, conn: Peer) -> None:
        conn.recv()
        conn.send(record(ALERT, bytes((FATAL, code))))
        conn.recv_until_eof()

    jobs = [
        partial(fail, certs, partial(alert, code), 35, f"{HANDSHAKE_FAILED}the peer sent the alert {name}")
        for code, name in ALERTS.items()
    ]
    assert dict(zip(ALERTS, at_once(jobs), strict=True)) == {code: HINTS.get(code, "") for code in ALERTS}


def test_row_63_alert_within_tls(tls_way: Transport) -> None:
    """After the handshake it is told alike; what came before it is printed."""

    def script(conn: Peer, forger: Forger) -> None:
        forger.send(DATA, b"data")
        forger.alert(FATAL, 80)
        conn.recv_until_eof()

    with forging(tls_way, script) as server:
        result = cfcat(*tls_way.options, server.address)
    text = f"{server.address}: TLS failed: the peer sent the alert internal error"
    assert check_message(result, 35, text, stdout=b"data") == ""


def test_row_63_warning_is_no_end(certs: CertSet) -> None:
    """A server that would rather have had another name says so and goes on: so do we."""

    def script(conn: Peer) -> None:
        with edited(
            conn, lambda data: record(ALERT, bytes((WARNING, 112))) + data if data[:1] == bytes((HANDSHAKE,)) else data
        ):
            conn.start_tls(certs.server_context(version=VERSIONS[0]))
        conn.send(b"hello")

    with serve(script) as server:
        assert cfcat("--tls", "on", "--cacert", certs.ca, server.address) == Result(b"hello", "", 0)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_row_64_server_that_speaks_old_tls_only(certs: CertSet, version: ssl.TLSVersion) -> None:
    """35, and what is spoken here: nothing below 1.2, whatever the machine's own configuration allows."""
    context = certs.server_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version, context.maximum_version = version, version

    def script(conn: Peer) -> None:
        assert not conn.start_tls(context, may_fail=True)

    text = f"{HANDSHAKE_FAILED}the peer sent the alert protocol version"
    assert fail(certs, script, 35, text) == OTHER_VERSION


@pytest.mark.parametrize("version", [b"\3\0", b"\3\1", b"\3\2"], ids=["SSL 3", "TLS 1.0", "TLS 1.1"])
def test_row_64_server_that_chooses_old_tls(certs: CertSet, version: bytes) -> None:
    """It need not send an alert: it may answer as if that had been offered."""

    def script(conn: Peer) -> None:
        conn.recv()
        hello = message(SERVER_HELLO, version + bytes(32) + b"\0\xc0\x0a\0")
        conn.send(bytes((HANDSHAKE,)) + version + len(hello).to_bytes(2, "big") + hello)
        assert conn.recv_until_eof().endswith(record(ALERT, bytes((FATAL, 70))))

    assert fail(certs, script, 35, f"{HANDSHAKE_FAILED}unsupported protocol") == OTHER_VERSION


def test_row_64_no_version_in_common(certs: CertSet) -> None:
    """What --tls-min and --tls-max leave may be too little."""
    for option, limit, version in (("--tls-min", "1.3", VERSIONS[0]), ("--tls-max", "1.2", VERSIONS[1])):
        context = certs.server_context(version=version)
        text = f"{HANDSHAKE_FAILED}the peer sent the alert protocol version"
        assert fail(certs, partial(refusing, context), 35, text, option, limit) == OTHER_VERSION


def refusing(context: ssl.SSLContext, conn: Peer) -> None:
    """A TLS server with which no handshake succeeds."""
    assert not conn.start_tls(context, may_fail=True)


@pytest.mark.parametrize(("what", "version"), [("cipher", VERSIONS[0]), ("group", VERSIONS[0]), ("group", VERSIONS[1])])
def test_row_65_nothing_in_common(certs: CertSet, what: str, version: ssl.TLSVersion) -> None:
    """No cipher, no group: the server says "handshake failure", and the hint what that may be."""
    context = certs.server_context(version=version)
    if what == "group":
        context.set_ecdh_curve("secp256k1")
    else:
        context.set_ciphers("ECDHE-ECDSA-NULL-SHA:@SECLEVEL=0")
    text = f"{HANDSHAKE_FAILED}the peer sent the alert handshake failure"
    assert fail(certs, partial(refusing, context), 35, text) == WANTED


# RFC 2409 §6.2: a prime of 1024 bits, generator 2.
OAKLEY_2 = bytes.fromhex(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF"
)


def test_row_65_parameters_of_dh_that_are_too_small(certs: CertSet, tmp_path: Path) -> None:
    """1024 bits: refused here, by name."""
    der = bytes.fromhex("308187 028181 00") + OAKLEY_2 + bytes.fromhex("020102")
    path = tmp_path / "dh.pem"
    path.write_text(f"-----BEGIN DH PARAMETERS-----\n{b64encode(der).decode()}\n-----END DH PARAMETERS-----\n")
    context = certs.server_context("weak", ssl.TLSVersion.TLSv1_2)  # ciphers of DHE want an RSA key
    context.set_ciphers("DHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0")
    context.load_dh_params(str(path))
    with serve(partial(refusing, context)) as server:
        result = cfcat("--tls", "on", "-k", server.address)
    assert result.stderr.endswith(f"\ncfcat: {server.address}: {HANDSHAKE_FAILED}dh key too small\n")
    assert (result.stdout, result.status) == (b"", 35)


# ----------------------------------------------------------------------------------------- row 66: odd records in it


@pytest.mark.parametrize("version", VERSIONS)
def test_row_66_handshake_in_pieces(certs: CertSet, version: ssl.TLSVersion) -> None:
    """Messages in records of one byte each are a handshake all the same."""

    def pieces(conn: Peer) -> None:
        with edited(conn, lambda data: cut_records(data, 1) if data[:1] == bytes((HANDSHAKE,)) else data):
            conn.start_tls(certs.server_context(version=version))
        conn.send(b"hello")

    with serve(pieces) as server:
        assert cfcat("--tls", "on", "--cacert", certs.ca, server.address) == Result(b"hello", "", 0)


@pytest.mark.parametrize("version", VERSIONS)
def test_row_66_handshake_that_was_tampered_with(certs: CertSet, version: ssl.TLSVersion) -> None:
    """A byte changed anywhere in the server's flight: 35 (60 in the certificate), never a connection."""

    def tamper(place: int, conn: Peer) -> None:
        data = bytearray(flight(conn, certs.server_context(version=version), 1))
        data[place * (len(data) - 1) // 7] ^= 0x40
        conn.send_raw(bytes(data))
        conn.end()

    def run(place: int) -> int:
        with serve(partial(tamper, place)) as server:
            result = cfcat("--tls", "on", "--cacert", certs.ca, server.address, stdin=b"secret")
        check_form(result.stderr)
        assert result.stdout == b""
        assert b"secret" not in server.received
        return result.status

    assert set(at_once(partial(run, place) for place in range(8))) <= {35, 60}


def test_row_66_records_in_the_handshake_that_are_none(certs: CertSet) -> None:
    """Of an unknown type, longer than 16 KiB and its overhead, and without end empty."""

    def records(data: bytes, conn: Peer) -> None:
        conn.recv()
        with suppress(ConnectionError):  # the client has left
            conn.send(data)
        conn.recv_until_eof()

    for data, text in (
        (record(HANDSHAKE, b"\2")[:3] + b"\x50\0" + bytes(0x5000), "packet length too long"),
        (record(HANDSHAKE, b"\2\0\0\x50") + record(99, b"x"), "unexpected message"),
        (record(HANDSHAKE, b"") * 1000, "record too small"),
    ):
        assert fail(certs, partial(records, data), 35, f"{HANDSHAKE_FAILED}{text}") == ""
