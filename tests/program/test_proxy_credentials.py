"""Credentials of a proxy reach the proxy and nothing else: every output at once, whatever becomes of the connection."""

from __future__ import annotations

import os
import socket
import ssl
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.core.test_proxy import inner
from tests.helpers.certs import CertSet
from tests.helpers.peers import Peer, Script, serve
from tests.helpers.program import Argument, cfcat, finish, start

pytestmark = pytest.mark.one_python

USER, PASSWORD = "sneaky/user", "s3cret@w0rd"
NAME = "mail.test:25"  # no resolver knows it
SCHEMES = ("http", "https", "socks5h", "socks4a")
GRANTED = {
    "http": b"HTTP/1.1 200 OK\r\n\r\n",
    "socks5h": b"\x05\x00\x00\x01" + bytes(6),
    "socks4a": b"\0\x5a" + bytes(6),
}
REFUSED = {"http": b"HTTP/1.1 407 No\r\n\r\n", "socks5h": b"\x01\x01", "socks4a": b"\0\x5d" + bytes(6)}


def forms(text: str) -> Iterator[bytes]:
    """It, percent-encoded, and within base64 at each of its three places."""
    data = text.encode()
    yield from (data, quote(text, safe="").encode())
    for before in range(3):
        yield b64encode(bytes(before) + data)[(before * 4 + 2) // 3 : -4]


def leaks(output: bytes) -> list[bytes]:
    return [form for text in (USER, PASSWORD) for form in forms(text) if form in output]


def taking_credentials(scheme: str, certs: CertSet, answer: str) -> Script:
    """A proxy that asks for them, and then grants, refuses, or does not answer."""
    kind = "http" if scheme == "https" else scheme

    def script(conn: Peer) -> None:
        if scheme == "https":
            conn.start_tls(certs.server_context())
        if kind == "http":
            conn.recv_until(b"\r\n\r\n")
        elif kind == "socks5h":
            conn.recv_exactly(4)
            conn.send(b"\x05\x02")
            conn.recv_exactly(2 + len(USER) + 1 + len(PASSWORD))
        else:
            conn.recv_until(b"mail.test\0")
        if answer == "refused":
            conn.send(REFUSED[kind])
        elif answer == "granted":
            if kind == "socks5h":
                conn.send(b"\x01\x00")
                conn.recv_exactly(4 + 1 + len("mail.test") + 2)
            conn.send(GRANTED[kind] + b"hello\n")
        conn.recv_until_eof()

    return script


def outputs(folder: Path) -> list[Argument]:
    """The options of all outputs that go together."""
    folder.mkdir()
    return ["-vvv", "--events", folder / "events", "--log", folder / "log", "--log-secrets", "--pcap", folder / "pcap"]


def through(scheme: str, address: str, certs: CertSet) -> list[Argument]:
    password = "" if scheme == "socks4a" else f":{quote(PASSWORD, safe='')}"
    url = f"{scheme}://{quote(USER, safe='')}{password}@{address}"
    trust: list[Argument] = ["--proxy-cacert", certs.ca] if scheme == "https" else []
    return ["--proxy", url, *trust]


def all_in(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


@pytest.mark.parametrize("answer", ["granted", "refused", "silent"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_they_are_in_no_output(scheme: str, answer: str, certs: CertSet, tmp_path: Path) -> None:
    """Of a pipe, and where it goes on of a script and a check; a capture has asterisks, or no keys to them."""
    runs: dict[str, tuple[list[Argument], bytes]] = {
        "pipe": (["--json", "--hexdump"], b"ping\n"),
        "script": (["--repl", "--export", tmp_path / "x.js"], b":info\n:set\n:expect hello\n:dump\n:info\n"),
        "check": (["-z", "--wait", "0.3", "--json"], b""),
    }
    for name, (options, stdin) in runs.items() if answer == "granted" else [("pipe", runs["pipe"])]:
        folder = tmp_path / name
        with serve(taking_credentials(scheme, certs, answer)) as server:
            options += [*outputs(folder), *through(scheme, server.address, certs), "--connect-timeout", "0.5", NAME]
            result = cfcat(*options, stdin=stdin, env={"CFCAT_DEBUG": "1"})
        assert USER.encode() in server.received or b64encode(f"{USER}:{PASSWORD}".encode()) in server.received
        output = result.stdout + result.stderr.encode() + all_in(folder)
        assert leaks(output) == []
        assert ((folder / "pcap").read_bytes().count(b"*" * len(USER)) > 0) == (scheme != "https")
    if (export := tmp_path / "x.js").exists():
        assert leaks(export.read_bytes()) == []


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_they_are_in_no_output_of_the_tap(scheme: str, certs: CertSet, tmp_path: Path) -> None:
    """Its connection to the server goes through the proxy."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serve(taking_credentials(scheme, certs, "granted")) as server:
        options = ["--tap", str(port), "--once", *outputs(tmp_path / "tap"), *through(scheme, server.address, certs)]
        with start(*options, NAME, env={"CFCAT_DEBUG": "1"}) as tap:
            tap.read_stderr_until("listening on ")
            with socket.create_connection(("127.0.0.1", port), 5) as client:
                assert client.recv(100) == b"hello\n"
            result = finish(tap)
    assert leaks(result.stdout + result.stderr.encode() + all_in(tmp_path / "tap")) == []


def test_the_keys_of_an_https_proxy_are_captured_where_there_are_none(certs: CertSet, tmp_path: Path) -> None:
    """Without credentials the capture can be read; with them only its owner's key log opens it."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        conn.recv_until(b"\r\n\r\n")
        conn.send(GRANTED["http"])

    for credentials, count in (("", 1), ("us:s3cret@", 0)):
        file, keys = tmp_path / f"{count}.pcapng", tmp_path / f"{count}.keys"
        with serve(script) as server:
            url = f"https://{credentials}{server.address}"
            options: list[Argument] = ["--proxy", url, "--proxy-cacert", certs.ca, "--pcap", file]
            assert cfcat(*options, NAME, env={"SSLKEYLOGFILE": os.fspath(keys)}).status == 0
        assert keys.read_bytes().count(b"CLIENT_TRAFFIC_SECRET_0 ") == 1
        assert file.read_bytes().count(b"CLIENT_TRAFFIC_SECRET_0 ") == count


def test_a_key_log_does_not_bring_them_back(certs: CertSet, tmp_path: Path) -> None:
    """All TLS of a run may log to one file: of the second connection the capture takes the target's keys alone, too."""

    def script(conn: Peer) -> None:
        conn.start_tls(certs.server_context())
        conn.recv_until(b"\r\n\r\n")
        conn.send(GRANTED["http"])
        with suppress(AssertionError, ssl.SSLError):  # the client may leave as it likes
            inner(conn, certs.server_context())

    file, keys = tmp_path / "c.pcapng", tmp_path / "keys"
    with serve(script) as server:
        options: list[Argument] = ["--proxy", f"https://us:s3cret@{server.address}", "--proxy-cacert", certs.ca]
        options += ["--tls", "on", "--cacert", certs.ca, "--sni", "localhost", "--pcap", file, "--repl", NAME]
        result = cfcat(*options, stdin=b":info\n:open\n:info\n", env={"SSLKEYLOGFILE": os.fspath(keys)})
    assert result.status == 0, result.stderr
    assert keys.read_bytes().count(b"CLIENT_TRAFFIC_SECRET_0 ") == 4
    assert file.read_bytes().count(b"CLIENT_TRAFFIC_SECRET_0 ") == 2
