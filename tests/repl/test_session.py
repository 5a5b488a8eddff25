"""A session with real peers and a face that records: what is sent and shown, and how it ends."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from cfcat.core.options import SocketOptions
from cfcat.errors import CaFileError, ConnectError, LostError
from cfcat.repl.session import PromptState
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, refusing, serve
from tests.repl.conftest import DEADLINE_S, echo, greeting, opened, refused, trusting

CLOSED = "the connection is closed"


# ------------------------------------------------------------------------------------------------ sending


@pytest.mark.parametrize(
    ("lines", "sent"),
    [
        (["hello"], b"hello\r\n"),
        (["", "a", ""], b"\r\na\r\n\r\n"),
        (["::x", "a:b", " :x"], b":x\r\na:b\r\n :x\r\n"),
        ([":lf", "a", ":crlf", "b", ":eol cr", "c", ":eol none", "d", ""], b"a\nb\r\nc\rd"),
        (["ü \x00 \udcff"], "ü \0 ".encode() + b"\xff\r\n"),
        ([r":send a\r\n\x00\\", ":send  b "], b"a\r\n\0\\ b "),
        ([":hex 0d 0A 00ff"], b"\r\n\0\xff"),
        (["# no comment"], b"# no comment\r\n"),
    ],
    ids=["line", "empty lines", "colons", "line endings", "any bytes", "escapes", "hex", "no comments"],
)
async def test_what_is_sent(lines: list[str], sent: bytes) -> None:
    """Text as it is with the line ending; :send and :hex to the byte; settings send nothing. SEC-R25: text is data."""
    with serve(greeting(b"")) as server:
        async with opened(server.address) as (session, _):
            for line in lines:
                await session.execute(line)
            assert session.sent_bytes == len(sent)
        assert server.saw_eof.wait(DEADLINE_S)
        assert server.received == sent


async def test_what_comes_is_shown() -> None:
    """Unprompted, and as an answer."""
    with serve(echo) as server:
        async with opened(server.address) as (session, face):
            await session.execute("hello")
            await face.until_received(b"hello\r\n")
            await face.until(lambda: session.received_bytes == 7)


BAD_LINES = [
    (":strattls", "not a command", "did you mean :starttls?"),
    (":", "a colon without a command", ":help"),
    (":eof now", "takes no argument", ":help eof"),
    (":hex 0x0", "digit too many or too few", ""),
    (r":send \q", "is no escape", ""),
    (":file", "needs PATH", ""),
    (":file -m", "needs PATH", ""),
    (":open nowhere", "no port given", ""),
    (":view upside-down", "does not know", ""),
    (":expect (", "is not a regular expression", ""),
    (":wait soon", "not a number of seconds", ""),
    (":set eol vertical", "does not know", ""),
    (":starttls nothing", "does not know", ""),
    (":tls", "there is no TLS on this connection", ":open --tls on"),
    (":cert", "there is no TLS on this connection", ""),
]


@pytest.mark.parametrize(("line", "text", "hint"), BAD_LINES, ids=lambda value: value)
async def test_bad_line_sends_nothing(line: str, text: str, hint: str) -> None:
    """One line says what is wrong; the session goes on as it was."""
    with serve(echo) as server:
        async with opened(server.address) as (session, face):
            error = await refused(session, line)
            assert text in error.message
            assert "\n" not in error.message
            assert hint in error.hint
            assert session.prompt_state.marks == ()
            await session.execute("x")
            await face.until_received(b"x\r\n")
        assert server.received == b"x\r\n"


# --------------------------------------------------------------------------------------------------- files


async def test_file_is_streamed_at_the_peers_pace(tmp_path: Path) -> None:
    """A file larger than all buffers: a part waits until the peer reads, then all of it is there."""
    size = 32 << 20
    path = tmp_path / "large file"
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(size - 3)
        file.write(b"end")
    reading = threading.Event()

    def script(conn: Peer) -> None:
        conn.wait(reading)
        assert len(conn.recv_exactly(size)) == size
        conn.send(b"thanks")

    with serve(script) as server:
        async with opened(server.address) as (session, face):
            sending = asyncio.create_task(session.execute(f":file {path}"))
            before = -1
            while before != session.sent_bytes or not before:
                before = session.sent_bytes
                await asyncio.sleep(0.1)
            assert before < size / 2
            assert not sending.done()
            reading.set()
            await sending
            assert session.sent_bytes == size
            await face.until_received(b"thanks")
        assert server.received.endswith(b"end")


def open_files() -> int:
    return len(os.listdir("/dev/fd"))


async def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    """Not there, a folder, a name with a NUL: one line each, nothing sent, the session goes on."""
    with serve(echo) as server:
        async with opened(server.address) as (session, face):
            missing = tmp_path / "missing\x1b"
            await session.execute("x")
            await face.until_received(b"x\r\n")  # the server, which is in this process, has its descriptor too
            before = open_files()
            error = await refused(session, f":file {missing}")
            assert error.message == f"cannot read {tmp_path}/missing\\x1b: no such file or directory"
            assert (await refused(session, f":file {tmp_path}")).message.endswith(": is a directory")
            assert "null" in (await refused(session, ":file a\0b")).message
            await session.execute(":file /dev/null")
            assert open_files() == before
            await session.execute("y")
            await face.until_received(b"y\r\n")
        assert server.received == b"x\r\ny\r\n"


# --------------------------------------------------------------------------------------------------- ends


@pytest.mark.parametrize("half_open", [False, True])
async def test_marks_of_the_prompt(half_open: bool) -> None:
    """They are the socket's states: who has ended may still receive, or with --half-open send."""
    ending = threading.Event()

    def script(conn: Peer) -> None:
        conn.wait(ending)
        conn.end()
        conn.recv_until_eof()

    with serve(script) as server:
        async with opened(server.address, allow_half_open=half_open) as (session, face):
            assert session.prompt_state == PromptState(server.address, "", ())
            ending.set()
            await face.until(lambda: session.prompt_state.marks)
            assert session.prompt_state.marks == (("recv-closed",) if half_open else ("closed",))
            if half_open:
                await session.execute("x")
                await session.execute(":eof")
                assert session.prompt_state.marks == ("closed",)
        assert session.is_closed
    assert server.received == (b"x\r\n" if half_open else b"")


