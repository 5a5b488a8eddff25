"""The scripted client, seen from plain sockets: what cfcat accepts is measured with it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.data import Event, Json, ScenarioError, encode
from tests.conformance.inbound.client import Client
from tests.conformance.runner import Certificates
from tests.conformance.signals import Signals

pytestmark = pytest.mark.one_python

DEADLINE_S = 10.0
CONNECT = {"do": "connect"}
HANDSHAKE = {"do": "tls_handshake"}
TO_EOF = {"do": "recv_until_eof"}
RESET = struct.pack("ii", 1, 0)

Play = Callable[..., "Playing"]


class Playing:
    """A client that plays a script, and the plain listener that it connects to."""

    def __init__(self, client: Client, listener: socket.socket, signals: Signals) -> None:
        self.client = client
        self.signals = signals
        self._listener = listener

    def accept(self) -> socket.socket:
        sock, _ = self._listener.accept()
        sock.settimeout(DEADLINE_S)
        return sock

    def saw(self) -> list[Event]:
        """What it saw after connecting, when the script has come to its end."""
        assert self.client.finished.wait(DEADLINE_S)
        assert self.client.error is None
        assert self.client.saw[0] == CONNECT
        return self.client.saw[1:]

    def saw_when_stopped(self) -> list[Event]:
        self.client.stop()
        return self.saw()


@pytest.fixture
def play(certificates: Certificates, tmp_path: Path) -> Iterator[Play]:
    """Start clients with `play(step, …)`, which connect first; they end with the test."""
    with contextlib.ExitStack() as ends:

        def start(*steps: dict[str, Json], unix: bool = False) -> Playing:
            listener = ends.enter_context(socket.socket(socket.AF_UNIX if unix else socket.AF_INET))
            listener.bind(str(tmp_path / "socket") if unix else ("127.0.0.1", 0))
            listener.listen()
            listener.settimeout(DEADLINE_S)
            signals = Signals()
            client = Client([CONNECT, *steps], certificates.client_context, signals)
            ends.callback(client.close)
            ends.callback(client.stop)
            client.connect_to(listener.getsockname())
            return Playing(client, listener, signals)

        yield start


@pytest.fixture
def shake(certificates: Certificates) -> Callable[[socket.socket], ssl.SSLSocket]:
    """The server's part of a handshake, on an accepted socket."""
    context = certificates.server_context("good")
    return lambda sock: context.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False)


def test_a_connection_has_a_port_of_its_own(play: Play) -> None:
    """Known under its name, so that what is recorded of it can be compared."""
    playing = play({"do": "connect", "on": "d"})
    with playing.accept() as first, playing.accept() as second:
        assert playing.saw() == [{"do": "connect", "on": "d"}]
        assert playing.client.ports == {None: first.getpeername()[1], "d": second.getpeername()[1]}


def test_a_unix_listener(play: Play) -> None:
    playing = play({"do": "send", "data": "hi"}, TO_EOF, unix=True)
    with playing.accept() as sock:
        assert sock.recv(10) == b"hi"
        sock.sendall(b"yo")
    assert playing.saw() == [{"do": "recv_until_eof", "data": "yo", "ended": "eof"}]
    assert playing.client.ports == {}


def test_steps_are_about_the_connection_that_they_name(play: Play) -> None:
    playing = play(
        {"do": "connect", "on": "d"},
        {"do": "send", "data": "one"},
        {"do": "send", "data": "two", "on": "d"},
        {"do": "recv", "n": 1, "on": "d"},
    )
    with playing.accept() as first, playing.accept() as second:
        assert (first.recv(10), second.recv(10)) == (b"one", b"two")
        second.sendall(b"x")
        assert playing.saw()[1:] == [{"do": "recv", "on": "d", "data": "x"}]


@pytest.mark.parametrize("step", [{"do": "close"}, {"do": "shutdown_write"}])
def test_an_end_in_order_is_a_fin(play: Play, step: dict[str, Json]) -> None:
    playing = play(step)
    with playing.accept() as sock:
        assert sock.recv(1) == b""


