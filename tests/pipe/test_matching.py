"""`--after` and `--until`: by real processes, and in every segmentation."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cfcat.core.job import Job
from cfcat.edges.poll_loop import PollLoop
from cfcat.edges.stdout import Output
from cfcat.pipe.matching import Matching
from cfcat.record.subscribers import Subscribers
from cfcat.repl.arguments import compile_pattern
from tests.helpers.peers import Peer, Script, serve
from tests.helpers.program import Result, cfcat, finish, shell, start
from tests.pipe.tools import Transport
from tests.servers.fleet import Fleet

pytestmark = pytest.mark.one_python

STARTS_S = 3.0


def says(*pieces: bytes, pause_s: float = 0.05) -> Script:
    """Each piece a segment of its own; then it listens."""

    def script(conn: Peer) -> None:
        for piece in pieces:
            conn.send(piece)
            conn.quiet(pause_s)
        conn.recv_until_eof()

    return script


def listened(script: Script, *options: str, stdin: bytes = b"") -> tuple[Result, bytes]:
    with serve(script) as server:
        result = cfcat("--shutdown", "never", *options, server.address, stdin=stdin)
    return Result(result.stdout, result.stderr.replace(server.address, "HOST"), result.status), server.received


# ------------------------------------------------------------------------------------------- --until


@pytest.mark.parametrize(
    ("pieces", "pattern", "delivered"),
    [
        ([b"220 hello\r\n250 more\r\n"], "^220", b"220 hello\r\n"),
        ([b"22", b"0 he", b"llo\r\n"], "^220", b"220 he"),
        ([b"one\r\ntwo", b"\r\nthree\r\n"], r"two\r\n", b"one\r\ntwo\r\n"),
        ([b"login: "], "login: $", b"login: "),
        ([b"\0\xff\xfe\x80more\0"], r"\xff\xfe", b"\0\xff\xfe\x80more\0"),
        ([b"x\ny\n"], "x(?=\\n)", b"x\n"),
        ([b"a\n", b"aaaaaaaaaaaaaaaaab\n"], "(a|a)+b", b"a\naaaaaaaaaaaaaaaaab\n"),
        ([b"a\n"], "^", b"a\n"),
    ],
    ids=["line", "pieces", "across", "prompt", "binary", "ahead", "repeats", "empty"],
)
def test_end_is_the_line_of_the_match(pieces: list[bytes], pattern: str, delivered: bytes) -> None:
    """0 at once; what came is delivered through the end of that line if it is there."""
    result, _ = listened(says(*pieces), "--until", pattern)
    assert result == Result(delivered, "", 0)


def test_our_end_waits_for_a_match() -> None:
    """Longer than for an answer: many servers drop a client at its end, and with it what it waits for."""

    def slow(conn: Peer) -> None:
        conn.recv_exactly(5)
        assert conn.quiet(1.5)
        conn.send(b"done\n")
        conn.hang()

    with serve(slow) as server:
        assert cfcat("--until", "^done", server.address, stdin=b"do it") == Result(b"done\n", "", 0)
        server.release()


def test_our_end_that_may_be_why_nothing_matched_is_hinted_at() -> None:
    """Here it was sent at once; by itself it waits for ten seconds."""
    with serve(lambda conn: conn.recv_until_eof() and None) as server:
        result = cfcat("--shutdown", "now", "--until", "^done", server.address, stdin=b"do it")
    assert result.status == 1
    assert result.stderr.endswith("hint: --shutdown never keeps our end from the server\n")


def test_end_of_the_peer_before_a_match() -> None:
    """1, with the last line seen, escaped."""
    result, _ = listened(lambda conn: conn.send(b"421 \x1bbusy\r\n"), "--until", "^220")
    text = 'HOST: --until ^220: the peer ended before a match; the last line seen is "421 \\x1bbusy"'
    assert result == Result(b"421 \x1bbusy\r\n", f"cfcat: {text}\n", 1)
    result, _ = listened(lambda conn: None, "--until", "^220")
    assert result.stderr == "cfcat: HOST: --until ^220: the peer ended before a match; nothing was received\n"


def test_end_of_the_wait_before_a_match() -> None:
    """-q and -w have their own words."""
    result, _ = listened(says(b"421 busy\r\n"), "-q", "0.3", "--until", "^220")
    assert result.status == 1
    assert "--until ^220: no match within 0.3 s after the end of standard input; the last" in result.stderr
    result, _ = listened(says(b"421 busy\r\n"), "-w", "0.3", "--until", "^220")
    assert (result.stderr, result.status) == ("cfcat: HOST: nothing moved for 0.3 s\n", 28)


def test_pattern_that_backtracks_without_end_can_be_left() -> None:
    """SEC-R28: -w ends it, and what came is not delivered before it was searched."""
    began = time.monotonic()
    result, _ = listened(says(b"a" * 60 + b"\n"), "-w", "1", "--until", "(a|aa)+$X")
    assert (result.stdout, result.status) == (b"", 28)
    assert time.monotonic() - began < 1 + STARTS_S


def test_stdin_that_is_still_open_and_a_peer_that_takes_nothing() -> None:
    """The match is the end, whatever else is under way."""
    with serve(says(b"220 hello\r\n")) as server, start("--until", "^220", server.address) as program:
        program.say(b"never ended")
        assert finish_open(program) == Result(b"220 hello\r\n", "", 0)

    def stops(conn: Peer) -> None:
        conn.recv(1)
        conn.send(b"552 too much\r\n")
        conn.hang()

    with serve(stops) as server:
        done = shell(f"head -c 100000000 /dev/zero | cfcat --until ^552 {server.address}")
        server.release()
    assert (done.stdout, done.stderr, done.status) == (b"552 too much\r\n", "", 0)


def finish_open(program: object) -> Result:
    """With standard input left open."""
    program.wait(10)  # type: ignore[attr-defined]
    return finish(program)  # type: ignore[arg-type]


def test_reader_of_stdout_that_is_slow_gets_all_of_it() -> None:
    """The run is over when the line has been taken."""
    data = b"x" * 3_000_000 + b"\nend\n"
    with serve(says(data + b"more\n")) as server:
        done = shell(f"cfcat --until ^end {server.address} | (sleep 0.5; cat | wc -c); echo ${{PIPESTATUS[0]}}")
    assert done.stdout == b"%d\n0\n" % len(data)


# ------------------------------------------------------------------------------------------- --after


def greets_late(conn: Peer) -> None:
    """Takes what comes before its greeting for an attack, as exim does."""
    early = not conn.quiet(0.5)
    conn.send(b"554 early\r\n" if early else b"220 hello\r\n")
    conn.send(b"250 " + conn.recv_until(b"\n"))


def test_stdin_waits_for_the_greeting() -> None:
    """A server that greets late is not spoken to before."""
    result, received = listened(greets_late, "--after", "^220", "--until", "^250", stdin=b"EHLO x\r\n")
    assert (result, received) == (Result(b"220 hello\r\n250 EHLO x\r\n", "", 0), b"EHLO x\r\n")


def test_stdin_is_not_read_before_the_match() -> None:
    """Where the greeting is another one, a pipe's data is whole; 1."""
    with serve(lambda conn: conn.send(b"421 busy\r\n")) as server:
        done = shell(f"printf hello | {{ cfcat --after ^220 {server.address}; echo $?; cat; }}")
    assert done.stdout == b"421 busy\r\n1\nhello"
    text = '--after ^220: the peer ended before a match; the last line seen is "421 busy"'
    assert done.stderr == f"cfcat: {server.address}: {text}\n"


