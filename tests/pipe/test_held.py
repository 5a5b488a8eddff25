"""Our end, held until it cannot cost the answer: what a server sees, by real processes.

How long is in `test_ending`, as a table. Here a server sees nothing for as long as it must, and our end when nothing
else will come; `-v` says whether our end was held, which no clock could tell on a busy machine.
"""

from __future__ import annotations

import re
import signal
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from cfcat.pipe.ending import TRANSFER_BYTES
from tests.helpers.peers import Peer, Server, serve
from tests.helpers.program import Result, cfcat, finish, start
from tests.pipe.tools import DEADLINE_S, Transport, pattern, until

pytestmark = pytest.mark.one_python

REQUEST = b"GET /big HTTP/1.0\r\n\r\n"
HELD, SENT = "sent, our end is held\n", "cfcat: our side ended\n"
# Longer than the longest silence that is asked for while an answer is coming.
LONG_S = 1.25
HINT = "  hint: --shutdown never keeps our end from the server\n"
TLS_HINT = "  hint: --tls on, if TLS begins at once on this port\n"


def held(result: Result) -> bool:
    """Does -v say that our end had to wait? Then it says as well when it was sent."""
    assert "cfcat: stdin ended: " in result.stderr
    return HELD in result.stderr


# ------------------------------------------------------------------------------------------- row by row


def test_a_request_is_answered_before_our_end(plain: Transport) -> None:
    """Half a second of silence after a line that no server has answered; then a sink gets its end."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(8)
        assert conn.quiet(0.4)
        conn.recv_until_eof()
        conn.send(b"answer")

    with plain.serve(script) as server:
        result = cfcat("-v", server.address, stdin=b"question")
    assert (result.stdout, result.status, held(result)) == (b"answer", 0, True)
    assert result.stderr.index(HELD) < result.stderr.index(SENT) < result.stderr.index("cfcat: peer ended")


def test_a_dialog_ends_when_the_server_is_silent(plain: Transport) -> None:
    """Every byte that comes begins the quarter of a second anew."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(8)
        for _ in range(8):
            assert conn.quiet(0.1)
            conn.send(b".")
        conn.recv_until_eof()

    with plain.serve(script) as server:
        result = cfcat("-v", server.address, stdin=b"question")
    assert (result.stdout, result.status, held(result)) == (b"." * 8, 0, True)
    assert server.ended == "eof"


def test_a_greeting_makes_it_a_dialog(plain: Transport) -> None:
    """The silence counts from stdin's end: what a server said long before is no answer to the last line."""
    greeted = threading.Event()

    def script(conn: Peer) -> None:
        conn.send(b"220 hello\r\n")
        conn.recv_exactly(4)
        conn.wait(greeted)
        conn.recv_exactly(4)
        assert conn.quiet(0.2)
        conn.send(b"221 bye\r\n")

    with plain.serve(script) as server, start(server.address) as program:
        program.read_until(b"220 hello\r\n")
        program.say(b"NOOP")
        greeted.set()
        assert not server.saw_end.wait(0.3)
        program.say(b"QUIT")
        assert finish(program) == Result(b"220 hello\r\n221 bye\r\n", "", 0)


def test_a_transfer_ends_at_once(plain: Transport) -> None:
    """More than 16 MiB of clear text without an answer is a transfer: the server waits for its end."""
    with plain.serve(lambda conn: conn.send(conn.recv_until_eof()[:1])) as server:
        whole = cfcat("-v", server.address, stdin=pattern(TRANSFER_BYTES + 1))
        less = cfcat("-v", server.address, stdin=pattern(TRANSFER_BYTES))
    assert (whole.status, held(whole)) == (0, False)
    assert (less.status, held(less)) == (0, True)


