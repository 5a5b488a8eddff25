"""The fault matrix for connections that come in: TLS as the server."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest

from tests.core.test_client_hello import hello as client_hello
from tests.faults.forge import ALERT, FATAL, HANDSHAKE, cut_records, edited, record
from tests.faults.ways import WAYS, Accepting, ask_for_upgrade, at_once, check_message, make_accepting_way, run
from tests.helpers.callers import calling
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, Script
from tests.helpers.program import Argument, Result, cfcat, finish, start
from tests.pipe.tools import DEADLINE_S, pattern
from tests.program.test_listen_clients import client

pytestmark = pytest.mark.one_python

SHORT_S = 0.3


# -------------------------------------------------------------------------------------- 60 to 65: the handshake


TLS_KINDS = pytest.mark.parametrize("way", ["tls1.3", "upgraded"], indirect=True)
OTHER_VERSION = "TLS 1.2 and 1.3 are spoken here, or what --tls-min and --tls-max leave of them"
HANDSHAKE_FAILED = "TLS handshake failed: "


@pytest.fixture
def way(request: pytest.FixtureRequest, certs: CertSet) -> Accepting:
    """A kind by its name."""
    return make_accepting_way(request.param, certs)


def fail(way: Accepting, script: Script, status: int, text: str, *options: Argument) -> str:
    """A client that comes to the handshake and plays this: the message must be so; return the hint."""

    def prepared(conn: Peer) -> None:
        if way.upgraded:
            ask_for_upgrade(conn)
        script(conn)

    with calling(prepared) as caller:
        result = cfcat(*way.options, *options, caller.address, stdin=b"secret")
    assert b"secret" not in caller.received
    return check_message(result, status, f"{caller.name}: {text}")


@TLS_KINDS
def test_row_60_client_that_speaks_clear_text(way: Accepting) -> None:
    """35; its first 40 bytes are quoted, escaped; behind a go-ahead that is said to be the fault (row 83)."""
    texts = {
        b"GET / HTTP/1.1\r\nHost: me\r\n\r\n": r"GET / HTTP/1.1\x0d\x0aHost: me",
        b"\x1b]0;pwn\x07\xc2\x9b\xff" + b"x" * 100: r"\x1b]0;pwn\x07\x9b\xff" + "x" * 29,
        b"no\n": "no",
    }
    begin = "peer does not speak TLS; it said"
    if way.upgraded:
        begin = "the client went on in clear text in place of TLS; it said"

    def say(data: bytes, conn: Peer) -> None:
        conn.send(data)
        conn.end()
        conn.recv_until_eof()

    at_once(partial(fail, way, partial(say, said), 35, f'{begin} "{quoted}"') for said, quoted in texts.items())


@TLS_KINDS
@pytest.mark.parametrize("drips", [False, True], ids=["silent", "a byte now and then"])
def test_row_61_client_that_keeps_us_waiting(way: Accepting, drips: bool) -> None:
    """28 at the deadline, which is one for dialog and handshake."""

    def script(conn: Peer) -> None:
        for byte in client_hello()[:-1]:
            if not conn.quiet(SHORT_S / 10):
                return
            if drips:
                conn.send(bytes([byte]))

    text = f"the TLS handshake was not complete after {SHORT_S} s"
    assert fail(way, script, 28, text, "--connect-timeout", str(SHORT_S)) == "--connect-timeout SECS waits longer"


# A client's alert by its number: what is said of it.
TRUST_US = "--ca-out FILE keeps the authority that the client has to trust; --cert FILE shows another certificate"
ALERTS = {
    10: "the peer sent the alert unexpected message",
    40: "the peer sent the alert handshake failure",
    42: "the client does not trust our certificate (alert bad certificate)",
    45: "the client does not trust our certificate (alert certificate expired)",
    46: "the client does not trust our certificate (alert certificate unknown)",
    48: "the client does not trust our certificate (alert unknown ca)",
    70: "the peer sent the alert protocol version",
    80: "the peer sent the alert internal error",
}


@TLS_KINDS
def test_row_63_alert_of_each_kind(way: Accepting) -> None:
    """35, by its name; one about our certificate says that."""

    def alert(code: int, conn: Peer) -> None:
        conn.send(client_hello())
        conn.recv()
        conn.send(record(ALERT, bytes((FATAL, code))))
        conn.recv_until_eof()

    jobs = [partial(fail, way, partial(alert, code), 35, HANDSHAKE_FAILED + text) for code, text in ALERTS.items()]
    assert dict(zip(ALERTS, at_once(jobs), strict=True)) == {
        code: TRUST_US if code in (42, 45, 46, 48) else OTHER_VERSION if code == 70 else "" for code in ALERTS
    }


@TLS_KINDS
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_row_64_client_that_speaks_old_tls_only(way: Accepting, version: ssl.TLSVersion) -> None:
    """35, and what is spoken here."""
    context = way.certs.client_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version, context.maximum_version = version, version

    def script(conn: Peer) -> None:
        assert not conn.start_tls(context, may_fail=True)

    assert fail(way, script, 35, f"{HANDSHAKE_FAILED}unsupported protocol") == OTHER_VERSION


def test_row_64_no_version_in_common(certs: CertSet) -> None:
    """What --tls-min and --tls-max leave may be too little."""
    for option, limit, name in (("--tls-min", "1.3", "tls1.2"), ("--tls-max", "1.2", "tls1.3")):
        way = make_accepting_way(name, certs)

        def script(conn: Peer, way: Accepting = way) -> None:
            assert not conn.start_tls(certs.client_context(way.version), may_fail=True)

        assert fail(way, script, 35, f"{HANDSHAKE_FAILED}unsupported protocol", option, limit) == OTHER_VERSION


def test_row_65_no_suite_in_common(certs: CertSet) -> None:
    """TLS 1.2, and a client that knows suites for another kind of key alone."""
    way = make_accepting_way("tls1.2", certs)
    context = certs.client_context(way.version)
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")

    def script(conn: Peer) -> None:
        assert not conn.start_tls(context, may_fail=True)

    assert fail(way, script, 35, f"{HANDSHAKE_FAILED}no shared cipher") == OTHER_VERSION


@pytest.mark.parametrize("way", WAYS[1:], indirect=True)
def test_row_66_handshake_in_pieces(way: Accepting) -> None:
    """A hello in records of one byte each is a hello all the same."""

    def script(conn: Peer) -> None:
        if way.upgraded:
            ask_for_upgrade(conn)
        with edited(conn, lambda data: cut_records(data, 1) if data[:1] == bytes((HANDSHAKE,)) else data):
            conn.start_tls(way.certs.client_context(way.version))
        conn.send(b"hello")

    with calling(script) as caller:
        assert cfcat(*way.options, caller.address) == Result(b"hello", "", 0)


@TLS_KINDS
def test_row_66_records_in_the_handshake_that_are_none(way: Accepting) -> None:
    """Of an unknown type, longer than 16 KiB and its overhead, and without end empty."""

    def records(data: bytes, conn: Peer) -> None:
        with suppress(ConnectionError):  # the program has left
            conn.send(data)
        conn.recv_until_eof()

    for data, text in (
        (record(HANDSHAKE, b"\1")[:3] + b"\x50\0" + bytes(0x5000), "packet length too long"),
        (record(HANDSHAKE, b"\1\0\0\x50") + record(99, b"x"), "unexpected message"),
        (record(HANDSHAKE, b"") * 1000, "record too small"),
    ):
        fail(way, partial(records, data), 35, f"{HANDSHAKE_FAILED}{text}")


# ----------------------------------------------------------------------------- 66 to 70: records after the handshake


def corrupted(conn: Peer) -> bytes:
    wire = bytearray(conn.record(b"secret"))
    wire[-1] ^= 1
    return bytes(wire)


BAD_RECORDS: dict[str, tuple[Callable[[Peer], bytes], str]] = {
    "bad MAC": (corrupted, "decryption failed or bad record mac"),
    "longer than any record": (lambda conn: b"\x17\x03\x03\x9c\x40" + bytes(40_000), "packet length too long"),
    "clear text": (lambda conn: b"QUIT in clear text\r\n", "wrong version number"),
}


@pytest.mark.parametrize("kind", BAD_RECORDS)
def test_row_66_bad_record(accepting_tls: Accepting, kind: str) -> None:
    """35 with OpenSSL's reason; what came before is printed, and nothing of or behind the record."""
    make, text = BAD_RECORDS[kind]

    def script(conn: Peer) -> None:
        conn.send(b"before")
        with suppress(ConnectionError):
            conn.send_raw(make(conn) + conn.record(b"after"))
        conn.recv_until_eof()

    with accepting_tls.serve(script) as caller, start(*accepting_tls.options, caller.address) as program:
        program.wait(DEADLINE_S)  # with stdin open
        result = finish(program)
    assert check_message(result, 35, f"{caller.name}: TLS failed: {text}", stdout=b"before") == ""
    assert caller.ended != "close_notify"


