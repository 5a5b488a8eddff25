"""Rows 11 to 20 of the fault matrix: who ends when, and connections that break."""

from __future__ import annotations

import socket
import struct
import subprocess
import threading
from pathlib import Path

import pytest

from tests.faults.ways import WITH_HALF_OPEN, check_message, injecting, patched, upgrade
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, Server, serve
from tests.helpers.program import Result, cfcat, finish, start
from tests.helpers.terminal import terminal
from tests.pipe.tools import (
    DEADLINE_S,
    KEEPALIVE_TIMER,
    Transport,
    fill,
    halted,
    pattern,
    queues,
    running_timer,
    until,
    until_arrived,
)
from tests.report.form import check_form

pytestmark = pytest.mark.one_python

# Long enough to be seen to be waited for, short enough to wait for.
SHORT_S = 0.3
# What fits into the smallest receive window, and so is with the client once it has been sent.
SMALL = 32 * 1024
RESET = "connection reset by peer while"


# ------------------------------------------------------------------------------------------- 11 to 15: ends


def test_row_11_silent_peer_is_waited_for_unless_told_otherwise(way: Transport) -> None:
    """With stdin open: -w ends it with 28, after what came before; without it nothing does but the peer."""

    def script(conn: Peer) -> None:
        conn.send(b"hello")
        conn.hang()

    with (
        way.serve(script) as server,
        start(*way.options, server.address) as patient,
        start(*way.options, "-w", str(SHORT_S), server.address) as hasty,
    ):
        patient.read_until(b"hello")
        hasty.wait(DEADLINE_S)
        text = f"cfcat: {server.name}: nothing moved for {SHORT_S} s\n"
        assert finish(hasty) == Result(b"hello", text, 28)
        assert patient.poll() is None
        server.release()
        assert patient.wait(DEADLINE_S) == 0
        assert finish(patient) == Result(b"hello", "", 0)


def test_row_12_server_that_closes_without_a_byte(way: Transport) -> None:
    """An end in order, with stdin open."""
    with way.serve(lambda conn: None) as server, start(*way.options, server.address) as program:
        assert program.wait(DEADLINE_S) == 0
        assert finish(program) == Result(b"", "", 0)
    assert server.ended == way.end


def test_row_12_server_that_closes_without_a_byte_while_stdin_is_a_terminal(way: Transport, tmp_path: Path) -> None:
    """Nobody has to press Enter."""
    with way.serve(lambda conn: None) as server:
        check_end_on_a_terminal(way, server, tmp_path / "output", b"")


def test_row_13_end_of_the_server_ends_the_run_while_stdin_is_open(way: Transport) -> None:
    """Everything is delivered, the server sees an end in order, and nobody waits for stdin."""
    answer = pattern(1 << 20)

    with way.serve(lambda conn: conn.send(answer)) as server:
        with start(*way.options, server.address) as program:
            assert program.stdout is not None
            output = program.stdout.read()
            assert program.wait(DEADLINE_S) == 0
            assert program.stdin is not None
            assert not program.stdin.closed
            assert finish(program) == Result(b"", "", 0)
    assert (len(output), output == answer) == (len(answer), True)
    assert server.ended == way.end


def test_row_13_end_of_the_server_ends_the_run_while_stdin_is_a_terminal(way: Transport, tmp_path: Path) -> None:
    """Nobody has to press Enter; what was typed and not sent stays with the shell."""
    with way.serve(lambda conn: conn.send(b"bye")) as server:
        check_end_on_a_terminal(way, server, tmp_path / "output", b"bye")


def check_end_on_a_terminal(way: Transport, server: Server, output: Path, expected: bytes) -> None:
    with output.open("wb") as stdout, terminal(*way.options, server.address, stdout=stdout) as term:
        assert term.finish() == 0
        assert (term.attributes(), term.flags()) == (term.attributes_before, term.flags_before)
        assert term.output == b""  # stderr is the terminal too
    assert output.read_bytes() == expected
    assert server.ended == way.end


