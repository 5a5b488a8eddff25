"""Rules about connecting: what `opened` tells, and what a failed connection does to the streams."""

from __future__ import annotations

from tests.conformance.data import Json
from tests.conformance.patterns import ErrorOf, Info
from tests.conformance.rules.expectation import Expectation, Rule
from tests.conformance.rules.texts import (
    CONNECT_FAILED,
    HTTP_HINT,
    INTERNAL_ERROR,
    JSG_PREFIX,
    STREAM_CANCELLED,
    plain_error,
)
from tests.conformance.story import READS, SocketStory, Story

__all__ = ["V1", "V2", "V3", "connect_error"]

HTTP_PORTS = ("80", "443")


def connect_error(socket: SocketStory) -> Json:
    """The error of a failed connection, with its hint for HTTP ports."""
    port = socket.text.rpartition(":")[2].lstrip("0")
    return plain_error(CONNECT_FAILED + HTTP_HINT if port in HTTP_PORTS else CONNECT_FAILED)


def _real_ends(story: Story, expectation: Expectation) -> None:
    for act in story.acts:
        match expectation.outcome(act.at):
            case {"resolved": {"remoteAddress": str(text)}}:
                expectation.normalise(act.at, resolved=Info(text))


def _reads_fail_too(story: Story, expectation: Expectation) -> None:
    for socket in story.sockets.values():
        if not story.failed(socket):
            continue
        error = connect_error(socket)
        for act in story.of(socket, *READS, "reader_closed", "pipe"):
            if story.cancelled(socket, act.called):
                continue
            outcome = expectation.outcome(act.at)
            match outcome:
                case {"done": True} | {"resolved": None} | {"rejected": {"message": "Stream was cancelled."}}:
                    data = {"data": outcome.get("data", "")} if act.name in ("read_n", "read_all") else {}
                    expectation.settle(act.at, rejected=error, **data)


def _no_accidents(story: Story, expectation: Expectation) -> None:
    for act in story.acts:
        outcome = expectation.outcome(act.at)
        error = outcome.get("rejected")
        message = error.get("message", "") if isinstance(error, dict) else ""
        if message.startswith(JSG_PREFIX):
            plain = plain_error(message.removeprefix(JSG_PREFIX))
            expectation.settle(act.at, **{**outcome, "rejected": plain})
        elif message == INTERNAL_ERROR and act.socket.tls:
            expectation.settle(act.at, **{**outcome, "rejected": ErrorOf("Error", ("TlsError",))})


V1 = Rule(
    "V1",
    "`opened` resolves with the text given to connect(), and no local address",
    "with the real ends, `ip:port`: the port must be right, and the address one that the host resolves to",
    "the documentation says so, and a debugger needs them",
    _real_ends,
    normalisation=True,
)
V2 = Rule(
    "V2",
    "after a failed connection reads say done, `reader.closed` and a pipe resolve; a read that waited rejects with "
    f"{STREAM_CANCELLED!r}",
    "each rejects with the error that `opened` has",
    "an error must not look like the end of data",
    _reads_fail_too,
)
V3 = Rule(
    "V3",
    f"a message that begins with {JSG_PREFIX!r}; under TLS, {INTERNAL_ERROR!r}",
    "the message without the prefix; a TlsError with the real reason",
    "accidents of the runtime",
    _no_accidents,
)
