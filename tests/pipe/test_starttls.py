"""`--starttls PROTO`: the options around it, and what holds once TLS is up.

What peers do wrong in the dialog is in `tests.faults.test_starttls`.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from cfcat.protocols import PROTOCOLS
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, serve
from tests.helpers.peers import Script as Play
from tests.helpers.program import Result, cfcat, finish, start
from tests.pipe.tools import DEADLINE_S
from tests.protocols.live import DIALOGS, play, said, start_tls, trusting
from tests.protocols.scripts import SCRIPTS, Script
from tests.report.form import check_form

SHORT_S = 0.5
WARNING = "cfcat: warning: the certificate is not checked (-k): anyone can be at the other end\n"
NOTE = "cfcat: note: --tls starttls stays in clear text here; --starttls PROTO upgrades\n"


@pytest.mark.parametrize("script", [script for script in SCRIPTS if script not in DIALOGS.values()], ids=repr)
def test_every_good_dialog_leads_to_tls(script: Script, certs: CertSet) -> None:
    """SEC-R3: the go-ahead counts, whatever was or was not said before it."""

    def good(conn: Peer) -> None:
        play(conn, script)
        start_tls(conn, script.protocol, certs)
        assert conn.recv_until_eof() == b"question"
        conn.send(b"answer")

    with serve(good) as server:
        result = cfcat(*trusting(script.protocol, certs), server.address, stdin=b"question")
    assert result == Result(b"answer", "", 0)


def test_helo_is_the_name_in_the_dialog(certs: CertSet) -> None:
    """--helo: said to the server, in place of the name of this host."""

    def good(conn: Peer) -> None:
        conn.send(b"220 ready\r\n")
        assert conn.recv_until(b"\n") == b"EHLO [192.0.2.7]\r\n"
        conn.send(b"250 hello\r\n")
        assert conn.recv_until(b"\n") == b"STARTTLS\r\n"
        conn.send(b"220 go\r\n")
        start_tls(conn, "smtp", certs)
        conn.recv_until_eof()

    with serve(good) as server:
        arguments = [*trusting("smtp", certs), "--helo", "[192.0.2.7]", "--shutdown", "now", server.address]
        assert cfcat(*arguments, stdin=b"") == Result(b"", "", 0)


# --------------------------------------------------------------------------------------------------- the options


def test_tls_starttls_alone_stays_in_clear_text_with_one_note() -> None:
    """There is no dialog that it could hold: the user is told, and has his clear text."""

    def script(conn: Peer) -> None:
        conn.send(b"220 hello\r\n")
        conn.recv_until_eof()

    with serve(script) as server:
        assert cfcat("--tls", "starttls", server.address, stdin=b"EHLO\r\n") == Result(b"220 hello\r\n", NOTE, 0)
    assert (server.received, server.ended) == (b"EHLO\r\n", "eof")


def test_tls_starttls_may_be_said_along_with_the_protocol(certs: CertSet) -> None:
    """It is what --starttls means anyway: no note."""

    def script(conn: Peer) -> None:
        play(conn, DIALOGS["smtp"])
        start_tls(conn, "smtp", certs)
        conn.recv_until_eof()

    with serve(script) as server:
        result = cfcat("--tls", "starttls", *trusting("smtp", certs), server.address, stdin=b"QUIT")
    assert result == Result(b"", "", 0)


@pytest.mark.parametrize("name", ["x", "", "SMTP", "smtp ", "redis", "x\x1b[2J"])
def test_unknown_protocol_is_a_usage_error_that_names_the_known(name: str) -> None:
    """2, before anything is connected; what was typed is escaped."""
    with serve(Peer.recv_until_eof) as server:
        result = cfcat("--starttls", name, server.address)
        assert server.connections == 0
    assert (result.stdout, result.status) == (b"", 2)
    _, hint = check_form(result.stderr)
    assert hint == f"one of {', '.join(PROTOCOLS)}"


@pytest.mark.parametrize("tls", ["on", "off"])
def test_starttls_excludes_another_kind_of_tls(tls: str) -> None:
    """2, before anything is connected."""
    with serve(Peer.recv_until_eof) as server:
        result = cfcat("--starttls", "smtp", "--tls", tls, server.address)
        assert server.connections == 0
    assert result == Result(b"", f"cfcat: --starttls excludes --tls {tls}\n", 2)


def test_insecure_upgrade_works_and_warns(certs: CertSet) -> None:
    """-k accepts a certificate that is nobody's, and says so."""

    def script(conn: Peer) -> None:
        play(conn, DIALOGS["smtp"])
        conn.start_tls(certs.server_context("self_signed"))
        assert conn.recv_until_eof() == b"question"
        conn.send(b"answer")

    with serve(script) as server:
        result = cfcat("--starttls", "smtp", "-k", server.address, stdin=b"question")
    assert result == Result(b"answer", WARNING, 0)


