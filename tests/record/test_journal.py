"""Lines in place of chunks, once for all who write them down. What is masked is seen in `test_transcript`."""

from __future__ import annotations

from collections.abc import Sequence

from cfcat.record.events import Dialog, Entered, Moved, Opened
from cfcat.record.journal import Item, Journal, Line


class Writer:
    """Keeps what it is to write."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.is_done = False

    def write(self, items: Sequence[Item]) -> None:
        self.items += items


def test_two_writers_write_the_same() -> None:
    """Of a dialog and of what follows it; what was begun goes before an event and before the other direction."""
    first, second = Writer(), Writer()
    journal = Journal(first, second)
    for event in (
        Dialog("received", b"220 rea"),
        Dialog("received", b"dy\r\n250"),
        Dialog("sent", b"STARTTLS\r\n"),
        Entered("tls"),
        Moved("sent", b"PASS hunter2\r\nNO", True),
        Opened("h:1"),
    ):
        journal.take(event)
    assert first.items == [
        Line("received", False, b"220 ready\r\n"),
        Line("received", False, b"250"),
        Line("sent", False, b"STARTTLS\r\n"),
        Entered("tls"),
        Line("sent", True, b"PASS ****\r\n"),
        Line("sent", True, b"NO"),
        Opened("h:1"),
    ]
    assert second.items == first.items


def test_writer_that_comes_later() -> None:
    """It gets what is said from then on; a secret that has begun before stays one."""
    first, late = Writer(), Writer()
    journal = Journal(first)
    journal.take(Moved("sent", b"NOOP\r\nPASS hun", False))
    journal.add(late)
    journal.take(Moved("sent", b"ter2\r\n", False))
    journal.take(Moved("sent", b"QU", False))
    journal.remove(late)
    journal.take(Moved("sent", b"IT\r\n", False))
    assert late.items == [Line("sent", False, b"****\r\n"), Line("sent", False, b"QU")]
    written = b"".join(item.data for item in first.items if isinstance(item, Line))
    assert written == b"NOOP\r\nPASS ********\r\nQUIT\r\n"


def test_nobody_listens() -> None:
    """Nothing is kept for a writer that has given up; who comes after it begins anew, with a new guard."""
    over, late = Writer(), Writer()
    journal = Journal(over)
    assert journal.wants_bytes
    journal.take(Moved("sent", b"AUTH PLAIN\r\n", False))
    over.is_done = True
    assert not journal.wants_bytes
    before = list(over.items)
    journal.take(Moved("received", b"235 welcome\r\n250 half a li", False))
    journal.take(Opened("h:1"))
    assert over.items == before
    journal.add(late)
    journal.take(Moved("received", b"220 new\r\n", False))
    journal.take(Moved("sent", b"NOOP\r\n", False))
    assert late.items == [Line("received", False, b"220 new\r\n"), Line("sent", False, b"NOOP\r\n")]


def test_secrets_that_are_wanted() -> None:
    """Secrets are kept only by a writer with its own unmasked journal."""
    writer = Writer()
    Journal(writer, masks=False).take(Moved("sent", b"PASS hunter2\r\n", False))
    assert writer.items == [Line("sent", False, b"PASS hunter2\r\n")]


def test_a_piece_that_was_sent_before_the_verdict_stays_secret() -> None:
    """The verdict comes while the answer has no line end yet: it says nothing of what was sent before it."""
    writer = Writer()
    journal = Journal(writer)
    for event in (Moved("sent", b"AUTH PLAIN\r\nhun", False), Moved("received", b"535 no\r\n", False)):
        journal.take(event)
    assert b"hun" not in b"".join(item.data for item in writer.items if isinstance(item, Line))