@pytest.mark.parametrize("sent", ["nothing", "some", "all"])
def test_row_67_truncation(accepting_tls: Accepting, sent: str) -> None:
    """FIN without close_notify: all that came whole is printed, then 18 and the option that accepts it; with it 0."""
    data = {"nothing": b"", "some": pattern(100_000), "all": pattern(1 << 20)}[sent]

    def script(conn: Peer) -> None:
        conn.send(data)
        if sent == "some":
            conn.send_raw(conn.record(b"lost")[:-1])
        conn.end()

    strict, caller = run(accepting_tls, script, stdin=b"answer")
    text = f"{caller.name}: the connection ended without TLS close_notify: output may be truncated"
    assert check_message(strict, 18, text, stdout=data).startswith("--ignore-unexpected-eof accepts it")
    lenient, _ = run(accepting_tls, script, "--ignore-unexpected-eof", stdin=b"answer")
    assert lenient == Result(data, "", 0)


def test_row_68_reset_in_the_place_of_close_notify(accepting_tls: Accepting) -> None:
    """The data is printed, then 56; the option that accepts a truncation accepts this too."""

    def one(*options: str) -> tuple[str, Result]:
        seen = threading.Event()

        def script(conn: Peer) -> None:
            conn.send(b"all")
            conn.wait(seen)
            conn.reset()

        with accepting_tls.serve(script) as caller:
            with start(*accepting_tls.options, *options, caller.address) as program:
                program.read_until(b"all")
                seen.set()
                program.wait(DEADLINE_S)
                return caller.name, finish(program)

    name, result = one()
    check_message(result, 56, f"{name}: connection reset by peer while receiving", stdout=b"all")
    assert one("--ignore-unexpected-eof")[1] == Result(b"all", "", 0)


