"""IRC: what is dropped, and what is no go-ahead."""

from __future__ import annotations

import pytest

from cfcat.protocols import PROTOCOLS
from tests.protocols.scripts import outcome, refused


@pytest.mark.parametrize(
    ("protocol", "said", "message", "quoted"),
    [
        # STARTTLS is refused (SEC-R2)
        ("irc", b":s 691 * :no\r\n", "the server refused STARTTLS (numeric 691)", b":s 691 * :no"),
        ("irc", b":s 451 * :no\r\n", "the server refused STARTTLS (numeric 451)", b":s 451 * :no"),
        ("irc", b":s 421 * STARTTLS :no\r\n", "the server refused STARTTLS (numeric 421)", b":s 421 * STARTTLS :no"),
        ("irc", b"ERROR :gone\r\n", "the server ended the IRC session (ERROR)", b"ERROR :gone"),
    ],
)
def test_sec_r2_refusal(protocol: str, said: bytes, message: str, quoted: bytes) -> None:
    """Every negative answer is final, says in the protocol's terms what was refused, and keeps the words apart."""
    error = refused(protocol, said)
    assert str(error) == error.message == message
    assert error.said == quoted


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ("irc", b":s 6700 * :go\r\n"),
        ("irc", b":s 67 * :go\r\n"),
        ("irc", b":s 670x * :go\r\n"),
        ("irc", b":s\r\n"),
        ("irc", b"@tag\r\n"),
    ],
)
def test_sec_r2_look_alikes_are_nonsense(protocol: str, said: bytes) -> None:
    """Words, codes and tags count whole and in their places only; a foreign tag is an error, not dropped."""
    error = refused(protocol, said)
    assert error.message.endswith(f" is not {PROTOCOLS[protocol].title}")
    assert error.said.rstrip() == said.splitlines()[-1].rstrip()


@pytest.mark.parametrize(
    ("protocol", "said", "message"),
    [
        ("irc", b"\0", "the server's answer to STARTTLS is not IRC"),
        ("irc", b"220 mail.example ESMTP\r\n", "the server's answer to STARTTLS is not IRC"),
        ("irc", b"SSH-2.0-x\r\n", "the server's answer to STARTTLS is not IRC"),
    ],
)
def test_wrong_protocol_is_seen_at_its_first_byte(protocol: str, said: bytes, message: str) -> None:
    """Row 88: nonsense is not waited for to end its line; what is there of it can be quoted."""
    error = refused(protocol, said)
    assert error.message == message
    assert error.said
    assert said.rstrip().endswith(error.said.rstrip())


@pytest.mark.parametrize(
    "line",
    [b":s 672 * :x", b"NOTICE 670 :x", b":670 NOTICE x", b"PRIVMSG x :670", b":s 001 670 :670", b"CAP * LS :tls", b""],
)
def test_drops_whatever_is_no_answer(line: bytes) -> None:
    """Notices, pings and unknown numerics come before the answer on ordinary servers (openssl PR 11327)."""
    assert outcome("irc", [line + b"\r\n"]).end == "open"
    assert outcome("irc", [line + b"\r\n:s 670 * :go\r\n"]).end == "done"