def test_a_transfer_that_is_answered_meanwhile(plain: Transport) -> None:
    """What has come while it was sent makes it a dialog."""

    def script(conn: Peer) -> None:
        conn.send(b"100 go on\r\n")
        conn.recv_exactly(1 << 20)
        conn.send(b"200 got it\r\n")

    with plain.serve(script) as server, start("-v", server.address) as program:
        program.read_until(b"100 go on\r\n")
        result = finish(program, pattern(1 << 20))
    assert (result.stdout, result.status, held(result)) == (b"100 go on\r\n200 got it\r\n", 0, True)
    assert SENT not in result.stderr


def test_under_tls_a_second_of_silence(tls: Transport) -> None:
    """Of any size: in TLS 1.2 a peer must discard what it has not sent when our close_notify comes."""

    def script(conn: Peer) -> None:
        count = int(conn.recv_until(b"\n"))
        conn.recv_exactly(count)
        assert conn.quiet(0.9)
        conn.send(b"half")
        assert conn.quiet(0.9)
        conn.recv_until_eof()
        conn.send(b"rest")

    for count in (0, 1 << 20):
        with tls.serve(script) as server:
            result = cfcat(*tls.options, "-v", server.address, stdin=b"%d\n" % count + pattern(count))
        assert (result.stdout, result.status, held(result)) == (b"halfrest", 0, True)
        assert (server.ended, SENT in result.stderr) == ("close_notify", True)


@pytest.mark.parametrize("silence_s", [0.0, LONG_S])
def test_an_http_answer_is_waited_for(transport: Transport, silence_s: float) -> None:
    """However late it begins; TLS 1.3's session tickets are no answer. Then a second of silence is its end."""

    def script(conn: Peer) -> None:
        conn.recv_until(b"\r\n\r\n")
        assert conn.quiet(silence_s)
        conn.send(b"HTTP/1.1 200 OK\r\n")
        assert conn.quiet(0.9)
        conn.send(b"\r\nbody")
        conn.recv_until_eof()  # a keep-alive connection

    with transport.serve(script) as server:
        result = cfcat(*transport.options, "-v", server.address, stdin=REQUEST)
    assert (result.stdout, result.status, held(result)) == (b"HTTP/1.1 200 OK\r\n\r\nbody", 0, True)
    assert (server.ended, SENT in result.stderr) == (transport.end, True)


def test_an_http_request_in_pieces(either: Transport) -> None:
    """What counts is how the stream begins, not how the first chunk does."""

    def script(conn: Peer) -> None:
        conn.recv_until(b"\r\n\r\n")
        assert conn.quiet(LONG_S)
        conn.send(b"answer")

    with either.serve(script) as server, start(*either.options, server.address) as program:
        for at in range(0, len(REQUEST), 7):
            program.say(REQUEST[at : at + 7])
            until(partial(arrived, server, REQUEST[: at + 7]))
        assert finish(program) == Result(b"answer", "", 0)


def arrived(server: Server, sent: bytes) -> bool:
    """Has the server got this, and nothing else?"""
    return server.received == sent


@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_a_large_post(either: Transport, kind: str, tmp_path: Path) -> None:
    """Moved within the kernel after its first bytes, and an HTTP request all the same: no transfer."""
    request = b"POST / HTTP/1.1\r\nContent-Length: 1048576\r\n\r\n" + pattern(1 << 20)
    (tmp_path / "request").write_bytes(request)

    def script(conn: Peer) -> None:
        conn.recv_exactly(len(request))
        assert conn.quiet(LONG_S)
        conn.send(b"HTTP/1.1 200 OK\r\n\r\n")

    with either.serve(script) as server:
        result = cfcat(*either.options, server.address, stdin=request if kind == "pipe" else tmp_path / "request")
    assert result == Result(b"HTTP/1.1 200 OK\r\n\r\n", "", 0)
    assert server.received == request


# ------------------------------------------------------------------------------- what is no silence


