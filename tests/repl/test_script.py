"""`cfcat --repl TARGET < FILE`: lines of stdin as lines of a session, by real processes."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
from pathlib import Path

import pytest

from cfcat.repl.script import _first_of
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, Script, refusing, serve
from tests.helpers.program import Result, cfcat, finish, shell, start
from tests.helpers.terminal import terminal
from tests.pipe.tools import DEADLINE_S, Transport, run_patched
from tests.report.form import check_form

pytestmark = pytest.mark.one_python

SHORT_S = 0.4


def hello(conn: Peer) -> None:
    """Speak first, then listen to the end."""
    conn.send(b"220 hello\r\n")
    conn.recv_until_eof()


def answering(conn: Peer) -> None:
    """Answer each line, and end at QUIT."""
    conn.send(b"220 hello\r\n")
    while (line := conn.recv_until(b"\n")) != b"QUIT\r\n":
        conn.send(b"250 " + line)
    conn.send(b"221 bye\r\n")


def run_script(script: Script, text: bytes, *options: str) -> tuple[Result, bytes]:
    """Run a script against a peer: how it went, and what the peer got."""
    with serve(script) as server:
        result = cfcat("--repl", *options, server.address, stdin=text)
    # the port is another one each time
    return Result(result.stdout, result.stderr.replace(server.address, "HOST"), result.status), server.received


# -------------------------------------------------------------------------------------------- the lines


def test_dialog() -> None:
    """Commands and text in turn; stdout is what came, stderr is empty, status 0."""
    script = b":expect ^220\nEHLO me\n:expect -t 5 ^250 EHLO\n:wait 0.1\nQUIT\n"
    result, received = run_script(answering, script)
    assert result == Result(b"220 hello\r\n250 EHLO me\r\n221 bye\r\n", "", 0)
    assert received == b"EHLO me\r\nQUIT\r\n"


def test_lines_are_run_as_they_come() -> None:
    """A script that is still being written: each line is sent, and its answer printed, before the next is there."""
    with serve(answering) as server, start("--repl", server.address) as program:
        program.read_until(b"220 hello\r\n")
        program.say(b"one\n")
        program.read_until(b"250 one\r\n")
        program.say(b"tw")
        program.say(b"o\r\nQUIT")
        program.read_until(b"250 two\r\n")
        program.end_input()
        assert finish(program) == Result(b"220 hello\r\n250 one\r\n250 two\r\n221 bye\r\n", "", 0)


@pytest.mark.parametrize(
    ("script", "sent"),
    [
        (b"a\r\nb\nc", b"a\r\nb\r\nc\r\n"),
        (b"\n\r\n", b"\r\n\r\n"),
        (b"a\0\xff\xc3\xbc\r\r\n", b"a\0\xff\xc3\xbc\r\r\n"),
        (b"# a\n  b \n::c\nQ\n", b"# a\r\n  b \r\n:c\r\nQ\r\n"),
        (b":lf\na\n:send b\\0\n:hex ff\n", b"a\nb\0\xff"),
        (b"", b""),
        (b"x" * (1 << 20) + b"\n", b"x" * (1 << 20) + b"\r\n"),
    ],
    ids=["line ends", "empty lines", "any bytes", "text is data", "commands", "empty script", "a MiB"],
)
def test_what_is_sent(script: bytes, sent: bytes) -> None:
    """SEC-R25: what is no command is data, to the byte; CR LF ends a line of the script as LF does."""
    result, received = run_script(Peer.recv_until_eof, script)
    assert result == Result(b"", "", 0)
    same = received == sent  # not in the assertion: pytest would explain a MiB
    assert same


def test_line_that_is_too_long(tmp_path: Path) -> None:
    """Bounded memory: it is refused by its number, whether or not it ever ends."""
    result, received = run_script(Peer.recv_until_eof, b"a\n" + b"x" * ((1 << 20) + 1) + b"\nb\n")
    text = "cfcat: line 2: the line is longer than 1 MiB\n  hint: :file PATH sends what is large\n"
    assert (result, received) == (Result(b"", text, 1), b"a\r\n")
    with serve(Peer.recv_until_eof) as server, open("/dev/zero", "rb") as endless:
        assert cfcat("--repl", server.address, stdin=endless).status == 1


def test_file_of_a_script(tmp_path: Path) -> None:
    """stdin may be a file, and :file sends another one."""
    (tmp_path / "data").write_bytes(b"\0data\n")
    (tmp_path / "script").write_text(f":file {tmp_path}/data\n")
    with serve(Peer.recv_until_eof) as server:
        assert cfcat("--repl", server.address, stdin=tmp_path / "script") == Result(b"", "", 0)
    assert server.received == b"\0data\n"


# ------------------------------------------------------------------------------------------ what fails


@pytest.mark.parametrize(
    ("line", "text", "hint"),
    [
        (b":stattls", ":stattls is not a command; nothing was sent", "did you mean :starttls? ::stattls"),
        (b":expect (", "'(' is not a regular expression: missing ), unterminated subpattern at position 0", ""),
        (b":file /nowhere", "cannot read /nowhere: no such file or directory", ""),
        (b":starttls", "the connection was opened with --tls off, so it cannot be upgraded", "reconnect with :open "),
        (b":expect -t 0.1 ^250", ':expect ^250: no match within 0.1 s; the last line seen is "220 hello"', ""),
        (b":eof\n:eof", "our side of the connection has ended", ":open begins a new one"),
    ],
    ids=["unknown", "regex", "file", "starttls", "expect", "eof"],
)
def test_first_failure_is_the_end(line: bytes, text: str, hint: str) -> None:
    """Status 1 and one line with the number of the script's; nothing of what follows is sent."""

    def script(conn: Peer) -> None:
        conn.send(b"220 hello\r\n")
        conn.recv_until_eof()
        conn.wait(over)

    over = threading.Event()
    with serve(script) as server:
        result = cfcat("--repl", server.address, stdin=b":expect hello\na\n" + line + b"\nnever sent\n")
        over.set()
    said, advice = check_form(result.stderr)
    assert said == f"line {3 + line.count(10)}: {text}"
    assert advice.startswith(hint)
    assert (result.stdout, result.status, server.received) == (b"220 hello\r\n", 1, b"a\r\n")


