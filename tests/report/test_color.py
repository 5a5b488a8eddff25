"""Colour: one decision, by the rules that terminals' programs have agreed on."""

from __future__ import annotations

import pytest

from cfcat.report.color import ColorChoice, use_color

# Choice, environment, terminal, decision.
DECISIONS: list[tuple[ColorChoice, dict[str, str], bool, bool]] = [
    ("auto", {}, True, True),
    ("auto", {}, False, False),
    ("always", {"NO_COLOR": "1", "TERM": "dumb"}, False, True),
    ("never", {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1"}, True, False),
    ("auto", {"NO_COLOR": "1"}, True, False),
    ("auto", {"NO_COLOR": ""}, True, True),
    ("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
    ("auto", {"FORCE_COLOR": "1"}, False, True),
    ("auto", {"FORCE_COLOR": "1", "TERM": "dumb"}, False, True),
    ("auto", {"FORCE_COLOR": "0"}, True, False),
    ("auto", {"FORCE_COLOR": ""}, False, False),
    ("auto", {"CLICOLOR_FORCE": "1"}, False, True),
    ("auto", {"CLICOLOR_FORCE": "0"}, True, True),
    ("auto", {"CLICOLOR_FORCE": "0"}, False, False),
    ("auto", {"TERM": "dumb"}, True, False),
    ("auto", {"TERM": "xterm"}, True, True),
    ("auto", {"CLICOLOR": "0"}, True, False),
    ("auto", {"CLICOLOR": "1"}, True, True),
    ("auto", {"CLICOLOR": "1"}, False, False),
]


@pytest.mark.parametrize(("choice", "environment", "is_terminal", "decision"), DECISIONS)
def test_decision(choice: ColorChoice, environment: dict[str, str], is_terminal: bool, decision: bool) -> None:
    """The option first, then NO_COLOR, what forces it, and the terminal."""
    assert use_color(choice, environment, is_terminal=is_terminal) == decision
