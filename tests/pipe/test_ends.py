"""Who ends when, and what is left to do then: the table of pipe mode, cell by cell, by real processes.

The cells that are rows of the fault matrix (silence, ends of either side, resets, stdout's reader gone) are in
tests/faults.
"""

from __future__ import annotations

import threading
import time

import pytest

from tests.helpers.peers import Peer
from tests.helpers.program import Result, cfcat, finish, start
from tests.pipe.tools import DEADLINE_S, Transport, fill, halted, pattern, unread

# Long enough to be seen to be waited for, short enough to wait for.
SHORT_S = 0.25
BOTH = pytest.mark.parametrize("options", [[], ["--half-open"]], ids=["default", "half-open"])


# ------------------------------------------------------------------------------------------ stdin ends first


def test_no_shutdown_keeps_the_end_of_stdin_from_the_server(either: Transport) -> None:
    """The server sees data and no end; its own end is the end of the run."""

    def script(conn: Peer) -> None:
        assert conn.recv_exactly(8) == b"question"
        assert conn.quiet(SHORT_S)
        conn.send(b"answer")

    with either.serve(script) as server:
        result = cfcat(*either.options, "--no-shutdown", server.address, stdin=b"question")
    assert result == Result(b"answer", "", 0)
    assert (server.received, server.ended) == (b"question", either.end)


def test_no_shutdown_leaves_when_quit_after_is_over(either: Transport) -> None:
    """-q counts from the end of stdin, passed on or not; then the server is told in order that we leave."""
    with either.serve(Peer.recv_until_eof) as server:
        began = time.monotonic()
        result = cfcat(*either.options, "--no-shutdown", "-q", str(SHORT_S), server.address, stdin=b"question")
        assert time.monotonic() - began >= SHORT_S
    assert result == Result(b"", "", 0)
    assert (server.received, server.ended) == (b"question", either.end)


def test_no_shutdown_leaves_when_nothing_moves(plain: Transport) -> None:
    """-w ends it with the status of a timeout."""
    with plain.serve(Peer.recv_until_eof) as server:
        result = cfcat("--no-shutdown", "-w", str(SHORT_S), server.address, stdin=b"question")
    assert result == Result(b"", f"cfcat: {server.address}: nothing moved for {SHORT_S} s\n", 28)
    assert server.received == b"question"


@BOTH
def test_quit_after_bounds_the_wait_for_an_answer(either: Transport, options: list[str]) -> None:
    """The server has seen our end and says nothing more: -q leaves with 0, what came before is printed."""

    def script(conn: Peer) -> None:
        conn.recv_until_eof()
        conn.send(b"first half")
        conn.hang()

    with either.serve(script) as server:
        began = time.monotonic()
        arguments = [*either.options, *options, "--shutdown", "now", "-q", str(SHORT_S), server.address]
        result = cfcat(*arguments, stdin=b"question")
        assert time.monotonic() - began >= SHORT_S
        server.release()
    assert result == Result(b"first half", "", 0)


def test_quit_after_zero_leaves_at_once_but_sends_everything(either: Transport) -> None:
    """-q 0 does not wait for any answer; what was on stdin still arrives."""
    question = pattern(1 << 20)
    with either.serve(Peer.recv_until_eof) as server:
        result = cfcat(*either.options, "-q", "0", server.address, stdin=question)
    assert result == Result(b"", "", 0)
    assert (len(server.received), server.received == question) == (len(question), True)
    assert server.ended == either.end


def test_quit_after_does_not_count_before_the_end_of_stdin(plain: Transport) -> None:
    """As long as stdin is open, -q is not running."""

    def script(conn: Peer) -> None:
        assert conn.recv_exactly(3) == b"one"
        assert conn.quiet(3 * SHORT_S)  # no FIN either: the program is still there
        conn.send(b"answer")
        conn.recv_until_eof()
        conn.hang()

    with plain.serve(script) as server, start("-q", str(SHORT_S), server.address) as program:
        program.say(b"one")
        program.read_until(b"answer")
        program.say(b"two")
        assert finish(program) == Result(b"answer", "", 0)
        server.release()
    assert server.received == b"onetwo"


def test_the_servers_end_comes_before_quit_after(plain: Transport) -> None:
    """-q is a limit, not a delay."""
    with plain.serve(Peer.recv_until_eof) as server:
        assert cfcat("-q", "60", server.address, stdin=b"question") == Result(b"", "", 0)


# ------------------------------------------------------------------------------------- the server ends first


def test_what_was_read_from_stdin_before_the_servers_end_is_sent(transport: Transport) -> None:
    """All that was taken from stdin arrives, though the server had ended before it took it."""
    flowing, stalled = threading.Event(), threading.Event()

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        flowing.set()
        conn.wait(stalled)
        conn.send(b"bye")
        transport.end_data(conn)
        conn.recv_until_eof()

    with transport.serve(script) as server, start(*transport.options, server.address) as program:
        written = fill(program.stdin, flowing)
        taken = written - unread(program.stdin)
        stalled.set()
        assert program.wait(DEADLINE_S) == 0
        assert finish(program) == Result(b"bye", "", 0)
    # What it has read ahead meanwhile may be lost: the server had ended.
    assert len(server.received) >= taken
    assert server.received == pattern(len(server.received))
    assert server.ended == transport.end


