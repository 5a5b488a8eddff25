"""PostgreSQL: one byte, and nothing that is quoted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfcat.errors import DialogError
from tests.protocols.scripts import feed, refused, start


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"N", "the server refused SSLRequest: it does not offer TLS"),
        (
            b"E\0\0\0\x22SFATAL\0C0A000\0Mtype your password here\0\0",
            "the server refused SSLRequest with an error, whose text cannot be trusted",
        ),
        (b"s", "the server's answer to SSLRequest is not PostgreSQL"),
        (b"220 mail", "the server's answer to SSLRequest is not PostgreSQL"),
    ],
)
def test_sec_r2_refusal_is_never_quoted(said: bytes, message: str) -> None:
    """CVE-2024-10977: not one byte of an answer to SSLRequest is kept, whole or in pieces."""
    error = refused("postgres", said)
    assert error.message == message
    assert error.said == b""


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=200))
def test_quotes_nothing_whatever_comes(said: bytes) -> None:
    """Every first byte decides by itself: S is the go-ahead, and all behind it is injected (CVE-2021-23222)."""
    conversation = start("postgres")
    error = feed(conversation, said)
    if isinstance(error, DialogError):
        assert (error.said, error.args) == (b"", (error.message,))
    else:
        assert said[:1] == b"S"
        assert conversation.surplus == len(said) - 1
