"""`--source` and `--resolve`."""

from __future__ import annotations

import pytest

from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, serve
from tests.helpers.program import Argument, Result, cfcat
from tests.program.command import Command

EXAMPLE = "--resolve example.com:443:192.0.2.7,2001:db8::7"
A_SOURCE = "a source is an address of this machine, with a port or without: 192.0.2.7, 192.0.2.7:5000, :5000"


def test_source() -> None:
    """As nc's -s."""
    with serve(lambda conn: conn.send(b"hello")) as server:
        assert cfcat("--source", "127.0.0.2", server.address) == Result(b"hello", "", 0)
    assert server.peers[0].address[0] == "127.0.0.2"


def test_a_source_that_is_not_ours() -> None:
    """7, and not a word of ports that are used up."""
    result = cfcat("--source", "192.0.2.7", "127.0.0.1:1")
    assert result == Result(b"", "cfcat: cannot connect from 192.0.2.7: not an address of this machine\n", 7)


def test_resolve(certs: CertSet) -> None:
    """As curl's: the name is that of TLS."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        conn.send(b"hello")

    with serve(script) as server:
        target = f"localhost:{server.port}"
        options: list[Argument] = ["--resolve", "a.test:1:192.0.2.7", "--resolve", f"{target}:127.0.0.9,127.0.0.1"]
        assert cfcat(*options, "--tls", "on", "--cacert", certs.ca, target) == Result(b"hello", "", 0)
    assert server.peers[0].sni == "localhost"


def test_a_session_keeps_both() -> None:
    """For each `:open`."""
    with serve(lambda conn: conn.send(b"hello\n")) as server:
        target = f"a.test:{server.port}"
        options = ["--source", "127.0.0.2", "--resolve", f"{target}:127.0.0.1"]
        result = cfcat("--repl", *options, target, stdin=f":expect hello\n:open {target}\n:expect hello\n".encode())
    assert (result.stdout, result.status) == (b"hello\nhello\n", 0)
    assert [peer.address[0] for peer in server.peers] == ["127.0.0.2", "127.0.0.2"]


@pytest.mark.parametrize(
    ("options", "text", "hint"),
    [
        (["--source", "a b"], f"--source: {A_SOURCE}", ""),
        (["--source", ""], f"--source: {A_SOURCE}", ""),
        (["--source", "127.0.0.1", "-l"], "-l excludes --source: it is for connecting", ""),
        (["--resolve", "a.test:1:127.0.0.1", "-l"], "-l excludes --resolve: it is for connecting", ""),
        (["--resolve", "a.test"], "--resolve: it is HOST:PORT:ADDR, with more addresses behind commas", EXAMPLE),
        (["--resolve", "a.test:1:b.test"], "--resolve: a name is resolved to IP addresses", EXAMPLE),
    ],
)
def test_usage(options: list[str], text: str, hint: str, command: Command) -> None:
    """Before anything is connected to."""
    command.check_refused([*options, "{}"], text, hint)
