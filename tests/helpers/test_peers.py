"""The scripted peers, against clients that are known to work: plain sockets, Python's ssl and openssl."""

from __future__ import annotations

import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.helpers.certs import CertSet, Kind
from tests.helpers.peers import Peer, Server, blackhole, refusing, serve

TLS_VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@contextmanager
def client(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection((server.host, server.port), timeout=5) as sock:
        yield sock


def read_all(sock: socket.socket) -> bytes:
    data = bytearray()
    while chunk := sock.recv(1 << 16):
        data += chunk
    return bytes(data)


def quits(conn: Peer) -> None:
    conn.send(b"220 hello\r\n")
    conn.recv_until(b"\n")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_dialog_and_orderly_end(host: str) -> None:
    """A script that returns sends a FIN, and what the client says after that is recorded too."""
    with serve(quits, host=host) as server, client(server) as sock:
        assert sock.recv(100) == b"220 hello\r\n"
        sock.sendall(b"QUIT\r\n")
        assert read_all(sock) == b""
        sock.sendall(b"and more")
    assert (server.received, server.ended, server.connections) == (b"QUIT\r\nand more", "eof", 1)


def test_reading_takes_no_more_than_asked() -> None:
    def script(conn: Peer) -> None:
        assert conn.recv_exactly(2) == b"ab"
        assert conn.recv_until(b"\n") == b"c\n"
        assert conn.recv_until_eof() == b"rest"
        assert conn.ended == "eof"
        conn.send(b"after EOF")

    with serve(script) as server, client(server) as sock:
        sock.sendall(b"abc\nrest")
        sock.shutdown(socket.SHUT_WR)
        assert server.saw_eof.wait(5)
        assert read_all(sock) == b"after EOF"


def test_reset_by_the_script() -> None:
    # It may come so early that connecting already fails with it.
    with serve(Peer.reset) as server, pytest.raises(ConnectionResetError), client(server) as sock:
        sock.recv(1)


def test_reset_by_the_client_is_recorded() -> None:
    def script(conn: Peer) -> None:
        assert conn.recv_exactly(1) == b"x"
        assert conn.recv_until_eof() == b""

    with serve(script) as server, client(server) as sock:
        sock.sendall(b"x")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert server.saw_end.is_set()
    assert not server.saw_eof.is_set()
    assert server.ended == "reset"


def test_what_a_script_raises_fails_the_test() -> None:
    def script(conn: Peer) -> None:
        conn.recv_exactly(5)

    wrong = pytest.raises(AssertionError, match=r"eof after 2 of 5 bytes: b'ab'")
    with wrong, serve(script) as server:
        with client(server) as sock:
            sock.sendall(b"ab")
            sock.shutdown(socket.SHUT_WR)
            with pytest.raises(ConnectionResetError):
                sock.recv(1)


def test_script_deadline() -> None:
    late = pytest.raises(AssertionError, match="TimeoutError")
    with late, serve(Peer.recv_until_eof, timeout_s=0.1) as server, client(server) as sock:
        with pytest.raises(ConnectionResetError):
            sock.recv(1)


def test_connection_left_open_fails_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.helpers.peers._GRACE_S", 0.1)
    with socket.socket() as sock:
        with pytest.raises(AssertionError, match="not closed"), serve(Peer.end) as server:
            sock.connect(("127.0.0.1", server.port))
        assert sock.recv(1) == b""  # the server did not leave it open either


def test_the_tests_own_failure_comes_first() -> None:
    """And it comes at once, though a script is still waiting."""
    with socket.socket() as sock:
        wrong = pytest.raises(KeyError)
        with wrong as caught, serve(Peer.recv_until_eof) as server:
            sock.connect(("127.0.0.1", server.port))
            assert server.accepted.wait(5)
            raise KeyError
    assert "script not finished" in "".join(caught.value.__notes__)


def test_several_connections() -> None:
    def script(conn: Peer) -> None:
        conn.send(conn.recv_until(b"\n"))

    with serve(script) as server:
        for line in (b"one\n", b"two\n"):
            with client(server) as sock:
                sock.sendall(line)
                assert read_all(sock) == line
    assert server.connections == 2
    assert [peer.received for peer in server.peers] == [b"one\n", b"two\n"]


def test_connection_gone_before_the_block_ends_is_still_served() -> None:
    with serve(Peer.recv_until_eof) as server, client(server) as sock:
        sock.sendall(b"x")
    assert (server.connections, server.received) == (1, b"x")


def test_hang_until_released() -> None:
    def script(conn: Peer) -> None:
        conn.hang()
        conn.send(b"released")

    with serve(script) as server, client(server) as sock:
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.settimeout(5)
        server.release()
        assert read_all(sock) == b"released"


def test_quiet_sees_a_fin() -> None:
    quiet = []
    ended = threading.Event()

    def script(conn: Peer) -> None:
        quiet.append(conn.quiet(0.05))
        conn.send(b"?")
        conn.wait(ended)
        quiet.append(conn.quiet(5))

    with serve(script) as server, client(server) as sock:
        assert sock.recv(1) == b"?"
        sock.shutdown(socket.SHUT_WR)
        ended.set()
    assert quiet == [True, False]


def test_fill_stops_where_the_client_does_not_read() -> None:
    filled = []
    stalled = threading.Event()

    def script(conn: Peer) -> None:
        filled.append(conn.fill(stall_s=0.1))
        stalled.set()

    with serve(script) as server, client(server) as sock:
        assert stalled.wait(5)
        assert len(read_all(sock)) == filled[0] > 1 << 16


def test_refusing() -> None:
    with refusing() as port, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_blackhole(host: str) -> None:
    with blackhole(host) as port, pytest.raises(TimeoutError):
        socket.create_connection((host, port), timeout=0.1)


# ---------------------------------------------------------------------------------------------------- TLS


@pytest.mark.parametrize("version", TLS_VERSIONS)
def test_tls_half_closes_both_ways(certs: CertSet, version: ssl.TLSVersion) -> None:
    """close_notify from either side ends one direction only; the FIN is another matter."""
    heard = threading.Event()

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context(version=version))
        assert (conn.sni, conn.tls_version) == ("localhost", version.name.replace("_", ".", 1))
        assert conn.recv_exactly(5) == b"first"
        conn.close_notify()
        assert conn.recv_until_eof() == b"second" * 10_000
        assert conn.ended == "close_notify"
        assert not conn.saw_fin.is_set()
        heard.set()

    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = certs.client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with serve(script) as server, client(server) as sock:

        def pump(call: object) -> None:
            while True:
                try:
                    assert callable(call)
                    call()
                except ssl.SSLWantReadError:
                    sock.sendall(outgoing.read())
                    incoming.write(sock.recv(1 << 16))
                else:
                    sock.sendall(outgoing.read())
                    return

        pump(tls.do_handshake)
        pump(lambda: tls.write(b"first"))
        pump(lambda: tls.read(1))  # b"": the peer's close_notify
        pump(lambda: tls.write(b"second" * 10_000))
        pump(tls.unwrap)
        assert heard.wait(5)
    assert server.ended == "close_notify"
    assert server.saw_fin.is_set()


