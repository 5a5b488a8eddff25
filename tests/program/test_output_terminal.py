"""What a run shows on a terminal: the progress line and the hexdump, at several widths."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.peers import Peer, serve
from tests.helpers.program import cfcat, environment
from tests.helpers.terminal import terminal

pytestmark = pytest.mark.one_python

WIDTHS = [40, 80, 200]
HALF = 4 * 1024 * 1024  # more than all buffers between


@pytest.fixture
def null() -> Iterator[int]:
    fd = os.open(os.devnull, os.O_RDWR)
    yield fd
    os.close(fd)


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    path = tmp_path / "upload"
    path.write_bytes(bytes(HALF * 20))
    return path


@pytest.mark.parametrize("columns", WIDTHS)
def test_progress(columns: int, upload: Path, null: int) -> None:
    """One line, drawn over and over: bytes each way, rate, share and bar, time left, as far as there is room."""
    more = threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"answer")
        conn.recv_exactly(HALF * 10)
        conn.wait(more)
        conn.recv_until_eof()

    with (
        serve(script) as server,
        upload.open("rb") as file,
        terminal("--progress", server.address, columns=columns, stdin=file, stdout=null) as term,
    ):
        term.expect(r"[5-9]\d%  ")
        line = term.lines()[0]
        assert line.startswith("> ")
        assert "< 6 bytes" in line
        assert ("MB/s" in line) == (columns > 40)
        assert len(line) < columns
        # A bar, of as many columns as are left for it, where these are enough; part of it is done.
        assert len(re.findall("[━╸╺]", line)) in {40: (0, 6, 7, 8), 80: range(30, 41), 200: (40,)}[columns]
        assert not any(term.lines()[1:])
        more.set()
        assert term.finish() == 0
        assert "100%" in term.lines()[0]
        assert not any(term.lines()[1:])
        assert term.cursor() == (1, 0)  # the last state stays, and the shell's prompt comes beneath it


def test_progress_without_a_file(null: int) -> None:
    """Nobody knows how much there will be: bytes and rate."""

    def script(conn: Peer) -> None:
        conn.send(b"x" * 2000)
        conn.recv_until_eof()

    with serve(script) as server, terminal("--progress", server.address, stdin=null, stdout=null) as term:
        assert term.finish() == 0
        assert re.fullmatch(r"> 0 bytes  < 2.0 kB  [\d.]+ (bytes|kB|MB)/s", term.lines()[0])


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {}])
def test_progress_needs_a_terminal_that_can(env: dict[str, str], null: int) -> None:
    """Elsewhere it is not shown, and no error: not on TERM=dumb, and not into a pipe."""

    def script(conn: Peer) -> None:
        conn.send(conn.recv_until_eof())

    with serve(script) as server:
        if env:
            with terminal("--progress", server.address, stdin=null, stdout=null, env=env) as term:
                assert term.finish() == 0
                assert term.output == b""
        else:
            result = cfcat("--progress", server.address, stdin=b"data")
            assert (result.stdout, result.stderr, result.status) == (b"data", "", 0)


def test_progress_makes_way_for_data(upload: Path) -> None:
    """On the same terminal: what the server sends stays whole, and the line comes beneath it."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(HALF * 10)
        conn.wait(drawn)
        conn.send(b"an answer\nand half ")
        conn.wait(halved)
        conn.send(b"a line\n")
        conn.recv_until_eof()

    drawn, halved = threading.Event(), threading.Event()
    with (
        serve(script) as server,
        upload.open("rb") as file,
        terminal("--progress", "--pipe", server.address, stdin=file) as term,
    ):
        term.expect(r"[5-9]\d%  ")
        drawn.set()
        term.expect_screen("and half")
        halved.set()
        assert term.finish() == 0
        lines = [line for line in term.lines() if line]
        assert lines[:2] == ["an answer", "and half a line"]
        assert "100%" in lines[2]
        assert len(lines) == 3


