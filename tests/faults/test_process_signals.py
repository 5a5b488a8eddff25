"""Rows 41 to 45, 48 and 49 of the fault matrix: dead by the signal itself, at once, without a word, wherever it is.

Rows 46 and 47 (SIGTSTP, SIGWINCH) are about the interactive session, and tested with its screen.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

from tests.faults.ways import WAYS, injecting, patched, shell_does
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, blackhole, serve
from tests.helpers.program import Program, Result, cfcat, finish, start
from tests.helpers.terminal import terminal
from tests.pipe.tools import DEADLINE_S, Transport, fill, until

pytestmark = pytest.mark.one_python

SOON_S = 0.3
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


@contextmanager
def in_the_dialog(certs: CertSet) -> Iterator[Program]:
    """The server has our EHLO and does not answer."""

    def script(conn: Peer) -> None:
        conn.send(b"220 mail.example ESMTP\r\n")
        conn.recv_until(b"\r\n")
        conn.recv_until_eof()

    with serve(script) as server, start("--starttls", "smtp", "--cacert", certs.ca, server.address) as program:
        until(lambda: server.received.endswith(b"\r\n"))
        yield program


@contextmanager
def resolving(_: CertSet) -> Iterator[Program]:
    """A name server does not answer, and cannot be interrupted."""
    with start("name.invalid:1", by=patched(HANG)) as program:
        program.read_until(b"asked")
        yield program


@contextmanager
def reading_in_a_thread(_: CertSet) -> Iterator[Program]:
    """A thread waits for stdin; nobody waits for the thread."""
    by = patched("from cfcat.edges import descriptors\ndescriptors.open_again = lambda fd, access, pipe_bytes=0: None")
    with serve(hello) as server, start(server.address, by=by) as program:
        program.read_until(b"hello")
        yield program


@contextmanager
def importing(_: CertSet) -> Iterator[Program]:
    """In the middle of the imports."""
    with start("127.0.0.1:1", by=patched(SLOW_IMPORT)) as program:
        program.read_until(b"importing")
        yield program


@contextmanager
def closing(_: CertSet) -> Iterator[Program]:
    """The server has ended and takes nothing more: for a second what was read from stdin still waits for it."""
    flowing, stalled = threading.Event(), threading.Event()

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        flowing.set()
        conn.wait(stalled)
        conn.send(b"bye")
        conn.end()
        conn.hang()
        conn.reset()

    with serve(script) as server, start(server.address) as program:
        fill(program.stdin, flowing)
        stalled.set()
        program.read_until(b"bye")
        yield program
        server.release()


HANG = "import socket, time\nreal = socket.getaddrinfo\n"
# What is an address already needs no resolver; only the real question hangs.
HANG += "socket.getaddrinfo = lambda *a: real(*a) if a[5:] else (print('asked', flush=True), time.sleep(60))"

SLOW_IMPORT = """
import signal, time
import cfcat.__main__  # its first statement is what counts
class Slow:
    def find_spec(self, name, path, target=None):
        if name == "cfcat.core.sockets":
            print("importing", flush=True)
            time.sleep(60)