@pytest.mark.parametrize("version", TLS_VERSIONS)
@pytest.mark.parametrize("truncated", [False, True])
def test_tls_end(certs: CertSet, version: ssl.TLSVersion, truncated: bool) -> None:
    """A script that returns says close_notify; `end()` does not."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context(version=version))
        conn.send(b"hello")
        if truncated:
            conn.end()

    with serve(script) as server, client(server) as sock:
        context = certs.client_context()
        with context.wrap_socket(sock, server_hostname="127.0.0.1", suppress_ragged_eofs=False) as tls:
            assert tls.recv(5) == b"hello"
            if truncated:
                with pytest.raises(ssl.SSLError, match=r"(?i)EOF"):
                    tls.recv(1)
            else:
                assert tls.recv(1) == b""
    # OpenSSL's client answers truncation with an alert
    assert server.ended == ("tls_error" if truncated else "eof")
    assert server.peers[0].sni is None  # an address is no server name


def test_tls_raw_bytes(certs: CertSet) -> None:
    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        conn.send_raw(b"clear text")

    with serve(script) as server, client(server) as sock:
        with certs.client_context().wrap_socket(sock, server_hostname="localhost") as tls:
            with pytest.raises(ssl.SSLError, match=r"(?i)wrong.version|record"):
                tls.recv(1)


@pytest.mark.parametrize(
    ("kind", "code"),
    [("wrong_host", 62), ("untrusted", 20), ("expired", 10), ("self_signed", 18), ("cn_only", 62)],
)
def test_tls_refused_certificate(certs: CertSet, kind: Kind, code: int) -> None:
    """The client refuses each certificate for its own reason; the peer records the alert."""

    def script(conn: Peer) -> None:
        # TLS 1.2: in 1.3 the server's handshake is done before the client has looked at the certificate
        assert not conn.start_tls(certs.server_context(kind, ssl.TLSVersion.TLSv1_2), may_fail=True)
        assert conn.tls_error is not None

    context = certs.client_context()
    context.hostname_checks_common_name = False
    with serve(script) as server, client(server) as sock:
        with pytest.raises(ssl.SSLCertVerificationError) as caught:
            context.wrap_socket(sock, server_hostname="localhost")
    assert caught.value.verify_code == code
    assert server.ended == "tls_error"


def test_upgrade_after_a_dialog(certs: CertSet) -> None:
    """openssl's client, which sends close_notify and FIN; the hello right behind the dialog is not eaten."""

    def script(conn: Peer) -> None:
        conn.send(b"220 hello\r\n")
        assert conn.recv_until(b"\n").startswith(b"EHLO")
        conn.send(b"250-me\r\n250 STARTTLS\r\n")
        assert conn.recv_until(b"\n") == b"STARTTLS\r\n"
        conn.send(b"220 go\r\n")
        conn.start_tls(certs.server_context())
        assert conn.recv_until(b"\n") == b"ping\n"
        conn.send(b"pong\n")

    with serve(script) as server:
        command = ["openssl", "s_client", "-quiet", "-verify_return_error", "-starttls", "smtp"]
        command += ["-CAfile", str(certs.ca), "-connect", server.address]
        run = subprocess.run(command, input=b"ping\n", capture_output=True, check=False, timeout=10)
    assert run.stdout.endswith(b"pong\n"), run.stderr
    assert server.received.endswith(b"STARTTLS\r\nping\n")


@pytest.mark.parametrize("version", TLS_VERSIONS)
def test_fill_under_tls_leaves_no_record_in_pieces(certs: CertSet, version: ssl.TLSVersion) -> None:
    stalled = threading.Event()

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context(version=version))
        conn.fill(stall_s=0.1)
        stalled.set()
        conn.send(b"the end")

    with serve(script) as server, client(server) as sock:
        with certs.client_context().wrap_socket(sock, server_hostname="localhost") as tls:
            assert stalled.wait(5)
            assert read_all(tls).lstrip(b"\0") == b"the end"
