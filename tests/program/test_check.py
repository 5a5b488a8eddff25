"""`--check-workers`: the verdict, the message and the status, and that nothing is sent."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from cfcat.core.workers import AS_OF
from tests.faults.ways import check_message, resolving
from tests.helpers.program import Result, cfcat, finish, start
from tests.helpers.terminal import terminal
from tests.program.unconnected import CONNECT_FAILED, resolved_to


def check(*arguments: str, by: list[str]) -> tuple[list[str], int]:
    result = cfcat("--check-workers", *arguments, by=by)
    assert result.stderr == ""
    return result.stdout.decode().splitlines(), result.status


def test_check_workers_blocked() -> None:
    """The verdict with the day of its rules, then each address; status 7; no socket is made."""
    first, *rows = check("db.example:5432", by=resolved_to("10.0.0.1", "::1"))[0]
    assert first == f"db.example:5432: blocked in a Worker, as of {AS_OF}: {CONNECT_FAILED}"
    assert rows == [
        "  10.0.0.1:5432: blocked: 10.0.0.1 is private, in 10.0.0.0/8 (rule P2)",
        "  [::1]:5432: blocked: ::1 is local, in ::1/128 (rule P2)",
    ]
    assert check("db.example:5432", by=resolved_to("10.0.0.1"))[1] == 7


def test_check_workers_allowed() -> None:
    """Status 0, with a note or without."""
    lines, status = check("host.example", "443", by=resolved_to("192.0.2.7", "10.0.0.1"))
    assert (lines[0], status) == (f"host.example:443: allowed in a Worker, as of {AS_OF}", 0)
    assert lines[1].startswith("  192.0.2.7:443: allowed: port 443 is that of HTTP")
    assert lines[2].startswith("  10.0.0.1:443: blocked: ")
    lines, status = check("host.example:22", by=resolved_to("192.0.2.7"))
    assert (lines[1:], status) == (["  192.0.2.7:22: allowed"], 0)


@pytest.mark.parametrize(("option", "left"), [("-4", "192.0.2.7:22"), ("-6", "[2001:db8::7]:22")])
def test_check_workers_of_one_family(option: str, left: str) -> None:
    """-4 and -6 decide which addresses there are."""
    lines, _ = check(option, "host.example:22", by=resolved_to("192.0.2.7", "2001:db8::7"))
    assert lines[1:] == [f"  {left}: allowed"]


JSON: list[tuple[list[str], str, dict[str, Any]]] = [
    (["10.0.0.1"], "host.example:22", {"verdict": "blocked", "rule": "P2", "message": CONNECT_FAILED, "status": 7}),
    (["192.0.2.7"], "host.example:22", {"verdict": "allowed", "rule": None, "message": None, "status": 0}),
    (["192.0.2.7"], "host.example:80", {"verdict": "note", "rule": "P7", "message": None, "status": 0}),
    (["10.0.0.1", "192.0.2.7"], "host.example:22", {"verdict": "note", "rule": "P9", "message": None, "status": 0}),
    (
        ["192.0.2.7"],
        "host.example:25",
        {"verdict": "blocked", "rule": "P3", "message": "Connections to port 25 are prohibited", "status": 7},
    ),
]


@pytest.mark.parametrize(("addresses", "target", "expected"), JSON, ids=[f"{a} {t}" for a, t, _ in JSON])
def test_check_workers_json(addresses: list[str], target: str, expected: dict[str, Any]) -> None:
    """One object on stdout, one line, of the documented shape; its status is the run's."""
    result = cfcat("--check-workers", "--json", target, by=resolved_to(*addresses))
    assert (result.stderr, result.stdout.count(b"\n"), result.status) == ("", 1, expected["status"])
    report = json.loads(result.stdout)
    rows = report.pop("addresses")
    assert report == {"target": target, "as_of": AS_OF, **expected}
    assert [row["address"].rpartition(":")[0] for row in rows] == addresses
    assert all(list(row) == ["address", "verdict", "rule", "why"] for row in rows)
    assert all((row["rule"] is None) == (row["why"] is None) == (row["verdict"] == "allowed") for row in rows)


NOT_FOUND = "raise socket.gaierror(socket.EAI_NONAME, 'Name or service not known')"


def test_check_workers_of_a_name_that_is_not_found() -> None:
    """Status 6, and no verdict; as an object, too."""
    by = resolving(answer=NOT_FOUND)
    result = cfcat("--check-workers", "host.example:22", by=by)
    assert result == Result(b"", "cfcat: host.example:22: name or service not known\n", 6)
    result = cfcat("--check-workers", "--json", "host.example:22", by=by)
    assert (result.stderr, result.status) == ("", 6)
    assert json.loads(result.stdout) == {
        "target": "host.example:22",
        "as_of": AS_OF,
        "verdict": None,
        "rule": None,
        "message": "host.example:22: name or service not known",
        "addresses": [],
        "status": 6,
    }


def test_check_workers_has_the_deadline() -> None:
    """A resolver that does not answer: status 28."""
    by = resolving(answer="import threading; threading.Event().wait()")
    result = cfcat("--check-workers", "--connect-timeout", "0.3", "host.example:22", by=by)
    hint = check_message(result, 28, "host.example:22: the name was not resolved after 0.3 s")
    assert hint == "--connect-timeout SECS waits longer"


def test_check_workers_dies_of_sigint() -> None:
    """At once, also while it resolves."""
    by = resolving(answer="print('asked', file=sys.stderr, flush=True); import threading; threading.Event().wait()")
    with start("--check-workers", "host.example:22", by=by) as program:
        program.read_stderr_until("asked")
        program.send_signal(signal.SIGINT)
        assert finish(program).status == -signal.SIGINT


@pytest.mark.parametrize(
    "options", [["-v"], ["--repl"], ["--tls", "on"], ["-w", "5"], ["--log", "x"], ["--workers"], ["--half-open"]]
)
def test_check_workers_takes_no_option_about_a_connection(options: list[str]) -> None:
    """It would have no meaning, and is not ignored."""
    result = cfcat("--check-workers", *options, "host.example:22", by=resolved_to("192.0.2.7"))
    check_message(result, 2, "--check-workers does not connect: ")


def test_check_workers_with_a_full_stdout() -> None:
    """As --help: status 23."""
    with open("/dev/full", "wb") as full, start("--check-workers", "192.0.2.7:22", stdout=full) as program:
        assert program.wait(10) == 23


def test_check_workers_on_a_terminal_is_no_session() -> None:
    """It prints and ends there as elsewhere."""
    with terminal("--check-workers", "192.0.2.7:22") as child:
        child.expect("192.0.2.7:22: allowed")
        assert child.finish() == 0
