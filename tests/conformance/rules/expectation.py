"""What cfcat is expected to show: the recorded events, and where a rule changed one, which rule."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.conformance.data import Event, Json
from tests.conformance.scenario import Scenario
from tests.conformance.story import Moment, Step, Story

__all__ = ["HEAD", "Expectation", "Rule"]

HEAD = ("op", "on", "what")


@dataclass
class Expectation:
    """The events to come, in the making: each rule looks at them and may change some.

    `reference_trace` and `reference_saw` are the recorded events as they are compared. `trace_rules` and
    `saw_rules` name the rule that changed an event last, "" where none did; `shortened_by` those that took events
    away.
    """

    scenario: Scenario
    reference_trace: list[Event] = field(init=False)
    reference_saw: list[Event] = field(init=False)
    trace: list[Event] = field(init=False)
    saw: list[Event] = field(init=False)
    trace_rules: list[str] = field(init=False)
    saw_rules: list[str] = field(init=False)
    shortened_by: set[str] = field(default_factory=set)
    rule: str = ""  # which is at work

    def __post_init__(self) -> None:
        self.reference_trace = copy.deepcopy(self.scenario.trace)
        self.reference_saw = copy.deepcopy(self.scenario.server_saw)
        self.trace = copy.deepcopy(self.scenario.trace)
        self.saw = copy.deepcopy(self.scenario.server_saw)
        self.trace_rules = [""] * len(self.trace)
        self.saw_rules = [""] * len(self.saw)

    def outcome(self, at: Moment) -> Event:
        """What is expected of the call at `at`, without op, on and what."""
        return {key: value for key, value in self.trace[at].items() if key not in HEAD}

    def normalise(self, at: Moment, **outcome: Json) -> None:
        """Say the same of an event in another way: no difference."""
        self._settle(at, outcome)
        self.reference_trace[at] = self.trace[at]

    def settle(self, at: Moment, **outcome: Json) -> None:
        """Expect another outcome of the call at `at`."""
        if outcome != self.outcome(at):
            self._settle(at, outcome)
            self.trace_rules[at] = self.rule

    def end_trace(self, length: int) -> None:
        """Expect no more events than `length`."""
        if length < len(self.trace):
            self.shortened_by.add(self.rule)
        del self.trace[length:], self.trace_rules[length:]

    def entry(self, step: Step) -> Event:
        """What is expected of a step of the server; empty where it has no entry, or has none any more."""
        return self.saw[step.saw] if step.saw is not None and step.saw < len(self.saw) else {}

    def see(self, step: Step, **members: Json) -> None:
        """Expect other members in the entry of a step."""
        entry = self.entry(step)
        if step.saw is not None and entry and {**entry, **members} != entry:
            self.saw[step.saw] = {**entry, **members}
            self.saw_rules[step.saw] = self.rule

    def replace_saw(self, entries: list[Event]) -> None:
        """Expect these entries; those that stay as they are keep their rule."""
        old, old_rules = self.saw, self.saw_rules
        if len(entries) < len(old):
            self.shortened_by.add(self.rule)
        self.saw = entries
        self.saw_rules = [
            old_rules[at] if at < len(old) and old[at] == entry else self.rule for at, entry in enumerate(entries)
        ]

    def _settle(self, at: Moment, outcome: Event) -> None:
        head = {key: value for key, value in self.trace[at].items() if key in HEAD}
        self.trace[at] = {**head, **outcome}


@dataclass(frozen=True)
class Rule:
    """One difference on purpose: what the reference shows, what cfcat shows instead, and why.

    `apply` finds the events of any scenario that it is about, and says what to expect of them. A rule that is a
    `normalisation` says the same thing in another way, and alone leaves a scenario passed.
    """

    number: str
    reference: str
    here: str
    reason: str
    apply: Callable[[Story, Expectation], None]
    normalisation: bool = False
