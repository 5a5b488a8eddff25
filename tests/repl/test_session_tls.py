"""`:starttls`, `:tls` and `:cert` with real peers: the upgrade in place, and every way in which there is none."""

from __future__ import annotations

import asyncio
import re
import ssl
import threading
from pathlib import Path

import pytest

from cfcat.errors import CertificateError, CommandError, ConnectTimeout, DialogError, InjectionError, TlsError
from cfcat.repl.advice import dialog_lines
from cfcat.repl.session import PromptState
from tests.helpers.certs import CertSet, Kind
from tests.helpers.peers import Peer, Script, serve
from tests.repl.conftest import DEADLINE_S, opened, refused, trusting

GREETING = b"220 mail.example ESMTP\r\n"
DIALOG = ["> EHLO ", "< 250-mail.example\n< 250 STARTTLS", "> STARTTLS", "< 220 go ahead"]


def mail_server(
    certs: CertSet, kind: Kind = "good", answer: bytes = b"220 go ahead\r\n", then: Script | None = None
) -> Script:
    """An SMTP server that speaks first; `then` is what it does after its answer to STARTTLS, instead of TLS."""

    def script(conn: Peer) -> None:
        conn.send(GREETING)
        while line := conn.recv():
            if line == b"STARTTLS\r\n":
                conn.send(answer)
                if then is not None:
                    then(conn)
                    return
                if answer.startswith(b"220") and not conn.start_tls(certs.server_context(kind), may_fail=True):
                    return
            elif line.startswith(b"EHLO"):
                conn.send(b"250-mail.example\r\n250 STARTTLS\r\n" if conn.tls_version is None else b"250 under TLS\r\n")
            else:
                conn.send(b"500 what?\r\n")

    return script


# ------------------------------------------------------------------------------------------------ it works


async def test_upgrade_by_hand(certs: CertSet) -> None:
    """STARTTLS typed, :starttls, and the session goes on under TLS: prompt, facts, chain."""
    with serve(mail_server(certs, "chain")) as server:
        async with opened(server.address, "starttls", tls=trusting(certs)) as (session, face):
            await session.execute("EHLO me")
            await session.execute(":expect ^250 STARTTLS\\r\\n")
            await session.execute("STARTTLS")
            await session.execute(":expect ^220 go ahead\\r\\n")
            assert session.prompt_state == PromptState(server.address, "", ())
            changes = face.changes
            await session.execute(":starttls")
            assert face.changes > changes
            assert session.prompt_state == PromptState(server.address, "tls", ())
            assert session.tls_version == "TLSv1.3"
            assert face.notices == [f"TLS established: TLSv1.3, {cipher(session.need_connection().socket)}"]
            await session.execute("EHLO me")
            await session.execute(":expect ^250 under TLS")
            await session.execute(":tls")
            assert face.notices[-1].startswith("TLSv1.3, ")
            await session.execute(":cert")
            assert re.search(r"(?s)^0 subject: .*^1 subject: .*sha256: [0-9a-f]{64}", face.notices[-1], re.M)
    assert server.received == b"EHLO me\r\nSTARTTLS\r\nEHLO me\r\n"


def cipher(socket: object) -> str:
    return str(socket.tls_info.cipher)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("typed", "greeting", "answer"),
    [
        ("EHLO x", b"220 mail.example ESMTP\r\n", b"250-mail.example\r\n250 STARTTLS\r\n"),
        ("NOOP", b"220-mail.example\r\n220 ESMTP\r\n", b"220 is no go-ahead\r\n"),
    ],
)
async def test_dialog_after_a_line_that_was_sent_before_the_greeting(
    certs: CertSet, typed: str, greeting: bytes, answer: bytes
) -> None:
    """A slow server: the greeting is what came first, and the answer behind it is none of the dialog."""

    def script(conn: Peer) -> None:
        assert conn.recv_until(b"\n").startswith(typed.encode())
        conn.send(greeting + answer)
        for said in (b"250 hello\r\n", b"220 go\r\n"):
            assert conn.recv_until(b"\n")
            conn.send(said)
        conn.start_tls(certs.server_context())
        conn.send(b"under TLS\r\n")
        conn.recv_until_eof()

    with serve(script) as server:
        async with opened(server.address, "starttls", tls=trusting(certs)) as (session, _):
            await session.execute(typed)
            await session.execute(":expect " + answer.decode().splitlines()[-1])
            await session.execute(":starttls smtp")
            await session.execute(":expect under TLS")


