"""Rows 66 to 72: records, alerts and ends after the handshake."""

from __future__ import annotations

import re
import ssl
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from cfcat import connect, make_tls_context
from tests.faults.forge import ALERT, DATA, HANDSHAKE, WARNING, Forger, forging, message
from tests.faults.ways import at_once, check_message, upgrade
from tests.helpers.aio import run
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, serve
from tests.helpers.program import Result, cfcat, finish, start
from tests.pipe.tools import DEADLINE_S, Transport, halted, pattern, until_arrived

USER_CANCELED = 90
CLOSE_NOTIFY = b"\1\0"
HELLO_REQUEST, NEW_SESSION_TICKET, CERTIFICATE_REQUEST = 0, 4, 13
TRUNCATED = "the connection ended without TLS close_notify: output may be truncated"
ACCEPTS = "--ignore-unexpected-eof accepts it"
KEEPS = "--shutdown never keeps our end from the server"  # which has come before
LENIENT = "--ignore-unexpected-eof"


# ------------------------------------------------------------------------------------------ row 66: bad records


def corrupted(forger: Forger) -> bytes:
    record = bytearray(forger.seal(DATA, b"secret"))
    record[-1] ^= 1
    return bytes(record)


BAD_RECORDS: dict[str, tuple[Callable[[Forger], bytes], str]] = {
    "bad MAC": (corrupted, "decryption failed or bad record mac"),
    "16 KiB and a byte": (lambda forger: forger.seal(DATA, bytes((1 << 14) + 1)), "data length too long"),
    "longer than any record": (lambda forger: forger.seal(DATA, bytes(40_000)), "packet length too long"),
    "empty ones without end": (
        lambda forger: b"".join(forger.seal(DATA, b"") for _ in range(1000)),
        "record too small",
    ),
    "unknown content type": (lambda forger: forger.seal(99, b"x"), "(bad record type|unexpected record)"),
    "clear text": (lambda forger: b"220 clear text again\r\n", "wrong version number"),
}


def test_row_66_bad_record(tls_way: Transport) -> None:
    """35 with OpenSSL's reason; what came before is printed, and nothing of or behind the record."""

    def script(kind: str, conn: Peer, forger: Forger) -> None:
        forger.send(DATA, b"before")
        conn.send_raw(BAD_RECORDS[kind][0](forger) + forger.seal(DATA, b"after"))
        conn.recv_until_eof()

    def one(kind: str) -> tuple[str, Result]:
        with forging(tls_way, partial(script, kind)) as server, start(*tls_way.options, server.address) as program:
            program.wait(DEADLINE_S)  # with stdin open
            result = finish(program)
        assert server.ended != "close_notify"
        return server.name, result

    for kind, (address, result) in zip(BAD_RECORDS, at_once(partial(one, kind) for kind in BAD_RECORDS), strict=True):
        hint = check_message(result, 35, f"{address}: TLS failed: ", stdout=b"before")
        assert hint == ""
        assert re.search(BAD_RECORDS[kind][1] + "$", result.stderr), kind


def test_row_66_odd_records_that_are_allowed(tls_way: Transport) -> None:
    """As long as a record may be, and a few empty ones: data."""

    def script(conn: Peer, forger: Forger) -> None:
        forger.send(DATA, pattern(1 << 14))
        for _ in range(10):
            forger.send(DATA, b"")
        forger.send(DATA, b"end")
        forger.close_notify()
        conn.recv_until_eof()

    with forging(tls_way, script) as server:
        result = cfcat(*tls_way.options, server.address)
    assert result == Result(pattern(1 << 14) + b"end", "", 0)


# ------------------------------------------------------------------------------- rows 67 to 69: the wrong end


