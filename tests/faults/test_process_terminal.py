"""Rows 35, 36, 38 and 39 of the fault matrix: a terminal as standard input, and what becomes of its flags."""

from __future__ import annotations

import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.ways import WAYS, flags, hello_and_hang, shell_does
from tests.helpers.peers import Peer, refusing, serve
from tests.helpers.program import Result, finish, start
from tests.helpers.terminal import terminal
from tests.pipe.tools import DEADLINE_S, Transport, until

pytestmark = pytest.mark.one_python

# What a terminal takes of one line (N_TTY_BUF_SIZE), its newline included.
LINE_BYTES = 4096


# ------------------------------------------------------------------------------------------ 35, 36: stdin


def test_row_35_end_typed_on_an_empty_line(way: Transport, tmp_path: Path) -> None:
    """^D there is the end of stdin: it is passed on, the answer is read."""
    with way.serve(lambda conn: conn.send(conn.recv_until_eof())) as server:
        with (tmp_path / "output").open("wb") as stdout:
            with terminal(*way.options, server.address, stdout=stdout) as term:
                term.type("hello\r")
                until(lambda: server.received == b"hello\n")
                term.type("\x04")
                assert term.finish() == 0
                assert (term.attributes(), term.flags()) == (term.attributes_before, term.flags_before)
    assert (tmp_path / "output").read_bytes() == b"hello\n"
    assert server.ended == way.end


def test_row_35_end_typed_in_a_line(tmp_path: Path) -> None:
    """^D there sends what was typed, and the connection stays open."""
    with serve(Peer.recv_until_eof) as server, (tmp_path / "output").open("wb") as stdout:
        with terminal(server.address, stdout=stdout) as term:
            term.type("hel\x04")
            until(lambda: server.received == b"hel")
            term.type("lo\r\x04")
            assert term.finish() == 0
    assert server.received == b"hello\n"


def test_row_35_line_longer_than_a_terminal_takes(tmp_path: Path) -> None:
    """The terminal keeps 4095 bytes of it and its end, as for every program; cfcat loses none of those."""
    with serve(Peer.recv_until_eof) as server, (tmp_path / "output").open("wb") as stdout:
        with terminal(server.address, stdout=stdout) as term:
            assert server.accepted.wait(DEADLINE_S)
            term.type("x" * 5_000 + "\r")
            until(lambda: len(server.received) >= LINE_BYTES)
            term.type("next\r\x04")
            assert term.finish() == 0
    assert server.received == b"x" * (LINE_BYTES - 1) + b"\n" + b"next\n"


class Job:
    """What a shell has told of the program that it has put in the background, and how to call it back."""

    def __init__(self, folder: Path) -> None:
        self.output = folder / "output"
        self.fifo = folder / "fifo"
        self.number = folder / "number"
        os.mkfifo(self.fifo)

    def by(self, script: str) -> list[str]:
        """Run this script, in which the command is "$@"."""
        return shell_does(script.format(output=self.output, fifo=self.fifo, number=self.number))

    def state(self) -> str:
        """The program's state as the kernel has it: S sleeps, T is stopped."""
        return Path(f"/proc/{int(self.number.read_text())}/stat").read_text().rpartition(")")[2].split()[0]

    def go_on(self) -> None:
        """Let the script read its line."""
        self.fifo.write_text("\n")


def test_row_36_background_program_stops_when_it_would_read_the_terminal(tmp_path: Path) -> None:
    """SIGTTIN: not before somebody types; until then it works. In the foreground again it reads what was typed."""
    job = Job(tmp_path)
    by = job.by('set -m; "$@" >{output} & echo $! >{number}; read _ <{fifo}; fg >/dev/null')

    def script(conn: Peer) -> None:
        conn.send(b"hello")
        assert conn.recv_until(b"\n") == b"typed\n"
        conn.send(b", bye")

    with serve(script) as server, terminal(server.address, by=by) as term:
        until(lambda: job.output.exists() and job.output.read_bytes() == b"hello")
        assert job.state() != "T"
        term.type("typed\r")
        until(lambda: job.state() == "T")
        assert server.received == b""
        job.go_on()
        assert term.finish() == 0
    assert job.output.read_bytes() == b"hello, bye"


# A process group whose parent has gone; the leader of the session, from whose terminal it may not read, lives on.
ORPHAN = """
import os, sys
output, fifo, number, *command = sys.argv[1:]
if os.fork() == 0:
    if os.fork() == 0:
        os.setpgid(0, 0)
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT), 1)
        open(number, "w").write(str(os.getpid()))
        os.execvp(command[0], command)
    os._exit(0)
os.wait()
open(fifo).read()
"""


