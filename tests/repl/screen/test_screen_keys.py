"""Typing in a session on a real terminal: keys, completion, history, paste, lines that wait their turn, questions."""

from __future__ import annotations

import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from tests.helpers.peers import Peer, serve
from tests.helpers.terminal import Terminal
from tests.pipe.tools import until
from tests.repl.screens import OVER_A_NETWORK, Repl, repl

pytestmark = pytest.mark.one_python

MIB = 1 << 20


def quiet(conn: Peer) -> None:
    """A peer that says nothing."""
    conn.recv_until_eof()


def pasted(text: str) -> str:
    """What a terminal sends for a paste; its ends of lines are those of the Enter key."""
    return f"\x1b[200~{text.replace(chr(10), chr(13))}\x1b[201~"


# ------------------------------------------------------------------------------------------- Enter and ends


def test_enter_sends_the_line_with_its_end() -> None:
    """An empty line too; `::` sends a colon; what the line ending is can be chosen."""
    with serve(quiet) as server, repl(server) as it:
        it.type("a\r\r::b\r:lf\rc\r:eol none\rd\r")
        until(lambda: server.received == b"a\r\n\r\n:b\r\nc\nd")
        it.expect_picture("> a", ">", "> ::b", "> :lf", "> c", "> :eol none", "> d", ">")
        it.quit()


@pytest.mark.parametrize("encoding", [None, "latin1"])
def test_bytes_are_sent_as_they_are_typed(encoding: str | None) -> None:
    """Row 54: also those that are no UTF-8, from a terminal of another character set, and whatever Python thinks."""
    with serve(quiet) as server, repl(server, env={"PYTHONIOENCODING": encoding}) as it:
        it.type(b"na\xefve \xc3\xa9\r")
        until(lambda: server.received == b"na\xefve \xc3\xa9\r\n")
        it.quit()


def test_a_mistyped_command_sends_nothing() -> None:
    """It is answered with the nearest one."""
    with serve(quiet) as server, repl(server) as it:
        it.type(":veiw hex\r")
        it.expect("did you mean :view?")
        it.type("ok\r")
        until(lambda: server.received == b"ok\r\n")
        it.quit()


def test_ctrl_d_ends_our_side_then_the_session() -> None:
    """On an empty line only; what the peer still says is seen."""
    with serve(lambda conn: conn.send(conn.recv_until_eof())) as server, repl(server, "--half-open") as it:
        it.type("abc\x04\x01\x04\r")  # behind the end of a line: nothing; at its beginning: deletes
        until(lambda: server.received == b"bc\r\n")
        it.type("\x04")
        it.expect("[closed]>")
        assert it.picture()[-2] == "bc"
        it.type("\x04")
        it.expect_end(0)


def test_ctrl_c_clears_the_line_or_cancels_the_command() -> None:
    """It never ends the session, and what waits behind the command is dropped with it."""
    with serve(quiet) as server, repl(server) as it:
        it.type("half a li")
        it.expect("half a li")
        it.type("\x03")
        it.expect_picture(">")
        it.type("\x03")
        it.expect_picture("Ctrl-D or :quit leaves", ">")
        it.type(":expect -t 100 never\rnot sent\rnot finished")
        it.expect("busy, Ctrl-C cancels")
        it.type("\x03\x03")
        it.expect("cancelled")
        it.type("sent\r")
        until(lambda: server.received == b"sent\r\n")
        it.term.until(lambda lines: not any("busy" in line for line in lines))
        it.quit()


def test_ctrl_bracket_begins_a_command() -> None:
    """A hand that knows telnet types `Ctrl-] quit`: nothing of it may go to the peer, and no letter be swallowed. Where
    a line has begun it says how to."""
    with serve(quiet) as server, repl(server) as it:
        it.type("half\x1d")
        it.expect_picture("a command is a line that begins with a colon: :help; Ctrl-C clears this line", "> half")
        it.type("\x03\x1dquit\r")
        it.expect_end(0)
        assert server.received == b""


def test_a_second_line_waits_its_turn() -> None:
    """What is entered while a command runs is executed after it, in order; meanwhile the prompt is there."""
    go = threading.Event()

    def script(conn: Peer) -> None:
        conn.wait(go)
        conn.send(b"250 ok\r\n")
        conn.recv_until_eof()

    with serve(script) as server, repl(server) as it:
        it.type(":expect -t 10 250\r")
        it.expect("busy")
        it.type("first\rsecond\rthird")
        it.expect_picture("> :expect -t 10 250", "> first", "> second", "> third")
        assert server.received == b""
        go.set()
        until(lambda: server.received == b"first\r\nsecond\r\n")
        it.expect_picture("> :expect -t 10 250", "> first", "> second", "250 ok", "> third")
        it.quit()


