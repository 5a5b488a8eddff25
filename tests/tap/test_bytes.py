"""Not a byte is lost, doubled or moved on its way through the tap, whenever TLS begins: what the sides hear, what the
transcript says, and what the capture holds.
"""

from __future__ import annotations

import random
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cfcat.record.events import Moved
from cfcat.record.transcript import parse_entry
from tests.helpers.certs import CertSet
from tests.helpers.program import Argument
from tests.pipe.tools import DEADLINE_S
from tests.record.test_pcap import blocks, packet
from tests.tap.sides import Side
from tests.tap.tapping import Tap, tapping

pytestmark = pytest.mark.one_python

MOST_BYTES = 300_000
CONNECTIONS = 8
GO_AHEAD = b"go on\n"  # behind it a ClientHello counts


class Recorded:
    """A socket that notes what goes over the wire."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.sent, self.received = bytearray(), bytearray()

    def sendall(self, data: bytes) -> None:
        self._sock.sendall(data)
        self.sent += data

    def recv(self, limit: int) -> bytes:
        data = self._sock.recv(limit)
        self.received += data
        return data

    def __getattr__(self, name: str) -> object:
        return getattr(self._sock, name)


class Conversation:
    """Random bytes both ways in random pieces, in clear text and then under TLS, or one of them."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.parts = [self._part(), self._part()]  # of the client and of the server, before TLS and under it
        self.is_secure = seed % 4 != 0
        if not self.is_secure:
            self.parts[1] = (b"", b"")
        if seed % 4 == 1:
            self.parts[0] = (b"", b"")  # TLS from the first byte

    def _part(self) -> tuple[bytes, bytes]:
        return self._some(), self._some()

    def _some(self) -> bytes:
        """With line ends, and bytes that look like the beginning of TLS."""
        size = int(MOST_BYTES ** self._random.random())
        data = bytearray(self._random.randbytes(size))
        for _ in range(size // 100):
            at = self._random.randrange(size)
            data[at : at + 4] = self._random.choice((b"\r\n\r\n", b"\x16\x03\x01\x00", b"\n", b"\x12\x01\x00"))
        return bytes(data[:size])

    def pieces(self, data: bytes, chance: random.Random) -> list[bytes]:
        found, at = [], 0
        while at < len(data):
            size = chance.choice((1, 2, 7, 100, 5000, 70_000))
            found.append(data[at : at + size])
            at += size
        return found

    def play(self, tap: Tap, listener: socket.socket, lock: threading.Lock, certs: CertSet, seed: int) -> None:
        with lock:  # so that both ends are of one connection
            client_wire = Recorded(socket.create_connection(("127.0.0.1", tap.port)))
            server_wire = Recorded(listener.accept()[0])
        for wire in (client_wire, server_wire):
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # type: ignore[operator]
        client, server = Side(client_wire), Side(server_wire)  # type: ignore[arg-type]
        self.wires = client_wire, server_wire
        self.port = client_wire.getsockname()[1]  # type: ignore[operator]
        self._exchange(client, server, *self.parts[0], seed)
        if self.is_secure:
            if self.parts[0] != (b"", b""):
                server.send(GO_AHEAD)
                assert client.hear_bytes(len(GO_AHEAD)) == GO_AHEAD
                self.parts.insert(1, (b"", GO_AHEAD))
            trust = ssl.create_default_context(cafile=str(tap.ca))
            _side_by_side(lambda: client.secure(trust, "localhost"), lambda: server.secure(certs.server_context()))
            self._exchange(client, server, *self.parts[-1], seed + 1)
        for near, far in ((client, server), (server, client)):
            if self.is_secure:
                near.close_notify()
            near.fin()
            data, ends = far.hear_all()
            assert (data, ends[-1]) == (b"", "fin")
        client.close()
        server.close()

    def _exchange(self, client: Side, server: Side, asked: bytes, answered: bytes, seed: int) -> None:
        """Both at the same time; who is done has heard all."""
        up, down = random.Random(seed), random.Random(seed + 7)

        def side(this: Side, says: bytes, hears: bytes, chance: random.Random) -> None:
            pieces = self.pieces(says, chance)
            heard = bytearray()
            this.sock.settimeout(DEADLINE_S)
            sender = threading.Thread(target=lambda: list(map(this.send, pieces)), daemon=True)
            if this._tls is None:
                sender.start()
            while this._tls is not None and (pieces or len(heard) < len(hears)):
                if pieces:
                    this.send(pieces.pop(0))
                if len(heard) < len(hears) and (not pieces or chance.random() < 0.5):
                    came = this.hear()
                    assert isinstance(came, bytes), came
                    heard += came
            while len(heard) < len(hears):
                came = this.hear()
                assert isinstance(came, bytes), came
                heard += came
            if this._tls is None:
                sender.join(DEADLINE_S)
            assert heard == hears

        _side_by_side(lambda: side(client, asked, answered, up), lambda: side(server, answered, asked, down))


def _side_by_side(one: Callable[[], object], other: Callable[[], object]) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            other()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    one()
    thread.join(2 * DEADLINE_S)
    assert not failures, failures
    assert not thread.is_alive()


@pytest.mark.parametrize("seed", [10, 20, 30])
def test_bytes_are_the_same_on_every_way(certs: CertSet, tmp_path: Path, seed: int) -> None:
    """Eight connections at a time."""
    log, capture = tmp_path / "log", tmp_path / "c.pcapng"
    conversations = [Conversation(seed + number) for number in range(CONNECTIONS)]
    lock = threading.Lock()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE_S)
        target = f"127.0.0.1:{listener.getsockname()[1]}"
        options: list[Argument] = ["--cacert", certs.ca, "--log", log, "--pcap", capture, "--log-secrets"]
        with tapping(target, *options, folder=tmp_path, timeout_s=120) as tap:
            _all_at_once(
                [
                    lambda each=each, number=number: each.play(tap, listener, lock, certs, seed + number)  # type: ignore[misc]
                    for number, each in enumerate(conversations)
                ]
            )
            for number in range(1, CONNECTIONS + 1):
                tap.shows(rf"^#{number} \S+ \* - over after")
            result = tap.end()
    numbers = {each.port: number for number, each in _numbered(log.read_text(), conversations)}
    for text in (log.read_text(), result.stdout.decode()):
        said = _said(text)
        for each in conversations:
            expected = [b"".join(part[side] for part in each.parts) for side in (0, 1)]
            assert said[numbers[each.port]] == expected
    streams = _streams(capture.read_bytes())
    for each in conversations:
        for wire in each.wires:
            assert bytes(wire.sent) in streams
            assert bytes(wire.received) in streams


