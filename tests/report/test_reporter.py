"""What a reporter shows of the events that it is told, and when it wants bytes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cfcat.errors import LostError
from cfcat.record.events import (
    Broke,
    Connecting,
    Dialog,
    Entered,
    Expected,
    LineFailed,
    Moved,
    Moving,
    Opened,
    OurSideEnded,
    PeerEnded,
    StdinEnded,
    TlsUp,
)
from cfcat.record.journal import Journal
from cfcat.record.making import Connected, Resolved
from cfcat.record.recording import Recorder
from cfcat.record.transcript import Transcript
from cfcat.report.messages import Message
from cfcat.report.reporter import Reporter
from cfcat.report.run_report import RunReport


class Stderr:
    """What has been written to it, and a reporter that writes."""

    def __init__(self, mode: str = "pipe", **options: Any) -> None:
        self.text = ""
        self.reporter = Reporter(RunReport("h:1", mode), self.write, **options)

    def write(self, text: str) -> None:
        self.text += text


class Count:
    """So much has moved."""

    sent_bytes = 3
    received_bytes = 4


def test_events_in_order() -> None:
    """A line each; what only a session shows, or nobody, has none. `OurSideEnded` is where a held end was sent."""
    stderr = Stderr(verbose=1)
    for event in (
        Connecting("h:1"),
        Resolved(("127.0.0.1:1",), 0.001, "h:1"),
        Connected("127.0.0.1:1", "127.0.0.1:9", 0.002),
        Entered("starttls"),
        Dialog("sent", b"STLS\r\n"),
        Entered("tls"),
        Opened("127.0.0.1:1"),
        TlsUp("TLSv1.3", "X"),
        Moving(Count()),
        Moved("sent", b"abc", True),
        Expected(b"x"),
        OurSideEnded(),
        StdinEnded(3),
        PeerEnded(4),
    ):
        stderr.reporter.events.tell(event)
    stderr.reporter.finish(None, 0)
    *lines, last = stderr.text.splitlines()
    assert lines == [
        "cfcat: h:1 resolved to 127.0.0.1:1 in 1.0 ms",
        "cfcat: connected to 127.0.0.1:1 from 127.0.0.1:9 in 2.0 ms",
        "cfcat: plain text > STLS",
        "cfcat: our side ended",
        "cfcat: stdin ended: 3 bytes sent",
        "cfcat: peer ended: 4 bytes received",
    ]
    assert last.startswith("cfcat: over after ")
    assert last.endswith(" ms: 3 bytes sent, 4 bytes received")


@pytest.mark.parametrize(
    ("options", "wants"),
    [
        ({}, False),
        ({"verbose": 1}, False),
        ({"verbose": 2}, True),
        ({"hexdump": True}, True),
        ({"json": True}, True),
        ({"others": [Journal(Recorder())]}, True),
        ({"others": [Journal()]}, False),
    ],
)
def test_who_wants_bytes(options: dict[str, Any], wants: bool) -> None:
    """Asked of all subscribers at once: counters are enough for the others."""
    assert Stderr(**options).reporter.events.wants_bytes == wants


@pytest.mark.parametrize("kind", [Broke, LineFailed])
def test_what_broke_is_in_the_object(kind: type[Broke] | type[LineFailed]) -> None:
    """Also where the run ends with a status of its own."""
    stderr = Stderr("script", json=True)
    for event in (Connecting("h:1"), Connected("a:1", "b:2", 0.1), kind(LostError(), "line 2: lost", "try again")):
        stderr.reporter.events.tell(event)
    stderr.reporter.finish(None, 1)
    told = json.loads(stderr.text)
    assert (told["end"], told["message"], told["hint"]) == ("reset", "line 2: lost", "try again")


@pytest.mark.parametrize(("event", "end"), [(StdinEnded(0), "stdin ended"), (PeerEnded(0), "peer ended")])
def test_whoever_ended_last(event: StdinEnded | PeerEnded, end: str) -> None:
    stderr = Stderr(json=True)
    for each in (PeerEnded(0), StdinEnded(0), event):
        stderr.reporter.events.tell(each)
    stderr.reporter.finish(None, 0)
    assert json.loads(stderr.text)["end"] == end


def test_phases_that_the_socket_does_not_tell() -> None:
    """And how long the dialog took."""
    reporter = Stderr().reporter
    report = reporter.report
    phases = []
    for event in (Connecting("h:1"), Entered("starttls"), Entered("tls")):
        reporter.events.tell(event)
        phases.append(report.phase)
    assert phases == ["resolve", "starttls", "tls"]
    assert report.starttls_s is not None


def test_the_end_of_a_transcript(tmp_path: Path) -> None:
    """The last line and the message are in it, and it is closed."""
    path = tmp_path / "log"
    transcript = Transcript.open(str(path), target="h:1")
    stderr = Stderr(others=[Journal(transcript)], transcript=transcript)
    stderr.reporter.events.tell(Moved("received", b"half a li", False))
    stderr.reporter.finish(LostError(), 56, Message("h:1: lost", "try again"))
    rows = [line.split(" ", 3)[3] for line in path.read_text().splitlines()]
    assert rows[:2] == ["transcript of h:1", "half a li"]
    assert rows[2].startswith("over after ")
    assert rows[3:] == ["h:1: lost"]
    assert transcript.is_done
    assert stderr.text == "cfcat: h:1: lost\n  hint: try again\n"


def test_a_transcript_that_could_not_be_written() -> None:
    """It is said once, at the end."""
    transcript = Transcript(os.open("/dev/full", os.O_WRONLY))
    stderr = Stderr(others=[Journal(transcript)], transcript=transcript)
    stderr.reporter.events.tell(StdinEnded(0))
    assert stderr.text == ""
    stderr.reporter.finish(None, 0)
    assert stderr.text == "cfcat: warning: the log is not complete: no space left on device\n"