@pytest.mark.parametrize("transport", ["off", "on"])
async def test_eof_is_the_end_of_our_side_only(certs: CertSet, transport: str) -> None:
    """T4: FIN in clear text; under TLS close_notify alone, no FIN. Answers still come; sending is refused."""
    answered = threading.Event()

    def script(conn: Peer) -> None:
        if transport == "on":
            conn.start_tls(certs.server_context())
        assert conn.recv_until_eof() == b""
        assert conn.saw_fin.is_set() is (transport == "off")
        conn.send(b"answer")
        conn.wait(answered)

    with serve(script) as server:
        async with opened(server.address, transport, tls=trusting(certs)) as (session, face):
            await session.execute(":eof")
            await face.until_received(b"answer")
            assert session.prompt_state.marks == ("send-closed",)
            error = await refused(session, "x")
            assert error.message == "our side of the connection has ended"
            assert error.hint == ":open begins a new one"
            assert (await refused(session, ":eof")).message == error.message
            answered.set()


async def test_ctrl_d_ends_our_side_and_then_the_session() -> None:
    """First the half-close, then it is over."""
    with serve(Peer.hang) as server:
        async with opened(server.address) as (session, _):
            await session.end()
            assert (session.over, session.prompt_state.marks) == (False, ("send-closed",))
            await session.end()
            assert session.over
    assert server.ended == "eof"


async def test_close_and_open_again() -> None:
    """A new connection with new counters, to the same target; closing twice is refused, sending without one too."""
    with serve(echo) as server:
        async with opened(server.address) as (session, face):
            await session.execute("one")
            await face.until(lambda: session.received_bytes == 5)
            await session.execute(":close")
            assert server.saw_eof.wait(DEADLINE_S)
            assert session.is_closed
            for line in ("x", ":close", ":eof", ":file /dev/null", ":starttls"):
                error = await refused(session, line)
                assert (error.message, error.hint) == (CLOSED, ":open connects again")
            await session.execute(":open")
            assert session.prompt_state.marks == ()
            assert (session.sent_bytes, session.received_bytes) == (0, 0)
            await session.execute("two")
            await face.until_received(b"two")
            assert face.notices == [f"connected to {server.address}"]
    assert [peer.received for peer in server.peers] == [b"one\r\n", b"two\r\n"]


