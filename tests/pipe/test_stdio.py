"""The process's own edges: every kind of standard descriptor works, and is left as it was found."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.peers import Peer, refusing, serve
from tests.helpers.program import Result, cfcat, finish, shell, start
from tests.pipe.tools import DEADLINE_S, Transport, pattern, run_by, run_patched, until, until_arrived

LINE = b"question\n"  # what a terminal in its line mode passes on as it is
# As on other systems than Linux: nothing can be opened again, threads do the waiting.
THREADS = "from cfcat.pipe import stdio\nstdio._open_again = lambda fd, access: None"
NONBLOCKING = pytest.mark.parametrize("nonblocking", [False, True], ids=["blocking", "O_NONBLOCK"])


@dataclass
class Edge:
    """A descriptor for cfcat, and what the test can do at the other end of it."""

    fd: int
    send: Callable[[], object] = lambda: None  # LINE and the end
    received: Callable[[], bytes] = lambda: b""


Kind = Callable[[Path], AbstractContextManager[Edge]]


def flags(fd: int) -> int:
    """The flags of an open file, O_NONBLOCK among them: shared by all processes that have inherited it."""
    return fcntl.fcntl(fd, fcntl.F_GETFL)


def settings(fd: int) -> list[object]:
    """A terminal's settings; of anything else, none."""
    return list(termios.tcgetattr(fd)) if os.isatty(fd) else []


