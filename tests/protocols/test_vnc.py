"""VNC: versions, types and subtypes, and what is no go-ahead."""

from __future__ import annotations

import pytest

from tests.protocols.scripts import RFB, refused, start

TO_TYPES = RFB + b"\x01\x13"
TO_SUBTYPES = TO_TYPES + b"\x00\x02\x00"


@pytest.mark.parametrize(
    ("said", "message", "quoted"),
    [
        (b"RFB 003.003\n", "the server speaks an RFB older than 3.8", b"RFB 003.003\n"),
        (b"RFB 003.007\n", "the server speaks an RFB older than 3.8", b"RFB 003.007\n"),
        (RFB + b"\x00\x00\x00\x00\x08too many", "the server refused the connection", b"too many"),
        (
            RFB + b"\x02\x01\x02",
            "the server does not offer TLS (VeNCrypt is not among its security types)",
            b"",
        ),
        (TO_TYPES + b"\x00\x01", "the server speaks a VeNCrypt older than 0.2", b""),
        (TO_TYPES + b"\x00\x02\x01", "the server refused VeNCrypt 0.2", b""),
        (TO_SUBTYPES + b"\x00", "the server offers no VeNCrypt subtype with a certificate", b""),
        (
            TO_SUBTYPES + b"\x05" + bytes.fromhex("00000100 00000101 00000102 00000103 00000001"),
            "the server offers no VeNCrypt subtype with a certificate",
            b"",
        ),
        (TO_SUBTYPES + b"\x01\x00\x00\x01\x05\x00", "the server refused the VeNCrypt subtype", b""),
        (TO_SUBTYPES + b"\x01\x00\x00\x01\x05\x02", "the server refused the VeNCrypt subtype", b""),
        (b"RFB 3.8\n    ", "the server's greeting is not VNC", b"RFB 3.8\n    "),
        (b"RFB 003.008\r", "the server's greeting is not VNC", b"RFB 003.008\r"),
        (b"SSH-2.0-x", "the server's greeting is not VNC", b"SSH-2.0-x"),
    ],
)
def test_sec_r2_refusal(said: bytes, message: str, quoted: bytes) -> None:
    """Anonymous TLS (257 to 259) proves nothing and is not taken; a subtype is accepted by 1 only."""
    error = refused("vnc", said)
    assert (error.message, error.said) == (message, quoted)


@pytest.mark.parametrize(
    ("offered", "chosen"), [("00000106 00000105", 261), ("00000106", 262), ("00000105 00000104", 260)]
)
def test_takes_the_certificate_with_the_least_login(offered: str, chosen: int) -> None:
    """X509None before X509Vnc before X509Plain, in whatever order they are offered."""
    subtypes = bytes.fromhex(offered)
    conversation = start("vnc")
    conversation.feed(TO_SUBTYPES + bytes((len(subtypes) // 4,)) + subtypes)
    assert conversation.to_send().endswith(chosen.to_bytes(4, "big"))
