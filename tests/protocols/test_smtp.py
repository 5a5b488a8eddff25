"""SMTP and LMTP: what is no go-ahead, and what is said to the server."""

from __future__ import annotations

import pytest

from cfcat.protocols import PROTOCOLS, DialogRun, Names
from tests.protocols.scripts import refused, start

EHLO = b"220 x\r\n250 y\r\n"


@pytest.mark.parametrize(
    ("protocol", "said", "message", "quoted"),
    [
        # the greeting is an error (row 86)
        ("smtp", b"554-no\r\n", "the server refused the connection (code 554)", b"554-no"),
        ("lmtp", b"421 busy\r\n", "the server refused the connection (code 421)", b"421 busy"),
        # what comes before STARTTLS is refused
        ("smtp", b"220 x\r\n502 what\r\n", "the server refused EHLO (code 502)", b"502 what"),
        ("lmtp", b"220 x\r\n550 no\r\n", "the server refused LHLO (code 550)", b"550 no"),
        ("smtp", b"220 x\r\n250-y\r\n421 z\r\n", "the server refused EHLO (code 421)", b"421 z"),
        # STARTTLS is refused (SEC-R2)
        ("smtp", EHLO + b"454 no\r\n", "the server refused STARTTLS (code 454)", b"454 no"),
        ("smtp", EHLO + b"454-no\r\n", "the server refused STARTTLS (code 454)", b"454-no"),
        ("smtp", EHLO + b"501 no\r\n", "the server refused STARTTLS (code 501)", b"501 no"),
        ("smtp", EHLO + b"530 \x1b[2J\r\n", "the server refused STARTTLS (code 530)", b"530 \x1b[2J"),
        ("lmtp", EHLO + b"502 no\r\n", "the server refused STARTTLS (code 502)", b"502 no"),
        # another success is none
        ("smtp", EHLO + b"250 ok\r\n", "the server's answer to STARTTLS is code 250, not 220", b"250 ok"),
        ("smtp", EHLO + b"221 ok\r\n", "the server's answer to STARTTLS is code 221, not 220", b"221 ok"),
        ("smtp", EHLO + b"354 go\r\n", "the server's answer to STARTTLS is code 354, not 220", b"354 go"),
        ("smtp", b"250 x\r\n", "the server's greeting is code 250, not 220", b"250 x"),
        ("smtp", b"220 x\r\n220 y\r\n", "the server's answer to EHLO is code 220, not 250", b"220 y"),
        # each line of a go-ahead has its code
        ("smtp", EHLO + b"220-go\r\n454 no\r\n", "the server refused STARTTLS (code 454)", b"454 no"),
        ("lmtp", EHLO + b"220-\r\n250 go\r\n", "the server's answer to STARTTLS is code 250, not 220", b"250 go"),
    ],
)
def test_sec_r2_refusal(protocol: str, said: bytes, message: str, quoted: bytes) -> None:
    """Every negative answer is final, says in the protocol's terms what was refused, and keeps the words apart."""
    error = refused(protocol, said)
    assert str(error) == error.message == message
    assert error.said == quoted


@pytest.mark.parametrize(
    ("protocol", "begin"),
    [
        ("smtp", b"220 x\r\n250 no extensions\r\n"),
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
        ("smtp", b"SSH-2.0-OpenSSH_9.2", "the server's greeting is not SMTP"),
        ("smtp", b"RFB 003.008\n", "the server's greeting is not SMTP"),
        ("smtp", b"220 x\r\nHELLO", "the server's answer to EHLO is not SMTP"),
    ],
)
def test_wrong_protocol_is_seen_at_its_first_byte(protocol: str, said: bytes, message: str) -> None:
    """Row 88: nonsense is not waited for to end its line; what is there of it can be quoted."""
    error = refused(protocol, said)
    assert error.message == message
    assert error.said
    assert said.rstrip().endswith(error.said.rstrip())


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
def test_client_name_is_said_to_the_server(protocol: str) -> None:
    """EHLO and LHLO say who we are, not whom we talk to (gnutls-cli says the latter)."""
    conversation = DialogRun(PROTOCOLS[protocol], Names("[127.0.0.1]", "mail.example"))
    conversation.feed(b"220 x\r\n")
    assert conversation.to_send() == (b"EHLO" if protocol == "smtp" else b"LHLO") + b" [127.0.0.1]\r\n"
