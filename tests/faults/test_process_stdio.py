"""Rows 26 to 34, 37 and 40 of the fault matrix: every state in which stdin, stdout and stderr can be found."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.faults.ways import WITH_HALF_OPEN, at_once, check_message, flags, hello_and_hang, injecting, shell_does
from tests.helpers.peers import Peer, refusing, serve
from tests.helpers.program import Result, cfcat, finish, shell, start
from tests.pipe.tools import DEADLINE_S, Transport, fill, pattern, until

pytestmark = pytest.mark.one_python

# --------------------------------------------------------------------------------- 26: stdout's reader is gone


@WITH_HALF_OPEN
def test_row_26_reader_of_stdout_leaves_while_data_comes(way: Transport, options: list[str]) -> None:
    """`| head -1` of an endless stream: dead of SIGPIPE, in silence, and no line of Python's at its exit."""

    def script(conn: Peer) -> None:
        with suppress(OSError):  # the client is gone
            while True:
                conn.send(b"line\n" * 1000)

    arguments = " ".join([*way.options, *options])
    stdin = "<(exec sleep 30 >/dev/null 2>&1)"  # which stays open
    with way.serve(script) as server:
        result = shell(f"cfcat {arguments} {server.address} < {stdin} | head -1; echo ${{PIPESTATUS[0]}}")
    assert result == Result(b"line\n141\n", "", 0)


@WITH_HALF_OPEN
def test_row_26_reader_of_stdout_leaves_while_nothing_comes(way: Transport, options: list[str]) -> None:
    """It is noticed without a byte from the server."""
    with way.serve(Peer.recv_until_eof) as server:
        with start(*way.options, *options, server.address) as program:
            program.say(b"x")
            until(lambda: server.received == b"x")
            assert program.stdout is not None
            program.stdout.close()
            assert program.wait(DEADLINE_S) == -signal.SIGPIPE
            assert program.stderr is not None
            assert program.stderr.read() == b""
            program.stdout = None


def test_row_26_reader_of_stdout_leaves_while_the_server_takes_nothing(plain: Transport) -> None:
    """A stuck sending does not hold it up."""
    flowing = threading.Event()

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        flowing.set()
        conn.hang()

    with plain.serve(script) as server, start(server.address) as program:
        fill(program.stdin, flowing)
        assert program.stdout is not None
        program.stdout.close()
        assert program.wait(DEADLINE_S) == -signal.SIGPIPE
        server.release()
        program.stdout = None


# ------------------------------------------------------------------------------ 27, 28: stdout closed or full


