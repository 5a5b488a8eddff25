"""Bytes to text that is safe to show: SEC-R20 for what cfcat prints itself, SEC-R22 for what a terminal gets."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cfcat.report.render import INVISIBLE, TerminalFilter, escape, is_visible, quote

pytestmark = pytest.mark.one_python

FORBIDDEN_BYTES = frozenset((*range(0x09), *range(0x0B, 0x20), 0x7F))
# Bidi controls, zero-width characters, tags: they reorder or hide text.
HIDING = frozenset(
    (
        *(0x061C, 0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0xFEFF),
        *(*range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xE0000, 0xE0080)),
    )
)
C1 = range(0x80, 0xA0)
ESCAPED = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")

unhurried = settings(deadline=None)  # a slow machine is no failure
printable = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" ")).filter(is_visible)
# Bytes as a peer would choose them: text, sequences, and pieces of what is more than one byte long.
hostile = st.lists(
    st.one_of(
        st.binary(max_size=8),
        printable.map(str.encode),
        st.text(max_size=4).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.sampled_from(
            [b"\r", b"\n", b"\r\n", b"\t", b"\x1b[2J", b"\xc2\x9b", b"\x9b", b"\xe2\x80", b"\xae", b"\xf0\x9f"]
        ),
    )
).map(b"".join)


def filtered(pieces: Iterable[bytes]) -> tuple[bytes, int]:
    """What a terminal gets of these pieces, and how much of it was escaped."""
    terminal = TerminalFilter()
    shown = b"".join(terminal.feed(piece) for piece in pieces)
    shown += terminal.feed(b"", final=True)
    return shown, terminal.escaped


def check_harmless(shown: bytes) -> None:
    assert not FORBIDDEN_BYTES & set(shown)
    text = shown.decode()  # strict: nothing undecodable is left
    assert not [ascii(character) for character in text if ord(character) in HIDING or ord(character) in C1]


@unhurried
@given(hostile)
@example(b"\xc2\x9b6n\x9b6n\x1b[6n")
@example("\u202e\u2066\u200b\ufeff\U000e0041".encode())
def test_filtered_output_is_harmless(data: bytes) -> None:
    """Whatever comes: no control byte but tab and newline, no C1 control, nothing that reorders or hides."""
    check_harmless(filtered([data])[0])


@unhurried
@given(hostile, st.data())
def test_any_split_gives_the_same_output(data: bytes, draw: st.DataObject) -> None:
    """Where chunks begin and end is accident, also within a character or a CR LF."""
    cuts = draw.draw(st.lists(st.integers(0, len(data))).map(sorted))
    pieces = [data[start:end] for start, end in pairwise([0, *cuts, len(data)])]
    assert filtered(pieces) == filtered([data])


@unhurried
@given(hostile)
def test_byte_by_byte_gives_the_same_output(data: bytes) -> None:
    """The smallest chunks there are."""
    assert filtered(bytes([byte]) for byte in data) == filtered([data])


@unhurried
@given(st.lists(printable))
def test_printable_text_passes_unchanged(lines: list[str]) -> None:
    """Text, tabs and newlines, of every script: the same bytes, and nothing to tell."""
    data = "\t".join(lines).encode() + b"\n" + "\n".join(lines).encode()
    assert filtered([data]) == (data, 0)


@unhurried
@given(hostile)
@example(b"\n\r")
def test_what_is_not_passed_is_counted(data: bytes) -> None:
    """Each escape in the output is one in the count; where there is none, the bytes are those that came."""
    shown, escaped = filtered([data])
    own = len(ESCAPED.findall(data.decode("utf-8", "surrogateescape").replace("\r\n", "\n")))
    assert len(ESCAPED.findall(shown.decode())) <= escaped + own
    if not escaped:
        assert shown == re.sub(rb"\r\n|\n\r(?!\n)|\r\0", b"\n", data)  # as old software ends lines, too


@pytest.mark.parametrize("byte", sorted(FORBIDDEN_BYTES))
def test_control_byte_alone(byte: int) -> None:
    """Every one of them, shown by its number."""
    assert filtered([bytes([byte])]) == (b"\\x%02x" % byte, 1)


@pytest.mark.parametrize("byte", range(0x80, 0x100))
def test_byte_that_is_no_character(byte: int) -> None:
    """In an 8-bit terminal a raw C1 control is a command; alone it is no UTF-8."""
    assert filtered([bytes([byte])]) == (b"\\x%02x" % byte, 1)


@pytest.mark.parametrize("code", C1)
def test_a_c1_control_as_utf8(code: int) -> None:
    """The same command in the other coat."""
    assert filtered([chr(code).encode()]) == (b"\\x%02x" % code, 1)


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"a\r\nb\r\n", b"a\nb\n"),
        (b"a\rb", b"a\\x0db"),
        (b"a\r", b"a\\x0d"),
        (b"a\r\r\n", b"a\\x0d\n"),
        (b"a\n\rb\n\r", b"a\nb\n"),
        (b"a\r\0b\r\0", b"a\nb\n"),
        (b"a\n\r\nb", b"a\n\nb"),
        (b"\n\r\r", b"\n\\x0d"),
        (b"\r\n\r\0", b"\n\n"),
        (b"\r\n\ra", b"\n\\x0da"),
        (b"\r\r", b"\\x0d\\x0d"),
    ],
)
def test_carriage_return(data: bytes, shown: bytes) -> None:
    """Beside a newline, or before a NUL, it is part of a line's end; alone it would let text be written over."""
    assert filtered([data])[0] == shown
    assert filtered(data[at : at + 1] for at in range(len(data)))[0] == shown


