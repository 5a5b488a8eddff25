"""HAProxy's header, byte by byte."""

from __future__ import annotations

import pytest

from cfcat import OptionsError
from cfcat.proxies.dialog import Refusal
from cfcat.proxies.header import Claim, End, header, parse_claim, read_header
from tests.proxies.play import play

pytestmark = pytest.mark.one_python

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
OURS_4, OURS_6 = End("192.0.2.7", 5000), End("2001:db8::7", 5000)
THERE_4, THERE_6 = End("192.0.2.1", 25), End("fe80::1%eth0", 25)


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("1", (1, "", 0)),
        ("2", (2, "", 0)),
        ("1:192.0.2.7", (1, "192.0.2.7", 0)),
        ("2:192.0.2.7:5000", (2, "192.0.2.7", 5000)),
        ("2:2001:db8::7", (2, "2001:db8::7", 0)),
        ("2:[2001:db8::7]", (2, "2001:db8::7", 0)),
        ("2:[2001:db8::7]:5000", (2, "2001:db8::7", 5000)),
    ],
)
def test_claims(text: str, claim: tuple[object, ...]) -> None:
    """A version, and whom to claim to be."""
    assert parse_claim(text) == claim


@pytest.mark.parametrize(
    "text",
    ["", "3", "1:", "v1", "1:host.example", "1:192.0.2.7:", "1:192.0.2.7:0", "1:192.0.2.7:65536", "1::80", "2:[::1"],
)
def test_what_is_no_claim(text: str) -> None:
    """Names among it: the header has addresses."""
    with pytest.raises(OptionsError, match="it is 1 or 2"):
        parse_claim(text)


@pytest.mark.parametrize(
    ("claim", "ours", "target", "expected"),
    [
        (Claim(1), OURS_4, THERE_4, b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 25\r\n"),
        (Claim(1), OURS_6, THERE_6, b"PROXY TCP6 2001:db8::7 fe80::1 5000 25\r\n"),
        (Claim(1, "198.51.100.9"), OURS_4, THERE_4, b"PROXY TCP4 198.51.100.9 192.0.2.1 5000 25\r\n"),
        (Claim(1, "198.51.100.9", 7), OURS_4, THERE_4, b"PROXY TCP4 198.51.100.9 192.0.2.1 7 25\r\n"),
        (Claim(1), OURS_4, None, b"PROXY TCP4 192.0.2.7 0.0.0.0 5000 0\r\n"),
        (Claim(1, "2001:db8::9"), OURS_4, None, b"PROXY TCP6 2001:db8::9 :: 5000 0\r\n"),
        (Claim(1), OURS_4, THERE_6, b"PROXY UNKNOWN\r\n"),
        (Claim(1), None, None, b"PROXY UNKNOWN\r\n"),
        (Claim(1, "198.51.100.9"), None, None, b"PROXY UNKNOWN\r\n"),
        (Claim(2), OURS_4, THERE_4, SIGNATURE + bytes.fromhex("2111000cc0000207c000020113880019")),
        (
            Claim(2),
            OURS_6,
            End("::1", 25),
            SIGNATURE
            + bytes.fromhex("21210024 20010db8000000000000000000000007")
            + bytes(15)
            + b"\x01\x13\x88\x00\x19",
        ),
        (Claim(2), None, None, SIGNATURE + bytes.fromhex("20000000")),
    ],
)
def test_headers(claim: Claim, ours: End | None, target: End | None, expected: bytes) -> None:
    """Of both versions and families, and where there is nothing to say."""
    assert header(claim, ours, target) == expected


def test_a_claim_of_the_other_family() -> None:
    """No header can say it."""
    with pytest.raises(OptionsError, match="is claimed to a target of the other family"):
        header(Claim(1, "::1"), OURS_4, THERE_4)


@pytest.mark.parametrize(
    ("said", "client"),
    [
        (header(Claim(1), OURS_4, THERE_4), "192.0.2.7:5000"),
        (header(Claim(1), OURS_6, THERE_6), "[2001:db8::7]:5000"),
        (header(Claim(2), OURS_4, THERE_4), "192.0.2.7:5000"),
        (header(Claim(2), OURS_6, THERE_6), "[2001:db8::7]:5000"),
        (b"PROXY UNKNOWN\r\n", ""),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", ""),
        (SIGNATURE + bytes.fromhex("20000000"), ""),
        (SIGNATURE + bytes.fromhex("20110003") + b"xyz", ""),
        (SIGNATURE + bytes.fromhex("2111000f c0000207c000020113880019") + b"TLV", "192.0.2.7:5000"),
        (SIGNATURE + bytes.fromhex("213100d8") + bytes(216), ""),
    ],
)
def test_headers_are_read_and_nothing_behind_them(said: bytes, client: str) -> None:
    """Of either version; what follows is the client's."""
    assert play(read_header(), said + b"GET /")[1:] == (client, b"GET /")


@pytest.mark.parametrize(
    "said",
    [
        b"G",
        b"POST",
        b"\x16\x03\x01",
        b"\r\n\r\nx",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 25\n",
        b"PROXY TCP4 192.0.2.7 ::1 5000 25\r\n",
        b"PROXY TCP4 192.0.2.777 192.0.2.1 5000 25\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 65536 25\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 5000\r\n",
        b"PROXY " + b"x" * 101,
        SIGNATURE + bytes.fromhex("22000000"),
        SIGNATURE + bytes.fromhex("11110000"),
        SIGNATURE + bytes.fromhex("21110004") + bytes(4),
    ],
)
def test_what_is_no_header(said: bytes) -> None:
    """It is found out at once, and a line has an end."""
    with pytest.raises(Refusal, match="the client sent no PROXY header"):
        play(read_header(), said)