# ------------------------------------------------------------------------------- completion, history, search


def test_tab_completes(tmp_path: Path) -> None:
    """Commands, their arguments, files, and the protocol's verbs; a menu where there are several."""
    (tmp_path / "a file.txt").write_bytes(b"contents")
    (tmp_path / "folder").mkdir()
    with serve(quiet) as server, repl(server, "--proto", "smtp", columns=200) as it:
        for typed, completed in (
            (":sta", ":starttls"),
            (":starttls po", ":starttls postgres"),
            (":view h", ":view hex"),
            (":eol cr", ":eol cr"),
            (":set pro", ":set proto"),
            (":set proto ima", ":set proto imap"),
            (":help vi", ":help view"),
            (f":file {tmp_path}/a", f":file {tmp_path}/a file.txt"),
            (f":file -m {tmp_path}/a f", f":file -m {tmp_path}/a file.txt"),
            (f":file {tmp_path}/a f", f":file {tmp_path}/a file.txt"),
            (f":file {tmp_path}/f", f":file {tmp_path}/folder/"),
            ("ehl", "ehlo"),
            ("STARTT", "STARTTLS"),
        ):
            it.type(typed + "\t")
            it.expect(completed)
            it.type("\x03")
            it.expect_picture(">")
        it.type(":eo\t")
        it.expect(":eol")
        assert any(line.strip() == ":eof" for line in it.term.lines())
        it.quit()


def test_history_and_suggestions_prefer_the_same_host(tmp_path: Path) -> None:
    """Right accepts a suggestion, Up goes back, Ctrl-R searches; kept from session to session."""
    env: dict[str, str | None] = {"CFCAT_HISTORY": str(tmp_path / "history")}
    with serve(quiet) as here, serve(quiet) as there:
        with repl(here, env=env) as it:
            it.type("EHLO here\r:tls\r")
            it.expect("there is no TLS")
            it.quit()
        with repl(there, env=env) as it:
            it.type("EHLO there\r")
            until(lambda: there.received)
            it.quit()
        with repl(here, env=env) as it:
            it.type("EH")
            it.expect("> EHLO here")
            it.type("\x1b[C me\r")
            it.expect_picture("> EHLO here me", ">")
            it.type("\x1b[A")
            it.expect_picture("> EHLO here me", "> EHLO here me")
            it.type("\x03")
            it.expect_picture("> EHLO here me", ">")
            it.type("\x12there")
            it.expect("EHLO there")
            it.type("\r")
            it.expect_picture("> EHLO here me", "> EHLO there")
            it.type("\r")
            until(lambda: here.peers[1].received.endswith(b"EHLO there\r\n"))
            it.quit()
    assert (tmp_path / "history").stat().st_mode & 0o777 == 0o600


def test_what_is_not_stored(tmp_path: Path) -> None:
    """Secrets, lines with a leading blank, and everything with --no-history."""
    history = tmp_path / "history"
    env: dict[str, str | None] = {"CFCAT_HISTORY": str(history)}
    with serve(quiet) as server:
        with repl(server, "--proto", "smtp", env=env) as it:
            it.type("AUTH PLAIN c2VjcmV0\r private\rpublic\r")
            until(lambda: server.received.endswith(b"public\r\n"))
            until(lambda: history.exists() and "public" in history.read_text())
            it.type("\x1b[A")
            it.term.until(lambda _: it.picture()[-1] == f"{it.prompt} public")
            it.type("\x1b[A!")
            it.term.until(lambda _: it.picture()[-1] == f"{it.prompt} public!")
            it.quit()
        stored = history.read_text()
        assert "public" in stored
        assert "c2Vj" not in stored
        assert "private" not in stored
        with repl(server, "--no-history", env=env) as it:
            it.type("more\r")
            it.expect_picture("> more", ">")
            it.type("\x1b[A")
            it.term.until(lambda _: it.picture()[-2:] == [f"{it.prompt} more"] * 2)
            it.quit()
    assert history.read_text() == stored


def test_history_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    """Row 90: one warning; the session goes on, and remembers what was typed in it."""
    (tmp_path / "file").touch()
    with serve(quiet) as server, repl(server, env={"CFCAT_HISTORY": str(tmp_path / "file" / "history")}) as it:
        it.type("one\rtwo\r")
        until(lambda: server.received == b"one\r\ntwo\r\n")
        it.expect("history is not kept")
        it.term.until(lambda _: it.picture()[-1] == it.prompt)
        it.type("\x1b[A\x1b[A")
        it.term.until(lambda _: it.picture()[-1] == f"{it.prompt} one")
        it.quit()
        assert it.term.output.count(b"history is not kept") == 1