@pytest.mark.parametrize("opening", [b"question", REQUEST], ids=["dialog", "http"])
def test_a_slow_stdout_is_no_silence_of_the_server(plain: Transport, opening: bytes) -> None:
    """More waits at the server than pipe and socket hold: our end must not come while nobody reads stdout."""
    answer = pattern(16 << 20)
    stuck = threading.Event()

    def script(conn: Peer) -> None:
        conn.recv_exactly(len(opening))
        sending = threading.Thread(target=conn.send, args=(answer,))
        sending.start()
        assert conn.quiet(2 * LONG_S)  # no FIN
        stuck.set()
        sending.join()

    with plain.serve(script, timeout_s=20) as server, start(server.address, timeout_s=20) as program:
        program.say(opening)
        program.end_input()
        assert stuck.wait(DEADLINE_S)
        result = finish(program)
    assert (len(result.stdout), result.status) == (len(answer), 0)
    assert result.stdout == answer


# ------------------------------------------------------------------------------------ the other ways


@pytest.mark.parametrize("question", [b"", b"question", REQUEST, pattern(1 << 20)], ids=["", "line", "http", "much"])
def test_shutdown_now_is_at_once(either: Transport, question: bytes) -> None:
    """Whatever was sent: our end comes right behind it."""
    with either.serve(lambda conn: conn.send(b"%d" % len(conn.recv_until_eof()))) as server:
        result = cfcat(*either.options, "--shutdown", "now", "-v", server.address, stdin=question)
    assert (result.stdout, result.status, held(result)) == (b"%d" % len(question), 0, False)


def test_shutdown_never_is_no_shutdown(either: Transport) -> None:
    """The long word for it: the server sees no end before its own."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(8)
        assert conn.quiet(LONG_S)
        conn.send(b"answer")

    with either.serve(script) as server:
        result = cfcat(*either.options, "--shutdown", "never", server.address, stdin=b"question")
    assert result == Result(b"answer", "", 0)


@pytest.mark.parametrize("options", [[], ["--half-open"]], ids=["default", "half-open"])
def test_the_servers_end_while_ours_is_held(either: Transport, options: list[str]) -> None:
    """It ends the run: nobody waits for a silence any more, and our end is not said to have been sent before."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(len(REQUEST))
        conn.send(b"answer")

    with either.serve(script) as server:
        result = cfcat(*either.options, *options, "-v", server.address, stdin=REQUEST)
    assert (result.stdout, result.status, held(result)) == (b"answer", 0, True)
    over = re.search(r"over after ([\d.]+) ms", result.stderr)
    assert over, result.stderr  # in less than a second
    assert result.stderr.count(SENT) == len(options)
    assert result.stderr.index("peer ended") < result.stderr.find(SENT) % len(result.stderr)


def test_half_open_our_end_comes_at_once_behind_the_servers(either: Transport) -> None:
    """There is no answer any more that could be lost."""

    def script(conn: Peer) -> None:
        conn.send(b"bye")
        either.end_data(conn)
        conn.recv_until_eof()

    with either.serve(script) as server, start(*either.options, "--half-open", "-v", server.address) as program:
        assert program.stdout is not None
        assert program.stdout.read() == b"bye"
        result = finish(program, b"more")
    assert (result.status, held(result)) == (0, False)
    assert server.received == b"more"


def test_quit_after_counts_from_the_end_of_stdin(either: Transport) -> None:
    """Not from when our end is sent, which would be never here; leaving is told in order."""
    with either.serve(Peer.recv_until_eof) as server:
        result = cfcat(*either.options, "-q", "0.1", "-v", server.address, stdin=REQUEST)
    assert (result.status, held(result), SENT in result.stderr) == (0, True, False)
    assert (server.received, server.ended) == (REQUEST, either.end)


def test_idle_time_goes_on_while_our_end_is_held(plain: Transport) -> None:
    """-w is about what moves, and nothing does."""
    with plain.serve(Peer.recv_until_eof) as server:
        result = cfcat("-w", "0.2", server.address, stdin=REQUEST)
    assert result == Result(b"", f"cfcat: {server.address}: nothing moved for 0.2 s\n", 28)


