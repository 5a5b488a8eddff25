"""The validator, against what it must find."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.json_schema import violations

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "properties": {
        "name": {"type": ["string", "null"], "enum": ["a", None]},
        "sizes": {"type": "array", "items": {"$ref": "#/$defs/size"}},
        "sure": {"type": "boolean"},
        "ratio": {"type": "number"},
        "either": {"oneOf": [{"type": "number"}, {"type": ["integer", "null"]}]},
    },
    "$defs": {"size": {"type": "integer", "minimum": 0}},
}


@pytest.mark.parametrize(
    "value", [{"name": "a", "sizes": [0, 5], "sure": True, "ratio": 1}, {"name": None}, {"name": "a", "either": 1.5}]
)
def test_what_is_right(value: object) -> None:
    """Nothing is found."""
    assert list(violations(value, SCHEMA)) == []


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ([], "$: [] is no object"),
        ({}, "$: name is missing"),
        ({"name": "b"}, "$.name: 'b' is none of ['a', None]"),
        ({"name": 1}, "$.name: 1 is no ['string', 'null']"),
        ({"name": "a", "sizes": [1, -1]}, "$.sizes[1]: -1 is less than 0"),
        ({"name": "a", "sizes": [True]}, "$.sizes[0]: True is no integer"),
        ({"name": "a", "sizes": [1.5]}, "$.sizes[0]: 1.5 is no integer"),
        ({"name": "a", "sure": 1}, "$.sure: 1 is no boolean"),
        ({"name": "a", "ratio": "1"}, "$.ratio: '1' is no number"),
        ({"name": "a", "either": "1"}, "$.either: fits 0 of 2 forms: '1'"),
        ({"name": "a", "either": 1}, "$.either: fits 2 of 2 forms: 1"),
        ({"name": "a", "other": 1}, "$: other is not in the schema"),
    ],
)
def test_what_is_wrong(value: object, found: str) -> None:
    """Each fault is found, and where it is."""
    assert list(violations(value, SCHEMA)) == [found]


def test_what_nobody_looks_at() -> None:
    """A keyword that this validator does not know must not pass for a check."""
    with pytest.raises(AssertionError, match="pattern"):
        list(violations("a", {"pattern": "b"}))
