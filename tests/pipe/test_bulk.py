"""Much data: exact, at a good pace, in little memory, and only as fast as the slower side takes it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer
from tests.helpers.program import Program, Result, cfcat, finish, start
from tests.pipe import machine
from tests.pipe.machine import PERIOD
from tests.pipe.tools import DEADLINE_S, Transport, fill, pattern, queues, unread

MIB = 1 << 20
# A few chunks may be on their way at a time; how many there are in all must not matter.
FLAT_BYTES = 8 * MIB
SIZES = (MIB, 256 * MIB)
READ_AHEAD_BYTES = 256 * 1024  # fault matrix, row 21
PIECES = PERIOD * (MIB // len(PERIOD) + 2)


@dataclass(frozen=True)
class FastPeer:
    """A running `machine.py`, and how cfcat reaches it."""

    process: subprocess.Popen[bytes]
    arguments: list[str]

    def end(self) -> None:
        """Let it end the connection."""
        assert self.process.stdin is not None
        self.process.stdin.close()


@contextmanager
def fast_peer(role: str, count: int, certs: CertSet | None) -> Iterator[FastPeer]:
    """Run `machine.py`, with TLS if there are certificates; it must end without complaint."""
    certificate = str(certs["good"].pem) if certs else ""
    command = [sys.executable, machine.__file__, role, certificate, str(count)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = f"127.0.0.1:{int(process.stdout.readline())}"
        try:
            yield FastPeer(process, [*(["--tls", "on", "--cacert", str(certs.ca)] if certs else []), address])
        except BaseException:
            process.kill()
            raise
        assert (process.stderr.read(), process.wait(DEADLINE_S)) == (b"", 0)


@pytest.fixture(params=["plain", "tls"])
def secure(request: pytest.FixtureRequest, certs: CertSet) -> CertSet | None:
    """Certificates where the peer is to speak TLS."""
    return certs if request.param == "tls" else None


def pushing(program: Program, count: int, *, end: bool) -> threading.Thread:
    """Write the pattern to stdin in a thread, so that the test can read meanwhile."""

    def work() -> None:
        assert program.stdin is not None
        done = 0
        while done < count:
            offset = done % len(PERIOD)
            done += os.write(program.stdin.fileno(), PIECES[offset : offset + min(count - done, MIB)])
        if end:
            program.end_input()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def check_stdout(program: Program, count: int) -> None:
    """Read `count` bytes of stdout and compare each with the pattern."""
    assert program.stdout is not None
    done = 0
    while done < count:
        chunk = os.read(program.stdout.fileno(), min(MIB, count - done))
        assert chunk, f"ended after {done} of {count} bytes"
        offset = done % len(PERIOD)
        same = chunk == PIECES[offset : offset + len(chunk)]  # not in the assertion: pytest would explain a MiB
        assert same, f"wrong between bytes {done} and {done + len(chunk)}"
        done += len(chunk)


def peak_bytes(program: Program) -> int:
    """The most memory that the program has had so far."""
    status = Path(f"/proc/{program.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


# ------------------------------------------------------------------------------------------ through an echo


def test_a_gibibyte_through_an_echo_server(secure: CertSet | None) -> None:
    """Both directions full at once, for long: nothing stops, nothing is lost, and every byte is in its place."""
    count = (256 if secure else 1024) * MIB
    with fast_peer("echo", 0, secure) as peer, start(*peer.arguments, timeout_s=40) as program:
        writer = pushing(program, count, end=True)
        check_stdout(program, count)
        writer.join()
        peer.end()
        assert finish(program) == Result(b"", "", 0)


def test_every_byte_value_both_ways(transport: Transport) -> None:
    """Whatever the bytes are, and wherever pieces of them begin."""
    data = bytes(range(256)) * 4096 + os.urandom(MIB)

    def script(conn: Peer) -> None:
        question = conn.recv_until_eof()
        conn.send(question[::-1])

    with transport.serve(script) as server:
        result = cfcat(*transport.options, server.address, stdin=data)
    assert (result.stderr, result.status, len(result.stdout)) == ("", 0, len(data))
    same = (server.received == data, result.stdout == data[::-1])
    assert same == (True, True)


def test_byte_by_byte(either: Transport) -> None:
    """A dialog of single bytes, each answered before the next."""

    def script(conn: Peer) -> None:
        while byte := conn.recv(1):
            conn.send(byte)

    with either.serve(script) as server, start(*either.options, server.address) as program:
        for value in range(256):
            program.say(bytes([value]))
            program.read_until(bytes(range(value + 1)))
        assert finish(program) == Result(bytes(range(256)), "", 0)


# ------------------------------------------------------------------------------------------------- memory


def test_memory_is_flat_in_receiving(secure: CertSet | None) -> None:
    """The peak after 256 MiB is that after 1 MiB, give or take a few chunks."""
    peaks = []
    for size in SIZES:
        with fast_peer("source", size, secure) as peer, start(*peer.arguments, timeout_s=30) as program:
            check_stdout(program, size)
            peaks.append(peak_bytes(program))
            peer.end()
            assert finish(program) == Result(b"", "", 0)
    assert peaks[1] - peaks[0] < FLAT_BYTES


def test_memory_is_flat_in_sending(secure: CertSet | None) -> None:
    """As in receiving."""
    peaks = []
    for size in SIZES:
        with fast_peer("sink", size, secure) as peer, start(*peer.arguments, timeout_s=30) as program:
            pushing(program, size, end=False).join()
            assert program.read_until(str(size).encode()) == str(size).encode()
            peaks.append(peak_bytes(program))
            peer.end()
            assert finish(program) == Result(str(size).encode(), "", 0)
    assert peaks[1] - peaks[0] < FLAT_BYTES


def test_memory_is_flat_for_a_file(tmp_path: Path) -> None:
    """A regular file is always ready, and is read no faster than it is sent all the same."""
    peaks = []
    for size in SIZES:
        with (tmp_path / "input").open("wb") as file:
            file.truncate(size)  # a hole: it needs no disk
        with fast_peer("sink", size, None) as peer, (tmp_path / "input").open("rb") as file:
            with start("--no-shutdown", *peer.arguments, stdin=file, timeout_s=30) as program:
                program.read_until(str(size).encode())
                peaks.append(peak_bytes(program))
                peer.end()
                assert finish(program) == Result(str(size).encode(), "", 0)
    assert peaks[1] - peaks[0] < FLAT_BYTES


# --------------------------------------------------------------------------------------------- backpressure


def test_server_that_reads_now_and_then(either: Transport) -> None:
    """stdin is not read ahead: whenever it all stands still, a quarter of a MiB is with us at most."""
    flowing, over = threading.Event(), threading.Event()
    more = [threading.Event() for _ in range(5)]
    buffered = 0 if either.version is None else 64 * 1024  # a TLS peer takes more out of the kernel than it reads

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        flowing.set()
        for event in more:
            conn.wait(event)
            conn.recv_exactly(1_000_001)
        conn.wait(over)
        conn.recv_until_eof()

    written = 0
    with either.serve(script) as server, start(*either.options, server.address) as program:
        for event in more:
            written += fill(program.stdin, flowing, start=written)
            received, port = len(server.received), server.peers[0].address[1]
            in_kernel = queues(port, peer=True)[0] + queues(port)[1]
            ahead = written - unread(program.stdin) - received - in_kernel
            assert ahead <= READ_AHEAD_BYTES + buffered
            event.set()
        over.set()
        assert finish(program) == Result(b"", "", 0)
    assert len(server.received) == written
    assert server.received == pattern(written)


def test_stdout_that_nobody_reads(either: Transport) -> None:
    """The server's sending stops; once stdout is read everything comes."""
    filled: list[int] = []
    full = threading.Event()

    def script(conn: Peer) -> None:
        filled.append(conn.fill())
        full.set()

    with either.serve(script, timeout_s=20) as server, start(*either.options, server.address) as program:
        assert full.wait(DEADLINE_S)
        peak = peak_bytes(program)
        result = finish(program)
    assert (result.stderr, result.status) == ("", 0)
    assert result.stdout.count(0) == len(result.stdout)
    assert MIB < len(result.stdout) <= filled[0]
    assert peak < 100 * MIB


def test_sending_goes_on_while_stdout_is_stuck(either: Transport) -> None:
    """The directions never wait for each other: what is said is heard, though nobody reads the answer."""
    full = threading.Event()

    def script(conn: Peer) -> None:
        conn.fill()
        full.set()
        assert conn.recv_until_eof() == pattern(2 * MIB)

    with either.serve(script, timeout_s=20) as server, start(*either.options, server.address) as program:
        assert full.wait(DEADLINE_S)
        pushing(program, 2 * MIB, end=True).join()
        assert server.saw_eof.wait(DEADLINE_S)
        assert finish(program).status == 0


def test_receiving_goes_on_while_the_server_takes_nothing(either: Transport) -> None:
    """And the other way round: the answer is printed, though stdin is stuck."""
    flowing, stuck, heard = threading.Event(), threading.Event(), threading.Event()

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        flowing.set()
        conn.wait(stuck)
        conn.send(pattern(2 * MIB))
        conn.wait(heard)
        conn.recv_until_eof()

    with either.serve(script, timeout_s=20) as server, start(*either.options, server.address) as program:
        fill(program.stdin, flowing)
        stuck.set()
        check_stdout(program, 2 * MIB)
        heard.set()
        assert finish(program) == Result(b"", "", 0)
