"""Who said what is seen at a glance: the looks of a session, read from the cells of a real terminal."""

from __future__ import annotations

import re

import pytest

from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, serve
from tests.repl.screens import repl

pytestmark = pytest.mark.one_python

# Colour, bold, dim.
PLAIN = ("default", False, False)
PROMPT = ("default", True, False)
TYPED = ("magenta", False, False)
NOTICE = ("default", False, True)
ERROR = ("red", False, False)
SGR = re.compile(rb"\x1b\[([0-9;]*)m")


@pytest.mark.parametrize(
    ("trust", "mark", "color"), [("--cacert", "tls", "green"), ("-k", "tls!", "red")], ids=["verified", "not verified"]
)
def test_each_part_of_a_session_has_its_own_look(certs: CertSet, trust: str, mark: str, color: str) -> None:
    """Prompt, what is typed, what came, notices, errors, and whether TLS vouches for the peer."""

    def script(conn: Peer) -> None:
        conn.send(b"220 ready\r\n")
        assert conn.recv_until(b"\n") == b"HELLO there\r\n"
        conn.send(b"250 hi\r\n")
        conn.start_tls(certs.server_context())
        conn.recv_until_eof()

    flags = ["--cacert", str(certs.ca)] if trust == "--cacert" else [trust]
    with serve(script) as server, repl(server, "--tls", "starttls", *flags) as it:
        it.expect("220 ready")
        it.type("HELLO there")
        it.expect("> HELLO there")
        assert it.term.look("HELLO there") == TYPED  # in the line
        it.type("\r")
        it.expect("250 hi")
        assert it.term.look("HELLO there") == TYPED  # and above it
        assert it.term.look("250 hi") == PLAIN
        it.type(":starttls\r")
        it.expect(f"{server.address} {mark}>")
        assert it.term.look(f"{server.address} ") == PROMPT
        assert it.term.look(mark) == (color, True, False)
        assert it.term.look("TLS established") == NOTICE
        it.type(":nonsense\r")
        it.expect("is not a command")
        assert it.term.look("cfcat: :nonsense is not a command; nothing was sent") == ERROR
        it.quit()


def test_a_session_without_colour_has_no_looks() -> None:
    """NO_COLOR: the bar below stays in reverse; everything else is the terminal's own, an error and a notice too."""

    def script(conn: Peer) -> None:
        conn.send(b"220 ready \x07\r\n")
        conn.recv_until_eof()

    with serve(script) as server, repl(server, env={"NO_COLOR": "1"}) as it:
        it.expect("shown escaped")
        it.type(":nonsense\rHELLO\r")
        it.expect("> HELLO")
        it.expect("sent 7, ")
        it.quit()
        assert {code for sgr in SGR.findall(it.term.output) for code in sgr.split(b";")} <= {b"", b"0", b"7"}
