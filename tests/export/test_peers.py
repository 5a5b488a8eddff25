"""Exported Workers in the reference runtime, where a scripted peer sees what they do: ends, order, upgrades."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cfcat.export.worker import worker_module
from cfcat.record.events import Connecting
from cfcat.record.recording import Conversation, PeerEnd, ReceiveStep, SendStep, StartTls, Step
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, serve
from tests.helpers.program import cfcat
from tests.helpers.workerd import serving


def export(tmp_path: Path, *arguments: str, stdin: bytes) -> str:
    """The module of a run that ended well."""
    made = tmp_path / "worker.mjs"
    result = cfcat("--export", str(made), *arguments, stdin=stdin)
    assert result.status == 0, result
    return made.read_text()


def test_pipe_ends_its_side(certs: CertSet, tmp_path: Path) -> None:
    """As the end of stdin did; a peer that answers while it is sent to makes nobody wait for ever."""
    data = bytes(range(256)) * 2000

    def script(conn: Peer) -> None:
        received = conn.recv_until_eof()
        conn.send(received[::-1])

    with serve(script) as server:
        module = export(tmp_path, server.address, stdin=data)
        with serving(module, certs) as worker:
            assert worker.fetch() == (200, data[::-1])
    assert [peer.received for peer in server.peers] == [data] * 2


@pytest.mark.parametrize("lines", [b"question\n", b"question\n:eof\n"])
def test_session_ends_its_side(certs: CertSet, tmp_path: Path, lines: bytes) -> None:
    """By :eof, or as the end of a script."""

    def script(conn: Peer) -> None:
        conn.send(b"answer to " + conn.recv_until_eof())

    with serve(script) as server:
        module = export(tmp_path, "--repl", server.address, stdin=lines)
        with serving(module, certs) as worker:
            assert worker.fetch() == (200, b"answer to question\r\n")


def test_another_reply_ends_the_worker_at_once(certs: CertSet, tmp_path: Path) -> None:
    """Each reply is looked at once, and whole: an older line that would match does not count."""
    answers = iter((b"250 ok\r\n", b"550 no\r\n"))

    def script(conn: Peer) -> None:
        conn.send(b"220 mail ESMTP\r\n")
        conn.recv_until(b"\n")
        conn.send(b"250-mail\r\n250-SIZE\r\n250 HELP\r\n")
        conn.recv_until(b"\n")
        conn.send(next(answers))
        conn.recv_until_eof()

    with serve(script) as server:
        module = export(
            tmp_path, "--repl", server.address, stdin=b":reply 220\nEHLO x\n:reply 250\nMAIL\n:reply 250\n:quit\n"
        )
        with serving(module, certs) as worker:
            status, body = worker.fetch()
    assert (status, body.split(b", not ")[0]) == (502, b'Error: the server says "550 no\\r\\n"')


def test_answers_are_waited_for(certs: CertSet, tmp_path: Path) -> None:
    """Each line is sent when what the session had waited for is there, :expect or not, over several connections."""

    def script(conn: Peer) -> None:
        conn.send(b"220-one\r\n220 ")
        conn.send(b"two\r\n")
        for number in range(3):
            line = conn.recv_until(b"\n")
            conn.send(b"%d " % number + line)
        conn.end()

    lines = ":wait 0.1\nA\n:expect ^0 A\nB\n:wait 0.1\nC\n:expect ^2 C.*\\r\\n\n"
    with serve(script) as server:
        module = export(tmp_path, "--repl", server.address, stdin=f"{lines}:open\n{lines}".encode())
        assert module.count("await server.match(/(?<![^\\n])0 A/);") == 2
        with serving(module, certs) as worker:
            status, body = worker.fetch()
    assert (status, body) == (200, b"220-one\r\n220 two\r\n0 A\r\n1 B\r\n2 C\r\n" * 2)
    assert [peer.received for peer in server.peers] == [b"A\r\nB\r\nC\r\n"] * 4


def test_half_open(certs: CertSet, tmp_path: Path) -> None:
    """What was sent behind the peer's end is sent again, and our end with it."""

    def script(conn: Peer) -> None:
        conn.send(b"go on\n")
        conn.end()
        conn.recv_until_eof()

    with serve(script) as server:
        script_lines = ":expect go on\\n\n:wait\nmore\n:eof\n"
        module = export(tmp_path, "--repl", "--half-open", server.address, stdin=script_lines.encode())
        assert "allowHalfOpen: true" in module
        with serving(module, certs) as worker:
            assert worker.fetch() == (200, b"go on\n")
    assert [peer.received for peer in server.peers] == [b"more\r\n"] * 2


