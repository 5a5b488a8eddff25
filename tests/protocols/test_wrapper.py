"""The handshake inside TDS packets: the framing, and a real TLS 1.2 handshake through it."""

from __future__ import annotations

import contextlib
import itertools
import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfcat.errors import DialogError
from cfcat.protocols import PROTOCOLS, HandshakeWrapper
from cfcat.protocols.wrapper import packets
from tests.helpers.certs import CertSet


def packet(data: bytes, kind: int = 0x12, status: int = 1) -> bytes:
    return bytes((kind, status)) + (8 + len(data)).to_bytes(2, "big") + b"\0\0\1\0" + data


def test_wrap_makes_one_prelogin_packet() -> None:
    """Type 0x12, end of message, length with the header, packet 1 (MS-TDS 2.2.3.1)."""
    assert HandshakeWrapper().wrap(b"hello") == bytes.fromhex("12 01 000d 0000 01 00") + b"hello"


def test_wrap_of_nothing_is_nothing() -> None:
    """A codec that has nothing to say makes no empty packet."""
    assert HandshakeWrapper().wrap(b"") == b""


@pytest.mark.parametrize(("size", "lengths"), [(4088, [4096]), (4089, [4096, 9]), (10000, [4096, 4096, 1832])])
def test_wrap_splits_into_packets_of_4096_bytes(size: int, lengths: list[int]) -> None:
    """Longer flights are one message of several packets, numbered, of which only the last says that it is."""
    tls = bytes(range(256)) * 40
    wire = HandshakeWrapper().wrap(tls[:size])
    headers, start = [], 0
    while start < len(wire):
        headers.append(wire[start : start + 8])
        start += int.from_bytes(wire[start + 2 : start + 4], "big")
    assert [int.from_bytes(header[2:4], "big") for header in headers] == lengths
    assert [header[1] for header in headers] == [0] * (len(lengths) - 1) + [1]
    assert [header[6] for header in headers] == list(range(1, len(lengths) + 1))
    assert HandshakeWrapper().unwrap(wire) == tls[:size]


def test_wrap_counts_packets_modulo_256() -> None:
    """The number of a packet is one byte (MS-TDS 2.2.3.1.5)."""
    wire = HandshakeWrapper().wrap(bytes(4088 * 257))
    assert [wire[4096 * number + 6] for number in (0, 254, 255, 256)] == [1, 255, 0, 1]


PARTS = st.lists(st.tuples(st.binary(max_size=40), st.sampled_from([4, 0x12]), st.integers(0, 1)), max_size=8)


@settings(deadline=None)
@given(PARTS, st.integers(1, 30))
def test_unwrap_gives_the_payloads_in_any_split(parts: list[tuple[bytes, int, int]], step: int) -> None:
    """Both packet types, empty ones too, cut anywhere; a packet that is not whole is known."""
    wire = b"".join(packet(*part) for part in parts)
    ends = set(itertools.accumulate((8 + len(data) for data, _, _ in parts), initial=0))
    wrapper = HandshakeWrapper()
    tls = b""
    for start in range(0, len(wire), step):
        tls += wrapper.unwrap(wire[start : start + step])
        assert wrapper.incomplete is (min(start + step, len(wire)) not in ends)
    assert tls == b"".join(data for data, _, _ in parts)
    assert not wrapper.incomplete


@settings(deadline=None)
@given(st.lists(st.binary(max_size=30)))
def test_random_bytes_raise_nothing_but_dialog_errors(pieces: list[bytes]) -> None:
    """Nonsense is an error of the dialog (64), whatever it is."""
    wrapper = HandshakeWrapper()
    with contextlib.suppress(DialogError):
        for piece in pieces:
            wrapper.unwrap(piece)


@pytest.mark.parametrize("first", [b"\x15", b"\x16", b"\x17", b"\x00", b"\x10", b"2"])
def test_unwrap_refuses_what_is_no_packet(first: bytes) -> None:
    """TLS outside of packets, a login answer or text: at the first byte, in the first packet and after one."""
    for begin in (b"", packet(b"x")):
        with pytest.raises(DialogError, match="is not in TDS packets"):
            HandshakeWrapper().unwrap(begin + first)


@pytest.mark.parametrize("length", [0, 1, 7])
def test_unwrap_refuses_impossible_lengths(length: int) -> None:
    """A packet is not shorter than its header."""
    with pytest.raises(DialogError, match="impossible length"):
        HandshakeWrapper().unwrap(b"\x12\x01" + length.to_bytes(2, "big") + bytes(4))


def test_sec_r7_unwrap_ends_at_1_mib() -> None:
    """A handshake without end, empty packets included, is not read for ever."""
    for data in (b"", b"x" * 4088):
        wrapper = HandshakeWrapper()
        count = 1024 * 1024 // (8 + len(data))
        for _ in range(count):
            wrapper.unwrap(packet(data))
        with pytest.raises(DialogError, match="1 MiB of TLS handshake"):
            wrapper.unwrap(packet(data) * 2)


def test_mssql_says_its_highest_tls_version() -> None:
    """With 1.3 the server's tickets would come between wrapped and plain; no other protocol has such a limit."""
    assert {name for name, protocol in PROTOCOLS.items() if protocol.max_tls} == {"mssql"}
    assert PROTOCOLS["mssql"].max_tls == HandshakeWrapper.max_tls == "1.2"


@pytest.mark.parametrize("step", [1, 7, 4096, 1 << 20])
def test_tls_handshake_goes_through_and_plain_tls_follows(certs: CertSet, step: int) -> None:
    """OpenSSL at both ends: wrapped until both are done, then the same objects talk without packets."""
    server_context = certs.server_context("good")
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE
    client_context.maximum_version = ssl.TLSVersion.TLSv1_2
    bios = [ssl.MemoryBIO() for _ in range(4)]
    client = client_context.wrap_bio(bios[0], bios[1])
    server = server_context.wrap_bio(bios[2], bios[3], server_side=True)
    ends = [(client, bios[1], bios[2], HandshakeWrapper()), (server, bios[3], bios[0], HandshakeWrapper())]
    receivers = [HandshakeWrapper(), HandshakeWrapper()]
    done = [False, False]
    for _ in range(10):
        for number, (tls, outgoing, peer, wrapper) in enumerate(ends):
            if not done[number]:
                try:
                    tls.do_handshake()
                    done[number] = True
                except ssl.SSLWantReadError:
                    pass
            wire = wrapper.wrap(outgoing.read())
            for start in range(0, len(wire), step):
                peer.write(receivers[number].unwrap(wire[start : start + step]))
    assert done == [True, True]
    assert not receivers[0].incomplete
    assert not receivers[1].incomplete
    assert client.version() == "TLSv1.2"
    client.write(b"LOGIN7")
    bios[2].write(bios[1].read())
    assert server.read() == b"LOGIN7"


def test_wanted_ends_with_the_packet() -> None:
    """What follows the last packet is TLS as it is, and must stay on the wire: header, then body, then header."""
    wire = packets(b"hello")
    wrapper = HandshakeWrapper()
    tls, taken = b"", 0
    while taken < len(wire):
        size = wrapper.wanted
        assert taken + size <= len(wire)
        tls += wrapper.unwrap(wire[taken : taken + min(size, 3)])
        taken += min(size, 3)
    assert tls == b"hello"
    assert not wrapper.incomplete