def test_expect_fails_at_the_servers_end_at_once() -> None:
    """A server that is gone is not waited for."""
    result, _ = run_script(lambda conn: conn.send(b"421 \x1b[2Jbusy\r\n"), b":expect -t 60 ^220\n")
    text = 'line 1: :expect ^220: the connection ended before a match; the last line seen is "421 \\x1b[2Jbusy"'
    assert result == Result(b"421 \x1b[2Jbusy\r\n", f"cfcat: {text}\n", 1)


def test_line_after_the_servers_end() -> None:
    """What came can still be expected; sending is an error with its line."""

    def script(conn: Peer) -> None:
        conn.send(b"bye")
        conn.close()

    result, _ = run_script(script, b":wait 60\n:expect bye\nhello?\n")
    text = "cfcat: line 3: the connection is closed\n  hint: :open connects again\n"
    assert result == Result(b"bye", text, 1)


def test_connection_that_does_not_come_about(certs: CertSet) -> None:
    """The first: as in pipe mode. By :open: its line, and its own status."""
    with refusing() as port:
        text = f"127.0.0.1:{port}: connection refused"
        assert cfcat("--repl", f"127.0.0.1:{port}", stdin=b"a\n") == Result(b"", f"cfcat: {text}\n", 7)
        result, _ = run_script(Peer.recv_until_eof, b":open 127.0.0.1:%d\nb\n" % port)
        assert result == Result(b"", f"cfcat: line 1: {text}\n", 7)

    def secure(conn: Peer) -> None:
        conn.start_tls(certs.server_context("untrusted"), may_fail=True)

    with serve(secure) as other:
        result, _ = run_script(Peer.recv_until_eof, f"a\n\n:open {other.address} --tls on\n".encode())
    said, _ = check_form(result.stderr)
    assert said.startswith(f"line 3: {other.address}: certificate not trusted: ")
    assert result.status == 60


