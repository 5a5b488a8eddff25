"""MySQL and MariaDB: which greetings are a go-ahead, and which are not."""

from __future__ import annotations

import pytest

from cfcat.errors import InjectionError
from tests.protocols.scripts import MYSQL_8, mysql_greeting, outcome, refused, start


@pytest.mark.parametrize(
    ("packet", "message", "quoted"),
    [
        (
            b"\xff\x6a\x04Host '192.0.2.1' is not allowed to connect to this MariaDB server",
            "the server refused the connection (error 1130)",
            b"Host '192.0.2.1' is not allowed to connect to this MariaDB server",
        ),
        (
            b"\xff\x10\x04#08004Too many connections",
            "the server refused the connection (error 1040)",
            b"Too many connections",
        ),
        (b"\xff\x10\x04", "the server refused the connection (error 1040)", b""),
    ],
)
def test_sec_r2_error_in_place_of_the_greeting(packet: bytes, message: str, quoted: bytes) -> None:
    """Row 86: an ERR packet, with and without an SQL state, whatever its sequence number is."""
    for number in (0, 1, 2, 255):
        error = refused("mysql", bytes((len(packet), 0, 0, number)) + packet)
        assert (error.message, error.said) == (message, quoted)


@pytest.mark.parametrize("high", [0, 0xFFFF])
def test_sec_r2_without_client_ssl_is_refused(high: int) -> None:
    """The one dialog where the missing capability is the refusal: nobody could be asked. Nothing is sent."""
    error = refused("mysql", mysql_greeting(b"8.0.36", 0xF7FF, high, b"x\0"))
    assert error.message == "the server does not offer TLS (its greeting is without CLIENT_SSL)"


@pytest.mark.parametrize(
    "said",
    [
        b"\x01" + MYSQL_8[1:3] + b"\x01" + MYSQL_8[4:],  # a sequence number that is not 0
        MYSQL_8[:4] + b"\x09" + MYSQL_8[5:],  # protocol 9
        b"\x00\x00\x00\x00",
        b"\x00\x00\x00\x01",
        b"\x02\x00\x00\x01\xff\x10",
        b"\x07\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00",  # an OK packet
        b"\x02\x00\x00\x00\xff\x10",
        b"\x05\x00\x00\x00\x0a8.0.",
        b"\x05\x00\x00\x00\x0a8.0\0",
        b"\x13\x00\x00\x00\x0a8.0\0" + bytes(13) + b"\x08",  # cut in the middle of the capabilities
        b"220 mail.example ESMTP\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
def test_sec_r2_nonsense(said: bytes) -> None:
    """Row 88, and greetings that end before their capabilities."""
    error = refused("mysql", said)
    assert error.message == "the server's greeting is not MySQL"
    assert said.startswith(error.said[:4])
    assert len(error.said) == len(said)  # a cut is no reason to quote four bytes only


def test_capabilities_are_found_behind_any_version() -> None:
    """The version ends with its first NUL, and may be empty; nothing else in the greeting is looked at."""
    for version in (b"", b"x", b"9" * 300):
        assert outcome("mysql", [mysql_greeting(version, 0x0800, 0, b"")]).end == "done"
        assert outcome("mysql", [mysql_greeting(version, 0xF7FF, 0xFFFF, b"")]).end == "dialog"


def test_sec_r1_second_packet_is_injected() -> None:
    """The greeting is the go-ahead: a packet behind it was sent before anybody asked. The request is not sent."""
    conversation = start("mysql")
    with pytest.raises(InjectionError) as caught:
        conversation.feed(MYSQL_8 + b"\x07\x00\x00\x02\x00\x00\x00\x02\x00\x00\x00")
    assert caught.value.count == 11
    assert conversation.to_send() == b""
