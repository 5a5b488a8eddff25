"""The packets of a capture: their headers, numbers and checksums, and the blocks around them."""

from __future__ import annotations

import ipaddress
import os
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfcat.record.pcap import KeyLog, Packets, Stream

pytestmark = pytest.mark.one_python

unhurried = settings(deadline=None)  # a slow machine is no failure
IPV4 = ("127.0.0.1", 40000), ("192.0.2.7", 25)
IPV6 = ("::1", 40000, 0, 0), ("2001:db8::7", 25, 0, 0)
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


class Block(NamedTuple):
    kind: int
    body: bytes


def blocks(data: bytes) -> Iterator[Block]:
    """Each block; its length stands at both ends, and is a multiple of four."""
    while data:
        kind, size = struct.unpack("<II", data[:8])
        assert size % 4 == 0
        assert data[size - 4 : size] == data[4:8]
        yield Block(kind, data[8 : size - 4])
        data = data[size:]


class Packet(NamedTuple):
    source: str
    target: str
    ports: tuple[int, int]
    number: int
    acknowledged: int
    flags: int
    payload: bytes


def packet(body: bytes) -> Packet:
    """What an enhanced packet block holds; its checksums are right."""
    size = struct.unpack("<I", body[12:16])[0]
    data = body[20 : 20 + size]
    if data[0] >> 4 == 4:
        assert total(data[:20]) == 0xFFFF
        assert struct.unpack("!H", data[2:4])[0] == size
        source, target, segment = data[12:16], data[16:20], data[20:]
        pseudo = source + target + struct.pack("!HH", 6, len(segment))
    else:
        assert struct.unpack("!H", data[4:6])[0] == size - 40
        source, target, segment = data[8:24], data[24:40], data[40:]
        pseudo = source + target + struct.pack("!II", len(segment), 6)
    assert total(pseudo + segment) == 0xFFFF
    ports = struct.unpack("!HH", segment[:4])
    number, acknowledged = struct.unpack("!II", segment[4:12])
    addresses = str(ipaddress.ip_address(source)), str(ipaddress.ip_address(target))
    return Packet(*addresses, (ports[0], ports[1]), number, acknowledged, segment[13], segment[20:])


def total(data: bytes) -> int:
    """RFC 1071, word by word."""
    data += bytes(len(data) % 2)
    found = 0
    for at in range(0, len(data), 2):
        found += int.from_bytes(data[at : at + 2], "big")
        found = (found & 0xFFFF) + (found >> 16)
    return found


def stream(ends: Any, *, accepted: bool = False) -> tuple[Stream, list[bytes]]:
    written: list[bytes] = []
    packets = Packets(written.append, lambda: 1_700_000_000_123_456_789)
    return Stream(packets, KeyLog(), *ends, accepted=accepted, number=1), written


def packets_of(written: list[bytes]) -> list[Packet]:
    return [packet(block.body) for block in blocks(b"".join(written)) if block.kind == 6]


@pytest.mark.parametrize("accepted", [False, True])
@pytest.mark.parametrize("ends", [IPV4, IPV6], ids=["IPv4", "IPv6"])
def test_a_conversation_is_one_of_tcp(ends: Any, accepted: bool) -> None:
    """SYN by who has called, data with its numbers, FIN from both sides."""
    made, written = stream(ends, accepted=accepted)
    made.sent(b"hello")
    made.received(b"you too")
    made.ended(by_us=True)
    made.ended(by_us=True)  # close() behind shutdown()
    made.ended(by_us=False)
    found = packets_of(written)
    assert [each.flags for each in found] == [
        *(SYN, SYN | ACK, ACK),
        *(PSH | ACK, PSH | ACK),
        *(FIN | ACK, ACK, FIN | ACK, ACK),
    ]
    us, peer = ends[0][0], ends[1][0]
    caller = peer if accepted else us
    assert (found[0].source, found[3].source, found[4].source) == (caller, us, peer)
    assert [(each.number, each.acknowledged) for each in found[3:]] == [(1, 1), (1, 6), (6, 8), (8, 7), (8, 7), (7, 9)]
    assert (found[3].payload, found[4].payload) == (b"hello", b"you too")
    assert found[3].ports == (40000, 25)