def test_progress_and_events(upload: Path, null: int) -> None:
    """A line of -v stands above the progress, which begins again beneath."""
    with (
        serve(lambda conn: conn.recv_until_eof()) as server,
        upload.open("rb") as file,
        terminal("--progress", "-v", server.address, stdin=file, stdout=null) as term,
    ):
        assert term.finish() == 0
        lines = [line for line in term.lines() if line]
        shown = [line for line in lines if not line.startswith("cfcat: ")]
        assert len(shown) == 1
        assert "100%" in shown[0]
        assert lines[0].startswith("cfcat: connected to ")
        assert lines[-1].startswith("cfcat: over after ")


@pytest.mark.parametrize("columns", WIDTHS)
def test_hexdump(columns: int, null: int, tmp_path: Path) -> None:
    """As many bytes in a row as there is room for, in colour; no row is broken by the edge."""
    data = b"Hello, world!\r\n\0\x80\xff and more"
    (tmp_path / "data").write_bytes(data)
    with (
        serve(lambda conn: conn.recv_until_eof()) as server,
        (tmp_path / "data").open("rb") as file,
        terminal("-x", server.address, columns=columns, stdin=file, stdout=null) as term,
    ):
        assert term.finish() == 0
        rows = [line for line in term.lines() if line]
        assert b"\x1b[36m" in term.output
    count = {40: 4, 80: 16, 200: 16}[columns]
    assert len(rows) == -(-len(data) // count)
    shown = b""
    for number, row in enumerate(rows):
        match = re.fullmatch(r"> ([0-9a-f]{8})  ([0-9a-f ]+?) +\|(.{1,16})\|", row)
        assert match is not None, row
        assert int(match[1], 16) == number * count
        assert len(bytes.fromhex(match[2])) == len(match[3])
        shown += bytes.fromhex(match[2])
    assert shown == data


@pytest.mark.parametrize(("env", "colored"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colour_on_a_terminal(env: dict[str, str], colored: bool, null: int) -> None:
    """By default, unless the environment says no."""
    with (
        serve(lambda conn: conn.send(b"x")) as server,
        terminal("-x", server.address, stdin=null, stdout=null, env=env) as term,
    ):
        assert term.finish() == 0
        assert (b"\x1b[" in term.output) == colored
    assert "NO_COLOR" not in environment()


def test_row_39_the_terminal_is_left_as_it_was(null: int) -> None:
    """Its flags and attributes are everybody's."""
    with (
        serve(lambda conn: conn.send(b"x" * 10_000)) as server,
        terminal("-vvv", "--progress", server.address, stdin=null, stdout=null) as term,
    ):
        term.expect("peer ended")
        assert term.flags() == term.flags_before
        assert term.finish() == 0
        assert (term.flags(), term.attributes()) == (term.flags_before, term.attributes_before)


def test_a_session_shows_the_same() -> None:
    """-v stands above the prompt, and the report comes when the screen is given back."""

    def script(conn: Peer) -> None:
        while data := conn.recv():
            conn.send(data)

    with serve(script) as server, terminal("-vv", "--json", server.address, columns=200) as term:
        term.expect_screen(f"connected to {server.address} from 127.0.0.1:")
        term.type("hello\r")
        term.expect_screen("< 7 bytes")
        term.type(":quit\r")
        assert term.finish() == 0
        (report,) = re.findall(r"^\{.*\}", term.output.decode(), re.MULTILINE)
    told = json.loads(report)
    assert (told["mode"], told["end"], told["bytes"]) == ("repl", "quit", {"sent": 7, "received": 7})


def test_a_session_begins_in_hexadecimal() -> None:
    """-x is the view of what is received."""
    with serve(lambda conn: conn.send(b"hello")) as server, terminal("-x", server.address) as term:
        term.expect_screen("00000000  68 65 6c 6c 6f")
        term.type(":quit\r")
        assert term.finish() == 0
