"""The runner must say FAIL where something is wrong, and run what it has never seen."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.__main__ import main
from tests.conformance.data import Event
from tests.conformance.runner import Certificates, judge
from tests.conformance.scenario import SCENARIOS, Scenario, parse_scenario

pytestmark = pytest.mark.one_python

RECORDS: dict[str, dict[str, Any]] = {
    record["name"]: record for path in SCENARIOS.glob("*.json") for record in json.loads(path.read_text("utf-8"))
}
ROOT = SCENARIOS.parent.parent.parent

Edit = Callable[[dict[str, Any]], None]


def edited(name: str, edit: Edit) -> Scenario:
    """A recorded scenario, changed by hand."""
    record = copy.deepcopy(RECORDS[name])
    edit(record)
    return parse_scenario(record)


def outcome(at: int, **members: object) -> Edit:
    """Put another outcome into an event of the trace."""

    def edit(record: dict[str, Any]) -> None:
        event: Event = record["trace"][at]
        for key in set(event) - {"op", "on", "what"}:
            del event[key]
        event.update(members)

    return edit


def saw(at: int, **members: object) -> Edit:
    """Put other members into an entry of server_saw."""
    return lambda record: record["server_saw"][at].update(members)


LOST = {"name": "Error", "message": "Network connection lost."}
SOCKET_CLOSED = {"name": "TypeError", "message": "This socket has been closed."}

WRONG: dict[str, tuple[str, Edit]] = {
    "message": ("refused", outcome(1, rejected={"name": "Error", "message": "proxy request failed"})),
    "error name": ("get-reader-twice", outcome(3, threw={"name": "Error", "message": "x"})),
    "thrown message": ("string-empty", outcome(0, threw={"name": "TypeError", "message": "Specified address."})),
    "data read": ("string-ipv4", outcome(3, done=True, data="hallo")),
    "large data": ("read-large", outcome(3, done=True, data={"len": 16777216, "sha256": "00" * 32})),
    "done for not done": ("read-before-opened", outcome(2, done=True, data="chunk")),
    "rejected for resolved": ("close-sends-fin", outcome(3, rejected=SOCKET_CLOSED)),
    "resolved for rejected": ("read-twice-pending", outcome(5, resolved=None)),
    "returned for resolved": ("close-sends-fin", outcome(2, returned=None)),
    "pending for resolved": ("closed-writer-close-then-eof", outcome(6, pending=True)),
    "resolved for pending": ("closed-abort", outcome(4, resolved=None)),
    "property": ("secure-off", outcome(1, returned="on")),
    "number for bool": ("secure-off", outcome(2, returned=0)),
    "remote host": ("string-ipv4", outcome(1, resolved={"remoteAddress": "127.0.0.2:{port}"})),
    "remote port": ("string-ipv4", outcome(1, resolved={"remoteAddress": "127.0.0.1:4444"})),
    "end": ("close-sends-fin", saw(1, ended="reset")),
    "data received": ("close-flushes-writes", saw(1, data="one two")),
    "result": ("tls-wrong-host", saw(1, result="ok")),
    "SNI": ("tls-by-name", saw(1, sni="other.test")),
    "no SNI": ("tls-by-ipv4", saw(1, sni="127.0.0.1")),
    "still waiting": ("writable-close-unlocked", saw(1, ended="still_waiting")),
    "one event more": ("close-twice", lambda record: record["trace"].append({"op": "closed", "on": "s"})),
    "one entry more": ("close-twice", lambda record: record["server_saw"].append({"do": "accept"})),
    "one entry less": ("close-twice", lambda record: record["server_saw"].pop()),
    # What rules are about, in scenarios where they do not apply.
    "V2, connected": ("string-ipv4", outcome(3, rejected=LOST, data="hello")),
    "V5, no loss": ("close-sends-fin", outcome(3, rejected=LOST)),
    "V6, no EOF": ("close-twice", outcome(4, rejected=SOCKET_CLOSED)),
    "V7, no abort": ("close-sends-fin", outcome(3, rejected={"value": "enough"})),
    "V9, a whole stream": ("starttls-close-notify-only", outcome(4, rejected=LOST, data="all")),
    "V11, no close()": ("tls-writer-close", saw(2, ended="eof")),
    "V16, called once": ("starttls-off-mode", outcome(2, threw={"name": "TypeError", "message": "already called"})),
    # What is wrong beside a difference on purpose.
    "beside V4": ("write-string", outcome(4, rejected=SOCKET_CLOSED)),
    "beside V5": ("closed-reset-reading", outcome(8, done=True)),
    "beside V8": ("starttls-writer-held", outcome(1, resolved={"remoteAddress": "localhost:1"})),
    "beside V9": ("starttls-truncated", outcome(4, done=True, data="pert")),
    "beside V11": ("tls-close", saw(2, data="x")),
    "beside V13": ("starttls-injected-unread", outcome(2, timeout=True)),
    "beside V14": ("read-chunk-size", outcome(6, rejected=SOCKET_CLOSED)),
}


@pytest.mark.parametrize("kind", WRONG)
def test_edited_scenario_fails(kind: str, certificates: Certificates) -> None:
    """A scenario edited by hand to a wrong outcome is reported, whatever is wrong in it."""
    name, edit = WRONG[kind]
    verdict = judge(edited(name, edit), certificates)
    assert verdict.result == "FAIL"
    assert "expected" in verdict.problem
    assert "seen" in verdict.problem


@pytest.mark.parametrize("name", sorted({name for name, _ in WRONG.values()}))
def test_unedited_scenario_does_not(name: str, certificates: Certificates) -> None:
    """It is the edit that fails above."""
    verdict = judge(edited(name, lambda record: None), certificates)
    assert verdict.result != "FAIL", str(verdict)


def test_the_name_decides_nothing(certificates: Certificates) -> None:
    """A scenario under another name has the same verdict."""
    for name in ("string-ipv4", "closed-reset-reading", "starttls-basic"):
        before = judge(edited(name, lambda record: None), certificates)
        after = judge(edited(name, lambda record: record.update(name="x")), certificates)
        assert (after.result, after.rules) == (before.result, before.rules)


UNSEEN = {
    "name": "never-seen",
    "why": "A line and its answer, then both sides end.",
    "connect": {"address": "127.0.0.1:{port}"},
    "server": [{"do": "accept"}, {"do": "recv", "n": 6}, {"do": "send", "data": "pong\r\n"}, {"do": "recv_until_eof"}],
    "client": [
        {"op": "get_writer", "on": "s", "as": "w"},
        {"op": "write", "on": "w", "data": "ping\r\n"},
        {"op": "get_reader", "on": "s", "as": "r"},
        {"op": "read_n", "on": "r", "n": 6},
        {"op": "writer_close", "on": "w"},
    ],
    "trace": [
        {"op": "connect", "returned": None},
        {"op": "get_writer", "on": "s", "returned": None},
        {"op": "write", "on": "w", "resolved": None},
        {"op": "get_reader", "on": "s", "returned": None},
        {"op": "read_n", "on": "r", "done": False, "data": "pong\r\n"},
        {"op": "writer_close", "on": "w", "resolved": None},
    ],
    "server_saw": [
        {"do": "accept"},
        {"do": "recv", "data": "ping\r\n"},
        {"do": "recv_until_eof", "data": "", "ended": "eof"},
    ],
}


def write_folder(folder: Path, *records: dict[str, Any]) -> Path:
    (folder / "some.json").write_text(json.dumps(records), "utf-8")
    return folder


def test_program_runs_unseen_scenarios(tmp_path: Path) -> None:
    """As a program: a line for each scenario, the sums, and success."""
    folder = write_folder(tmp_path, UNSEEN, RECORDS["tls-close"])
    command = [sys.executable, "-m", "tests.conformance", str(folder)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert run.stdout.splitlines() == ["pass never-seen", "differs tls-close V11", "1 pass, 1 differ, 0 fail"]
    assert (run.returncode, run.stderr) == (0, "")


def test_program_reports_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, with the expected and the seen event, and no success."""
    wrong = copy.deepcopy(UNSEEN)
    wrong["server_saw"][1]["data"] = "pang\r\n"  # type: ignore[index]
    assert main([str(write_folder(tmp_path, wrong, {**UNSEEN, "name": "right"}))]) == 1
    assert capsys.readouterr().out.splitlines() == [
        'FAIL never-seen server_saw[1]: expected {"do": "recv", "data": "pang\\r\\n"}, '
        'seen {"do": "recv", "data": "ping\\r\\n"}',
        "pass right",
        "1 pass, 0 differ, 1 fail",
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"client": [{"op": "juggle", "on": "s"}]}, "unknown client op 'juggle'"),
        ({"server": [{"do": "juggle"}]}, "unknown server step 'juggle'"),
        ({"client": [{"op": "await", "what": "p"}]}, "no promise is called 'p'"),
    ],
)
def test_what_the_runner_does_not_know_fails_the_scenario(
    change: dict[str, Any], words: str, certificates: Certificates
) -> None:
    """And says so, instead of passing it."""
    trace = [{"op": "connect", "returned": None}, {"op": "x"}]
    verdict = judge(parse_scenario({**UNSEEN, "trace": trace, **change}), certificates)
    assert verdict.result == "FAIL"
    assert words in verdict.problem


@pytest.mark.parametrize("text", [None, "[]", "{}", "[1]", "not JSON", '[{"name": "x"}]', json.dumps([UNSEEN, UNSEEN])])
def test_program_refuses_what_is_no_scenario_file(
    text: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty folder is an error."""
    if text is not None:
        (tmp_path / "some.json").write_text(text)
    assert main([str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err
