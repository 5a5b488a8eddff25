"""The fault matrix for a tap: its standard output, its descriptors, its signals, and a crowd of clients."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.core.test_client_hello import hello as client_hello
from tests.faults.tapped import Tapping, dial, listen, make_tapping
from tests.faults.ways import at_once, shell_does
from tests.helpers.callers import CallingPeer
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, serve
from tests.helpers.program import Program, cfcat, start
from tests.pipe.tools import DEADLINE_S, pattern, until
from tests.report.form import check_form
from tests.tap.tapping import tapping

pytestmark = pytest.mark.one_python

FLOOD_BYTES = 64 << 20
PEAK_MIB = 80


def echo_line(conn: Peer) -> None:
    with contextlib.suppress(OSError, AssertionError):  # some clients leave before
        conn.send(conn.recv_until(b"\n"))


def ask(peer: CallingPeer, line: bytes = b"hello\n") -> None:
    """A client that is answered."""

    def script(conn: Peer) -> None:
        conn.send(line)
        assert conn.recv_until(b"\n") == line

    peer.run(script)


@contextlib.contextmanager
def tap(target: str, *options: object, stdout: int = subprocess.PIPE, by: Sequence[str] = ()) -> Iterator[Program]:
    with start("--tap", "0", *map(str, options), target, stdout=stdout, by=by, timeout_s=60) as program:
        yield program


# ------------------------------------------------------------------------------------- 21 to 24: nobody reads


@pytest.fixture(params=["plain", "tls1.3"])
def way(request: pytest.FixtureRequest, certs: CertSet, tmp_path: Path) -> Tapping:
    return make_tapping(request.param, certs, tmp_path)


@pytest.mark.parametrize("deaf", ["client", "server"])
def test_rows_21_and_23_a_side_that_never_reads(way: Tapping, deaf: str) -> None:
    """The other is held up, memory is bounded, and other clients are served meanwhile; its end ends the connection."""
    filled, over = threading.Event(), threading.Event()

    def floods(conn: Peer) -> None:
        conn.fill()
        filled.set()
        conn.recv_until_eof()

    def reads_nothing(conn: Peer) -> None:
        conn.wait(over)
        conn.reset()

    client, server = (reads_nothing, floods) if deaf == "client" else (floods, reads_nothing)
    first = threading.Event()

    def serving(conn: Peer) -> None:
        way.secure_server(conn)
        if first.is_set():
            echo_line(conn)
            return
        first.set()
        server(conn)

    def secured(conn: Peer) -> None:
        way.secure_client(conn)
        client(conn)

    with (
        serve(serving, timeout_s=60) as served,
        tap(served.address, *way.options, stdout=subprocess.DEVNULL) as program,
    ):
        port = listen(program)
        playing = threading.Thread(target=partial(dial(port).run, secured), daemon=True)
        playing.start()
        assert filled.wait(DEADLINE_S)
        way.check_service(port)
        assert peak_mib(program) < PEAK_MIB
        over.set()
        program.read_stderr_until("connection reset by peer")
        playing.join(DEADLINE_S)
        assert not playing.is_alive()


def peak_mib(program: Program) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{program.pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


def test_row_24_both_directions_flooded_at_once(way: Tapping) -> None:
    """64 MiB each way at the same time, whole, and memory is bounded."""
    data = pattern(FLOOD_BYTES)
    peaks: list[float] = []

    def floods(conn: Peer) -> None:
        sending = threading.Thread(target=conn.send, args=(data,), daemon=True)
        # TLS is one state machine: under it a side cannot send and receive at once.
        if way.is_secure:
            for start_ in range(0, len(data), 1 << 16):
                conn.send(data[start_ : start_ + (1 << 16)])
                assert conn.recv_exactly(1 << 16) == data[start_ : start_ + (1 << 16)]
            return
        sending.start()
        assert conn.recv_exactly(len(data)) == data
        sending.join(DEADLINE_S)

    def serving(conn: Peer) -> None:
        way.secure_server(conn)
        floods(conn)

    def client(conn: Peer) -> None:
        way.secure_client(conn)
        floods(conn)
        peaks.append(peak_mib(program))  # the tap is there as long as its client

    with serve(serving, timeout_s=60) as served, tap(served.address, *way.options, "--quiet", "--once") as program:
        sock = socket.create_connection(("127.0.0.1", listen(program)))
        CallingPeer(sock, sock.getsockname(), 60, threading.Event()).run(client)
        assert program.wait(DEADLINE_S) == 0
        assert max(peaks) < PEAK_MIB


# ------------------------------------------------------------------------------------- 23, 26 to 29: standard output


def test_row_23_a_display_that_nobody_reads_slows_and_loses_nothing() -> None:
    """Connections wait for its reader, memory is bounded; when it reads, all is there, in order."""
    lines = b"".join(b"%0999d\n" % number for number in range(1 << 15))
    filled = threading.Event()

    def floods(conn: Peer) -> None:
        sending = threading.Thread(target=conn.send, args=(lines,), daemon=True)
        sending.start()
        before = -1
        while sending.is_alive() and conn.sent != before:
            before = conn.sent
            sending.join(0.5)
        assert sending.is_alive()
        filled.set()
        sending.join(DEADLINE_S)

    with serve(floods, timeout_s=60) as served, tap(served.address, "--once") as program:
        port = listen(program)
        received: list[bytes] = []
        client = threading.Thread(target=lambda: dial(port).run(lambda conn: received.append(conn.recv_until_eof())))
        client.start()
        assert filled.wait(DEADLINE_S)
        assert peak_mib(program) < PEAK_MIB
        stdout, _ = program.communicate(timeout=60)
        client.join(DEADLINE_S)
    assert received == [lines]
    shown = re.findall(rb"^#1 \S+ < - (\d*(?:\\n)?)$", stdout, re.M)  # a line that had to wait is in two
    assert b"".join(shown).replace(rb"\n", b"\n") == lines


def test_row_27_standard_output_is_closed() -> None:
    """26 or 23, before anybody is listened for; descriptor 1 never becomes a socket."""
    result = cfcat("--tap", "0", "127.0.0.1:9", by=shell_does('exec "$@" >&-'))
    assert result.status in (23, 26)
    assert "listening" not in result.stderr
    check_form(result.stderr)


@pytest.mark.parametrize("hexdump", [False, True], ids=["lines", "-x"])
def test_row_28_a_full_disk_ends_it(hexdump: bool) -> None:
    """23 and one message, with the first that is to be shown; both sides are reset."""
    with serve(Peer.recv_until_eof) as served, open("/dev/full", "wb") as full:
        with tap(served.address, *(["-x"] if hexdump else []), stdout=full.fileno()) as program:
            peer = dial(listen(program))
            assert peer.recv_until_eof() == b""
            peer.reset()
            assert program.wait(DEADLINE_S) == 23
            assert program.stderr is not None
            stderr = (program.seen_stderr + program.stderr.read()).decode()
    assert peer.ended == "reset"
    assert stderr.endswith("cfcat: cannot write standard output: no space left on device\n")
    assert served.ended in (None, "reset", "eof")


def test_row_26_a_reader_that_leaves_while_clients_are_there() -> None:
    """It dies of SIGPIPE without a word, whatever it is doing."""
    with serve(Peer.recv_until_eof) as served, tap(served.address) as program:
        peers = [dial(port) for port in [listen(program)] * 3]
        said = program.seen_stderr
        program.read_until(b"connected to")
        assert program.stdout is not None
        program.stdout.close()
        program.stdout = None
        assert program.wait(DEADLINE_S) == -signal.SIGPIPE
        assert program.stderr is not None
        assert (program.seen_stderr + program.stderr.read())[len(said) :] == b""
        for peer in peers:
            peer.reset()


@pytest.mark.parametrize("where", ["closed", "full"])
def test_row_29_standard_error_changes_nothing(where: str, tmp_path: Path) -> None:
    """Closed or full: clients are served, and the status is the same."""
    redirect = "2>&-" if where == "closed" else "2>/dev/full"
    door = tmp_path / "door"
    with serve(echo_line) as served:
        with start(
            "--tap", f"unix:{door}", "--once", "-v", served.address, by=shell_does(f'exec "$@" {redirect}')
        ) as program:
            until(door.exists)
            with socket.socket(socket.AF_UNIX) as client:
                until(lambda: client.connect_ex(str(door)) in (0, 106))
                client.settimeout(DEADLINE_S)
                client.sendall(b"hello\n")
                client.shutdown(socket.SHUT_WR)
                assert client.makefile("rb").read() == b"hello\n"
            assert program.wait(DEADLINE_S) == 0


# ------------------------------------------------------------------------------------------- 41 and 43: signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("phase", ["dialing", "handshake", "moving"])
def test_rows_41_and_43_signals_in_each_phase(
    certs: CertSet, tmp_path: Path, phase: str, number: signal.Signals
) -> None:
    """It dies of the signal at once, without a traceback; both sides see their connection end."""
    came = threading.Event()

    def server(conn: Peer) -> None:
        if phase != "dialing":
            conn.recv()
            came.set()
        conn.recv_until_eof()

    way = make_tapping("tls1.3", certs, tmp_path)
    with serve(server) as served, tap(served.address, *way.options) as program:
        peer = dial(listen(program))
        if phase == "dialing":
            program.read_until(b"connecting to")
        else:
            peer.send(client_hello() if phase == "handshake" else b"hello")
            assert came.wait(DEADLINE_S)
        program.send_signal(number)
        assert program.wait(1) == -number
        assert peer.recv_until_eof() == b""
        peer.reset()
        assert program.stderr is not None
        assert b"Traceback" not in program.stderr.read()


# ------------------------------------------------------------------------------------ 50, 57 and 58: many clients


def test_row_50_descriptors_are_used_up_and_free_again(tmp_path: Path) -> None:
    """Clients wait or are reset, in words, once; those that are there go on, and then all are served again."""
    many = shell_does('ulimit -n 24; exec "$@"')
    with serve(echo_line, timeout_s=60) as served, tap(served.address, "--quiet", by=many) as program:
        port = listen(program)
        peers = [dial(port) for _ in range(20)]
        program.read_stderr_until("too many open files")
        assert any([_is_served(peer) for peer in peers])
        until(lambda: _is_served(dial(port)))  # those who have left the queue come first
        until(lambda: len(os.listdir(f"/proc/{program.pid}/fd")) < 15)
        for _ in range(3):
            ask(dial(port))
        program.send_signal(signal.SIGINT)
        assert program.wait(DEADLINE_S) == -signal.SIGINT
        assert program.stderr is not None
        stderr = (program.seen_stderr + program.stderr.read()).decode()
    assert "Traceback" not in stderr
    assert "internal error" not in stderr


def _is_served(peer: CallingPeer) -> bool:
    """Is it answered within a moment? It leaves then."""
    try:
        peer.send(b"hello\n")
        return not peer.quiet(0.1) and peer.recv_until(b"\n") == b"hello\n"
    except (OSError, AssertionError):
        return False
    finally:
        peer.reset()


@pytest.mark.parametrize("name", ["plain", "tls1.3"])
def test_rows_57_and_58_a_thousand_clients(certs: CertSet, tmp_path: Path, name: str) -> None:
    """One after the other, many at a time: each has its answer, and nothing is left of them but their lines."""
    way = make_tapping(name, certs, tmp_path)
    rounds, at_a_time = (20, 50) if name == "plain" else (10, 20)

    def server(conn: Peer) -> None:
        way.secure_server(conn)
        echo_line(conn)

    with serve(server, timeout_s=120) as served:
        with tapping(served.address, *way.options[:2], folder=tmp_path, timeout_s=120) as running:
            pid = running.program.pid
            before = set(os.listdir(f"/proc/{pid}/fd"))
            for each in range(rounds):
                at_once(partial(way.check_service, running.port) for _ in range(at_a_time))
                running.shows(f"#{(each + 1) * at_a_time} .*")
            until(lambda: running.shows("").count("over after") == rounds * at_a_time)
            until(lambda: set(os.listdir(f"/proc/{pid}/fd")) <= before | {"11", "12", "13"})
            peak = peak_mib(running.program)
            result = running.end()
    assert len(re.findall(rb"^#\d+ \S+ \* - over after", result.stdout, re.M)) == rounds * at_a_time
    assert peak < PEAK_MIB
    assert "Traceback" not in result.stderr


def test_row_58_a_thousand_connections_at_the_same_time() -> None:
    """All of them open, then each has its answer."""
    count = 1000
    raised = shell_does('ulimit -n 4096; exec "$@"')
    with serve(echo_line, timeout_s=120) as served, tap(served.address, "--quiet", by=raised) as program:
        port = listen(program)
        sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
        try:
            for number, sock in enumerate(sockets):
                sock.sendall(b"%d\n" % number)
            for number, sock in enumerate(sockets):
                sock.settimeout(DEADLINE_S)
                assert sock.makefile("rb").readline() == b"%d\n" % number
        finally:
            for sock in sockets:
                sock.close()
        until(lambda: len(os.listdir(f"/proc/{program.pid}/fd")) < 20)
        ask(dial(port))
        assert peak_mib(program) < 4 * PEAK_MIB


def test_ssl_contexts_of_clients_that_choose_names_are_bounded(certs: CertSet, tmp_path: Path) -> None:
    """A name of its own for each of a hundred clients: each has a certificate for it, and memory is bounded."""
    way = make_tapping("tls1.3", certs, tmp_path)

    def server(conn: Peer) -> None:
        assert not conn.start_tls(certs.server_context(), may_fail=True)  # the name is not that server's

    with serve(server) as served, tap(served.address, *way.options, stdout=subprocess.DEVNULL) as program:
        port = listen(program)
        for number in range(100):
            peer = dial(port)
            peer.send(client_hello(f"n{number}.example"))
            assert peer.recv_until_eof().startswith(b"\x15\x03")
            peer.reset()
        assert peak_mib(program) < PEAK_MIB
