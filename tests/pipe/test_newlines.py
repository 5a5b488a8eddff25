"""`--crlf`: bare LF to CRLF, whatever the borders of the chunks."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cfcat.pipe.newlines import CrlfEncoder

TEXT = st.text(alphabet="\r\nab", max_size=40).map(str.encode)


def encode(*chunks: bytes) -> bytes:
    encoder = CrlfEncoder()
    return b"".join(encoder.feed(chunk) for chunk in chunks)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        (b"", b""),
        (b"a\nb\n", b"a\r\nb\r\n"),
        (b"a\r\nb\r\n", b"a\r\nb\r\n"),
        (b"\n\n", b"\r\n\r\n"),
        (b"\r\r\n\r", b"\r\r\n\r"),
        (b"a\rb", b"a\rb"),
        (bytes(range(256)), bytes(range(10)) + b"\r\n" + bytes(range(11, 256))),
    ],
)
def test_what_becomes_of_a_line_ending(text: bytes, sent: bytes) -> None:
    """LF without CR gets one; CRLF, CR and everything else stay."""
    assert encode(text) == sent


@given(TEXT)
def test_every_lf_has_its_cr_and_nothing_else_has_changed(text: bytes) -> None:
    """The rule, in other words; and what has been encoded is not changed again."""
    sent = encode(text)
    assert sent == re.sub(rb"\r?\n", b"\r\n", text)
    assert encode(sent) == sent


@given(TEXT, st.lists(st.integers(0, 40)))
def test_the_borders_of_chunks_mean_nothing(text: bytes, cuts: list[int]) -> None:
    """Also between CR and LF, also empty chunks; each chunk goes out whole as it comes."""
    borders = [0, *sorted(cuts), len(text)]
    chunks = [text[start:end] for start, end in itertools.pairwise(borders)]
    assert encode(*chunks) == encode(text)


def test_any_buffer_is_a_chunk() -> None:
    """Chunks of stdin are views of a buffer that is used again."""
    encoder = CrlfEncoder()
    buffer = bytearray(b"a\nb\r")
    assert encoder.feed(memoryview(buffer)) == b"a\r\nb\r"
    buffer[:] = b"\nxyz"
    assert encoder.feed(memoryview(buffer)) == b"\nxyz"
