"""The events of a run as JSON: any facts are of the schema, and the bytes are those that moved."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfcat.core.certificate import PeerCertificate, TlsInfo
from cfcat.record.events import (
    Accepted,
    Broke,
    Connecting,
    Dialog,
    Exited,
    Expected,
    Failed,
    Hidden,
    LineFailed,
    Listening,
    Moved,
    NotReady,
    OurSideEnded,
    Over,
    PeerEnded,
    Said,
    StdinEnded,
)
from cfcat.record.kept import Event
from cfcat.record.making import Attempted, Connected, Proxied, Resolved, TlsEstablished
from cfcat.record.sides import ClientCame, ClientTls, SideEnded
from cfcat.record.stream import EventFile, Stream
from tests.helpers.events import Told, joined, names, read_events

pytestmark = pytest.mark.one_python
unhurried = settings(deadline=None)  # a slow machine is no failure


def streamed(events: Iterable[Event], *, masks: bool = True, connection: int | None = None) -> list[Told]:
    """What a stream makes of them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "events")
        file = EventFile(str(path))
        stream = Stream(file, masks=masks, connection=connection)
        for event in events:
            stream.take(event)
        file.close()
        return read_events(path.read_text())


# ------------------------------------------------------------------------------------------- the bytes

directions = st.sampled_from(["sent", "received"])
# Also text in which a character is cut.
texts = st.text("aé\u20ac\U0001f600\n\x1b\x7f", max_size=20)
chunks = st.binary(min_size=1, max_size=40) | texts.map(str.encode).filter(bool).map(lambda data: data[:-1] or data)
moves = st.lists(st.builds(Moved, directions, chunks, st.booleans()) | st.builds(Dialog, directions, chunks))


@unhurried
@given(moves)
def test_the_joined_events_are_the_bytes(moved: list[Moved | Dialog]) -> None:
    """Of both directions, an event for each chunk, whatever is in it; a dialog is apart."""
    told = streamed([Connecting("h:1"), *moved], masks=False)
    for direction in ("sent", "received"):
        data = b"".join(each.data for each in moved if isinstance(each, Moved) and each.direction == direction)
        assert joined(told, direction) == data
    assert joined(told, "dialog") == b"".join(each.data for each in moved if isinstance(each, Dialog))
    assert len(told) == len(moved)


def test_a_character_that_is_cut_is_base64() -> None:
    """Both halves are, and together they are the character."""
    told = streamed([Connecting("h:1"), Moved("received", b"\xc3", False), Moved("received", b"\xa9", False)])
    assert [sorted(event.keys() & {"text", "base64"}) for event in told] == [["base64"], ["base64"]]
    assert joined(told, "received").decode() == "é"


@unhurried
@given(st.lists(st.builds(Moved, directions, st.binary(min_size=1, max_size=20), st.just(False))))
def test_what_looks_like_no_secret_is_not_changed(moved: list[Moved]) -> None:
    """With the masks on: each event is a chunk, or says that something in it is masked; offsets count all the same."""
    told = streamed([Connecting("h:1"), *moved])
    offsets = {"sent": 0, "received": 0}
    for event, each in zip(told, moved, strict=True):
        assert (event["event"], event["offset"]) == (each.direction, offsets[each.direction])
        offsets[each.direction] += len(each.data)
        if "masked" not in event:
            assert joined([{**event, "offset": 0}], each.direction) == each.data


@pytest.mark.parametrize("cut", range(1, len(b"PASS hunter2\r\n")))
def test_a_secret_is_masked_wherever_it_is_cut(cut: int) -> None:
    """No piece of it is shown, nor held back; what comes later has its offset."""
    line = b"PASS hunter2\r\n"
    told = streamed(
        [
            Connecting("h:1"),
            Moved("sent", line[:cut], False),
            Moved("sent", line[cut:], False),
            Moved("sent", b"NOOP\r\n", False),
        ]
    )
    shown = b"".join(event["text"].encode() for event in told)
    assert not any(shown.count(bytes([letter])) for letter in b"hunter2")
    assert told[-1]["text"] == "NOOP\r\n"
    assert told[-1]["offset"] == len(line)
    assert "masked" not in told[-1]


def test_secrets_are_the_clients() -> None:
    """Of a connection that was accepted it is the peer who says them; a dialog is masked, too."""
    secret = b"AUTH PLAIN AGpvAHNlY3JldA==\r\n"
    told = streamed(
        [
            Listening(("127.0.0.1:1",)),
            Accepted("127.0.0.1:2", "127.0.0.1:1"),
            Dialog("received", secret),
            Moved("received", secret, True),
            Moved("sent", b"PASS what\r\n", True),
        ]
    )
    assert [event["text"] for event in told[2:]] == ["AUTH PLAIN ****\r\n", "AUTH PLAIN ****\r\n", "PASS what\r\n"]
    assert [event.get("masked") for event in told[2:]] == [True, True, None]


