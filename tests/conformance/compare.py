"""Expected and seen events, one by one: pass, differs on purpose, or FAIL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tests.conformance.data import Event
from tests.conformance.patterns import Run, same, shown
from tests.conformance.rules import Expectation

__all__ = ["Verdict", "agree", "compare", "line"]


@dataclass(frozen=True)
class Verdict:
    """What became of a scenario; `str()` is its line of the report.

    `rules`: the numbers of those that a difference falls under. `problem`: what is wrong.
    """

    name: str
    result: Literal["pass", "differs", "FAIL"]
    rules: tuple[str, ...] = ()
    problem: str = ""

    def __str__(self) -> str:
        return " ".join([self.result, self.name, *self.rules, *([self.problem] if self.problem else [])])


def compare(expectation: Expectation, run: Run) -> Verdict:
    """Judge a run by what was expected of it. The first event that is wrong is the one reported."""
    name = expectation.scenario.name
    rules = set(expectation.shortened_by)
    for kind, expected, seen, reference, by in (
        ("trace", expectation.trace, run.trace, expectation.reference_trace, expectation.trace_rules),
        ("server_saw", expectation.saw, run.saw, expectation.reference_saw, expectation.saw_rules),
    ):
        for at in range(max(len(expected), len(seen))):
            wanted, got = _at(expected, at), _at(seen, at)
            if wanted is None or got is None or not agree(wanted, got, run):
                number = f" ({by[at]})" if at < len(by) and by[at] else ""
                problem = f"{kind}[{at}]: expected{number} {line(wanted)}, seen {line(got)}"
                return Verdict(name, "FAIL", problem=_with_complaints(problem, run))
            recorded = _at(reference, at)
            if recorded is None or not agree(recorded, got, run):
                rules.add(by[at])
    if run.complaints:
        return Verdict(name, "FAIL", problem=_with_complaints("all events as expected, but", run))
    numbers = tuple(sorted(rules, key=lambda number: int(number[1:])))
    return Verdict(name, "differs" if numbers else "pass", numbers)


def agree(expected: Event, seen: Event, run: Run) -> bool:
    """As `same`, but an outcome of null is one: `resolved` is neither `returned` nor nothing."""
    outcomes = {"resolved", "returned", "rejected", "threw", "started", "pending", "done"}
    return set(expected) & outcomes == set(seen) & outcomes and same(expected, seen, run)


def _at(events: list[Event], at: int) -> Event | None:
    return events[at] if at < len(events) else None


def line(event: Event | None) -> str:
    """An event on one line; None is nothing."""
    return "nothing" if event is None else shown(event)


def _with_complaints(problem: str, run: Run) -> str:
    return " ".join([problem, *(f"[{complaint}]" for complaint in run.complaints)]).replace("\n", " ")