@pytest.mark.parametrize("lenient", [True, False])
def test_end_without_close_notify(certs: CertSet, lenient: bool) -> None:
    """T7: an error, but for what was recorded with --ignore-unexpected-eof."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        conn.send(b"hello\r\n")
        conn.end()

    with serve(script) as server:
        connecting = Connecting(server.address, "on", ignore_unexpected_eof=lenient)
        module = worker_module([Conversation(connecting, [ReceiveStep(bytearray(b"hello\r\n")), PeerEnd()])])
        with serving(module, certs) as worker:
            assert worker.fetch() == ((200, b"hello\r\n") if lenient else (502, b"Error: Network connection lost.\n"))


def upgrading(target: str) -> str:
    """A module that upgrades behind a go-ahead."""
    steps: list[Step] = [
        SendStep([bytearray(b"STARTTLS\r\n")]),
        ReceiveStep(bytearray(b"220 go\r\n")),
        StartTls(),
        SendStep([bytearray(b"PASS "), None, bytearray(b"\r\n")]),
        ReceiveStep(bytearray(b"ok\r\n")),
        PeerEnd(),
    ]
    return worker_module([Conversation(Connecting(target, "starttls"), steps)])


def answering(line: bytes) -> Callable[[Peer], None]:
    """A server that answers the first line with this one, and waits for the end."""

    def script(conn: Peer) -> None:
        conn.recv_until(b"\n")
        conn.send(line)
        conn.recv_until_eof()

    return script


def test_clear_text_behind_the_go_ahead(certs: CertSet) -> None:
    """SEC-R1: no TLS, and no secret; 502 says why."""
    with (
        serve(answering(b"220 go\r\ninjected\r\n")) as server,
        serving(upgrading(server.address), certs, {"SECRET_1": "hunter2"}) as worker,
    ):
        assert worker.fetch() == (502, b"Error: 10 bytes of clear text behind the go-ahead\n")
    assert server.received == b"STARTTLS\r\n"


def test_server_that_refuses(certs: CertSet) -> None:
    """Its answer is not the go-ahead that was recorded: neither TLS nor the secret goes out."""
    with (
        serve(answering(b"454 no\r\n")) as server,
        serving(upgrading(server.address), certs, {"SECRET_1": "hunter2"}) as worker,
    ):
        assert worker.fetch() == (502, b'Error: the server says "454 no\\r\\n", not "220"\n')
    assert server.received == b"STARTTLS\r\n"


def test_server_that_ends_too_early(certs: CertSet) -> None:
    with serve(lambda conn: conn.recv_until(b"\n")) as server:
        with serving(upgrading(server.address), certs, {"SECRET_1": "x"}) as worker:
            assert worker.fetch() == (502, b"Error: the server ended before line 1 of 1\n")


def test_binding_that_is_missing(certs: CertSet) -> None:
    """Nothing is connected to."""
    with serving(upgrading("localhost:9"), certs) as worker:
        assert worker.fetch() == (502, b"Error: the binding SECRET_1 is missing\n")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_upgrade_at_an_address(certs: CertSet, host: str) -> None:
    """S11: the runtime verifies an IPv6 address with its brackets, so it is named without them."""

    def script(conn: Peer) -> None:
        conn.recv_until(b"\n")
        conn.send(b"220 go\r\n")
        conn.start_tls(certs.server_context())
        assert conn.recv_until(b"\n") == b"PASS hunter2\r\n"
        conn.send(b"ok\r\n")

    with serve(script, host=host.strip("[]")) as server:
        module = upgrading(f"{host}:{server.port}")
        with serving(module, certs, {"SECRET_1": "hunter2"}) as worker:
            assert worker.fetch() == (200, b"220 go\r\nok\r\n")
