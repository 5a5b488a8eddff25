"""TDS: what ENCRYPTION must say, and what is no answer to PRELOGIN."""

from __future__ import annotations

import pytest

from tests.protocols.scripts import outcome, prelogin, refused


@pytest.mark.parametrize(
    ("encryption", "message"),
    [
        (0, "the server would encrypt the login only (ENCRYPT_OFF)"),
        (2, "the server does not offer TLS (ENCRYPT_NOT_SUP)"),
        (4, "the server does not offer TLS (ENCRYPT_NOT_SUP)"),
        (0x81, "the server does not offer TLS (ENCRYPT_NOT_SUP)"),
    ],
)
def test_sec_r2_refusal(encryption: int, message: str) -> None:
    """Only ENCRYPT_ON and ENCRYPT_REQ protect more than the login."""
    assert refused("mssql", prelogin(encryption)).message == message


def options(data: bytes) -> bytes:
    return b"\x04\x01" + (8 + len(data)).to_bytes(2, "big") + bytes(4) + data


def test_sec_r2_without_encryption_is_refused() -> None:
    """No ENCRYPTION option is a no."""
    for data in (b"\xff", bytes.fromhex("00 0006 0006 ff 0f0007d00000")):
        assert refused("mssql", options(data)).message == "the server does not offer TLS (ENCRYPT_NOT_SUP)"


def test_options_may_come_in_any_order() -> None:
    """What counts is the value of ENCRYPTION."""
    assert outcome("mssql", [options(bytes.fromhex("01 0006 0001 ff 01"))]).end == "done"
    assert outcome("mssql", [options(bytes.fromhex("05 000b 0000 01 000b 0001 ff 03"))]).end == "done"


@pytest.mark.parametrize(
    "said",
    [
        prelogin(1, kind=0x12),
        prelogin(1, kind=0x10),
        prelogin(1, status=0),
        b"\x04\x01\x00\x07\0\0\0\0",
        options(b""),
        options(bytes.fromhex("01 0006")),
        options(bytes.fromhex("01 0005 0001")),
        options(bytes.fromhex("01 0006 0001 00 01")),  # no terminator
        options(bytes.fromhex("01 0007 0001 ff 01")),  # beyond the end
        options(bytes.fromhex("01 0006 0002 ff 01 01")),
        options(bytes.fromhex("01 0006 0000 ff 01")),
        options(bytes.fromhex("01 0006 0101 ff 01")),
        options(bytes.fromhex("01 0106 0001 ff 01")),
        options(bytes.fromhex("01 000b 0001 01 000c 0001 ff 02 01")),  # twice
        options(bytes.fromhex("01 ffff ffff ff 01")),
        b"220 mail",
    ],
)
def test_sec_r2_nonsense(said: bytes) -> None:
    """Packet type 4 in one piece, options within it, ENCRYPTION once."""
    assert refused("mssql", said).message == "the server's answer to PRELOGIN is not TDS"