@pytest.mark.parametrize("sent", ["nothing", "some", "all"])
def test_row_67_truncation(tls_way: Transport, sent: str) -> None:
    """FIN without close_notify: all that came whole is printed, then 18 and the option that accepts it; with it 0."""
    data = {"nothing": b"", "some": pattern(100_000), "all": pattern(1 << 20)}[sent]

    def script(conn: Peer) -> None:
        conn.send(data)
        if sent == "some":
            conn.send_raw(conn.record(b"lost")[:-1])
        conn.end()

    with tls_way.serve(script) as server:
        strict, lenient = at_once(
            partial(cfcat, *tls_way.options, *options, server.address, stdin=b"question")
            for options in ((), (LENIENT,))
        )
    assert check_message(strict, 18, f"{server.name}: {TRUNCATED}", stdout=data) == ACCEPTS
    assert lenient == Result(data, "", 0)


def test_row_67_truncation_after_our_own_end(tls_way: Transport) -> None:
    """It counts as well, and with stdin open."""

    def answer_and_cut(conn: Peer) -> None:
        conn.recv_until_eof()
        conn.send(b"answer")
        conn.end()

    with tls_way.serve(answer_and_cut) as server:
        result = cfcat(*tls_way.options, server.address)
    assert check_message(result, 18, f"{server.name}: {TRUNCATED}", stdout=b"answer") == f"{ACCEPTS}; {KEEPS}"
    with tls_way.serve(Peer.end) as server, start(*tls_way.options, server.address) as program:
        assert program.wait(DEADLINE_S) == 18


@pytest.mark.parametrize("open_stdin", [False, True], ids=["stdin ended", "stdin open"])
def test_row_68_reset_in_the_place_of_close_notify(tls_way: Transport, open_stdin: bool) -> None:
    """The data is printed, then 56; the option that accepts a truncation accepts this too."""

    def one(*options: str) -> tuple[str, Result]:
        seen = threading.Event()

        def script(conn: Peer) -> None:
            conn.send(b"all")
            if not open_stdin:
                conn.recv_until_eof()
            conn.wait(seen)
            conn.reset()

        with tls_way.serve(script) as server, start(*tls_way.options, *options, server.address) as program:
            if not open_stdin:
                program.end_input()
            program.read_until(b"all")
            seen.set()
            program.wait(DEADLINE_S)
            return server.name, finish(program)

    address, result = one()
    hint = check_message(result, 56, f"{address}: connection reset by peer while receiving", stdout=b"all")
    assert hint == ("" if open_stdin else KEEPS)
    assert one(LENIENT)[1] == Result(b"all", "", 0)


def test_row_68_reset_that_our_own_end_finds_out(tls_way: Transport) -> None:
    """Nobody reads stdout, so close_notify meets it: nothing of ours is lost by that, and the option accepts it.

    An end that is held would not be sent while stdout is full.
    """
    gone = threading.Event()

    def script(conn: Peer) -> None:
        conn.fill()
        conn.reset()
        gone.set()

    def one(*options: str) -> Result:
        gone.clear()
        now = ("-v", "--shutdown", "now")
        with tls_way.serve(script) as server, start(*now, *tls_way.options, *options, server.address) as program:
            assert gone.wait(DEADLINE_S)
            program.end_input()
            program.read_stderr_until("stdin ended")
            return finish(program)

    strict, lenient = one(), one(LENIENT)
    assert strict.status == 55
    assert strict.stderr.endswith(": connection reset by peer while sending\n")
    assert lenient.status == 0
    assert "reset" not in lenient.stderr
    for result in (strict, lenient):
        assert len(result.stdout) > 1 << 16
        assert not result.stdout.strip(b"\0")


def test_row_69_what_is_behind_close_notify(tls_way: Transport) -> None:
    """SEC-R9: neither clear text nor records of the same connection are shown: 0 and a warning that counts them."""

    def clear(conn: Peer, forger: Forger) -> None:
        forger.send(DATA, b"data")
        conn.send_raw(forger.seal(ALERT, CLOSE_NOTIFY) + b"220 clear text again\r\n")
        conn.recv_until_eof()

    def sealed(conn: Peer, forger: Forger) -> None:
        forger.send(DATA, b"data")
        conn.send_raw(forger.seal(ALERT, CLOSE_NOTIFY) + forger.seal(DATA, b"more"))
        conn.recv_until_eof()

    for script, count in ((clear, 22), (sealed, len(b"more") + (33 - 4 if tls_way.name == "tls1.2" else 22))):
        with forging(tls_way, script) as server:
            result = cfcat(*tls_way.options, server.address)
        warning = f"cfcat: warning: {server.name}: {count} bytes behind the peer's end of TLS ignored\n"
        assert result == Result(b"data", warning, 0)