# -------------------------------------------------------------------------------------------------- paste


def test_a_paste_stays_one_block_until_enter() -> None:
    """Several lines, which are sent one by one with the line ending that was chosen."""
    with serve(quiet) as server, repl(server) as it:
        it.type(pasted("GET / HTTP/1.0\nHost: x\n"))
        it.expect_picture("> GET / HTTP/1.0", "Host: x", "")
        it.type("X: y")
        it.expect_picture("> GET / HTTP/1.0", "Host: x", "X: y")
        assert server.received == b""
        it.type("\r")
        until(lambda: server.received == b"GET / HTTP/1.0\r\nHost: x\r\nX: y\r\n")
        it.expect_picture("> GET / HTTP/1.0", "> Host: x", "> X: y", ">")
        it.quit()


def test_what_follows_a_failed_line_of_a_paste_is_not_sent() -> None:
    """It was meant for another situation."""
    with serve(quiet) as server, repl(server) as it:
        it.type(pasted("one\n:nothing\ntwo\nthree") + "\rfour\r")
        until(lambda: server.received == b"one\r\nfour\r\n")
        it.expect("2 more lines that were pasted with it are not executed")
        it.quit()


@pytest.mark.parametrize("text", ["x" * MIB, f"{'y' * 255}\n" * (MIB // 256)], ids=["one line", "many lines"])
def test_a_paste_of_a_mebibyte(text: str) -> None:
    """Row 90: it is shown as a label, goes with what is typed around it, and is sent as it is."""
    wanted = f"<x{text}>".replace("\n", "\r\n").encode() + b"\r\n"
    arrived = threading.Event()

    def script(conn: Peer) -> None:
        conn.recv_exactly(len(wanted))
        arrived.set()
        conn.recv_until_eof()

    with serve(script, timeout_s=30) as server, repl(server, timeout_s=30) as it:
        it.type("<")
        it.type(pasted(text))
        it.expect(f"> <[{MIB} characters, {text.count(chr(10)) + 1} line")
        it.type(">\x1b[D\x1b[Dx\r")
        assert arrived.wait(20)
        assert server.received == wanted
        it.quit()


def test_a_label_is_deleted_as_a_whole() -> None:
    """One key for one paste."""
    with serve(quiet) as server, repl(server) as it:
        it.type("a" + pasted("y" * 5000))
        it.expect("a[5000 characters, 1 line]")
        it.type("\x7fb\r")
        until(lambda: server.received == b"ab\r\n")
        it.quit()


# ----------------------------------------------------------------------------------------------- questions


def test_a_question_is_asked_in_the_prompt() -> None:
    """A secret in clear text over a network: only after a yes; what was being typed is there again afterwards."""
    answers = {"y\r": True, "yes\r": True, "n\r": False, "\r": False, "\x03": False, "ye\x03": False, "\x04": False}
    with serve(quiet) as server:
        argv = [sys.executable, "-c", OVER_A_NETWORK, "--proto", "smtp", server.address]
        with closing(Terminal(argv, env={"CFCAT_HISTORY": ""})) as term:
            it = Repl(term, server)
            it.expect(it.prompt)
            received = b""
            for answer, sent in answers.items():
                it.type("AUTH PLAIN c2VjcmV0\rNOOP")
                it.term.until(lambda _: it.picture()[-1].endswith("in clear text? (y/N)"))
                it.type(answer)
                it.term.until(lambda _: it.picture()[-1] == f"{it.prompt} NOOP")
                it.type("\r")
                received += (b"AUTH PLAIN c2VjcmV0\r\n" if sent else b"") + b"NOOP\r\n"
                until(lambda: server.received == received)  # noqa: B023
                it.term.until(lambda _: it.picture()[-1] == it.prompt)
            it.quit()


def test_tabs_that_are_pasted_where_the_terminal_does_not_mark_pastes() -> None:
    """A tab with characters behind it, all at once, is text: nothing is completed, and nothing is lost."""
    with serve(quiet) as server, repl(server, "--proto", "smtp") as it:
        it.type("ehl\tx\tstartt\r")
        until(lambda: server.received == b"ehl\tx\tstartt\r\n")
        it.quit()


def test_a_byte_that_is_no_utf_8_is_drawn_as_one() -> None:
    """As in what comes; and it is sent as it was typed."""
    with serve(quiet) as server, repl(server) as it:
        it.type(b"caf\xe9 au lait")
        it.expect_picture(r"> caf\xe9 au lait")
        it.type("\r")
        until(lambda: server.received == b"caf\xe9 au lait\r\n")
        it.expect_picture(r"> caf\xe9 au lait", ">")
        it.quit()
