"""`Message`: a text as a mail server takes it, in every segmentation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cfcat.protocols.message import Message

pytestmark = pytest.mark.one_python


def sent_for(*pieces: bytes) -> bytes:
    message = Message()
    return b"".join(map(message.feed, pieces)) + message.end()


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        (b"", b".\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b"a\nb\r\n", b"a\r\nb\r\n.\r\n"),
        (b".", b"..\r\n.\r\n"),
        (b".a\n.\r\n..b\nc.d\n", b"..a\r\n..\r\n...b\r\nc.d\r\n.\r\n"),
        (b"\n\n.\n", b"\r\n\r\n..\r\n.\r\n"),
        (b"a\r", b"a\r\n.\r\n"),
    ],
)
def test_text_becomes_a_message(text: bytes, sent: bytes) -> None:
    """At once and in single bytes; only the last line is a dot alone."""
    assert sent_for(*([text] if text else [])) == sent
    assert sent_for(*(text[place : place + 1] for place in range(len(text)))) == sent


@given(st.text("a.\r\n"), st.integers(0))
def test_server_takes_the_text_back(text: str, cut: int) -> None:
    """Without the doubled dots it is the text with CR LF, wherever it was cut."""
    data = text.encode()
    cut %= len(data) + 1
    sent = sent_for(*filter(None, (data[:cut], data[cut:])))
    assert sent == sent_for(*filter(None, [data]))
    assert sent.find(b"\r\n.\r\n", 0) in (-1, len(sent) - 5)
    back = (b"\r\n" + sent).removesuffix(b".\r\n").replace(b"\r\n.", b"\r\n")[2:]
    assert back.replace(b"\r\n", b"\n").rstrip(b"\n") == data.replace(b"\r\n", b"\n").removesuffix(b"\r").rstrip(b"\n")
