"""The screen of a session: what is received, what is being typed, and where each is seen. On a real terminal."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

import pytest

from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, serve
from tests.helpers.terminal import terminal
from tests.pipe.test_terminal import DANGEROUS, HARMLESS
from tests.pipe.tools import until, until_arrived
from tests.repl.screens import repl

pytestmark = pytest.mark.one_python

MIB = 1 << 20


def quiet(conn: Peer) -> None:
    """A peer that says nothing."""
    conn.recv_until_eof()


# ---------------------------------------------------------------------------------- prompt and toolbar


def test_prompt_and_toolbar_tell_the_state() -> None:
    """Bytes each way, TLS, line ending, protocol; then the ends: first ours, then the peer's."""
    end = threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"hi\n")
        conn.recv_until_eof()
        conn.wait(end)

    with serve(script) as server, repl(server, "--proto", "smtp") as it:
        it.expect_picture("hi", ">")
        it.type("abc\r")
        it.expect(" sent 5, received 3 | no TLS | crlf | smtp")
        it.type(":lf\r")
        it.expect(" sent 5, received 3 | no TLS | lf | smtp")
        it.type("\x04")
        it.expect(f"{server.address} [send-closed]>")
        end.set()
        it.expect(f"{server.address} [closed]>")
        it.type(":quit\r")
        it.expect_end(0)
        assert server.received == b"abc\r\n"


def test_the_peers_end_is_marked_and_leaves_the_prompt() -> None:
    """With --half-open we can go on sending; what the peer began and did not end is no longer waited for."""
    done = threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"bye \xe2\x82")
        conn.end()
        conn.recv_until(b"\n")
        done.set()
        conn.recv_until_eof()

    with serve(script) as server, repl(server, "--half-open") as it:
        it.expect(f"{server.address} [recv-closed]>")
        it.expect_picture(r"bye \xe2\x82", f"{server.address} [recv-closed]>")
        it.type("still here\r")
        assert done.wait(10)
        it.type("\x04")
        it.expect(f"{server.address} [closed]>")
        it.type("\x04")
        it.expect_end(0)