def test_server_that_has_ended_and_takes_nothing_for_a_second(either: Transport) -> None:
    """What was read from stdin cannot be delivered: 55 after one second, and after what it sent."""
    flowing, stalled = threading.Event(), threading.Event()

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        flowing.set()
        conn.wait(stalled)
        conn.send(b"bye")
        either.end_data(conn)
        conn.hang()
        conn.reset()

    with either.serve(script) as server, start(*either.options, server.address) as program:
        fill(program.stdin, flowing)
        stalled.set()
        program.read_until(b"bye")
        began = time.monotonic()
        assert program.wait(DEADLINE_S) == 55
        assert 0.9 <= time.monotonic() - began < 2
        result = finish(program)
        server.release()
    assert (result.stdout, result.status) == (b"bye", 55)
    assert result.stderr.startswith(f"cfcat: {server.address}: ")
    assert "took nothing" in result.stderr


# ------------------------------------------------------------------------------------------------ half-open


def test_half_open_is_over_at_once_where_stdin_has_ended(either: Transport) -> None:
    """Both ends are there: nothing is left to wait for."""
    with either.serve(lambda conn: conn.send(conn.recv_until_eof()[::-1])) as server:
        result = cfcat(*either.options, "--half-open", server.address, stdin=b"abc")
    assert result == Result(b"cba", "", 0)


def test_half_open_server_that_takes_nothing_is_waited_for(plain: Transport) -> None:
    """The second's patience is for the default: here the sending is the run."""
    flowing, stalled, over = threading.Event(), threading.Event(), threading.Event()

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        flowing.set()
        conn.wait(stalled)
        conn.end()
        conn.wait(over)
        conn.recv_until_eof()

    with plain.serve(script) as server, start("--half-open", server.address) as program:
        written = fill(program.stdin, flowing)
        stalled.set()
        assert program.stdout is not None
        assert program.stdout.read() == b""  # it knows of the server's end
        assert not server.saw_end.wait(1.5)
        assert program.poll() is None
        over.set()
        program.end_input()
        assert program.wait(DEADLINE_S) == 0
    assert len(server.received) == written


def test_half_open_reset_while_sending(either: Transport) -> None:
    """After the server's end the sending still can fail: 55."""
    sent = threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"bye")
        either.end_data(conn)
        conn.wait(sent)
        conn.reset()

    with either.serve(script) as server, start(*either.options, "--half-open", server.address) as program:
        assert program.stdout is not None
        assert program.stdout.read() == b"bye"
        program.say(b"unread")
        sent.set()
        while program.poll() is None:  # a reset is noticed by sending
            try:
                program.say(b"x")
            except BrokenPipeError:
                break
        program.wait(DEADLINE_S)
        result = finish(program)
    assert result.status == 55, result.stderr
    assert result.stderr.startswith(f"cfcat: {server.address}: ")


# ------------------------------------------------------------------------------- resets, cuts, wrong wires


@pytest.mark.parametrize("pause", [False, True], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("reset", [False, True], ids=["end", "reset"])
def test_tls_alert_in_answer_to_clear_text(plain: Transport, pause: bool, reset: bool) -> None:
    """A server that wanted TLS: 35, and the hint what to say."""
    alert = b"\x15\x03\x01\x00\x02\x02\x46"
    seen = threading.Event()

    def script(conn: Peer) -> None:
        conn.recv_until(b"\n")
        if pause:
            conn.send(alert[:1])
            conn.wait(seen)
            conn.send(alert[1:])
        else:
            conn.send(alert)
        if reset:
            conn.wait(seen)
            conn.reset()

    with plain.serve(script) as server, start(server.address) as program:
        program.say(b"GET / HTTP/1.0\n")
        program.read_until(alert[:1])
        seen.set()
        program.wait(DEADLINE_S)
        result = finish(program)
    assert result.status == 35
    assert result.stderr.endswith("\n  hint: --tls on\n")
    assert result.stderr.startswith(f"cfcat: {server.address}: ")
    assert result.stderr.count("\n") == 2


@pytest.mark.parametrize("data", [b"\x15", b"\x03\x15", b"\x16\x03\x01", b"x\x15\x03\x01\x00\x02\x02\x46"])
def test_what_only_looks_like_an_alert(plain: Transport, data: bytes) -> None:
    """Only 15 03 at the very beginning is one; anything else is data."""
    with plain.serve(lambda conn: conn.send(data)) as server:
        assert cfcat(server.address) == Result(data, "", 0)


def test_alert_bytes_are_data_under_tls(tls: Transport) -> None:
    """Inside a TLS connection, 15 03 is what the server has to say."""
    with tls.serve(lambda conn: conn.send(b"\x15\x03")) as server:
        assert cfcat(*tls.options, server.address) == Result(b"\x15\x03", "", 0)


# ------------------------------------------------------------------------------------------ first error wins


def test_the_failed_sending_comes_before_the_truncation_behind_it(tls: Transport) -> None:
    """A failed send uses up the socket's error: what is read next looks like a bare FIN, which is not reported."""
    flowing, stopped, gone = threading.Event(), threading.Event(), threading.Event()

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        flowing.set()
        conn.wait(stopped)
        conn.reset()
        gone.set()

    with tls.serve(script) as server, start(*tls.options, server.address) as program:
        fill(program.stdin, flowing)
        with halted(program):
            stopped.set()
            assert gone.wait(DEADLINE_S)
        program.wait(DEADLINE_S)
        result = finish(program)
    assert result.status in (55, 56), result.stderr
    assert "reset by peer" in result.stderr
    assert "truncated" not in result.stderr
