"""What a session on a terminal shows where room is short, and what it leaves out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cfcat.repl.screen.completion import candidates
from cfcat.repl.screen.drawn import _fitted
from tests.helpers.peers import Peer, serve
from tests.pipe.tools import until
from tests.repl.screens import repl

pytestmark = pytest.mark.one_python


def test_the_marks_stay_where_the_prompt_is_short_of_room() -> None:
    """At 36 columns the address goes first: that the connection is closed must be seen."""
    with serve(lambda conn: conn.end()) as server, repl(server, columns=36) as it:
        it.expect(f"{server.port} [closed]>")
        it.type("\x04")
        it.expect_end(0)


@pytest.mark.parametrize(
    ("address", "room", "shown"),
    [
        ("127.0.0.1:25", 40, "127.0.0.1:25"),
        ("a-very-long-name.mail.example:25", 20, "..e.mail.example:25"[:20]),
        ("127.0.0.1:25", 4, ""),
        ("127.0.0.1:25", -5, ""),
    ],
)
def test_an_address_is_cut_at_its_beginning(address: str, room: int, shown: str) -> None:
    """Its port tells most; a few characters tell nothing."""
    fitted = _fitted(address, room)
    assert len(fitted) <= max(room, 0)
    assert fitted == "" if not shown else fitted.endswith(":25")


@pytest.mark.parametrize(
    "bad", ["session.log\n:file id_secret", "a\x1b[2Jb", "a\u202eb", "a\udcffb", "a\rb", "a\u200bb"]
)
def test_sec_r27_names_that_cannot_be_shown_are_not_completed(bad: str, tmp_path: Path) -> None:
    """A file's name is as untrusted as the peer: one with a line end in it would be two lines."""
    for name in (os.fsencode(bad), b"session.txt", b"a-file"):
        (tmp_path / os.fsdecode(name)).touch()
    found = candidates(f":log {tmp_path}/", None, "h:25")
    assert found == [f":log {tmp_path}/a-file", f":log {tmp_path}/session.txt"]


def test_ctrl_c_says_what_was_not_sent() -> None:
    """Lines that were entered behind the command go with it, and that is told."""
    with serve(Peer.recv_until_eof) as server, repl(server) as it:
        it.type(":expect -t 100 never\rone\rtwo\r")
        it.expect("busy, Ctrl-C cancels")
        it.type("\x03")
        it.expect("cancelled; 2 lines entered behind it not sent")
        it.type("three\r")
        until(lambda: server.received == b"three\r\n")
        it.term.until(lambda lines: not any("busy" in line for line in lines))
        it.quit()