def test_a_hidden_line_is_masked() -> None:
    """Whatever it looks like."""
    told = streamed([Connecting("h:1"), Hidden(), Moved("sent", b"hello\r\n", False)])
    assert [event["text"] for event in told] == ["****\r\n"]


# -------------------------------------------------------------------------------------------- all else

words = st.text(max_size=20)
seconds = st.floats(0, 1e6)
ends = st.sampled_from(["end", "close_notify", "fin", "cut", "reset", "broken"])
certificates = st.builds(PeerCertificate, words, st.lists(words).map(tuple), words, words, words, words, words)
infos = st.builds(
    TlsInfo, words, words, st.none() | words, st.none() | words, st.booleans(), st.lists(certificates).map(tuple)
)
failures = st.sampled_from([None, OSError(111, "x"), OSError("x")])
events = st.one_of(
    st.builds(Listening, st.lists(words).map(tuple)),
    st.builds(Accepted, words, words),
    st.builds(ClientCame, words, words),
    st.builds(ClientTls, words, words, words, words),
    st.builds(Connecting, words, proxy=st.none() | words),
    st.builds(Resolved, st.lists(words).map(tuple), seconds, words),
    st.builds(Attempted, words, st.sampled_from(["connected", "failed", "abandoned"]), failures, seconds),
    st.builds(Proxied, words, words, seconds, words, words),
    st.builds(Connected, words, words, seconds),
    st.builds(TlsEstablished, infos, seconds),
    st.builds(StdinEnded, st.integers(0), st.booleans()),
    st.builds(OurSideEnded),
    st.builds(PeerEnded),
    st.builds(SideEnded, st.sampled_from(["client", "server"]), ends, words),
    st.builds(Broke, st.just(ValueError()), words, words),
    st.builds(LineFailed, st.just(ValueError()), words, words),
    st.builds(Failed, words),
    st.builds(NotReady, words),
    st.builds(Expected, st.binary(), st.booleans()),
    st.builds(Said, words),
    st.builds(Over, seconds, st.integers(0), st.integers(0)),
    st.builds(Exited, st.integers(0, 143)),
)


@unhurried
@given(st.lists(events), st.booleans())
def test_any_facts_are_of_the_schema(told: list[Any], masks: bool) -> None:
    """In any order; and each line is printable ASCII."""
    streamed(told, masks=masks)


def test_connections_are_counted() -> None:
    """What comes before the first has 0, as where clients may come; offsets begin anew with each."""
    data = Moved("received", b"data", False)
    told = streamed(
        [
            Said("a warning"),
            *(Connecting("h:1"), data, data, Connecting("h:1"), data),
            *(Listening(("h:2",)), Accepted("h:3", "h:2"), data),
            Exited(0),
        ]
    )
    assert [(event["event"], event["connection"], event.get("offset")) for event in told] == [
        ("note", 0, None),
        ("received", 1, 0),
        ("received", 1, 4),
        ("received", 2, 0),
        ("listening", 0, None),
        ("connected", 3, None),
        ("received", 3, 0),
        ("exit", 3, None),
    ]


def test_a_number_that_is_given() -> None:
    """As the tap gives it: nothing is counted."""
    told = streamed([ClientCame("h:1", "h:2"), Connecting("h:3"), Connected("h:3", "h:4", 0.5)], connection=7)
    assert [(event["peer"], event["connection"]) for event in told] == [("client", 7), ("server", 7)]


def test_an_end_is_told_where_it_was_sent() -> None:
    """Not where stdin has ended and ours is held, or is never passed on."""
    assert names(streamed([Connecting("h:1"), StdinEnded(0)])) == ["ended"]
    assert names(streamed([Connecting("h:1"), StdinEnded(0, is_held=True)])) == []
    assert names(streamed([Connecting("h:1"), StdinEnded(0, is_held=True), OurSideEnded(0)])) == ["ended"]
    assert names(streamed([Connecting("h:1", no_shutdown=True), StdinEnded(0)])) == []


def test_the_proxy_is_told_of_the_connection_that_goes_through_it() -> None:
    """And not of the next one."""
    connected = Connected("10.0.0.1:1080", "10.0.0.2:5", 0.5)
    proxied = Proxied("socks5h://10.0.0.1:1080", "h:1", 0.1, "10.9.8.7:4711")
    first, second = streamed([Connecting("h:1"), proxied, connected, Connecting("h:1"), connected])
    assert first["proxy"] == {"url": "socks5h://10.0.0.1:1080", "tls": None, "bound_address": "10.9.8.7:4711"}
    assert second["proxy"] is None


def test_nothing_is_taken_when_it_cannot_be_written() -> None:
    """And nobody needs the bytes any more."""
    file = EventFile("/dev/full")
    stream = Stream(file)
    assert stream.wants_bytes
    stream.take(Said("x"))
    assert (file.problem, stream.wants_bytes) == ("no space left on device", False)
    stream.take(Moved("sent", b"x", False))
    with contextlib.closing(file):
        assert file.is_done
