"""How a session on a real terminal stops, goes on, is resized and ends: the terminal is always as it was (SEC-R23)."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import closing

import pytest

from cfcat.repl.screen.prompt import TerminalReader
from tests.helpers.peers import Peer, serve
from tests.helpers.program import command
from tests.helpers.terminal import Terminal, terminal
from tests.pipe.tools import queues, until
from tests.repl.screens import OVER_A_NETWORK, Repl, repl

pytestmark = pytest.mark.one_python

ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
MIB = 1 << 20


def quiet(conn: Peer) -> None:
    """A peer that says nothing."""
    conn.recv_until_eof()


# ------------------------------------------------------------------------------------------------ signals


@pytest.mark.parametrize("number", ENDING, ids=lambda number: number.name)
def test_a_signal_ends_it_by_the_signal(number: signal.Signals) -> None:
    """Rows 41 to 44, 49: what was received stays, the terminal is as it was, and it dies of the signal itself."""

    def script(conn: Peer) -> None:
        conn.send(b"login: ")
        conn.recv_until_eof()

    with serve(script) as server, repl(server) as it:
        it.type("half a li")
        it.expect_picture("login:", "> half a li")
        it.term.process.send_signal(number)
        it.expect_end(-number)
        assert [line for line in it.picture() if line] == ["login:"]
        assert it.term.cursor() == (2, 0)
        assert server.saw_eof.wait(10)


@pytest.mark.parametrize("number", ENDING[:2], ids=lambda number: number.name)
def test_a_signal_before_the_connection_ends_it(number: signal.Signals) -> None:
    """The terminal has not been touched yet."""
    with serve(Peer.hang) as server, terminal("--tls", "on", "-k", server.address) as term:
        assert server.accepted.wait(10)
        term.process.send_signal(number)
        assert term.finish() == -number
        assert term.attributes() == term.attributes_before
        assert b"\x1b" not in term.output


def test_a_signal_during_a_command_and_twice() -> None:
    """Row 42: no traceback, whatever was going on."""
    with serve(quiet) as server, repl(server) as it:
        it.type(":expect -t 100 never\r")
        it.expect("busy")
        it.term.process.send_signal(signal.SIGTERM)
        it.term.process.send_signal(signal.SIGTERM)
        it.expect_end(-signal.SIGTERM)
        assert b"Traceback" not in it.term.output


def test_nohup_is_respected() -> None:
    """Row 44: a SIGHUP that was ignored from the start is ignored; the end of the terminal is an end all the same."""
    with serve(quiet) as server:
        argv = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *command(server.address)]
        with closing(Terminal(argv, env={"CFCAT_HISTORY": ""})) as term:
            term.expect_screen(f"{server.address}>")
            term.process.send_signal(signal.SIGHUP)
            term.type("still here\r")
            until(lambda: server.received == b"still here\r\n")
            term.hang_up()
            until(lambda: term.process.poll() is not None)
            assert term.process.returncode == 0
        assert server.saw_eof.is_set()


def test_a_terminal_that_is_closed_ends_it() -> None:
    """A window is closed: SIGHUP, and every read and write fails."""
    with serve(quiet) as server, repl(server) as it:
        it.term.hang_up()
        until(lambda: it.term.process.poll() is not None)
        assert it.term.process.returncode == -signal.SIGHUP
        assert server.saw_eof.wait(10)


def test_a_signal_while_the_terminal_takes_nothing() -> None:
    """It is not waited for: the user need not resume it for that."""
    rows = b"0123456789abcde\n" * (MIB // 16)

    def script(conn: Peer) -> None:
        conn.send(rows)
        conn.send(rows)

    with serve(script) as server, repl(server) as it:
        until(lambda: queues(server.port)[1] > MIB // 4)  # no more is read: what has been read cannot be drawn
        it.term.process.send_signal(signal.SIGTERM)
        until(lambda: it.term.process.poll() is not None)
        assert it.term.process.returncode == -signal.SIGTERM
        assert it.term.attributes() == it.term.attributes_before
        assert it.term.flags() == it.term.flags_before


def test_an_error_of_our_own_puts_the_terminal_in_order() -> None:
    """A bug in a callback: status 70 and a message, not a prompt that is dead."""
    code = (
        "import sys, cfcat.repl.screen.drawn\n"
        "cfcat.repl.screen.drawn.Screen.completion_of = lambda *_: 1 / 0\n"
        "cfcat.repl.screen.drawn.Screen.end_typed = lambda *_: 1 / 0\n"
        "from cfcat.__main__ import main\nsys.exit(main())"
    )
    with serve(quiet) as server, closing(Terminal([sys.executable, "-c", code, server.address])) as term:
        it = Repl(term, server)
        it.expect(it.prompt)
        it.type("\x04")
        it.expect_end(70)
        assert "ZeroDivisionError" in "".join(term.lines())


# --------------------------------------------------------------------------------------------- stop and go


# A shell that does nothing to its terminal: it says when its job has stopped, and at SIGUSR1 lets it go on.
SHELL = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
job = os.fork()
if not job:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.argv[1], sys.argv[1:])
while True:
    _, status = os.waitpid(job, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        sys.exit(os.waitstatus_to_exitcode(status))
    os.tcsetpgrp(0, os.getpgrp())
    os.write(1, b"STOPPED\\n")
    signal.sigwait([signal.SIGUSR1])
    os.tcsetpgrp(0, job)
    os.kill(-job, signal.SIGCONT)
"""


