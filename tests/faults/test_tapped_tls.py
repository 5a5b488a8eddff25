"""The fault matrix for a tapped connection: records, alerts and ends after the handshake, of either side."""

from __future__ import annotations

import ssl
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.faults.forge import ALERT, DATA, HANDSHAKE, WARNING, Forger, edited, message
from tests.faults.tapped import Tapping, dial, listen, make_tapping
from tests.faults.test_tapped import Near, far_of, near, play, tls_way
from tests.faults.test_tls_records import BAD_RECORDS, HELLO_REQUEST, NEW_SESSION_TICKET, USER_CANCELED
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, Script, serve
from tests.helpers.program import Argument, start
from tests.pipe.tools import DEADLINE_S, pattern
from tests.program.test_listen_clients import client as running_client

__all__ = ["near", "tls_way"]

pytestmark = pytest.mark.one_python

FORGED = ("tls1.2", "tls1.3")


@pytest.fixture(params=FORGED)
def forged_way(request: pytest.FixtureRequest, certs: CertSet, tmp_path: Path) -> Tapping:
    """Those whose servers can be forged."""
    return make_tapping(request.param, certs, tmp_path)


def forged(way: Tapping, script: object) -> Script:
    """A server that sends records no library does."""

    def play(conn: Peer) -> None:
        way.expect_hello(conn)
        forger = Forger(conn, way.certs.server_context(version=way.server_version))
        conn.forget()
        script(conn, forger)  # type: ignore[operator]

    return play


def hears(way: Tapping, seen: list[bytes]) -> Script:
    """A client that notes all that comes."""

    def client(conn: Peer) -> None:
        way.secure_client(conn)
        seen.append(conn.recv_until_eof())

    return client


# -------------------------------------------------------------------------------------------- 66: bad records


@pytest.mark.parametrize("kind", BAD_RECORDS)
def test_row_66_bad_record_of_the_server(forged_way: Tapping, kind: str) -> None:
    """35 with OpenSSL's reason; what came before is there, nothing of or behind the record, and then a reset."""
    make, text = BAD_RECORDS[kind]
    seen: list[bytes] = []

    def script(conn: Peer, forger: Forger) -> None:
        forger.send(DATA, b"before")
        with suppress(ConnectionError):
            conn.send_raw(make(forger) + forger.seal(DATA, b"after"))
        conn.recv_until_eof()

    played = forged_way.play(hears(forged_way, seen), forged(forged_way, script), raw="both")
    played.check("server", 35, f"TLS failed: {text}")
    assert seen == [b"before"]
    assert played.client.ended == "reset"
    assert played.ends == [("server", "broken")]


def corrupted(conn: Peer) -> bytes:
    wire = bytearray(conn.record(b"secret"))
    wire[-1] ^= 1
    return bytes(wire)


RUBBISH = {"longer than any record": b"\x17\x03\x03\x9c\x40" + bytes(40_000), "clear text": b"QUIT\r\n" * 10}


@pytest.mark.parametrize("kind", ["bad MAC", *RUBBISH])
def test_row_66_bad_record_of_the_client(tls_way: Tapping, kind: str) -> None:
    """The same the other way round; it is named."""

    def client(conn: Peer) -> None:
        conn.send(b"before")
        bad = corrupted(conn) if kind == "bad MAC" else RUBBISH[kind]
        with suppress(ConnectionError):
            conn.send_raw(bad + conn.record(b"after"))
        conn.recv_until_eof()

    played = tls_way.play(client, Peer.recv_until_eof)
    played.check("client", 35, "TLS failed: ")
    assert far_of(played, "client").received == b"before"
    assert far_of(played, "client").ended == "reset"


# ------------------------------------------------------------------------------------- 67 to 71: the wrong ends


@pytest.mark.parametrize("sent", ["nothing", "some", "all"])
def test_row_67_truncation(tls_way: Tapping, near: Near, sent: str) -> None:
    """FIN without close_notify is passed on as that, behind all that came whole: 18, with the option 0."""
    data = {"nothing": b"", "some": pattern(100_000), "all": pattern(1 << 20)}[sent]

    def fault(conn: Peer) -> None:
        conn.send(data)
        if sent == "some":
            conn.send_raw(conn.record(b"lost")[:-1])
        conn.end()

    for options in ((), ("--ignore-unexpected-eof",)):
        played = play(tls_way, near, fault, Peer.recv_until_eof, *options)
        text = f"the {near} ended the connection without TLS close_notify: output may be truncated"
        played.check(near, 0 if options else 18, text, "" if options else "--ignore-unexpected-eof accepts it")
        assert far_of(played, near).received == data
        assert far_of(played, near).ended == "eof"
        assert played.ends[0] == (near, "cut")


