"""SEC-R28: no pattern, log, export or FIFO holds a session up."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.helpers.peers import Peer, serve
from tests.helpers.program import Result, cfcat, start
from tests.pipe.tools import until
from tests.repl.conftest import opened, refused
from tests.repl.screens import repl

MIB = 1 << 20
# A MiB without a line end, at which each of these goes back and forth for minutes.
NOISE = b"220 " * (MIB // 4)
SLOW = ("220 .*ESMTP", "(a+)+$", r"(?:\d+ ?)+x", "(2|20|22?0| )*!")
# What a user may notice: a deadline of so much, and half a second.
LIMIT_S, SLACK_S = 0.3, 0.5


def noise(conn: Peer) -> None:
    conn.send(NOISE + b"a" * 64 + b"!")
    conn.recv_until_eof()


@pytest.mark.parametrize("pattern", SLOW)
async def test_sec_r28_expect_keeps_its_deadline(pattern: str) -> None:
    """On a MiB, whatever the pattern; and the session goes on."""
    with serve(noise) as server:
        async with opened(server.address) as (session, face):
            await face.until_received(NOISE)
            began = time.monotonic()
            error = await refused(session, f":expect -t {LIMIT_S} {pattern}")
            assert time.monotonic() - began < LIMIT_S + SLACK_S + 0.5  # a busy machine
            assert f"no match within {LIMIT_S} s" in error.message
            await session.execute(":expect -t 5 220")


async def test_sec_r28_a_pattern_that_repeats_matches_as_ever() -> None:
    """The search is made elsewhere, and what it has matched is used up here, although more has come meanwhile."""

    def script(conn: Peer) -> None:
        conn.send(b"250-one\r\n250 two\r\n")
        for number in range(20):
            conn.send(b"%d more\r\n" % number)
        conn.recv_until_eof()

    with serve(script) as server:
        async with opened(server.address) as (session, _):
            await session.execute(r":expect ^250-.*\r\n250 .*\r\n")
            for number in range(20):
                await session.execute(f":expect ^{number} m.re")
            assert (await refused(session, ":expect -t 0 ^250")).message.startswith(":expect ^250: no match")


def test_sec_r28_a_script_keeps_its_deadline() -> None:
    """The same, and status 1."""
    with serve(noise) as server:
        began = time.monotonic()
        result = cfcat("--repl", server.address, stdin=b":wait 0.1\n:expect -t 0.3 220 .*ESMTP\n")
        assert time.monotonic() - began < 3
    assert result.status == 1
    assert "line 2: :expect 220 .*ESMTP: no match within 0.3 s" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_sec_r28_signals_end_a_script_at_once(number: signal.Signals) -> None:
    """In the middle of a search."""
    with serve(noise) as server, start("--repl", server.address) as program:
        program.say(b":expect -t 60 (a+)+$\n")
        program.read_until(b"!")
        began = time.monotonic()
        program.send_signal(number)
        assert program.wait(5) == -number
        assert time.monotonic() - began < SLACK_S + 0.5


def test_sec_r28_ctrl_c_cancels_a_search_on_a_terminal() -> None:
    """The session goes on."""

    def script(conn: Peer) -> None:
        conn.send(b"a" * 64 + b"!")  # enough for centuries
        conn.recv_until_eof()

    with serve(script) as server, repl(server) as it:
        it.expect("aaa!")
        it.type(":expect -t 60 (a+)+$\r")
        it.expect("busy, Ctrl-C cancels")
        it.type("\x03")
        it.expect("cancelled")
        it.type("sent\r")
        until(lambda: server.received == b"sent\r\n")
        it.term.until(lambda lines: not any("busy" in line for line in lines))
        it.quit()


# ------------------------------------------------------------------------------------------- logs and exports


@pytest.mark.parametrize("command", [":log", ":export"])
async def test_sec_r28_a_fifo_that_nobody_reads(command: str, tmp_path: Path) -> None:
    """To open it would wait for a reader for ever."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with serve(Peer.recv_until_eof) as server:
        async with opened(server.address) as (session, _):
            error = await refused(session, f"{command} {fifo}")
            assert error.message == f"cannot write {fifo}: nobody reads it"
            await session.execute("x")


async def test_sec_r28_a_log_is_no_fifo(tmp_path: Path) -> None:
    """One whose reader stops would stop the session."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with serve(Peer.recv_until_eof) as server:
        async with opened(server.address) as (session, _):
            assert (await refused(session, f":log {fifo}")).message == f"cannot write {fifo}: it is a named pipe"
    os.close(reader)


def test_sec_r28_a_fifo_whose_reader_has_stopped_ends_the_log_and_not_the_run(tmp_path: Path) -> None:
    """In a pipe a FIFO will do, as long as it takes what is written."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with serve(lambda conn: conn.send(bytes(MIB))) as server:
        result = cfcat("--log", fifo, server.address)
    os.close(reader)
    assert (len(result.stdout), result.status) == (MIB, 0)
    assert "warning: the log is not complete" in result.stderr


@pytest.mark.parametrize("how", ["option", "command"])
def test_a_log_that_others_can_read_or_change_is_refused(how: str, tmp_path: Path) -> None:
    """Through a symbolic link, into another user's file, or into one that others may write to."""
    mine, link, open_file, theirs = (tmp_path / name for name in ("mine", "link", "open", "theirs"))
    mine.touch()
    link.symlink_to(mine)
    open_file.touch()
    open_file.chmod(0o666)
    refusals = {link: "it is a symbolic link", open_file: "others may write to it"}
    if os.geteuid() == 0:
        theirs.touch()
        os.chown(theirs, 65534, 65534)
        refusals[theirs] = "it belongs to another user"
    for path, reason in refusals.items():
        with serve(Peer.recv_until_eof) as server:
            if how == "option":
                result = cfcat("--log", path, server.address)
                assert result == Result(b"", f"cfcat: cannot write {path}: {reason}\n", 23)
            else:
                result = cfcat("--repl", server.address, stdin=f":log {path}\n".encode())
                assert (result.stderr, result.status) == (f"cfcat: line 1: cannot write {path}: {reason}\n", 1)
        assert path.read_bytes() == b""


def test_a_log_of_ours_becomes_private_before_it_is_written(tmp_path: Path) -> None:
    """One that others may read, and nothing more, is ours to close."""
    log = tmp_path / "log"
    log.touch(0o644)
    with serve(lambda conn: conn.send(b"x")) as server:
        assert cfcat("--log", log, server.address).status == 0
    assert log.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_an_export_keeps_the_rights_of_the_file_in_its_place(mode: int, tmp_path: Path) -> None:
    """A private one stays private."""
    made = tmp_path / "worker.mjs"
    made.touch()
    made.chmod(mode)
    with serve(lambda conn: conn.send(b"x")) as server:
        assert cfcat("--export", made, server.address, stdin=b"x").status == 0
    assert made.stat().st_mode & 0o777 == mode
    assert made.read_bytes().startswith(b"// Made by cfcat ")