@pytest.fixture(params=["opened again", "threads"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How cfcat waits for pipes and terminals: on an open file of its own, or in threads."""
    if request.param == "threads":
        run_patched(monkeypatch, THREADS)
    return str(request.param)


# ---------------------------------------------------------------------------------------------------- stdin


@contextmanager
def pipe_in(_: Path) -> Iterator[Edge]:
    read, write = os.pipe()

    def send() -> None:
        os.write(write, LINE)
        os.close(write)

    yield Edge(read, send)
    os.close(read)


@contextmanager
def fifo_in(folder: Path) -> Iterator[Edge]:
    """A FIFO whose writer comes and goes while cfcat reads it."""
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    holder = os.open(fifo, os.O_RDWR)
    read = os.open(fifo, os.O_RDONLY)

    def send() -> None:
        fifo.open("wb").close()
        with fifo.open("wb") as writer:
            writer.write(LINE)
        os.close(holder)

    yield Edge(read, send)
    os.close(read)


@contextmanager
def left_fifo_in(folder: Path) -> Iterator[Edge]:
    """A FIFO whose writer has come and gone before cfcat began."""
    os.mkfifo(folder / "fifo")
    holder = os.open(folder / "fifo", os.O_RDWR)
    read = os.open(folder / "fifo", os.O_RDONLY)
    os.write(holder, LINE)
    os.close(holder)
    yield Edge(read)
    os.close(read)


@contextmanager
def file_in(folder: Path) -> Iterator[Edge]:
    (folder / "input").write_bytes(LINE)
    with (folder / "input").open("rb") as file:
        yield Edge(file.fileno())


@contextmanager
def socket_in(_: Path) -> Iterator[Edge]:
    here, there = socket.socketpair()

    def send() -> None:
        there.sendall(LINE)
        there.shutdown(socket.SHUT_WR)

    with here, there:
        yield Edge(here.fileno(), send)


@contextmanager
def terminal_in(_: Path) -> Iterator[Edge]:
    master, slave = os.openpty()
    yield Edge(slave, lambda: os.write(master, LINE + b"\x04"))
    os.close(slave)
    os.close(master)


@contextmanager
def master_in(_: Path) -> Iterator[Edge]:
    """The other side of a terminal, which a program that plays one has: opening it again would make a new one."""
    master, slave = os.openpty()
    tty.setraw(slave)

    def send() -> None:
        os.write(slave, LINE)
        os.close(slave)

    yield Edge(master, send)
    os.close(master)


@NONBLOCKING
@pytest.mark.parametrize("kind", [pipe_in, fifo_in, left_fifo_in, file_in, socket_in, terminal_in, master_in])
def test_stdin_of_every_kind(tmp_path: Path, kind: Kind, nonblocking: bool) -> None:
    """All of it is sent, and its end; its flags and settings are those found, before, during and after the run."""
    check_stdin(kind(tmp_path), nonblocking)


@NONBLOCKING
@pytest.mark.parametrize("kind", [pipe_in, fifo_in, left_fifo_in, terminal_in])
def test_stdin_in_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, nonblocking: bool) -> None:
    """The same where a descriptor cannot be opened again."""
    run_patched(monkeypatch, THREADS)
    check_stdin(kind(tmp_path), nonblocking)


def check_stdin(context: AbstractContextManager[Edge], nonblocking: bool) -> None:
    def script(conn: Peer) -> None:
        conn.send(b"hello ")
        conn.send(conn.recv_until_eof())

    with context as edge, serve(script) as server:
        os.set_blocking(edge.fd, not nonblocking)
        found = flags(edge.fd), settings(edge.fd)
        with start(server.address, stdin=edge.fd) as program:
            program.read_until(b"hello")
            assert (flags(edge.fd), settings(edge.fd)) == found
            edge.send()
            assert finish(program) == Result(b"hello " + LINE, "", 0)
        assert (flags(edge.fd), settings(edge.fd)) == found


def test_stdin_is_null() -> None:
    """At its end at once: the answer is received in full."""
    with serve(Peer.recv_until_eof) as server:
        assert cfcat(server.address) == Result(b"", "", 0)
    assert server.ended == "eof"


def test_stdin_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty; and what is read is never the connection, which would otherwise get the number 0."""
    run_by(monkeypatch, 'exec "$@" <&-')

    def script(conn: Peer) -> None:
        conn.send(b"echo?")
        assert conn.recv_until_eof() == b""

    with serve(script) as server:
        assert cfcat(server.address) == Result(b"echo?", "", 0)


def test_stdin_is_a_directory() -> None:
    """Python itself refuses, before any of our code."""
    with serve(Peer.recv_until_eof) as server:
        result = shell(f"cfcat {server.address} </")
        assert (result.stdout, result.status) == (b"", 1)
        assert "is a directory" in result.stderr
        assert server.connections == 0


def test_stdin_cannot_be_read(tmp_path: Path) -> None:
    """26, and the connection is not ended as if all were well."""
    with serve(Peer.recv_until_eof) as server:
        result = shell(f"cfcat {server.address} 0>{tmp_path}/file")
    assert result == Result(b"", "cfcat: cannot read standard input: bad file descriptor\n", 26)
    assert server.ended == "reset"


def test_stdin_pipe_larger_than_its_buffer(way: str, plain: Transport) -> None:
    """Nothing is lost or repeated where writer, program and server wait for each other."""
    data = pattern(5 << 20)
    with plain.serve(lambda conn: conn.recv_until_eof()) as server:
        assert cfcat(server.address, stdin=data) == Result(b"", "", 0)
    assert (len(server.received), server.received == data) == (len(data), True)


def test_read_that_blocks_holds_up_nothing(way: str, plain: Transport) -> None:
    """The server's end is the end of the run, whoever is waiting for stdin."""
    with plain.serve(lambda conn: conn.send(b"bye")) as server, start(server.address) as program:
        program.wait(DEADLINE_S)
        assert program.stdin is not None
        assert finish(program) == Result(b"bye", "", 0)


# --------------------------------------------------------------------------------------------------- stdout


def read_all(fd: int) -> bytes:
    """What is in a pipe whose writers have gone."""
    with open(fd, "rb") as pipe:
        return pipe.read()


@contextmanager
def pipe_out(_: Path) -> Iterator[Edge]:
    read, write = os.pipe()

    def received() -> bytes:
        os.close(write)
        return read_all(read)

    yield Edge(write, received=received)


@contextmanager
def fifo_out(folder: Path) -> Iterator[Edge]:
    os.mkfifo(folder / "fifo")
    read = os.open(folder / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    write = os.open(folder / "fifo", os.O_WRONLY)

    def received() -> bytes:
        os.close(write)
        return read_all(read)

    yield Edge(write, received=received)


@contextmanager
def two_way_fifo_out(folder: Path) -> Iterator[Edge]:
    """A shell's `exec 3<>fifo; cfcat … >&3`."""
    os.mkfifo(folder / "fifo")
    both = os.open(folder / "fifo", os.O_RDWR)
    yield Edge(both, received=lambda: os.read(both, 1000))
    os.close(both)


@contextmanager
def file_out(folder: Path) -> Iterator[Edge]:
    with (folder / "output").open("wb", buffering=0) as file:
        yield Edge(file.fileno(), received=(folder / "output").read_bytes)


@contextmanager
def appended_file_out(folder: Path) -> Iterator[Edge]:
    with (folder / "output").open("ab", buffering=0) as file:
        yield Edge(file.fileno(), received=(folder / "output").read_bytes)


@contextmanager
def socket_out(_: Path) -> Iterator[Edge]:
    here, there = socket.socketpair()
    with here, there:
        yield Edge(here.fileno(), received=lambda: there.recv(1000))


@contextmanager
def terminal_out(_: Path) -> Iterator[Edge]:
    master, slave = os.openpty()

    def received() -> bytes:
        output = b""
        while not output.endswith(b"after"):
            output += os.read(master, 1000)
        return output

    yield Edge(slave, received=received)
    os.close(slave)
    os.close(master)


@contextmanager
def master_out(_: Path) -> Iterator[Edge]:
    """The other side of a terminal."""
    master, slave = os.openpty()
    tty.setraw(slave)

    def received() -> bytes:
        data = b""
        # The kernel carries it over in its own time, in pieces.
        while select.select([slave], [], [], 0.2)[0]:
            data += os.read(slave, 1000)
        return data

    yield Edge(master, received=received)
    os.close(slave)
    os.close(master)


OUTPUTS = [
    *(pipe_out, fifo_out, two_way_fifo_out, file_out, appended_file_out),
    *(socket_out, terminal_out, master_out),
]


@NONBLOCKING
@pytest.mark.parametrize("kind", OUTPUTS)
def test_stdout_of_every_kind(tmp_path: Path, kind: Kind, nonblocking: bool) -> None:
    """It gets everything, at the place where it stood; its flags and settings are those found throughout."""
    check_stdout(kind(tmp_path), nonblocking)


@NONBLOCKING
@pytest.mark.parametrize("kind", [pipe_out, fifo_out, two_way_fifo_out, terminal_out])
def test_stdout_in_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, nonblocking: bool) -> None:
    """The same where a descriptor cannot be opened again."""
    run_patched(monkeypatch, THREADS)
    check_stdout(kind(tmp_path), nonblocking)


def check_stdout(context: AbstractContextManager[Edge], nonblocking: bool) -> None:
    first, seen = threading.Event(), threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"ans")
        until_arrived(conn, read=True)
        first.set()
        conn.wait(seen)
        conn.send(b"wer")

    with context as edge, serve(script) as server:
        os.set_blocking(edge.fd, not nonblocking)
        found = flags(edge.fd), settings(edge.fd)
        os.write(edge.fd, b"before,")
        with start(server.address, stdout=edge.fd) as program:
            until(lambda: first.is_set() or program.poll() is not None)
            assert (flags(edge.fd), settings(edge.fd)) == found
            seen.set()
            program.wait(DEADLINE_S)
            result = finish(program)
        assert (flags(edge.fd), settings(edge.fd)) == found
        os.write(edge.fd, b",after")
        assert (result, edge.received()) == (Result(b"", "", 0), b"before,answer,after")


def test_stdout_that_others_append_to(tmp_path: Path) -> None:
    """`>>`: what another program appends meanwhile is not overwritten."""
    log = tmp_path / "log"
    log.write_bytes(b"old,")
    seen = threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"one,")
        conn.wait(seen)
        conn.send(b"three")

    with serve(script) as server, log.open("ab") as file, start(server.address, stdout=file) as program:
        until(lambda: log.read_bytes() == b"old,one,")
        with log.open("ab") as other:
            other.write(b"two,")
        seen.set()
        assert program.wait(DEADLINE_S) == 0
    assert log.read_bytes() == b"old,one,two,three"


