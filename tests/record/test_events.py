"""What can happen, in words and back."""

from __future__ import annotations

import errno
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfcat.core.certificate import TlsInfo
from cfcat.record.events import (
    Accepted,
    Broke,
    Connecting,
    Expected,
    Failed,
    Listening,
    Moved,
    Note,
    NotReady,
    Opened,
    OurSideEnded,
    Over,
    PeerEnded,
    StdinEnded,
    Stopped,
    TlsUp,
    TranscriptOf,
)
from cfcat.record.kept import PARSERS, Event, Kept, parse
from cfcat.record.making import Attempted, Connected, Proxied, Resolved, TlsEstablished
from cfcat.record.sides import SIDE_ENDS, ClientCame, ClientTls, SideEnded
from cfcat.record.subscribers import Subscribers
from cfcat.record.words import duration

unhurried = settings(deadline=None)  # a slow machine is no failure
INFO = TlsInfo("TLSv1.3", "TLS_AES_256_GCM_SHA384", None, None, True, ())

addresses = st.builds(
    "{}:{}".format, st.from_regex(r"[a-z0-9.-]{1,12}|\[[0-9a-f:]{2,12}\]", fullmatch=True), st.integers(1, 65535)
)
# As they are shown: a tenth of a millisecond, or a hundredth of a second.
times = st.one_of(
    st.integers(0, 9999).map(lambda tenths: float(f"{tenths / 10:.1f}") / 1000),
    st.integers(100, 10**6).map(lambda hundredths: float(f"{hundredths / 100:.2f}")),
)
names = st.from_regex(r"[a-z0-9][a-z0-9.]{0,8}", fullmatch=True)
words = st.from_regex(r"[A-Za-z0-9_.]+", fullmatch=True)
proxies = st.builds("{}://{}".format, st.sampled_from(["socks5h", "https"]), addresses)
counts = st.integers(0, 2**40)
lines = st.text(max_size=30)

