"""Rules about `start_tls()`: when it upgrades, what the new socket tells, and what must not cross into TLS."""

from __future__ import annotations

from collections.abc import Iterator

from tests.conformance.data import Event, Json
from tests.conformance.patterns import AnyOf, ErrorOf
from tests.conformance.rules.expectation import Expectation, Rule
from tests.conformance.rules.forecast import Handshake, clear_text_before, forecast
from tests.conformance.rules.opening import connect_error
from tests.conformance.rules.texts import (
    CLOSED_BEFORE_START_TLS,
    READER_LOCKED,
    READER_RELEASED,
    START_TLS_TWICE,
    WRITABLE_CLOSED,
    WRITER_LOCKED,
    WRITER_RELEASED,
    type_error,
)
from tests.conformance.story import READS, Act, SocketStory, Story

__all__ = ["V8", "V10", "V12", "V13", "V16"]

READER_OPS = (*READS, "cancel", "reader_closed")
WRITER_OPS = ("write", "write_many", "writer_close", "writer_abort", "writer_closed")


def _upgrades(story: Story) -> Iterator[tuple[SocketStory, SocketStory]]:
    """Old and new sockets of every `start_tls()` that did not throw."""
    for new in story.sockets.values():
        if new.origin is not None:
            yield new.origin, new


def _cannot_upgrade(story: Story, old: SocketStory, new: SocketStory) -> bool:
    """Is there nothing to upgrade: no connection, or a writing side that has ended?"""
    aborted = story.aborted(old)
    return story.failed(old) or story.ended_before(old, new.made) or (aborted is not None and aborted.called < new.made)


# ---------------------------------------------------------------- V8


def _held_locks_do_not_stop_it(story: Story, expectation: Expectation) -> None:
    for old, new in _upgrades(story):
        if new.held and not _cannot_upgrade(story, old, new):
            for act in story.of(old):
                _old_socket(act, new, expectation)
            forecast(story, new).foretell(expectation)


def _old_socket(act: Act, new: SocketStory, expectation: Expectation) -> None:
    """The old socket was upgraded, and its readers and writers are as if released."""
    if act.at <= new.made or "started" in act.event or "missing" in expectation.outcome(act.at):
        return
    later = act.called > new.made
    data = {"data": expectation.outcome(act.at).get("data", "")} if act.name in ("read_n", "read_all") else {}
    if later:
        data = {"data": ""} if data else {}
    match act.op:
        case {"op": "get", "prop": "upgraded" | "readable.locked" | "writable.locked"}:
            expectation.settle(act.at, returned=True)
        case {"op": "closed"}:
            expectation.settle(act.at, resolved=None)
        case {"op": "close"}:
            expectation.settle(act.at, resolved=None)
        case {"op": "get_reader", "as": name}:
            expectation.settle(act.at, threw=type_error(READER_LOCKED))
            _never_made(str(name), act, expectation)
        case {"op": "get_writer", "as": name}:
            expectation.settle(act.at, threw=type_error(WRITER_LOCKED))
            _never_made(str(name), act, expectation)
        case {"op": op} if op in READER_OPS:
            expectation.settle(act.at, rejected=type_error(READER_RELEASED), **data)
        case {"op": op} if op in WRITER_OPS and later:
            expectation.settle(act.at, rejected=type_error(WRITER_RELEASED))


def _never_made(name: str, by: Act, expectation: Expectation) -> None:
    """The calls on a reader or writer that there is not."""
    for at, op in enumerate(expectation.scenario.client, start=1):
        if at > by.at and op.get("on") == name and at < len(expectation.trace):
            expectation.settle(at, missing=name)


V8 = Rule(
    "V8",
    "start_tls() with a reader or writer held: no upgrade, the new socket does not work, the old ones go on in "
    "clear text",
    "it upgrades; every use of the old reader and writer rejects as if they had been released",
    "documented that way; the other is a leak of clear text",
    _held_locks_do_not_stop_it,
)


# ---------------------------------------------------------------- V10


def _ipv6_works(story: Story, expectation: Expectation) -> None:
    for old, new in _upgrades(story):
        if not new.is_ipv6 or new.expected_host or new.held or _cannot_upgrade(story, old, new):
            continue
        outlook = forecast(story, new)
        if outlook.handshake is Handshake.DONE:
            outlook.foretell(expectation)


V10 = Rule(
    "V10",
    "start_tls() on a connection to an IPv6 address always fails: the brackets are taken for part of the name",
    "it works, where the certificate names the address",
    "accident of the runtime",
    _ipv6_works,
)


# ---------------------------------------------------------------- V12


def _opened_always_settles(story: Story, expectation: Expectation) -> None:
    for old, new in _upgrades(story):
        if _cannot_upgrade(story, old, new):
            error = _why_not(story, expectation, old, new)
            for act in story.of(new):
                outcome = expectation.outcome(act.at)
                if outcome == {"pending": True}:
                    expectation.settle(act.at, **_settled(act, error))


def _why_not(story: Story, expectation: Expectation, old: SocketStory, new: SocketStory) -> Json:
    """The error that `closed` of the new socket has, or would have."""
    for act in story.of(new, "closed"):
        error = expectation.outcome(act.at).get("rejected")
        if error is not None:
            return error
    return connect_error(old) if story.failed(old) else type_error(WRITABLE_CLOSED)


def _settled(act: Act, error: Json) -> Event:
    if act.name == "close":
        return {"resolved": None}
    data = {"data": ""} if act.name in ("read_n", "read_all") else {}
    return {"rejected": error, **data}


V12 = Rule(
    "V12",
    "`opened` of a new socket that has nothing to upgrade (no connection, a writing side that has ended) stays "
    "pending for ever",
    "it rejects with the error of `closed`; what else was pending settles with it",
    "a hang",
    _opened_always_settles,
)


# ---------------------------------------------------------------- V13


def _no_clear_text_crosses(story: Story, expectation: Expectation) -> None:
    for old, new in _upgrades(story):
        if _cannot_upgrade(story, old, new):
            continue
        unread, maybe_more = clear_text_before(story, new)
        if not unread:
            continue
        error = ErrorOf("Error", ("InjectionError",), count=None if maybe_more else unread)
        for act in story.of(new):
            outcome = expectation.outcome(act.at)
            if isinstance(outcome.get("rejected"), ErrorOf):
                expectation.settle(act.at, **{**outcome, "rejected": error})
        for step in story.tls_steps(new):  # what is unread makes our close a reset (C9)
            if expectation.entry(step).get("ended") == "eof":
                expectation.see(step, ended=AnyOf(("eof", "reset")))


V13 = Rule(
    "V13",
    "clear text that nobody has read is taken for the server's part of the handshake, which fails with "
    "`internal error`",
    "no ClientHello is sent, and the new socket fails with an InjectionError that counts the bytes",
    "STARTTLS injection",
    _no_clear_text_crosses,
)


# ---------------------------------------------------------------- V16


def _twice(story: Story, expectation: Expectation) -> None:
    for old, new in _upgrades(story):
        for act in story.of(old, "start_tls", since=new.made):
            if expectation.outcome(act.at) == {"threw": type_error(CLOSED_BEFORE_START_TLS)}:
                expectation.settle(act.at, threw=type_error(START_TLS_TWICE))


V16 = Rule(
    "V16",
    "a second start_tls() says that the connection was closed",
    "it says that start_tls() was already called",
    "misleading",
    _twice,
)
