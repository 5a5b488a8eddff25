"""Bytes that are joined in the kernel go the same way, to the same end, as those that pass through the program.

Every test runs both ways. A pipe is joined by splice(2), a file by sendfile(2); all else, TLS, and options that need
the bytes, takes the ordinary way, which is also what is left where the kernel refuses.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import pytest

from tests.helpers.peers import Peer
from tests.helpers.program import Program, Result, cfcat, finish, start
from tests.pipe.fast import MIB
from tests.pipe.tools import DEADLINE_S, Transport, fill, halted, pattern, run_patched, until_arrived

# Say at the end how many bytes never came into the program.
COUNTING = """
import atexit, os
joined = [0]
def counted(call):
    def count(*arguments, **options):
        size = call(*arguments, **options)
        joined[0] += size
        return size
    return count
os.splice, os.sendfile = counted(os.splice), counted(os.sendfile)
atexit.register(lambda: os.write(2, b"joined %d\\n" % joined[0]))
"""
ORDINARY = "from cfcat.edges import descriptors\ndescriptors.LINUX = False"
REFUSED = """
import errno, os
def refuse(*arguments, **options):
    raise OSError(errno.EINVAL, "Invalid argument")
os.splice = os.sendfile = refuse
"""
BULK = 8 * MIB


@pytest.fixture(params=["joined", "ordinary"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the bytes go."""
    if request.param == "ordinary":
        run_patched(monkeypatch, ORDINARY)
    return str(request.param)


