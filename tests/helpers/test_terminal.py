"""The terminal helper, with programs whose behaviour at a terminal is known."""

from __future__ import annotations

import os
import sys
import termios
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from tests.helpers.terminal import Terminal


@contextmanager
def on_terminal(*argv: str, timeout_s: float = 5) -> Iterator[Terminal]:
    with closing(Terminal(argv, rows=5, columns=20, timeout_s=timeout_s)) as term:
        yield term


def test_dialog_and_screen() -> None:
    with on_terminal("cat") as term:
        term.type("hello\r")
        term.expect("hello\r\nhello\r\n")
        assert term.lines()[:3] == ["hello", "hello", ""]
        assert term.cursor() == (2, 0)
        term.type("\x04")
        assert term.finish() == 0
        assert term.output == b"hello\r\n" * 2


def test_ctrl_c_is_a_signal() -> None:
    """The terminal is the controlling one, so typing ^C kills."""
    with on_terminal("sh", "-c", "echo ready; exec cat") as term:
        term.expect("ready")
        term.type("\x03")
        assert term.finish() == -2


def test_size_and_resize() -> None:
    with on_terminal("sh", "-c", 'trap "stty size; exit 0" WINCH; stty size; while :; do read x; done') as term:
        term.expect_screen("5 20")
        term.resize(6, 30)
        term.expect_screen("6 30")
        assert term.finish() == 0
        assert len(term.lines()) == 6


def test_screen_obeys_and_answers() -> None:
    """Cursor movement is carried out; a question for the cursor's position is answered as if typed."""
    with on_terminal("sh", "-c", r"stty -echo -icanon min 6; printf 'abc\033[1;2HX\033[6n'; head -c6") as term:
        assert term.finish() == 0
        assert term.lines()[0].startswith("aXc")
        assert b"[1;3R" in term.output


def test_what_a_program_leaves_behind_is_seen() -> None:
    code = "import os, sys, termios, tty; os.set_blocking(0, False); tty.setraw(1)"
    with on_terminal(sys.executable, "-c", code) as term:
        assert term.finish() == 0
        assert term.flags() == term.flags_before | os.O_NONBLOCK
        assert term.attributes() != term.attributes_before
        assert not term.attributes()[3] & termios.ICANON


def test_end_without_the_expected_fails_at_once() -> None:
    with on_terminal("echo", "something else", timeout_s=60) as term:
        with pytest.raises(pytest.fail.Exception, match=r"(?s)no match.*status 0.*something else"):
            term.expect("never")


def test_deadline() -> None:
    with on_terminal("cat", timeout_s=0.2) as term:
        with pytest.raises(pytest.fail.Exception, match="not finished"):
            term.finish()