async def test_dialog_again_after_one_that_has_read_the_greeting(certs: CertSet) -> None:
    """Refused, it leaves the session in clear text; the next one does not wait for a second greeting."""
    asked = threading.Event()

    def script(conn: Peer) -> None:
        conn.wait(asked)
        conn.send(GREETING)
        for said in (b"250 hello\r\n", b"454 not yet\r\n", b"250 hello\r\n", b"220 go\r\n"):
            assert conn.recv_until(b"\n")
            conn.send(said)
        conn.start_tls(certs.server_context())
        conn.recv_until_eof()

    with serve(script) as server:
        async with opened(server.address, "starttls", tls=trusting(certs)) as (session, _):
            dialog = asyncio.create_task(session.execute(":starttls smtp"))
            await asyncio.sleep(0)
            asked.set()
            with pytest.raises(DialogError, match="454"):
                await dialog
            await session.execute(":starttls smtp")
            assert session.tls_version == "TLSv1.3"


async def test_dialog_says_the_name_of_the_command_line(certs: CertSet) -> None:
    """--helo holds for `:starttls smtp` too."""
    with serve(mail_server(certs)) as server:
        async with opened(server.address, "starttls", tls=trusting(certs), helo="chosen.example") as (session, _):
            await session.execute(":expect ^220 mail")
            await session.execute(":starttls smtp")
    assert server.received == b"EHLO chosen.example\r\nSTARTTLS\r\n"


@pytest.mark.parametrize("typed_before", [False, True])
async def test_upgrade_by_a_dialog(certs: CertSet, typed_before: bool) -> None:
    """In one step, the greeting being read already, whether or not something was typed; the dialog is shown."""
    with serve(mail_server(certs)) as server:
        async with opened(server.address, "starttls", tls=trusting(certs)) as (session, face):
            await face.until_received(GREETING)
            if typed_before:
                await session.execute("NOOP")
                await session.execute(":expect ^500")
            await session.execute(":starttls smtp")
            assert len(face.notices) == len(DIALOG) + 1
            for notice, expected in zip(face.notices, DIALOG, strict=False):
                assert notice.startswith(expected)
            assert face.notices[-1].startswith("TLS established: ")
            assert session.protocol == "smtp"
            await session.execute("PASS is no verb of it")
            assert not session.last_was_secret
            assert b"EHLO" not in face.received
            assert b"go ahead" not in face.received
            await session.execute("EHLO me")
            await session.execute(":expect ^250 under TLS")
            assert session.prompt_state.tls == "tls"


async def test_reader_and_face_may_be_busy_at_the_upgrade(certs: CertSet) -> None:
    """SEC-R10, row 91: a chunk that is being shown when :starttls comes is shown, and nothing is lost or mixed."""
    with serve(mail_server(certs)) as server:
        async with opened(server.address, "starttls", tls=trusting(certs)) as (session, face):
            face.free.clear()
            await face.until(lambda: face.arrived == GREETING)
            upgrade = asyncio.create_task(session.execute(":starttls smtp"))
            await asyncio.sleep(0.05)
            assert not upgrade.done()
            face.free.set()
            await upgrade
            assert face.received == GREETING
            await session.execute("EHLO me")
            await session.execute(":expect ^250 under TLS")
            assert face.received == GREETING + b"250 under TLS\r\n"


async def test_clear_text_answers_nothing_that_is_asked_under_tls(certs: CertSet) -> None:
    """What was said before the upgrade matches no :expect after it."""
    with serve(mail_server(certs)) as server:
        async with opened(server.address, "starttls", tls=trusting(certs)) as (session, face):
            await face.until_received(GREETING)
            await session.execute(":starttls smtp")
            with pytest.raises(CommandError, match="nothing was received"):
                await session.execute(":expect -t 0 .")


async def test_dialog_at_every_opening(certs: CertSet) -> None:
    """`--starttls smtp`: the session begins under TLS, and so it does after :open."""
    with serve(mail_server(certs)) as server:
        async with opened(server.address, "starttls", tls=trusting(certs), starttls="smtp") as (session, face):
            for _ in range(2):
                assert session.prompt_state == PromptState(server.address, "tls", ())
                await session.execute("EHLO me")
                await session.execute(":expect ^250 under TLS")
                await session.execute(":open")
            assert GREETING not in face.received