def test_row_14_half_open_closes_stdout_and_sends_on(way: Transport) -> None:
    """After the server's end a reader of our stdout sees EOF, while what comes on stdin is still sent."""

    def script(conn: Peer) -> None:
        conn.send(b"bye")
        way.end_data(conn)
        conn.recv_until_eof()

    with way.serve(script) as server, start(*way.options, "--half-open", server.address) as program:
        assert program.stdout is not None
        assert program.stdout.read() == b"bye"
        program.say(b"more")
        until(lambda: server.received == b"more")
        assert program.poll() is None
        program.say(b" and more")
        program.end_input()
        assert program.wait(DEADLINE_S) == 0
        assert finish(program) == Result(b"", "", 0)
    assert (server.received, server.ended) == (b"more and more", way.end)


@WITH_HALF_OPEN
def test_row_15_end_of_stdin_is_passed_on_and_a_late_answer_read(way: Transport, options: list[str]) -> None:
    """Our FIN, under TLS close_notify and no FIN: the answer begins long after it, and comes in full."""
    answer = pattern(1 << 20)

    def script(conn: Peer) -> None:
        assert conn.recv_until_eof() == b"question"
        assert conn.ended == way.end
        if way.version is None:
            conn.hang()
        else:
            assert conn.quiet(SHORT_S)  # no FIN behind close_notify: servers cut their answer short at it
        conn.send(answer)

    with way.serve(script) as server, start(*way.options, *options, server.address) as program:
        program.say(b"question")
        program.end_input()
        assert server.saw_eof.wait(DEADLINE_S)
        with pytest.raises(subprocess.TimeoutExpired):
            program.wait(SHORT_S)
        server.release()
        result = finish(program)
    assert (result.status, result.stderr, len(result.stdout)) == (0, "", len(answer))
    assert result.stdout == answer


# ------------------------------------------------------------------------------------------ 16 to 19: resets


def test_row_16_reset_after_data_delivers_it_first(way: Transport) -> None:
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

    with way.serve(script) as server, start(*way.options, server.address) as program:
        program.read_until(b"hello")
        with halted(program):
            stopped.set()
            assert gone.wait(DEADLINE_S)
        program.wait(DEADLINE_S)
        result = finish(program)
    assert result.stdout == b"hello" + data
    assert (result.stderr, result.status) == (f"cfcat: {server.name}: {RESET} receiving\n", 56)


def test_row_17_reset_while_sending_with_an_unread_answer(way: Transport) -> None:
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

    with way.serve(script) as server, start(*way.options, server.address) as program:
        fill(program.stdin, flowing)
        with halted(program):
            stopped.set()
            assert gone.wait(DEADLINE_S)
        program.wait(DEADLINE_S)
        result = finish(program)
    assert (len(result.stdout), result.stdout == answer) == (len(answer), True)
    assert (result.stderr, result.status) == (f"cfcat: {server.name}: {RESET} sending\n", 55)


def test_row_17_reset_while_sending_and_stdout_is_slow(plain: Transport) -> None:
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
    assert (result.stderr, result.status) == (f"cfcat: {server.name}: {RESET} sending\n", 55)


def test_row_18_reset_before_any_data(way: Transport) -> None:
    """56 as well, without output."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)  # a reset before it may be one of the connecting
        conn.reset()

    with way.serve(script) as server, start(*way.options, server.address) as program:
        program.say(b"x")
        program.wait(DEADLINE_S)
        result = finish(program)
    wants_tls = way.name == "plain" and way.options == []  # a server may; a client of ours does not
    hint = "  hint: --tls on, if TLS begins at once on this port\n" if wants_tls else ""
    assert result == Result(b"", f"cfcat: {server.name}: {RESET} receiving\n{hint}", 56)


def test_row_18_reset_in_the_moment_of_connecting() -> None:
    """Between connect() and the first look at the socket the peer has gone: an error like any other, no bug."""
    by = patched(
        """