def count(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Let the program say how much it has joined."""
    run_patched(monkeypatch, COUNTING + (ORDINARY if way == "ordinary" else ""))


def joined_bytes(result: Result) -> int:
    """What it said; and nothing else went wrong."""
    said = re.fullmatch(r"joined (\d+)\n", result.stderr)
    assert said, result.stderr
    assert result.status == 0
    return int(said[1])


def check_share(way: str, joined: int, of: int) -> None:
    """Nearly all of it was joined, or nothing."""
    assert joined <= of
    assert joined > of // 2 if way == "joined" else joined == 0


# ------------------------------------------------------------------------------------------------- the bytes


def test_from_the_server_to_a_pipe(plain: Transport, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the first chunk, in which a TLS alert would be, stays in the kernel; every byte is in its place."""
    count(monkeypatch, way)
    with plain.serve(lambda conn: conn.send(pattern(BULK))) as server:
        result = cfcat("--no-shutdown", server.address)
    check_share(way, joined_bytes(result), BULK)
    assert result.stdout == pattern(BULK)


@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_from_stdin_to_the_server(
    plain: Transport, way: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As above, the other way, to the last byte and the end behind it."""
    count(monkeypatch, way)
    (tmp_path / "input").write_bytes(pattern(BULK))
    with plain.serve(Peer.recv_until_eof) as server:
        result = cfcat(server.address, stdin=pattern(BULK) if kind == "pipe" else tmp_path / "input")
    check_share(way, joined_bytes(result), BULK)
    assert server.received == pattern(BULK)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 70_000])
def test_of_every_size(plain: Transport, tmp_path: Path, size: int) -> None:
    """Through an echo, from a pipe and from a file."""
    (tmp_path / "input").write_bytes(pattern(size))
    with plain.serve(lambda conn: conn.send(conn.recv_until_eof())) as server:
        assert cfcat(server.address, stdin=pattern(size)) == Result(pattern(size), "", 0)
        assert cfcat(server.address, stdin=tmp_path / "input") == Result(pattern(size), "", 0)


def test_a_file_is_read_from_where_it_stands(plain: Transport, tmp_path: Path) -> None:
    """The offset belongs to all who have the file open: others have read before, and go on behind us."""
    (tmp_path / "input").write_bytes(pattern(100_000))
    with plain.serve(Peer.recv_until_eof) as server, (tmp_path / "input").open("rb", buffering=0) as file:
        file.seek(1000)
        assert cfcat(server.address, stdin=file) == Result(b"", "", 0)
        assert file.tell() == 100_000
    assert server.received == pattern(100_000)[1000:]


def test_short_messages_in_turn(plain: Transport) -> None:
    """Each goes out as it comes: nothing is held back for more."""

    def script(conn: Peer) -> None:
        for number in range(20):
            assert conn.recv_exactly(4) == b"%04d" % number
            conn.send(b"%04d" % number)
        conn.recv_until_eof()

    with plain.serve(script) as server, start(server.address) as program:
        for number in range(20):
            program.say(b"%04d" % number)
            program.read_until(b"%04d" % number)
        assert finish(program).status == 0


@pytest.mark.parametrize("at_once", [False, True], ids=["one by one", "at once"])
def test_urgent_bytes_are_passed_over(plain: Transport, at_once: bool) -> None:
    """splice() stops in front of a byte out of band for ever, as if at EOF when a FIN is behind it: it is neither."""
    go, sent = threading.Event(), threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"before")
        conn.wait(go)
        conn.send_urgent(b"!")
        conn.send(b"behind")
        conn.end()
        sent.set()

    with plain.serve(script) as server, start(server.address) as program:
        program.read_until(b"before")
        with halted(program) if at_once else nullcontext():
            go.set()
            assert sent.wait(DEADLINE_S)
        program.read_until(b"behind")
        assert program.wait(DEADLINE_S) == 0


def test_what_the_kernel_refuses_goes_the_ordinary_way(
    plain: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old kernel, a sandbox, a strange file system: nobody notices."""
    run_patched(monkeypatch, REFUSED)
    (tmp_path / "input").write_bytes(pattern(MIB))
    with plain.serve(lambda conn: conn.send(conn.recv_until_eof())) as server:
        assert cfcat(server.address, stdin=tmp_path / "input") == Result(pattern(MIB), "", 0)
        assert cfcat(server.address, stdin=pattern(MIB)) == Result(pattern(MIB), "", 0)


@pytest.mark.parametrize("option", ["-x", "-vv", "--log"])
def test_who_wants_to_see_the_bytes_sees_them_all(
    plain: Transport, way: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then nothing is joined."""
    count(monkeypatch, way)
    options = [option, str(tmp_path / "log")] if option == "--log" else [option]
    with plain.serve(lambda conn: conn.send(conn.recv_until_eof())) as server:
        result = cfcat(*options, server.address, stdin=b"line\n" * 1000)
    assert result.stdout == b"line\n" * 1000
    assert result.stderr.endswith("joined 0\n")


def test_line_endings_are_changed_on_the_way_up_only(
    plain: Transport, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--crlf: stdin is not joined, stdout is."""
    count(monkeypatch, way)

    def script(conn: Peer) -> None:
        assert conn.recv_until_eof() == b"a\r\nb\r\n"
        conn.send(pattern(BULK))

    with plain.serve(script) as server:
        result = cfcat("--crlf", server.address, stdin=b"a\nb\r\n")
    check_share(way, joined_bytes(result), BULK)
    assert result.stdout == pattern(BULK)


# --------------------------------------------------------------------------------------------- who ends when


def test_a_full_pipe_while_more_comes(plain: Transport) -> None:
    """stdout is not read until the server can send no more; then all of it comes, and the end."""
    filled: list[int] = []
    full = threading.Event()

    def script(conn: Peer) -> None:
        filled.append(conn.fill())
        full.set()

    with plain.serve(script, timeout_s=20) as server, start("--no-shutdown", server.address) as program:
        assert full.wait(DEADLINE_S)
        result = finish(program)
    assert (result.stderr, result.status) == ("", 0)
    assert len(result.stdout) == filled[0]


def test_the_reader_of_stdout_leaves_in_the_middle(plain: Transport) -> None:
    """Dead of SIGPIPE, in silence."""
    more = threading.Event()

    def script(conn: Peer) -> None:
        conn.send(pattern(MIB))
        conn.wait(more)
        with suppress(OSError):  # the client is gone
            while True:
                conn.send(pattern(MIB))

    with plain.serve(script) as server, start(server.address) as program:
        assert program.stdout is not None
        assert len(program.stdout.read(MIB)) == MIB
        program.stdout.close()
        more.set()
        assert program.wait(DEADLINE_S) == -signal.SIGPIPE
        assert program.stderr is not None
        assert program.stderr.read() == b""
        program.stdout = None


def test_a_reset_behind_the_data(plain: Transport) -> None:
    """All that had arrived is printed, then the error tells what happened."""

    def script(conn: Peer) -> None:
        conn.send(b"hello")
        conn.recv_exactly(1)
        conn.send(pattern(32 * 1024))
        until_arrived(conn, read=True)
        conn.reset()

    with plain.serve(script) as server, start(server.address) as program:
        program.read_until(b"hello")
        program.say(b"x")
        program.wait(DEADLINE_S)
        result = finish(program)
    assert result.stdout == b"hello" + pattern(32 * 1024)
    assert result.stderr == f"cfcat: {server.address}: connection reset by peer while receiving\n"
    assert result.status == 56


def test_a_reset_while_stdin_is_stuck(plain: Transport) -> None:
    """What was on its way is lost: 55."""
    flowing, stuck = threading.Event(), threading.Event()

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        flowing.set()
        conn.wait(stuck)
        conn.reset()

    with plain.serve(script) as server, start(server.address) as program:
        fill(program.stdin, flowing)
        stuck.set()
        program.wait(DEADLINE_S)
        result = finish(program)
    assert result == Result(b"", f"cfcat: {server.address}: connection reset by peer while sending\n", 55)


def test_a_file_for_a_server_that_goes_away(plain: Transport, tmp_path: Path) -> None:
    """Whichever side of us finds it first; a call that had sent a part uses up the reset, the next meets EPIPE."""
    with (tmp_path / "input").open("wb") as file:
        file.truncate(64 * MIB)

    def script(conn: Peer) -> None:
        conn.recv_exactly(MIB)
        conn.reset()

    with plain.serve(script) as server:
        result = cfcat(server.address, stdin=tmp_path / "input")
    assert result.status in (55, 56)
    assert re.search(r": (connection reset by peer|broken pipe) while (sending|receiving)\n$", result.stderr)


def test_half_open_goes_on_in_one_direction(plain: Transport) -> None:
    """The server's end closes stdout; stdin still flows, to its own end."""

    def script(conn: Peer) -> None:
        conn.send(pattern(BULK))
        conn.end()
        conn.recv_until_eof()

    with plain.serve(script) as server, start("--half-open", server.address) as program:
        assert program.stdout is not None
        assert program.stdout.read() == pattern(BULK)
        program.say(pattern(MIB))
        program.end_input()
        assert program.wait(DEADLINE_S) == 0
    assert server.received == pattern(MIB)


def test_the_servers_end_while_stdin_is_stuck(plain: Transport) -> None:
    """A part of stdin was taken that the server does not want: 55 after a second, as in any other way."""
    flowing, stuck = threading.Event(), threading.Event()

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        flowing.set()
        conn.wait(stuck)
        conn.end()
        conn.hang()
        conn.reset()

    with plain.serve(script) as server, start(server.address) as program:
        fill(program.stdin, flowing)
        stuck.set()
        assert program.wait(DEADLINE_S) == 55
        assert "took nothing more" in finish(program).stderr
        server.release()


def test_a_tls_alert_in_two_pieces_is_recognised(plain: Transport) -> None:
    """The first two bytes are looked at, however they come, before anything is joined."""
    seen = threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"\x15")
        conn.wait(seen)
        conn.send(b"\x03\x01\x00\x02\x02\x46")

    with plain.serve(script) as server, start(server.address) as program:
        program.read_until(b"\x15")
        seen.set()
        program.wait(DEADLINE_S)
        assert finish(program).status == 35


# ------------------------------------------------------------------------------------- stopped in between


def test_quit_after_while_stdout_is_stuck(plain: Transport) -> None:
    """-q leaves with what is in the pipe."""
    full = threading.Event()

    def script(conn: Peer) -> None:
        conn.fill()
        full.set()
        conn.hang()

    with plain.serve(script, timeout_s=20) as server, start("-q", "0.2", server.address) as program:
        assert full.wait(DEADLINE_S)
        program.end_input()
        assert program.wait(DEADLINE_S) == 0
        server.release()


@contextmanager
def stuck(plain: Transport, *options: str) -> Iterator[Program]:
    """A run in which neither side takes any more of what the other one sends."""
    flowing, full = threading.Event(), threading.Event()

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        flowing.set()
        conn.fill()
        full.set()
        conn.hang()

    with plain.serve(script, timeout_s=20) as server, start(*options, server.address) as program:
        fill(program.stdin, flowing)
        assert full.wait(DEADLINE_S)
        yield program
        server.release()


def test_idle_while_both_directions_are_stuck(plain: Transport) -> None:
    """-w counts what moves, in the kernel too: 28 when nothing does, and not before."""
    with stuck(plain, "-w", "1") as program:
        assert program.wait(DEADLINE_S) == 28


def test_idle_time_begins_again_with_every_byte(plain: Transport) -> None:
    """Data that only passes through the kernel is movement: the run outlasts the limit."""

    def script(conn: Peer) -> None:
        for _ in range(6):
            conn.send(b"tick\n")
            assert conn.quiet(0.25)

    with plain.serve(script) as server, start("-w", "1", server.address) as program:
        assert program.wait(DEADLINE_S) == 0
        assert finish(program) == Result(b"tick\n" * 6, "", 0)


def test_killed_while_both_directions_are_stuck(plain: Transport) -> None:
    """SIGTERM ends it at once, by the signal."""
    with stuck(plain) as program:
        program.terminate()
        assert program.wait(DEADLINE_S) == -signal.SIGTERM


# -------------------------------------------------------------------------------------------------- manners


def test_pipes_are_enlarged_and_never_shrunk(plain: Transport) -> None:
    """stdin and stdout belong to others too: a pipe that was made large stays so."""
    read, write = os.pipe()
    fcntl.fcntl(read, fcntl.F_SETPIPE_SZ, MIB)
    seen = threading.Event()

    def script(conn: Peer) -> None:
        conn.send(conn.recv_exactly(1))
        conn.wait(seen)

    with plain.serve(script) as server, start(server.address, stdin=read) as program:
        os.write(write, b"x")
        program.read_until(b"x")
        assert fcntl.fcntl(read, fcntl.F_GETPIPE_SZ) == MIB
        assert program.stdout is not None
        assert fcntl.fcntl(program.stdout, fcntl.F_GETPIPE_SZ) == MIB
        seen.set()
        assert program.wait(DEADLINE_S) == 0
    os.close(read)
    os.close(write)
