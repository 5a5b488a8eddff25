"""Telnet: DO START_TLS and FOLLOWS, and what is dropped before them."""

from __future__ import annotations

import pytest

from tests.protocols.scripts import TELNET_FOLLOWS, refused, start


@pytest.mark.parametrize("begin", [b"", b"login: ", bytes.fromhex("fffd18"), bytes.fromhex("fffd2e")])
def test_sec_r2_dont_is_a_refusal(begin: bytes) -> None:
    """DONT START_TLS before or after DO; not waited for to become six bytes."""
    assert refused("telnet", begin + bytes.fromhex("fffe2e")).message == "the server refused START_TLS (DONT)"


@pytest.mark.parametrize(
    "said",
    [
        b"x",
        b"\r\n" + TELNET_FOLLOWS,
        bytes.fromhex("fffd18") + TELNET_FOLLOWS,
        bytes.fromhex("fffd2e"),
        bytes.fromhex("fffb2e"),
        bytes.fromhex("fffa1801fff0"),
        bytes.fromhex("fffa2e00fff0"),
        bytes.fromhex("fffa2e02fff0"),
        bytes.fromhex("fffa2e01fff1"),
        bytes.fromhex("fffa2e0101fff0"),
        bytes.fromhex("fffa2efff0ff"),
        bytes.fromhex("fffa2e01fffff0"),
    ],
)
def test_sec_r2_only_follows_is_the_go_ahead(said: bytes) -> None:
    """Exactly SB START_TLS FOLLOWS SE comes after DO START_TLS."""
    assert refused("telnet", bytes.fromhex("fffd2e") + said).message == "the server's FOLLOWS is not Telnet"


@pytest.mark.parametrize(
    "said", ["fffe2f", "fffc2e", "fffb2e", "fffd2f", "fff2 fd2e", "ffff fd2e", "fffa2e fffd2e 01fff0", "fffaf0 fffd2e"]
)
def test_drops_what_is_not_do_start_tls(said: str) -> None:
    """Other options, data marks, doubled IACs and subnegotiations with anything in them; none is answered."""
    conversation = start("telnet")
    conversation.feed(bytes.fromhex(said))
    assert conversation.to_send() == b""
    conversation.feed(bytes.fromhex("fff0 fffd2e"))
    assert conversation.to_send().startswith(bytes.fromhex("fffb2e"))