def test_reset_resets(play: Play) -> None:
    playing = play({"do": "recv", "n": 1}, {"do": "reset"})
    with playing.accept() as sock:
        sock.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            sock.recv(1)


@pytest.mark.parametrize("turn", range(20))
def test_what_came_before_a_reset_is_not_lost(play: Play, turn: int) -> None:
    """Also when the connection is reset before the client has seen that it is connected."""
    playing = play(TO_EOF)
    with playing.accept() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.sendall(b"part")
    assert playing.saw() == [{**TO_EOF, "data": "part", "ended": "reset"}]


def test_what_is_small_is_sent_whole(play: Play) -> None:
    """`send_until_blocked` does not wait for its time then."""
    playing = play({"do": "send_until_blocked", "data": "abc", "ms": 60_000})
    with playing.accept() as sock:
        assert playing.saw() == [{"do": "send_until_blocked", "sent": "all"}]
        assert sock.recv(10) == b"abc"


def test_a_reader_that_does_not_read_blocks(play: Play) -> None:
    playing = play({"do": "send_until_blocked", "data": {"pattern": 16 << 20}, "ms": 100})
    with playing.accept():
        assert playing.saw() == [{"do": "send_until_blocked", "sent": "some"}]


@pytest.mark.parametrize("sent", [3, 4, 5])
def test_drain_counts(play: Play, sent: int) -> None:
    """Complete: exactly as many as expected."""
    playing = play({"do": "drain", "n": 4})
    with playing.accept() as sock:
        sock.sendall(b"x" * sent)
    assert playing.saw() == [{"do": "drain", "ended": "eof", "complete": sent == 4}]


def test_drain_without_a_number_tells_the_end(play: Play) -> None:
    playing = play({"do": "drain"})
    with playing.accept() as sock:
        sock.sendall(b"some")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    assert playing.saw() == [{"do": "drain", "ended": "reset"}]


def test_it_is_a_tls_client_for_localhost(play: Play, certificates: Certificates) -> None:
    """It sends that name, and after the handshake everything is under TLS."""
    context = certificates.server_context("good")
    names: list[str | None] = []
    context.sni_callback = lambda _, name, __: names.append(name)
    playing = play(HANDSHAKE, {"do": "send", "data": "hello"}, {"do": "recv", "n": 2})
    with playing.accept() as sock, context.wrap_socket(sock, server_side=True) as tls:
        assert tls.recv(10) == b"hello"
        tls.sendall(b"yo")
        assert playing.saw() == [{**HANDSHAKE, "result": "ok"}, {"do": "recv", "data": "yo"}]
    assert names == ["localhost"]


def test_a_client_that_does_not_trust_the_certificate_says_so(
    play: Play, shake: Callable[[socket.socket], ssl.SSLSocket]
) -> None:
    """As a TLS alert, and the handshake has failed on both sides."""
    playing = play({**HANDSHAKE, "trust": False})
    with playing.accept() as sock, pytest.raises(ssl.SSLError, match=r"(?i)unknown[_ ]ca"):
        shake(sock)
    assert playing.saw() == [{**HANDSHAKE, "result": "failed"}]


@pytest.mark.parametrize("answer", [b"220 in clear text\r\n", b""])
def test_a_handshake_that_comes_to_nothing_has_failed(play: Play, answer: bytes) -> None:
    playing = play(HANDSHAKE)
    with playing.accept() as sock:
        assert sock.recv(3) == b"\x16\x03\x01"
        sock.sendall(answer)
        sock.shutdown(socket.SHUT_WR)
        assert playing.saw() == [{**HANDSHAKE, "result": "failed"}]


def test_each_end_under_tls_has_its_name(play: Play, shake: Callable[[socket.socket], ssl.SSLSocket]) -> None:
    """close_notify is one end, the FIN behind it another, which only a look at TCP itself tells."""
    playing = play(HANDSHAKE, TO_EOF, {"do": "probe_raw", "ms": 10_000})
    with playing.accept() as sock, shake(sock) as tls:
        tls.sendall(b"bye")
        tls.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):  # sent; the client's own is not waited for
            tls.unwrap()
        tls.shutdown(socket.SHUT_WR)
        assert playing.saw()[1:] == [
            {"do": "recv_until_eof", "data": "bye", "ended": "close_notify"},
            {"do": "probe_raw", "saw": "eof"},
        ]


