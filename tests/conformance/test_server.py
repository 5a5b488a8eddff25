"""The scripted server, seen from plain sockets: what cfcat is measured with must itself be right."""

from __future__ import annotations

import select
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.conformance.data import Event, Json, decode, encode
from tests.conformance.network import is_public
from tests.conformance.runner import Certificates
from tests.conformance.server import Server
from tests.conformance.signals import Signals

DEADLINE_S = 10.0
ACCEPT = {"do": "accept"}
HANDSHAKE = {"do": "tls_handshake", "cert": "good"}
TO_EOF = {"do": "recv_until_eof"}

Serve = Callable[..., "Playing"]


class Playing:
    """A server that plays a script, and a client's socket to it."""

    def __init__(self, server: Server, signals: Signals) -> None:
        self.server = server
        self.signals = signals

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=DEADLINE_S)

    def saw(self) -> list[Event]:
        """What it saw, when the script has come to its end."""
        assert self.server.finished.wait(DEADLINE_S)
        assert self.server.error is None
        return self.server.saw

    def saw_when_stopped(self) -> list[Event]:
        self.server.stop()
        return self.saw()


@pytest.fixture
def serve(certificates: Certificates) -> Iterator[Serve]:
    """Start servers with `serve(step, …)`; they end with the test."""
    servers = []

    def start(*steps: dict[str, Json]) -> Playing:
        signals = Signals()
        server = Server(steps, certificates.server_context, signals)
        servers.append(server)
        server.start()
        return Playing(server, signals)

    yield start
    for server in servers:
        server.stop()
        server.close()


@contextmanager
def tls_client(playing: Playing, certificates: Certificates, name: str = "localhost") -> Iterator[ssl.SSLSocket]:
    context = certificates.client_context()
    with playing.connect() as sock, context.wrap_socket(sock, server_hostname=name) as tls:
        yield tls


def test_recv_leaves_the_rest_unread(serve: Serve) -> None:
    """`recv` takes exactly its bytes; closing on the rest is then a reset for the client."""
    playing = serve(ACCEPT, {"do": "recv", "n": 3}, {"do": "close"})
    with playing.connect() as client:
        client.sendall(b"abcdef")
        assert playing.saw() == [ACCEPT, {"do": "recv", "data": "abc"}]
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_recv_that_ends_early_says_how(serve: Serve) -> None:
    playing = serve(ACCEPT, {"do": "recv", "n": 3})
    with playing.connect() as client:
        client.sendall(b"ab")
        client.shutdown(socket.SHUT_WR)
        assert playing.saw() == [ACCEPT, {"do": "recv", "data": "ab", "ended": "eof"}]


def test_reset_is_seen_and_stays(serve: Serve) -> None:
    playing = serve(ACCEPT, TO_EOF, {"do": "probe", "ms": 50})
    with playing.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert playing.saw()[1:] == [
        {"do": "recv_until_eof", "data": "", "ended": "reset"},
        {"do": "probe", "saw": "reset"},
    ]


def test_reset_step_resets(serve: Serve) -> None:
    playing = serve(ACCEPT, {"do": "recv", "n": 1}, {"do": "reset"})
    with playing.connect() as client:
        client.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_shutdown_write_is_a_half_close(serve: Serve) -> None:
    playing = serve(ACCEPT, {"do": "send", "data": "x"}, {"do": "shutdown_write"}, TO_EOF)
    with playing.connect() as client:
        assert client.recv(10) == b"x"
        assert client.recv(10) == b""
        client.sendall(b"still here")
    assert playing.saw()[1] == {"do": "recv_until_eof", "data": "still here", "ended": "eof"}


def test_probe(serve: Serve) -> None:
    """Nothing, data and an end, in turn."""
    probe = {"do": "probe", "ms": 100}
    playing = serve(ACCEPT, probe, {"do": "signal", "name": "quiet"}, {**probe, "ms": 9000}, {**probe, "ms": 9000})
    with playing.connect() as client:
        assert playing.signals.wait("quiet")
        client.sendall(b"now")
        assert client.getpeername()
        client.shutdown(socket.SHUT_WR)
        assert [entry["saw"] for entry in playing.saw()[1:]] == ["nothing", {"data": "now"}, "eof"]


