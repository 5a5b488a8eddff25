"""The fault matrix for connections that come in: the rows that are about a connection, over each kind of it."""

from __future__ import annotations

import inspect
import signal
import ssl
import subprocess
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from tests.core.test_client_hello import hello as client_hello
from tests.faults import test_ends, test_ends_flow, test_tls_records
from tests.faults.ways import (
    Accepting,
    ask_for_upgrade,
    at_once,
    check_message,
    hello_and_hang,
    injecting,
    make_accepting_way,
    shell_does,
)
from tests.helpers.callers import calling
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, Script
from tests.helpers.program import Result, cfcat, finish, start
from tests.pipe.tools import DEADLINE_S, pattern, until_arrived
from tests.report.form import check_form

pytestmark = pytest.mark.one_python

SHORT_S = 0.3


# --------------------------------------------------------------------------- what does not depend on who has dialed

# Under --no-half-open these say the same of a connection that was accepted: the peer is a client then, and dials.
SAME = (
    test_ends.test_row_12_server_that_closes_without_a_byte,
    test_ends.test_row_13_end_of_the_server_ends_the_run_while_stdin_is_open,
    test_ends.test_row_14_half_open_closes_stdout_and_sends_on,
    test_ends.test_row_16_reset_after_data_delivers_it_first,
    test_ends.test_row_17_reset_while_sending_with_an_unread_answer,
    test_ends.test_row_18_reset_before_any_data,
    test_ends.test_row_19_reset_after_the_servers_end_when_data_was_lost,
    test_ends.test_row_20_idle_connection_is_probed,
    test_ends_flow.test_row_21_peer_never_reads_and_stdin_is_endless,
    test_ends_flow.test_row_21_server_that_reads_now_and_then,
    test_ends_flow.test_row_22_peer_with_the_smallest_window_reads_byte_by_byte,
    test_ends_flow.test_row_22_reading_goes_on_while_the_peer_takes_nothing,
    test_ends_flow.test_row_23_stdout_that_nobody_reads,
    test_ends_flow.test_row_25_bytes_that_come_one_by_one,
    test_ends_flow.test_row_25_bytes_that_go_one_by_one,
    test_ends_flow.test_row_53_every_byte_value_both_ways,
    test_ends_flow.test_row_55_nothing_in_either_direction,
)
SAME_UNDER_TLS = (test_tls_records.test_row_67_truncation_after_our_own_end,)


def row(test: Callable[..., None]) -> str:
    return test.__name__.removeprefix("test_")


@pytest.mark.parametrize("test", SAME, ids=row)
def test_row_is_the_same(test: Callable[..., None], accepting: Accepting, request: pytest.FixtureRequest) -> None:
    """Status, message and data as for a server."""
    run_as_client(test, accepting, request)


@pytest.mark.parametrize("test", SAME_UNDER_TLS, ids=row)
def test_row_is_the_same_under_tls(
    test: Callable[..., None], accepting_tls: Accepting, request: pytest.FixtureRequest
) -> None:
    """Status, message and data as for a server."""
    run_as_client(test, accepting_tls, request)


def run_as_client(test: Callable[..., None], way: Accepting, request: pytest.FixtureRequest) -> None:
    """Run the test with a peer that dials."""
    wanted = inspect.signature(test).parameters
    given: dict[str, Any] = {
        name: way if name in ("way", "tls_way") else request.getfixturevalue(name) for name in wanted
    }
    test(**given)


# ------------------------------------------------------------------------------------------------ 11 to 19: ends


def test_row_11_silent_client_is_waited_for_unless_told_otherwise(accepting: Accepting) -> None:
    """With stdin open: -w ends it with 28, after what came before; without it nothing does but the client."""
    with accepting.serve(hello_and_hang) as caller:
        with start(*accepting.options, "-w", str(SHORT_S), caller.address) as program:
            program.wait(DEADLINE_S)
            text = f"cfcat: {caller.name}: nothing moved for {SHORT_S} s\n"
            assert finish(program) == Result(b"hello", text, 28)
    with accepting.serve(hello_and_hang) as caller, start(*accepting.options, caller.address) as program:
        program.read_until(b"hello")
        with pytest.raises(subprocess.TimeoutExpired):
            program.wait(SHORT_S)
        caller.release()
        assert program.wait(DEADLINE_S) == 0


def test_row_15_end_of_the_client_leaves_the_answer_its_time(accepting: Accepting) -> None:
    """Half-open is the default: the answer begins long after the client's end, comes in full, and ends in order."""
    answer = pattern(1 << 20)

    def script(conn: Peer) -> None:
        conn.send(b"question")
        accepting.end_data(conn)
        assert conn.recv_until_eof() == answer

    with accepting.serve(script) as caller:
        with start("-l", *accepting.own, caller.address) as program:
            program.read_until(b"question")
            with pytest.raises(subprocess.TimeoutExpired):
                program.wait(SHORT_S)
            result = finish(program, answer)
    assert result == Result(b"question", "", 0)
    assert caller.ended == accepting.end