def _all_at_once(jobs: list[Callable[[], object]]) -> None:
    failures: list[BaseException] = []

    def run(job: Callable[[], object]) -> None:
        try:
            job()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(4 * DEADLINE_S)
    assert not failures, failures


def _numbered(text: str, conversations: list[Conversation]) -> list[tuple[int, Conversation]]:
    found = []
    for line in text.splitlines():
        entry = parse_entry(line)
        for each in conversations:
            if f"the client is 127.0.0.1:{each.port}," in entry.data.decode(errors="replace"):
                found.append((entry.connection, each))
    return found


def _said(text: str) -> dict[int, list[bytes]]:
    """What client and server say in a transcript, by the number of the connection."""
    found: dict[int, list[bytes]] = {}
    for line in text.splitlines():
        entry = parse_entry(line)
        if isinstance(event := entry.event, Moved):
            sides = found.setdefault(entry.connection, [b"", b""])
            sides[event.direction == "received"] += event.data
    return found


def _streams(data: bytes) -> list[bytes]:
    """What each end has sent in a capture; every number follows the last one."""
    found: dict[tuple[tuple[str, int], tuple[str, int]], bytearray] = {}
    for block in blocks(data):
        if block.kind == 6:
            one = packet(block.body)
            stream = found.setdefault(((one.source, one.ports[0]), (one.target, one.ports[1])), bytearray())
            if one.payload:
                assert one.number == len(stream) + 1
                stream += one.payload
    return [bytes(stream) for stream in found.values()]
