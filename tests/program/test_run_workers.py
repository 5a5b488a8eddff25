"""`--workers`: what is refused, with which message and status, and that nothing is sent."""

from __future__ import annotations

import json

import pytest

from tests.faults.ways import check_message, patched, resolving
from tests.helpers.peers import Peer, refusing, serve
from tests.helpers.program import Result, cfcat, start
from tests.program.unconnected import CONNECT_FAILED, resolved_to

pytestmark = pytest.mark.one_python

AFTERWARDS = "without --workers it is tried all the same"
# Loopback is the internet, so that there is somebody to connect to.
LOOPBACK_IS_PUBLIC = """
import cfcat.core.workers as rules
rules.RANGES = tuple(each for each in rules.RANGES if each.what != "local")
"""


def test_p2_workers_refuses_a_name_with_a_private_address_before_any_packet() -> None:
    """The reference's message, then rule and address; no socket is made; status 7."""
    result = cfcat("--workers", "db.example:5432", by=resolved_to("10.0.0.1"))
    hint = check_message(result, 7, f"db.example:5432: blocked as in a Worker: {CONNECT_FAILED}")
    assert hint == f"10.0.0.1 is private, in 10.0.0.0/8 (rule P2); {AFTERWARDS}"


def test_without_workers_it_is_tried() -> None:
    """That is what the test before looks at: a socket is made."""
    with refusing() as port, start(f"db.example:{port}", by=resolved_to("127.0.0.1")) as program:
        program.read_stderr_until("a socket was made")


@pytest.mark.parametrize(
    ("address", "port", "message", "rule"),
    [
        ("104.16.0.1", 22, CONNECT_FAILED, "P1"),
        ("::1", 5432, CONNECT_FAILED, "P2"),
        ("::ffff:10.0.0.1", 5432, CONNECT_FAILED, "P2"),
        ("192.0.2.7", 25, "Connections to port 25 are prohibited", "P3"),
        ("10.0.0.1", 443, f"{CONNECT_FAILED}. It looks like you might", "P2"),
    ],
)
def test_workers_says_rule_and_address(address: str, port: int, message: str, rule: str) -> None:
    """N5's hint on the ports of HTTP included."""
    result = cfcat("--workers", f"host.example:{port}", by=resolved_to(address))
    hint = check_message(result, 7, f"host.example:{port}: blocked as in a Worker: {message}")
    assert address in hint
    assert f"(rule {rule})" in hint


def test_workers_refuses_what_listens_here() -> None:
    """Nobody is connected to: the listener would count it."""
    with serve(Peer.recv_until_eof) as server:
        assert cfcat("--workers", server.address, stdin=b"secret").status == 7
        assert server.connections == 0


def test_p9_workers_goes_on_with_the_addresses_that_remain() -> None:
    """And says which are left out, on stderr; the data is not touched."""
    with serve(lambda conn: conn.send(b"hello")) as server:
        by = resolving("10.0.0.1", "127.0.0.1")
        by[-1] = by[-1].replace("from cfcat.__main__", f"{LOOPBACK_IS_PUBLIC}\nfrom cfcat.__main__")
        result = cfcat("--workers", f"both.example:{server.port}", by=by)
    note = "cfcat: note: allowed in a Worker, without some addresses: 10.0.0.1 is private, in 10.0.0.0/8 (rule P2)\n"
    assert result == Result(b"hello", note, 0)


@pytest.mark.parametrize("mode", [[], ["--repl"]], ids=["pipe", "script"])
def test_p7_workers_tells_the_note(mode: list[str]) -> None:
    """Port 443 is a server's of ours here; a run and a script say the same."""
    with serve(lambda conn: conn.send(b"hello")) as server:
        ports = f"rules.HTTP_PORTS = frozenset({{{server.port}}})"
        result = cfcat("--workers", *mode, server.address, by=patched(f"{LOOPBACK_IS_PUBLIC}{ports}"))
    text = f"port {server.port} is that of HTTP, for which there is fetch() (rule P7)"
    assert result == Result(b"hello", f"cfcat: note: allowed in a Worker: {text}\n", 0)


def test_workers_without_anything_to_say_is_silent() -> None:
    """What is allowed is connected to, and that is all."""
    with serve(lambda conn: conn.send(b"hello")) as server:
        result = cfcat("--workers", server.address, by=patched(LOOPBACK_IS_PUBLIC))
    assert result == Result(b"hello", "", 0)


def test_workers_in_a_report() -> None:
    """`--json` has message, rule and status of what was blocked; no address was tried."""
    result = cfcat("--workers", "--json", "db.example:5432", by=resolved_to("10.0.0.1"))
    report = json.loads(result.stderr)
    assert (report["status"], report["addresses"], result.status) == (7, [], 7)
    assert CONNECT_FAILED in report["message"]
    assert "(rule P2)" in report["hint"]


def test_workers_in_a_script() -> None:
    """The first connection fails with its status; nothing of the script is carried out."""
    result = cfcat("--workers", "--repl", "db.example:5432", stdin=b"hello\n", by=resolved_to("10.0.0.1"))
    hint = check_message(result, 7, f"db.example:5432: blocked as in a Worker: {CONNECT_FAILED}")
    assert hint.startswith("10.0.0.1 is private")