# For each kind that is read back as itself, such events.
KINDS: dict[type[Kept], st.SearchStrategy[Kept]] = {
    TranscriptOf: st.builds(TranscriptOf, lines, st.sampled_from(["client", "server", "tap"])),
    Listening: st.builds(Listening, st.lists(addresses, min_size=1, max_size=3).map(tuple)),
    Accepted: st.builds(Accepted, st.one_of(st.just(""), addresses), addresses),
    ClientCame: st.builds(ClientCame, st.one_of(st.just(""), addresses), addresses),
    ClientTls: st.builds(ClientTls, words, words, st.one_of(st.just(""), names), st.one_of(st.just(""), names)),
    SideEnded: st.builds(SideEnded, st.sampled_from(["client", "server"]), st.sampled_from(sorted(SIDE_ENDS)), lines),
    Connecting: st.builds(
        Connecting,
        addresses,
        st.sampled_from(["off", "on", "starttls"]),
        st.booleans(),
        st.none() | names,
        st.none() | names,
        st.booleans(),
        st.booleans(),
        st.none() | proxies,
    ),
    Failed: st.builds(Failed, lines),
    NotReady: st.builds(NotReady, lines),
    Connected: st.builds(Connected, addresses, addresses, times),
    Opened: st.builds(Opened, addresses),
    TlsUp: st.builds(TlsUp, words, words, st.none() | times, st.none() | names),
    Expected: st.builds(Expected, st.binary(max_size=30), st.booleans()),
    StdinEnded: st.builds(StdinEnded, counts, st.booleans()),
    OurSideEnded: st.just(OurSideEnded()),
    PeerEnded: st.builds(PeerEnded, st.none() | counts),
    Over: st.builds(Over, times, counts, counts),
    Resolved: st.builds(Resolved, st.lists(addresses, min_size=2).map(tuple), times, addresses),
    Proxied: st.builds(
        Proxied,
        proxies,
        addresses,
        times,
        st.just("") | addresses,
        st.just("") | st.builds("{}, {}".format, words, words),
    ),
    Attempted: st.builds(Attempted, addresses, st.just("abandoned"), st.none(), times),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_read_back(kind: type[Kept]) -> None:
    """Whatever is in it: the words of `text()` are those that `parse()` knows."""

    @unhurried
    @given(KINDS[kind])
    def check(event: Kept) -> None:
        found = parse(event.text())
        assert type(found) is kind
        assert found == event

    check()


def test_all_kinds_that_are_kept_are_tested() -> None:
    """But those whose words are anybody's; and each parser is asked."""
    others = {TlsEstablished, Broke, Note}
    assert set(typing.get_args(Kept)) == {*KINDS, *others}
    assert len(PARSERS) == len(KINDS)


def test_a_failed_attempt_comes_back_with_its_reason() -> None:
    """Not as the same OSError: those are never equal."""
    event = Attempted("[::1]:25", "failed", OSError(errno.ECONNREFUSED, "x"), 0.001)
    found = parse(event.text())
    assert isinstance(found, Attempted)
    assert (found.text(), found.outcome, found.reason) == (event.text(), "failed", "connection refused")


def test_what_the_core_tells_of_tls_comes_back_without_the_certificate() -> None:
    event = TlsEstablished(INFO, 0.003)
    assert parse(event.text()) == TlsUp("TLSv1.3", "TLS_AES_256_GCM_SHA384", 0.003)


def test_a_sentence_is_a_note() -> None:
    """Also one that looks a little like an event."""
    for text in (
        "h:25: connection reset by peer while receiving",
        "  ALPN: none",
        "h:25: the TLS handshake was not complete after 10 s",
        "stdin ended",
        "",
    ):
        found = parse(Broke(ValueError(), text).text())
        assert (type(found), found) == (Note, Note(text))


# As version 0.1.0 has written them: these words are in files, and must be understood for ever.
RELEASED: list[tuple[str, Kept]] = [
    ("transcript of mail.example:587", TranscriptOf("mail.example:587")),
    (
        "connecting to mail.example:587 --tls starttls --half-open --sni n.example --starttls smtp "
        "--ignore-unexpected-eof --no-shutdown",
        Connecting("mail.example:587", "starttls", True, "n.example", "smtp", True, True),
    ),
    ("connecting to [::1]:25 --tls off", Connecting("[::1]:25")),
    ("could not connect: h:2: connection refused", Failed("h:2: connection refused")),
    ("connected to 192.0.2.7:25 from 10.0.0.1:4711 in 0.4 ms", Connected("192.0.2.7:25", "10.0.0.1:4711", 0.0004)),
    ("connected to 192.0.2.7:25", Opened("192.0.2.7:25")),
    ("h:25 resolved to [::1]:25, 127.0.0.1:25 in 1.25 s", Resolved(("[::1]:25", "127.0.0.1:25"), 1.25, "h:25")),
    ("192.0.2.7:25: given up after 250.0 ms", Attempted("192.0.2.7:25", "abandoned", None, 0.25)),
    ("TLS established in 3.0 ms: TLSv1.3, X", TlsUp("TLSv1.3", "X", 0.003)),
    ("TLS established: TLSv1.3, X", TlsUp("TLSv1.3", "X")),
    ("TLS established: TLSv1.2, X, by the dialog of smtp", TlsUp("TLSv1.2", "X", dialog="smtp")),
    ("expected ^220 ", Expected(b"^220 ")),
    ("expected \udcff", Expected(b"\xff")),
    ("replied 220", Expected(b"220", is_reply=True)),
    ("stdin ended: 1 byte sent", StdinEnded(1)),
    ("stdin ended: 5 bytes sent", StdinEnded(5)),
    ("stdin ended: 5 bytes sent, our end is held", StdinEnded(5, is_held=True)),
    ("our side ended", OurSideEnded()),
    ("peer ended: 5 bytes received", PeerEnded(5)),
    ("the peer ended", PeerEnded()),
    ("over after 12.5 ms: 5 bytes sent, 1 byte received", Over(0.0125, 5, 1)),
]


@pytest.mark.parametrize(("text", "event"), RELEASED)
def test_the_words_of_a_release(text: str, event: Kept) -> None:
    """Written and read as they always were."""
    assert event.text() == text
    found = parse(text)
    assert (type(found), found) == (type(event), event)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0, "0.0 ms"), (0.0004, "0.4 ms"), (0.25, "250.0 ms"), (1.0, "1.00 s"), (75.126, "75.13 s")],
)
def test_duration(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


class Listener:
    """Who keeps all that it is told."""

    def __init__(self, *, wants_bytes: bool) -> None:
        self.wants_bytes = wants_bytes
        self.told: list[Event] = []

    def take(self, event: Event) -> None:
        self.told.append(event)


def test_subscribers() -> None:
    """All are told, whether they want bytes or not; one that does is enough to have them told."""
    nobody = Subscribers()
    nobody.tell(Stopped(0, 0))
    assert (nobody.wants_bytes, nobody.trace) == (False, None)
    first, second = Listener(wants_bytes=False), Listener(wants_bytes=True)
    both = Subscribers([first])
    assert not both.wants_bytes
    both.add(second)
    assert both.wants_bytes
    events = [Opened("h:1"), Moved("sent", b"x", False)]
    for event in events:
        both.tell(event)
    assert first.told == second.told == events
    assert both.trace is not None
    both.trace(Connected("a", "b", 0.0))
    assert first.told[-1] == Connected("a", "b", 0.0)