def test_row_69_what_is_behind_close_notify(accepting_tls: Accepting) -> None:
    """SEC-R9: it is not shown: 0 and a warning that counts it, and names the client."""

    def script(conn: Peer) -> None:
        conn.send_raw(conn.record(b"data") + close_notify(conn) + b"220 clear text again\r\n")
        conn.recv_until_eof()

    def close_notify(conn: Peer) -> bytes:
        sent: list[bytes] = []
        with edited(conn, lambda data: sent.append(data) or b""):  # type: ignore[func-returns-value]
            conn.close_notify()
        return b"".join(sent)

    result, caller = run(accepting_tls, script)
    warning = f"cfcat: warning: {caller.name}: 22 bytes behind the peer's end of TLS ignored\n"
    assert result == Result(b"data", warning, 0)


@pytest.mark.parametrize(("version", "key"), [("-tls1_2", "R"), ("-tls1_3", "K")], ids=["renegotiation", "KeyUpdate"])
def test_row_70_client_that_changes_keys(certs: CertSet, version: str, key: str) -> None:
    """Renegotiation (TLS 1.2) is refused, which s_client does not take; KeyUpdate (TLS 1.3) is answered."""
    way = make_accepting_way("tls1.3", certs)
    with start(*way.options, "127.0.0.1:0") as program:
        said = program.read_stderr_until("listening on ")
        address = (said + program.read_stderr_until("\n")).split()[-1]
        command: list[Argument] = ["openssl", "s_client", "-connect", address, version, "-CAfile", certs.ca]
        with client(command) as s_client:

            def enter(line: str) -> None:
                assert s_client.stdin is not None
                s_client.stdin.write(f"{line}\n".encode())
                s_client.stdin.flush()

            def await_line(line: str) -> None:
                assert s_client.stdout is not None
                assert line.encode() in iter(s_client.stdout.readline, b"")

            enter("before")
            program.read_until(b"before\n")
            enter(key)  # by itself: s_client looks at what one read gives it
            if key == "R":
                program.wait(DEADLINE_S)
            else:
                await_line("KEYUPDATE\n")
                program.say(b"under new keys\n")
                await_line("under new keys\n")
                enter("Q")
            s_client.wait(DEADLINE_S)
        result = finish(program)
    assert result.stdout == b"before\n"
    if key == "R":
        assert result.status == 35
        assert result.stderr.endswith(": the client asked to renegotiate, which is not done here\n")
    else:
        assert result.status == 0, result
