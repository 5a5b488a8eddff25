"""RDP: the one answer that is the go-ahead."""

from __future__ import annotations

import pytest

from tests.protocols.scripts import refused


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("0300000b 06d00000123400", "the server does not offer TLS (no security negotiation)"),
        (
            "03000013 0ed00000123400 0300080005000000",
            "the server refused TLS (failure code 5, HYBRID_REQUIRED_BY_SERVER)",
        ),
        (
            "03000013 0ed00000123400 0300080002000000",
            "the server refused TLS (failure code 2, SSL_NOT_ALLOWED_BY_SERVER)",
        ),
        ("03000013 0ed00000123400 03000800ff000000", "the server refused TLS (failure code 255)"),
        (
            "03000013 0ed00000123400 0200080000000000",
            "the server selected RDP's own encryption, in place of TLS or NLA",
        ),
        (
            "03000013 0ed00000123400 0200080003000000",
            "the server selected security protocol 3, in place of TLS or NLA",
        ),
        (
            "03000013 0ed00000123400 0200080004000000",
            "the server selected PROTOCOL_RDSTLS, which was not asked for, in place of TLS or NLA",
        ),
        (
            "03000013 0ed00000123400 0200080008000000",
            "the server selected PROTOCOL_HYBRID_EX, which was not asked for, in place of TLS or NLA",
        ),
        (
            "03000013 0ed00000123400 0200080001000001",
            "the server selected security protocol 16777217, in place of TLS or NLA",
        ),
        (
            "03000013 0ed00000123400 0200080000000002",
            "the server selected security protocol 33554432, in place of TLS or NLA",
        ),
    ],
)
def test_sec_r2_refusal(said: str, message: str) -> None:
    """RDP_NEG_RSP for exactly one of the two that were asked for is the go-ahead; failures and others have names."""
    assert refused("rdp", bytes.fromhex(said)).message == message


@pytest.mark.parametrize(
    "said",
    [
        "03000013 0ed00000123400 0100080003000000",  # our own request
        "03000013 0ed00000123400 0200090001000000",
        "03000013 0ed00000123400 0200000801000000",
        "03000013 0ee00000123400 0200080001000000",
        "03000013 0e800000123400 0200080001000000",
        "03000013 06d00000123400 0200080001000000",
        "03000012",
        "03000014",
        "03000000",
        "0300ffff",
        "02",
        "32323020",
    ],
)
def test_sec_r2_nonsense(said: str) -> None:
    """Lengths, types and sizes are those of MS-RDPBCGR 2.2.1.2, or it is no answer."""
    assert refused("rdp", bytes.fromhex(said)).message == "the server's answer to the connection request is not RDP"