@pytest.mark.parametrize("how", ["key", "SIGTSTP", "SIGSTOP"])
def test_stop_and_go_on(how: str) -> None:
    """Row 46: the terminal is as it was while it is stopped; then the prompt is there with what was typed."""
    more = threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"login: ")
        conn.wait(more)
        conn.send(b"more\n")
        conn.recv_until_eof()

    with serve(script) as server, repl(server, by=[sys.executable, "-c", SHELL]) as it:
        it.expect_picture("login:", ">")
        it.type("bob")
        it.expect("> bob")
        if how == "key":
            it.type("\x1a")
        else:
            os.kill(child_of(it.term.process.pid), signal.Signals[how])
        it.expect("STOPPED")
        if how != "SIGSTOP":  # SIGSTOP cannot be handled
            it.expect_order()
            assert it.picture()[0] == "STOPPED"
        it.term.set_attributes(it.term.attributes_before)  # as a shell does
        it.term.process.send_signal(signal.SIGUSR1)
        it.term.until(lambda _: it.picture()[-2:] == ["login:", f"{it.prompt} bob"])
        until(lambda: it.term.attributes() != it.term.attributes_before)
        more.set()
        it.expect("login: more")
        it.type("by\r")
        until(lambda: server.received == b"bobby\r\n")
        it.quit()


def test_a_job_of_a_real_shell() -> None:
    """Ctrl-Z and `fg`, and the settings of the terminal before and after."""
    argv = ["bash", "--norc", "--noprofile", "-i"]
    with serve(quiet) as server, closing(Terminal(argv, env={"CFCAT_HISTORY": "", "PS1": "$ "})) as term:
        term.expect_screen("$")
        term.type("stty -a | cksum\r")
        before = term.expect(r"\d{4,} \d+\r\n")
        term.type(" ".join(command(server.address)) + "\r")
        term.expect_screen(f"{server.address}>")
        term.type("abc\x1a")
        term.expect("Stopped")
        term.type("stty -a | cksum; fg\r")
        assert term.expect(r"\d{4,} \d+\r\n") == before
        term.until(lambda lines: f"{server.address}> abc" in lines)
        term.type("\r")
        until(lambda: server.received == b"abc\r\n")
        term.type(":quit\r")
        assert server.saw_eof.wait(10)
        term.type("stty -a | cksum; exit\r")
        assert term.expect(r"\d{4,} \d+\r\n") == before
        assert term.finish() == 0


def child_of(pid: int) -> int:
    """The only child of a process."""
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return int(children.read())


def test_a_terminal_that_fails_is_at_its_end() -> None:
    """Row 36: a process that its shell has left behind gets EIO, and shall not ask again and again."""
    master, slave = os.openpty()
    os.close(slave)  # reading the other side gives EIO, too
    reader = TerminalReader(master)
    assert (reader.read(), reader.closed) == ("", True)
    os.close(master)


# -------------------------------------------------------------------------------------------------- size


def test_resize() -> None:
    """Row 47: prompt, unfinished row and toolbar are drawn for the new size, with the typed text."""
    more = threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"0123456789" * 7)
        conn.wait(more)
        conn.send(b"x" * 45)
        conn.recv_until_eof()

    with serve(script) as server, repl(server) as it:
        it.type("typed")
        it.expect("> typed")
        it.term.resize(24, 50)
        it.term.until(lambda lines: "01234567890123456789" in lines and f"{it.prompt} typed" in lines)
        more.set()
        rows = ["0123456789" * 5, "0123456789" * 2 + "x" * 30, "x" * 15, f"{it.prompt} typed"]
        it.term.until(lambda lines: lines[1:5] == rows)
        it.term.resize(24, 100)
        it.expect("> typed")
        it.quit()