def test_echo_while_both_sides_are_busy(serve: Serve) -> None:
    data = decode({"pattern": 4 << 20})
    playing = serve(ACCEPT, {"do": "echo"}, {"do": "shutdown_write"})
    with playing.connect() as client:
        client.setblocking(False)
        sent, back = 0, bytearray()
        while len(back) < len(data):
            readable, writable, _ = select.select([client], [client] if sent < len(data) else [], [], DEADLINE_S)
            assert readable or writable
            if writable:
                sent += client.send(data[sent:])
            if readable:
                back += client.recv(1 << 16)
        client.shutdown(socket.SHUT_WR)
        assert back == data
    assert playing.saw()[1] == {"do": "echo", "data": encode(data), "ended": "eof"}


def test_refuse_keeps_the_port_and_refuses(serve: Serve) -> None:
    playing = serve({"do": "refuse"})
    with pytest.raises(ConnectionRefusedError):
        playing.connect()
    assert playing.saw() == []


@pytest.mark.parametrize(
    ("step", "entry"),
    [
        (TO_EOF, {"do": "recv_until_eof", "data": "ab", "ended": "still_waiting"}),
        ({"do": "recv", "n": 9}, {"do": "recv", "data": "ab", "ended": "still_waiting"}),
        ({"do": "echo"}, {"do": "echo", "data": "ab", "ended": "still_waiting"}),
        ({"do": "wait", "name": "never"}, {"do": "wait", "ended": "still_waiting"}),
        (HANDSHAKE, {"do": "tls_handshake", "result": "still_waiting"}),
        ({"do": "accept", "on": "b"}, {"do": "accept", "on": "b", "result": "none"}),
        ({"do": "sleep_ms", "ms": 60_000}, None),
        ({"do": "probe", "ms": 60_000, "on": "quiet"}, {"do": "probe", "on": "quiet", "saw": "nothing"}),
    ],
    ids=lambda value: value["do"] if isinstance(value, dict) else "",
)
def test_a_stopped_step_records_what_it_had(step: dict[str, Json], entry: Event | None, serve: Serve) -> None:
    playing = serve({**ACCEPT, "on": "quiet"}, ACCEPT, {"do": "recv", "n": 1}, {"do": "signal", "name": "up"}, step)
    with playing.connect(), playing.connect() as client:
        client.sendall(b"!")
        assert playing.signals.wait("up")
        if step["do"] in ("recv_until_eof", "recv", "echo"):
            client.sendall(b"ab")
            assert _until(lambda: len(playing.server._received) == 2)
        assert playing.saw_when_stopped()[3:] == ([] if entry is None else [entry])


def _until(fact: Callable[[], bool]) -> bool:
    """Poll for a fact of another thread that has no event."""
    for _ in range(int(DEADLINE_S * 100)):
        if fact():
            return True
        select.select([], [], [], 0.01)
    return False


# ---------------------------------------------------------------- TLS


def test_handshake_tells_the_sni(serve: Serve, certificates: Certificates) -> None:
    for name, sni in (("localhost", "localhost"), ("127.0.0.1", None)):
        playing = serve(ACCEPT, HANDSHAKE)
        with tls_client(playing, certificates, name):
            assert playing.saw()[1] == {"do": "tls_handshake", "result": "ok", "sni": sni}


@pytest.mark.parametrize("cert", ["wrong_host", "untrusted", "expired"])
def test_bad_certificates_are_bad(cert: str, serve: Serve, certificates: Certificates) -> None:
    playing = serve(ACCEPT, {**HANDSHAKE, "cert": cert})
    with pytest.raises(ssl.SSLCertVerificationError), tls_client(playing, certificates):
        pass
    assert playing.saw()[1] == {"do": "tls_handshake", "result": "failed"}