async def test_dialog_that_fails_at_the_opening(certs: CertSet) -> None:
    """There is no session in clear text then: the connection is dropped."""
    with serve(mail_server(certs, answer=b"454 no\r\n")) as server:
        with pytest.raises(DialogError):
            async with opened(server.address, "starttls", tls=trusting(certs), starttls="smtp"):
                pytest.fail("it opened")
        assert server.saw_end.wait(DEADLINE_S)
    assert server.ended == "reset"


async def test_insecure_is_marked(certs: CertSet) -> None:
    """`tls!` in the prompt, and the facts say that nobody has checked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def secure(conn: Peer) -> None:
        conn.start_tls(certs.server_context("self_signed"))
        conn.recv_until_eof()

    with serve(secure) as server:
        async with opened(server.address, "on", tls=context, insecure=True) as (session, face):
            assert session.prompt_state.tls == "tls!"
            await session.execute(":tls")
            assert "certificate: not verified" in face.notices[-1]


async def test_transcript_marks_tls(certs: CertSet, tmp_path: Path) -> None:
    """Clear text and TLS can be told apart, and the upgrade stands between them."""
    path = tmp_path / "log"

    with serve(mail_server(certs)) as server:
        async with opened(server.address, "starttls", tls=trusting(certs), log=str(path)) as (session, face):
            await face.until_received(GREETING)
            await session.execute(":starttls smtp")
            await session.execute("EHLO me")
            await session.execute(":expect ^250 under TLS.*\\n")
    lines = [line.partition(" ")[2] for line in path.read_text().splitlines()]
    assert lines[1].startswith("* - connecting to 127.0.0.1:")
    assert lines[1].endswith(" --tls starttls")
    assert lines[2].startswith("* - connected to 127.0.0.1:")
    assert lines[3] == r"< - 220 mail.example ESMTP\r\n"
    assert r"> - STARTTLS\r\n" in lines
    established = next(number for number, line in enumerate(lines) if line.startswith("* - TLS established: TLSv1.3"))
    assert lines[established].endswith(", by the dialog of smtp")
    assert lines[established + 1 : established + 3] == [r"> T EHLO me\r\n", r"< T 250 under TLS\r\n"]


# --------------------------------------------------------------------------------------------- it does not


async def test_upgrade_needs_the_option(certs: CertSet) -> None:
    """Without --tls starttls: what to type, here and on the command line; nothing is sent, the session goes on."""
    with serve(mail_server(certs)) as server:
        async with opened(server.address) as (session, _):
            for line in (":starttls", ":starttls smtp"):
                with pytest.raises(CommandError) as caught:
                    await session.execute(line)
                assert caught.value.message == "the connection was opened with --tls off, so it cannot be upgraded"
                assert caught.value.hint == (
                    "reconnect with :open --tls starttls (on the command line: cfcat --tls starttls)"
                )
            await session.execute("NOOP")
            await session.execute(":expect ^500")
    assert server.received == b"NOOP\r\n"


async def test_upgrade_happens_once(certs: CertSet) -> None:
    """A second one, and one on a connection that began with TLS: one line, the session goes on."""

    def secure(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        conn.send(conn.recv())

    with serve(mail_server(certs)) as server, serve(secure) as other:
        async with opened(server.address, "starttls", tls=trusting(certs)) as (session, _):
            await session.execute(":starttls smtp")
            for line in (":starttls", ":starttls smtp"):
                with pytest.raises(CommandError, match="TLS is up already; a connection is upgraded once"):
                    await session.execute(line)
            await session.execute("EHLO me")
            await session.execute(":expect ^250 under TLS")
            await session.execute(f":open {other.address} --tls on")
            with pytest.raises(CommandError, match="opened with --tls on: TLS is up already"):
                await session.execute(":starttls")
            await session.execute("x")
            await session.execute(":expect x")


@pytest.mark.parametrize("line", [":starttls", ":starttls smtp"])
async def test_upgrade_after_an_end(certs: CertSet, line: str) -> None:
    """Ours, the peer's or both: nobody to start TLS with."""
    ending = threading.Event()

    def script(conn: Peer) -> None:
        conn.wait(ending)

    with serve(script) as server:
        async with opened(server.address, "starttls", tls=trusting(certs), allow_half_open=True) as (session, face):
            await session.execute(":eof")
            with pytest.raises(CommandError, match="our side of the connection has ended"):
                await session.execute(line)
            await session.execute(":open")
            ending.set()
            await face.until(lambda: session.prompt_state.marks)
            with pytest.raises(CommandError, match="the peer has ended"):
                await session.execute(line)


