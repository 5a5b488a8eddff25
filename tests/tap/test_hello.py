"""ClientHello: recognised whole, in pieces and wherever it is cut, and nothing else taken for one."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfcat.core.client_hello import MAX_HELLO_BYTES
from cfcat.protocols.mysql import tls_request_bytes
from cfcat.protocols.wrapper import packets
from cfcat.tap.hello import Hello, look

unhurried = settings(deadline=None)  # a slow machine is no failure


def client_hello(
    name: str | None = "mail.example", alpn: tuple[str, ...] = ("h2", "http/1.1"), version: str = "any"
) -> bytes:
    """OpenSSL's own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version == "1.2":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if alpn:
        context.set_alpn_protocols(list(alpn))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


HELLO = client_hello()


def split_into_records(hello: bytes, size: int) -> bytes:
    """The same message in records of at most so many bytes."""
    message = hello[5:]
    parts = [message[start : start + size] for start in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in parts)


@pytest.mark.parametrize("version", ["1.2", "any"])
@pytest.mark.parametrize("name", [None, "mail.example"])
@pytest.mark.parametrize("alpn", [(), ("h2", "http/1.1")])
def test_what_a_client_asks_for_is_read(version: str, name: str | None, alpn: tuple[str, ...]) -> None:
    """Server name and protocols, of both versions; swaks and mariadb name no server."""
    assert look(client_hello(name, alpn, version)) == Hello(name, alpn)


def test_every_beginning_is_partial() -> None:
    """Wherever a segment ends."""
    assert {look(HELLO[:size]) for size in range(1, len(HELLO))} == {"partial"}


def test_records_may_split_it() -> None:
    """RFC 8446 §5.1 allows that, whatever the size."""
    for size in (1, 2, 3, 4, 5, 100, 4096):
        whole = split_into_records(HELLO, size)
        assert look(whole) == Hello("mail.example", ("h2", "http/1.1"))
        assert look(whole[:-1]) == "partial"


def test_packets_of_ms_tds_are_unwrapped() -> None:
    """Whole, and cut anywhere; its own PRELOGIN begins with the same packet type and is none."""
    whole = packets(HELLO)
    assert look(whole) == Hello("mail.example", ("h2", "http/1.1"), wrapped=True)
    assert {look(whole[:size]) for size in range(1, len(whole))} == {"partial"}
    assert look(bytes.fromhex("1201002f00000000 00001a000601002000010200210001030022000404002600 01ff")) is None


def test_something_behind_it_is_clear_text() -> None:
    """A client that begins TLS waits for the answer: more than that is a file that holds one."""
    assert look(HELLO + b"\r\n.\r\n") is None
    assert look(HELLO + HELLO) is None
    assert look(packets(HELLO) + b"x") is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"EHLO me\r\n",
        b"\x16",
        b"\x16\x02",
        b"\x15\x03\x03\x00\x02\x02\x50",  # an alert
        b"\x16\x03\x01\x00\x00",  # an empty record
        b"\x16\x03\x01\x40\x01",  # a record beyond 16 KiB
        b"\x16\x03\x03\x00\x04\x02\x00\x00\x00",  # a ServerHello
        b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",  # a ClientHello without anything in it
        b"\x16\x03\x01\x00\x04\x01" + (MAX_HELLO_BYTES + 1).to_bytes(3, "big"),
        b"\x12\x01\x00\x04\x00\x00\x00\x00",  # an impossible packet of TDS
    ],
    ids=lambda data: data[:12].hex() or "nothing",
)
def test_what_is_none_is_not_waited_for(data: bytes) -> None:
    """As soon as a byte tells; a lone first byte may still become one."""
    assert look(data) == ("partial" if data in (b"", b"\x16") else None)


@unhurried
@given(st.integers(5, len(HELLO) - 1), st.integers(0, 255))
def test_a_changed_byte_never_raises(at: int, value: int) -> None:
    """What lengths say is believed only as far as they fit."""
    changed = HELLO[:at] + bytes((value,)) + HELLO[at + 1 :]
    assert look(changed) is None or look(changed) == "partial" or isinstance(look(changed), Hello)


@unhurried
@given(st.binary(max_size=200))
def test_any_bytes_are_judged_without_an_error(data: bytes) -> None:
    """Behind what begins like one, too."""
    for begin in (b"", b"\x16\x03\x01", HELLO[:60], b"\x12\x01\x00\x50\x00\x00\x00\x00\x16\x03"):
        look(begin + data)


@pytest.mark.parametrize("name", ["a b", "m\x1b[2J", "x\r\ny", "é".encode().decode("latin-1")])
def test_a_name_that_is_no_name_is_left_out(name: str) -> None:
    """It will stand in messages, and in a certificate."""
    raw = name.encode("latin-1")
    good = b"mail.example"
    entry = len(raw).to_bytes(2, "big") + raw
    old = b"\x00\x00" + (len(good) + 5).to_bytes(2, "big") + (len(good) + 3).to_bytes(2, "big") + b"\x00"
    new = b"\x00\x00" + (len(raw) + 5).to_bytes(2, "big") + (len(raw) + 3).to_bytes(2, "big") + b"\x00"
    message = HELLO[5:].replace(old + len(good).to_bytes(2, "big") + good, new + entry)
    shorter = len(good) - len(raw)
    body = bytearray(message)
    body[1:4] = (int.from_bytes(message[1:4], "big") - shorter).to_bytes(3, "big")
    at = 4 + 2 + 32 + 1 + message[38]
    at += 2 + int.from_bytes(message[at : at + 2], "big")
    at += 1 + message[at]
    body[at : at + 2] = (int.from_bytes(message[at : at + 2], "big") - shorter).to_bytes(2, "big")
    found = look(b"\x16\x03\x01" + len(body).to_bytes(2, "big") + bytes(body))
    assert found == Hello(None, ("h2", "http/1.1"))


def test_mysqls_request_for_tls_is_known_by_its_flag() -> None:
    """36 bytes, number 1, CLIENT_SSL; a login without TLS has the same head and is longer."""
    request = bytes.fromhex("20000001 85ae7f00 00000001 21") + bytes(23)
    assert tls_request_bytes(request) == len(request) == 36
    assert tls_request_bytes(request + HELLO) == 36
    assert tls_request_bytes(request[:35]) == 0
    assert tls_request_bytes(bytes.fromhex("20000001 85a67f00 00000001 21") + bytes(23)) == 0
    assert tls_request_bytes(b"\x55" + request[1:]) == 0
