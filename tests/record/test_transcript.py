"""Transcripts: everything that was said, one line each, to be read back; without the secrets."""

from __future__ import annotations

import os
import re
import stat
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cfcat.record.events import Moved, Note, Opened, PeerEnded, TlsUp
from cfcat.record.journal import Journal, Line
from cfcat.record.kept import Kept
from cfcat.record.making import Resolved
from cfcat.record.transcript import Entry, Transcript, escape_bytes, event_lines, parse_entry, session_lines

unhurried = settings(deadline=None)  # a slow machine is no failure
TIME = "2026-11-23T15:04:05.123Z"
NOW_S = 1795446245.1234
PIECES = st.one_of(
    st.binary(max_size=8), st.text(max_size=4).map(lambda text: text.encode("utf-8", "surrogatepass"))
) | st.sampled_from([b"\r", b"\n", b"\r\n", b"\\n", b"\x1b[2J", "\u202e".encode(), "ü".encode()[:1]])


class Recorder:
    """A transcript in a pipe's place with the journal that it is written from, and what is in it."""

    def __init__(self, protocol: str | None = None, *, secrets: bool = False) -> None:
        self._fd = os.memfd_create("transcript")
        self.transcript = Transcript(os.dup(self._fd), clock=lambda: NOW_S)
        self.journal = Journal(self.transcript, masks=not secrets, protocol=protocol)

    def event(self, event: Kept) -> None:
        self.journal.take(event)

    def sent(self, data: bytes, *, tls: bool) -> None:
        self.journal.take(Moved("sent", data, tls))

    def received(self, data: bytes, *, tls: bool) -> None:
        self.journal.take(Moved("received", data, tls))

    def close(self) -> None:
        self.journal.flush()
        self.transcript.close()

    def lines(self) -> list[str]:
        with open(self._fd, "rb") as file:
            file.seek(0)
            return file.read().decode().splitlines()

    def entries(self) -> list[Entry]:
        return [parse_entry(line) for line in self.lines()]


def joined(entries: list[Entry], direction: str) -> bytes:
    return b"".join(entry.data for entry in entries if entry.direction == direction)


def test_a_conversation() -> None:
    """Time, direction, TLS, data: each line as it is completed, whatever its pieces were."""
    recorder = Recorder("smtp")
    transcript = recorder
    transcript.event(Opened("192.0.2.7:25"))
    transcript.received(b"220 mail", tls=False)
    transcript.received(b".example\r\n250 a\r\n2", tls=False)
    transcript.sent(b"EHLO me\r\nSTART", tls=False)
    transcript.sent(b"TLS\r\n", tls=False)
    transcript.event(TlsUp("TLSv1.3", "X"))
    transcript.received("ü\x1b\u202e\\\n".encode(), tls=True)
    transcript.sent(b"AUTH PLAIN AGpvZQ==\r\n", tls=True)
    transcript.close()
    assert recorder.lines() == [
        f"{TIME} * - connected to 192.0.2.7:25",
        f"{TIME} < - 220 mail.example\\r\\n",
        f"{TIME} < - 250 a\\r\\n",
        f"{TIME} < - 2",
        f"{TIME} > - EHLO me\\r\\n",
        f"{TIME} > - STARTTLS\\r\\n",
        f"{TIME} * - TLS established: TLSv1.3, X",
        f"{TIME} < T ü\\x1b\\xe2\\x80\\xae\\\\\\n",
        f"{TIME} > T AUTH PLAIN ****\\r\\n",
    ]


@unhurried
@given(st.lists(PIECES).map(b"".join))
@example(b"\xed\xa0\x80")
def test_escaping_is_reversible(data: bytes) -> None:
    """One line of printable characters, from which the bytes come back."""
    text = escape_bytes(data)
    assert text.isprintable()
    for end in ("", "\n"):
        assert parse_entry(f"{TIME} < T {text}{end}") == Entry(TIME, "<", True, data)


@unhurried
@given(st.lists(st.tuples(st.booleans(), st.booleans(), PIECES)))
def test_the_transcript_holds_every_byte(said: list[tuple[bool, bool, bytes]]) -> None:
    """In any pieces, both directions at a time, in clear text and under TLS; each byte once and in order."""
    recorder = Recorder(secrets=True)
    for sent, tls, data in said:
        record = recorder.sent if sent else recorder.received
        record(data, tls=tls)
    recorder.close()
    entries = recorder.entries()
    for sent, direction in ((True, ">"), (False, "<")):
        for under_tls in (True, False):
            expected = b"".join(data for s, tls, data in said if s == sent and tls == under_tls)
            assert joined([entry for entry in entries if entry.tls == under_tls], direction) == expected


@unhurried
@given(st.lists(st.sampled_from([b"NOOP", b"PASS hunter2", b"AUTH PLAIN hunter2", b""])), st.data())
@example([b"PASS hunter2"], None)
def test_no_split_lets_a_secret_through(lines: list[bytes], draw: st.DataObject | None) -> None:
    """Whatever pieces it is sent in, with answers in between, and whatever ends a line."""
    end = draw.draw(st.sampled_from([b"\r\n", b"\n", b"\r"])) if draw else b"\r\n"
    data = b"".join(line + end for line in lines)
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data))))) if draw else list(range(len(data)))
    recorder = Recorder()
    for start, stop in pairwise([0, *cuts, len(data)]):
        recorder.sent(data[start:stop], tls=False)
        recorder.received(b"250 ok", tls=False)
    recorder.close()
    written = joined(recorder.entries(), ">")
    assert not re.search(rb"h?unter|ter2", written)
    assert written.count(b"NOOP") == lines.count(b"NOOP")
    assert written.count(end) == len(lines)


