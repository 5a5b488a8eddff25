"""IMAP: tags, untagged lines, PREAUTH, and what is no go-ahead."""

from __future__ import annotations

import pytest

from cfcat.protocols import PROTOCOLS
from tests.protocols.scripts import refused, start

IMAP = b"* OK x\r\na OK y\r\n"


@pytest.mark.parametrize(
    ("protocol", "said", "message", "quoted"),
    [
        # the greeting is an error (row 86)
        ("imap", b"* BYE no\r\n", "the server ended the IMAP session (BYE)", b"* BYE no"),
        ("imap", b"* bye\r\n", "the server ended the IMAP session (BYE)", b"* bye"),
        # STARTTLS is refused (SEC-R2)
        ("imap", IMAP + b"b NO no\r\n", "the server refused STARTTLS (NO)", b"b NO no"),
        ("imap", IMAP + b"b bad no\r\n", "the server refused STARTTLS (BAD)", b"b bad no"),
        ("imap", IMAP + b"* BYE\r\nb OK\r\n", "the server ended the IMAP session (BYE)", b"* BYE"),
        ("imap", b"* OK\r\n* BYE x\r\n", "the server ended the IMAP session (BYE)", b"* BYE x"),
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
        ("imap", b"* HELLO\r\n"),
        ("imap", b"* OKAY\r\n"),
        ("imap", b"*OK\r\n"),
        ("imap", b"*  OK\r\n"),
        ("imap", b"* NO x\r\n"),
        ("imap", b"*\r\n"),
        ("imap", b"* OK\r\n+ go on\r\n"),
        ("imap", b"* OK\r\na OKAY\r\n"),
        ("imap", b"* OK\r\nb OK\r\n"),
        ("imap", b"* OK\r\naa OK\r\n"),
        ("imap", b"* OK\r\nA OK\r\n"),
        ("imap", b"* OK\r\na\r\n"),
        ("imap", b"* OK\r\n\r\n"),
        ("imap", IMAP + b"a OK\r\n"),
        ("imap", IMAP + b"c OK\r\n"),
        ("imap", IMAP + b"bOK\r\n"),
        ("imap", IMAP + b"b OKAY\r\n"),
        ("imap", IMAP + b"b  OK\r\n"),
        ("imap", IMAP + b"b PREAUTH\r\n"),
        ("imap", IMAP + b"+ OK\r\n"),
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
        ("imap", b"* OK\r\n* CAPABILITY IMAP4rev1\r\na OK\r\n"),
        ("imap", b"* OK\r\na NO\r\n"),
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
        ("imap", b"+OK", "the server's greeting is not IMAP"),
    ],
)
def test_wrong_protocol_is_seen_at_its_first_byte(protocol: str, said: bytes, message: str) -> None:
    """Row 88: nonsense is not waited for to end its line; what is there of it can be quoted."""
    error = refused(protocol, said)
    assert error.message == message
    assert error.said
    assert said.rstrip().endswith(error.said.rstrip())


@pytest.mark.parametrize("greeting", [b"* PREAUTH x\r\n", b"* preauth\r\n", b"* PREAUTH [CAPABILITY STARTTLS] x\r\n"])
def test_sec_r4_preauth_makes_starttls_impossible(greeting: bytes) -> None:
    """Not even CAPABILITY is sent: the session is someone else's already (CVE-2020-14093)."""
    error = refused("imap", greeting)
    assert error.message == "the IMAP session is already authenticated (PREAUTH): STARTTLS is not possible"
    assert error.said == greeting.rstrip()
