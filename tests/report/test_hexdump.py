"""Hexdumps: rows that anybody can read, whatever the chunks were."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfcat.report.hexdump import HexDump, row_bytes_for

unhurried = settings(deadline=None)  # a slow machine is no failure
SGR = re.compile(r"\x1b\[[0-9;]*m")


def dump(*chunks: bytes, mark: str = "", row_bytes: int = 16, color: bool = False) -> list[str]:
    rows = HexDump(mark, row_bytes=row_bytes, color=color)
    return [row for chunk in chunks for row in rows.feed(chunk)] + rows.flush()


def bytes_of(row: str) -> bytes:
    """What a row without a mark shows, read back."""
    return bytes.fromhex(row[10 : row.index(" |")].strip())


def test_rows() -> None:
    """Offset, hexadecimal, text, as `hexdump -C` has them."""
    assert dump(b"Hello, world!\r\n\0\x80\xff") == [
        "00000000  48 65 6c 6c 6f 2c 20 77  6f 72 6c 64 21 0d 0a 00 |Hello, world!...|",
        "00000010  80 ff                                            |..|",
    ]


def test_the_direction_is_marked() -> None:
    """In front of each row."""
    assert dump(b"a" * 17, mark="<") == [
        "< 00000000  61 61 61 61 61 61 61 61  61 61 61 61 61 61 61 61 |aaaaaaaaaaaaaaaa|",
        "< 00000010  61                                               |a|",
    ]


@unhurried
@given(st.binary(max_size=100), st.data())
def test_any_split_gives_the_same_rows(data: bytes, draw: st.DataObject) -> None:
    """Where chunks begin and end is accident."""
    cuts = draw.draw(st.lists(st.integers(0, len(data))).map(sorted))
    assert dump(*(data[start:end] for start, end in pairwise([0, *cuts, len(data)]))) == dump(data)


@unhurried
@given(st.binary(max_size=100), st.sampled_from([4, 8, 16]))
def test_no_byte_is_lost(data: bytes, row_bytes: int) -> None:
    """The rows hold all bytes, each at its offset; each character of the text is printable ASCII."""
    rows = dump(data, row_bytes=row_bytes)
    assert b"".join(map(bytes_of, rows)) == data
    assert [int(row[:8], 16) for row in rows] == list(range(0, len(data), row_bytes))
    assert all(row.isascii() and row.isprintable() for row in rows)


@unhurried
@given(st.lists(st.binary(max_size=40)))
def test_the_row_that_is_not_complete(chunks: list[bytes]) -> None:
    """It can be looked at, and is ended by `flush`; the next one goes on where it ended."""
    rows = HexDump()
    seen = 0
    for chunk in chunks:
        rest = (len(rows.partial) and len(bytes_of(rows.partial))) + len(chunk)
        assert len(rows.feed(chunk)) == rest // 16
        partial = rows.partial
        assert (len(bytes_of(partial)) if partial else 0) == rest % 16
        if len(chunk) % 2:
            assert rows.flush() == ([partial] if partial else [])
            assert rows.partial == ""
        seen += len(chunk)
    rows.flush()
    rows.feed(b"x")
    assert int(rows.partial[:8], 16) == seen


@unhurried
@given(st.binary(max_size=100))
def test_colour_changes_nothing_but_colour(data: bytes) -> None:
    """Without its sequences a coloured row is the plain one, and every colour ends where it should."""
    for colored, plain in zip(dump(data, mark=">", color=True), dump(data, mark=">"), strict=True):
        assert SGR.sub("", colored) == plain
        assert colored.count("\x1b[0m") * 2 == len(SGR.findall(colored))


def test_colour_by_the_class_of_a_byte() -> None:
    """NUL, blank, control, printable, not ASCII: one colour each, and a run of one class is one sequence."""
    (row,) = dump(b"\0\0 \n\x1bab\xff", color=True)
    colors = re.findall(r"\x1b\[(\d+)m([^\x1b]*)\x1b\[0m", row)
    assert [color for color, _ in colors] == ["90", "32", "35", "36", "33"] * 2
    assert [cells.split() for _, cells in colors[:5]] == [["00", "00"], ["20", "0a"], ["1b"], ["61", "62"], ["ff"]]


@pytest.mark.parametrize(("columns", "count"), [(200, 16), (80, 16), (79, 16), (78, 8), (40, 4), (1, 4)])
def test_rows_fit_the_terminal(columns: int, count: int) -> None:
    """As many bytes as there is room for, in a round number of them."""
    assert row_bytes_for(columns) == count
    (row,) = dump(b"x" * count, mark=">", row_bytes=count)
    assert len(row) <= columns or columns == 1
