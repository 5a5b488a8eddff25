"""LDAP: lengths, the one message that is the answer, and what is no go-ahead."""

from __future__ import annotations

import pytest

from tests.protocols.scripts import refused


def ldap(result: bytes, *, number: bytes = b"\x02\x01\x01", tag: int = 0x78, after: bytes = b"") -> bytes:
    operation = number + bytes((tag, len(result))) + result + after
    return bytes((0x30, len(operation))) + operation


OK = bytes.fromhex("0a0100 0400 0400")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (1, "the server refused StartTLS (result code 1, operationsError)"),
        (2, "the server refused StartTLS (result code 2, protocolError)"),
        (52, "the server refused StartTLS (result code 52, unavailable)"),
        (100, "the server refused StartTLS (result code 100)"),
    ],
)
def test_sec_r2_refusal(code: int, message: str) -> None:
    """Any result code but 0 is a refusal; the server's text is kept apart."""
    error = refused("ldap", ldap(b"\x0a\x01" + bytes((code,)) + b"\x04\x00\x04\x05sorry"))
    assert error.message == message
    assert error.said == b"sorry"


def test_sec_r2_notice_of_disconnection_is_no_answer() -> None:
    """Message ID 0 is not an answer to a request, success or not (RFC 4511 §4.4.1)."""
    notice = OK + bytes.fromhex("8a16") + b"1.3.6.1.4.1.1466.20036"
    for said in (ldap(notice, number=b"\x02\x01\x00"), ldap(OK, number=b"\x02\x01\x00", tag=0x61)):
        assert refused("ldap", said).message == "the server ended the LDAP session (notice of disconnection)"


@pytest.mark.parametrize(
    "said",
    [
        ldap(OK, number=b"\x02\x01\x02"),  # the answer to something else
        ldap(OK, number=b"\x02\x01\xff"),
        ldap(OK, number=b"\x02\x00"),
        ldap(OK, number=b"\x02\x05\x00\x00\x00\x00\x01"),
        ldap(OK, number=b"\x0a\x01\x01"),
        ldap(OK, number=b""),
        ldap(OK, tag=0x61),  # a bind response
        ldap(OK, tag=0x77),  # our own request
        ldap(OK, tag=0x58),
        ldap(b""),
        ldap(bytes.fromhex("0a0100 0400")),
        ldap(bytes.fromhex("0a00 0400 0400")),
        ldap(bytes.fromhex("020100 0400 0400")),
        ldap(bytes.fromhex("0a0100 0400 0401")),  # longer than what is there
        ldap(bytes.fromhex("0a0100 0400 8400")),
        ldap(OK + bytes.fromhex("8a16") + b"1.3.6.1.4.1.1466.20036"),  # another operation's name
        ldap(OK + b"\x8a\x00"),
        ldap(OK + b"\x8a"),
        ldap(OK, after=b"\x00"),
        ldap(OK, after=b"\xa0\x05"),
        ldap(OK, after=b"\x9f\x01\x00"),
        bytes.fromhex("30 80"),  # indefinite length
        bytes.fromhex("30 85 00000000 0c"),
        bytes.fromhex("30 00"),
        bytes.fromhex("30 05 020101 7880"),
        bytes.fromhex("30 0a 020101 7885 00000000 00"),
        b"\x31",
        b"220 mail",
    ],
)
def test_sec_r2_nonsense(said: bytes) -> None:
    """Lengths are checked against what is there, and everything against the one message that is expected."""
    assert refused("ldap", said).message == "the server's answer to StartTLS is not LDAP"
