"""`--proxy-protocol`: the header comes before anything else, and real servers believe it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.core.test_proxy import granted
from tests.core.test_unix import echoing
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, serve
from tests.helpers.program import Argument, Program, Result, cfcat, finish, start
from tests.program.command import Command
from tests.servers.launcher import Daemon, Launch, Variant, launched
from tests.servers.web import haproxy_behind_proxy, haproxy_sending, nginx_behind_proxy

A_CLAIM = "it is 1 or 2, and behind a colon the address that is claimed: 2, 1:192.0.2.7, 2:[2001:db8::7]:5000"


def test_it_comes_first() -> None:
    """Before what stdin has, with the addresses of the connection."""
    with serve(Peer.recv_until_eof) as server:
        assert cfcat("--proxy-protocol", "1", server.address, stdin=b"ping") == Result(b"", "", 0)
    ours = server.peers[0].address[1]
    assert server.received == f"PROXY TCP4 127.0.0.1 127.0.0.1 {ours} {server.port}\r\nping".encode()


def test_it_comes_before_tls(certs: CertSet) -> None:
    """In clear text."""

    def script(conn: Peer) -> None:
        assert conn.recv_until(b"\n").startswith(b"PROXY TCP4 192.0.2.7 127.0.0.1 5000 ")
        conn.start_tls(certs.server_context())
        conn.send(b"hello")

    with serve(script) as server:
        options: list[Argument] = ["--proxy-protocol", "1:192.0.2.7:5000", "--tls", "on", "--cacert", certs.ca]
        assert cfcat(*options, server.address) == Result(b"hello", "", 0)


def test_through_a_proxy_it_is_for_the_target() -> None:
    """Behind the proxy's own dialog."""

    def script(conn: Peer) -> None:
        granted("http", conn)
        assert conn.recv_until(b"\n").startswith(b"PROXY TCP4 127.0.0.1 192.0.2.1 ")
        conn.send(b"hello")

    with serve(script) as server:
        options = ["--proxy", f"http://{server.address}", "--proxy-protocol", "1"]
        assert cfcat(*options, "192.0.2.1:25") == Result(b"hello", "", 0)


def test_on_a_unix_socket_it_says_nothing(tmp_path: Path) -> None:
    """There are no addresses to tell."""
    with echoing(str(tmp_path / "x")):
        result = cfcat("--proxy-protocol", "1", f"unix:{tmp_path}/x", stdin=b"ping")
    assert result == Result(b"PROXY UNKNOWN\r\nping", "", 0)


@pytest.mark.one_python
@pytest.mark.parametrize("server", [haproxy_behind_proxy, nginx_behind_proxy])
@pytest.mark.parametrize(
    ("claim", "seen"),
    [
        ("1:192.0.2.7:5000", b"192.0.2.7:5000"),
        ("2:192.0.2.7:5000", b"192.0.2.7:5000"),
        ("2:192.0.2.9", b"192.0.2.9:"),
        ("1", b"127.0.0.1:"),
    ],
)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_real_servers(server: Callable[[Launch], Daemon], claim: str, seen: bytes, tls: bool, certs: CertSet) -> None:
    """They take whom it names for the client."""
    with launched(server, certs, Variant(host="127.0.0.1")) as daemon:
        options: list[Argument] = ["--tls", "on", "--cacert", certs.ca] if tls else []
        target = f"127.0.0.1:{daemon.tls_port if tls else daemon.port}"
        result = cfcat(*options, "--proxy-protocol", claim, target, stdin=b"GET / HTTP/1.0\r\n\r\n")
    assert (result.stderr, result.status) == ("", 0)
    assert result.stdout.partition(b"\r\n\r\n")[2].startswith(seen)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--proxy-protocol", "3"], f"--proxy-protocol: {A_CLAIM}"),
        (["--proxy-protocol", "1:host.example"], f"--proxy-protocol: {A_CLAIM}"),
        (
            ["--proxy-protocol", "1:::1", "-l"],
            "--proxy-protocol: with -l the client says who it is, and no address is given",
        ),
        (["--proxy-protocol", "1", "--export", "x"], "--proxy-protocol excludes --export: a Worker has no such header"),
    ],
)
def test_usage(options: list[str], text: str, command: Command) -> None:
    """Before anything is connected to."""
    command.check_refused([*options, "{}"], text)