def test_deadline_of_after_is_that_of_the_connection() -> None:
    """28, and what the option is called."""
    result, received = listened(says(b"hm"), "--after", "^220", "--connect-timeout", "0.4", stdin=b"secret")
    text = '--after ^220: no match within 0.4 s; the last line seen is "hm"'
    hint = "  hint: --connect-timeout SECS waits longer\n"
    assert (result, received) == (Result(b"hm", f"cfcat: HOST: {text}\n{hint}", 28), b"")


def test_until_begins_behind_after() -> None:
    """As :expect after :expect: the same line does not count twice."""
    result, _ = listened(says(b"220 one\r\n", b"220 two\r\n", b"220 three\r\n"), "--after", "^220", "--until", "^220")
    assert result == Result(b"220 one\r\n220 two\r\n", "", 0)


def test_after_alone_delivers_all_that_follows(either: Transport) -> None:
    """Under TLS, too; the ends are those of a pipe."""

    def script(conn: Peer) -> None:
        conn.send(b"ready\r\n")
        conn.send(conn.recv_until_eof() * 2)

    with either.serve(script) as server:
        result = cfcat(*either.options, "--after", "^ready", server.address, stdin=b"x" * 100_000)
    assert result == Result(b"ready\r\n" + b"x" * 200_000, "", 0)


