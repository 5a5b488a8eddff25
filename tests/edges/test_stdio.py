"""The process's own edges: every kind of standard descriptor works, and is left as it was found."""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
import socket
import termios
import threading
import tty
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from cfcat.edges.stdin import Input, open_input
from tests.helpers.peers import Peer, serve
from tests.helpers.program import Result, cfcat, finish, shell, start
from tests.pipe.tools import DEADLINE_S, Transport, pattern, run_patched, until, until_arrived

LINE = b"question\n"  # what a terminal in its line mode passes on as it is
# As on other systems than Linux: nothing can be opened again, threads do the waiting.
THREADS = "from cfcat.edges import descriptors\ndescriptors.open_again = lambda fd, access, pipe_bytes=0: None"
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


def test_stdin_cannot_be_read() -> None:
    """26, after five seconds of silence, and the connection is not ended as if all were well.

    The kernel answers EIO where nothing is mapped.
    """
    with serve(Peer.recv_until_eof) as server, open("/proc/self/mem", "rb", buffering=0) as memory:
        result = cfcat(server.address, stdin=memory)
    assert result == Result(b"", "cfcat: cannot read standard input: input/output error\n", 26)
    assert server.ended == "reset"


def test_stdin_pipe_larger_than_its_buffer(way: str, plain: Transport) -> None:
    """Nothing is lost or repeated where writer, program and server wait for each other."""
    data = pattern(5 << 20)
    with plain.serve(lambda conn: conn.recv_until_eof()) as server:
        assert cfcat(server.address, stdin=data) == Result(b"", "", 0)
    assert (len(server.received), server.received == data) == (len(data), True)


def test_read_that_blocks_holds_up_nothing(way: str, plain: Transport) -> None:
    """The server's end is the end of the run, even while something waits for stdin."""
    with plain.serve(lambda conn: conn.send(b"bye")) as server, start(server.address) as program:
        program.wait(DEADLINE_S)
        assert program.stdin is not None
        assert finish(program) == Result(b"bye", "", 0)


def test_pipe_found_empty_is_read_when_its_writer_has_written() -> None:
    """Not before the loop says so: to read at once would be to spin for the lock that the writer holds."""

    async def check(stdin: Input, writer: int, peer: int) -> None:
        assert stdin.joined is not None
        with pytest.raises(BlockingIOError):
            stdin.joined(peer)
        os.write(writer, LINE)
        assert stdin.take() is None
        assert bytes(await stdin.read()) == LINE

    joining_a_pipe(check)


def test_pipe_whose_bytes_find_no_room_at_the_peer_is_read() -> None:
    """What is read then waits for the room, in the ordinary way: the pipe is not empty, and nobody would call."""

    async def check(stdin: Input, writer: int, peer: int) -> None:
        assert stdin.joined is not None
        os.set_blocking(peer, False)
        with suppress(BlockingIOError):
            while True:
                os.write(peer, LINE)
        os.write(writer, LINE)
        with pytest.raises(BlockingIOError):
            stdin.joined(peer)
        assert bytes(stdin.take() or b"") == LINE

    joining_a_pipe(check)


def joining_a_pipe(check: Callable[[Input, int, int], Awaitable[None]]) -> None:
    """Run a check of a pipe as stdin: its edge, its writer's end, and a connected socket for its bytes."""

    async def run() -> None:
        stdin = open_input(read, asyncio.get_running_loop())
        try:
            await asyncio.wait_for(check(stdin, write, ours.fileno()), DEADLINE_S)
        finally:
            stdin.close()

    read, write = os.pipe()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        asyncio.run(run())
    os.close(read)
    os.close(write)


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


def test_stdout_is_null() -> None:
    """Everything is received, and nothing is wrong."""
    data = pattern(1 << 20)
    with serve(lambda conn: conn.send(data)) as server, Path("/dev/null").open("wb") as null:
        with start(server.address, stdout=null) as program:
            assert program.wait(DEADLINE_S) == 0
    assert server.ended == "eof"


def test_stdout_cannot_be_written(tmp_path: Path) -> None:
    """23 as well."""
    (tmp_path / "file").touch()
    with serve(lambda conn: conn.send(b"data")) as server:
        result = shell(f"cfcat {server.address} 1<{tmp_path}/file")
    assert result == Result(b"", "cfcat: cannot write standard output: bad file descriptor\n", 23)


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


# -------------------------------------------------------------------------------------------- wrong directions


@pytest.mark.parametrize(
    ("redirection", "stderr", "status"),
    [
        ("0> >(cat)", "", 0),
        ("< /dev/null 1< <(:)", "cfcat: cannot write standard output: bad file descriptor\n", 23),
    ],
)
def test_descriptor_of_the_wrong_direction(redirection: str, stderr: str, status: int) -> None:
    """An output is an empty stdin and an input no stdout, though opening it again would allow more."""

    def script(conn: Peer) -> None:
        if status == 23:
            conn.send(b"answer")
        conn.recv_until_eof()

    with serve(script) as server:
        result = shell(f"cfcat {server.address} {redirection}")
    assert result == Result(b"", stderr, status)
