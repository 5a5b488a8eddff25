"""Rows 50 to 52 of the fault matrix: a process that is short of descriptors, of buffers, of memory.

The interactive session's part of row 52 is tested with its screen.
"""

from __future__ import annotations

import os
import resource
import subprocess
import threading
from functools import partial

import pytest

from tests.faults.ways import at_once, check_message, injecting, make_way, resolving, shell_does, upgrade
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, serve
from tests.helpers.program import Result, cfcat, finish, start
from tests.pipe.fast import MIB, peak_bytes, resident_bytes
from tests.pipe.tools import DEADLINE_S, Transport

# 0 to 2 and this many more are enough for every kind of run, with all that Python opens on the way.
ENOUGH = 16
LINE_BYTES = 32 * MIB  # of the 1024 of the matrix: what is bounded at one is at the other


# --------------------------------------------------------------------------------------- 50: too few descriptors


def limited(count: int) -> list[str]:
    """Allow so many descriptors, 0 to 2 included."""
    return shell_does(f'ulimit -n {count}; exec "$@"')


@pytest.mark.parametrize("kind", ["plain", "name", "tls1.3", "upgraded"])
def test_row_50_too_few_descriptors(certs: CertSet, kind: str) -> None:
    """From 5 on there is either a run or one clear message, whatever it is that finds no descriptor any more."""
    way = make_way("plain" if kind == "name" else kind, certs)
    by = resolving("127.0.0.1") if kind == "name" else []

    def script(conn: Peer) -> None:
        try:
            if kind == "upgraded":
                upgrade(conn)
            if way.version is not None:
                conn.start_tls(certs.server_context(version=way.version))
        except (AssertionError, OSError):
            return  # the client has given up
        conn.forget()
        conn.send(conn.recv_until_eof())

    with serve(script) as server:
        target = f"many.test:{server.port}" if kind == "name" else server.address
        counts = [5, 6, 7, 8, ENOUGH]
        results = at_once(
            partial(cfcat, *way.options, target, stdin=b"data", by=limited(count) + by) for count in counts
        )
    worked = [result.status == 0 for result in results]
    assert worked == sorted(worked), "more descriptors are better than fewer"
    assert (worked[0], worked[-1]) == (False, True)
    for result in results:
        if result.status == 0:
            assert result == Result(b"data", "", 0)
        else:
            check_message(result, 7, f"{target}: too many open files")


def test_row_50_too_few_descriptors_for_the_authorities(certs: CertSet) -> None:
    """77, where the file cannot even be opened."""
    by = limited(16) + injecting("openat:error=EMFILE", path=str(certs.ca))
    result = cfcat("--tls", "on", "--cacert", certs.ca, "127.0.0.1:1", stdin=b"data", by=by)
    check_message(result, 77, f"cannot use the file of authorities {certs.ca}: too many open files")


@pytest.mark.parametrize("fault", ["socket:error=ENFILE", "pipe2:error=ENFILE"], ids=["socket", "loop"])
def test_row_50_system_has_no_descriptor_left(fault: str) -> None:
    """Not only the process: nearly the same words."""
    result = cfcat("127.0.0.1:1", stdin=b"data", by=injecting(fault))
    check_message(result, 7, "127.0.0.1:1: too many open files")


# ------------------------------------------------------------------------------- 51: no buffers and no memory


RECEIVING = ("recvfrom", "splice")
SENDING = ("sendto", "sendfile", "splice")
SHORTAGES = pytest.mark.parametrize(
    ("code", "text"), [("ENOBUFS", "no buffer space available"), ("ENOMEM", "cannot allocate memory")]
)


@SHORTAGES
def test_row_51_system_short_of_memory_in_receiving(plain: Transport, code: str, text: str) -> None:
    """Exit status 56, and the message names the reason."""

    def script(conn: Peer) -> None:
        conn.send(b"data")
        conn.recv_until_eof()

    by = injecting(*(f"{call}:error={code}" for call in RECEIVING))
    with plain.serve(script) as server, start(server.address, by=by) as program:
        program.wait(DEADLINE_S)
        check_message(finish(program), 56, f"{server.address}: {text} while receiving")


@SHORTAGES
def test_row_51_system_short_of_memory_in_sending(plain: Transport, code: str, text: str) -> None:
    """55 and the reason."""
    by = injecting(*(f"{call}:error={code}" for call in SENDING))
    with plain.serve(Peer.recv_until_eof) as server:
        result = cfcat(server.address, stdin=b"data", by=by)
    check_message(result, 55, f"{server.address}: {text} while sending")


def test_row_51_process_short_of_memory(way: Transport) -> None:
    """RLIMIT_AS leaves it nothing more in the middle of a run: one message, or it does with what it has."""
    go = threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"hello")
        conn.wait(go)
        try:
            conn.send(bytes(8 * MIB))
            conn.recv_until_eof()
        except OSError:
            pass  # the client has given up

    with way.serve(script) as server, start(*way.options, server.address) as program:
        program.read_until(b"hello")
        resource.prlimit(program.pid, resource.RLIMIT_AS, (MIB, MIB))
        go.set()
        program.end_input()
        result = finish(program)
    if result.status:
        message = Result(b"", result.stderr, result.status)
        check_message(message, 56 if "receiving" in result.stderr else 55, f"{server.address}: out of memory while ")
    else:
        assert (len(result.stdout), result.stderr) == (5 + 8 * MIB, "")


# ------------------------------------------------------------------------------------------ 52: one endless line


def test_row_52_line_without_end_on_a_terminal(plain: Transport) -> None:
    """It is shown in pieces, and never held as a whole: memory stays as it is at the beginning."""

    def script(conn: Peer) -> None:
        conn.send(b"hello")
        for _ in range(LINE_BYTES // MIB):
            conn.send(b"x" * MIB)
        conn.wait(measured)  # a process that has ended has no memory

    measured = threading.Event()
    master, slave = os.openpty()
    with open(master, "rb", buffering=0) as screen, plain.serve(script) as server:
        with start(server.address, stdin=subprocess.DEVNULL, stdout=slave) as program:
            os.close(slave)
            assert screen.read(5) == b"hello"
            at_first = resident_bytes(program)
            shown = peak = 0
            while shown < LINE_BYTES:
                piece = screen.read(MIB)
                assert piece.count(b"x") == len(piece)
                shown += len(piece)
                peak = max(peak, peak_bytes(program))
            measured.set()
            assert program.wait(DEADLINE_S) == 0
            assert finish(program) == Result(b"", "", 0)
    assert peak - at_first < LINE_BYTES // 4
