"""What a terminal shows of what was received: the same picture for any split, nothing that harms, bounded memory."""

from __future__ import annotations

import re

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfcat.repl.screen.display import Display

pytestmark = pytest.mark.one_python

COLUMNS = 10
SGR = re.compile(r"\x1b\[2?2m")
# Text in which all that matters is frequent: ends of lines, tabs, wide and combining characters, what is escaped.
PIECES = [
    *(b"a", b"b ", b"0123456789", b"\n", b"\r\n", b"\r", b"\t", b"\x1b[2J", b"\x9b", b"\x00", b"\x7f"),
    *(piece.encode() for piece in ("é", "日", "e\u0301", "\u202e", "\u200b", "\U0001f389", "\u3000", "\xa0")),
    *(b"\xc3", b"\xe2\x82", b"\xff"),
]
received = st.one_of(st.lists(st.sampled_from(PIECES), max_size=60).map(b"".join), st.binary(max_size=300))
cuts = st.lists(st.integers(0, 400), max_size=12)
unhurried = settings(deadline=None)  # a slow machine is no failure


def split(data: bytes, places: list[int]) -> list[bytes]:
    """The data, cut at these places."""
    ends = [*sorted(place for place in places if place < len(data)), len(data)]
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def feed(display: Display, chunks: list[bytes]) -> str:
    """All that goes up, then the unfinished row behind a mark."""
    return "".join(row for chunk in chunks for row in display.feed(chunk)) + "|" + display.unfinished


def text_of(data: bytes, *, columns: int = COLUMNS, view: str = "text") -> tuple[list[str], str]:
    """The rows that go up when everything comes at once, and the unfinished one."""
    display = Display(columns, view=view)
    return display.feed(data), display.unfinished


# ------------------------------------------------------------------------------------------- any split


@unhurried
@given(received, cuts, st.sampled_from(["text", "hex", "raw"]), st.integers(1, 30))
def test_any_split_gives_the_same_rows(data: bytes, places: list[int], view: str, columns: int) -> None:
    """SEC-R22: whatever arrives together, the text that goes up and the unfinished row are the same."""
    whole = feed(Display(columns, view=view), [data])
    assert feed(Display(columns, view=view), split(data, places)) == whole
    assert feed(Display(columns, view=view), split(data, list(range(len(data))))) == whole


@unhurried
@given(received, cuts)
def test_any_split_gives_the_same_rows_with_colour(data: bytes, places: list[int]) -> None:
    """Colour changes nothing but colour."""
    plain = feed(Display(COLUMNS), [data])
    assert SGR.sub("", feed(Display(COLUMNS, color=True), split(data, places))) == plain


@unhurried
@given(st.lists(st.sampled_from([b"a", b"bcd", b"0123456789", b"\r\n", b"\n", b"\t", b"\x1b["]), max_size=40), cuts)
def test_any_split_gives_the_same_picture(pieces: list[bytes], places: list[int]) -> None:
    """On a terminal too, which breaks a long line itself: a row that goes up alone is ended by hand."""

    def picture(chunks: list[bytes]) -> list[str]:
        display = Display(COLUMNS)
        screen = pyte.Screen(COLUMNS, 60)
        stream = pyte.Stream(screen)
        for chunk in chunks:
            if rows := "".join(display.feed(chunk)):
                stream.feed(rows.removesuffix("\n").replace("\n", "\r\n") + "\r\n")
        stream.feed(display.unfinished)
        return list(screen.display)

    data = b"".join(pieces)
    assert picture(split(data, places)) == picture([data])


# --------------------------------------------------------------------------------------------- harmless


@unhurried
@given(received, cuts, st.booleans())
def test_nothing_harmful_goes_to_the_terminal(data: bytes, places: list[int], color: bool) -> None:
    """SEC-R22: no control but the newline, no C1 control, no format character; SGR only where there is colour, and our
    own.
    """
    display = Display(COLUMNS, color=color)
    shown = feed(display, split(data, places)) + "".join(display.finish())
    rest = SGR.sub("", shown) if color else shown
    assert all(character == "\n" or character.isprintable() or character in "\xa0\u3000" for character in rest)


@unhurried
@given(received, cuts, st.integers(1, 30))
def test_a_row_has_no_more_columns_than_the_terminal(data: bytes, places: list[int], columns: int) -> None:
    """Where the terminal has one column at all for a wide character."""
    display = Display(columns)
    for chunk in split(data, places):
        display.feed(chunk)
        wide = sum(2 if character in "日\U0001f389\u3000" else 1 for character in display.unfinished)
        combining = display.unfinished.count("\u0301")
        assert wide - combining <= max(columns, 2)


def test_what_is_escaped_is_dimmed() -> None:
    """SEC-R22: with colour it can be told from the same text sent as text; a row that ends in it begins again with
    it.
    """
    display = Display(8, color=True)
    assert feed(display, [b"a\x1b\x9bb", b"\n"]) == "a\x1b[2m\\x1b\\x9\x1b[22m\x1b[2mb\x1b[22mb\n|"
    assert display.has_escaped
    assert feed(display, [b"a\\x1b\n"]) == "a\\x1b\n|"


def test_nothing_was_escaped() -> None:
    """Then there is nothing to be told."""
    display = Display(COLUMNS)
    display.feed("naïve\t日本\r\n".encode())
    assert not display.has_escaped


# ------------------------------------------------------------------------------------------------- text


def test_an_unfinished_line_stays() -> None:
    """`login: ` is no row yet; it becomes one when the line ends."""
    display = Display(COLUMNS)
    assert (display.feed(b"login: "), display.unfinished) == ([], "login: ")
    assert (display.feed(b"b\r\nok\r\nPass"), display.unfinished) == (["login: b\n", "ok\n"], "Pass")


