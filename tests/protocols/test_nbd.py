"""NBD: the right magic, the right option, and what is no go-ahead."""

from __future__ import annotations

import pytest

from tests.protocols.scripts import NBD_ACK, NBD_GREETING, refused


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"NBDMAGIC\x00\x00\x42\x02\x81\x86\x12\x53", "the server negotiates in the old style, which has no TLS"),
        (b"NBDMAGICIHAVEOPT\x00\x02", "the server does not offer TLS (no fixed newstyle negotiation)"),
        (b"NBDMAGIXIHAVEOPT", "the server's greeting is not NBD"),
        (b"220", "the server's greeting is not NBD"),
        (NBD_GREETING + NBD_ACK[:-1] + b"\x01", "the server's answer to NBD_OPT_STARTTLS is not NBD"),
        (NBD_GREETING + NBD_ACK[:11] + b"\x03" + NBD_ACK[12:], "the server's answer to NBD_OPT_STARTTLS is not NBD"),
        (NBD_GREETING + NBD_ACK[:15] + b"\x02" + NBD_ACK[16:], "the server's answer to NBD_OPT_STARTTLS is not NBD"),
        (NBD_GREETING + NBD_ACK[:7] + b"\xaa" + NBD_ACK[8:], "the server's answer to NBD_OPT_STARTTLS is not NBD"),
        (NBD_GREETING + b"I", "the server's answer to NBD_OPT_STARTTLS is not NBD"),
    ],
)
def test_sec_r2_nonsense(said: bytes, message: str) -> None:
    """The right magic, the right option, ACK, and no data with it."""
    assert refused("nbd", said).message == message


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (0x80000001, "NBD_REP_ERR_UNSUP"),
        (0x80000002, "NBD_REP_ERR_POLICY"),
        (0x80000003, "NBD_REP_ERR_INVALID"),
        (0x80000004, "NBD_REP_ERR_PLATFORM"),
        (0x80000007, "NBD_REP_ERR_SHUTDOWN"),
        (0x80000000, "error 0x80000000"),
        (0x800000FF, "error 0x800000ff"),
    ],
)
@pytest.mark.parametrize("text", [b"", b"no TLS here"])
def test_sec_r2_refusal(kind: int, name: str, text: bytes) -> None:
    """An error is named by its constant; its text, where there is one, is kept apart."""
    answer = NBD_ACK[:12] + kind.to_bytes(4, "big") + len(text).to_bytes(4, "big") + text
    error = refused("nbd", NBD_GREETING + answer)
    assert (error.message, error.said) == (f"the server refused TLS ({name})", text)
