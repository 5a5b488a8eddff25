"""Every recorded scenario of an accepted connection, a test each; and that the rules demand their difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future

import pytest

from tests.conformance.compare import Verdict, agree
from tests.conformance.conftest import side_by_side
from tests.conformance.data import ScenarioError
from tests.conformance.inbound.expected import KINDS
from tests.conformance.inbound.rules import INBOUND_RULES, expect_inbound
from tests.conformance.inbound.runner import judge_inbound
from tests.conformance.inbound.scenario import INBOUND, load_inbound, parse_inbound
from tests.conformance.patterns import Run
from tests.conformance.runner import Certificates

RECORDED = {scenario.name: scenario for scenario in load_inbound(INBOUND)}
# What differs, and by which rules; what is not named here must pass.
DIFFERENCES = {
    "close-stays": "V22",
    "close-stays-client-ends": "V22",
    "close-unread": "V24",
    "close-after-reset": "V5",
    "closed-idle-reset": "V5",
    "echo-pipe-reset": "V5",
    "proxy-origin-resets": "V25",
    "proxy-client-resets": "V25",
    "proxy-refused": "V3 V25",
    "read-cancel-return": "V24",
    "read-reset-waiting": "V5",
    "return-unread": "V24",
    "return-answer-unread": "V24",
    "return-write-large-unawaited": "V23",
    "return-pipe-unawaited": "V23",
    "return-background-write": "V23",
    "return-background-read": "V23",
    "return-background-close": "V23",
    "throw-idle": "V23",
    "throw-after-write": "V23",
    "start-unix": "V26",
    "start-client-reset": "V5",
    "starttls-writer-held": "V8",
    "starttls-reader-held": "V8",
    "starttls-injected-unread": "V3",
    "starttls-injected-half-read": "V13",
    "starttls-plaintext-client": "V3 V26",
    "starttls-truncated": "V5 V9",
    "starttls-close-return": "V22",
    "starttls-return": "V22",
    "tls-opened": "V21",
    "tls-truncated": "V5",
    "tls-return": "V22",
    "tls-close-return": "V22",
    "tls-start-tls": "V21",
    "write-desired-size": "V26",
    "write-abort-close": "V7 V23",
    "write-abort-return": "V23",
    "write-after-reset": "V5",
    "write-after-client-close": "V5",
}


@pytest.fixture(scope="session")
def verdicts(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[Mapping[str, Future[Verdict]]]:
    """The verdicts to come of all scenarios that this session has selected."""
    with side_by_side(request, "inbound", RECORDED, judge_inbound, certificates) as verdicts_to_come:
        yield verdicts_to_come


@pytest.mark.parametrize("inbound", RECORDED)
def test_inbound_scenario(inbound: str, verdicts: Mapping[str, Future[Verdict]]) -> None:
    """cfcat shows what the reference showed, or what a rule of ours puts in its place."""
    verdict = verdicts[inbound].result()
    assert verdict.result != "FAIL", str(verdict)
    assert " ".join(verdict.rules) == DIFFERENCES.get(inbound, "")


@pytest.mark.parametrize("name", DIFFERENCES)
def test_the_reference_itself_fails_where_a_rule_applies(name: str) -> None:
    """A rule demands its difference: it does not allow both."""
    scenario = RECORDED[name]
    expected = expect_inbound(scenario)
    run = Run(0, scenario.trace or [], [], [])
    wrong = [
        (kind, at)
        for kind in KINDS
        for at, (want, recorded) in enumerate(
            zip(expected.events[kind] or [], getattr(scenario, kind) or [], strict=True)
        )
        if not agree(want, recorded, run)
    ]
    assert wrong
    assert {expected.by[each] for each in wrong} == set(DIFFERENCES[name].split())


def test_a_scenario_that_nothing_special_happens_in_is_expected_as_recorded() -> None:
    """No rule touches it."""
    for name in ("start-opened", "read-to-eof", "echo-pipe", "proxy-conversation", "starttls-conversation"):
        assert expect_inbound(RECORDED[name]).by == {}


def test_rules_are_those_of_accepting_and_those_of_the_socket_that_apply() -> None:
    """V21 to V26 are all there."""
    numbers = {rule.number for rule in INBOUND_RULES}
    assert numbers >= {f"V{number}" for number in range(21, 27)}


@pytest.mark.parametrize(
    "change", [{"listener": "udp"}, {"peer": None}, {"surprise": 1}, {"name": 3}], ids=lambda change: next(iter(change))
)
def test_a_scenario_of_another_form_is_refused(change: dict[str, object]) -> None:
    """By name of the field."""
    record = {"name": "x", "peer": [], "peer_saw": [], **change}
    with pytest.raises(ScenarioError, match=next(iter(change))):
        parse_inbound(record)