# ------------------------------------------------------------------------ rows 70 and 71: what a server may send


def test_row_70_renegotiation_is_refused(certs: CertSet) -> None:
    """HelloRequest, TLS 1.2: answered with a warning (no_renegotiation), and the data goes on."""

    def script(conn: Peer, forger: Forger) -> None:
        forger.send(HANDSHAKE, message(HELLO_REQUEST))
        forger.send(DATA, b"data,")
        assert conn.recv() == b""
        assert conn.tls_error is not None  # a server of OpenSSL's takes it so
        assert conn.tls_error.reason == "NO_RENEGOTIATION"
        forger.send(DATA, b"more")
        forger.close_notify()

    way = Transport("tls1.2", ssl.TLSVersion.TLSv1_2, certs)
    with forging(way, script) as server, start(*way.options, server.address) as program:
        program.read_until(b"more")
        assert finish(program) == Result(b"data,more", "", 0)


def test_row_70_renegotiation_of_a_server_that_is_gone(certs: CertSet) -> None:
    """Our refusal finds the connection reset: the data that came along is printed all the same."""
    stopped, gone = threading.Event(), threading.Event()

    def script(conn: Peer, forger: Forger) -> None:
        forger.send(DATA, b"first,")
        conn.wait(stopped)
        conn.send_raw(forger.seal(HANDSHAKE, message(HELLO_REQUEST)) + forger.seal(DATA, b"second"))
        until_arrived(conn)
        conn.reset()
        gone.set()

    way = Transport("tls1.2", ssl.TLSVersion.TLSv1_2, certs)
    with forging(way, script) as server, start(*way.options, server.address) as program:
        program.read_until(b"first")
        with halted(program):
            stopped.set()
            assert gone.wait(DEADLINE_S)
        program.wait(DEADLINE_S)
        result = finish(program)
    check_message(result, 55, f"{server.name}: connection reset by peer while sending", stdout=b"first,second")


MODERN = pytest.mark.parametrize("tls_way", ["tls1.3", "upgraded"], indirect=True)


@MODERN
def test_row_70_certificate_request_after_the_handshake(tls_way: Transport) -> None:
    """TLS 1.3: with --cert it is answered, without it is refused by an alert: 35."""
    signatures = b"\0\x0d\0\4\0\2\4\3"  # extension signature_algorithms: ecdsa_secp256r1_sha256

    def script(conn: Peer, forger: Forger) -> None:
        request = message(CERTIFICATE_REQUEST, b"\1c\0\x08" + signatures)
        records = [(DATA, b"data"), (HANDSHAKE, request), (DATA, b"more"), (ALERT, CLOSE_NOTIFY)]
        conn.send_raw(b"".join(forger.seal(*record) for record in records))
        conn.recv_until_eof()

    with forging(tls_way, script) as server:
        result = cfcat(*tls_way.options, server.address)
        answered = cfcat(*tls_way.options, "--cert", tls_way.certs.client.pem, server.address)
    assert answered == Result(b"datamore", "", 0)
    check_message(result, 35, f"{server.name}: TLS failed: unexpected message", stdout=b"data")


@MODERN
def test_row_70_certificate_asked_for_in_a_session(tls_way: Transport) -> None:
    """A real server asks in the middle of it, and gets the certificate."""

    def script(conn: Peer) -> None:
        assert conn._tls is not None
        conn.send(b"before,")
        assert conn.recv_exactly(1) == b"?"
        conn._tls.verify_client_post_handshake()
        conn.send(b"asked,")
        conn.recv_exactly(1)
        conn.send(repr(conn.peer_certificate().get("subject")).encode())
        conn.recv_until_eof()

    def context() -> ssl.SSLContext:
        made = tls_way.certs.server_context(version=tls_way.version)
        made.load_verify_locations(tls_way.certs.ca)
        made.verify_mode = ssl.CERT_REQUIRED
        made.post_handshake_auth = True
        return made

    def secured(conn: Peer) -> None:
        if tls_way.name == "upgraded":
            upgrade(conn)
        conn.start_tls(context())
        script(conn)

    with serve(secured) as server:
        with start(*tls_way.options, "--cert", tls_way.certs.client.pem, server.address) as program:
            program.say(b"?")
            program.read_until(b"asked,")
            program.say(b"!")
            program.end_input()
            result = finish(program)
    assert (result.stderr, result.status) == ("", 0)
    assert b"client" in result.stdout


