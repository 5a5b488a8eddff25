"""Who ends when, and what is left to do then: the table of pipe mode, cell by cell, by real processes."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.helpers.peers import Peer, Script, serve
from tests.helpers.program import Result, cfcat, finish, shell, start
from tests.pipe.tools import DEADLINE_S, Transport, fill, halted, pattern, queues, unread, until, until_arrived

# Long enough to be seen to be waited for, short enough to wait for.
SHORT_S = 0.25
# What fits into the smallest receive window, and so is with the client once it has been sent.
SMALL = 32 * 1024
BOTH = pytest.mark.parametrize("options", [[], ["--half-open"]], ids=["default", "half-open"])


# ------------------------------------------------------------------------------------------ stdin ends first


@BOTH
def test_end_of_stdin_is_passed_on_and_the_whole_answer_read(transport: Transport, options: list[str]) -> None:
    """Our FIN, under TLS close_notify and no FIN: the answer begins after it, and comes in full."""
    answer = pattern(1 << 20)

    def script(conn: Peer) -> None:
        assert conn.recv_until_eof() == b"question"
        assert conn.ended == transport.end
        if transport.version is not None:
            assert conn.quiet(SHORT_S)  # no FIN behind close_notify: servers cut their answer short at it
        conn.send(answer)

    with transport.serve(script) as server:
        result = cfcat(*transport.options, *options, server.address, stdin=b"question")
    assert (result.status, result.stderr, len(result.stdout)) == (0, "", len(answer))
    assert result.stdout == answer


def test_nothing_in_either_direction(either: Transport) -> None:
    """Two empty streams are an end in order."""
    with either.serve(Peer.recv_until_eof) as server:
        assert cfcat(*either.options, server.address) == Result(b"", "", 0)
    assert (server.received, server.ended) == (b"", either.end)


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
        result = cfcat(*either.options, *options, "-q", str(SHORT_S), server.address, stdin=b"question")
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


def test_the_servers_end_ends_the_run_while_stdin_is_open(transport: Transport) -> None:
    """Everything is delivered, the server sees an end in order, and nobody waits for stdin."""
    answer = pattern(1 << 20)

    with transport.serve(lambda conn: conn.send(answer)) as server:
        with start(*transport.options, server.address) as program:
            assert program.stdout is not None
            output = program.stdout.read()
            assert program.wait(DEADLINE_S) == 0
            assert program.stdin is not None
            assert not program.stdin.closed
    assert (len(output), output == answer) == (len(answer), True)
    assert server.ended == transport.end


def test_server_that_closes_without_a_byte(either: Transport) -> None:
    """An end in order too, with stdin open."""
    with either.serve(lambda conn: None) as server, start(*either.options, server.address) as program:
        assert program.wait(DEADLINE_S) == 0
        assert finish(program) == Result(b"", "", 0)


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


def test_reset_after_the_servers_end_when_data_was_lost(transport: Transport) -> None:
    """The server ends, and then resets instead of taking what we have for it: 55, for that is lost."""
    flowing, stalled = threading.Event(), threading.Event()

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        flowing.set()
        conn.wait(stalled)
        conn.send(b"bye")
        transport.end_data(conn)
        until_arrived(conn, read=True)
        conn.reset()

    with transport.serve(script) as server, start(*transport.options, server.address) as program:
        fill(program.stdin, flowing)
        stalled.set()
        program.wait(DEADLINE_S)
        result = finish(program)
    assert (result.stdout, result.status) == (b"bye", 55), result.stderr


# ------------------------------------------------------------------------------------------------ half-open


def test_half_open_closes_stdout_and_sends_on(transport: Transport) -> None:
    """After the server's end a reader of our stdout sees EOF, while what comes on stdin is still sent."""

    def script(conn: Peer) -> None:
        conn.send(b"bye")
        transport.end_data(conn)
        conn.recv_until_eof()

    with transport.serve(script) as server, start(*transport.options, "--half-open", server.address) as program:
        assert program.stdout is not None
        assert program.stdout.read() == b"bye"
        assert program.poll() is None
        program.say(b"more")
        until(lambda: server.received == b"more")
        assert program.poll() is None
        program.say(b" and more")
        program.end_input()
        assert program.wait(DEADLINE_S) == 0
        assert finish(program) == Result(b"", "", 0)
    assert (server.received, server.ended) == (b"more and more", transport.end)


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


