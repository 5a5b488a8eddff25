"""No secret of any known conversation is in a log or in an export, however its bytes come in pieces."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfcat.export.worker import worker_module
from cfcat.record.events import Connecting, Moved, Opened, Over
from cfcat.record.journal import Item, Journal, Line
from cfcat.record.kept import Event
from cfcat.record.recording import Recorder
from cfcat.record.transcript import Transcript
from tests.protocols.conversations import CONVERSATIONS, Conversation

pytestmark = pytest.mark.one_python
assert len(CONVERSATIONS) >= 130
each = pytest.mark.parametrize("conversation", CONVERSATIONS, ids=lambda conversation: conversation.name)


def events_of(conversation: Conversation) -> list[Event]:
    moved = [Moved(direction, data, False) for direction, data in conversation.said]
    return [Connecting("h:1", "off"), Opened("192.0.2.7:1"), *moved, Over(1.0, 0, 0)]


def told(journal: Journal, events: Sequence[Event]) -> None:
    for event in events:
        journal.take(event)
    journal.flush()


@each
def test_log(conversation: Conversation, tmp_path: Path) -> None:
    """What is no secret is there, and what is one is not."""
    path = tmp_path / "log"
    transcript = Transcript.open(str(path), target="h:1")
    told(Journal(transcript, protocol=conversation.protocol), events_of(conversation))
    transcript.close()
    sent = "".join(re.findall(r"^\S+ > (.*)$", path.read_text(), re.MULTILINE)).encode()
    assert [secret for secret in conversation.secrets if secret in sent] == []
    assert [line for line in conversation.shown if line not in path.read_bytes()] == []
    assert (b"****" in sent) is bool(conversation.secrets)


@each
def test_export(conversation: Conversation) -> None:
    """A secret is a binding of the Worker."""
    recorder = Recorder()
    told(Journal(recorder, protocol=conversation.protocol), events_of(conversation))
    module = worker_module(recorder.conversations())
    sends = "\n".join(re.findall(r"server\.send\(.*?\);", module, re.DOTALL)).encode()
    assert [secret for secret in conversation.secrets if secret in sends] == []
    assert (b"env.SECRET_1" in sends) is bool(conversation.secrets)


class Kept:
    """What a journal writes, a direction after the other."""

    is_done = False

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def write(self, items: Sequence[Item]) -> None:
        self.lines += [item for item in items if isinstance(item, Line)]


@settings(max_examples=1000, deadline=None)
@given(
    st.lists(st.sampled_from(CONVERSATIONS), min_size=1, max_size=4),
    st.lists(st.integers(1, 40), max_size=60),
    st.booleans(),
)
def test_random_conversations_in_random_pieces_are_masked_alike(
    conversations: list[Conversation], sizes: list[int], is_known: bool
) -> None:
    """Where the pieces of what is sent begin and end changes nothing."""
    protocol = conversations[0].protocol if is_known else None
    whole, pieces = Kept(), Kept()
    journals = Journal(whole, protocol=protocol), Journal(pieces, protocol=protocol)
    cuts = iter(sizes)
    for conversation in conversations:
        for direction, data in conversation.said:
            journals[0].take(Moved(direction, data, False))
            while data:
                size = next(cuts, len(data))
                journals[1].take(Moved(direction, data[:size], False))
                data = data[size:]
    for journal in journals:
        journal.flush()
    sent = [[line.data for line in kept.lines if line.direction == "sent"] for kept in (whole, pieces)]
    assert b"".join(sent[0]) == b"".join(sent[1])
