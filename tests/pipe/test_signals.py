"""Ctrl-C and its kin: dead by the signal itself, at once, without a word, wherever the program is."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, blackhole, serve
from tests.helpers.program import Program, Result, finish, start
from tests.helpers.terminal import terminal
from tests.pipe.tools import DEADLINE_S, run_by, run_patched, until

SOON_S = 0.3
SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
SYN_SENT = "02"

Place = Callable[[CertSet], AbstractContextManager[Program]]


# -------------------------------------------------------------------------------- where a program can be


@contextmanager
def connecting(_: CertSet) -> Iterator[Program]:
    """Nobody answers its SYN."""

    def asked() -> bool:
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return any(line[2].endswith(f":{port:04X}") and line[3] == SYN_SENT for line in lines)

    with blackhole() as port, start(f"127.0.0.1:{port}") as program:
        until(asked)
        yield program


@contextmanager
def shaking_hands(certs: CertSet) -> Iterator[Program]:
    """The server has its ClientHello and says nothing."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(100)
        conn.recv_until_eof()

    with serve(script) as server, start("--tls", "on", "--cacert", certs.ca, server.address) as program:
        until(lambda: len(server.received) >= 100)
        yield program


@contextmanager
def receiving(_: CertSet) -> Iterator[Program]:
    """Data streams in, and nobody reads stdout."""

    def script(conn: Peer) -> None:
        with suppress(ConnectionError):  # the client is gone
            conn.fill()
            conn.hang()

    with serve(script) as server, start(server.address) as program:
        program.read_until(b"\0")
        yield program
        server.release()


@contextmanager
def receiving_fast(_: CertSet) -> Iterator[Program]:
    """Data streams from server to stdout, as fast as it goes."""

    def script(conn: Peer) -> None:
        with suppress(ConnectionError):
            while True:
                conn.send(bytes(1 << 16))

    with serve(script) as server, open("/dev/null", "wb") as null, start(server.address, stdout=null) as program:
        until(lambda: server.peers and server.peers[0].sent > 1 << 22)
        yield program


@contextmanager
def sending(_: CertSet) -> Iterator[Program]:
    """An endless stdin, and a server that takes all of it."""
    with serve(Peer.recv_until_eof) as server, open("/dev/zero", "rb") as zero:
        with start(server.address, stdin=zero) as program:
            until(lambda: len(server.received) > 1 << 22)
            yield program


@contextmanager
def waiting(_: CertSet) -> Iterator[Program]:
    """The connection is up; nothing comes from stdin, nothing from the server."""
    with serve(hello) as server, start(server.address) as program:
        program.read_until(b"hello")
        yield program


@contextmanager
def waiting_under_tls(certs: CertSet) -> Iterator[Program]:
    """The same within TLS."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        hello(conn)

    with serve(script) as server, start("--tls", "on", "--cacert", certs.ca, server.address) as program:
        program.read_until(b"hello")
        yield program


def hello(conn: Peer) -> None:
    """Speak once, and wait for the client's end."""
    conn.send(b"hello")
    conn.recv_until_eof()


PLACES = [connecting, shaking_hands, receiving, receiving_fast, sending, waiting, waiting_under_tls]


# ------------------------------------------------------------------------------------------------ the signals


def check_death(program: Program, number: int) -> None:
    """Send the signal: the program dies of it, soon and silently."""
    began = time.monotonic()
    os.kill(program.pid, number)
    program.wait(DEADLINE_S)
    assert time.monotonic() - began < SOON_S
    result = finish(program)
    assert (result.status, result.stderr) == (-number, "")


@SIGNALS
@pytest.mark.parametrize("place", PLACES)
def test_death_by_signal(certs: CertSet, place: Place, number: int) -> None:
    """Wherever it is, the program dies of the signal within 0.3 s, without traceback or message."""
    with place(certs) as program:
        check_death(program, number)


HANG = "import socket, time\nreal = socket.getaddrinfo\n"
# What is an address already needs no resolver; only the real question hangs.
HANG += "socket.getaddrinfo = lambda *a: real(*a) if a[5:] else (print('asked', flush=True), time.sleep(60))"


@SIGNALS
def test_death_while_a_resolver_hangs(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A name server that does not answer cannot be interrupted, and holds up nothing."""
    run_patched(monkeypatch, HANG)
    with start("name.invalid:1") as program:
        program.read_until(b"asked")
        check_death(program, number)


@SIGNALS
def test_death_while_a_thread_reads_stdin(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Where a thread waits for stdin, nobody waits for the thread."""
    run_patched(monkeypatch, "from cfcat.pipe import stdio\nstdio._open_again = lambda fd, access: None")
    with serve(hello) as server, start(server.address) as program:
        program.read_until(b"hello")
        check_death(program, number)


SLOW_IMPORT = """
import sys, time
class Slow:
    def find_spec(self, name, path, target=None):
        if name == "typer":
            print("importing", flush=True)
            time.sleep(60)
sys.meta_path.insert(0, Slow())
"""


def test_death_while_modules_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first statement on: Ctrl-C in the middle of an import shows no traceback either."""
    run_patched(monkeypatch, SLOW_IMPORT)
    with start("127.0.0.1:1") as program:
        program.read_until(b"importing")
        check_death(program, signal.SIGINT)


def test_ctrl_c_on_a_terminal(tmp_path: Path) -> None:
    """Typed, it is the same; the terminal is as it was."""
    with serve(hello) as server, (tmp_path / "output").open("wb") as file:
        with terminal(server.address, stdout=file) as term:
            until(lambda: (tmp_path / "output").read_bytes())
            began = time.monotonic()
            term.type("\x03")
            assert term.finish() == -signal.SIGINT
            assert time.monotonic() - began < SOON_S
            assert term.output == b"^C"  # the terminal's own echo
            assert (term.attributes(), term.flags()) == (term.attributes_before, term.flags_before)


@pytest.mark.parametrize(("name", "number"), [("INT", signal.SIGINT), ("HUP", signal.SIGHUP), ("TERM", signal.SIGTERM)])
def test_signal_ignored_from_the_start_stays_ignored(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """As under nohup, or in the background of a shell without job control."""
    run_by(monkeypatch, f"trap '' {name}; exec \"$@\"")

    def script(conn: Peer) -> None:
        conn.send(b"hello")
        conn.hang()
        conn.send(b", still there")

    with serve(script) as server, start(server.address) as program:
        program.read_until(b"hello")
        os.kill(program.pid, number)
        server.release()
        program.read_until(b"still there")
        assert program.wait(DEADLINE_S) == 0
        assert finish(program) == Result(b"hello, still there", "", 0)


def test_second_signal_in_a_row(certs: CertSet) -> None:
    """Twice Ctrl-C, as impatient people do."""
    with waiting_under_tls(certs) as program:
        os.kill(program.pid, signal.SIGINT)
        check_death(program, signal.SIGINT)