@pytest.mark.parametrize("upgraded", [False, True], ids=["tls", "upgraded"])
@pytest.mark.parametrize("end", [Peer.reset, Peer.close], ids=["RST", "FIN"])
def test_row_18_client_that_leaves_in_the_handshake(certs: CertSet, upgraded: bool, end: Script) -> None:
    """35, named after the handshake: before its hello, in the middle of it, and in the place of its last flight."""
    way = make_accepting_way("upgraded" if upgraded else "tls1.3", certs)
    text = "connection reset by peer" if end is Peer.reset else "peer closed the connection"

    def leave(part: slice, conn: Peer) -> None:
        if upgraded:
            ask_for_upgrade(conn)
        conn.send(client_hello()[part])
        if part == slice(None):
            assert not conn.quiet(DEADLINE_S)
            conn.recv()  # with bytes unread, closing would be a reset
        until_arrived(conn, read=True)
        end(conn)

    def one(part: slice) -> None:
        with calling(partial(leave, part)) as caller:
            result = cfcat(*way.options, caller.address, stdin=b"secret")
        assert check_message(result, 35, f"{caller.name}: {text} during the TLS handshake") == ""
        assert b"secret" not in caller.received

    at_once(partial(one, slice(size)) for size in (0, 3, 100, None))


def test_row_18_client_that_resets_in_the_dialog(certs: CertSet) -> None:
    """64, named after the dialog."""

    def script(conn: Peer) -> None:
        conn.recv_until(b"\n")
        conn.reset()

    way = make_accepting_way("upgraded", certs)
    with calling(script) as caller:
        result = cfcat(*way.options, caller.address, stdin=b"secret")
    check_message(result, 64, f"{caller.name}: connection reset by peer during the SMTP dialog")


# -------------------------------------------------------------------------------- 26 to 51: the process around it


def test_row_26_reader_of_stdout_goes(accepting: Accepting) -> None:
    """While the client sends: it dies of SIGPIPE without a word, and the client sees that."""

    def script(conn: Peer) -> None:
        with suppress(OSError):
            while True:
                conn.send(bytes(1 << 16))
        conn.recv_until_eof()

    with accepting.serve(script) as caller, start(*accepting.options, caller.address) as program:
        program.read_until(b"\0")
        assert program.stdout is not None
        program.stdout.close()
        program.stdout = None
        assert program.wait(DEADLINE_S) == -signal.SIGPIPE
        assert finish(program).stderr == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("kind", ["tls1.3", "upgraded"])
def test_rows_41_and_43_signals_while_a_client_is_waited_for(certs: CertSet, kind: str, number: signal.Signals) -> None:
    """For its connection, its dialog or its handshake: it dies of the signal, without a word."""
    way = make_accepting_way(kind, certs)
    with start(*way.options, "127.0.0.1:0") as program:
        program.read_stderr_until("listening on")
        program.send_signal(number)
        assert program.wait(DEADLINE_S) == -number
    with calling(Peer.hang) as caller, start(*way.options, "-v", caller.address) as program:
        program.read_stderr_until("accepted")
        program.send_signal(number)
        assert program.wait(DEADLINE_S) == -number
        assert "Traceback" not in finish(program).stderr


@pytest.mark.parametrize("kind", ["plain", "tls1.3"])
def test_row_50_too_few_descriptors(certs: CertSet, kind: str) -> None:
    """Either a run or one clear message, whatever it is that finds no descriptor any more."""
    way = make_accepting_way(kind, certs)

    def script(conn: Peer) -> None:
        with suppress(OSError, ssl.SSLError, AssertionError):  # there is nobody
            way.secure(conn)
            conn.send(b"data")

    def one(count: int) -> Result:
        with calling(script) as caller:
            limited = shell_does(f'ulimit -n {count}; exec "$@"')
            return cfcat(*way.options, caller.address, by=limited)

    results = at_once(partial(one, count) for count in range(5, 14))
    worked = [result.status == 0 for result in results]
    assert worked == sorted(worked), "more descriptors are better than fewer"
    assert (worked[0], worked[-1]) == (False, True)
    for result in results:
        if result.status == 0:
            assert result == Result(b"data", "", 0)
        else:
            check_form(result.stderr)
            assert "too many open files" in result.stderr
            assert result.status in (7, 58)


@pytest.mark.parametrize(
    ("code", "text"), [("ENOBUFS", "no buffer space available"), ("ENOMEM", "cannot allocate memory")]
)
def test_row_51_no_memory_to_receive(plain_way: Accepting, code: str, text: str) -> None:
    """56 and the reason."""
    with plain_way.serve(Peer.recv_until_eof) as caller:
        with start(*plain_way.options, caller.address, by=injecting(f"recvfrom:error={code}")) as program:
            program.wait(DEADLINE_S)
            result = finish(program)
    check_message(result, 56, f"{caller.name}: {text} while receiving")