def test_the_answer_to_a_challenge_is_masked() -> None:
    """The guard hears what the peer says."""
    recorder = Recorder("imap")
    recorder.received(b"+ \r\n", tls=True)
    recorder.sent(b"c2VjcmV0\r\nNOOP\r\n", tls=True)
    recorder.close()
    assert joined(recorder.entries(), ">") == b"****\r\nNOOP\r\n"


def test_xmpp_goes_on_after_its_authentication() -> None:
    """A stream without lines: what follows the secret is to be seen."""
    recorder = Recorder("xmpp")
    for data in (b"<stream>", b"<auth mechanism='PLAIN'>AGpv</auth>", b"<presence/>"):
        recorder.sent(data, tls=True)
    recorder.close()
    assert joined(recorder.entries(), ">") == b"<stream><auth mechanism='PLAIN'>****<presence/>"


def test_a_line_of_any_length() -> None:
    """It is written in pieces, not kept; one that began as a secret stays one."""
    for begin, shown in ((b"PASS ", b"PASS ****"), (b"x", b"xyyyy")):
        recorder = Recorder()
        for data in (begin, *[b"y" * 100_000] * 5):
            recorder.sent(data, tls=False)
            recorder.received(data, tls=False)
        assert len(recorder.journal._halves["sent"]._lines._line) <= 65536  # type: ignore[union-attr]
        recorder.close()
        entries = recorder.entries()
        assert len(joined(entries, "<")) == len(begin) + 500_000
        assert joined(entries, ">").startswith(shown)
        assert (b"y" in joined(entries, ">")) == (begin == b"x")


def test_a_blank_is_a_blank() -> None:
    """Indented text is text; before a verb it hides nothing."""
    recorder = Recorder()
    recorder.sent(b'  {"a": 1}\r\n  PASS hunter2\r\n', tls=False)
    recorder.close()
    assert joined(recorder.entries(), ">") == b'  {"a": 1}\r\nPASS ****\r\n'


@pytest.mark.parametrize("secrets", [False, True])
def test_the_file(tmp_path: Path, secrets: bool) -> None:
    """Only for its owner, also where it was there before; it is continued, never written over."""
    path = tmp_path / "log"
    for _ in range(2):
        transcript = Transcript.open(str(path), target="h:25")
        Journal(transcript, masks=not secrets, protocol="pop3").take(Moved("sent", b"PASS secret\r\n", True))
        transcript.close()
        transcript.close()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o644)
    entries = [parse_entry(line) for line in path.read_text().splitlines()]
    assert [entry.data for entry in entries] == [
        b"transcript of h:25",
        b"PASS secret\r\n" if secrets else b"PASS ****\r\n",
    ] * 2
    assert b"secret" not in path.read_bytes() or secrets


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    """That is known before anything is said."""
    with pytest.raises(IsADirectoryError):
        Transcript.open(str(tmp_path), target="h:25")


def test_a_full_disk() -> None:
    """The transcript ends, and says why; what it is a transcript of goes on."""
    transcript = Transcript.open("/dev/full", target="h:25")
    assert transcript.problem == "no space left on device"
    assert transcript.is_done
    transcript.write([Line("sent", False, b"x\n")])
    transcript.close()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "x",
        f"{TIME} ? - x",
        f"{TIME} < X x",
        f"{TIME} < -",
        f"{TIME} < - \\q",
        f"{TIME} < - \\x1",
        "2026-11-23 < - x",
        f"{TIME} < - x\n\n",
    ],
)
def test_what_is_no_entry(line: str) -> None:
    """Somebody else's line, or one that was damaged."""
    with pytest.raises(ValueError, match=r"not an entry|unknown escape"):
        parse_entry(line)


def test_unknown_escape_behind_much_text_is_found_at_once() -> None:
    """The time of reading a damaged line grows with its length, not with a power of two."""
    with pytest.raises(ValueError, match="unknown escape"):
        parse_entry(f"{TIME} > - {'a' * 100_000}\\q")


def test_the_clock_is_the_worlds() -> None:
    """UTC, with milliseconds."""
    recorder = Recorder()
    recorder.transcript._clock = lambda: 0.9999
    recorder.event(Note("x"))
    assert recorder.lines() == ["1970-01-01T00:00:00.999Z * - x"]


def test_a_session_has_words_of_its_own() -> None:
    """What the socket tells is left out, and how much came before an end; an event without a text is no entry."""
    resolved = Resolved(("192.0.2.7:25",), 0.001, "h:25")
    assert event_lines(resolved) == ["h:25 resolved to 192.0.2.7:25 in 1.0 ms"]
    assert event_lines(resolved._replace(target="192.0.2.7:25")) == []
    assert event_lines(PeerEnded(5)) == ["peer ended: 5 bytes received"]
    assert session_lines(resolved) == []
    assert session_lines(PeerEnded(5)) == ["the peer ended"]
    assert session_lines(Opened("192.0.2.7:25")) == ["connected to 192.0.2.7:25"]


def test_an_entry_is_an_event_again() -> None:
    """Bytes with their direction, and what happened by its words."""
    for line, event in (
        (f"{TIME} > T PASS ****\\r\\n", Moved("sent", b"PASS ****\r\n", True)),
        (f"{TIME} < - 2", Moved("received", b"2", False)),
        (f"{TIME} * - the peer ended", PeerEnded()),
        (f"{TIME} * - \\xff", Note("\udcff")),
    ):
        found = parse_entry(line).event
        assert (type(found), found) == (type(event), event)
