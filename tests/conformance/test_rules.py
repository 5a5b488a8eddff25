"""The rules V1 to V16 in other surroundings than the recorded ones, and where they must not apply.

The scenarios of made_up/ are not recorded: they say what the reference would show by its own rules.
"""

from __future__ import annotations

import pytest

from tests.conformance.compare import compare
from tests.conformance.patterns import Run
from tests.conformance.rules import RULES, expect
from tests.conformance.runner import Certificates, judge
from tests.conformance.scenario import SCENARIOS, Scenario, load_folder

pytestmark = pytest.mark.one_python

MADE_UP = {scenario.name.removeprefix("made-up-"): scenario for scenario in load_folder(SCENARIOS.parent / "made_up")}
RECORDED = load_folder(SCENARIOS)

# Which rules a made-up scenario must fall under; those not named here must pass.
DIFFERENCES = {
    "held-reader": "V8",
    "held-both-then-use": "V8",
    "held-released-after-call": "V8",
    "held-reader-clear-text-comes": "V8",
    "held-reader-waiting": "V8",
    "held-writer-then-handshake": "V8",
    "held-writer-untrusted": "V8",
    "held-writer-new-reader-of-old": "V8",
    "refused-upgrade-at-once": "V12",
    "refused-upgrade-then-close": "V3 V12",
    "upgrade-after-writer-close": "V12",
    "injected-rest-of-chunk": "V13",
    "injected-then-close": "V13",
    "truncated-by-close": "V5 V9",
    "truncated-then-write": "V9",
    "truncated-byob": "V5 V9",
    "reset-closed-asked-before": "V5",
    "reset-half-open": "V5",
    "reset-write-then-close": "V5",
    "reset-in-pipe": "V5",
    "close-not-awaited-after-eof": "V6",
    "abort-without-reason-then-close": "V7",
    "abort-stream-then-close": "V7",
    "abort-unread-then-close": "V7",
    "tls-abort-then-close": "V7",
    "tls-close-unread": "V11",
    "tls-close-short-recv": "V11",
    "tls-close-queued-writes": "V11",
    "ipv6-upgrade-read": "V10",
    "ipv6-upgrade-untrusted": "V3",
    "ipv6-upgrade-expected-name": "V11",
    "refused-then-writes": "V3",
    "upgrade-reset-in-handshake": "V3",
    "upgrade-wrong-host": "V3",
    "upgrade-then-garbage": "V3 V5",
    "refused-read-waiting": "V2",
    "refused-byob": "V2",
    "write-string-first": "V4",
    "write-string-into-recv": "V4",
    "write-undefined": "V15",
    "options-number": "V15",
    "address-undefined": "V15",
    "address-null": "V15",
    "record-port-fraction": "V15",
    "record-port-missing": "V15",
    "record-hostname-number": "V15",
    "hwm-string": "V15",
    "hwm-null": "V15",
    "upgrade-expected-name-number": "V15",
    "cancel-reason-true": "V15",
    "upgrade-twice-later": "V16",
    "connect-expected-name": "V18",
}


@pytest.mark.parametrize("name", MADE_UP)
def test_made_up_scenario(name: str, certificates: Certificates) -> None:
    """A rule holds for a scenario that was not there when it was recorded."""
    verdict = judge(MADE_UP[name], certificates)
    assert verdict.result != "FAIL", str(verdict)
    assert " ".join(verdict.rules) == DIFFERENCES.get(name, "")


def test_rules_are_those_of_the_design() -> None:
    """V1 to V16 and V18, each once and with its reason; V1 alone is a normalisation."""
    assert sorted(rule.number for rule in RULES) == sorted(f"V{number}" for number in (*range(1, 17), 18))
    assert all(rule.reference and rule.here and rule.reason for rule in RULES)
    assert [rule.number for rule in RULES if rule.normalisation] == ["V1"]


def reference_run(scenario: Scenario) -> Run:
    """A run that shows exactly what the reference showed."""
    return Run(port=4444, trace=scenario.trace, saw=scenario.server_saw, complaints=[])


@pytest.mark.parametrize(
    "name",
    [
        "refused-then-read",
        "refused-pending-write",
        "write-string",
        "closed-reset-reading",
        "close-after-peer-fin",
        "closed-abort-then-close",
        "starttls-writer-held",
        "starttls-truncated",
        "starttls-by-ipv6",
        "tls-close",
        "starttls-after-peer-fin",
        "starttls-injected-unread",
        "half-open-string",
        "starttls-twice",
    ],
)
def test_the_reference_itself_fails_where_a_rule_applies(name: str) -> None:
    """A rule demands its difference: it does not allow both."""
    scenario = next(scenario for scenario in RECORDED if scenario.name == name)
    # Without what V1 is about: those events would fail before the one in question.
    events = [at for at, event in enumerate(scenario.trace) if event["op"] == "opened" and "resolved" in event]
    run = reference_run(scenario)
    expectation = expect(scenario)
    for at in events:
        expectation.trace[at] = scenario.trace[at]
    verdict = compare(expectation, run)
    assert verdict.result == "FAIL"
    assert "(V" in verdict.problem, verdict.problem


def test_scenarios_without_a_difference_are_expected_as_recorded() -> None:
    """No rule touches a scenario of plain TCP in which nothing out of the order happens."""
    for scenario in RECORDED:
        if scenario.name in ("string-ipv4", "close-flushes-writes", "echo-16mib", "half-open-write-after-eof"):
            expectation = expect(scenario)
            assert set(expectation.trace_rules) | set(expectation.saw_rules) == {""}
            assert not expectation.shortened_by
