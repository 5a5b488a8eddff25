"""`--replay` and `replay()`: what is the same, what is a difference, and what is damaged."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from cfcat import DifferenceError, OptionsError, Socket, TlsError, TranscriptError, connect, listen, replay
from tests.helpers.peers import Peer, serve
from tests.helpers.program import Result, cfcat, start

TIME = "2026-11-23T15:04:05.123Z"
BEGIN = ("* - the client's transcript of h:25", "* - connecting to h:25", "* - connected to 127.0.0.1:25")
TALK = (r"< - 220 h\r\n", r"> - NOOP\r\n", r"< - 250 ok\r\n", r"> - QUIT\r\n", r"< - 221 bye\r\n")
END = ("* - peer ended: 24 bytes received",)


def recording(folder: Path, *entries: str, name: str = "talk.log") -> Path:
    path = folder / name
    path.write_text("".join(f"{TIME} {entry}\n" for entry in entries))
    return path


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    return recording(tmp_path, *BEGIN, *TALK, *END)


# ---- the library


@contextlib.asynccontextmanager
async def client(address: str) -> AsyncIterator[Socket]:
    async with connect(address) as socket:
        yield socket


async def test_a_client_that_does_the_same(talk: Path) -> None:
    """Any number of them, at a time; in any chunks."""
    async with replay(talk) as address:
        assert re.fullmatch(r"127\.0\.0\.1:\d+", address)
        for _ in range(2):
            async with client(address) as one, client(address) as two:
                for socket in (one, two):
                    reader, writer = socket.readable.get_reader(), socket.writable.get_writer()
                    assert await reader.read_until() == b"220 h\r\n"
                    for byte in b"NOOP\r\nQUIT\r\n":
                        await writer.write(bytes([byte]))
                    assert await reader.read_until() == b"250 ok\r\n"
                    assert await reader.read_until() == b"221 bye\r\n"
                    assert await reader.read() == b""


async def say(
    said: bytes,
    transcript: Path,
    *,
    wait: float = 10,
    ignore: Sequence[str | bytes] = (),
    last: Exception | None = None,
) -> None:
    """Say this to a replay, and hear it to its end. Raises what that raises; `last` within its block."""
    async with replay(transcript, wait=wait, ignore=ignore) as address, connect(address) as conn:
        await conn.writable.get_writer().write(said)
        with contextlib.suppress(OSError):
            async for _ in conn.readable:
                pass
        conn.abort()
        if last is not None:
            raise last


async def come_and_go(transcript: Path) -> None:
    async with replay(transcript) as address, connect(address):
        pass


async def test_a_client_that_says_something_else(talk: Path) -> None:
    """It is raised when the block is left, with what was to come; the client is cut off."""
    with pytest.raises(DifferenceError) as caught:
        await say(b"HELO me\r\n", talk)
    assert caught.value.message == "not as in talk.log, line 5: the client said something else"
    assert caught.value.diff.splitlines() == [r"  > 220 h\r\n", r"- < NOOP\r\n", r"+ < HELO me\r\n"]
    assert caught.value.client.startswith("127.0.0.1:")


async def test_what_the_block_raises_has_the_difference_for_a_note(talk: Path) -> None:
    """A client that fails because of it hides it otherwise."""
    with pytest.raises(ValueError, match="mine") as caught:
        await say(b"HELO me\r\n", talk, last=ValueError("mine"))
    assert "not as in talk.log, line 5" in caught.value.__notes__[0]


async def test_a_client_that_ends_early_or_says_nothing(talk: Path) -> None:
    """By the end of what it says, or after `wait`."""
    with pytest.raises(DifferenceError, match=r"line 5: the client (ended|was gone)"):
        await come_and_go(talk)
    began = time.monotonic()
    with pytest.raises(DifferenceError, match=r"line 5: the client said nothing more within 0\.3 s"):
        await say(b"NO", talk, wait=0.3)
    assert time.monotonic() - began < 5


async def test_a_client_that_says_more(talk: Path) -> None:
    """Behind all that was recorded."""
    with pytest.raises(DifferenceError, match=r"behind the end of talk\.log: the client said more"):
        await say(b"NOOP\r\nQUIT\r\nNOOP\r\n", talk)


async def test_what_may_differ(talk: Path) -> None:
    """In any case of letters, with a pattern that a search has to repeat."""
    async with replay(talk, ignore=[r"(?i)^(?:no+p)+", b"QUIT"]) as address, connect(address) as socket:
        await socket.writable.get_writer().write(b"noop\r\n\r\n")
        assert [chunk async for chunk in socket.readable][-1].endswith(b"221 bye\r\n")
    with pytest.raises(OptionsError, match="ignore"):
        async with replay(talk, ignore=["("]):
            pass


async def test_tls_at_the_first_byte_with_a_certificate_of_its_own(tmp_path: Path) -> None:
    """For localhost; a client that does not trust it is told of."""
    log = recording(
        tmp_path, BEGIN[0], "* - connecting to h:1 --tls on", "* - connected to 127.0.0.1:1", "> T a", "< T b"
    )
    authority = tmp_path / "ca.pem"
    async with replay(log, ca_out=authority) as address:
        context = ssl.create_default_context(cafile=authority)
        port = address.rpartition(":")[2]
        async with connect(f"localhost:{port}", secure_transport="on", tls=context) as socket:
            await socket.writable.get_writer().write(b"a")
            assert await socket.readable.get_reader().read() == b"b"
    with pytest.raises(TlsError):
        await distrust(log)


async def distrust(transcript: Path) -> None:
    """A client without the authority comes."""
    async with replay(transcript) as address:
        stranger = connect(address, secure_transport="on")
        with contextlib.suppress(TlsError):
            await stranger.opened


async def test_more_than_a_socket_takes_at_a_time_both_ways(tmp_path: Path) -> None:
    """Neither side waits for the other to read: 2 MiB, echoed while they come."""
    line = "x" * 65535
    talk = [entry for _ in range(32) for entry in (rf"> - {line}\n", rf"< - {line}\n")]
    log = recording(tmp_path, *BEGIN, *talk, *END)
    data = (line.encode() + b"\n") * 32
    async with replay(log) as address, connect(address) as socket:
        writing = asyncio.ensure_future(_write(socket, data))
        assert b"".join([chunk async for chunk in socket.readable]) == data
        await writing


async def _write(socket: Socket, data: bytes) -> None:
    await socket.writable.get_writer().write(data)


# ---- the program, as the client


def run_against(log: Path, *flags: str, answers: tuple[bytes, ...], ends: bool = True) -> Result:
    """Against a server that says each of these, the later ones when something has come."""

    def script(conn: Peer) -> None:
        conn.send(answers[0])
        for answer in answers[1:]:
            conn.recv_until(b"\n")
            conn.send(answer)
        if not ends:
            conn.recv_until_eof()

    with serve(script, timeout_s=20) as server:
        return cfcat("--replay", log, *flags, server.address)


SAME = (b"220 h\r\n", b"250 ok\r\n", b"221 bye\r\n")


def test_a_server_that_does_the_same(talk: Path) -> None:
    """Status 0, and nothing is said."""
    assert run_against(talk, answers=SAME) == Result(b"", "", 0)


@pytest.mark.parametrize(
    ("answers", "why", "diff"),
    [
        ((b"220 h\r\n", b"500 no\r\n"), "line 6: the server said something else", ["- < 250 ok", "+ < 500 no"]),
        ((*SAME[:2], b"221 bye\r\nmore"), "line 9: the server said more", ["+ < more"]),
        ((b"220 h\r\n", b"250 o"), "line 6: the server ended", ["- < 250 ok", "+ < 250 o"]),
    ],
)
def test_a_server_that_does_something_else(talk: Path, answers: tuple[bytes, ...], why: str, diff: list[str]) -> None:
    """Status 1, the line of the transcript, and a small diff."""
    result = run_against(talk, answers=answers)
    assert (result.stdout, result.status) == (b"", 1)
    first, *more = result.stderr.splitlines()
    assert first.endswith(f": not as in talk.log, {why}")
    found = iter(more)
    assert all(any(line.strip().startswith(each) for line in found) for each in diff), more


def test_what_does_not_come_in_time(talk: Path) -> None:
    """-w: an answer, or the end."""
    result = run_against(talk, "-w", "0.3", answers=SAME[:2], ends=False)
    assert result.status == 1
    assert "line 8: the server said nothing more within 0.3 s" in result.stderr
    result = run_against(talk, "-w", "0.3", answers=SAME, ends=False)
    assert result.status == 1
    assert "line 9: the server did not end within 0.3 s" in result.stderr


def test_json_has_the_difference(talk: Path) -> None:
    """In the message, with its status."""
    result = run_against(talk, "--json", answers=(b"554 no\r\n",))
    report = json.loads(result.stderr)
    assert (report["mode"], report["status"]) == ("replay", 1)
    assert "- < 220 h" in report["message"]


def test_a_replay_keeps_a_transcript_that_is_replayed(talk: Path, tmp_path: Path) -> None:
    """Of either side, the same again."""
    ours = tmp_path / "ours.log"
    assert run_against(talk, "--log", str(ours), answers=SAME).status == 0
    assert "the client's transcript of" in ours.read_text()
    assert run_against(ours, answers=SAME).status == 0
    theirs = tmp_path / "theirs.log"
    with start("-l", "0", "--replay", ours, "--log", theirs) as server:
        said = server.read_stderr_until("listening on ") + server.read_stderr_until("\n")
        address = said.split()[-1]
        assert cfcat("--replay", ours, address).status == 0
        assert server.wait(20) == 0
    assert "the server's transcript of" in theirs.read_text()
    assert run_against(theirs, answers=SAME).status == 0


def test_nobody_comes(talk: Path) -> None:
    """The deadline of -l, where it is given."""
    result = cfcat("-l", "0", "--replay", talk, "--connect-timeout", "0.3")
    assert result.status == 28
    assert "no client came within 0.3 s" in result.stderr


def test_ends_are_as_they_were(tmp_path: Path) -> None:
    """A reset is a reset."""
    number = "#1 "
    lines = (
        "* - the client is 127.0.0.1:1, on 127.0.0.1:2",
        "* - connecting to h:25 --half-open",
        "* - connected to 127.0.0.1:25 from 127.0.0.1:3 in 0.1 ms",
        r"< - 220 h\r\n",
        r"> - QUIT\r\n",
        "* - the server reset the connection: reset",
    )
    log = tmp_path / "tap.log"
    log.write_text("".join(f"{number}{TIME} {line}\n" for line in lines))
    with start("-l", "0", "--replay", log) as server:
        said = server.read_stderr_until("listening on ") + server.read_stderr_until("\n")
        host, port = said.split()[-1].split(":")
        with socket.create_connection((host, int(port)), 20) as sock:
            assert sock.recv(100) == b"220 h\r\n"
            sock.sendall(b"QUIT\r\n")
            with pytest.raises(ConnectionResetError):
                sock.recv(100)
        assert server.wait(20) == 0


# ---- what is damaged, or makes no sense


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "there is no connection in it, from its beginning on"),
        (b"\xff\xfe\x00", "line 1: not an entry of a transcript"),
        (b"x" * 5_000_000, "line 1: not an entry of a transcript: it is too long"),
        (f"{TIME} * - connecting to h:25\n{TIME} > - \\q\n".encode(), "line 2: unknown escape q behind a backslash"),
        (f"{TIME} > - \x1b[2J\n\x1b[2J".encode(), "line 2: not an entry of a transcript"),
    ],
)
def test_a_damaged_transcript(tmp_path: Path, content: bytes, message: str) -> None:
    """Status 2 with the line, before anything is connected; nothing of it goes to the terminal."""
    log = tmp_path / "bad.log"
    log.write_bytes(content)
    result = cfcat("--replay", log, "localhost:1")
    assert result.status == 2
    assert result.stderr == f"cfcat: {log}: {message}\n"


def test_a_transcript_that_is_not_there(tmp_path: Path) -> None:
    """Nor a folder is one."""
    for path, why in ((tmp_path / "none", "no such file or directory"), (tmp_path, "is a directory")):
        assert cfcat("--replay", path, "localhost:1") == Result(b"", f"cfcat: cannot read {path}: {why}\n", 2)


async def test_the_library_raises_the_same(tmp_path: Path) -> None:
    """As an error of its own."""
    with pytest.raises(TranscriptError, match="no such file"):
        async with replay(tmp_path / "none"):
            pass


def test_secrets_that_would_have_to_be_sent(tmp_path: Path) -> None:
    """Before anything is connected; the server's side takes anything in their place."""
    log = recording(tmp_path, *BEGIN, r"> - PASS ****\r\n", r"< - 230 in\r\n", *END)
    result = cfcat("--replay", log, "localhost:1")
    assert result.status == 2
    assert f"{log}: line 4: a secret is masked here (****), and would have to be sent" in result.stderr
    assert "--log-secrets" in result.stderr
    with start("-l", "0", "--replay", log) as server:
        said = server.read_stderr_until("listening on ") + server.read_stderr_until("\n")
        assert cfcat(said.split()[-1], stdin=b"PASS hunter2\r\n").stdout == b"230 in\r\n"
        assert server.wait(20) == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--ignore", "x", "h:1"), "--ignore needs --replay"),
        (("--connection", "1", "h:1"), "--connection needs --replay"),
        (("--replay", "F", "--tls", "on", "h:1"), "--replay has TLS where the transcript has it: --tls has no meaning"),
        (("--replay", "F", "--crlf", "h:1"), "reads no standard input and has no session"),
        (("--replay", "F", "--keep", "h:1"), "--keep needs -l"),
        (("-l", "0", "--replay", "F", "-k"), "-l --replay plays the server: --insecure has no meaning"),
        (("--replay", "F", "--ignore", "(", "h:1"), "--ignore: '(' is not a regular expression"),
        (("--replay", "F", "--connection", "0", "h:1"), "connection"),
    ],
)
def test_options_that_do_not_go_together(flags: tuple[str, ...], message: str) -> None:
    """Status 2."""
    result = cfcat(*flags)
    assert result.status == 2
    assert message in result.stderr