def test_text_is_not_held_back() -> None:
    """All but half a character, or a CR that may be half a newline, comes out at once."""
    terminal = TerminalFilter()
    assert terminal.feed(b"login: ") == b"login: "
    assert terminal.feed(b"a\xe2\x82") == b"a"
    assert terminal.feed(b"\xacb\r") == "€b".encode()
    assert terminal.feed(b"c") == b"\\x0dc"
    assert terminal.feed(b"", final=True) == b""


@unhurried
@given(st.one_of(st.binary(), hostile, st.text(), st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"]))))
@example("\x1b]0;pwn\x07\r\n")
@example("good.example\0.evil")
@example("abc\u202ecba")
def test_escape_is_one_printable_line(said: bytes | str) -> None:
    """SEC-R20: whatever a peer says, in a message it is one line of printable characters."""
    line = escape(said)
    assert line.isprintable()
    assert len(line.splitlines()) <= 1
    check_harmless(line.encode())


# Default_Ignorable_Code_Point of Unicode 15 (DerivedCoreProperties.txt).
IGNORABLE = [
    *(0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), *range(0x200B, 0x2010)),
    *(*range(0x202A, 0x202F), *range(0x2060, 0x2070), 0x3164, *range(0xFE00, 0xFE10), 0xFEFF, 0xFFA0),
    *(*range(0xFFF0, 0xFFF9), *range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B), *range(0xE0000, 0xE1000)),
]


def test_sec_r20_no_invisible_character_passes() -> None:
    """Some of them are printable to Python: those are in a list of ours, and nothing else is."""
    assert [code for code in IGNORABLE if chr(code) in escape(chr(code))] == []
    ours = sorted(map(ord, INVISIBLE))
    assert ours == [code for code in IGNORABLE if chr(code).isprintable()]


def test_sec_r22_what_chooses_the_form_of_a_character_passes() -> None:
    """On a terminal a heart may be a picture; what else is invisible is shown."""
    terminal = TerminalFilter()
    assert terminal.feed_text("\u2764\ufe0f \u2764\ufe0e \u3164".encode()) == "\u2764\ufe0f \u2764\ufe0e \\u3164"
    assert terminal.escaped == 1


@unhurried
@given(printable)
def test_escape_leaves_visible_text_alone(text: str) -> None:
    """As characters and as bytes."""
    assert escape(text) == text
    assert escape(text.encode()) == text


@unhurried
@given(printable.filter(len), st.characters(categories=["Cc", "Cf"]))
def test_escape_changes_nothing_but_the_bad_character(text: str, bad: str) -> None:
    """What is around it stays readable."""
    line = escape(f"{text}{bad}{text}")
    assert line.startswith(escape(text))
    assert line.endswith(escape(text))
    assert bad not in line


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (b"\x1b[31m", r"\x1b[31m"),
        (b"\xff\x80", r"\xff\x80"),
        ("\x9b", r"\x9b"),
        ("\u202e", r"\u202e"),
        ("\U000e0041", r"\U000e0041"),
        ("\udcff", r"\xff"),
        ("a\nb\tc\0", r"a\x0ab\x09c\x00"),
        (b"", ""),
    ],
)
def test_escape_shows_the_number(said: bytes | str, line: str) -> None:
    """Two digits for a byte and what is as small as one, four or eight for the rest."""
    assert escape(said) == line


@pytest.mark.parametrize(
    ("said", "quoted"),
    [
        (b"220 mail.example ESMTP\r\n", '"220 mail.example ESMTP"'),
        (b"SSH-2.0-x\n", '"SSH-2.0-x"'),
        (b"a\r\nb\r\n", r'"a\x0d\x0ab"'),
        (b"\x1b]0;x\x07", r'"\x1b]0;x\x07"'),
        (b"", '""'),
    ],
)
def test_quote(said: bytes, quoted: str) -> None:
    """In quotes, without the end of the line, escaped."""
    assert quote(said) == quoted


def test_every_character_there_is() -> None:
    """All of Unicode: what passes is neither control, nor format, nor unassigned, nor a surrogate."""
    passed = [character for character in map(chr, range(0x110000)) if escape(character) == character]
    assert len(passed) > 100_000
    assert not {unicodedata.category(character)[0] for character in passed} & {"C"}
    assert not HIDING & set(map(ord, passed))


@pytest.mark.parametrize("blank", ["\u00a0", "\u3000", "\u202f"])
def test_sec_r22_blanks_of_other_scripts_pass(blank: str) -> None:
    """SEC-R22: text is full of them, and they do no harm; a zero-width one is not among them."""
    shown = TerminalFilter()
    assert shown.feed(f"a{blank}b\u200b\n".encode(), final=True) == f"a{blank}b\\u200b\n".encode()
    assert shown.escaped == 1