def test_secret_over_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can be asked: the line fails, unless the script says so before."""
    run_patched(monkeypatch, "from cfcat.repl import session; session.is_loopback = lambda address: False")
    result, received = run_script(Peer.recv_until_eof, b":set proto smtp\nAUTH PLAIN AGEAYg==\n")
    said, hint = check_form(result.stderr)
    assert said.startswith("line 2: not sent: it carries a secret, in clear text to ")
    assert (hint, result.status, received) == (":set clear-secrets on sends it unasked", 1, b"")
    script = b":set proto smtp\n:set clear-secrets on\nAUTH PLAIN AGEAYg==\n"
    assert run_script(Peer.recv_until_eof, script) == (Result(b"", "", 0), b"AUTH PLAIN AGEAYg==\r\n")


# ---------------------------------------------------------------------------------------------- the end


def test_end_of_the_script_ends_our_side(either: Transport) -> None:
    """Then all that comes is read, and the server's end ends the run."""

    def script(conn: Peer) -> None:
        assert conn.recv_until_eof() == b"a\r\n"
        conn.send(b"answer" * 100_000)

    with either.serve(script) as server:
        assert cfcat("--repl", *either.options, server.address, stdin=b"a\n") == Result(b"answer" * 100_000, "", 0)
    assert server.ended == either.end


def test_quit_is_the_end_at_once() -> None:
    """Status 0, whatever the server does, and nothing of the rest is sent."""
    with serve(Peer.hang) as server:
        with start("--repl", server.address) as program:
            program.say(b"a\n:quit\nb\n")
            assert finish(program) == Result(b"", "", 0)
        server.release()
    assert server.received == b"a\r\n"


@pytest.mark.parametrize("when", ["in the script", "after it"])
def test_reset_is_56(when: str) -> None:
    """What came is printed, the message once; a script that has no more to do ends with it."""

    def script(conn: Peer) -> None:
        conn.send(b"data")
        conn.recv_until(b"\n") if when == "in the script" else conn.recv_until_eof()
        conn.reset()

    result, _ = run_script(script, b"a\n:wait\n" if when == "in the script" else b"a\n")
    hint = "" if when == "in the script" else "  hint: --shutdown never keeps our end from the server\n"
    assert result == Result(b"data", f"cfcat: HOST: connection reset by peer while receiving\n{hint}", 56)


@pytest.mark.parametrize("accepted", [False, True])
def test_truncated_tls_is_18(certs: CertSet, accepted: bool) -> None:
    """Unless --ignore-unexpected-eof accepts it."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        conn.send(b"data")
        conn.recv_until_eof()
        conn.end()

    options = ["--tls", "on", "--cacert", str(certs.ca), *(["--ignore-unexpected-eof"] if accepted else [])]
    result, _ = run_script(script, b"a\n", *options)
    assert (result.stdout, result.status) == (b"data", 0 if accepted else 18)
    assert ("without TLS close_notify" in result.stderr) is not accepted


def test_tls_alert_in_clear_text_is_35() -> None:
    """With the hint of a session."""

    def script(conn: Peer) -> None:
        conn.recv_until(b"\n")
        conn.send(b"\x15\x03\x01\x00\x02\x02\x46")

    result, _ = run_script(script, b"hello\n")
    text = "cfcat: HOST: the peer answered clear text with a TLS alert\n  hint: :open --tls on\n"
    assert (result.stderr, result.status) == (text, 35)


def test_options_of_pipe_mode() -> None:
    """-q after the end of the script, -w all the time, --no-shutdown keeps our end from the server."""
    with serve(Peer.hang) as server:
        began = time.monotonic()
        assert cfcat("--repl", "-q", str(SHORT_S), server.address, stdin=b"a\n") == Result(b"", "", 0)
        assert time.monotonic() - began >= SHORT_S
        text = f"cfcat: {server.address}: nothing moved for {SHORT_S} s\n"
        result = cfcat("--repl", "-w", str(SHORT_S), server.address, stdin=b"a\n:wait 60\n")
        assert result == Result(b"", text, 28)
        server.release()


def test_idle_timeout_begins_again_with_every_byte() -> None:
    """-w: a server that goes on and on is not idle."""

    def script(conn: Peer) -> None:
        for _ in range(4):
            assert conn.quiet(0.4 * SHORT_S)
            conn.send(b".")

    result, _ = run_script(script, b":wait 60\n", "-w", str(SHORT_S))
    assert result == Result(b"....", "", 0)


def test_end_that_cannot_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """55, after all that came has been read."""
    run_patched(
        monkeypatch,
        """
