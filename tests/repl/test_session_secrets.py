"""Lines that carry secrets, and the transcript that keeps them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from cfcat.repl.advice import is_loopback
from tests.helpers.peers import Peer, serve
from tests.repl.conftest import echo, greeting, lines_on_demand, opened, refused

LOGIN = ["EHLO me", "AUTH LOGIN", "dXNlcg==", "PASSWORD", "x"]


def challenging(conn: Peer) -> None:
    """Ask for the name and the password after AUTH LOGIN."""
    while line := conn.recv_until(b"\n"):
        conn.send(b"334 VXNlcm5hbWU6\r\n" if line.startswith((b"AUTH", b"dX")) else b"250 ok\r\n")
        if line.endswith(b"x\r\n"):
            return


@pytest.mark.parametrize("answer", [True, False])
async def test_secret_in_clear_text_is_asked_about(answer: bool) -> None:
    """Only to a host that is not this one; a no sends nothing, and the next line is judged as if it had not been."""
    with serve(challenging) as server:
        async with opened(server.address, proto="smtp") as (session, face):
            connection = session.need_connection()
            connection.remote_address = "192.0.2.7:25"
            face.answer = answer
            if answer:
                await session.execute("AUTH PLAIN AGEAYg==")
            else:
                error = await refused(session, "AUTH PLAIN AGEAYg==")
                assert error.message == "not sent: it carries a secret, in clear text to 192.0.2.7:25"
                assert error.hint == ":set clear-secrets on sends it unasked"
                await refused(session, r":send AUTH PLAIN AGEAYg==\r\n")
            assert session.last_was_secret
            assert face.questions[0] == "send a secret to 192.0.2.7:25 in clear text?"
            await session.execute(":set clear-secrets on")
            assert not session.last_was_secret
            asked = len(face.questions)
            await session.execute("AUTH PLAIN AGEAYg==")
            await session.execute("x")
            await face.until_received(b"250 ok")
            assert len(face.questions) == asked
    assert server.received.count(b"AUTH") == (2 if answer else 1)


def test_secret_on_this_machine_is_not_asked_about() -> None:
    """Nobody listens there."""
    for address, ours in {
        "127.0.0.1:25": True,
        "127.8.9.1:25": True,
        "[::1]:25": True,
        "[::ffff:127.0.0.1]:25": True,
        "192.0.2.7:25": False,
        "[2001:db8::7]:25": False,
        "[fe80::1%eth0]:25": False,
        "[::ffff:192.0.2.7]:25": False,
    }.items():
        assert is_loopback(address) is ours, address


async def test_secret_without_a_verb() -> None:
    """What follows AUTH LOGIN is two secrets; a no leaves them such, and what follows the verdict is none."""
    answers = [b"334 name\r\n", b"334 password\r\n", b"235 ok\r\n", b"250 ok\r\n"]
    with serve(lines_on_demand(*answers)) as server:
        async with opened(server.address, proto="smtp") as (session, face):
            session.need_connection().remote_address = "192.0.2.7:25"
            await session.execute("AUTH LOGIN")
            assert face.questions == []
            for asked, line in enumerate(("dXNlcg==", "cGFzcw=="), start=1):
                await session.execute(":expect ^334.*\\n")
                face.answer = False
                error = await refused(session, line)
                assert error.message.startswith("not sent: it carries a secret")
                face.answer = True
                await session.execute(line)
                assert len(face.questions) == 2 * asked
            await session.execute(":expect ^235.*\\n")
            await session.execute("x")
            await session.execute(":expect ^250")
            assert len(face.questions) == 4


async def test_protocol_says_what_is_a_secret() -> None:
    """--proto and :set proto: PASS is a verb of FTP, and of SMTP not."""
    with serve(greeting(b"")) as server:
        async with opened(server.address, proto="ftp") as (session, _):
            await session.execute("PASS x")
            assert session.last_was_secret
            await session.execute(":set proto smtp")
            await session.execute("PASS x")
            assert not session.last_was_secret


async def test_secret_that_is_typed_ahead() -> None:
    """The answers to AUTH LOGIN are known for what they are before anybody has asked for them."""
    with serve(greeting(b"")) as server:
        async with opened(server.address, proto="smtp") as (session, _):
            session.need_connection().remote_address = "192.0.2.7:25"
            await session.execute("AUTH LOGIN")
            assert (await refused(session, "dXNlcg==")).message.startswith("not sent: it carries a secret")


async def test_server_that_refuses_an_exchange_ends_it() -> None:
    """What is typed next is no answer to a challenge any more."""
    with serve(lines_on_demand(b"535 no\r\n")) as server:
        async with opened(server.address, proto="smtp") as (session, face):
            session.need_connection().remote_address = "192.0.2.7:25"
            await session.execute("AUTH LOGIN")
            await session.execute(":expect ^535.*\\n")
            await session.execute("dXNlcg==")
            assert face.questions == []


async def test_sec_r26_a_blank_at_the_beginning_is_no_secret(tmp_path: Path) -> None:
    """Indented JSON, LDIF and mail can be pasted; that it stays out of the history is the history's affair."""
    with serve(greeting(b"")) as server:
        async with opened(server.address, log=str(tmp_path / "log")) as (session, face):
            session.need_connection().remote_address = "192.0.2.7:25"
            await session.execute('  "a": 1,')
            assert not session.last_was_secret
            assert face.questions == []
    assert '  "a": 1,' in (tmp_path / "log").read_text()


async def test_transcript_that_cannot_be_written_to_its_end() -> None:
    """One warning, when it is closed; the session has gone on."""
    with serve(echo) as server:
        async with opened(server.address) as (session, face):
            await session.execute(":log /dev/full")
            await session.execute("x")
            await face.until_received(b"x")
            await session.execute(":log off")
            assert face.notices == ["warning: the log is not complete: no space left on device"]