def test_row_68_reset_in_the_place_of_close_notify(tls_way: Tapping, near: Near) -> None:
    """The data is there, then a reset: 56."""
    seen = threading.Event()

    def fault(conn: Peer) -> None:
        conn.send(b"all")
        conn.wait(seen)
        conn.reset()

    def other(conn: Peer) -> None:
        assert conn.recv_exactly(3) == b"all"
        seen.set()
        conn.recv_until_eof()

    played = play(tls_way, near, fault, other)
    assert played.report["status"] in (55, 56)
    assert far_of(played, near).ended == "reset"


def test_row_69_what_is_behind_close_notify(tls_way: Tapping, near: Near) -> None:
    """SEC-R9: it is not passed on, nor shown; the other direction goes on."""

    def fault(conn: Peer) -> None:
        conn.send(b"data")
        sent: list[bytes] = []
        with edited(conn, lambda data: sent.append(data) or b""):  # type: ignore[func-returns-value]
            conn.close_notify()
        conn.send_raw(b"".join(sent) + b"220 clear text again\r\n" * 1000)
        assert conn.recv_exactly(6) == b"answer"
        conn.end()

    def other(conn: Peer) -> None:
        assert conn.recv_until_eof() == b"data"
        conn.send(b"answer")

    played = play(tls_way, near, fault, other)
    played.check(near, 0)
    assert far_of(played, near).received == b"data"
    assert far_of(played, near).ended == "close_notify"


def test_row_70_server_that_wants_to_renegotiate(certs: CertSet, tmp_path: Path) -> None:
    """TLS 1.2's HelloRequest: it is refused; where the server insists, 35 and why."""
    way = make_tapping("tls1.2", certs, tmp_path)
    seen: list[bytes] = []

    def script(conn: Peer, forger: Forger) -> None:
        forger.send(DATA, b"before")
        forger.send(HANDSHAKE, message(HELLO_REQUEST))
        conn.recv()  # the alert no_renegotiation
        forger.alert(2, 40)
        conn.recv_until_eof()

    played = way.play(hears(way, seen), forged(way, script), raw="both")
    assert played.report["status"] == 35
    assert "renegotiate" in played.report["message"], played.report
    assert seen == [b"before"]


def test_row_70_server_that_changes_keys_and_sends_tickets(certs: CertSet, tmp_path: Path) -> None:
    """TLS 1.3: all of it is data to the client; new keys are answered."""
    way = make_tapping("tls1.3", certs, tmp_path)
    seen: list[bytes] = []

    def script(conn: Peer, forger: Forger) -> None:
        ticket = bytes(4) + bytes(4) + b"\x08" + bytes(8) + b"\0\x10" + bytes(16) + b"\0\0"
        for number in range(30):
            conn.send_raw(forger.key_update(answer=number % 2 == 0))
            forger.send(DATA, b"%02d " % number)
            forger.send(HANDSHAKE, message(NEW_SESSION_TICKET, ticket))
        forger.close_notify()
        conn.recv_until_eof()

    played = way.play(hears(way, seen), forged(way, script), raw="both")
    played.check("server", 0)
    assert seen == [b"".join(b"%02d " % number for number in range(30))]


@pytest.mark.parametrize(("version", "key"), [("-tls1_2", "R"), ("-tls1_3", "K")], ids=["renegotiation", "KeyUpdate"])
def test_row_70_client_that_changes_keys(certs: CertSet, tmp_path: Path, version: str, key: str) -> None:
    """Renegotiation is refused, which s_client does not take; KeyUpdate is answered."""
    way = make_tapping("tls1.3", certs, tmp_path)

    def server(conn: Peer) -> None:
        way.secure_server(conn)
        while data := conn.recv():
            conn.send(data)

    with serve(server) as served, start("--tap", "0", "--quiet", *way.options, served.address) as program:
        address = f"127.0.0.1:{listen(program)}"
        command: list[Argument] = ["openssl", "s_client", "-connect", address, version, "-CAfile", way.ca]
        with running_client([*command, "-verify_return_error"]) as s_client:

            def enter(line: str) -> None:
                assert s_client.stdin is not None
                s_client.stdin.write(f"{line}\n".encode())
                s_client.stdin.flush()

            def await_line(line: str) -> None:
                assert s_client.stdout is not None
                assert line.encode() in iter(s_client.stdout.readline, b"")

            enter("before")
            await_line("before\n")
            enter(key)  # by itself: s_client looks at what one read gives it
            if key == "R":
                program.read_stderr_until("the client asked to renegotiate, which is not done here\n")
            else:
                await_line("KEYUPDATE\n")
                enter("under new keys")
                await_line("under new keys\n")
                enter("Q")
            s_client.wait(DEADLINE_S)
        way.check_service(int(address.rpartition(":")[2]))
    assert served.received == (b"before\n" if key == "R" else b"before\nunder new keys\n")