def test_interrupted_while_our_end_is_held(either: Transport) -> None:
    """Ctrl-C ends it as ever."""
    with either.serve(Peer.recv_until_eof) as server, start(*either.options, "-v", server.address) as program:
        program.say(REQUEST)
        program.end_input()
        program.read_stderr_until("our end is held")
        began = time.monotonic()
        program.send_signal(signal.SIGINT)
        assert program.wait(DEADLINE_S) == -signal.SIGINT
        assert time.monotonic() - began < 1
        finish(program)
    assert server.received == REQUEST


# ------------------------------------------------------------------------- 52, and what our end has cost


@pytest.mark.parametrize("options", [[], ["--half-open"], ["--shutdown", "never"]], ids=" ".join)
def test_http_without_an_answer(transport: Transport, options: list[str]) -> None:
    """The server ends in order without a byte: 52, with a hint."""
    with transport.serve(lambda conn: conn.recv_until(b"\r\n\r\n")) as server:
        result = cfcat(*transport.options, *options, server.address, stdin=REQUEST)
    hint = "a request ends with an empty line"
    hint = hint if transport.version else f"--tls on where the server wants TLS; {hint}"
    said = f"cfcat: {server.address}: the server ended without an answer to the HTTP request\n  hint: {hint}\n"
    assert result == Result(b"", said, 52)


def test_http_that_our_own_end_has_cost_the_answer(either: Transport) -> None:
    """As many servers do: with --shutdown now the hint names the better way."""
    with either.serve(Peer.recv_until_eof) as server:
        result = cfcat(*either.options, "--shutdown", "now", server.address, stdin=REQUEST)
    assert result.status == 52
    assert result.stderr.endswith("\n  hint: --shutdown auto holds our end back until an answer has come\n")


@pytest.mark.parametrize(
    ("sent", "answer"), [(REQUEST, b"x"), (b"question", b""), (b"", b"")], ids=["a byte", "no HTTP", "nothing"]
)
def test_what_is_not_52(plain: Transport, sent: bytes, answer: bytes) -> None:
    """One byte is an answer; and other protocols may have none."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(len(sent))
        conn.send(answer)

    with plain.serve(script) as server:
        assert cfcat(server.address, stdin=sent) == Result(answer, "", 0)


def test_leaving_before_the_answer_is_not_52(plain: Transport) -> None:
    """The server has not ended: -q was asked for."""
    with plain.serve(Peer.recv_until_eof) as server:
        assert cfcat("-q", "0", server.address, stdin=REQUEST) == Result(b"", "", 0)


def test_52_in_the_report(plain: Transport) -> None:
    """The connection ended in order, by the server; the run did not."""
    with plain.serve(lambda conn: conn.recv_until(b"\r\n\r\n")) as server:
        result = cfcat("--json", server.address, stdin=REQUEST)
    assert result.status == 52
    assert '"end": "peer ended", "status": 52, "phase": "session"' in result.stderr


@pytest.mark.parametrize("before", [False, True], ids=["after our end", "before it"])
def test_a_reset_after_our_end_has_a_hint(plain: Transport, before: bool) -> None:
    """It may be why; one that comes while our end is held has another reason: the server may wait for TLS."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(8) if before else conn.recv_until_eof()
        conn.reset()

    with plain.serve(script) as server:
        result = cfcat(server.address, stdin=b"question")
    said = f"cfcat: {server.address}: connection reset by peer while receiving\n"
    assert result == Result(b"", said + (TLS_HINT if before else HINT), 56)


