"""Pipe mode on a real terminal: what the terminal gets to see, and who ends when.

One side is the terminal and the other is not: with both there is a session, which is no pipe mode.
"""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, serve
from tests.helpers.program import finish, start
from tests.helpers.terminal import terminal
from tests.pipe.tools import Transport, until, until_arrived

pytestmark = pytest.mark.one_python

# The rows of what is dangerous, each with what is shown in its place.
DANGEROUS = {
    "device attributes": (b"\x1b[c", rb"\x1b[c"),
    "cursor position report": (b"\x1b[6n", rb"\x1b[6n"),
    "window report": (b"\x1b[21t", rb"\x1b[21t"),
    "DECRQSS": (b"\x1bP$qm\x1b\\", rb"\x1bP$qm\x1b" + b"\\"),
    "ENQ": (b"\x05", rb"\x05"),
    "title": (b"\x1b]0;pwn\x07", rb"\x1b]0;pwn\x07"),
    "colours": (b"\x1b]4;1;?\x1b\\", rb"\x1b]4;1;?\x1b" + b"\\"),
    "hyperlink": (b"\x1b]8;;http://evil\x1b\\x\x1b]8;;\x1b\\", rb"\x1b]8;;http://evil\x1b\x\x1b]8;;\x1b" + b"\\"),
    "clipboard": (b"\x1b]52;c;cm0gLXJm\x07", rb"\x1b]52;c;cm0gLXJm\x07"),
    "notification": (b"\x1b]9;pwn\x07\x1b]777;notify;a;b\x07", rb"\x1b]9;pwn\x07\x1b]777;notify;a;b\x07"),
    "file of iTerm2": (b"\x1b]1337;File=:AA==\x07", rb"\x1b]1337;File=:AA==\x07"),
    "cursor movement": (b"\x1b[1;1H\x1b[A", rb"\x1b[1;1H\x1b[A"),
    "erase": (b"\x1b[2J\x1b[K", rb"\x1b[2J\x1b[K"),
    "alternate screen": (b"\x1b[?1049h", rb"\x1b[?1049h"),
    "scroll region": (b"\x1b[1;2r", rb"\x1b[1;2r"),
    "mouse": (b"\x1b[?1000h", rb"\x1b[?1000h"),
    "bracketed paste": (b"\x1b[?2004h", rb"\x1b[?2004h"),
    "hidden cursor": (b"\x1b[?25l", rb"\x1b[?25l"),
    "reset": (b"\x1bc", rb"\x1bc"),
    "shift out and in": (b"\x0e\x0f", rb"\x0e\x0f"),
    "reverse screen": (b"\x1b[?5h", rb"\x1b[?5h"),
    "line drawing": (b"\x1b(0", rb"\x1b(0"),
    "SGR colour": (b"\x1b[31mred\x1b[0m", rb"\x1b[31mred\x1b[0m"),
    "raw C1 CSI": (b"\x9b6n", rb"\x9b6n"),
    "raw C1 OSC": (b"\x9d0;pwn\x9c", rb"\x9d0;pwn\x9c"),
    "raw C1 DCS": (b"\x90$qm\x9c", rb"\x90$qm\x9c"),
    "UTF-8 CSI": (b"\xc2\x9b6n", rb"\x9b6n"),
    "UTF-8 OSC": (b"\xc2\x9d0;pwn\xc2\x9c", rb"\x9d0;pwn\x9c"),
    "UTF-8 DCS": (b"\xc2\x90$qm\xc2\x9c", rb"\x90$qm\x9c"),
    "lone CR": (b"good\revil", rb"good\x0devil"),
    "CR before CR LF": (b"good\r\r", rb"good\x0d"),
    "backspace": (b"good\b\b\b\bevil", rb"good\x08\x08\x08\x08evil"),
    "vertical tab and form feed": (b"a\vb\fc", rb"a\x0bb\x0cc"),
    "bells": (b"\x07\x07\x07", rb"\x07\x07\x07"),
    "sixel without end": (b"\x1bPq#0;2;0;0;0", rb"\x1bPq#0;2;0;0;0"),
    "APC without end": (b"\x1b_pwn", rb"\x1b_pwn"),
    "NUL and DEL": (b"\x00\x7f", rb"\x00\x7f"),
    "bidi embedding": ("a\u202eb\u202a\u202b\u202c\u202d".encode(), rb"a\u202eb\u202a\u202b\u202c\u202d"),
    "bidi isolate": ("\u2066\u2067\u2068\u2069".encode(), rb"\u2066\u2067\u2068\u2069"),
    "bidi mark": ("\u200e\u200f\u061c".encode(), rb"\u200e\u200f\u061c"),
    "zero width": ("a\u200bb\u200c\u200d\ufeff".encode(), rb"a\u200bb\u200c\u200d\ufeff"),
    "tags": ("\U000e0001\U000e0041".encode(), rb"\U000e0001\U000e0041"),
    "no UTF-8": (b"\xff\xfe\xc3(", rb"\xff\xfe\xc3("),
    "overlong ESC": (b"\xc0\x9b[c", rb"\xc0\x9b[c"),
    "surrogate": (b"\xed\xa0\x80", rb"\xed\xa0\x80"),
    "half a character at the end": (b"a\xe2\x82", rb"a\xe2\x82"),
}
HARMLESS = {
    "ASCII": bytes(range(0x20, 0x7F)),
    "tab and newline": b"a\tb\nc\n",
    "UTF-8": "naïve Ελλάδα 日本語 🎉\n".encode(),
    "combining": "e\u0301\n".encode(),
    "right to left": "שלום\n".encode(),
}