# --------------------------------------------------------------------------------- stdout's reader is gone


@BOTH
def test_reader_of_stdout_leaves_while_data_comes(either: Transport, options: list[str]) -> None:
    """`| head -1` of an endless stream: dead of SIGPIPE, in silence."""

    def script(conn: Peer) -> None:
        with suppress(OSError):  # the client is gone
            while True:
                conn.send(b"line\n" * 1000)

    arguments = " ".join([*either.options, *options])
    stdin = "<(exec sleep 30 >/dev/null 2>&1)"  # which stays open
    with either.serve(script) as server:
        result = shell(f"cfcat {arguments} {server.address} < {stdin} | head -1; echo ${{PIPESTATUS[0]}}")
    assert result == Result(b"line\n141\n", "", 0)


@BOTH
def test_reader_of_stdout_leaves_while_nothing_comes(either: Transport, options: list[str]) -> None:
    """It is noticed without a byte from the server."""
    with either.serve(Peer.recv_until_eof) as server:
        with start(*either.options, *options, server.address) as program:
            program.say(b"x")
            until(lambda: server.received)
            assert program.stdout is not None
            program.stdout.close()
            assert program.wait(DEADLINE_S) == -13
            assert program.stderr is not None
            assert program.stderr.read() == b""
            program.stdout = None


def test_reader_of_stdout_leaves_while_the_server_takes_nothing(plain: Transport) -> None:
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
        assert program.wait(DEADLINE_S) == -13
        server.release()
        program.stdout = None


# ------------------------------------------------------------------------------- resets, cuts, wrong wires


def test_reset_after_data_delivers_it_first(transport: Transport) -> None:
    """What had come before the reset is all printed; then the message, and 56."""
    data = pattern(SMALL)
    stopped, gone = threading.Event(), threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"hello")
        conn.wait(stopped)
        conn.send(data)
        until_arrived(conn)
        conn.reset()
        gone.set()

    with transport.serve(script) as server, start(*transport.options, server.address) as program:
        program.read_until(b"hello")
        with halted(program):
            stopped.set()
            assert gone.wait(DEADLINE_S)
        program.wait(DEADLINE_S)
        result = finish(program)
    assert result.stdout == b"hello" + data
    assert result.stderr == f"cfcat: {server.address}: connection reset by peer while receiving\n"
    assert result.status == 56


