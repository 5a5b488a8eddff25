"""SEC-R7: a line or packet of 64 KiB, a dialog of 1 MiB, reached in any way, in bounded time and memory."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from cfcat.protocols import DialogRun
from tests.protocols.scripts import SCRIPTS, Script, feed, outcome, refused, start

pytestmark = pytest.mark.one_python

KIB = 1024
MIB = 1024 * KIB
LINE_PROTOCOLS = ("smtp", "lmtp", "pop3", "imap", "ftp", "nntp", "sieve", "irc")
FIRST = {"smtp": b"220 ", "lmtp": b"220-", "pop3": b"+OK ", "imap": b"* OK ", "ftp": b"220-", "nntp": b"200 "}
# Lines that a dialog reads and drops, and what must have been said before them.
ENDLESS = {
    "smtp": (b"220 x\r\n", b"250-SIZE 10240000\r\n"),
    "lmtp": (b"", b"220- welcome\r\n"),
    "imap": (b"* OK x\r\n", b"* 12345 EXISTS\r\n"),
    "ftp": (b"220-\r\n", b"welcome to you\r\n"),
    "nntp": (b"200 x\r\n101 x\r\n", b"CAPABILITY X\r\n"),
    "sieve": (b"", b'"SIEVE" "fileinto"\r\n'),
    "irc": (b"", b":irc.example NOTICE * :hold on\r\n"),
    "xmpp": (b"<stream:stream><stream:features>", b"<mechanism> X</mechanism>"),
    "telnet": (b"", b"\xff\xfd\x18\xff\xf1some text\xff\xfa\x18\x01\xff\xf0"),
}


def flood(conversation: DialogRun, filler: bytes) -> None:
    """Feed `filler` until it is an error: before 2 MiB, and never with more than a line of it kept."""
    piece = filler * (16 * KIB // len(filler) + 1)
    fed = 0
    error = None
    while error is None:
        error = feed(conversation, piece)
        assert len(conversation._buffer) <= 64 * KIB
        fed += len(piece)
        assert fed < 2 * MIB


@pytest.mark.parametrize("script", SCRIPTS, ids=repr)
def test_sec_r7_no_dialog_goes_on_for_ever(script: Script) -> None:
    """At any point of any dialog, endless bytes of any kind end in an error, and are not kept."""
    begin = b""
    for said, _ in script.turns:
        for filler in (b"x", b"\0", b" ", b"<a long tag>", b"250-a long line\r\n", b"* a long line\r\n"):
            conversation = start(script.protocol)
            if begin:
                conversation.feed(begin)
            flood(conversation, filler)
        begin += said


@pytest.mark.parametrize("protocol", LINE_PROTOCOLS)
def test_sec_r7_line_of_64_kib_is_the_longest(protocol: str) -> None:
    """A greeting of 65536 bytes with its end is read on; with one byte more it is refused, ended or not."""
    first = FIRST.get(protocol, b'"S" ' if protocol == "sieve" else b":s NOTICE ")
    conversation = start(protocol)
    conversation.feed(first + b"x" * (64 * KIB - len(first) - 2) + b"\r\n")
    assert not conversation.done
    for tail in (b"\r\n", b"", b"x" * MIB):
        error = refused(protocol, first + b"x" * (64 * KIB - len(first) - 1 + (not tail)) + tail)
        assert error.message.endswith(" has no end within 64 KiB")
        assert error.said == b""


def test_sec_r7_gigabyte_in_one_piece_is_not_copied() -> None:
    """1 GiB without a line end fails at 64 KiB, without looking at the rest."""
    gibibyte = bytes(1024 * MIB)  # zeros that nobody reads take no memory
    conversation = start("irc")
    conversation.feed(b":")
    tracemalloc.start()
    try:
        error = feed(conversation, gibibyte)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(error) == "the server's answer to STARTTLS has no end within 64 KiB"
    assert peak < MIB


@pytest.mark.parametrize("protocol", ENDLESS)
def test_sec_r7_dialog_of_1_mib_is_the_longest(protocol: str) -> None:
    """What is read and dropped counts up to 1 MiB in all, to the byte, in one piece and in many."""
    begin, line = ENDLESS[protocol]
    line = line.replace(b" ", b" " + b"x" * 1000, 1)
    data = begin + line * (MIB // len(line) + 1)
    text = "the server sent more than 1 MiB before its go-ahead"
    assert outcome(protocol, [data[: MIB - 1]]).end == "open"
    assert refused(protocol, data[:MIB]).message == text
    conversation = start(protocol)
    conversation.feed(data[: MIB - 10])
    errors = [feed(conversation, data[i : i + 1]) for i in range(MIB - 10, MIB)]
    assert errors[:-1] == [None] * 9
    assert str(errors[-1]) == text


@pytest.mark.parametrize("protocol", ENDLESS)
def test_sec_r7_a_hundred_thousand_lines_are_soon_read(protocol: str) -> None:
    """However many lines fit into the limit, reading them takes no time to speak of, and they are not kept."""
    begin, line = ENDLESS[protocol]
    conversation = start(protocol)
    started = time.process_time()
    assert feed(conversation, begin + line * 100_000) is not None
    assert time.process_time() - started < 5
    assert not conversation._buffer


def test_sec_r7_a_hundred_thousand_short_lines_are_no_error() -> None:
    """The number of lines is not limited by itself: 100,000 of 7 bytes are less than 1 MiB."""
    conversation = start("smtp")
    conversation.feed(b"220 x\r\n" + b"250-x\r\n" * 100_000 + b"250 x\r\n220 go\r\n")
    assert conversation.done


def test_sec_r7_single_bytes_are_searched_once() -> None:
    """A line of 64 KiB in pieces of one byte takes linear time: what has been searched is not searched again."""
    conversation = start("irc")
    data = b":" + b"x" * (64 * KIB - 2)
    for length in range(1, len(data) + 1):
        conversation.feed(data[length - 1 : length])
        assert conversation._searched == length
    assert str(feed(conversation, b"x")).endswith("has no end within 64 KiB")


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ("ldap", bytes.fromhex("30 83 010001")),
        ("ldap", bytes.fromhex("30 84 ffffffff")),
        ("mysql", bytes.fromhex("010001 00")),
        ("sieve", b'"X" {65537}\r\n'),
        ("sieve", b'"X" {9999999999}\r\n'),
        ("vnc", b"RFB 003.008\n\x00\x00\x01\x00\x01"),
        ("nbd", b"NBDMAGICIHAVEOPT\x00\x03" + bytes.fromhex("0003e889045565a9 00000005 80000001 00010001")),
    ],
)
def test_sec_r7_announced_length_over_64_kib_is_refused_at_once(protocol: str, said: bytes) -> None:
    """Nobody waits for a packet that is too long; one of exactly 64 KiB is waited for."""
    assert refused(protocol, said).message.endswith(" is longer than 64 KiB")


@pytest.mark.parametrize("said", [bytes.fromhex("30 83 010000"), bytes.fromhex("30 82 ffff")])
def test_sec_r7_announced_length_of_64_kib_is_waited_for(said: bytes) -> None:
    """The limit is inclusive."""
    assert outcome("ldap", [said]).end == "open"
