"""FTP: what is no go-ahead."""

from __future__ import annotations

import pytest

from cfcat.protocols import PROTOCOLS
from tests.protocols.scripts import refused


@pytest.mark.parametrize(
    ("protocol", "said", "message", "quoted"),
    [
        # the greeting is an error (row 86)
        ("ftp", b"530 no\r\n", "the server refused the connection (code 530)", b"530 no"),
        ("ftp", b"120 later\r\n421 no\r\n", "the server refused the connection (code 421)", b"421 no"),
        ("ftp", b"130 later\r\n", "the server's greeting is code 130, not 220", b"130 later"),
        # STARTTLS is refused (SEC-R2)
        ("ftp", b"220\r\n431 no\r\n", "the server refused AUTH TLS (code 431)", b"431 no"),
        ("ftp", b"220\r\n500 no\r\n", "the server refused AUTH TLS (code 500)", b"500 no"),
        # another success is none
        ("ftp", b"220\r\n220 ok\r\n", "the server's answer to AUTH TLS is code 220, not 234", b"220 ok"),
        ("ftp", b"220\r\n335 ok\r\n", "the server's answer to AUTH TLS is code 335, not 234", b"335 ok"),
        ("ftp", b"220\r\n120 ok\r\n", "the server's answer to AUTH TLS is code 120, not 234", b"120 ok"),
        # a refusal of more than one line is known by its first
        ("ftp", b"220\r\n534-no\r\n", "the server refused AUTH TLS (code 534)", b"534-no"),
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
        ("ftp", b"220 x\r\n2340 go\r\n"),
        ("ftp", b"220 x\r\n234go\r\n"),
        ("ftp", b"220x\r\n"),
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
        ("ftp", b"HTTP/1.1 400", "the server's greeting is not FTP"),
    ],
)
def test_wrong_protocol_is_seen_at_its_first_byte(protocol: str, said: bytes, message: str) -> None:
    """Row 88: nonsense is not waited for to end its line; what is there of it can be quoted."""
    error = refused(protocol, said)
    assert error.message == message
    assert error.said
    assert said.rstrip().endswith(error.said.rstrip())
