"""What is waited for: patterns, lines, bytes."""

from __future__ import annotations

import re

from cfcat.export.waits import Bytes, Lines, Match, Replied, Waits


def _find(pattern: bytes, text: bytes) -> int | None:
    try:
        found = re.search(pattern, text, re.MULTILINE)
    except re.error:
        return None
    return None if found is None else found.end()


def waits(*received: bytes, expected: bytes | None = None) -> Waits:
    made = Waits(_find)
    for data in received:
        made.receive(data)
    if expected is not None:
        made.expect(expected)
    return made


def test_lines_of_a_text() -> None:
    assert waits(b"250-a\r\n2", b"50 b\r\n").take() == [Lines(2)]


def test_prompt_behind_lines() -> None:
    """A line that has not ended counts by its bytes."""
    assert waits(b"hello\r\nlogin: ").take() == [Lines(1), Bytes(7)]


def test_bytes_of_what_is_no_text() -> None:
    assert waits(b"a\n\x00b\n").take() == [Bytes(5)]


def test_nothing() -> None:
    assert waits().take() == []


def test_pattern_is_enough() -> None:
    """What has come behind the match was not waited for; it counts for the next wait."""
    made = waits(b"220 a\r\n250 b\r\n", expected=b"^220 .*\\n")
    assert made.take() == [Match(r"/(?<![^\n])220 [^\n]*\n/")]
    made.receive(b"c\r\n")
    assert made.take() == [Lines(2)]


def test_whole_reply() -> None:
    """All lines of a code, or one line; what has come behind it is the next one."""
    made = waits(b"250-a\r\n250-b\r\n250 c\r\n250\r\n211-x\r\n 211 y\r\n211 z\r\n+OK\r\n")
    for pattern in (b"250", b"(?i)250", b"(?s)211.*z", rb"\+OK"):
        made.reply(pattern)
    regexes = (r"/(?<![^\n])(?:250)/", r"/(?<![^\n])(?:250)/i", "/(?:)/", r"/(?<![^\n])(?:\+OK)/")
    assert made.take_matches() == [Replied(regex) for regex in regexes]
    assert made.take_all() == []


def test_reply_whose_end_nobody_sees() -> None:
    """The match has to do: of IMAP's last line, behind a body, in the middle of a line, behind a change by hand."""
    match = Match(r"/(?<![^\n])(?:a1)/")
    for received in (b"* 1 EXISTS\r\na1 OK\r\n", b"x\r\n.\r\na1 OK\r\n"):
        made = waits(received)
        made.reply(b"a1")
        assert made.take() == [match]
    made = waits(b"x\r\na1 OK\r\n", expected=b"x")
    made.reply(b"a1")
    assert made.take() == [Match("/x/"), match]
    made = waits(b"250-a\r\n")
    made.reply(b"250")
    assert made.take() == [Match(r"/(?<![^\n])(?:250)/")]
    made = waits(b"b1 OK\r\n")
    made.reply(b"a1")
    assert made.take() == [Lines(1)]


def test_everything_before_an_upgrade() -> None:
    """The end of the go-ahead's line, too: behind it TLS begins."""
    assert waits(b"220 go\r\n", expected=b"^220").take_all(check=True) == [Match(r"/(?<![^\n])220/"), Lines(1)]


def test_pattern_that_javascript_has_not() -> None:
    assert waits(b"220 a\r\n", expected=rb"\A220").take() == [Lines(1)]


def test_pattern_that_does_not_match_here() -> None:
    """A transcript may have been changed by hand."""
    assert waits(b"220 a\r\n", expected=b"^250").take() == [Lines(1)]
    assert waits(b"220 a\r\n", expected=b"(").take() == [Lines(1)]


def test_go_ahead_must_be_the_same() -> None:
    """Where no pattern was waited for, its code or its bytes are."""
    for answer, begins in ((b"250-x\r\n220 go\r\n", "220"), (b"a1 OK go\r\n", "a1 OK"), (b"+OK go\r\n", "+OK")):
        assert waits(answer).take_all(check=True) == [Lines(answer.count(b"\n"), begins)]
    assert waits(b"S").take_all(check=True) == [Bytes(1, "S")]
    assert waits(b"\x00\xff").take_all(check=True) == [Bytes(2, "\x00\xff")]
    assert waits(b"<proceed/>").take_all(check=True) == [Bytes(10, "<proceed/>")]
    assert waits(bytes(100)).take_all(check=True) == [Bytes(100)]
    assert waits(b"220 go\r\n").take_all() == [Lines(1)]


def test_only_patterns_before_the_end() -> None:
    """An answer that is read to its end may be a longer one, or a shorter one."""
    assert waits(b"a\n").take_matches() == []
    assert waits(b"a\n", expected=b"a").take_matches() == [Match("/a/")]