def test_a_claim_of_the_other_family() -> None:
    """2: no header can say it."""
    with serve(Peer.recv_until_eof) as server:
        result = cfcat("--proxy-protocol", "1:::1", server.address)
    assert result.stderr == "cfcat: the address ::1 is claimed to a target of the other family, 127.0.0.1\n"
    assert (result.status, server.received) == (2, b"")


# ---------------------------------------------------------------------------------------------- with -l


def listening(program: Program) -> str:
    return program.read_stderr_until("\n").partition("listening on ")[2].split()[0]


@pytest.mark.parametrize("claim", ["1:192.0.2.7:5000", "2:192.0.2.7:5000"])
@pytest.mark.parametrize("tls", [[], ["--tls", "on"]], ids=["plain", "tls"])
def test_a_listener_reads_it(claim: str, tls: list[str], certs: CertSet) -> None:
    """Before TLS; the client is who it says."""
    own: list[Argument] = ["--cert", certs["good"].chain, "--key", certs["good"].key] if tls else []
    theirs: list[Argument] = ["--cacert", certs.ca] if tls else []
    with start("-v", "-l", "127.0.0.1:0", "--proxy-protocol", "1", *tls, *own) as listener:
        address = listening(listener)
        listener.end_input()
        assert cfcat("--proxy-protocol", claim, *tls, *theirs, address, stdin=b"ping") == Result(b"", "", 0)
        result = finish(listener)
    assert (result.stdout, result.status) == (b"ping", 0)
    assert f"cfcat: accepted 192.0.2.7:5000 on {address}\n" in result.stderr


def test_a_client_without_it_is_turned_away() -> None:
    """97, with what it said."""
    with start("-l", "127.0.0.1:0", "--proxy-protocol", "1") as listener:
        address = listening(listener)
        cfcat(address, stdin=b"GET / HTTP/1.0\r\n")
        result = finish(listener)
    text = result.stderr.splitlines()[-1]
    assert "the client sent no PROXY header; it said " in text
    assert result.status == 97


def test_a_client_without_it_does_not_end_a_listener_that_keeps() -> None:
    """It is told, and the next one comes."""
    with start("-l", "127.0.0.1:0", "--keep", "--proxy-protocol", "1") as listener:
        address = listening(listener)
        listener.end_input()
        cfcat(address, stdin=b"GET / HTTP/1.0\r\n")
        assert cfcat("--proxy-protocol", "2", address, stdin=b"ping") == Result(b"", "", 0)
        assert listener.read_until(b"ping") == b"ping"
        listener.terminate()
        assert "the client sent no PROXY header" in finish(listener).stderr


def test_a_session_shows_the_client_that_it_names() -> None:
    """In :info, too."""
    with start("-l", "127.0.0.1:0", "--repl", "--proxy-protocol", "1") as listener:
        address = listening(listener)
        listener.say(b":expect ping\n:info\n")
        listener.end_input()
        cfcat("--proxy-protocol", "1:192.0.2.7:5000", address, stdin=b"ping\n")
        result = finish(listener)
    assert f"remote: 192.0.2.7:5000, local: {address}\n" in result.stderr


def test_haproxy_sends_it(certs: CertSet) -> None:
    """As a proxy before us, for a client of its own."""
    with start("-v", "-l", "127.0.0.1:0", "--proxy-protocol", "2") as listener:
        address = listening(listener)
        listener.end_input()
        with launched(partial(haproxy_sending, to=address), certs, Variant(host="127.0.0.1")) as daemon:
            with socket.create_connection(("127.0.0.1", daemon.port), timeout=5) as client:
                client.sendall(b"ping")
                ours = client.getsockname()[1]
                client.shutdown(socket.SHUT_WR)
                assert client.recv(10) == b""
            result = finish(listener)
    assert (result.stdout, result.status) == (b"ping", 0)
    assert f"cfcat: accepted 127.0.0.1:{ours} on {address}\n" in result.stderr