def test_tls_is_told(certs: CertSet) -> None:
    """`tls`, or a red `tls!` where certificates are not checked; ASCII only."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        conn.recv_until_eof()

    with serve(script) as server:
        with repl(server, "--tls", "on", "--cacert", str(certs.ca)) as it:
            it.expect(f"{server.address} tls>")
            assert "TLSv1.3" in it.toolbar()
            it.quit()
        with repl(server, "--tls", "on", "-k") as it:
            it.expect(f"{server.address} tls!>")
            assert it.term.output.isascii()
            it.quit()


def test_a_failed_first_connection_is_an_error() -> None:
    """Its message, its status, and a terminal that was never touched."""
    with serve(quiet) as server:
        pass
    with terminal(server.address) as term:
        assert term.finish() == 7
        assert term.lines()[0] == f"cfcat: {server.address}: connection refused"
        assert b"\x1b" not in term.output


def test_a_connection_that_breaks_leaves_the_prompt() -> None:
    """The error stands above it, behind what was received; `:open` connects again."""

    def script(conn: Peer) -> None:
        conn.send(b"half a li")
        until_arrived(conn, read=True)
        conn.reset()

    with serve(script) as server, repl(server) as it:
        it.term.until(lambda lines: any("connection reset" in line for line in lines))
        it.expect(f"{server.address} [closed]>")
        assert it.picture()[0] == "half a li"
        assert it.picture()[1].startswith("cfcat: ")
        it.type(":open\r")
        it.term.until(lambda lines: sum("half a li" in line for line in lines) == 2)
        it.quit()


# ----------------------------------------------------------------------------------------- what is received


def test_lines_appear_above_what_is_being_typed() -> None:
    """Row 90: a line of the peer after each key; nothing that was typed is lost or moved."""
    turn = threading.Semaphore(0)
    text = "the quick brown fox"

    def script(conn: Peer) -> None:
        for number in range(len(text)):
            turn.acquire(timeout=10)
            conn.send(b"line %d\r\n" % number)
        conn.recv_until_eof()

    with serve(script) as server, repl(server) as it:
        for number in range(len(text)):
            it.type(text[number])
            turn.release()
            shown = [f"line {before}" for before in range(number + 1)]
            it.expect_picture(*shown[-21:], f"> {text[: number + 1]}".rstrip())
            it.expect_cursor(len(f"{it.prompt} {text[: number + 1]}"))
        it.type("\r")
        until(lambda: server.received == text.encode() + b"\r\n")
        it.expect_picture(*shown, f"> {text}", ">")
        it.quit()
        # What is pasted while rows are drawn must not be taken for typed lines.
        assert it.term.output.count(b"\x1b[?2004l") <= 2
        assert it.term.output.endswith(b"\x1b[?2004l")


def test_typing_goes_on_during_a_burst() -> None:
    """22 MiB at once. Keys are echoed while it lasts, soon; then all of the end is there, in order."""
    rows = [b"%07d the quick brown fox jumps over the lazy dog\r\n" % number for number in range(22 * MIB // 53)]
    go = threading.Event()

    def script(conn: Peer) -> None:
        conn.wait(go)
        conn.send(b"".join(rows))
        conn.recv_until_eof()

    keys = "abcdefghijklmnopqrstuvwxyz"
    with serve(script, timeout_s=50) as server, repl(server, timeout_s=50) as it:
        go.set()
        data, waits, typed, pressed_at = bytearray(), [], 0, 0.0
        last = rows[-1].rstrip()
        while last not in data[-(1 << 17) :]:
            if not pressed_at and typed < len(keys) and len(data) > typed * MIB // 2:
                it.type(keys[typed])
                typed, pressed_at, searched = typed + 1, time.monotonic(), len(data)
            data += it.term.read_fast()
            if pressed_at and (keys[typed - 1].encode() + b"\x1b") in data[max(0, searched - 1) :]:
                waits.append(time.monotonic() - pressed_at)
                pressed_at = 0.0
        assert len(waits) >= len(keys) - 1
        assert sorted(waits)[len(waits) // 2] < 0.1
        # All of it came, in order; the screen is given the beginning and the end.
        assert re.findall(rb"(\d{7}) the quick[ a-z]*\r", data) == [row[:7] for row in rows]
        begin, end = (data.index(b"%s the quick" % row[:7]) for row in (rows[100], rows[-100]))
        it.term.show(bytes(data[:begin] + data[end:]))
        shown = [row.decode().rstrip() for row in rows[-22:]]
        it.expect_picture(*shown, f"> {keys}")
        memory = Path(f"/proc/{it.term.process.pid}/status").read_text()
        assert int(re.findall(r"VmHWM:\s+(\d+) kB", memory)[0]) < 80 * 1024


def test_a_line_without_end_is_shown_in_pieces() -> None:
    """Row 52: memory is bounded, and all of it is seen."""
    go = threading.Event()

    def script(conn: Peer) -> None:
        conn.wait(go)
        for _ in range(8):
            conn.send(b"x" * MIB)
        conn.send(b"\nthe end\n")
        conn.recv_until_eof()

    with serve(script, timeout_s=40) as server, repl(server, timeout_s=40) as it:
        go.set()
        data = bytearray()
        while b"the end" not in data[-(1 << 17) :]:
            data += it.term.read_fast()
        assert data.count(b"x") >= 8 * MIB
        memory = Path(f"/proc/{it.term.process.pid}/status").read_text()
        assert int(re.findall(r"VmHWM:\s+(\d+) kB", memory)[0]) < 80 * 1024


def test_a_terminal_that_takes_nothing_stops_the_peer() -> None:
    """Nothing is read that cannot be drawn; the session is not blocked by it, and nothing is lost."""
    sent = threading.Event()
    rows = [b"%07d %s\n" % (number, b"x" * 55) for number in range(8 * MIB // 64)]

    def send(conn: Peer) -> None:
        conn.send(b"".join(rows))
        sent.set()

    def script(conn: Peer) -> None:
        sending = threading.Thread(target=send, args=[conn])
        sending.start()
        conn.recv_until_eof()
        sending.join()

    with serve(script, timeout_s=40) as server, repl(server, timeout_s=40) as it:
        assert not sent.wait(0.5)
        it.type("abc\r")
        until(lambda: server.received == b"abc\r\n")
        data = bytearray(it.term.output)
        while rows[-1].rstrip() not in data[-(1 << 16) :]:
            data += it.term.read_fast()
        assert re.findall(rb"(\d{7}) x{55}\r", data) == [row[:7] for row in rows]


def test_an_unfinished_line_stays_until_it_is_answered() -> None:
    """`login: ` without newline: above the prompt, also while typing; the answer ends its row."""

    def script(conn: Peer) -> None:
        conn.send(b"login: ")
        conn.recv_until(b"\n")
        conn.send(b"Pass")
        until_arrived(conn, read=True)
        conn.send(b"word: ")
        conn.recv_until_eof()

    with serve(script) as server, repl(server) as it:
        it.expect_picture("login:", ">")
        it.type("bob")
        it.expect_picture("login:", "> bob")
        it.type("\r")
        it.expect_picture("login:", "> bob", "Password:", ">")
        it.expect_cursor(len(it.prompt) + 1)
        it.quit()


def test_the_picture_does_not_depend_on_segments() -> None:
    """The same bytes, whole and in pieces of seven: text, a long line, all that is dangerous."""
    data = b"".join(row for row, _ in DANGEROUS.values()) + b"\r\n" + b"0123456789" * 33 + b"\r\nlogin: "
    whole = threading.Event()

    def script(conn: Peer) -> None:
        size = 29 if whole.is_set() else len(data)
        whole.set()
        for start in range(0, len(data), size):
            conn.send(data[start : start + size])
            until_arrived(conn, read=True)
        conn.recv_until_eof()

    pictures = []
    with serve(script) as server:
        for _ in range(2):
            with repl(server, rows=40) as it:
                it.expect("login:")
                pictures.append(sorted(it.picture()))  # the notice of what was escaped stands where that began
                it.quit()
    assert pictures[0] == pictures[1]


def test_dangerous_bytes_are_shown_escaped() -> None:
    """SEC-R22: every row of what is dangerous comes as text; the terminal gets no sequence but our own; told once."""
    lines = b"".join(b"<%d:" % number + data + b">\n" for number, (data, _) in enumerate(DANGEROUS.values()))

    def script(conn: Peer) -> None:
        conn.send(lines + b"".join(text.strip(b"\n") + b"\n" for text in HARMLESS.values()) + b"the end\n")
        conn.recv_until_eof()

    with serve(script) as server, repl(server) as it:
        it.expect("the end")
        it.quit()
        it.expect_nothing_but_own_sequences()
        output = it.term.output.replace(b"\x1b[2m", b"").replace(b"\x1b[22m", b"")  # dimmed
    for number, (data, text) in enumerate(DANGEROUS.values()):
        held = data[len(data.rstrip(b"\r")) :]  # CR CR: in front of a newline one of them is its own
        wanted = text + rb"\x0d" * (len(held) > 1) + b">"
        assert b"<%d:" % number + wanted in output
    for harmless in HARMLESS.values():
        assert harmless.strip(b"\n").expandtabs(8).replace(b"\n", b"\r\r\n") in output
    assert output.count(b"are shown escaped") == 1


def test_nothing_is_told_where_nothing_is_escaped() -> None:
    """Text is text."""

    def script(conn: Peer) -> None:
        conn.send("naïve\r\n日本\r\n".encode())
        conn.recv_until_eof()

    with serve(script) as server, repl(server) as it:
        it.expect_picture("naïve", "日本", ">")
        it.quit()
        assert b"escaped" not in it.term.output


# -------------------------------------------------------------------------------------------------- views


def test_view_hex() -> None:
    """Rows of a dump; the one that is not complete is above the prompt, and is ended by an answer."""

    def script(conn: Peer) -> None:
        conn.send(b"text")
        conn.recv_until(b"\n")
        conn.send(bytes(range(20)))
        conn.recv_until(b"\n")
        conn.send(b"\xff")
        conn.recv_until_eof()

    with serve(script) as server, repl(server) as it:
        it.expect_picture("text", ">")
        it.type(":view hex\r")
        it.expect("| hex")
        it.type("a\r")
        it.expect("< 00000010  10 11 12 13")
        it.term.until(lambda _: it.picture()[-3].startswith("< 00000000  00 01 02 03"))  # the redraw may be half read
        it.type("b\r")
        it.expect("< 00000014  ff")
        it.quit()


def test_view_raw_passes_everything_and_warns_once() -> None:
    """The way out of the filter; what the terminal answers does not reach the shell (SEC-R24)."""

    def script(conn: Peer) -> None:
        conn.recv_until(b"\n")
        conn.send(b"\x1b]0;title\x07\xff\x1b[1mbold\x1b[0m\n")
        conn.recv_until_eof()

    with serve(script) as server, repl(server) as it:
        it.type(":view raw\r")
        it.expect("warning: everything the peer sends")
        it.type(":view text\r:view raw\rgo\r")
        it.expect("bold")
        assert b"\x1b]0;title\x07\xff\x1b[1mbold\x1b[0m\r" in it.term.output
        assert it.term.output.count(b"warning: everything") == 1
        it.quit()


@pytest.mark.parametrize("view", ["raw", "text"])
def test_type_ahead_is_dropped_after_raw_only(view: str, tmp_path: Path) -> None:
    """SEC-R24: an answer of the terminal may be among it; otherwise it belongs to the shell."""
    (tmp_path / "much").write_bytes(bytes(32 * MIB))
    with serve(Peer.hang) as server, repl(server) as it:
        it.type(f":view {view}\r:file {tmp_path / 'much'}\r")
        it.expect("busy")
        it.type("\x03:quit\r")
        # It has stopped reading, and waits for the peer to take what was sent.
        until(lambda: it.term.attributes() == it.term.attributes_before)
        it.type("ls\r")
        it.expect_end(0)
        assert it.term.unread() == (0 if view == "raw" else 3)