from cfcat.errors import LostError
from cfcat.repl.connection import Connection
async def end(self):
    raise LostError(detail="broken pipe", sending=True)
Connection.end = end
""",
    )

    def script(conn: Peer) -> None:
        conn.recv_until(b"\n")
        assert conn.quiet(0.2)
        conn.send(b"answer")

    result, _ = run_script(script, b"a\n", "--shutdown", "now")
    assert result == Result(b"answer", "cfcat: HOST: broken pipe while sending\n", 55)


def test_no_shutdown_keeps_the_end_of_the_script_from_the_server() -> None:
    """The server's end is waited for; nothing tells it that there will be no more."""

    def script(conn: Peer) -> None:
        conn.recv_until(b"\n")
        assert conn.quiet(SHORT_S)
        conn.send(b"answer")

    result, _ = run_script(script, b"a\n", "--no-shutdown")
    assert result == Result(b"answer", "", 0)


# -------------------------------------------------------------------------------------- stdout and stderr


def test_notices_are_on_stderr(certs: CertSet) -> None:
    """Each line of them with the program's name; stdout has what came and nothing else."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        hello(conn)

    text = b":expect hello\n:tls\n:cert\n:set\n:help wait\n"
    result, _ = run_script(script, text, "--tls", "on", "--cacert", str(certs.ca))
    assert (result.stdout, result.status) == (b"220 hello\r\n", 0)
    lines = result.stderr.splitlines()
    assert all(line.startswith("cfcat: ") for line in lines)
    assert any(line.startswith("cfcat: TLSv1.3, ") for line in lines)
    assert any("sha256: " in line for line in lines)
    assert "cfcat: eol crlf" in lines


def test_dialog_is_on_stderr(certs: CertSet) -> None:
    """:starttls PROTO shows what it says and hears; stdout has what came before it and what came under TLS."""

    def script(conn: Peer) -> None:
        conn.send(b"+OK pop\r\n")
        assert conn.recv_until(b"\n") == b"STLS\r\n"
        conn.send(b"+OK go\r\n")
        conn.start_tls(certs.server_context())
        conn.recv_until(b"\n")
        conn.send(b"+OK bye\r\n")

    text = b":expect OK\n:starttls pop3\nQUIT\n"
    result, _ = run_script(script, text, "--tls", "starttls", "--cacert", str(certs.ca))
    assert (result.stdout, result.status) == (b"+OK pop\r\n+OK bye\r\n", 0)
    assert result.stderr.startswith("cfcat: > STLS\ncfcat: < +OK go\ncfcat: TLS established: TLSv1.3, ")


def test_reader_of_stdout_that_leaves() -> None:
    """Death by SIGPIPE, silently: while data comes, and while none does."""

    def endless(conn: Peer) -> None:
        conn.send(b"line\n" * 100_000)
        conn.recv_until_eof()

    with serve(endless) as server:
        command = f"printf ':wait 60\\n' | cfcat --repl {server.address} | head -1; echo ${{PIPESTATUS[1]}}"
        assert shell(command) == Result(b"line\n141\n", "", 0)
    with serve(hello) as server, start("--repl", server.address) as program:
        program.read_until(b"220 hello\r\n")
        assert program.stdout is not None
        program.stdout.close()
        assert program.wait(DEADLINE_S) == -signal.SIGPIPE


@pytest.mark.parametrize("ends", [True, False])
def test_stdout_that_is_full(ends: bool) -> None:
    """23, and one line; also where the server has ended by then."""
    script: Script = (lambda conn: conn.send(b"bye")) if ends else hello
    with serve(script) as server, open("/dev/full", "wb") as full:
        with start("--repl", server.address, stdout=full) as program:
            if ends:
                program.end_input()
            assert program.wait(DEADLINE_S) == 23
            text = "cfcat: cannot write standard output: no space left on device\n"
            assert finish(program).stderr == text


def test_transcript_of_a_script(tmp_path: Path) -> None:
    """--log from the first byte on; a place where it cannot be is 23, before connecting."""
    result, _ = run_script(answering, b":expect hello\nQUIT\n", "--log", str(tmp_path / "log"))
    assert (result.stderr, result.status) == ("", 0)
    text = (tmp_path / "log").read_text()
    assert "< - 220 hello" in text
    assert "> - QUIT" in text
    with serve(Peer.recv_until_eof) as server:
        result = cfcat("--repl", "--log", str(tmp_path), server.address, stdin=b"")
        assert server.connections == 0
    assert result == Result(b"", f"cfcat: cannot write {tmp_path}: is a directory\n", 23)


def test_stdin_that_cannot_be_read() -> None:
    """26: it is not the script that is at fault. The kernel answers EIO where nothing is mapped."""
    with serve(Peer.recv_until_eof) as server, open("/proc/self/mem", "rb", buffering=0) as memory:
        result = cfcat("--repl", "-q", "0", server.address, stdin=memory)
    assert result == Result(b"", "cfcat: cannot read standard input: input/output error\n", 26)


@pytest.mark.parametrize("raw", [False, True])
def test_terminal_as_stdout_is_filtered(tmp_path: Path, raw: bool) -> None:
    """SEC-R22: as in pipe mode, unless --raw."""
    path = tmp_path / "script"
    path.write_text(":expect hello\n")
    options = ["--raw"] if raw else []
    with serve(lambda conn: conn.send(b"\x1b[31mhello\r\n\xc3")) as server, path.open("rb") as script:
        with terminal("--repl", *options, server.address, stdin=script) as term:
            assert term.finish() == 0
    assert (b"\x1b[31mhello" in term.output) is raw
    assert (rb"\x1b[31mhello" in term.output) is not raw
    assert (rb"\xc3" in term.output) is not raw  # half a character, which was held back for the other half
    assert (b"2 control characters shown escaped; --raw passes them" in term.output) is not raw


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_death_by_signal(number: int) -> None:
    """As in pipe mode: by the signal itself, in the middle of a command."""
    with serve(hello) as server, start("--repl", server.address) as program:
        program.say(b":wait 60\n")
        program.read_until(b"hello")
        program.send_signal(number)
        assert program.wait(DEADLINE_S) == -number
        assert finish(program).stderr == ""


def test_nothing_interactive_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script never pays for prompt_toolkit, nor for rich."""
    run_patched(
        monkeypatch,
        "import atexit, json\natexit.register(lambda: print(json.dumps(list(sys.modules)), file=sys.stderr))",
    )
    result, _ = run_script(answering, b":expect hello\n:info\n:help\nQUIT\n")
    loaded = {name.partition(".")[0] for name in json.loads(result.stderr.splitlines()[-1])}
    assert "cfcat" in loaded
    assert not loaded & {"prompt_toolkit", "rich", "pydantic", "platformdirs"}