def shown(data: bytes) -> bytes:
    """What a terminal sends on of what is written to it: its own newline is CR LF."""
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


# --------------------------------------------------------------------------------------- stdout is a terminal


class Output:
    """A run whose stdout is a terminal, stdin is empty and stderr a file."""

    def __init__(self, folder: Path) -> None:
        self.messages = folder / "stderr"

    def run(self, server_address: str, *options: str) -> tuple[bytes, str, int]:
        """Return what the terminal got, what stderr got, and the status."""
        with self.messages.open("wb") as stderr, open(os.devnull, "rb") as stdin:
            with terminal(*options, server_address, stdin=stdin, stderr=stderr) as term:
                status = term.finish()
                assert (term.attributes(), term.flags()) == (term.attributes_before, term.flags_before)
                return term.output, self.messages.read_text(), status


@pytest.fixture
def output(tmp_path: Path) -> Output:
    """Run with the terminal as stdout."""
    return Output(tmp_path)


def count(text: str) -> str:
    return f"cfcat: {text} shown escaped; --raw passes them\n"


@pytest.mark.parametrize("options", [[], ["--raw"]], ids=["filtered", "raw"])
def test_half_open_on_a_terminal(options: list[str]) -> None:
    """A terminal has no reader that waits for its end; what comes on stdin is sent on."""
    read, write = os.pipe()

    def script(conn: Peer) -> None:
        conn.send(b"bye")
        conn.end()
        assert conn.recv_until_eof() == b"more"

    with serve(script) as server, terminal("--half-open", *options, server.address, stdin=read) as term:
        term.expect("bye")
        os.write(write, b"more")
        until(lambda: server.received == b"more")
        os.close(write)
        assert term.finish() == 0
        assert term.output == b"bye"
    os.close(read)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """All dangerous rows, each as a line of its own, as one run shows them."""
    with serve(lambda conn: conn.send(b"".join(data + b"\n" for data, _ in DANGEROUS.values()))) as server:
        seen, stderr, status = Output(tmp_path_factory.mktemp("rows")).run(server.address)
    assert status == 0
    assert stderr.startswith("cfcat: ")
    assert stderr.endswith(" control characters shown escaped; --raw passes them\n")
    assert stderr.count("\n") == 1
    return seen.split(b"\r\n")


@pytest.mark.parametrize("row", DANGEROUS)
def test_dangerous_bytes_are_shown_escaped(lines: list[bytes], row: str) -> None:
    """The terminal gets them as text, byte for byte as written here; one notice at the end says so."""
    assert lines[list(DANGEROUS).index(row)] == DANGEROUS[row][1]
    assert len(lines) == len(DANGEROUS) + 1


@pytest.mark.parametrize("row", ["cursor position report", "title", "sixel without end", "half a character at the end"])
def test_dangerous_bytes_at_the_end(output: Output, row: str) -> None:
    """Nothing comes behind them that could help."""
    data, expected = DANGEROUS[row]
    with serve(lambda conn: conn.send(data)) as server:
        seen, stderr, status = output.run(server.address)
    assert (seen, status) == (expected, 0)
    assert "shown escaped" in stderr


@pytest.mark.parametrize("kind", HARMLESS)
def test_printable_text_passes(output: Output, kind: str) -> None:
    """Text is text: nothing is changed, nothing is said."""
    with serve(lambda conn: conn.send(HARMLESS[kind])) as server:
        assert output.run(server.address) == (shown(HARMLESS[kind]), "", 0)