@pytest.mark.parametrize("by_hand", [True, False])
async def test_refusal_leaves_clear_text(certs: CertSet, by_hand: bool) -> None:
    """SEC-R2, row 82: what the server said is quoted; no ClientHello, and the session goes on in clear text."""
    with serve(mail_server(certs, answer=b"454 not \x1b[31mnow\r\n")) as server:
        async with opened(server.address, "starttls", tls=trusting(certs)) as (session, face):
            await face.until_received(GREETING)
            if by_hand:
                await session.execute("STARTTLS")
                await session.execute(":expect ^454.*\\n")
            with pytest.raises(DialogError) as caught:
                await session.execute(":starttls" if by_hand else ":starttls smtp")
            assert session.explain(caught.value).text.endswith('; it said "454 not \\x1b[31mnow"')
            assert session.prompt_state == PromptState(server.address, "", ())
            await session.execute("NOOP")
            await session.execute(":expect ^500")
    assert b"\x16" not in server.received


async def test_upgrade_before_the_answer(certs: CertSet) -> None:
    """Too early: nothing happens, and it works once the answer is there."""
    answering = threading.Event()

    def wait(conn: Peer) -> None:
        conn.wait(answering)
        conn.send(b"220 go ahead\r\n")
        conn.start_tls(certs.server_context())
        conn.send(conn.recv())

    with serve(mail_server(certs, answer=b"", then=wait)) as server:
        async with opened(server.address, "starttls", tls=trusting(certs)) as (session, face):
            await face.until_received(GREETING)
            await session.execute("STARTTLS")
            with pytest.raises(DialogError, match="no answer to STARTTLS yet"):
                await session.execute(":starttls")
            answering.set()
            await session.execute(":expect ^220 go ahead\\r\\n")
            await session.execute(":starttls")
            await session.execute("x")
            await session.execute(":expect x")


@pytest.mark.parametrize("way", ["shown", "unread", "dialog"])
async def test_injected_clear_text_ends_the_connection(certs: CertSet, way: str) -> None:
    """SEC-R1, SEC-R6: bytes behind the go-ahead, seen or not yet read: so many of them, no ClientHello, [closed]."""
    sent = threading.Event()

    def inject(conn: Peer) -> None:
        conn.send(b"220 go ahead\r\nINJECTED")
        sent.set()
        assert conn.recv_until_eof() == b""

    with serve(mail_server(certs, answer=b"", then=inject)) as server:
        async with opened(server.address, "starttls", tls=trusting(certs)) as (session, face):
            await face.until_received(GREETING)
            if way != "dialog":
                await session.execute("STARTTLS")
                await session.execute(":expect INJECTED")
            if way == "unread":  # as if there were no request that is known
                session.need_connection().memory.asked = b""
                session.need_connection().memory.answer = b""
                session.need_connection().socket.readable._returned.extend(b"INJECTED")
            with pytest.raises(InjectionError, match="8 bytes"):
                await session.execute(":starttls smtp" if way == "dialog" else ":starttls")
            assert session.prompt_state == PromptState(server.address, "", ("closed",))
            with pytest.raises(CommandError, match="the connection is closed"):
                await session.execute("x")
    assert b"\x16" not in server.received


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("untrusted", "it was issued by"),
        ("expired", "it expired on 2020-01-02"),
        ("wrong_host", "it is for other.test"),
    ],
)
async def test_wrong_certificate_ends_the_connection(certs: CertSet, kind: Kind, text: str) -> None:
    """Nothing is sent to whoever it is; :open begins again."""
    with serve(mail_server(certs, kind)) as server:
        async with opened(server.address, "starttls", tls=trusting(certs)) as (session, face):
            await face.until_received(GREETING)
            with pytest.raises(CertificateError) as caught:
                await session.execute(":starttls smtp")
            assert f"certificate not trusted: {text}" in session.explain(caught.value).text
            assert session.prompt_state == PromptState(server.address, "", ("closed",))
            assert face.errors == []
            await session.execute(":open")
            assert session.prompt_state == PromptState(server.address, "", ())


async def test_server_that_goes_on_in_clear_text(certs: CertSet) -> None:
    """Row 83: it agreed, and then speaks no TLS; what it says is quoted."""

    def go_on(conn: Peer) -> None:
        conn.recv_exactly(1)  # the ClientHello has begun
        conn.send(b"500 unknown command\r\n")

    with serve(mail_server(certs, then=go_on)) as server:
        async with opened(server.address, "starttls", tls=trusting(certs)) as (session, face):
            await face.until_received(GREETING)
            with pytest.raises(TlsError) as caught:
                await session.execute(":starttls smtp")
            message = session.explain(caught.value)
            assert message.text.endswith('it said "500 unknown command"')
            assert ":starttls PROTO asks first" in message.hint
            assert session.prompt_state == PromptState(server.address, "", ("closed",))