@pytest.mark.parametrize("closed", [">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_row_27_stdout_is_closed(closed: str) -> None:
    """23 before connecting."""
    with serve(Peer.recv_until_eof) as server:
        result = shell(f"cfcat {server.address} {closed}")
        assert server.connections == 0
    stderr = "" if "2>" in closed else "cfcat: standard output is closed\n"
    assert result == Result(b"", stderr, 23)


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_row_27_no_standard_descriptor_becomes_the_connection(closed: str) -> None:
    """What is closed is filled with /dev/null first: a message to descriptor 2 must not go to the server."""
    with serve(hello_and_hang) as server, start(server.address, by=shell_does(f'exec "$@" {closed}')) as program:
        program.read_until(b"hello")
        links = {fd: os.readlink(f"/proc/{program.pid}/fd/{fd}") for fd in range(3)}
        filled = {0} if closed == "<&-" else {2} if closed == "2>&-" else {0, 2}
        assert {fd for fd, link in links.items() if link == "/dev/null"} == filled
        assert not [link for link in links.values() if link.startswith("socket:")]
        server.release()
        assert program.wait(DEADLINE_S) == 0


def test_row_28_disk_is_full(way: Transport) -> None:
    """23 at the first byte, told once; what becomes of the connection then is no matter."""

    def script(conn: Peer) -> None:
        conn.send(b"data")
        conn.recv_until_eof()

    with way.serve(script) as server, Path("/dev/full").open("wb") as full:
        with start(*way.options, server.address, stdout=full) as program:
            program.wait(DEADLINE_S)
            result = finish(program)
    assert result == Result(b"", "cfcat: cannot write standard output: no space left on device\n", 23)
    assert server.ended in ("reset", "tls_error")  # a part was lost: the server must not take it for an end in order


@pytest.mark.parametrize("option", ["--help", "--version"])
@pytest.mark.parametrize(
    ("stdout", "text"),
    [(">/dev/full", "cannot write standard output: no space left on device"), (">&-", "standard output is closed")],
)
def test_row_28_help_and_version_cannot_be_written(option: str, stdout: str, text: str) -> None:
    """The same status and the same kind of message as for data, not a traceback."""
    assert shell(f"cfcat {option} {stdout}") == Result(b"", f"cfcat: {text}\n", 23)


def test_row_28_file_is_larger_than_allowed(tmp_path: Path) -> None:
    """RLIMIT_FSIZE: the error, not death by SIGXFSZ; what fitted is in the file."""
    data = pattern(3_000)
    with serve(lambda conn: conn.send(data)) as server, (tmp_path / "output").open("wb") as output:
        with start(server.address, stdout=output, by=shell_does('ulimit -f 1; exec "$@"')) as program:
            program.wait(DEADLINE_S)
            assert finish(program) == Result(b"", "cfcat: cannot write standard output: file too large\n", 23)
    assert (tmp_path / "output").read_bytes() == data[:1024]


WRITES = ("write", "writev", "pwrite64")


@pytest.mark.parametrize(
    ("code", "text"), [("EIO", "input/output error"), ("EDQUOT", "disk quota exceeded"), ("ENOSPC", "no space left")]
)
@pytest.mark.parametrize("calls", [WRITES, ("close",)], ids=["writing", "closing"])
def test_row_28_disk_fails(tmp_path: Path, calls: tuple[str, ...], code: str, text: str) -> None:
    """23, told once; some file systems know only in closing that there was no room."""
    output = tmp_path / "output"
    with serve(lambda conn: conn.send(b"data")) as server, output.open("wb") as file:
        by = injecting(*(f"{call}:error={code}" for call in calls), path=str(output))
        with start(server.address, stdout=file, by=by) as program:
            program.wait(DEADLINE_S)
            check_message(finish(program), 23, f"cannot write standard output: {text}")


# ------------------------------------------------------------------------------------------------ 29: stderr


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full", "2>/dev/null"])
def test_row_29_stderr_that_takes_nothing_changes_nothing(stderr: str) -> None:
    """Statuses and data are those of any other run, with a message to tell and without."""
    with serve(lambda conn: conn.send(b"data")) as server, refusing() as port:
        targets = (server.address, f"127.0.0.1:{port}", "nonsense")
        results = at_once(partial(shell, f"cfcat {target} {stderr}") for target in targets)
    assert results == [Result(b"data", "", 0), Result(b"", "", 7), Result(b"", "", 2)]


def test_row_29_warning_that_cannot_be_written(tls_way: Transport) -> None:
    """The -k warning is lost, and must not reach the server."""
    options = " ".join(tls_way.options[:2])
    with tls_way.serve(lambda conn: conn.send(conn.recv_until_eof())) as server:
        command = f"cfcat {options} -k {server.address}"
        results = at_once(partial(shell, f"{command} {stderr}", stdin=b"data") for stderr in ("2>&-", "2>/dev/full"))
    assert results == [Result(b"data", "", 0)] * 2
    assert [peer.received for peer in server.peers] == [b"data"] * 2


def test_row_29_stderr_whose_reader_is_gone() -> None:
    """A message to nobody: no SIGPIPE, the status is that of the error."""
    read, write = os.pipe()
    os.close(read)
    with refusing() as port, start(f"127.0.0.1:{port}", stderr=write) as program:
        os.close(write)
        assert program.wait(DEADLINE_S) == 7


# ---------------------------------------------------------------------------------------- 30 to 34, 37: stdin


def test_row_30_stdin_is_closed(way: Transport) -> None:
    """Empty; and what is read is never the connection, which would otherwise get the number 0."""

    def script(conn: Peer) -> None:
        conn.send(b"echo?")
        assert conn.recv_until_eof() == b""

    with way.serve(script) as server:
        assert cfcat(*way.options, server.address, by=shell_does('exec "$@" <&-')) == Result(b"echo?", "", 0)


def test_row_31_stdin_is_null(way: Transport) -> None:
    """At its end at once, which is passed on: the answer is received in full."""

    def script(conn: Peer) -> None:
        assert conn.recv_until_eof() == b""
        conn.send(pattern(1 << 20))

    with way.serve(script) as server:
        result = cfcat(*way.options, server.address)
    assert (result.stdout == pattern(1 << 20), result.stderr, result.status) == (True, "", 0)
    assert server.ended == way.end


@pytest.mark.parametrize("kind", ["/dev/null", "/dev/full", "file", "fifo"])
def test_stdin_that_is_opened_for_writing_only_is_empty(way: Transport, kind: str, tmp_path: Path) -> None:
    """As nohup gives /dev/null: there is nothing to read and nothing wrong, and the answer is received in full."""
    path = kind if kind.startswith("/") else str(tmp_path / kind)
    if kind == "fifo":
        os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK) if kind == "fifo" else None

    def script(conn: Peer) -> None:
        assert conn.recv_until_eof() == b""
        conn.send(pattern(1 << 20))

    with way.serve(script) as server:
        result = cfcat(*way.options, server.address, by=shell_does(f'exec "$@" 0>{path}'))
    if reader is not None:
        os.close(reader)
    assert (result.stdout == pattern(1 << 20), result.stderr, result.status) == (True, "", 0)
    assert server.ended == way.end


def test_nohup_on_a_terminal(tmp_path: Path) -> None:
    """It gives what nobody can read as stdin, and nohup.out as stdout: the whole answer is in there."""

    def script(conn: Peer) -> None:
        assert conn.recv_until_eof() == b""
        conn.send(b"answer")

    with serve(script) as server:
        command = f"exec script -qec 'cd {tmp_path} && nohup cfcat {server.address}' /dev/null"
        result = shell(command)
    assert (result.status, (tmp_path / "nohup.out").read_bytes()) == (0, b"answer"), result


def test_row_32_stdin_is_a_regular_file(way: Transport, tmp_path: Path) -> None:
    """epoll refuses it, and it is read all the same, from where it stands to its end (row 21: in bounded memory)."""
    (tmp_path / "input").write_bytes(pattern(1 << 20))
    with way.serve(Peer.recv_until_eof) as server, (tmp_path / "input").open("rb", buffering=0) as file:
        file.seek(1_000)
        assert cfcat(*way.options, server.address, stdin=file) == Result(b"", "", 0)
        assert file.tell() == 1 << 20
    assert server.received == pattern((1 << 20) - 1_000, 1_000)


def test_row_33_fifo_without_a_writer(tmp_path: Path) -> None:
    """A file positioned at its end gives EOF at once."""
    os.mkfifo(tmp_path / "fifo")
    with open(os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK), "rb") as fifo:
        os.set_blocking(fifo.fileno(), True)
        with serve(lambda conn: conn.send(conn.recv_until_eof() + b"answer")) as server:
            assert cfcat(server.address, stdin=fifo) == Result(b"answer", "", 0)