def test_a_fin_under_tls_is_told_from_close_notify(play: Play, shake: Callable[[socket.socket], ssl.SSLSocket]) -> None:
    playing = play(HANDSHAKE, TO_EOF)
    with playing.accept() as sock, shake(sock) as tls:
        tls.shutdown(socket.SHUT_WR)
        assert playing.saw()[1:] == [{"do": "recv_until_eof", "data": "", "ended": "eof"}]


def test_a_look_at_tcp_sees_what_is_beneath_tls(play: Play, shake: Callable[[socket.socket], ssl.SSLSocket]) -> None:
    """A record, not what is in it."""
    playing = play(HANDSHAKE, {"do": "probe_raw", "ms": 10_000})
    with playing.accept() as sock, shake(sock) as tls:
        tls.sendall(b"secret")
        (entry,) = playing.saw()[1:]
        assert entry["saw"] != {"data": encode(b"secret")}
        assert entry["saw"]["data"]["hex"].startswith("170303")


@pytest.mark.parametrize("do", ["probe", "probe_raw"])
def test_a_look_at_a_quiet_connection_sees_nothing(play: Play, do: str) -> None:
    playing = play({"do": do, "ms": 20})
    with playing.accept():
        assert playing.saw() == [{"do": do, "saw": "nothing"}]


STOPPED: dict[str, tuple[dict[str, Json], list[Event]]] = {
    "recv_until_eof": (TO_EOF, [{**TO_EOF, "data": "part", "ended": "still_waiting"}]),
    "recv": ({"do": "recv", "n": 9}, [{"do": "recv", "data": "part", "ended": "still_waiting"}]),
    "drain": ({"do": "drain"}, [{"do": "drain", "ended": "still_waiting"}]),
    "drain, counting": ({"do": "drain", "n": 9}, [{"do": "drain", "ended": "still_waiting", "complete": False}]),
    "tls_handshake": (HANDSHAKE, [{**HANDSHAKE, "result": "still_waiting"}]),
    "wait": ({"do": "wait", "name": "never"}, [{"do": "wait", "ended": "still_waiting"}]),
    "send_until_blocked": (
        {"do": "send_until_blocked", "data": {"pattern": 16 << 20}, "ms": 60_000},
        [{"do": "send_until_blocked", "sent": "some", "ended": "still_waiting"}],
    ),
    "send": ({"do": "send", "data": {"pattern": 16 << 20}}, []),
    "recv_quiet": ({"do": "recv_quiet", "n": 9}, []),
    "sleep_ms": ({"do": "sleep_ms", "ms": 60_000}, []),
}


@pytest.mark.parametrize("kind", STOPPED)
def test_a_step_that_is_stopped_tells_what_it_had(play: Play, kind: str) -> None:
    """A step that observes nothing says nothing."""
    step, saw = STOPPED[kind]
    playing = play({"do": "signal", "name": "begun"}, step)
    with playing.accept() as sock:
        assert asyncio.run(playing.signals.wait_async("begun", DEADLINE_S))
        if saw and "data" in saw[0]:
            sock.sendall(b"part")
            assert _has_taken(playing, b"part")
        assert playing.saw_when_stopped() == saw


def _has_taken(playing: Playing, data: bytes) -> bool:
    """Has the step under way received this, at last?"""
    deadline = time.monotonic() + DEADLINE_S
    while bytes(playing.client._received) != data and time.monotonic() < deadline:
        pass
    return bytes(playing.client._received) == data


def test_a_step_that_there_is_not_is_an_error_of_the_scenario(play: Play) -> None:
    playing = play({"do": "juggle"})
    assert playing.client.finished.wait(DEADLINE_S)
    assert isinstance(playing.client.error, ScenarioError)
    assert "client step 'juggle'" in str(playing.client.error)