def test_reset_before_any_data(transport: Transport) -> None:
    """56 as well, without output."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)  # a reset before it may be one of the connecting
        conn.reset()

    with transport.serve(script) as server, start(*transport.options, server.address) as program:
        program.say(b"x")
        program.wait(DEADLINE_S)
        result = finish(program)
    assert result == Result(b"", f"cfcat: {server.address}: connection reset by peer while receiving\n", 56)


def test_reset_while_sending_with_an_unread_answer(transport: Transport) -> None:
    """The answer that came before the reset is printed; the error is that of the sending, which came first."""
    answer = pattern(SMALL)
    flowing, stopped, gone = threading.Event(), threading.Event(), threading.Event()

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        flowing.set()
        conn.wait(stopped)
        conn.send(answer)
        until_arrived(conn)
        conn.reset()
        gone.set()

    with transport.serve(script) as server, start(*transport.options, server.address) as program:
        fill(program.stdin, flowing)
        with halted(program):
            stopped.set()
            assert gone.wait(DEADLINE_S)
        program.wait(DEADLINE_S)
        result = finish(program)
    assert (len(result.stdout), result.stdout == answer) == (len(answer), True)
    assert result.stderr == f"cfcat: {server.address}: connection reset by peer while sending\n"
    assert result.status == 55


def test_reset_while_sending_and_stdout_is_slow(plain: Transport) -> None:
    """Both directions are stuck when the connection breaks: stdout still gets all that had arrived, then comes 55."""
    flowing, stalled, gone = (threading.Event() for _ in range(3))
    arrived = []

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        flowing.set()
        conn.wait(stalled)
        conn.fill()
        # What this side's kernel still holds is lost by the reset, and was never with the client.
        arrived.append(conn.sent - queues(conn.address[1])[0])
        conn.reset()
        gone.set()

    with plain.serve(script) as server, start(server.address) as program:
        fill(program.stdin, flowing)
        stalled.set()
        assert gone.wait(DEADLINE_S)
        assert program.stdin is not None
        program.stdin.close()
        result = finish(program)
    assert len(result.stdout) == arrived[0] > 1 << 20
    assert result.stderr == f"cfcat: {server.address}: connection reset by peer while sending\n"
    assert result.status == 55


def test_truncated_tls_delivers_everything_first(tls: Transport) -> None:
    """TCP ends without close_notify: all that came is printed, and 18 tells that it may not be all."""
    data = pattern(1 << 20)

    def script(conn: Peer) -> None:
        conn.send(data)
        conn.end()

    with tls.serve(script) as server:
        result = cfcat(*tls.options, server.address, stdin=b"question")
    assert (len(result.stdout), result.stdout == data) == (len(data), True)
    text = "the connection ended without TLS close_notify: output may be truncated"
    hint = "--ignore-unexpected-eof accepts it"
    assert (result.stderr, result.status) == (f"cfcat: {server.address}: {text}\n  hint: {hint}\n", 18)


def test_tls_that_ends_with_nothing_but_a_fin(tls: Transport) -> None:
    """Truncation is truncation where no data came at all, whichever side ended first."""

    def script(conn: Peer) -> None:
        conn.recv_until_eof()
        conn.end()

    with tls.serve(script) as server:
        assert cfcat(*tls.options, server.address).status == 18
    with tls.serve(Peer.end) as server, start(*tls.options, server.address) as program:
        assert program.wait(DEADLINE_S) == 18


def test_bytes_after_close_notify_are_never_shown(tls: Transport) -> None:
    """What follows the end of TLS in clear text is nobody's data."""

    def script(conn: Peer) -> None:
        conn.send(b"data")
        conn.close_notify()
        conn.send_raw(b"clear text")

    with tls.serve(script) as server:
        result = cfcat(*tls.options, server.address, stdin=b"")
    assert (result.stdout, result.status) == (b"data", 0)


def test_clear_text_within_tls_is_an_error(tls: Transport) -> None:
    """What came before is printed; what is no TLS is not."""

    def script(conn: Peer) -> None:
        conn.send(b"data")
        conn.send_raw(b"clear text, longer than a record's header")
        conn.recv_until_eof()

    with tls.serve(script) as server:
        result = cfcat(*tls.options, server.address, stdin=b"")
    assert (result.stdout, result.status) == (b"data", 35)
    assert result.stderr.startswith(f"cfcat: {server.address}: TLS failed: ")
    assert "clear text" not in result.stderr


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


@pytest.mark.parametrize("how", [Peer.reset, Peer.close, Peer.end])
@pytest.mark.parametrize("read", [0, 1, 1 << 16], ids=["unread", "partly read", "read"])
def test_connection_lost_in_the_handshake(plain: Transport, read: int, how: Script) -> None:
    """The server goes away when it has the ClientHello: 35, and nothing of stdin was sent."""

    def script(conn: Peer) -> None:
        assert not conn.quiet(DEADLINE_S)  # before the ClientHello, a reset would be one of the connecting
        if read:
            conn.recv(read)
        how(conn)

    with serve(script) as server:
        result = cfcat("--tls", "on", "--cacert", plain.certs.ca, server.address, stdin=b"secret")
    assert (result.stdout, result.status) == (b"", 35)
    assert result.stderr.startswith(f"cfcat: {server.address}: ")
    assert "during the TLS handshake" in result.stderr
    assert b"secret" not in server.received


# ------------------------------------------------------------------------------------------ first error wins


def test_a_full_disk_comes_before_the_reset_behind_it(either: Transport) -> None:
    """stdout fails at the first byte; what becomes of the connection then is no matter."""

    def script(conn: Peer) -> None:
        conn.send(b"data")
        conn.recv_until_eof()

    with either.serve(script) as server, Path("/dev/full").open("wb") as full:
        with start(*either.options, server.address, stdout=full) as program:
            program.wait(DEADLINE_S)
            result = finish(program)
    assert result == Result(b"", "cfcat: cannot write standard output: no space left on device\n", 23)
    assert server.ended in ("reset", "tls_error")  # a part was lost: the server must not take it for an end in order


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