async def test_wrong_wires_have_a_hint_that_can_be_typed(certs: CertSet) -> None:
    """TLS to a port that speaks first in clear text: the protocol that it speaks, and how to upgrade it."""
    with serve(lambda conn: conn.send(GREETING)) as server:
        async with opened(server.address, tls=trusting(certs)) as (session, _):
            with pytest.raises(TlsError) as caught:
                await session.execute(":open --tls on")
            message = session.explain(caught.value)
            assert message.text.endswith('peer does not speak TLS; it said "220 mail.example ESMTP"')
            assert message.hint == ":open --starttls smtp"


@pytest.mark.parametrize("part", ["the SMTP dialog", "the TLS handshake"])
async def test_upgrade_has_the_deadline_of_a_connection(certs: CertSet, part: str) -> None:
    """SEC-R7: a dialog that does not end leaves clear text, a handshake that does not ends the connection."""
    in_dialog = part == "the SMTP dialog"

    server_script = mail_server(certs, answer=b"" if in_dialog else b"220 go ahead\r\n", then=Peer.recv_until_eof)
    with serve(server_script) as server:
        options = {"tls": trusting(certs), "connect_timeout": 0.3}
        async with opened(server.address, "starttls", **options) as (session, face):
            await face.until_received(GREETING)
            with pytest.raises(ConnectTimeout, match=f"{part} was not complete after 0.3 s"):
                await session.execute(":starttls smtp")
            assert session.prompt_state.marks == (() if in_dialog else ("closed",))


async def test_bytes_behind_the_end_of_tls_are_not_shown(certs: CertSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC-R9: what comes in clear text behind close_notify is counted, and nothing else."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        conn.recv_exactly(1)
        held: list[bytes] = []
        with monkeypatch.context() as patch:  # all in one segment
            patch.setattr(conn, "_send_wire", held.append)
            conn.send(b"answer")
            conn.close_notify()
        conn.send_raw(b"".join(held) + b"plain")
        conn.recv_until_eof()

    with serve(script) as server:
        async with opened(server.address, "on", tls=trusting(certs)) as (session, face):
            await session.execute("x")
            await face.until(lambda: session.is_closed)
            await face.until(lambda: face.notices)
            assert face.received == b"answer"
            assert face.notices == ["warning: 5 bytes behind the peer's end of TLS ignored"]


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"250-a\r\n250 b\r\n", ["250-a", "250 b"]),
        (b"S", ["S"]),
        (b"\x30\x0c\n\xff", ["0\\x0c\\x0a\\xff"]),
        (b"a\x1bb\r\n", ["a\\x1bb\\x0d\\x0a"]),
        ("gr\u00fc\u00df\n".encode(), ["gr\u00fc\u00df"]),
    ],
    ids=["lines", "letter", "binary", "escape", "text"],
)
def test_dialog_is_shown_in_lines(data: bytes, lines: list[str]) -> None:
    """SEC-R20: escaped; what is not text has no lines."""
    assert dialog_lines(data) == lines


async def test_open_with_the_options_of_the_command_line(certs: CertSet) -> None:
    """What a hint names works: another authority, another name, no check at all, and a dialog."""

    def script(conn: Peer) -> None:
        if conn.start_tls(certs.server_context("good"), may_fail=True):
            conn.send(b"hello")
            conn.recv_until_eof()

    with serve(script) as server:
        async with opened(server.address) as (session, face):
            error = await refused(session, f":open {server.address} -k")
            assert error.message == "there is no TLS that this would be about"
            with pytest.raises(CertificateError) as caught:
                await session.execute(f":open {server.address} --tls on")
            assert session.explain(caught.value).hint.startswith(":open --cacert FILE trusts another authority")
            await session.execute(f":open --cacert {certs.ca}")
            await face.until_received(b"hello")
            assert session.prompt_state.tls == "tls"
            with pytest.raises(CertificateError):
                await session.execute(":open --sni other.example")
            await session.execute(":open -k")
            assert session.prompt_state.tls == "tls!"
            assert any("not checked" in notice for notice in face.notices)