def test_row_36_orphan_that_may_not_read_the_terminal(tmp_path: Path) -> None:
    """Left behind by its shell it gets EIO: that is the end of stdin, and nothing spins."""
    job = Job(tmp_path)

    def script(conn: Peer) -> None:
        conn.send(b"hello")
        conn.recv_until_eof()
        conn.hang()
        conn.send(b", bye")

    by = [sys.executable, "-c", ORPHAN, str(job.output), str(job.fifo), str(job.number)]
    with serve(script) as server, terminal(server.address, by=by) as term:
        until(lambda: job.output.exists() and job.output.read_bytes() == b"hello")
        assert not server.saw_eof.is_set()
        term.type("typed\r")
        assert server.saw_eof.wait(DEADLINE_S)
        assert server.received == b""
        until(lambda: job.state() == "S")
        server.release()
        assert server.saw_fin.wait(DEADLINE_S)
        until(lambda: not Path(f"/proc/{job.number.read_text()}").exists() or job.state() == "Z")
        job.go_on()
        assert term.finish() == 0
        assert term.output == b"typed\r\n"  # the echo, and no message
    assert job.output.read_bytes() == b"hello, bye"


def test_row_36_terminal_that_hangs_up() -> None:
    """The terminal goes away, and nobody has told the program by a signal: the end of stdin."""
    master, slave = os.openpty()
    with serve(lambda conn: conn.send(conn.recv_until_eof())) as server, start(server.address, stdin=slave) as program:
        os.close(slave)
        os.write(master, b"last words\n")
        until(lambda: server.received)
        os.close(master)
        assert finish(program) == Result(b"last words\n", "", 0)


# ------------------------------------------------------------------------------------------- 38, 39: flags


@contextmanager
def shells_terminal(*, nonblocking: bool) -> Iterator[tuple[int, int]]:
    """Both sides of a terminal, as a program before us has left it; what is typed comes byte for byte."""
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(slave, not nonblocking)
    try:
        yield master, slave
    finally:
        os.close(slave)
        os.close(master)


NONBLOCKING = pytest.mark.parametrize("nonblocking", [True, False], ids=["row_38", "row_39"])


@pytest.mark.parametrize(
    ("way", "nonblocking"),
    [("plain", True), *((name, False) for name in WAYS)],
    indirect=["way"],
    ids=["row_38", *(f"row_39 {name}" for name in WAYS)],
)
def test_row_38_39_flags_of_the_terminal_are_left_as_found(way: Transport, nonblocking: bool) -> None:
    """O_NONBLOCK set by the parent is coped with and stays (38), and is never set by us (39).

    stdin, stdout and stderr are one terminal; its flags and settings are those found, before, during and after.
    """

    def script(conn: Peer) -> None:
        conn.send(b"hello")
        assert conn.recv_exactly(5) == b"typed"
        conn.send(b", bye")

    with shells_terminal(nonblocking=nonblocking) as (master, slave), way.serve(script) as server:
        found = flags(slave), termios.tcgetattr(slave)
        arguments = ["--pipe", *way.options, server.address]
        with start(*arguments, stdin=slave, stdout=slave, stderr=slave) as program:
            assert os.read(master, 100) == b"hello"
            assert (flags(slave), termios.tcgetattr(slave)) == found
            os.write(master, b"typed")
            assert program.wait(DEADLINE_S) == 0
        assert os.read(master, 100) == b", bye"
        assert (flags(slave), termios.tcgetattr(slave)) == found


@NONBLOCKING
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_row_38_39_flags_of_the_terminal_after_a_violent_end(nonblocking: bool, number: int) -> None:
    """Not even SIGKILL leaves behind what the shell would stumble over."""
    with shells_terminal(nonblocking=nonblocking) as (master, slave), serve(hello_and_hang) as server:
        found = flags(slave), termios.tcgetattr(slave)
        with start("--pipe", server.address, stdin=slave, stdout=slave, stderr=slave) as program:
            assert os.read(master, 100) == b"hello"
            os.kill(program.pid, number)
            assert program.wait(DEADLINE_S) == -number
            server.release()
        assert (flags(slave), termios.tcgetattr(slave)) == found


def test_row_39_stderr_keeps_its_flags() -> None:
    """Also where something was written to it."""
    with shells_terminal(nonblocking=False) as (master, slave):
        found = flags(slave), termios.tcgetattr(slave)
        with refusing() as port, start(f"127.0.0.1:{port}", stderr=slave) as program:
            assert program.wait(DEADLINE_S) == 7
        assert (flags(slave), termios.tcgetattr(slave)) == found
        assert os.read(master, 1000) == f"cfcat: 127.0.0.1:{port}: connection refused\n".encode()
