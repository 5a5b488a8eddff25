"""What comes is compared with what was recorded: any split of it leads to the same end."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cfcat.record.comparing import Comparison, Difference, diff_lines, fits
from cfcat.record.replaying import Row, Said

pytestmark = pytest.mark.one_python

Outcome = tuple[bool, bytes, Difference | None]


def said(data: bytes) -> Said:
    return Said("server", bytearray(data), [Row(0, 1)])


def without(patterns: list[re.Pattern[bytes]], text: bytes) -> bytes:
    for pattern in patterns:
        text = pattern.sub(b"", text)
    return text


def compare(recorded: bytes, pieces: list[bytes], *ignored: bytes, ends: bool = True) -> Outcome:
    """Feed the pieces, then a pause and, unless the peer goes on, the end."""
    patterns = [re.compile(each, re.MULTILINE) for each in ignored]
    comparison = Comparison(said(recorded), may_ignore=bool(patterns))

    def settle() -> None:
        while comparison.doubt is not None:
            wanted, came = comparison.doubt
            comparison.answer(fits(without(patterns, wanted), without(patterns, came)))

    for piece in pieces:
        comparison.feed(piece)
        settle()
    while comparison.waits_for_pause:
        comparison.pause()
        settle()
    while ends and not comparison.is_done and comparison.difference is None:
        comparison.stop()
        settle()
    rest = comparison.rest if comparison.is_done else b""
    return comparison.is_done, rest, comparison.difference


def split(data: bytes, places: list[int]) -> list[bytes]:
    cuts = sorted({min(place, len(data)) for place in places})
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


text = st.lists(st.sampled_from([b"a", b"b", b"1", b"22", b"****", b"\r\n", b"\n", b"\0"]), max_size=12).map(b"".join)


@given(text.filter(bool), text, st.lists(st.integers(0, 40), max_size=6), st.booleans())
def test_any_split_gives_the_same_outcome(recorded: bytes, came: bytes, places: list[int], ignores: bool) -> None:
    """Chunk borders mean nothing: same verdict, same rest, same difference."""
    patterns = [rb"\d+"] if ignores else []
    whole = compare(recorded, [came], *patterns)
    assert compare(recorded, split(came, places), *patterns) == whole
    assert compare(recorded, [came[at : at + 1] for at in range(len(came))], *patterns) == whole


@given(text.filter(bool), text)
def test_what_was_recorded_is_the_same(recorded: bytes, more: bytes) -> None:
    """And what comes behind it is left for the next step."""
    assert compare(recorded, [recorded + more]) == (True, more, None)


@pytest.mark.parametrize(
    ("recorded", "came"),
    [
        (b"PASS ****\r\n", b"PASS hunter2\r\n"),
        (b"PASS ****\r\n", b"PASS \r\n"),
        (b"AUTH PLAIN ********\r\nNOOP\r\n", b"AUTH PLAIN AGE=\r\nNOOP\r\n"),
        (b"id=**** by ****.\r\n", b"id=1x2 by exim.\r\n"),
        (b"<auth mechanism='PLAIN'>****", b"<auth mechanism='PLAIN'>AGE=</auth>"),
    ],
)
def test_a_mask_is_anything(recorded: bytes, came: bytes) -> None:
    """Within its line."""
    assert compare(recorded, [came]) == (True, b"", None)


@pytest.mark.parametrize(
    ("recorded", "came", "pattern"),
    [
        (b"250 OK id=1abc-2\r\n", b"250 OK id=1xyz-10\r\n", rb"id=\S+"),
        (b"Date: Mon\r\nA: b\r\n", b"Date: Tuesday\r\nA: b\r\n", rb"^Date: .*$"),
        (b'{"at": 17}', b'{"at": 4711}', rb"\d+"),
        (b"id 1 PASS ****\r\n", b"id 22 PASS x\r\n", rb"id \d+"),
    ],
)
def test_what_may_differ_is_left_out_of_both(recorded: bytes, came: bytes, pattern: bytes) -> None:
    """A date, an id; with masks in the line, too. Without it that is a difference."""
    assert compare(recorded, [came], pattern) == (True, b"", None)
    assert compare(recorded, [came])[2] is not None


def test_a_difference_has_both_lines_whole() -> None:
    """As soon as the line has come; what came before it was the same."""
    recorded = Said("server", bytearray(b"250-a\r\n250 b\r\n"), [Row(0, 7), Row(7, 9)])
    comparison = Comparison(recorded)
    comparison.feed(b"250-a\r\n250 ")
    comparison.feed(b"c")
    assert comparison.difference is None
    comparison.feed(b"ool\r\n221 bye\r\n")
    assert comparison.difference == Difference(9, b"250 b\r\n", b"250 cool\r\n")


def test_what_does_not_come_is_a_difference() -> None:
    """With what has come of it."""
    comparison = Comparison(said(b"250 hello\r\n"))
    comparison.feed(b"250 he")
    comparison.pause()
    assert not comparison.waits_for_pause
    assert comparison.difference is None
    comparison.stop()
    assert comparison.difference == Difference(1, b"250 hello\r\n", b"250 he")


def test_a_line_without_end_is_judged_at_last() -> None:
    """Not kept for ever."""
    comparison = Comparison(said(b"PASS ****\r\n"), may_ignore=True)
    for _ in range(5):
        comparison.feed(b"x" * 20_000)
    assert comparison.doubt is not None


def test_a_large_step_takes_no_long_time() -> None:
    """16 MiB in small chunks, with the difference in the last byte."""
    data = bytes(range(256)) * 64 * 1024
    comparison = Comparison(said(data))
    for start in range(0, len(data) - 4096, 4096):
        comparison.feed(data[start : start + 4096])
    comparison.feed(data[-4096:-1] + b"x")
    comparison.pause()
    assert comparison.difference is not None


def test_the_diff_is_small() -> None:
    """Of long lines what is around the difference; nothing that a terminal would obey."""
    long = b"x" * 500
    lines = diff_lines(Difference(3, long + b"a" + long, long + b"\x1b[2J" + long), [(">", b"GET /\r\n")], "<")
    assert lines[0] == r"  > GET /\r\n"
    assert all(len(line) < 200 for line in lines)
    assert "\x1b" not in "".join(lines)
    assert "a" in lines[1]
    assert r"\x1b" in lines[2]
