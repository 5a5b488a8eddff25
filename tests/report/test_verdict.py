"""Verdicts as people and programs see them; what the command line does with them is in tests/program."""

from __future__ import annotations

import json

from cfcat import WorkersPolicy
from cfcat.core.address import parse_address
from cfcat.core.dial import blocked
from cfcat.core.workers import AS_OF
from cfcat.report.verdict import describe_judgement, judgement_as_json, no_judgement_as_json, workers_note

TARGET = "host.example:443"


def test_both_kinds_of_addresses() -> None:
    """P9: allowed, each address with its own line; as an object with its own rule, and as a note without repetition."""
    judgement = WorkersPolicy().judge_all(["10.0.0.1", "192.0.2.7", "192.0.2.8"], 443)
    http = "port 443 is that of HTTP, for which there is fetch() (rule P7)"
    assert describe_judgement(TARGET, judgement, None) == [
        f"{TARGET}: allowed in a Worker, as of {AS_OF}",
        "  10.0.0.1:443: blocked: 10.0.0.1 is private, in 10.0.0.0/8 (rule P2)",
        f"  192.0.2.7:443: allowed: {http}",
        f"  192.0.2.8:443: allowed: {http}",
    ]
    report = json.loads(judgement_as_json(TARGET, judgement, None))
    assert [(row["verdict"], row["rule"]) for row in report["addresses"]] == [
        ("blocked", "P2"),
        ("note", "P7"),
        ("note", "P7"),
    ]
    assert workers_note(judgement) == (
        f"note: allowed in a Worker, without some addresses: 10.0.0.1 is private, in 10.0.0.0/8 (rule P2); {http}"
    )


def test_the_object_has_the_same_members_in_every_case() -> None:
    """In this order; with or without a verdict."""
    judgement = WorkersPolicy().judge_all(["10.0.0.1"], 443)
    refusal = blocked(parse_address(TARGET), *judgement.verdicts)
    some, none = (
        json.loads(text)
        for text in (judgement_as_json(TARGET, judgement, refusal), no_judgement_as_json(TARGET, "not found", 6))
    )
    assert list(some) == list(none) == ["target", "as_of", "verdict", "rule", "message", "addresses", "status"]
    assert some["message"] == refusal.message
    assert (none["verdict"], none["addresses"], none["status"]) == (None, [], 6)
