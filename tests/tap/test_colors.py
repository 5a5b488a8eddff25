"""The tap on a terminal: the client's lines and the server's are told apart at a glance."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, serve
from tests.helpers.terminal import Terminal, terminal
from tests.tap.sides import Side

pytestmark = pytest.mark.one_python

# Colour, bold, dim.
SERVER = ("default", False, False)
CLIENT = ("magenta", False, False)
NOTICE = ("default", False, True)
TLS = ("green", True, False)


@contextmanager
def talk(certs: CertSet, folder: Path, *flags: str, env: dict[str, str] | None = None) -> Iterator[Terminal]:
    """A client and a server have greeted each other under TLS, through a tap on this terminal."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        conn.send(b"from the server\n")
        conn.recv_until_eof()

    authority = folder / "ca.pem"
    trust = ("--cacert", certs.ca, "--ca-out", authority)
    with (
        serve(script) as server,
        terminal("--tap", "0", *flags, *trust, server.address, columns=150, env=env, timeout_s=20) as term,
    ):
        port = int(term.expect(r"listening on 127.0.0.1:\d+").rpartition(b":")[2])
        with closing(Side(socket.create_connection(("127.0.0.1", port)))) as client:
            client.secure(ssl.create_default_context(cafile=str(authority)), "127.0.0.1")
            client.send(b"from the client\n")
            term.expect_screen("from the client")
            term.expect_screen("from the server")
            yield term
        term.type("\x03")
        term.finish()


def test_each_direction_of_a_tap_has_its_own_look(certs: CertSet, tmp_path: Path) -> None:
    """The client's, the server's, what happens, and that TLS is up."""
    with talk(certs, tmp_path) as term:
        assert term.look("from the client\\n") == CLIENT
        assert term.look("from the server\\n") == SERVER
        assert term.look("* - TLS with the client") == NOTICE
        assert term.look(" T from the client"[1:2]) == TLS


def test_each_direction_of_a_dumped_tap_has_its_own_look(certs: CertSet, tmp_path: Path) -> None:
    """In a dump the bytes have colours of their own; the marks of the two directions differ."""
    with talk(certs, tmp_path, "-x") as term:
        assert term.look(">") == CLIENT
        assert term.look("<") == SERVER
        assert term.look("#1") == NOTICE


@pytest.mark.parametrize("flags", [(), ("-x",)], ids=["lines", "dump"])
@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["NO_COLOR", "TERM=dumb"])
def test_a_tap_without_colour_sends_no_escape_at_all(
    certs: CertSet, tmp_path: Path, flags: tuple[str, ...], env: dict[str, str]
) -> None:
    """Neither with NO_COLOR nor on a terminal without colours."""
    with talk(certs, tmp_path, *flags, env=env) as term:
        assert not re.search(rb"\x1b", term.output)