@pytest.mark.parametrize("before", [False, True], ids=["after our end", "before it"])
def test_a_truncation_after_our_end_has_a_hint(tls: Transport, before: bool) -> None:
    """Beside the one that accepts it: redis and others end so when our end comes."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(8) if before else conn.recv_until_eof()
        conn.end()

    with tls.serve(script) as server:
        result = cfcat(*tls.options, server.address, stdin=b"question")
    assert result.status == 18
    more = "" if before else "; --shutdown never keeps our end from the server"
    assert result.stderr.endswith(f"\n  hint: --ignore-unexpected-eof accepts it{more}\n")


# ----------------------------------------------------------------------------------- the end of a script


@pytest.mark.parametrize("http", [False, True], ids=["line", "http"])
def test_the_end_of_a_script_is_held(either: Transport, http: bool) -> None:
    """By the same table: the server answers before it sees our end."""
    text = "GET / HTTP/1.1\n\n" if http else "question\n"
    silence_s = LONG_S if http else 0.4

    def script(conn: Peer) -> None:
        conn.recv_until(b"\r\n\r\n" if http else b"\r\n")
        assert conn.quiet(silence_s)
        conn.send(b"answer")
        conn.recv_until_eof()

    with either.serve(script) as server:
        assert cfcat("--repl", *either.options, server.address, stdin=text.encode()) == Result(b"answer", "", 0)
    assert server.ended == either.end


def test_the_end_of_a_script_now_and_never(plain: Transport) -> None:
    """As in a pipe; :eof is at once, too."""
    with plain.serve(lambda conn: conn.send(b"%d" % len(conn.recv_until_eof()))) as server:
        assert cfcat("--repl", "--shutdown", "now", server.address, stdin=b"GET / HTTP/1.0\n") == Result(b"16", "", 0)
        assert cfcat("--repl", server.address, stdin=b"GET / HTTP/1.0\n:eof\n") == Result(b"16", "", 0)

    def script(conn: Peer) -> None:
        conn.recv_until(b"\n")
        assert conn.quiet(LONG_S)
        conn.send(b"answer")

    with plain.serve(script) as server:
        assert cfcat("--repl", "--shutdown", "never", server.address, stdin=b"a\n") == Result(b"answer", "", 0)


def test_a_script_whose_http_request_is_not_answered(either: Transport) -> None:
    """52, as in a pipe."""
    with either.serve(lambda conn: conn.recv_until(b"\r\n\r\n")) as server:
        result = cfcat("--repl", *either.options, server.address, stdin=b"GET / HTTP/1.0\n\n")
    assert (result.stdout, result.status) == (b"", 52)
    assert "the server ended without an answer to the HTTP request" in result.stderr


def test_a_slow_stdout_of_a_script_is_no_silence(plain: Transport) -> None:
    """What is being shown is not listened to."""
    answer = pattern(16 << 20)
    stuck = threading.Event()

    def script(conn: Peer) -> None:
        conn.recv_until(b"\n")
        sending = threading.Thread(target=conn.send, args=(answer,))
        sending.start()
        assert conn.quiet(LONG_S)
        stuck.set()
        sending.join()

    with plain.serve(script, timeout_s=20) as server, start("--repl", server.address, timeout_s=20) as program:
        program.say(b"question\n")
        program.end_input()
        assert stuck.wait(DEADLINE_S)
        result = finish(program)
    assert result.stdout == answer
    assert result.status == 0


def test_the_transcript_has_our_end_where_it_was_sent(plain: Transport, tmp_path: Path) -> None:
    """Behind the answer, not where stdin ended; an export goes by that."""
    log, worker = tmp_path / "log", tmp_path / "worker.js"

    def script(conn: Peer) -> None:
        conn.recv_exactly(len(REQUEST))
        conn.send(b"answer\r\n")
        conn.recv_until_eof()

    with serve(script) as server:
        result = cfcat("--log", log, "--export", worker, server.address, stdin=REQUEST)
    assert result == Result(b"answer\r\n", "", 0)
    text = log.read_text()
    for before in ("stdin ended: ", "answer"):  # either may be the first: the server answers at once
        places = [text.index(part) for part in ("GET /big", before, "our side ended", "peer ended: ")]
        assert places == sorted(places)
    code = worker.read_text()
    places = [code.index(part) for part in ("server.send(", "server.lines(", "server.end();", "server.rest();")]
    assert places == sorted(places)