sys.meta_path.insert(0, Slow())
"""

PLACES = [
    *(connecting, shaking_hands, in_the_dialog, resolving, importing),
    *(receiving, receiving_fast, sending, waiting, waiting_under_tls, reading_in_a_thread, closing),
]
SOME_PLACES = [resolving, receiving_fast, waiting_under_tls]


# ------------------------------------------------------------------------------------- 41 to 44: the signals


def check_death(program: Program, *numbers: int) -> None:
    """Send the signals: the program dies of the first, soon and silently."""
    began = time.monotonic()
    for number in numbers:
        os.kill(program.pid, number)
    program.wait(DEADLINE_S)
    assert time.monotonic() - began < SOON_S
    result = finish(program)
    assert (result.status, result.stderr) == (-numbers[0], "")


@pytest.mark.parametrize("place", PLACES)
def test_row_41_sigint(certs: CertSet, place: Place) -> None:
    """Wherever it is, the program dies of the signal within 0.3 s, without traceback or message."""
    with place(certs) as program:
        check_death(program, signal.SIGINT)


def test_row_41_ctrl_c_on_a_terminal(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("number", "times"),
    [(signal.SIGINT, 1), (signal.SIGINT, 2), (signal.SIGTERM, 1), (signal.SIGHUP, 1)],
    ids=["row_41", "row_42", "row_43", "row_44"],
)
def test_row_41_42_43_44_signal_at_the_password_prompt(certs: CertSet, number: int, times: int) -> None:
    """SEC-R23: dead by the signal, also where it comes twice; the echo is back, and nothing was connected."""
    options = ["--cert", str(certs.client.chain), "--key", str(certs.client.encrypted_key)]
    with serve(hello) as server:
        with terminal("--pipe", "--tls", "on", "--cacert", str(certs.ca), *options, server.address) as term:
            term.expect("password of .*: ")
            before = len(term.output)
            for _ in range(times):
                os.kill(term.process.pid, number)
            assert term.finish() == -number
            assert (term.attributes(), term.flags()) == (term.attributes_before, term.flags_before)
            assert term.output[before:].strip() == b""
        assert server.connections == 0


@pytest.mark.parametrize("place", [waiting_under_tls, closing])
def test_row_42_sigint_twice(certs: CertSet, place: Place) -> None:
    """As impatient people do: no traceback from whatever the first one interrupted."""
    with place(certs) as program:
        check_death(program, signal.SIGINT, signal.SIGINT)


@pytest.mark.parametrize("call", ["connect", "recvfrom", "shutdown"])
def test_row_42_sigint_in_the_middle_of_things(call: str) -> None:
    """Within the system call itself, be it one of the cleaning up."""
    with serve(lambda conn: conn.send(conn.recv_until_eof())) as server:
        result = cfcat(server.address, stdin=b"data", by=injecting(f"{call}:signal=INT:when=1"))
    assert result == Result(b"", "", -signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["row_43", "row_44"])
@pytest.mark.parametrize("place", SOME_PLACES)
def test_row_43_44_sigterm_and_sighup(certs: CertSet, number: int, place: Place) -> None:
    """The same as SIGINT."""
    with place(certs) as program:
        check_death(program, number)


@pytest.mark.parametrize(("name", "number"), [("INT", signal.SIGINT), ("HUP", signal.SIGHUP), ("TERM", signal.SIGTERM)])
def test_row_44_signal_ignored_from_the_start_stays_ignored(name: str, number: int) -> None:
    """As under nohup, or in the background of a shell without job control."""

    def script(conn: Peer) -> None:
        conn.send(b"hello")
        conn.hang()
        conn.send(b", still there")

    with serve(script) as server, start(server.address, by=shell_does(f"trap '' {name}; exec \"$@\"")) as program:
        program.read_until(b"hello")
        os.kill(program.pid, number)
        server.release()
        program.read_until(b"still there")
        assert program.wait(DEADLINE_S) == 0
        assert finish(program) == Result(b"hello, still there", "", 0)


# ----------------------------------------------------------------------------- 45, 48, 49: the other signals


@pytest.mark.parametrize(
    ("way", "at_start"),
    [("plain", "-"), *((name, "''") for name in WAYS)],
    indirect=["way"],
    ids=["default", *(f"ignored, {name}" for name in WAYS)],
)
def test_row_45_sigpipe_at_start_makes_no_difference_to_a_reader_that_leaves(way: Transport, at_start: str) -> None:
    """Dead by SIGPIPE when stdout's reader is gone, whatever the parent does about it."""
    by = shell_does(f'trap {at_start} PIPE; exec "$@"')
    with way.serve(hello) as server, start(*way.options, server.address, by=by) as program:
        program.read_until(b"hello")
        assert program.stdout is not None
        program.stdout.close()
        assert program.wait(DEADLINE_S) == -signal.SIGPIPE
        assert program.stderr is not None
        assert program.stderr.read() == b""
        program.stdout = None


def test_row_45_sigpipe_is_not_for_a_peer_that_leaves(way: Transport) -> None:
    """Also with the default action, sending to nobody is an error with a status."""

    def script(conn: Peer) -> None:
        conn.send(b"hello")
        conn.recv_until(b"x")
        conn.reset()

    by = shell_does('trap - PIPE; exec "$@"')
    with way.serve(script) as server, start(*way.options, server.address, by=by) as program:
        program.read_until(b"hello")
        with suppress(BrokenPipeError):
            while program.poll() is None:
                program.say(b"x")
        program.wait(DEADLINE_S)
        assert finish(program).status in (55, 56)


def test_row_48_signals_of_no_interest(certs: CertSet) -> None:
    """SIGCHLD and SIGWINCH do nothing; SIGUSR1 and SIGQUIT have their default action."""
    for number in (signal.SIGUSR1, signal.SIGQUIT):
        with waiting(certs) as program:
            os.kill(program.pid, signal.SIGCHLD)
            os.kill(program.pid, signal.SIGWINCH)
            check_death(program, number)


def caught(program: Program) -> set[int]:
    """The signals for which the program has a handler (Linux)."""
    status = Path(f"/proc/{program.pid}/status").read_text()
    mask = int(next(line for line in status.splitlines() if line.startswith("SigCgt:")).split()[1], 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


@pytest.mark.parametrize("place", [connecting, receiving_fast, waiting_under_tls, reading_in_a_thread])
def test_row_49_no_handler_of_python_can_raise(certs: CertSet, place: Place) -> None:
    """There is none: not the KeyboardInterrupt of Python's own, which could leave a lock held."""
    with place(certs) as program:
        assert not caught(program) & {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE}
        program.kill()
