"""What is exported of what happened: from a live journal and from a transcript alike."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cfcat.errors import CommandError
from cfcat.protocols.secrets import SecretGuard
from cfcat.record.events import Connecting, connecting_text, parse_connecting
from cfcat.record.recording import (
    Conversation,
    End,
    Expect,
    PeerEnd,
    Receive,
    Recorder,
    Send,
    StartTls,
    Step,
    read_transcript,
)
from cfcat.record.transcript import Journal, Transcript

MAIL = Connecting("mail.example:587", "starttls")


def talk(journal: Journal) -> None:
    """A session with an upgrade, a secret and both ends, as it is told to a journal."""
    journal.event("transcript of mail.example:587")
    journal.event(connecting_text(MAIL))
    journal.event("connected to 192.0.2.7:587")
    journal.received(b"220 mail", tls=False)
    journal.received(b".example\r\n", tls=False)
    journal.event("expected ^220 ")
    journal.sent(b"STARTTLS\r\n", tls=False)
    journal.received(b"220 go\r\n", tls=False)
    journal.event("TLS established: TLSv1.3, X")
    journal.sent(b"AUTH PLAIN hunter2\r\n", tls=True)
    journal.received(b"235 ok\r\n", tls=True)
    journal.sent(b"QUIT\r\n", tls=True)
    journal.event("our side ended")
    journal.received(b"221 bye\r\n", tls=True)
    journal.event("the peer ended")


STEPS: list[Step] = [
    Receive(bytearray(b"220 mail.example\r\n")),
    Expect(b"^220 "),
    Send([bytearray(b"STARTTLS\r\n")]),
    Receive(bytearray(b"220 go\r\n")),
    StartTls(),
    Send([bytearray(b"AUTH PLAIN "), None, bytearray(b"\r\n")]),
    Receive(bytearray(b"235 ok\r\n")),
    Send([bytearray(b"QUIT\r\n")]),
    End(),
    Receive(bytearray(b"221 bye\r\n")),
    PeerEnd(),
]


def recorded(*, limit: int = 1 << 20) -> Recorder:
    return Recorder(SecretGuard(None), limit=limit)


def test_live() -> None:
    """Chunks are put together, what is secret is a gap."""
    recorder = recorded()
    talk(recorder)
    assert recorder.conversations() == [Conversation(MAIL, STEPS)]


@pytest.mark.parametrize("secrets", [False, True])
def test_from_a_transcript(tmp_path: Path, secrets: bool) -> None:
    """The same, also where the transcript has the secrets."""
    path = tmp_path / "log"
    transcript = Transcript.open(str(path), target=MAIL.target, protocol=None, secrets=secrets)
    talk(transcript)
    transcript.close()
    assert ("hunter2" in path.read_text()) == secrets
    with path.open() as lines:
        assert read_transcript(lines) == [Conversation(MAIL, STEPS)]


@pytest.mark.parametrize(
    "connecting",
    [
        Connecting("[::1]:25"),
        MAIL,
        Connecting("h:1", "on", True, "name.example", None, True),
        Connecting("h:1", "starttls", False, None, "smtp", False, True),
    ],
)
def test_how_it_connected_is_read_back(connecting: Connecting) -> None:
    assert parse_connecting(connecting_text(connecting)) == connecting


def test_upgrade_is_seen_by_its_bytes_too() -> None:
    """What goes through TLS comes behind the upgrade, once."""
    recorder = recorded()
    recorder.event(connecting_text(MAIL))
    recorder.sent(b"a\n", tls=False)
    recorder.sent(b"b\n", tls=True)
    recorder.event("TLS established in 3 ms: TLSv1.3")
    (conversation,) = recorder.conversations()
    assert conversation.steps == [Send([bytearray(b"a\n")]), StartTls(), Send([bytearray(b"b\n")])]


def test_tls_from_the_first_byte_is_no_upgrade() -> None:
    recorder = recorded()
    recorder.event(connecting_text(Connecting("h:443", "on")))
    recorder.event("TLS established: TLSv1.3, X")
    recorder.sent(b"a\n", tls=True)
    assert recorder.conversations()[0].steps == [Send([bytearray(b"a\n")])]


@pytest.mark.parametrize(
    ("connecting", "events", "steps"),
    [
        (Connecting("h:1"), ["peer ended: 1 byte received", "stdin ended: 0 bytes sent"], [PeerEnd()]),
        (Connecting("h:1", "off", True), ["the peer ended", "our side ended"], [PeerEnd(), End()]),
        (Connecting("h:1", no_shutdown=True), ["stdin ended: 0 bytes sent"], []),
        (Connecting("h:1"), ["stdin ended: 0 bytes sent", "over after 1 s"], [End()]),
    ],
)
def test_whose_ends_count(connecting: Connecting, events: list[str], steps: list[object]) -> None:
    """Ours behind the peer's reaches nobody, but with half-open; nor does one that is not passed on."""
    recorder = recorded()
    for text in [connecting_text(connecting), *events]:
        recorder.event(text)
    assert recorder.conversations()[0].steps == steps


def test_connection_that_failed_is_none() -> None:
    recorder = recorded()
    recorder.event(connecting_text(Connecting("h:1")))
    recorder.event(connecting_text(Connecting("h:2")))
    recorder.event("could not connect: h:2: connection refused")
    assert [each.connecting.target for each in recorder.conversations()] == ["h:1"]


def reason(recorder: Recorder) -> str:
    with pytest.raises(CommandError) as caught:
        recorder.conversations()
    return caught.value.message


def test_nothing() -> None:
    assert reason(recorded()) == "cannot export: there was no connection"


def test_transcript_begun_late() -> None:
    """Of :log in the middle of a connection nobody knows how that was made."""
    recorder = recorded()
    recorder.received(b"220\r\n", tls=False)
    assert reason(recorder) == "cannot export: bytes moved before the first connection was recorded"


@pytest.mark.parametrize("chunk", [b"x" * 2000, b"\n" * 2000])
def test_too_much(chunk: bytes) -> None:
    """Memory is bounded, also by many short lines; and nothing is kept then."""
    recorder = recorded(limit=100_000)
    recorder.event(connecting_text(MAIL))
    for _ in range(60):
        recorder.received(chunk, tls=False)
        recorder.sent(b"x\n", tls=False)
    assert "16 MiB" in reason(recorder)


@pytest.mark.parametrize(
    "event", ["connecting to h:1433 --tls starttls --starttls mssql", "TLS established: X, by the dialog of mssql"]
)
def test_tls_in_packets_cannot_be_had(event: str) -> None:
    """startTls() has nobody to wrap its handshake."""
    recorder = recorded()
    recorder.event(connecting_text(MAIL))
    recorder.event(event)
    assert "MS-TDS" in reason(recorder)


def test_no_transcript() -> None:
    with pytest.raises(CommandError, match="line 2: not an entry of a transcript"):
        read_transcript(["2026-11-23T15:04:05.123Z * - transcript of h:1\n", f"hello{os.linesep}"])
