"""The rules of accepting in other surroundings than the recorded ones, and a runner that fails what is wrong.

The scenarios of inbound_made_up/ are not recorded: they say what the reference would show by its own rules.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.inbound.runner import judge_inbound
from tests.conformance.inbound.scenario import INBOUND, load_inbound, parse_inbound
from tests.conformance.runner import Certificates

pytestmark = pytest.mark.one_python

MADE_UP = {
    scenario.name.removeprefix("made-up-"): scenario for scenario in load_inbound(INBOUND.parent / "inbound_made_up")
}
RECORDS: dict[str, dict[str, Any]] = {
    record["name"]: record for path in INBOUND.glob("*.json") for record in json.loads(path.read_text("utf-8"))
}

# Which rules a made-up scenario must fall under; those not named here must pass.
DIFFERENCES = {
    "throw-one-return-one": "V23",
    "close-one-of-two": "V22",
    "unread-beside-a-throw": "V23 V24",
    "close-then-steps": "V22",
    "probe-then-close": "V22",
    "tls-close-stays": "V22",
    "starttls-close-stays": "V22",
    "tls-throw": "V23",
    "tls-return-unread": "V24",
    "tls-abort-return": "V23",
    "pipe-unawaited-client-stays": "V23",
    "dialing-unread-return": "V24",
    "write-string": "V4",
    "starttls-twice": "V16",
    "starttls-untrusting-client": "V3",
    "starttls-injected-more": "V13",
    "starttls-reset-instead": "V3",
    "starttls-truncated-beside": "V9",
    "byob-truncated": "V9",
    "reset-one-of-two": "V5",
    "writer-held-then-write-of-the-old": "V8",
}

Edit = Callable[[dict[str, Any]], None]


@pytest.mark.parametrize("name", MADE_UP)
def test_made_up_scenario(name: str, certificates: Certificates) -> None:
    """A rule holds for a scenario that was not there when it was recorded, and for one connection of several."""
    verdict = judge_inbound(MADE_UP[name], certificates)
    assert verdict.result != "FAIL", str(verdict)
    assert " ".join(verdict.rules) == DIFFERENCES.get(name, "")


def outcome(at: int, track: str = "trace", **members: object) -> Edit:
    """Put another outcome into an event of a trace."""

    def edit(record: dict[str, Any]) -> None:
        event = record[track][at]
        for key in set(event) - {"op", "on", "what"}:
            del event[key]
        event.update(members)

    return edit


def saw(at: int, track: str = "peer_saw", **members: object) -> Edit:
    """Put other members into an entry of what a peer saw."""
    return lambda record: record[track][at].update(members)


LOST = {"name": "Error", "message": "Network connection lost."}

WRONG: dict[str, tuple[str, Edit]] = {
    "the client's port": ("start-opened", outcome(1, resolved={"remoteAddress": "127.0.0.1:{listen}"})),
    "no local address": ("start-opened", outcome(0, resolved={"remoteAddress": "127.0.0.1:{peer}"})),
    "the path": ("start-unix", outcome(0, resolved={"localAddress": "unix:{path}0"})),
    "a property": ("start-properties", outcome(0, returned="starttls")),
    "the second trace": ("start-two", outcome(1, "trace_2", done=True, data="one")),
    "never called": ("start-opened", lambda record: record.update(trace=None)),
    "called": ("tls-plaintext-client", lambda record: record.update(trace=[{"op": "opened", "on": "s"}])),
    "data read": ("half-return-after-eof", outcome(1, done=True, data="ho")),
    "an error": ("off-start-tls", outcome(0, threw={"name": "TypeError", "message": "x"})),
    "pending for resolved": ("half-both-ended", outcome(5, pending=True)),
    "resolved for pending": ("half-both-ended", outcome(2, resolved=None)),
    "the end": ("return-idle", saw(1, ended="close_notify")),
    "the client's data": ("close-writer-first", saw(1, data="by")),
    "a handshake": ("tls-opened", saw(1, result="failed")),
    "TCP beneath TLS": ("tls-writer-close-fin", saw(3, saw="nothing")),
    "one entry more": ("return-write-unawaited", lambda record: record["peer_saw"].append({"do": "probe"})),
    "the origin": ("proxy-conversation", saw(1, "origin_saw", data="pong")),
    "one entry less": ("return-idle", lambda record: record["peer_saw"].pop()),
    # What rules are about, in scenarios where they do not apply.
    "V5, no loss": ("half-both-ended", outcome(5, rejected=LOST)),
    "V21, no TLS": ("start-properties", outcome(0, returned="on")),
    "V22, no close()": ("half-writer-close-eof-unread", saw(1, ended="close_notify")),
    # What is wrong beside a difference on purpose.
    "beside V5": ("closed-idle-reset", saw(0, do="accept")),
    "beside V13": ("starttls-injected-half-read", outcome(3, done=False, data="STARTTLS\r")),
    "beside V22": ("tls-return", saw(2, data="yo!")),
    "beside V23": ("throw-after-write", saw(1, data="part")),
    "beside V24": ("return-answer-unread", saw(1, data="answers")),
}


@pytest.mark.parametrize("kind", WRONG)
def test_edited_scenario_fails(kind: str, certificates: Certificates) -> None:
    """A scenario edited by hand to a wrong outcome is reported, whatever is wrong in it."""
    name, edit = WRONG[kind]
    record = copy.deepcopy(RECORDS[name])
    edit(record)
    verdict = judge_inbound(parse_inbound(record), certificates)
    assert verdict.result == "FAIL"
    assert "expected" in verdict.problem
    assert "seen" in verdict.problem


@pytest.mark.parametrize("name", ["close-stays", "throw-idle", "return-unread", "starttls-injected-half-read"])
def test_the_name_decides_nothing(name: str, certificates: Certificates) -> None:
    """A scenario under another name has the same verdict."""
    before, after = (
        judge_inbound(parse_inbound({**RECORDS[name], "name": each}), certificates) for each in (name, "x")
    )
    assert (after.result, after.rules) == (before.result, before.rules)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"handler": [{"op": "juggle", "on": "s"}]}, "unknown client op 'juggle'"),
        ({"peer": [{"do": "connect"}, {"do": "juggle"}]}, "unknown client step 'juggle'"),
        ({"handler": [{"op": "await", "what": "p"}]}, "no promise is called 'p'"),
    ],
)
def test_what_the_runner_does_not_know_fails_the_scenario(
    change: dict[str, Any], words: str, certificates: Certificates
) -> None:
    """And says so at once, instead of passing it or waiting for it."""
    verdict = judge_inbound(parse_inbound({**RECORDS["start-properties"], **change}), certificates)
    assert verdict.result == "FAIL"
    assert words in verdict.problem
