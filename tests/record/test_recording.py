"""What is exported of what happened: from a live journal and from a transcript alike."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cfcat.errors import CommandError
from cfcat.record.events import (
    Connecting,
    Expected,
    Failed,
    Moved,
    Note,
    Opened,
    OurSideEnded,
    Over,
    PeerEnded,
    StdinEnded,
    TlsUp,
    TranscriptOf,
)
from cfcat.record.journal import Journal
from cfcat.record.kept import Event
from cfcat.record.recording import (
    Conversation,
    End,
    Expect,
    PeerEnd,
    ReceiveStep,
    Recorder,
    SendStep,
    StartTls,
    Step,
    read_transcript,
)
from cfcat.record.transcript import Transcript

MAIL = Connecting("mail.example:587", "starttls")


TALK: tuple[Event, ...] = (
    TranscriptOf("mail.example:587"),
    MAIL,
    Opened("192.0.2.7:587"),
    Moved("received", b"220 mail", False),
    Moved("received", b".example\r\n", False),
    Expected(b"^220 "),
    Moved("sent", b"STARTTLS\r\n", False),
    Moved("received", b"220 go\r\n", False),
    TlsUp("TLSv1.3", "X"),
    Moved("sent", b"AUTH PLAIN hunter2\r\n", True),
    Moved("received", b"235 ok\r\n", True),
    Moved("sent", b"QUIT\r\n", True),
    OurSideEnded(),
    Moved("received", b"221 bye\r\n", True),
    PeerEnded(),
)
STEPS: list[Step] = [
    ReceiveStep(bytearray(b"220 mail.example\r\n")),
    Expect(b"^220 "),
    SendStep([bytearray(b"STARTTLS\r\n")]),
    ReceiveStep(bytearray(b"220 go\r\n")),
    StartTls(),
    SendStep([bytearray(b"AUTH PLAIN "), None, bytearray(b"\r\n")]),
    ReceiveStep(bytearray(b"235 ok\r\n")),
    SendStep([bytearray(b"QUIT\r\n")]),
    End(),
    ReceiveStep(bytearray(b"221 bye\r\n")),
    PeerEnd(),
]


def recorded(*events: Event, limit: int = 1 << 20) -> Recorder:
    """What is kept of these events, all of them."""
    recorder = Recorder(limit=limit)
    journal = Journal(recorder)
    for event in events:
        journal.take(event)
    journal.flush()
    return recorder


def test_live() -> None:
    """Chunks are put together, what is secret is a gap."""
    assert recorded(*TALK).conversations() == [Conversation(MAIL, STEPS)]


@pytest.mark.parametrize("secrets", [False, True])
def test_from_a_transcript(tmp_path: Path, secrets: bool) -> None:
    """The same, also where the transcript has the secrets."""
    path = tmp_path / "log"
    transcript = Transcript.open(str(path), target=MAIL.target)
    journal = Journal(transcript, masks=not secrets)
    for event in TALK:
        journal.take(event)
    journal.remove(transcript)
    transcript.close()
    assert ("hunter2" in path.read_text()) == secrets
    with path.open() as lines:
        assert read_transcript(lines) == [Conversation(MAIL, STEPS)]


def test_upgrade_is_seen_by_its_bytes_too() -> None:
    """What goes through TLS comes behind the upgrade, once."""
    events = (MAIL, Moved("sent", b"a\n", False), Moved("sent", b"b\n", True), TlsUp("TLSv1.3", "X", 0.003))
    (conversation,) = recorded(*events).conversations()
    assert conversation.steps == [SendStep([bytearray(b"a\n")]), StartTls(), SendStep([bytearray(b"b\n")])]


def test_tls_from_the_first_byte_is_no_upgrade() -> None:
    recorder = recorded(Connecting("h:443", "on"), TlsUp("TLSv1.3", "X"), Moved("sent", b"a\n", True))
    assert recorder.conversations()[0].steps == [SendStep([bytearray(b"a\n")])]


@pytest.mark.parametrize(
    ("connecting", "events", "steps"),
    [
        (Connecting("h:1"), [PeerEnded(1), StdinEnded(0)], [PeerEnd()]),
        (Connecting("h:1", "off", True), [PeerEnded(), OurSideEnded()], [PeerEnd(), End()]),
        (Connecting("h:1", no_shutdown=True), [StdinEnded(0)], []),
        (Connecting("h:1"), [StdinEnded(0), Over(1.0, 0, 0)], [End()]),
    ],
)
def test_whose_ends_count(connecting: Connecting, events: list[Event], steps: list[object]) -> None:
    """Ours behind the peer's reaches nobody, but with half-open; nor does one that is not passed on."""
    assert recorded(connecting, *events).conversations()[0].steps == steps


def test_connection_that_failed_is_none() -> None:
    recorder = recorded(Connecting("h:1"), Connecting("h:2"), Failed("h:2: connection refused"))
    assert [each.connecting.target for each in recorder.conversations()] == ["h:1"]


def reason(recorder: Recorder) -> str:
    with pytest.raises(CommandError) as caught:
        recorder.conversations()
    return caught.value.message


def test_nothing() -> None:
    assert reason(recorded()) == "cannot export: there was no connection"


def test_transcript_begun_late() -> None:
    """A :log started mid-connection does not say how the connection was made."""
    recorder = recorded(Moved("received", b"220\r\n", False))
    assert reason(recorder) == "cannot export: bytes moved before the first connection was recorded"


@pytest.mark.parametrize("chunk", [b"x" * 2000, b"\n" * 2000])
def test_too_much(chunk: bytes) -> None:
    """Memory is bounded, also by many short lines; and nothing is kept then."""
    events = [Moved("received", chunk, False), Moved("sent", b"x\n", False)] * 60
    recorder = recorded(MAIL, *events, limit=100_000)
    assert "16 MiB" in reason(recorder)


def test_many_connections_are_too_much_too() -> None:
    """Each costs something, also where nothing moves on it."""
    assert "16 MiB" in reason(recorded(*[MAIL] * 500, limit=100_000))


@pytest.mark.parametrize("event", [Connecting("h:1433", "starttls", protocol="mssql"), TlsUp("X", "", dialog="mssql")])
def test_tls_in_packets_cannot_be_had(event: Event) -> None:
    """startTls() has nobody to wrap its handshake."""
    assert "MS-TDS" in reason(recorded(MAIL, event))


def test_what_else_is_told_changes_nothing() -> None:
    """Notes, whatever they say: words do not count."""
    notes = [Note("TLS established"), Note("our side ended"), Note("could not connect: h"), Note("connecting to h:2")]
    assert recorded(MAIL, *notes).conversations() == [Conversation(MAIL)]


def test_no_transcript() -> None:
    with pytest.raises(CommandError, match="line 2: not an entry of a transcript"):
        read_transcript(["2026-11-23T15:04:05.123Z * - transcript of h:1\n", f"hello{os.linesep}"])