@pytest.mark.parametrize("size", [1, 2, 1000], ids=lambda size: f"{size} at a time")
def test_a_byte_order_mark_is_no_text(size: int) -> None:
    """An editor has put it before the first command; anywhere else it is what it is."""
    script = b"\xef\xbb\xbf:send one\n\xef\xbb\xbftwo\n"
    with serve(lambda conn: conn.recv_until_eof()) as server, start("--repl", server.address) as program:
        for begin in range(0, len(script), size):
            program.say(script[begin : begin + size])
        program.end_input()
        assert finish(program).status == 0
    assert server.received == b"one\xef\xbb\xbftwo\r\n"


@pytest.mark.parametrize("script", [b"", b"\xef\xbb\xbf", b"x"])
def test_a_script_shorter_than_a_byte_order_mark(script: bytes) -> None:
    """It is read to its end all the same."""
    with serve(lambda conn: conn.recv_until_eof()) as server:
        assert cfcat("--repl", server.address, stdin=script).status == 0
    assert server.received == (b"x\r\n" if script == b"x" else b"")


async def test_first_of_several_is_the_outcome_of_all() -> None:
    """The others are cancelled, and have ended when it returns."""
    ended = []

    async def forever() -> int:
        never: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        try:
            return await never
        finally:
            ended.append(True)

    async def soon(value: int) -> int:
        await asyncio.sleep(0)
        return value

    async def wrong() -> int:
        raise ValueError("wrong")

    assert await _first_of([forever(), soon(1), soon(2)]) == 1
    with pytest.raises(ValueError, match="wrong"):
        await _first_of([forever(), wrong()])
    assert ended == [True, True]
