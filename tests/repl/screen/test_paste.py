"""What stands for a long paste in the line: no text that is typed or pasted does (SEC-R30)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cfcat.repl.screen.paste import FOLD_CHARACTERS, FORGOTTEN, Folds, label
from tests.helpers.peers import Peer, serve
from tests.pipe.tools import until
from tests.repl.screens import repl

pytestmark = pytest.mark.one_python

LONG = "x" * FOLD_CHARACTERS


def pasted(text: str) -> str:
    """What a terminal sends for a paste; its ends of lines are those of the Enter key."""
    return f"\x1b[200~{text.replace(chr(10), chr(13))}\x1b[201~"


# All that a terminal can give: UTF-8, and bytes that are none.
typed = st.binary(max_size=40).map(lambda data: data.decode("utf-8", "surrogateescape"))


@given(typed)
def test_sec_r30_no_text_stands_for_a_paste(text: str) -> None:
    """Before one, beside one, and after it."""
    folds = Folds()
    assert folds.unfold(text) == folds.show(text) == text
    mark = folds.fold(LONG)
    assert folds.unfold(text + mark + text) == text + LONG + text
    folds.forget()
    assert folds.unfold(text) == text


def test_a_paste_is_forgotten_at_enter() -> None:
    """What is left of it in the line that was killed and is yanked again stands for nothing."""
    folds = Folds()
    mark = folds.fold(LONG)
    assert folds.show(f"a{mark}") == f"a{label(LONG)}"
    kept = folds.forget()
    assert folds.unfold(f"a{mark}") == "a"
    assert folds.show(f"a{mark}") == f"a{FORGOTTEN}"
    folds.recall(kept)
    assert folds.unfold(f"a{mark}") == f"a{LONG}"


def test_sec_r30_a_pasted_private_character_is_itself() -> None:
    """It sent an earlier paste again."""
    with serve(Peer.recv_until_eof) as server, repl(server) as it:
        it.type(pasted(LONG))
        it.type("\r")
        until(lambda: len(server.received) == len(LONG) + 2)
        it.type(pasted("\U000f0000") + "\r")
        until(lambda: server.received[len(LONG) + 2 :] == "\U000f0000\r\n".encode())
        it.quit()


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("one\ntwo\n", b"one\r\ntwo\r\n"),
        ("one\ntwo", b"one\r\ntwo\r\n"),
        ("one\n\n", b"one\r\n\r\n"),
        (f"{LONG}\n", LONG.encode() + b"\r\n"),
    ],
    ids=["whole", "last line open", "with an empty line", "long"],
)
def test_a_paste_that_ends_in_a_newline_is_sent_with_that_alone(text: str, sent: bytes) -> None:
    """Enter adds an end to the last line only where it has none: an empty line ends a request, or a mail's header."""
    with serve(Peer.recv_until_eof) as server, repl(server) as it:
        it.type(pasted(text))
        it.type("\r")
        it.type(":hex 21\r")
        until(lambda: server.received.endswith(b"!"))
        assert server.received == sent + b"!"
        it.quit()