def test_lines_of_a_text_protocol(output: Output) -> None:
    """CR LF is a newline like any other."""
    with serve(lambda conn: conn.send(b"220 hello\r\n250 ok\r\n")) as server:
        assert output.run(server.address) == (b"220 hello\r\n250 ok\r\n", "", 0)


def test_raw_passes_everything() -> None:
    """--raw: all the bytes of the server, as they are."""
    data = b"".join(data for data, _ in DANGEROUS.values() if b"\n" not in data)
    master, slave = os.openpty()  # a terminal that answers nothing: an answer would be echoed
    with serve(lambda conn: conn.send(data)) as server, start("--raw", server.address, stdout=slave) as program:
        seen = b""
        while len(seen) < len(data):
            seen += os.read(master, len(data))
        result = finish(program)
    os.close(slave)
    os.close(master)
    assert (seen, result.status) == (data, 0)
    assert "escaped" not in result.stderr


@pytest.mark.parametrize(
    ("data", "text"), [(b"\x07", "1 control character"), (b"a\x07\x1bb\x07", "3 control characters")]
)
def test_notice_counts(output: Output, data: bytes, text: str) -> None:
    """It says how many were shown escaped, once for the run."""

    with serve(lambda conn: send_apart(conn, data)) as server:
        assert output.run(server.address)[1] == count(text)


@pytest.mark.parametrize("how", ["reset", "truncation"])
def test_notice_after_an_error(output: Output, certs: CertSet, how: str) -> None:
    """Also where the run ends badly: what was seen is not what came."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        conn.send(b"\x07")
        conn.recv_until_eof()
        if how == "reset":
            conn.reset()
        else:
            conn.end()

    with serve(script) as server:
        seen, stderr, status = output.run(server.address, "--tls", "on", "--cacert", str(certs.ca))
    assert (seen, status) == (rb"\x07", {"reset": 56, "truncation": 18}[how])
    assert count("1 control character") in stderr


def send_apart(conn: Peer, data: bytes) -> None:
    """Send every byte in a segment of its own."""
    for byte in data:
        conn.send(bytes([byte]))
        until_arrived(conn, read=True)


def test_text_is_shown_as_it_comes(transport: Transport) -> None:
    """Nothing is held back but half a character: a prompt without a newline is seen at once."""
    seen = threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"login: ")
        conn.wait(seen)

    with transport.serve(script) as server, open(os.devnull, "rb") as stdin:
        with terminal(*transport.options, server.address, stdin=stdin) as term:
            term.expect("login: ")
            seen.set()
            assert term.finish() == 0


def test_a_terminal_that_goes_before_its_last_character_leaves_nothing_open() -> None:
    """Half a character is held back to the end, and then cannot be shown: 23, and stdin is given back all the same."""
    gone = threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"hello")
        conn.wait(gone)
        conn.send("\u00e9".encode()[:1])

    master, slave = os.openpty()
    ours, theirs = socket.socketpair()
    with serve(script) as server, ours, theirs:
        # A development run warns of a socket that nobody has closed, such as what stdin is read by here.
        with start(server.address, stdin=theirs.fileno(), stdout=slave, env={"PYTHONDEVMODE": "1"}) as program:
            os.close(slave)
            assert os.read(master, 100) == b"hello"
            os.close(master)
            gone.set()
            result = finish(program)
    note = "cfcat: 1 control character shown escaped; --raw passes them\n"
    text = f"{note}cfcat: cannot write standard output: input/output error\n"
    assert (result.stderr, result.status) == (text, 23)


def test_everything_else_gets_every_byte(tmp_path: Path) -> None:
    """stdin and stderr are a terminal, stdout is not: byte exact."""
    data = b"".join(data for data, _ in DANGEROUS.values())
    with serve(lambda conn: conn.send(data)) as server, (tmp_path / "output").open("wb") as stdout:
        with terminal(server.address, stdout=stdout) as term:
            assert term.finish() == 0
            assert term.output == b""
    assert (tmp_path / "output").read_bytes() == data


def test_much_text_to_a_terminal(output: Output) -> None:
    """A terminal is slow; nothing is lost."""
    text = b"".join(b"%07d the quick brown fox\n" % number for number in range(5_000))
    with serve(lambda conn: conn.send(text)) as server:
        seen, stderr, status = output.run(server.address)
    assert (len(seen), seen == shown(text), stderr, status) == (len(shown(text)), True, "", 0)