async def test_transcript(tmp_path: Path) -> None:
    """:log writes from now on, only for its owner, with secrets masked; off ends it; a bad place is one line."""
    path = tmp_path / "log"

    with serve(challenging) as server:
        async with opened(server.address, proto="smtp") as (session, _):
            await session.execute("NOOP")
            await session.execute(":expect ^250")
            await session.execute(f":log {path}")
            for line in LOGIN[:-1]:
                await session.execute(line)
                await session.execute(":expect ^[23].*")
            await session.execute(":send half a ")
            await session.execute(":log off")
            await session.execute(LOGIN[-1])
            await session.execute(":expect ^250")
            error = await refused(session, f":log {tmp_path}")
            assert error.message == f"cannot write {tmp_path}: is a directory"
    text = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "> - EHLO me\\r\\n" in text
    assert "< - 250 ok" in text
    assert "dXNlcg" not in text
    assert "PASSWORD" not in text
    assert text.endswith("> - half a \n")
    assert "NOOP" not in text
    assert "x" not in text.partition("half a")[2]


async def test_transcript_is_whole_when_the_session_is_left(tmp_path: Path) -> None:
    """What was held back for the end of its line is written, too."""
    with serve(greeting(b"")) as server:
        async with opened(server.address, log=str(tmp_path / "log")) as (session, _):
            await session.execute(":send half a line")
    assert (tmp_path / "log").read_text().endswith("> - half a line\n")


# ------------------------------------------------------------------------- SEC-R26: judged as the peer gets it


@pytest.mark.parametrize(
    "lines",
    [
        [":send PASS ", r":send hunter2\r\n"],
        [":eol none", "PASS ", "hunter2"],
        [r":send x\rPASS hunter2\r\n"],
        [":hex 50 41 53 53 20", ":hex 68 75 6e 74 65 72 32 0d 0a"],
        [":send PA", "SS hunter2"],
        [":eol cr", "NOOP", "PASS hunter2"],
    ],
    ids=" ".join,
)
async def test_sec_r26_a_secret_in_pieces_is_asked_about(lines: list[str]) -> None:
    """What counts is the line as the peer gets it, from whatever commands; and the piece is not stored."""
    with serve(greeting(b"")) as server:
        async with opened(server.address, proto="pop3") as (session, face):
            session.need_connection().remote_address = "192.0.2.7:110"
            for line in lines[:-1]:
                await session.execute(line)
                assert not session.last_was_secret
            error = await refused(session, lines[-1])
            assert error.message.startswith("not sent: it carries a secret")
            assert session.last_was_secret
            assert len(face.questions) == 1
    assert b"hunter2" not in server.received


async def test_sec_r26_a_file_with_a_secret_is_asked_about(tmp_path: Path) -> None:
    """Its name may be stored."""
    secret = tmp_path / "pw.txt"
    secret.write_bytes(b"NOOP\r\nPASS hunter2\r\n")
    with serve(greeting(b"")) as server:
        async with opened(server.address, proto="pop3") as (session, face):
            session.need_connection().remote_address = "192.0.2.7:110"
            await refused(session, f":file {secret}")
            assert not session.last_was_secret
            assert len(face.questions) == 1
    assert server.received == b""


@pytest.mark.parametrize(
    "line", ["PASS hunter2", ":sned PASS hunter2", r":send PASS hunter2\q", ":hex 50 4x", "::PASS"]
)
async def test_sec_r26_what_is_not_sent_is_judged_all_the_same(line: str) -> None:
    """Typed after the server has gone, or mistyped: it must not be stored."""
    with serve(lambda conn: conn.send(b"bye\r\n")) as server:
        async with opened(server.address, proto="pop3") as (session, face):
            await face.until_received(b"bye")
            await session.need_connection().over.wait()
            await refused(session, line)
            assert session.last_was_secret is ("PASS " in line)


async def test_sec_r26_a_challenge_outlives_an_error() -> None:
    """The answer is typed when the server has gone, or behind a slip: it is a secret still."""

    def script(conn: Peer) -> None:
        conn.recv_until(b"\n")
        conn.send(b"334 UGFzc3dvcmQ6\r\n")

    with serve(script) as server:
        async with opened(server.address, proto="smtp") as (session, face):
            await session.execute("AUTH PLAIN")
            await face.until_received(b"334")
            await session.need_connection().over.wait()
            await refused(session, ":veiw hex")
            await refused(session, "c2VjcmV0")
            assert session.last_was_secret


async def test_sec_r29_the_answer_to_a_prompt_is_a_secret(tmp_path: Path) -> None:
    """It is not stored, logged or echoed. The line after it is no secret any more."""
    log = tmp_path / "log"

    def script(conn: Peer) -> None:
        conn.send(b"login: ")
        conn.recv_until(b"\n")
        conn.send(b"\xff\xfb\x01Password: ")
        conn.recv_until(b"\n")
        conn.send(b"\r\n$ ")
        conn.recv_until_eof()

    with serve(script) as server:
        async with opened(server.address, proto="none", log=str(log)) as (session, face):
            await face.until_received(b"login: ")
            assert not session.hides_input
            await session.execute("joe")
            await face.until_received(b"Password: ")
            assert session.hides_input
            await session.execute("hunter2")
            assert session.last_was_secret
            assert not session.hides_input
            await face.until_received(b"$ ")
            await session.execute("ls")
            assert not session.last_was_secret
    assert "hunter2" not in log.read_text()
    assert "joe" in log.read_text()
