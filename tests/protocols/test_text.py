"""Replies with a code, as SMTP, LMTP, FTP and NNTP have them: a code is a whole token."""

from __future__ import annotations

import pytest

from tests.protocols.scripts import refused

EHLO = b"220 x\r\n250 y\r\n"


@pytest.mark.parametrize(
    "line", [b"2200 go", b"220go", b"220\tgo", b"22 0", b"220.", b"220_", b"+220", b" 220 go", b"22", b""]
)
@pytest.mark.parametrize(("protocol", "begin"), [("smtp", EHLO), ("lmtp", EHLO), ("smtp", b""), ("smtp", b"220 x\r\n")])
def test_sec_r2_smtp_look_alikes_are_no_replies(protocol: str, begin: bytes, line: bytes) -> None:
    """A code is a token of three digits, followed by nothing, a blank or a hyphen."""
    error = refused(protocol, begin + line + b"\r\n")
    assert error.message.endswith((" is not SMTP", " is not LMTP"))
