"""Rows 21 to 25 and 53 to 55 of the fault matrix: slow sides, stuck sides, and every kind of bytes."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.faults.ways import at_once
from tests.helpers.peers import Peer
from tests.helpers.program import Result, cfcat, finish, start
from tests.helpers.terminal import terminal
from tests.pipe.fast import MIB, check_stdout, cpu_s, fast_peer, peak_bytes, pushing, resident_bytes
from tests.pipe.tools import DEADLINE_S, Transport, fill, pattern, queues, unread, until, until_arrived
from tests.report.form import check_form

pytestmark = pytest.mark.one_python

# What may come on top of the memory that the program has when the connection is up.
MEMORY_BYTES = 64 * MIB
READ_AHEAD_BYTES = 256 * 1024
# With the room that a TLS record and its kernel buffers take, on both sides.
TLS_SLACK_BYTES = 64 * 1024


def read_ahead(way: Transport) -> int:
    """How much of stdin may be with the program, neither sent nor unread."""
    return READ_AHEAD_BYTES + (0 if way.version is None else TLS_SLACK_BYTES)


# ----------------------------------------------------------------------------------- 21 to 25: slow and stuck


def standstill(look: Callable[[], int]) -> int:
    """Look until the same was seen ten times in a row, and return it."""
    seen = [look()]
    while len(seen) < 10 or len(set(seen[-10:])) > 1:
        time.sleep(0.02)
        seen.append(look())
    return seen[-1]


def test_row_21_peer_never_reads_and_stdin_is_endless(way: Transport, tmp_path: Path) -> None:
    """A file of 10 GiB: what the kernel does not take stays unread in it, and memory is bounded."""
    seen = threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"hello")
        conn.wait(seen)
        conn.reset()

    path = tmp_path / "input"
    path.touch()
    os.truncate(path, 10 * 1024 * MIB)  # a hole: it needs no disk
    with way.serve(script) as server, path.open("rb") as stdin:
        with start(*way.options, server.address, stdin=stdin) as program:
            program.read_until(b"hello")
            at_first = resident_bytes(program)
            offset = standstill(lambda: os.lseek(stdin.fileno(), 0, os.SEEK_CUR))
            port = server.peers[0].address[1]
            in_kernel = queues(port, peer=True)[0] + queues(port)[1]
            assert 0 < offset <= in_kernel + read_ahead(way)
            assert peak_bytes(program) - at_first < MEMORY_BYTES
            seen.set()
            result = finish(program)
    # Whichever direction looks first finds the reset.
    assert (result.stdout, result.status in (55, 56)) == (b"hello", True)
    check_form(result.stderr)


def test_row_21_server_that_reads_now_and_then(way: Transport) -> None:
    """stdin is not read ahead: whenever it all stands still, a quarter of a MiB is with us at most."""
    flowing, over = threading.Event(), threading.Event()
    more = [threading.Event() for _ in range(3)]

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        flowing.set()
        for event in more:
            conn.wait(event)
            conn.recv_exactly(1_000_001)
        conn.wait(over)
        conn.recv_until_eof()

    written = 0
    with way.serve(script) as server, start(*way.options, server.address) as program:
        for event in more:
            written += fill(program.stdin, flowing, start=written)
            received, port = len(server.received), server.peers[0].address[1]
            in_kernel = queues(port, peer=True)[0] + queues(port)[1]
            assert written - unread(program.stdin) - received - in_kernel <= read_ahead(way)
            event.set()
        over.set()
        assert finish(program) == Result(b"", "", 0)
    assert len(server.received) == written
    assert server.received == pattern(written)


def test_row_22_peer_with_the_smallest_window_reads_byte_by_byte(way: Transport) -> None:
    """The sending goes on to its end, and an answer comes with every hundredth byte of it."""
    question = pattern(5_000)

    def script(conn: Peer) -> None:
        while conn.recv(1):
            if len(conn.received) % 100 == 0:
                conn.send(b"%d\n" % len(conn.received))

    with way.serve(script) as server:
        server.narrow()
        result = cfcat(*way.options, server.address, stdin=question)
    answer = b"".join(b"%d\n" % count for count in range(100, 5_001, 100))
    assert result == Result(answer, "", 0)
    assert server.received == question


def test_row_22_reading_goes_on_while_the_peer_takes_nothing(way: Transport) -> None:
    """The answer is printed, though stdin is stuck; and so is the sending, once the peer reads."""
    flowing, stuck, heard = threading.Event(), threading.Event(), threading.Event()

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        flowing.set()
        conn.wait(stuck)
        conn.send(pattern(2 * MIB))
        conn.wait(heard)
        conn.recv_until_eof()

    with way.serve(script, timeout_s=20) as server, start(*way.options, server.address) as program:
        written = fill(program.stdin, flowing)
        stuck.set()
        check_stdout(program, 2 * MIB)
        heard.set()
        assert finish(program) == Result(b"", "", 0)
    assert len(server.received) == written


def test_row_23_stdout_that_nobody_reads(way: Transport) -> None:
    """The server's sending stops, memory is bounded, and ours goes on; once stdout is read everything comes.

    Our end, too, where it is not held: a stdout that takes nothing is no silence of the server's.
    """
    filled: list[int] = []
    first, full = threading.Event(), threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"hello")
        conn.wait(first)
        filled.append(conn.fill())
        full.set()
        assert conn.recv_until_eof() == pattern(2 * MIB)

    arguments = [*way.options, "--shutdown", "now"]
    with way.serve(script, timeout_s=20) as server, start(*arguments, server.address) as program:
        program.read_until(b"hello")
        at_first = resident_bytes(program)
        first.set()
        assert full.wait(DEADLINE_S)
        pushing(program, 2 * MIB, end=True).join()
        assert server.saw_eof.wait(DEADLINE_S)
        assert peak_bytes(program) - at_first < MEMORY_BYTES
        result = finish(program)
    assert (result.stderr, result.status) == ("", 0)
    zeros = len(result.stdout) - len(b"hello")
    assert result.stdout.count(0) == zeros
    assert MIB < zeros <= filled[0]


def test_row_24_gibibyte_through_an_echo_server(way: Transport) -> None:
    """Both directions full at once, for long: nothing stops, nothing is lost, and every byte is in its place.

    A GiB in clear text; as much of it under TLS as two processes that encrypt come through in a second.
    """
    count = (64 if way.version else 1024) * MIB
    with fast_peer("echo", 0, way) as peer, start(*peer.arguments, timeout_s=40) as program:
        writer = pushing(program, count, end=True)
        check_stdout(program, count)
        writer.join()
        peer.end()
        assert finish(program) == Result(b"", "", 0)


def test_row_25_bytes_that_come_one_by_one(way: Transport) -> None:
    """A segment for each, under TLS a record for each and its header in two segments: each is printed as it comes.

    Waiting for the next one costs nothing: less than 5 % of a processor while they dribble.
    """
    count, pause_s = 20, 0.02
    heard, quiet = threading.Event(), threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"hello")
        conn.wait(heard)
        for byte in pattern(count):
            wire = conn.record(bytes([byte]))
            for piece in (wire[:3], wire[3:]) if len(wire) > 1 else (wire,):
                assert conn.quiet(pause_s)
                conn.send_raw(piece)
        conn.wait(quiet)

    with way.serve(script) as server, start(*way.options, server.address) as program:
        program.read_until(b"hello")
        used_s = cpu_s(program)
        heard.set()
        program.read_until(pattern(count))
        used_s = cpu_s(program) - used_s
        quiet.set()
        assert program.wait(DEADLINE_S) == 0
    assert used_s < 0.05 * count * pause_s * (1 if way.version is None else 2)


def test_row_25_bytes_that_go_one_by_one(way: Transport) -> None:
    """A dialog of single bytes, each answered before the next."""

    def script(conn: Peer) -> None:
        while byte := conn.recv(1):
            conn.send(byte)

    with way.serve(script) as server, start(*way.options, server.address) as program:
        for value in range(256):
            program.say(bytes([value]))
            program.read_until(bytes(range(value + 1)))
        assert finish(program) == Result(bytes(range(256)), "", 0)


# ------------------------------------------------------------------------------------- 53 to 55: what is sent


def test_row_53_every_byte_value_both_ways(way: Transport) -> None:
    """Whatever the bytes are, and wherever pieces of them begin: a mebibyte of each value comes out as it went in."""
    data = bytes(range(256)) * (MIB // 256) + os.urandom(MIB)

    def script(conn: Peer) -> None:
        question = conn.recv_until_eof()
        conn.send(question[::-1])

    with way.serve(script) as server:
        result = cfcat(*way.options, server.address, stdin=data)
    assert (result.stderr, result.status, len(result.stdout)) == ("", 0, len(data))
    assert hashlib.sha256(server.received).digest() == hashlib.sha256(data).digest()
    assert hashlib.sha256(result.stdout).digest() == hashlib.sha256(data[::-1]).digest()


AWKWARD = (
    b"\xef\xbb\xbfBOM\x00NUL\r\nCRLF\nLF\rCR\r\r\n\n\r"  # line endings of every kind, and none of them changed
    b"\xff\xfe\xc3(\xed\xa0\x80\xc0\x9b"  # no UTF-8: stray bytes, a lone surrogate, an overlong form
    b"\x1b[6n\x1b]0;title\x07\x9b6n"  # what a terminal would get escaped
    + "naïve 日本語 🎉".encode()
    + b"\xe2\x82"  # half a character at the end
)
LOCALES: dict[str, dict[str, str | None]] = {
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "Latin-1": {"LC_ALL": "en_US.ISO-8859-1"},
    "nonsense": {"LC_ALL": None, "LANG": "xx_XX.nonsense", "PYTHONIOENCODING": "utf-16"},
    "EBCDIC": {"PYTHONIOENCODING": "cp037:strict", "PYTHONUTF8": "0"},
}


def test_row_54_awkward_bytes_in_every_locale(way: Transport) -> None:
    """Not a byte is changed, whatever language the machine speaks."""
    with way.serve(lambda conn: conn.send(conn.recv_until_eof())) as server:
        results = at_once(
            partial(cfcat, *way.options, server.address, stdin=AWKWARD, env=env) for env in LOCALES.values()
        )
        assert dict(zip(LOCALES, results, strict=True)) == dict.fromkeys(LOCALES, Result(AWKWARD, "", 0))
    assert [peer.received for peer in server.peers] == [AWKWARD] * len(LOCALES)


CHARACTERS = "é€🎉a\r\nb"


def test_row_54_characters_in_pieces_on_a_terminal(way: Transport) -> None:
    """Every byte in a segment of its own: characters and the ends of lines come out whole."""

    def script(conn: Peer) -> None:
        for byte in CHARACTERS.encode():
            conn.send(bytes([byte]))
            until_arrived(conn, read=True)

    with way.serve(script) as server, open(os.devnull, "rb") as stdin:
        with terminal(*way.options, server.address, stdin=stdin) as term:
            assert term.finish() == 0
            assert term.output == CHARACTERS.encode()


@pytest.mark.parametrize("locale", LOCALES)
def test_row_54_awkward_bytes_on_a_terminal_in_every_locale(plain: Transport, locale: str) -> None:
    """Text is UTF-8 and everything else escaped, whatever the machine speaks."""
    data = "naïve 日本語\r\n".encode() + b"\x00\xff\x1b\xef\xbb\xbf\xe2\x82"
    with plain.serve(lambda conn: conn.send(data)) as server, open(os.devnull, "rb") as stdin:
        with terminal(server.address, stdin=stdin, env=LOCALES[locale]) as term:
            assert term.finish() == 0
            seen = "naïve 日本語\r\n".encode() + rb"\x00\xff\x1b\ufeff\xe2\x82"
            notice = b"cfcat: 6 control characters shown escaped; --raw passes them\r\n"
            assert term.output == seen + notice


def test_row_55_nothing_in_either_direction(way: Transport) -> None:
    """Two empty streams are an end in order."""
    with way.serve(Peer.recv_until_eof) as server:
        assert cfcat(*way.options, server.address) == Result(b"", "", 0)
    until(lambda: server.ended)
    assert (server.received, server.ended) == (b"", way.end)