async def test_open_elsewhere_closes_first(certs: CertSet) -> None:
    """Another target, another --tls, the same TLS options; the old connection ends in order."""

    def secure(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        echo(conn)

    with serve(echo) as server, serve(secure) as other:
        async with opened(server.address, tls=trusting(certs)) as (session, face):
            await session.execute(f":open {other.address} --tls on")
            assert server.saw_eof.wait(DEADLINE_S)
            assert session.prompt_state == PromptState(other.address, "tls", ())
            await session.execute("secret")
            await face.until_received(b"secret")
            await session.execute(":open")
            assert session.prompt_state == PromptState(other.address, "tls", ())
    assert other.connections == 2


async def test_open_with_tls_from_a_session_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The system's authorities, and SSLKEYLOGFILE, count as they do for the command line."""
    keys = tmp_path / "missing" / "keys"

    with serve(echo) as server:
        async with opened(server.address) as (session, face):
            monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
            await session.execute(":open --tls starttls")
            assert face.notices[0] == (f"warning: SSLKEYLOGFILE={keys}: no such file or directory: keys are not logged")
            context = session.options.tls
            await session.execute(":open")
            assert context is not None
            assert session.options.tls is context
            monkeypatch.setenv("SSL_CERT_FILE", str(keys))
            await session.execute(":open --tls off")
            session.options = SocketOptions()
            with pytest.raises(CaFileError):
                await session.execute(":open --tls on")
            assert session.is_closed


async def test_open_that_fails_leaves_the_session_closed() -> None:
    """The error is the command's; another :open works."""
    with serve(echo) as server, refusing() as port:
        async with opened(server.address) as (session, _):
            with pytest.raises(ConnectError, match="connection refused"):
                await session.execute(f":open 127.0.0.1:{port}")
            assert session.prompt_state == PromptState(f"127.0.0.1:{port}", "", ("closed",))
            await session.execute(f":open {server.address}")
            assert session.prompt_state.marks == ()


async def test_reset_is_told_once_and_the_session_stays() -> None:
    """What came before it is shown; :open works."""

    def script(conn: Peer) -> None:
        conn.send(b"last words")
        if conn.recv():
            conn.reset()

    with serve(script) as server:
        async with opened(server.address) as (session, face):
            await session.execute("x")
            await face.until(lambda: face.errors)
            assert face.received == b"last words"
            text = f"{server.address}: connection reset by peer while receiving"
            assert [message.text for message in face.errors] == [text]
            assert session.is_closed
            await session.execute(":open")
            assert not session.is_closed


async def test_reset_that_a_command_meets_is_the_commands() -> None:
    """It is raised to who waits for the command, and not told a second time."""

    def script(conn: Peer) -> None:
        conn.recv_exactly(1)
        conn.reset()

    with serve(script) as server:
        async with opened(server.address) as (session, face):
            changes = face.changes
            with pytest.raises(LostError, match="reset"):
                await session.execute("x" * (16 << 20))
            await face.until(lambda: face.changes > changes)
            assert face.errors == []
            assert session.prompt_state.marks == ("closed",)


@pytest.mark.parametrize("ours_first", [True, False])
async def test_both_ends_close_the_connection(ours_first: bool) -> None:
    """Also with --half-open, where the API leaves it open (D1): nothing is left of it."""
    ending = threading.Event()

    def script(conn: Peer) -> None:
        conn.wait(ending)

    with serve(script) as server:
        async with opened(server.address, allow_half_open=True) as (session, face):
            if ours_first:
                await session.execute(":eof")
                ending.set()
            else:
                ending.set()
                await face.until(lambda: session.prompt_state.marks)
                await session.execute(":eof")
            await session.need_connection().socket.closed


async def test_close_tells_of_what_could_not_be_sent() -> None:
    """What was queued is lost with the connection: that is no end in order."""
    closing = threading.Event()

    def script(conn: Peer) -> None:
        conn.wait(closing)
        conn.recv_exactly(1)
        conn.reset()

    with serve(script) as server:
        async with opened(server.address) as (session, _):
            line = asyncio.create_task(session.execute("x" * (16 << 20)))
            await asyncio.sleep(0.05)
            line.cancel()
            close = asyncio.create_task(session.execute(":close"))
            await asyncio.sleep(0.05)
            closing.set()
            with pytest.raises(LostError, match="reset"):
                await close


async def test_peer_that_ends_and_takes_nothing_more_is_given_up() -> None:
    """A line that is being sent does not wait for ever for a peer that has ended."""
    stuck = threading.Event()

    def script(conn: Peer) -> None:
        conn.wait(stuck)
        conn.end()
        conn.hang()

    with serve(script) as server:
        async with opened(server.address) as (session, _):
            line = asyncio.create_task(session.execute("x" * (16 << 20)))
            moved = -1
            while moved != session.moved_bytes or not moved:
                moved = session.moved_bytes
                await asyncio.sleep(0.1)
            stuck.set()
            with pytest.raises(LostError, match="the peer took nothing more for 1 s"):
                await line
            assert session.is_closed
        server.release()


@pytest.mark.parametrize("reads", [True, False], ids=["reads", "does not read"])
async def test_leaving_is_in_order_and_bounded(reads: bool) -> None:
    """What is queued goes out first, unless the peer takes nothing for a second."""

    def script(conn: Peer) -> None:
        if not reads:
            conn.hang()
        conn.recv_until_eof()

    with serve(script) as server:
        async with opened(server.address) as (session, _):
            line = asyncio.create_task(session.execute("x" * (8 << 20)))
            await asyncio.sleep(0)
            line.cancel()
        server.release()
        assert server.saw_end.wait(DEADLINE_S)
    assert (len(server.received) == (8 << 20) + 2) is reads
    assert server.ended == ("eof" if reads else "reset")
