"""NNTP: what is no go-ahead."""

from __future__ import annotations

import pytest

from cfcat.protocols import PROTOCOLS
from tests.protocols.scripts import refused, start

NNTP = b"200 x\r\n101 y\r\n.\r\n"


@pytest.mark.parametrize(
    ("protocol", "said", "message", "quoted"),
    [
        # the greeting is an error (row 86)
        ("nntp", b"400 no\r\n", "the server refused the connection (code 400)", b"400 no"),
        ("nntp", b"502 no\r\n", "the server refused the connection (code 502)", b"502 no"),
        # STARTTLS is refused (SEC-R2)
        ("nntp", NNTP + b"483 no\r\n", "the server refused STARTTLS (code 483)", b"483 no"),
        ("nntp", NNTP + b"502 no\r\n", "the server refused STARTTLS (code 502)", b"502 no"),
        ("nntp", NNTP + b"580 no\r\n", "the server refused STARTTLS (code 580)", b"580 no"),
        # another success is none
        ("nntp", NNTP + b"200 ok\r\n", "the server's answer to STARTTLS is code 200, not 382", b"200 ok"),
        ("nntp", NNTP + b"381 ok\r\n", "the server's answer to STARTTLS is code 381, not 382", b"381 ok"),
        # a go-ahead has one line
        ("nntp", NNTP + b"382-x\r\n", "the server's answer to STARTTLS is not NNTP", b"382-x"),
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
        ("nntp", NNTP + b"3820\r\n"),
        ("nntp", NNTP + b"382go\r\n"),
        ("nntp", b"200-x\r\n"),
        ("nntp", b"200 x\r\n101-y\r\n"),
    ],
)
def test_sec_r2_look_alikes_are_nonsense(protocol: str, said: bytes) -> None:
    """Words, codes and tags count whole and in their places only; a foreign tag is an error, not dropped."""
    error = refused(protocol, said)
    assert error.message.endswith(f" is not {PROTOCOLS[protocol].title}")
    assert error.said.rstrip() == said.splitlines()[-1].rstrip()


@pytest.mark.parametrize(
    ("protocol", "begin"),
    [
        ("nntp", b"200 x\r\n101 list\r\n.\r\n"),
        ("nntp", b"200 x\r\n480 log in first\r\n"),
    ],
)
def test_sec_r3_absent_capability_is_asked_for_all_the_same(protocol: str, begin: bytes) -> None:
    """An attacker who can remove the capability can also forge it, so only the answer to STARTTLS counts."""
    conversation = start(protocol)
    conversation.feed(begin)
    assert conversation.to_send().endswith(b"STARTTLS\r\n")


@pytest.mark.parametrize(
    ("protocol", "said", "message"),
    [
        ("nntp", b"\0\0", "the server's greeting is not NNTP"),
    ],
)
def test_wrong_protocol_is_seen_at_its_first_byte(protocol: str, said: bytes, message: str) -> None:
    """Row 88: nonsense is not waited for to end its line; what is there of it can be quoted."""
    error = refused(protocol, said)
    assert error.message == message
    assert error.said
    assert said.rstrip().endswith(error.said.rstrip())