def test_a_reset_is_one() -> None:
    """By whom it was."""
    for by_us, source in ((True, "127.0.0.1"), (False, "192.0.2.7")):
        made, written = stream(IPV4)
        made.reset(by_us=by_us)
        last = packets_of(written)[-1]
        assert (last.flags, last.source) == (RST | ACK, source)


@unhurried
@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=70_000)), max_size=8), st.booleans())
def test_the_payloads_of_a_direction_are_its_bytes(said: list[tuple[bool, bytes]], six: bool) -> None:
    """In order, without a gap, in packets that IP can carry; checksums included."""
    made, written = stream(IPV6 if six else IPV4)
    for by_us, data in said:
        (made.sent if by_us else made.received)(data)
    found = packets_of(written)
    for by_us, source in ((True, found[0].source), (False, found[0].target)):
        ours = [each for each in found if each.source == source and each.payload]
        assert b"".join(each.payload for each in ours) == b"".join(data for ours_, data in said if ours_ is by_us)
        number = 1
        for each in ours:
            assert each.number == number
            number += len(each.payload)
            assert len(each.payload) <= 60 * 1024


def test_a_section_begins_the_file_and_a_time_is_in_nanoseconds() -> None:
    """Section header, one interface of raw IP; the clock's own words."""
    _, written = stream(IPV4)
    first, second, third = list(blocks(b"".join(written)))[:3]
    assert first.kind == 0x0A0D0D0A
    assert struct.unpack("<IHH", first.body[:8]) == (0x1A2B3C4D, 1, 0)
    assert (second.kind, struct.unpack("<H", second.body[:2])[0]) == (1, 101)
    assert struct.pack("<HHB", 9, 1, 9) in second.body
    high, low = struct.unpack("<II", third.body[4:12])
    assert high << 32 | low == 1_700_000_000_123_456_789


def test_a_unix_socket_has_made_up_ends_and_says_so() -> None:
    """Wireshark has nothing else for it."""
    made, written = stream(("", "/tmp/door"))
    made.sent(b"x")
    assert {each.source for each in packets_of(written)} == {"127.0.0.1"}
    assert b"a Unix socket: /tmp/door; addresses and ports are made up" in b"".join(written)


def test_the_keys_of_a_handshake_come_before_its_packets() -> None:
    """What has come is held until we answer, or it is over; keys that are logged later are written with the next."""
    keys = KeyLog()
    written: list[bytes] = []
    made = Stream(Packets(written.append), keys, *IPV4, accepted=False, number=1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    before = len(written)
    made.begin_handshake(context)
    made.sent(b"\x16\x03\x01 hello")
    assert [block.kind for block in blocks(b"".join(written[before:]))] == [10, 6]  # a comment of Python's
    before = len(written)
    made.received(b"\x16\x03\x03 server's")
    assert len(written) == before
    with open(context.keylog_filename, "ab") as file:
        file.write(b"CLIENT_RANDOM 01 02\nCLIENT_RANDOM 03")
    made.sent(b"\x16\x03\x03 finished")
    found = list(blocks(b"".join(written[before:])))
    assert [block.kind for block in found] == [10, 6, 6]
    kind, size = struct.unpack("<II", found[0].body[:8])
    assert kind == 0x544C534B
    assert found[0].body[8 : 8 + size] == b"CLIENT_RANDOM 01 02\n"
    made.end_handshake()
    made.begin_handshake(context)
    with open(context.keylog_filename, "ab") as file:
        file.write(b" 04\n")
    made.end_handshake()
    assert b"CLIENT_RANDOM 03 04\n" in written[-1]
    path = context.keylog_filename
    keys.close()
    assert not os.path.exists(path)


def test_a_key_log_that_is_kept_anyway_is_read_from_here_on(tmp_path: Path) -> None:
    """SSLKEYLOGFILE stays what it is; what others have logged before is not taken."""
    file = tmp_path / "keys"
    file.write_text("CLIENT_RANDOM old old\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.keylog_filename = str(file)
    before = file.read_text()
    keys = KeyLog()
    keys.follow(context)
    assert keys.take() == b""
    with file.open("a") as log:
        log.write("CLIENT_RANDOM new new\n")
    assert keys.take() == b"CLIENT_RANDOM new new\n"
    keys.close()
    assert file.read_text().startswith(before)