def test_exim_gets_its_hello_behind_its_greeting(daemon: Fleet) -> None:
    """The issue's own case: no 554 of a mail server that looks for early talkers."""
    options = ["--after", "^220 ", "--until", "^250[ ]"]
    result = cfcat(*options, f"localhost:{daemon('smtp').port}", stdin=b"EHLO me.example\r\n")
    assert result.status == 0
    assert b"\r\n250 " in result.stdout


@pytest.mark.parametrize("option", ["--after", "--until"])
def test_pattern_that_is_none(option: str) -> None:
    """A usage error; and one in a session."""
    result = cfcat(option, "(", "127.0.0.1:1")
    text = f"cfcat: {option}: '(' is not a regular expression: missing ), unterminated subpattern at position 0\n"
    assert (result.status, result.stderr.startswith(text)) == (2, True)
    assert cfcat(option, "", "127.0.0.1:1").status == 2
    refused = cfcat("--repl", option, "x", "127.0.0.1:1", stdin=b"")
    assert refused.stderr.startswith(f"cfcat: {option} is not for a script\n")


def test_transcript_has_the_match(tmp_path: Path) -> None:
    """So an export waits for it."""
    listened(says(b"220 hello\r\n"), "--until", "^220", "--log", str(tmp_path / "log"))
    assert "expected ^220" in (tmp_path / "log").read_text()


# -------------------------------------------------------------------------------------------- in pieces


class Kept(Output):
    """An output that takes all."""

    data = b""

    def give(self, chunk: object = b"") -> bool:
        self.data += bytes(chunk)  # type: ignore[call-overload]
        return True


@given(st.lists(st.binary(max_size=6), max_size=8), st.integers(0, 3))
def test_match_is_found_in_every_segmentation(pieces: list[bytes], shift: int) -> None:
    """What is delivered ends with the match's line, or with the segment that the match ends in; and it is a beginning
    of what came."""
    text = b"".join(pieces) + b"a.\n" + b"b" * shift
    cuts = [*pieces, b"a.\n" + b"b" * shift]
    loop = PollLoop()

    async def feed() -> tuple[bytes, bool]:
        output = Kept(1, loop)
        matching = Matching(output, None, compile_pattern(r"a\."), Subscribers())
        for cut in filter(None, cuts):
            if not matching.give(cut):
                while not matching.is_over and matching._search is not None:
                    job = matching._search
                    assert isinstance(job, Job)
                    await job
                    matching.give()
            if matching.is_over:
                break
        return output.data, matching.is_over

    delivered, is_over = loop.run(feed())
    end = text.index(b"a.") + 2
    assert is_over
    assert text.startswith(delivered)
    assert len(delivered) >= end
    assert b"\n" not in delivered[end:-1]