def test_row_71_user_canceled(forged_way: Tapping) -> None:
    """The warning alert in front of close_notify is an end in order."""
    seen: list[bytes] = []

    def script(conn: Peer, forger: Forger) -> None:
        forger.send(DATA, b"data")
        forger.alert(WARNING, USER_CANCELED)
        forger.close_notify()
        conn.recv_until_eof()

    played = forged_way.play(hears(forged_way, seen), forged(forged_way, script), raw="both")
    played.check("server", 0)
    assert (seen, played.client.ended) == ([b"data"], "close_notify")


def test_row_63_fatal_alert_behind_the_handshake(forged_way: Tapping) -> None:
    """35 and its name; the client is reset."""
    seen: list[bytes] = []

    def script(conn: Peer, forger: Forger) -> None:
        forger.send(DATA, b"data")
        forger.alert(2, 80)
        conn.recv_until_eof()

    played = forged_way.play(hears(forged_way, seen), forged(forged_way, script), raw="both")
    played.check("server", 35, "TLS failed: the peer sent the alert internal error")
    assert (seen, played.client.ended) == ([b"data"], "reset")


# --------------------------------------------------------------------- what a peer chooses, and a terminal might obey

EVIL = "\x1b]0;pwn\x07\x9b2J"


def test_names_and_protocols_of_a_client_are_escaped(certs: CertSet, tmp_path: Path) -> None:
    """ALPN and server name with controls in them, on the display, under -v and in the log; lists without end."""
    log = tmp_path / "log"
    offers = [b"\x1b[2J", b"h2\r\nx", b"imap"] + [b"p%05d" % number for number in range(2000)]

    def server(conn: Peer) -> None:
        context = certs.server_context()
        context.set_alpn_protocols(["\x1b[2J"])
        conn.start_tls(context)
        conn.send(conn.recv_until(b"\n"))

    with serve(server) as served:
        options: list[Argument] = ["--cacert", certs.ca, "--ca-out", tmp_path / "ca", "-vv", "--log", log, "--once"]
        with start("--tap", "0", *options, served.address) as program:
            peer = dial(listen(program))

            def client(conn: Peer) -> None:
                context = ssl.create_default_context(cafile=str(tmp_path / "ca"))
                context._set_alpn_protocols(b"".join(bytes((len(name),)) + name for name in offers))  # type: ignore[attr-defined]
                conn.start_tls(context)
                assert conn.alpn() == "\x1b[2J"
                conn.send(EVIL.encode() + b"\n")
                assert conn.recv_until(b"\n") == EVIL.encode() + b"\n"

            peer.run(client)
            stdout, stderr = program.communicate(timeout=DEADLINE_S)
    shown = (stdout + program.seen_stderr + stderr).decode() + log.read_text()
    assert r"ALPN \x1b[2J" in shown
    assert [line for line in shown.split("\n") if not line.isprintable()] == []


def test_a_certificate_that_a_terminal_might_obey_is_escaped(certs: CertSet, tmp_path: Path) -> None:
    """In the message, and on the display."""
    from tests.faults.odd_certs import issue, presenting

    way = make_tapping("tls1.3", certs, tmp_path)
    context = presenting(tmp_path, issue(EVIL, issue(EVIL, ca=True)))

    def client(conn: Peer) -> None:
        with pytest.raises(ssl.SSLError):
            conn.start_tls(way.trust())

    played = way.play(client, partial(Peer.start_tls, context=context, may_fail=True), raw="both")
    played.check("server", 60, "certificate not trusted: ", played.report["hint"])
    assert [line for line in played.stderr.split("\n") if not line.isprintable()] == []


def test_row_66_an_alert_that_cuts_a_record(tls_way: Tapping) -> None:
    """A client that breaks off in the middle of a record, with a clear alert behind it: 35, nothing of it goes on."""

    def client(conn: Peer) -> None:
        conn.send(b"whole")
        conn.send_raw(conn.record(b"secret")[:-4] + bytes((ALERT, 3, 3, 0, 2, 1, 0)))
        conn.end()
        conn.recv_until_eof()

    played = tls_way.play(client, Peer.recv_until_eof)
    played.check("client", 35, "TLS failed: decryption failed or bad record mac")
    assert far_of(played, "client").received == b"whole"
