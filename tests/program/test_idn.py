"""Names beyond ASCII: resolved and verified as `xn--…`, and shown in both forms."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from tests.faults.ways import resolving
from tests.helpers.peers import Peer, Server, refusing, serve
from tests.helpers.program import Result, cfcat

NAME, ASCII = "bücher.test", "xn--bcher-kva.test"


@contextmanager
def verified(tmp_path: Path) -> Iterator[tuple[Server, list[str]]]:
    """A server with a certificate for the name, and the options that trust it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(ASCII).configure_cert(context)

    def script(conn: Peer) -> None:
        conn.start_tls(context)
        conn.send(b"hello\n")

    with serve(script) as server:
        yield server, ["--tls", "on", "--cacert", str(tmp_path / "ca.pem")]
    assert {peer.sni for peer in server.peers} == {ASCII}


@pytest.mark.parametrize("name", [NAME, ASCII])
def test_it_is_resolved_and_verified_in_ascii(name: str, tmp_path: Path) -> None:
    """The certificate has that form, and so has SNI; --resolve takes both."""
    with verified(tmp_path) as (server, options):
        options += ["--resolve", f"{name}:{server.port}:127.0.0.1"]
        assert cfcat(*options, NAME, str(server.port)) == Result(b"hello\n", "", 0)


def test_sni_takes_it(tmp_path: Path) -> None:
    """Also in `:open`."""
    with verified(tmp_path) as (server, options):
        assert cfcat(*options, "--sni", NAME, server.address) == Result(b"hello\n", "", 0)
        lines = f":expect hello\n:open --tls on --sni {NAME}\n:expect hello\n".encode()
        result = cfcat("--repl", *options, "--sni", ASCII, server.address, stdin=lines)
        assert (result.stdout, result.status) == (b"hello\nhello\n", 0)


def test_a_proxy_may_have_it() -> None:
    """In the URL, behind credentials; and in the environment."""

    def script(conn: Peer) -> None:
        assert b" Basic dXM6cMOk\r\n" in conn.recv_until(b"\r\n\r\n")
        conn.send(b"HTTP/1.1 200 OK\r\n\r\nhello")

    with serve(script) as server:
        url = f"http://us:pä@{NAME}:{server.port}"
        options = ["--resolve", f"{NAME}:{server.port}:127.0.0.1", "mail.test:25"]
        assert cfcat("--proxy", url, *options) == Result(b"hello", "", 0)
        assert cfcat("--proxy", "env", *options, env={"ALL_PROXY": url}) == Result(b"hello", "", 0)


@pytest.mark.parametrize(
    ("options", "text", "status"),
    [
        (["-l", f"{NAME}:1"], f"cannot listen on {ASCII}:1 ({NAME}): ", 7),
        (["--source", NAME, "127.0.0.1:1"], f"source {ASCII}: ", 6),
    ],
)
def test_our_own_end_may_have_it(options: list[str], text: str, status: int) -> None:
    """It is looked up in ASCII."""
    answer = f"assert host == b'{ASCII}', host; raise socket.gaierror(socket.EAI_NONAME, 'not known')"
    result = cfcat(*options, by=resolving(answer=answer))
    assert result == Result(b"", f"cfcat: {text}not known\n", status)


@pytest.mark.parametrize("repl", [[], ["--repl"]])
def test_messages_show_both_forms(repl: list[str]) -> None:
    """What was asked for, and what it reads like."""
    with refusing() as port:
        result = cfcat(*repl, "--resolve", f"{ASCII}:{port}:127.0.0.1", f"{NAME}:{port}")
    text = f"cfcat: {ASCII}:{port} ({NAME}): connection refused (tried 127.0.0.1)\n"
    assert result == Result(b"", text, 7)


def test_open_takes_it(tmp_path: Path) -> None:
    """In a session."""
    with serve(lambda conn: conn.send(b"hello\n")) as server:
        resolve = ["--resolve", f"*:{server.port}:127.0.0.1"]
        lines = f":expect hello\n:open {NAME}:{server.port}\n:expect hello\n".encode()
        result = cfcat("--repl", *resolve, f"a.test:{server.port}", stdin=lines)
    assert (result.stdout, result.status) == (b"hello\nhello\n", 0)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["bü_cher.test:80"], "'bü_cher.test:80': not a host name: Codepoint U+005F "),
        (
            ["--sni", "bü_cher.test", "--tls", "on", "localhost:1"],
            "--sni: 'bü_cher.test' is not a host name: Codepoint ",
        ),
        (["--resolve", "bü_:1:::1", "localhost:1"], "--resolve: 'bü_:1:::1': not a host name: Codepoint U+005F "),
        (["--source", "bü_", "localhost:1"], "--source: 'bü_': not a host name: Codepoint U+005F "),
        (["--proxy", "http://us:s3cret@bü_", "localhost:1"], "--proxy: the URL of a proxy has no usable host and port"),
    ],
)
def test_what_is_no_name(options: list[str], text: str) -> None:
    """UTS 46, strictly; and why, unless that would repeat a part of a URL, where any may be a password."""
    result = cfcat(*options)
    assert result.status == 2
    assert result.stderr.startswith(f"cfcat: {text}")
    assert "s3cret" not in result.stderr


def test_what_is_no_name_in_a_session() -> None:
    """The line fails; nothing is connected to."""
    with serve(Peer.recv_until_eof) as server:
        result = cfcat("--repl", server.address, stdin=b":open --tls on --sni b\xc3\xbc_\n")
    assert result.stderr.startswith("cfcat: line 1: --sni: 'bü_' is not a host name: Codepoint U+005F ")
    assert (result.status, server.connections) == (1, 1)