@MODERN
@pytest.mark.parametrize("answer", [False, True], ids=["", "to be answered"])
def test_row_70_a_thousand_key_updates(tls_way: Transport, answer: bool) -> None:
    """The data before and behind them is read, and ours arrives under the keys that they ask for."""

    def script(conn: Peer, forger: Forger) -> None:
        forger.send(DATA, b"before,")
        conn.send_raw(b"".join(forger.key_update(answer=answer) for _ in range(1000)))
        forger.send(DATA, b"after")
        assert conn.recv_until_eof() == b"question"
        assert conn.ended == "close_notify"
        forger.close_notify()

    with forging(tls_way, script) as server, start(*tls_way.options, server.address) as program:
        program.read_until(b"after")
        program.say(b"question")
        program.end_input()
        assert finish(program) == Result(b"before,after", "", 0)


@MODERN
def test_row_70_a_thousand_tickets(tls_way: Transport) -> None:
    """They are read and dropped."""
    ticket = message(NEW_SESSION_TICKET, bytes(4) + bytes(4) + b"\1n" + b"\0\4tick" + b"\0\0")

    def script(conn: Peer, forger: Forger) -> None:
        forger.send(DATA, b"before,")
        conn.send_raw(b"".join(forger.seal(HANDSHAKE, ticket) for _ in range(1000)))
        forger.send(DATA, b"after")
        forger.close_notify()
        conn.recv_until_eof()

    with forging(tls_way, script) as server:
        assert cfcat(*tls_way.options, server.address) == Result(b"before,after", "", 0)


def test_row_71_user_canceled_before_close_notify(tls_way: Transport) -> None:
    """A warning that announces the end: in order."""

    def script(conn: Peer, forger: Forger) -> None:
        forger.send(DATA, b"data")
        forger.alert(WARNING, USER_CANCELED)
        forger.close_notify()
        conn.recv_until_eof()

    with forging(tls_way, script) as server:
        assert cfcat(*tls_way.options, server.address) == Result(b"data", "", 0)


# ---------------------------------------------------------------------------------------- row 72: sizes of writes

MANY = 40_000


def test_row_72_many_writes_of_one_byte(certs: CertSet) -> None:
    """The time grows with their number, not with its square; so does that of reading as many records."""

    def echo(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        data = conn.recv_until_eof()
        conn.send_raw(b"".join(conn.record(b"x") for _ in data))

    async def main(count: int) -> float:
        context = make_tls_context(cacert=certs.ca)
        with serve(echo) as server:
            async with connect(server.address, secure_transport="on", tls=context, allow_half_open=True) as socket:
                await socket.opened
                writer = socket.writable.get_writer()
                began = time.process_time()
                for _ in range(count):
                    writer.write(b"x")
                await writer.close()
                assert b"".join([chunk async for chunk in socket.readable]) == b"x" * count
        assert server.received == b"x" * count
        return time.process_time() - began

    few = run(main(MANY // 8))
    assert run(main(MANY)) < 24 * few  # 64 where it is the square


@pytest.mark.parametrize("size", [(1 << 14) - 1, 1 << 14, (1 << 14) + 1])
def test_row_72_writes_around_the_size_of_a_record(tls_way: Transport, size: int) -> None:
    """A byte less, as many, a byte more: what is echoed is what was sent."""
    data = pattern(size)

    def script(conn: Peer) -> None:
        conn.send(conn.recv_exactly(size))
        conn.recv_until_eof()

    with tls_way.serve(script) as server:
        assert cfcat(*tls_way.options, server.address, stdin=data) == Result(data, "", 0)
