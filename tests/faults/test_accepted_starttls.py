"""The fault matrix for connections that come in: rows 83 to 89, STARTTLS as the server, for each protocol."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial

import pytest

from cfcat.protocols import PROTOCOLS, DialogRun
from tests.core.test_client_hello import hello as client_hello
from tests.faults.ways import at_once
from tests.helpers.callers import calling
from tests.helpers.peers import Peer
from tests.helpers.program import Argument, Result, cfcat
from tests.protocols.scripts import NAMES
from tests.report.form import check_form

pytestmark = pytest.mark.one_python

EACH = pytest.mark.parametrize("protocols", [sorted(PROTOCOLS)], ids=["each protocol"])
# A client begins TLS behind our greeting, or right behind its own request: no answer of ours could show an injection.
WITHOUT_GO_AHEAD = frozenset({"nats", "mysql"})


def play(protocol: str, conn: Peer, *, behind: bytes = b"") -> None:
    """The client's half of a dialog, up to the go-ahead, with this behind the request that is answered by it."""
    dialog = DialogRun(PROTOCOLS[protocol], NAMES)
    spoken = 0
    while True:
        if data := dialog.to_send():
            spoken += 1
            conn.send(data + (behind if spoken == requests_of(protocol) else b""))
        if dialog.done or not (data := conn.recv(max(1, dialog.wanted))):
            return
        dialog.feed(data)


@cache
def requests_of(protocol: str) -> int:
    """How often a client speaks in it."""
    client, server, count = DialogRun(PROTOCOLS[protocol], NAMES), serving_half(protocol), 0
    while not client.done:
        if data := client.to_send():
            count += 1
            server.feed(data)
        client.feed(server.to_send())
    return count


def serving_half(protocol: str) -> DialogRun:
    return DialogRun(PROTOCOLS[protocol], NAMES, as_server=True)


def in_each(protocols: list[str], script: Callable[[str, Peer], object], *options: Argument) -> dict[str, Result]:
    """Run `--starttls` of each with a client that plays this, for `localhost`; nothing of stdin is told to it."""

    def one(protocol: str) -> Result:
        with calling(partial(script, protocol)) as caller:
            result = cfcat("-l", "--starttls", protocol, *options, caller.address, stdin=b"secret", timeout_s=30)
        assert b"secret" not in caller.received
        text, _ = check_form(result.stderr.partition("--cacert)\n")[2])
        assert text.startswith(f"{caller.name}: ")
        return Result(result.stdout, text.removeprefix(f"{caller.name}: "), result.status)

    return dict(zip(protocols, at_once(partial(one, protocol) for protocol in protocols), strict=True))


@EACH
def test_row_84_clear_text_behind_the_request(protocols: list[str]) -> None:
    """SEC-R1: 8, nothing of it is printed or taken for TLS; how many bytes it was is told."""

    def script(protocol: str, conn: Peer) -> None:
        with suppress(ConnectionError):
            play(protocol, conn, behind=b"INJECTED\r\n")
            assert conn.recv_until_eof() == b""

    results = in_each([each for each in protocols if each not in WITHOUT_GO_AHEAD], script)
    assert {name: (result.status, result.stdout) for name, result in results.items()} == dict.fromkeys(
        results, (8, b"")
    )
    for result in results.values():
        assert re.fullmatch(r"10 bytes of (clear|plain) text .*\(possible injection\)", result.stderr)


@EACH
def test_row_83_client_that_goes_on_in_clear_text(protocols: list[str]) -> None:
    """Behind the go-ahead, in the place of a ClientHello: 35, and it is quoted."""

    def script(protocol: str, conn: Peer) -> None:
        play(protocol, conn)
        conn.send(b"GET / HTTP/1.1\r\n\r\n")
        conn.recv_until_eof()

    # MS-TDS packs the handshake: there it is no packet.
    results = in_each([each for each in protocols if each != "mssql"], script)
    assert {name: (result.status, result.stdout) for name, result in results.items()} == dict.fromkeys(
        results, (35, b"")
    )


@EACH
def test_row_87_client_that_says_nothing(protocols: list[str]) -> None:
    """28 at the deadline, after our greeting or before it."""
    results = in_each(protocols, lambda _, conn: conn.recv_until_eof(), "--connect-timeout", "1")
    assert {name: result.status for name, result in results.items()} == dict.fromkeys(results, 28)
    for name, result in results.items():
        waited_for = "the TLS handshake" if name == "nats" else f"the {PROTOCOLS[name].title} dialog"
        assert result.stderr == f"{waited_for} was not complete after 1 s"


@EACH
def test_row_89_client_that_begins_with_tls(protocols: list[str]) -> None:
    """64: the port needs a dialog first; where TLS begins behind our greeting, that is what is wanted."""

    def script(_: str, conn: Peer) -> None:
        with suppress(ConnectionError):
            conn.send(client_hello())
            conn.recv_until_eof()

    results = in_each([each for each in protocols if each not in {"nats"}], script)
    assert {name: result.status for name, result in results.items()} == dict.fromkeys(results, 64)
    text = "the client seems to speak TLS from the first byte"
    assert {name: result.stderr for name, result in results.items()} == dict.fromkeys(results, text)
