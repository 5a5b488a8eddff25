"""Where cfcat differs from the reference on purpose: V1 to V16 and V18, and nothing else.

`expect` turns the events that the reference showed into those that cfcat must show. A rule is about events and the
facts of a scenario (`story`), so it holds for scenarios that nobody has seen yet; and the rule requires cfcat's outcome
and does not also accept the runtime's: where a rule applies, what the reference shows is wrong.
"""

from __future__ import annotations

from tests.conformance.rules.ending import V5, V6, V7, V9, V11
from tests.conformance.rules.expectation import Expectation, Rule
from tests.conformance.rules.opening import V1, V2, V3
from tests.conformance.rules.upgrade import V8, V10, V12, V13, V16
from tests.conformance.rules.values import V4, V14, V15, V18
from tests.conformance.scenario import Scenario
from tests.conformance.story import Story

__all__ = ["RULES", "Expectation", "Rule", "expect"]

# In the order in which they are applied: a later rule sees what the earlier ones made of an event. V15 comes before
# all that need a connection; V5 and V11 after those that break one.
RULES: tuple[Rule, ...] = (V1, V15, V18, V4, V3, V2, V16, V8, V10, V12, V13, V9, V5, V6, V7, V11, V14)


def expect(scenario: Scenario) -> Expectation:
    """Return what cfcat must show when it runs the scenario."""
    story, expectation = Story(scenario), Expectation(scenario)
    for rule in RULES:
        expectation.rule = rule.number
        rule.apply(story, expectation)
        if len(expectation.trace) < len(scenario.trace):
            break  # connect() throws here and did not there: nothing else happens
    return expectation