async def test_a_pattern_that_never_ends_is_given_up(tmp_path: Path) -> None:
    """A search is cut off by the same deadline, and the line is a difference."""
    log = recording(tmp_path, *BEGIN, rf"> - {'a' * 40}b\n")
    with pytest.raises(DifferenceError, match="line 4"):
        await say(b"a" * 40 + b"c\n", log, ignore=[r"(a+)+$"], wait=0.5)


async def test_nothing_is_left_open(talk: Path) -> None:
    """Neither a listener nor a connection."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with contextlib.suppress(DifferenceError):
            async with replay(talk) as address, connect(address):
                pass
    assert len(os.listdir("/proc/self/fd")) <= before + 1
    async with listen(address):
        pass


async def test_names_that_no_certificate_can_have_are_left_out(tmp_path: Path) -> None:
    """Whatever a client has asked for, or a transcript says that it has."""
    number, host = "#1 ", "a" * 70
    lines = (
        "* - the client is 127.0.0.1:1, on 127.0.0.1:2",
        "* - connecting to h:25 --half-open",
        "* - connected to 127.0.0.1:25 from 127.0.0.1:3 in 0.1 ms",
        f"* - TLS with the client: TLSv1.3, X, for {host}, ALPN {'a,' * 300}",
        "< T hello",
        "* - the server ended (close_notify)",
    )
    log, authority = tmp_path / "tap.log", tmp_path / "ca.pem"
    log.write_text("".join(f"{number}{TIME} {line}\n" for line in lines))
    async with replay(log, ca_out=authority) as address:
        context = ssl.create_default_context(cafile=authority)
        async with connect(address, secure_transport="on", tls=context) as conn:
            assert await conn.readable.get_reader().read() == b"hello"