def test_clear_text_is_no_handshake(serve: Serve) -> None:
    playing = serve(ACCEPT, HANDSHAKE)
    with playing.connect() as client:
        client.sendall(b"STARTTLS\r\n")
        assert playing.saw()[1] == {"do": "tls_handshake", "result": "failed"}


def test_close_notify_leaves_tcp_open(serve: Serve, certificates: Certificates) -> None:
    """The client reads EOF under TLS, and the server goes on reading."""
    playing = serve(ACCEPT, HANDSHAKE, {"do": "send", "data": "all"}, {"do": "tls_close_notify"}, TO_EOF)
    with tls_client(playing, certificates) as client:
        assert client.recv(10) == b"all"
        assert client.recv(10) == b""
        client.sendall(b"late")
        client.unwrap()
    assert playing.saw()[2] == {"do": "recv_until_eof", "data": "late", "ended": "close_notify"}


def test_fin_without_close_notify_of_the_server(serve: Serve, certificates: Certificates) -> None:
    """A truncation for the client; and it is a FIN, no reset."""
    playing = serve(ACCEPT, HANDSHAKE, {"do": "send", "data": "part"}, {"do": "shutdown_write"}, {"do": "recv", "n": 1})
    with tls_client(playing, certificates) as client:
        assert client.recv(10) == b"part"
        assert socket.socket.recv(client, 10) == b""


def test_fin_without_close_notify_of_the_client(serve: Serve, certificates: Certificates) -> None:
    playing = serve(ACCEPT, HANDSHAKE, TO_EOF)
    with tls_client(playing, certificates) as client:
        client.sendall(b"part")
        client.shutdown(socket.SHUT_WR)
        assert playing.saw()[2] == {"do": "recv_until_eof", "data": "part", "ended": "eof"}


def test_send_raw_is_no_tls(serve: Serve, certificates: Certificates) -> None:
    playing = serve(ACCEPT, HANDSHAKE, {"do": "send_raw", "data": "this is no record"})
    with tls_client(playing, certificates) as client, pytest.raises(ssl.SSLError, match="WRONG_VERSION_NUMBER"):
        client.recv(10)


def test_garbage_of_the_client_is_a_tls_error(serve: Serve, certificates: Certificates) -> None:
    playing = serve(ACCEPT, HANDSHAKE, TO_EOF)
    with tls_client(playing, certificates) as client:
        socket.socket.send(client, b"this is no record")
        assert playing.saw()[2] == {"do": "recv_until_eof", "data": "", "ended": "tls_error"}


def test_recv_under_tls_leaves_later_records(serve: Serve, certificates: Certificates) -> None:
    """What was not asked for stays in the kernel: closing then resets, as without TLS."""
    playing = serve(ACCEPT, HANDSHAKE, {"do": "recv", "n": 3}, {"do": "wait", "name": "sent"}, {"do": "close"})
    with tls_client(playing, certificates) as client:
        client.sendall(b"abc")
        client.sendall(b"def")
        playing.signals.set("sent")
        assert playing.saw()[2] == {"do": "recv", "data": "abc"}
        with pytest.raises(ConnectionResetError):
            socket.socket.recv(client, 1)  # ssl makes an EOF of it


# ---------------------------------------------------------------- small things


@pytest.mark.parametrize("data", [b"", b"text\r\n", b"\x00\xff", b"x" * 512, b"x" * 513, "é".encode()])
def test_data_is_recorded_in_one_way(data: bytes) -> None:
    recorded = encode(data)
    if len(data) > 512:
        assert set(recorded) == {"len", "sha256"}
    else:
        assert decode(recorded) == data


@pytest.mark.parametrize(
    ("ip", "public"),
    [
        ("127.0.0.1", False),
        ("::1", False),
        ("::ffff:10.1.2.3", False),
        ("::ffff:8.8.8.8", True),
        ("0.0.0.0", False),
        ("172.32.0.1", True),
        ("fe80::1%eth0", False),
        ("2606:4700::1111", True),
        ("2001:1ff::1", False),
        ("1.1.1.1", True),
    ],
)
def test_public_addresses(ip: str, public: bool) -> None:
    assert is_public(ip) is public