def test_a_full_row_goes_up_when_more_follows() -> None:
    """Not before: the newline that may follow would be a row of its own."""
    display = Display(COLUMNS)
    assert (display.feed(b"0123456789"), display.unfinished) == ([], "0123456789")
    assert (display.feed(b"\n"), display.unfinished) == (["0123456789\n"], "")
    assert (display.feed(b"0123456789a"), display.unfinished) == (["0123456789"], "a")


def test_a_whole_long_line_is_one_row() -> None:
    """The terminal breaks it, and knows that it is one line: it can be copied as one."""
    assert text_of(b"0123456789abcdefghijk\n") == (["0123456789abcdefghijk\n"], "")


def test_a_wide_character_is_not_cut() -> None:
    """One that does not fit any more begins the next row."""
    assert text_of("012345678日本".encode()) == (["012345678"], "日本")


def test_a_wide_character_in_one_column() -> None:
    """There is no room for it anywhere: it is a row of its own."""
    assert text_of("日本".encode(), columns=1) == (["日"], "本")


def test_tabs_go_to_the_next_eighth_column() -> None:
    """And no further than the edge."""
    assert text_of(b"a\tb\tc\n\td", columns=20) == (["a       b       c\n"], "        d")
    assert text_of(b"a\tb\tc", columns=10) == (["a       b "], "c")


def test_a_row_can_be_broken_off() -> None:
    """The user has answered: what comes next begins a row of its own, and half a character is not lost."""
    display = Display(COLUMNS)
    display.feed(b"login: \xc3")
    assert display.end_row() == ["login: \n"]
    assert display.end_row() == []
    assert feed(display, [b"\xa9\n"]) == "é\n|"


def test_what_was_held_back_is_shown_at_the_end() -> None:
    """A lone CR, half a character: nothing will complete them."""
    for held, shown in ((b"a\r", "a\\x0d\n"), (b"a\xe2\x82", "a\\xe2\\x82\n"), (b"a", "a\n"), (b"", "")):
        display = Display(COLUMNS)
        display.feed(held)
        assert "".join(display.finish()) == shown
        assert display.unfinished == ""
        assert feed(display, [b"\n"]) == "\n|"


def test_a_narrower_terminal_breaks_the_unfinished_row() -> None:
    """And a wider one leaves it as it is."""
    display = Display(COLUMNS)
    display.feed(b"01234567")
    assert (display.resize(3), display.unfinished) == (["012", "345"], "67")
    assert (display.resize(80), display.unfinished) == ([], "67")
    assert (display.feed(b"x" * 70), display.unfinished) == ([], "67" + "x" * 70)


@pytest.mark.parametrize(
    "endless", [b"x" * 65536, "日本".encode() * 10000, "e\u0301\u0301\u0301".encode() * 9000, b"\x1b\x00" * 9000]
)
@pytest.mark.parametrize("view", ["text", "raw", "hex"])
def test_a_line_without_end_is_shown_in_pieces(endless: bytes, view: str) -> None:
    """Row 52: what is kept of it does not grow."""
    display = Display(COLUMNS, view=view, color=True)
    for _ in range(3):
        rows = display.feed(endless)
        assert sum(map(len, rows)) > len(endless) / 6
        assert len(display.unfinished) < 1000


def test_a_row_of_nothing_but_combining_characters_ends() -> None:
    """They have no width: the row would never be full."""
    rows, unfinished = text_of(("a" + "\u0301" * 1000).encode())
    assert len(rows) == 6
    assert all(row.endswith("\n") and len(row) == 161 for row in rows)
    assert len(unfinished) == 41


# ------------------------------------------------------------------------------------------ other views


def test_hex() -> None:
    """Rows of a dump; the one that is not complete is the unfinished row."""
    display = Display(80, view="hex")
    rows = display.feed(b"0123456789abcdefXY")
    assert [row[:22] for row in rows] == ["< 00000000  30 31 32 3"]
    assert rows[0].endswith("|0123456789abcdef|\n")
    assert display.unfinished.startswith("< 00000010  58 59 ")
    assert display.end_row()[0].rstrip().endswith("|XY|")
    display.feed(b"Z")
    assert display.unfinished.startswith("< 00000012  5a")


def test_hex_on_a_narrow_terminal() -> None:
    """Fewer bytes in a row: one that the terminal breaks cannot be read."""
    assert all(len(row) <= 51 for row in text_of(bytes(64), columns=50, view="hex")[0])


def test_raw_passes_lines_as_they_are() -> None:
    """Only the line that has not ended is filtered: it is inside the prompt."""
    display = Display(COLUMNS, view="raw")
    rows = display.feed(b"\x1b[31mred\xff\xc3\xa9\r\n\x1b[0m")
    assert [row.encode("utf-8", "surrogateescape") for row in rows] == [b"\x1b[31mred\xff\xc3\xa9\r\n"]
    assert display.unfinished == "\\x1b[0m"
    assert "".join(display.end_row()) == "\x1b[0m\n"


def test_another_view_ends_the_row() -> None:
    """What was drawn one way does not go on another way."""
    display = Display(80)
    display.feed(b"half\r")
    assert (display.set_view("hex"), display.unfinished) == (["half\\x0d\n"], "")
    assert display.set_view("hex") == []
    display.feed(b"X")
    assert display.set_view("text")[0].startswith("< 00000000  58")
    assert (display.feed(b"Y"), display.unfinished) == ([], "Y")
