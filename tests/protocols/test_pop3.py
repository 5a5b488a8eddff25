"""POP3: what is no go-ahead."""

from __future__ import annotations

import pytest

from cfcat.protocols import PROTOCOLS
from tests.protocols.scripts import refused


@pytest.mark.parametrize(
    ("protocol", "said", "message", "quoted"),
    [
        # the greeting is an error (row 86)
        ("pop3", b"-ERR no\r\n", "the server refused the connection (-ERR)", b"-ERR no"),
        # STARTTLS is refused (SEC-R2)
        ("pop3", b"+OK\r\n-ERR no\r\n", "the server refused STLS (-ERR)", b"-ERR no"),
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
        ("pop3", b"+OKAY\r\n"),
        ("pop3", b"+ok\r\n"),
        ("pop3", b"+OK\r\n+OKAY\r\n"),
        ("pop3", b"+OK\r\n+OK\tgo\r\n"),
        ("pop3", b"+OK\r\n-ERROR\r\n"),
        ("pop3", b"+OK\r\n+ go\r\n"),
        ("pop3", b"+OK\r\nOK\r\n"),
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
        ("pop3", b"220 mail", "the server's greeting is not POP3"),
        ("pop3", b"+OK\r\n<", "the server's answer to STLS is not POP3"),
    ],
)
def test_wrong_protocol_is_seen_at_its_first_byte(protocol: str, said: bytes, message: str) -> None:
    """Row 88: nonsense is not waited for to end its line; what is there of it can be quoted."""
    error = refused(protocol, said)
    assert error.message == message
    assert error.said
    assert said.rstrip().endswith(error.said.rstrip())
