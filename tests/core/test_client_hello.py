"""The server name in a ClientHello: OpenSSL's own, cut and broken in any way, and names that are none."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cfcat.core.client_hello import server_name_in

RECORD_HEAD_BYTES = 5


def hello(name: str | None = "mail.example") -> bytes:
    """OpenSSL's ClientHello."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def in_records(message: bytes, size: int) -> bytes:
    """A handshake message in records of this size."""
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in parts)


@pytest.mark.parametrize("name", ["mail.example", "a", "x" * 63 + ".example"])
def test_the_name_that_the_client_asks_for(name: str) -> None:
    """In one record, in many, and with more behind it."""
    whole = hello(name)
    assert server_name_in(whole) == name
    assert server_name_in(whole + b"\x14\x03\x03\0\x01\x01" + whole) == name
    for size in (1, 7, 100):
        assert server_name_in(in_records(whole[RECORD_HEAD_BYTES:], size)) == name


@pytest.mark.parametrize("data", [hello(None), hello("127.0.0.1"), b"", b"EHLO me\r\n", b"\x16\x03\x01\0\x01\x02"])
def test_no_name(data: bytes) -> None:
    """An address is no server name; and what is no ClientHello has none."""
    assert server_name_in(data) is None


def test_a_name_that_is_no_ascii_is_escaped() -> None:
    """A client may send any bytes."""
    assert server_name_in(hello().replace(b"mail.example", b"m\xff\x1bl.example")) == "m\\xff\x1bl.example"


def test_a_hello_that_is_cut_anywhere_has_no_name() -> None:
    """Nothing is made up, and nothing raised."""
    whole = hello()
    for size in range(len(whole)):
        assert server_name_in(whole[:size]) is None


@given(at=st.integers(0, 300), byte=st.binary(min_size=1, max_size=4))
def test_a_hello_that_is_broken_anywhere_raises_nothing(at: int, byte: bytes) -> None:
    """Lengths that are wrong, above all."""
    whole = hello()
    found = server_name_in(whole[:at] + byte + whole[at + len(byte) :])
    assert found is None or len(found) <= len(whole) * 4


@given(data=st.binary(max_size=400))
def test_anything_else_raises_nothing(data: bytes) -> None:
    """Behind the head of a record, too."""
    assert server_name_in(data) is None or data
    assert server_name_in(in_records(data, 50)) is None or data
