"""A port that is known for TLS, in clear text: the server waits for a ClientHello, and leaves without a word."""

from __future__ import annotations

import pytest

from cfcat.report.notes import silent_note
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, serve
from tests.helpers.program import Result, cfcat

HOST = "127.0.1.93"  # an address of this file's own: the ports are fixed
NOTE = "note: {} sent nothing, and its port is known for TLS: --tls on"


def leave(conn: Peer) -> None:
    conn.recv_until(b"\n")


@pytest.mark.parametrize("arguments", [[], ["-q", "0"], ["--shutdown", "never"]], ids=" ".join)
def test_a_run_without_an_answer_says_so(arguments: list[str]) -> None:
    """One line, and 0: the run did what was asked."""
    with serve(leave, host=HOST, port=6697) as server:
        result = cfcat(*arguments, server.address, stdin=b"NICK me\n")
    assert result == Result(b"", f"cfcat: {NOTE.format(server.address)}\n", 0)


def test_a_script_says_so() -> None:
    """With the hint that its session has."""
    with serve(leave, host=HOST, port=6697) as server:
        result = cfcat("--repl", server.address, stdin=b"NICK me\n")
    note = NOTE.format(server.address).replace("--tls on", ":open --tls on")
    assert (result.stdout, result.status) == (b"", 0)
    assert result.stderr.splitlines().count(f"cfcat: {note}") == 1


def test_one_byte_is_an_answer() -> None:
    """A server that talks there in clear text is left alone."""
    with serve(lambda conn: conn.send(b"x"), host=HOST, port=6697) as server:
        assert cfcat(server.address) == Result(b"x", "", 0)


def test_under_tls_silence_is_nobodys_fault(certs: CertSet) -> None:
    """The handshake was an answer."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context("good"))
        conn.close_notify()
        conn.recv_until_eof()

    with serve(script, host=HOST, port=6697) as server:
        result = cfcat("--tls", "on", "-k", server.address)
    assert "sent nothing" not in result.stderr
    assert result.status == 0


def test_another_port_may_be_silent() -> None:
    """A sink, or a service that does not answer: nothing is strange about that."""
    with serve(Peer.recv_until_eof) as server:
        assert cfcat("--shutdown", "now", server.address, stdin=b"data") == Result(b"", "", 0)


@pytest.mark.parametrize(
    "port", [443, 465, 563, 636, 853, 990, 992, 993, 995, 3269, 5061, 5223, 5671, 6697, 8443, 8883]
)
def test_ports_where_tls_begins_at_once(port: int) -> None:
    """IANA's, and what is usual besides."""
    assert silent_note(f"[2001:db8::7]:{port}") == NOTE.format(f"[2001:db8::7]:{port}")


@pytest.mark.parametrize("port", [25, 80, 110, 143, 389, 587, 5222, 5269, 5432, 6379, 6667, 8080])
def test_ports_of_clear_text(port: int) -> None:
    assert silent_note(f"h:{port}") == ""
