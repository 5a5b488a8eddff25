"""Commands that wait, and what is cancelled, shown or held back meanwhile."""

from __future__ import annotations

import asyncio
import threading

import pytest

from cfcat.core.options import SocketOptions
from cfcat.repl import actions, memory
from cfcat.repl.session import Session
from cfcat.repl.settings import Settings
from tests.helpers.peers import Peer, blackhole, refusing, serve
from tests.repl.conftest import DEADLINE_S, Recorder, echo, greeting, lines_on_demand, opened, refused


async def test_expect_looks_at_what_came_since_the_last_match() -> None:
    """A match uses up what it matched, and what was before it; it may lie across chunks."""
    with serve(lines_on_demand(b"250-one\r\n25", b"0 two\r\n")) as server:
        async with opened(server.address) as (session, _):
            await session.execute("x")
            await session.execute(":expect ^250-")
            await session.execute("x")
            await session.execute(":expect ^250 two")
            error = await refused(session, ":expect -t 0 ^250")
            assert error.message == ':expect ^250: no match within 0 s; the last line seen is "250 two"'


async def test_expect_names_the_last_line_seen() -> None:
    """Also one without an end; escaped (SEC-R20), and cut; and it says so where nothing came."""
    answers = (b"550 no\x1b[2J\r\n\r\n", b"login: ", b"y" * 1000)
    quoted = ("550 no\\x1b[2J", "login:", "login: " + "y" * (memory.LINE_BYTES - 7))

    with serve(lines_on_demand(*answers)) as server:
        async with opened(server.address) as (session, face):
            assert (await refused(session, ":expect -t 0 x")).message.endswith("; nothing was received")
            for answer, seen in zip(answers, quoted, strict=True):
                await session.execute("x")
                await face.until_received(answer)
                error = await refused(session, ":expect -t 0 never")
                assert error.message.endswith(f'the last line seen is "{seen}"')


async def test_expect_fails_at_once_when_the_peer_ends() -> None:
    """But what came before the end can still be matched."""
    with serve(lambda conn: conn.send(b"421 bye\r\n")) as server:
        async with opened(server.address) as (session, _):
            error = await refused(session, ":expect -t 60 ^220")
            expected = ':expect ^220: the connection ended before a match; the last line seen is "421 bye"'
            assert error.message == expected
            await session.execute(":expect ^421")


def test_memory_is_bounded() -> None:
    """Of more than a MiB without a match the oldest is forgotten."""
    seen = memory.Memory()
    for _ in range(40):
        seen.feed(b"first" + b"x" * 100_000)
    assert len(seen.heard.unmatched) == memory.MEMORY_BYTES
    seen.feed(b"\nlast")
    assert len(seen.last_line) <= memory.LINE_BYTES


async def test_wait_is_over_when_nothing_more_comes() -> None:
    """Each piece prolongs it; the end of the connection ends it."""

    def script(conn: Peer) -> None:
        conn.recv_until(b"\n")
        for _ in range(4):
            assert conn.quiet(0.15)
            conn.send(b".")
        conn.recv_until(b"\n")

    with serve(script) as server:
        async with opened(server.address) as (session, face):
            await session.execute("x")
            await session.execute(":wait 0.5")
            assert face.received == b"...."
            await session.execute("x")
            await asyncio.wait_for(session.execute(":wait 60"), DEADLINE_S)