def test_stdout_is_null() -> None:
    """Everything is received, and nothing is wrong."""
    data = pattern(1 << 20)
    with serve(lambda conn: conn.send(data)) as server, Path("/dev/null").open("wb") as null:
        with start(server.address, stdout=null) as program:
            assert program.wait(DEADLINE_S) == 0
    assert server.ended == "eof"


@pytest.mark.parametrize("closed", [">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_stdout_is_closed(closed: str) -> None:
    """23 before connecting."""
    with serve(Peer.recv_until_eof) as server:
        result = shell(f"cfcat {server.address} {closed}")
        assert server.connections == 0
    stderr = "" if "2>" in closed else "cfcat: standard output is closed\n"
    assert result == Result(b"", stderr, 23)


def test_stdout_is_full() -> None:
    """23, at the first byte."""
    with serve(lambda conn: conn.send(b"data")) as server:
        result = shell(f"cfcat {server.address} >/dev/full")
    assert result == Result(b"", "cfcat: cannot write standard output: no space left on device\n", 23)


def test_stdout_cannot_be_written(tmp_path: Path) -> None:
    """23 as well."""
    (tmp_path / "file").touch()
    with serve(lambda conn: conn.send(b"data")) as server:
        result = shell(f"cfcat {server.address} 1<{tmp_path}/file")
    assert result == Result(b"", "cfcat: cannot write standard output: bad file descriptor\n", 23)


@pytest.mark.parametrize("option", ["--help", "--version"])
@pytest.mark.parametrize(
    ("stdout", "text"),
    [(">/dev/full", "cannot write standard output: no space left on device"), (">&-", "standard output is closed")],
)
def test_help_and_version_cannot_be_written(option: str, stdout: str, text: str) -> None:
    """The same status and the same kind of message as for data, not a traceback."""
    assert shell(f"cfcat {option} {stdout}") == Result(b"", f"cfcat: {text}\n", 23)


def test_slow_stdout_gets_everything(way: str, plain: Transport) -> None:
    """A reader that begins late gets all of it, in order."""
    data = pattern(5 << 20)
    begun = threading.Event()

    def script(conn: Peer) -> None:
        begun.set()
        conn.send(data)

    with plain.serve(script) as server, start(server.address) as program:
        assert begun.wait(DEADLINE_S)
        result = finish(program)
    assert (len(result.stdout), result.stdout == data) == (len(data), True)
    assert (result.stderr, result.status) == ("", 0)


@pytest.mark.parametrize("kind", [socket_out, pipe_out, terminal_out])
def test_full_stdout_does_not_stop_the_sending(tmp_path: Path, kind: Kind) -> None:
    """Whatever stdout is, waiting for it never blocks the program."""
    full = threading.Event()

    def script(conn: Peer) -> None:
        conn.fill()
        full.set()
        assert conn.recv_exactly(5) == b"hello"
        conn.reset()

    with kind(tmp_path) as edge, serve(script) as server, start("--raw", server.address, stdout=edge.fd) as program:
        assert full.wait(DEADLINE_S)
        program.say(b"hello")
        until(lambda: server.received == b"hello")


def test_half_open_end_of_stdout_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """--half-open closes stdout for its reader there too."""
    run_patched(monkeypatch, THREADS)

    def script(conn: Peer) -> None:
        conn.send(b"bye")
        conn.end()
        assert conn.recv_until_eof() == b"more"

    with serve(script) as server, start("--half-open", server.address) as program:
        assert program.stdout is not None
        assert program.stdout.read() == b"bye"
        program.say(b"more")
        assert finish(program) == Result(b"", "", 0)


def test_reader_of_stdout_leaves_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where data comes, the missing reader is noticed there too."""
    run_patched(monkeypatch, THREADS)
    with serve(drip) as server, start(server.address) as program:
        program.read_until(b".")
        assert program.stdout is not None
        program.stdout.close()
        assert program.wait(DEADLINE_S) == -13
        program.stdout = None


def drip(conn: Peer) -> None:
    """Send until the client is gone."""
    try:
        while True:
            conn.send(b".")
            conn.quiet(0.01)
    except OSError:
        pass


# --------------------------------------------------------------------------------------- stdin and stdout at once


@NONBLOCKING
def test_one_socket_for_both(nonblocking: bool) -> None:
    """As inetd starts it: stdin and stdout are the two directions of one socket, each with its own end."""
    here, there = socket.socketpair()

    def script(conn: Peer) -> None:
        conn.send(b"welcome")
        assert conn.recv_exactly(5) == b"hello"
        conn.send(b"answer")
        assert conn.recv_until_eof() == b" and bye"
        conn.send(b", bye")

    with here, there, serve(script) as server:
        here.setblocking(not nonblocking)
        there.settimeout(DEADLINE_S)
        found = flags(here.fileno())
        with start(server.address, stdin=here.fileno(), stdout=here.fileno()) as program:
            assert there.recv(7, socket.MSG_WAITALL) == b"welcome"
            assert flags(here.fileno()) == found
            there.sendall(b"hello")
            assert there.recv(6, socket.MSG_WAITALL) == b"answer"
            there.sendall(b" and bye")
            there.shutdown(socket.SHUT_WR)
            assert there.recv(5, socket.MSG_WAITALL) == b", bye"
            assert program.wait(DEADLINE_S) == 0
        assert flags(here.fileno()) == found


def test_one_socket_for_both_whose_other_end_goes_away() -> None:
    """The client of an inetd closes: its end is passed on, and what the server says then has no reader."""
    here, there = socket.socketpair()
    gone = threading.Event()

    def script(conn: Peer) -> None:
        conn.recv_until_eof()
        gone.set()
        conn.send(b"anybody?")
        conn.hang()

    with here, there, serve(script) as server:
        with start(server.address, stdin=here.fileno(), stdout=here.fileno()) as program:
            assert server.accepted.wait(DEADLINE_S)
            here.close()
            there.close()
            assert program.wait(DEADLINE_S) == -13
            server.release()


def test_one_socket_that_neither_side_reads(plain: Transport) -> None:
    """Both directions of both connections are full, and everything gets through once they are read."""
    here, there = socket.socketpair()
    size = 4 << 20
    received = bytearray()

    def read_back() -> None:
        while chunk := there.recv(1 << 16):
            received.extend(chunk)

    def send() -> None:
        there.sendall(pattern(size))
        there.shutdown(socket.SHUT_WR)

    def script(conn: Peer) -> None:
        conn.send(pattern(size))
        conn.recv_until_eof()

    with here, there, plain.serve(script) as server:
        there.settimeout(DEADLINE_S)
        with start(server.address, stdin=here.fileno(), stdout=here.fileno()) as program:
            here.close()
            sender = threading.Thread(target=send)
            sender.start()
            read_back()
            sender.join()
            assert program.wait(DEADLINE_S) == 0
    assert (len(received), bytes(received) == pattern(size)) == (size, True)
    assert (len(server.received), server.received == pattern(size)) == (size, True)


# --------------------------------------------------------------------------------------------------- stderr


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full", "2>/dev/null"])
def test_stderr_that_takes_nothing_changes_nothing(stderr: str, tmp_path: Path) -> None:
    """Statuses and data are those of any other run, with a message to tell and without."""
    with serve(lambda conn: conn.send(b"data")) as server:
        assert shell(f"cfcat {server.address} {stderr}") == Result(b"data", "", 0)
    with refusing() as port:
        assert shell(f"cfcat 127.0.0.1:{port} {stderr}") == Result(b"", "", 7)
    assert shell(f"cfcat nonsense {stderr}") == Result(b"", "", 2)


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full"])
def test_warning_that_cannot_be_written(tls: Transport, stderr: str) -> None:
    """-k warns, nobody hears it, and above all not the server."""
    with tls.serve(lambda conn: conn.send(conn.recv_until_eof())) as server:
        result = shell(f"cfcat --tls on -k {server.address} {stderr}", stdin=b"data")
    assert result == Result(b"data", "", 0)
    assert server.received == b"data"


def test_stderr_whose_reader_is_gone() -> None:
    """A message to nobody: no SIGPIPE, the status is that of the error."""
    read, write = os.pipe()
    os.close(read)
    with refusing() as port, start(f"127.0.0.1:{port}", stderr=write) as program:
        os.close(write)
        assert program.wait(DEADLINE_S) == 7


def test_stderr_keeps_its_flags() -> None:
    """Also where it is the terminal, and something was written to it."""
    master, slave = os.openpty()
    found = flags(slave), settings(slave)
    with refusing() as port, start(f"127.0.0.1:{port}", stderr=slave) as program:
        assert program.wait(DEADLINE_S) == 7
    assert (flags(slave), settings(slave)) == found
    assert os.read(master, 1000) == f"cfcat: 127.0.0.1:{port}: connection refused\r\n".encode()
    os.close(slave)
    os.close(master)


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_no_standard_descriptor_becomes_the_connection(monkeypatch: pytest.MonkeyPatch, closed: str) -> None:
    """What is closed is filled with /dev/null first: a message to descriptor 2 must not go to the server."""
    run_by(monkeypatch, f'exec "$@" {closed}')
    with serve(hello_and_hang) as server, start(server.address) as program:
        program.read_until(b"hello")
        links = {fd: os.readlink(f"/proc/{program.pid}/fd/{fd}") for fd in range(3)}
        filled = {0} if closed == "<&-" else {2} if closed == "2>&-" else {0, 2}
        assert {fd for fd, link in links.items() if link == "/dev/null"} == filled
        assert not [link for link in links.values() if link.startswith("socket:")]
        server.release()
        assert program.wait(DEADLINE_S) == 0


def test_program_killed_leaves_no_flags_behind(tmp_path: Path) -> None:
    """Not even SIGKILL leaves O_NONBLOCK on what the shell goes on using."""
    master, slave = os.openpty()
    found = flags(slave), settings(slave)
    with serve(hello_and_hang) as server, start(server.address, stdin=slave, stderr=slave) as program:
        program.read_until(b"hello")
        program.kill()
        program.wait(DEADLINE_S)
        server.release()
        assert (flags(slave), settings(slave)) == found
    os.close(slave)
    os.close(master)


def hello_and_hang(conn: Peer) -> None:
    conn.send(b"hello")
    conn.hang()


@pytest.mark.parametrize(
    ("redirection", "text", "status"),
    [
        ("0> >(cat)", "cannot read standard input", 26),
        ("< /dev/null 1< <(:)", "cannot write standard output", 23),
    ],
)
def test_descriptor_of_the_wrong_direction(redirection: str, text: str, status: int) -> None:
    """An output cannot be read nor an input written, though opening it again would allow that."""

    def script(conn: Peer) -> None:
        if status == 23:
            conn.send(b"answer")
        conn.recv_until_eof()

    with serve(script) as server:
        result = shell(f"cfcat {server.address} {redirection}")
    assert result == Result(b"", f"cfcat: {text}: bad file descriptor\n", status)