@pytest.mark.parametrize("protocol", ["smtp", "xmpp", "mysql", "mssql"])
def test_bad_certificate_after_the_dialog_ends_the_run(protocol: str, certs: CertSet, tmp_path: Path) -> None:
    """Step 4: a handshake that failed is final: 60, an alert to the server, nothing of stdin read or sent."""
    script = DIALOGS[protocol]
    stdin = tmp_path / "stdin"
    stdin.write_bytes(b"secret")

    def serve_wrong_one(conn: Peer) -> None:
        play(conn, script)
        if protocol == "mssql":
            with pytest.raises(ssl.SSLError):
                start_tls(conn, protocol, certs)
        else:
            assert not conn.start_tls(certs.server_context(), may_fail=True)

    with serve(serve_wrong_one) as server, stdin.open("rb") as file:
        result = cfcat("--starttls", protocol, server.address, stdin=file)
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 0
    text, _ = check_form(result.stderr)
    assert (result.stdout, result.status) == (b"", 60)
    assert text.startswith(f"{server.address}: certificate not trusted: ")
    assert (server.received, server.connections) == (said(script), 1)


def test_sni_is_the_name_in_the_certificate_and_in_the_dialog(certs: CertSet) -> None:
    """SEC-R8: --sni is what TLS asks for and verifies, and whom XMPP wants to talk to."""
    script = DIALOGS["xmpp"]
    opening = script.opening.replace(b"server.example", b"localhost")

    def script_(conn: Peer) -> None:
        assert conn.recv_exactly(len(opening)) == opening
        play(conn, script._replace(opening=b""))
        start_tls(conn, "xmpp", certs)
        conn.recv_until_eof()

    with serve(script_) as server:
        assert cfcat(*trusting("xmpp", certs), "--sni", "localhost", server.address) == Result(b"", "", 0)
    assert server.peers[0].sni == "localhost"


# ------------------------------------------------------------------------------------------- the ends, under TLS


def upgraded(certs: CertSet, then: Play) -> Play:
    """Upgrade by the dialog of SMTP; then this."""

    def script(conn: Peer) -> None:
        play(conn, DIALOGS["smtp"])
        start_tls(conn, "smtp", certs)
        then(conn)

    return script


def test_end_of_stdin_is_close_notify_after_an_upgrade_too(certs: CertSet) -> None:
    """No FIN behind it, and the whole of the answer is read."""
    answer = bytes(range(256)) * 4096

    def script(conn: Peer) -> None:
        assert conn.recv_until_eof() == b"question"
        assert conn.ended == "close_notify"
        assert conn.quiet(SHORT_S / 2)
        conn.send(answer)

    with serve(upgraded(certs, script)) as server:
        result = cfcat(*trusting("smtp", certs), server.address, stdin=b"question")
    assert (result.stderr, result.status, len(result.stdout)) == ("", 0, len(answer))
    assert result.stdout == answer


def test_servers_end_after_an_upgrade_ends_the_run(certs: CertSet) -> None:
    """S13, the default: with stdin still open."""

    def script(conn: Peer) -> None:
        conn.send(b"bye")
        conn.close_notify()
        conn.recv_until_eof()

    with serve(upgraded(certs, script)) as server, start(*trusting("smtp", certs), server.address) as program:
        assert program.wait(DEADLINE_S) == 0
        assert finish(program) == Result(b"bye", "", 0)
    assert server.ended == "close_notify"


def test_half_open_after_an_upgrade_keeps_sending(certs: CertSet) -> None:
    """S13: --half-open carries over to the socket under TLS."""

    def script(conn: Peer) -> None:
        conn.send(b"bye")
        conn.close_notify()
        assert conn.recv_until_eof() == b"one more thing"

    options = [*trusting("smtp", certs), "--half-open"]
    with serve(upgraded(certs, script)) as server, start(*options, server.address) as program:
        program.read_until(b"bye")
        program.say(b"one more thing")
        assert finish(program) == Result(b"bye", "", 0)
    assert server.ended == "close_notify"