import select
import cfcat.core.dial
real = cfcat.core.dial._until_connected
async def until_connected(loop, sock, address):
    await real(loop, sock, address)
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    poll.poll(5000)  # the reset
cfcat.core.dial._until_connected = until_connected
"""
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with start(f"127.0.0.1:{port}", by=by) as program:
            conn = listener.accept()[0]
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            conn.close()
            program.wait(DEADLINE_S)
            result = finish(program)
    assert result.status in (7, 56), result.stderr
    text, _ = check_form(result.stderr)
    assert text.startswith(f"127.0.0.1:{port}: ")


@pytest.mark.parametrize("read", [1, 1 << 16], ids=["partly read", "read"])
@pytest.mark.parametrize("dialog", [False, True], ids=["tls", "upgraded"])
def test_row_18_reset_in_the_handshake(certs: CertSet, dialog: bool, read: int) -> None:
    """35, named after the handshake; nothing of stdin was sent."""

    def script(conn: Peer) -> None:
        if dialog:
            upgrade(conn)
        assert not conn.quiet(DEADLINE_S)  # before the ClientHello, a reset would be one of the connecting
        conn.recv(read)
        conn.reset()

    options = ["--starttls", "smtp"] if dialog else ["--tls", "on"]
    with serve(script) as server:
        result = cfcat(*options, "--cacert", certs.ca, server.address, stdin=b"secret")
    text = f"{server.name}: connection reset by peer during the TLS handshake"
    assert ("--starttls PROTO" in check_message(result, 35, text)) is not dialog
    assert b"secret" not in server.received


def test_row_18_reset_in_the_dialog(certs: CertSet) -> None:
    """64, named after the dialog; nothing of stdin was sent."""

    def script(conn: Peer) -> None:
        conn.send(b"220 mail.example ESMTP\r\n")
        conn.recv_exactly(1)
        conn.reset()

    with serve(script) as server:
        result = cfcat("--starttls", "smtp", "--cacert", certs.ca, server.address, stdin=b"secret")
    assert check_message(result, 64, f"{server.name}: connection reset by peer during the SMTP dialog") == ""


@WITH_HALF_OPEN
def test_row_19_reset_after_the_servers_end_where_nothing_was_lost(way: Transport, options: list[str]) -> None:
    """All that came is printed, and there was nothing to say: an end in order."""
    stopped, gone = threading.Event(), threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"hello")
        conn.wait(stopped)
        conn.send(b" and bye")
        way.end_data(conn)
        until_arrived(conn)
        conn.reset()
        gone.set()

    with way.serve(script) as server, start(*way.options, *options, server.address) as program:
        program.read_until(b"hello")
        with halted(program):
            stopped.set()
            assert gone.wait(DEADLINE_S)
        program.read_until(b"bye")
        assert program.stdout is not None
        assert program.stdout.read() == b""  # the end was read; only now does ours come
        program.end_input()
        program.wait(DEADLINE_S)
        assert finish(program) == Result(b"hello and bye", "", 0)


def test_row_19_reset_after_the_servers_end_when_data_was_lost(way: Transport) -> None:
    """The server ends, and then resets instead of taking what we have for it: 55, for that is lost."""
    flowing, stalled = threading.Event(), threading.Event()

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        flowing.set()
        conn.wait(stalled)
        conn.send(b"bye")
        way.end_data(conn)
        until_arrived(conn, read=True)
        conn.reset()

    with way.serve(script) as server, start(*way.options, server.address) as program:
        fill(program.stdin, flowing)
        stalled.set()
        program.wait(DEADLINE_S)
        result = finish(program)
    check_message(result, 55, f"{server.name}: ", stdout=b"bye")


# ------------------------------------------------------------------------------------------- 20: the cable


def test_row_20_idle_connection_is_probed(way: Transport) -> None:
    """Keepalive is on: the kernel's own timer for the connection says so."""

    def script(conn: Peer) -> None:
        conn.send(b"hello")
        conn.hang()

    with way.serve(script) as server, start(*way.options, server.address) as program:
        program.read_until(b"hello")
        until(lambda: running_timer(server.peers[0].address[1]) == KEEPALIVE_TIMER)
        server.release()
        assert program.wait(DEADLINE_S) == 0


def test_row_20_probes_are_not_answered() -> None:
    """ETIMEDOUT, what a pulled cable comes to: 56 and the reason, with stdin open."""

    def script(conn: Peer) -> None:
        conn.send(b"hello")
        conn.recv_until_eof()

    by = injecting("recvfrom:error=ETIMEDOUT")
    with serve(script) as server, start(server.address, by=by) as program:
        program.wait(DEADLINE_S)
        result = finish(program)
    assert result == Result(b"", f"cfcat: {server.name}: connection timed out while receiving\n", 56)