def test_row_33_fifo_whose_writer_comes_again(tmp_path: Path) -> None:
    """EOF once is EOF: data of a later writer is not read."""
    os.mkfifo(tmp_path / "fifo")
    again = threading.Event()

    def script(conn: Peer) -> None:
        assert conn.recv_until_eof() == b"first"
        conn.wait(again)
        conn.send(b"answer")

    with open(os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK), "rb") as fifo:
        writer = os.open(tmp_path / "fifo", os.O_WRONLY)
        os.set_blocking(fifo.fileno(), True)
        with serve(script) as server, start(server.address, stdin=fifo) as program:
            os.write(writer, b"first")
            os.close(writer)
            assert server.saw_eof.wait(DEADLINE_S)
            with (tmp_path / "fifo").open("wb") as second:
                second.write(b"second")
            again.set()
            assert finish(program) == Result(b"answer", "", 0)
    assert server.received == b"first"


@pytest.mark.parametrize("nonblocking", [False, True], ids=["blocking", "O_NONBLOCK"])
def test_row_34_one_socket_for_both(nonblocking: bool) -> None:
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


def test_row_34_one_socket_for_both_whose_other_end_goes_away() -> None:
    """The client of an inetd closes: its end is passed on, and what the server says then has no reader."""
    here, there = socket.socketpair()

    def script(conn: Peer) -> None:
        conn.recv_until_eof()
        conn.send(b"anybody?")
        conn.hang()

    with here, there, serve(script) as server:
        with start(server.address, stdin=here.fileno(), stdout=here.fileno()) as program:
            assert server.accepted.wait(DEADLINE_S)
            here.close()
            there.close()
            assert program.wait(DEADLINE_S) == -signal.SIGPIPE
            server.release()


def test_row_34_one_socket_that_neither_side_reads(plain: Transport) -> None:
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


def test_row_37_stdin_is_a_directory() -> None:
    """Python itself refuses, before any of our code."""
    with serve(Peer.recv_until_eof) as server:
        result = shell(f"cfcat {server.address} </")
        assert (result.stdout, result.status) == (b"", 1)
        assert "is a directory" in result.stderr
        assert server.connections == 0


# --------------------------------------------------------------------------------------- 40: tried again


CALLS = ("recvfrom", "sendto", "readv", "write", "splice", "poll")


@pytest.mark.parametrize("code", ["EINTR", "EAGAIN"])
def test_row_40_system_calls_that_want_to_be_tried_again(way: Transport, code: str) -> None:
    """Every second one of each does: nothing is lost, nothing comes twice."""
    data = pattern(1 << 20)
    calls = [call for call in CALLS if (call, code) != ("poll", "EAGAIN")]  # which it never says
    with way.serve(lambda conn: conn.send(conn.recv_until_eof())) as server:
        by = injecting(*(f"{call}:error={code}:when=1+2" for call in calls))
        result = cfcat(*way.options, server.address, stdin=data, by=by)
    assert (result.stderr, result.status, len(result.stdout)) == ("", 0, len(data))
    assert (server.received == data, result.stdout == data) == (True, True)


def test_row_40_stdout_that_takes_a_little_at_a_time(plain: Transport) -> None:
    """A socket with the smallest buffer there is: every write is a short one."""
    data = pattern(1 << 18)
    here, there = socket.socketpair()
    here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    received = bytearray()
    with here, there, plain.serve(lambda conn: conn.send(data)) as server:
        there.settimeout(DEADLINE_S)
        with start(server.address, stdout=here.fileno()) as program:
            here.close()
            while chunk := there.recv(1_000):
                received += chunk
            assert finish(program) == Result(b"", "", 0)
    assert bytes(received) == data