@pytest.mark.parametrize("size", [(24, 1), (1, 80), (3, 10)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_small_windows(size: tuple[int, int]) -> None:
    """Row 92: nothing breaks, and what is typed is sent."""

    def script(conn: Peer) -> None:
        conn.send("naïve 日本\tx\r\nlogin: ".encode())
        conn.recv_until_eof()

    with (
        serve(script) as server,
        terminal(server.address, rows=size[0], columns=size[1], env={"CFCAT_HISTORY": ""}) as term,
    ):
        term.expect(r"\x1b\[\?2004h")
        term.type("abc\r:he\t\x03:view hex\r")
        until(lambda: server.received == b"abc\r\n")
        term.type("\x04")
        assert server.saw_eof.wait(10)
        term.type("\x04:quit\r")
        assert term.finish() == 0
        assert term.attributes() == term.attributes_before
        assert b"Traceback" not in term.output


def test_columns_of_the_environment_are_not_believed() -> None:
    """Row 92, COLUMNS=1: the terminal knows better."""
    with serve(lambda conn: conn.send(b"a line\n")) as server, repl(server, env={"COLUMNS": "1", "LINES": "1"}) as it:
        it.expect("a line")
        it.expect(" sent 0, received 7")
        it.quit()


# ------------------------------------------------------------------------------ terminals that can do nothing


@pytest.mark.parametrize("term_name", ["dumb", None, "vt52"])
def test_a_terminal_without_cursor_movement(term_name: str | None) -> None:
    """Row 92: lines as the terminal gives them, received text filtered, not one escape sequence of ours."""

    def script(conn: Peer) -> None:
        conn.send(b"220 \x1b[2Jhi\x07\r\nlogin: ")
        conn.recv_until(b"\n")
        conn.send(b"ok\n")
        conn.recv_until_eof()
        conn.send(b"bye \xe2")

    with serve(script) as server, terminal(server.address, env={"TERM": term_name, "CFCAT_HISTORY": ""}) as term:
        term.expect_screen("login:")
        assert r"220 \x1b[2Jhi\x07" in term.lines()
        term.type("bob\r")
        term.expect_screen("ok")
        term.type(":nothing\r:expect -t 100 never\rnot sent\r")
        term.expect_screen(":nothing is not a command")
        until(lambda: term.unread() == 0)
        term.type("\x03")
        term.expect_screen("cancelled")
        term.type("\x04")
        term.expect_screen("[send-closed]")
        term.expect_screen("[closed]")
        term.expect_screen(r"bye \xe2")
        term.type("\x04")
        assert term.finish() == 0
        assert server.received == b"bob\r\n"
        assert b"\x1b" not in term.output
        assert term.attributes() == term.attributes_before
        assert term.flags() == term.flags_before


def test_views_without_cursor_movement() -> None:
    """A dump, and everything as it is after a warning."""

    def script(conn: Peer) -> None:
        conn.recv_until(b"\n")
        conn.send(b"ab\x00")
        conn.recv_until(b"\n")
        conn.send(b"\x1b[1mbold\n")
        conn.recv_until_eof()

    with serve(script) as server, terminal(server.address, env={"TERM": "dumb"}) as term:
        term.expect("Ctrl-D ends")
        term.type(":view hex\ra\r")
        term.expect_screen("< 00000000  61 62 00")
        term.type(":view raw\rb\r")
        term.expect_screen("bold")
        assert b"\x1b[1mbold\r\n" in term.output
        assert term.output.count(b"warning: ") == 1
        term.type(":quit\r")
        assert term.finish() == 0


def test_a_signal_without_cursor_movement() -> None:
    """SIGTERM ends it; Ctrl-C alone does not."""
    with serve(quiet) as server, terminal(server.address, env={"TERM": "dumb"}) as term:
        term.expect("Ctrl-D ends")
        term.type("\x03")
        term.expect("Ctrl-D or :quit leaves")
        term.process.send_signal(signal.SIGTERM)
        assert term.finish() == -signal.SIGTERM


def test_a_question_without_cursor_movement() -> None:
    """The next line is the answer."""
    with serve(quiet) as server:
        argv = [sys.executable, "-c", OVER_A_NETWORK, "--proto", "smtp", server.address]
        with closing(Terminal(argv, env={"TERM": "dumb"})) as term:
            term.expect("Ctrl-D ends")
            for answer, sent in (("y\r", True), ("n\r", False), ("\x03", False)):
                before = len(server.received)
                term.type("AUTH PLAIN c2VjcmV0\r")
                term.expect(r"in clear text\? \(y/N\) ")
                term.type(answer)
                if not sent:
                    term.expect("not sent")
                term.type("NOOP\r")
                until(lambda: server.received.endswith(b"NOOP\r\n") and len(server.received) > before)  # noqa: B023
                assert server.received[before:].startswith(b"AUTH") == sent
            term.type(":quit\r")
            assert term.finish() == 0