async def test_wait_gives_up_on_a_peer_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is bounded."""
    monkeypatch.setattr(actions, "LONGEST_NOISE_S", 0.2)

    def script(conn: Peer) -> None:
        while conn.quiet(0.01):
            conn.send(b".")

    with serve(script) as server:
        async with opened(server.address) as (session, _):
            error = await refused(session, ":wait 0.5")
            assert error.message == "the peer did not pause for 0.5 s within 0.7 s"


@pytest.mark.parametrize("line", [":wait 60", ":expect -t 60 never", ":file /dev/zero", ":starttls smtp"])
async def test_cancelled_command_leaves_the_session_as_it_was(line: str) -> None:
    """Ctrl-C: neither what comes nor what is sent later is lost, and no task is left."""
    go = threading.Event()

    def script(conn: Peer) -> None:
        conn.wait(go)
        while data := conn.recv():
            if data.endswith(b"x\r\n"):
                conn.send(b"answer")

    with serve(script) as server:
        async with opened(server.address, "starttls") as (session, face):
            command = asyncio.create_task(session.execute(line))
            await asyncio.sleep(0.05)
            assert not command.done()
            command.cancel()
            with pytest.raises(asyncio.CancelledError):
                await command
            go.set()
            assert session.prompt_state.marks == ()
            await session.execute("x")
            await face.until_received(b"answer")


async def test_cancelled_open_leaves_the_session_closed() -> None:
    """Nothing is left of the attempt; the next one works."""
    with serve(echo) as server, blackhole() as port:
        async with opened(server.address) as (session, _):
            command = asyncio.create_task(session.execute(f":open 127.0.0.1:{port}"))
            await asyncio.to_thread(server.saw_eof.wait, DEADLINE_S)
            command.cancel()
            with pytest.raises(asyncio.CancelledError):
                await command
            assert session.is_closed
            await session.execute(f":open {server.address}")
            assert not session.is_closed


async def test_one_command_at_a_time() -> None:
    """A second line waits for the first."""
    with serve(lines_on_demand(b"1")) as server:
        async with opened(server.address) as (session, face):
            first = asyncio.create_task(session.execute(":expect -t 60 1"))
            second = asyncio.create_task(session.execute("later"))
            await asyncio.sleep(0.05)
            assert session.sent_bytes == 0
            first.cancel()
            await second
            await face.until_received(b"1")


async def test_nothing_is_read_while_nothing_is_shown() -> None:
    """The face that is slow slows the peer: memory is bounded."""
    filled = []
    full = threading.Event()

    def script(conn: Peer) -> None:
        filled.append(conn.fill())
        full.set()

    with serve(script) as server:
        async with opened(server.address) as (session, face):
            face.free.clear()
            await asyncio.to_thread(full.wait, DEADLINE_S)
            assert session.received_bytes == 0
            face.free.set()
            await face.until(lambda: session.is_closed)
            assert len(face.received) == filled[0]


# ------------------------------------------------------------------------------------------------ showing


async def test_settings_are_shown_and_changed() -> None:
    """:set lists them; each way of changing one is told to the face."""
    others = "workers off\nexpand off\nencoding utf-8"
    with serve(greeting(b"")) as server:
        async with opened(server.address) as (session, face):
            await session.execute(":set")
            assert face.notices.pop() == f"view text\neol crlf\nproto auto\nclear-secrets off\n{others}"
            for line in (":view hex", ":lf", ":set proto imap", ":set clear-secrets on"):
                before = face.changes
                await session.execute(line)
                assert face.changes > before
            await session.execute(":set")
            assert face.notices.pop() == f"view hex\neol lf\nproto imap\nclear-secrets on\n{others}"
            assert (session.view, session.eol, session.protocol) == ("hex", "lf", "imap")


async def test_protocol_is_that_of_the_port() -> None:
    """Unless it is set, to another one or to none."""
    with refusing() as port:
        session = Session("h:25", SocketOptions(), Recorder(), Settings())
        assert session.protocol == "smtp"
        session.set("proto", "none")
        assert session.protocol == "none"
        session.target = f"h:{port}"
        session.set("proto", "auto")
        assert session.protocol is None


async def test_info_and_help() -> None:
    """Addresses, state, counters and settings; :help as the parser has it."""
    with serve(echo) as server:
        async with opened(server.address, allow_half_open=True) as (session, face):
            await session.execute("x")
            await face.until(lambda: session.received_bytes == 3)
            await session.execute(":info")
            text = face.notices.pop()
            local = session.need_connection().local_address
            assert f"remote: {server.address}, local: {local}" in text
            assert "state: open; TLS: no" in text
            assert "sent: 3 bytes, received: 3 bytes" in text
            assert "options: --tls off --half-open" in text
            await session.execute(":help wait")
            assert face.notices.pop().startswith(":wait [SECS]")
            assert session.banner == f"connected to {server.address}; :help lists commands, Ctrl-D ends"


async def test_tls_alert_in_clear_text_has_a_hint() -> None:
    """Crossed wires: what is to be typed is said."""

    def script(conn: Peer) -> None:
        conn.recv_until(b"\n")
        conn.send(b"\x15\x03\x01\x00\x02\x02\x46")

    with serve(script) as server:
        async with opened(server.address) as (session, face):
            await session.execute("hello")
            await face.until(lambda: face.errors)
            text = f"{server.address}: the peer answered clear text with a TLS alert"
            assert face.errors == [(text, ":open --tls on")]
