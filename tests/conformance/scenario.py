"""Scenario files to `Scenario` values. Pure but for reading the files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conformance.data import Event, Json, ScenarioError

__all__ = ["SCENARIOS", "Scenario", "load_folder", "parse_scenario"]

SCENARIOS = Path(__file__).parent / "scenarios"

DEFAULT_SETTLE_MS = 300
NETWORKS = (None, "public-only")
REQUIRED = {"name": str, "connect": dict, "server": list, "client": list, "trace": list, "server_saw": list}


@dataclass(frozen=True)
class Scenario:
    """One scenario; the members are the fields of the format."""

    name: str
    connect: dict[str, Json]
    server: list[dict[str, Json]]
    client: list[dict[str, Json]]
    trace: list[Event]
    server_saw: list[Event]
    network: str | None = None
    settle_ms: int = DEFAULT_SETTLE_MS
    why: str = ""
    tags: tuple[str, ...] = ()


def parse_scenario(record: Json) -> Scenario:
    """Check one record of a file.

    Raises:
        ScenarioError: a field is missing, unknown or of the wrong kind.
    """
    if not isinstance(record, dict):
        raise ScenarioError(f"a scenario is an object, not {record!r:.80}")
    name = record.get("name")
    for field, kind in REQUIRED.items():
        if not isinstance(record.get(field), kind):
            raise ScenarioError(f"scenario {name!r}: {field!r} is missing or no {kind.__name__}")
    if not record["trace"]:
        raise ScenarioError(f"scenario {name!r}: the trace has no event for connect")
    if "address" not in record["connect"]:
        raise ScenarioError(f"scenario {name!r}: connect has no address")
    fields: dict[str, Any] = {**record, "tags": tuple(record.get("tags", ()))}
    try:
        scenario = Scenario(**fields)
    except TypeError as error:
        raise ScenarioError(f"scenario {name!r}: {error}") from error
    if scenario.network not in NETWORKS:
        raise ScenarioError(f"scenario {name!r}: unknown network {scenario.network!r}")
    return scenario


def load_folder(folder: Path) -> list[Scenario]:
    """Read all scenarios of the `*.json` files of a folder, in the order of file names.

    Raises:
        ScenarioError: there are none, a file is no JSON array of scenarios, or a name occurs twice.
    """
    scenarios = [scenario for path in sorted(folder.glob("*.json")) for scenario in _load_file(path)]
    if not scenarios:
        raise ScenarioError(f"no scenario files in {folder}")
    seen: set[str] = set()
    for scenario in scenarios:
        if scenario.name in seen:
            raise ScenarioError(f"the name {scenario.name!r} occurs twice")
        seen.add(scenario.name)
    return scenarios


def _load_file(path: Path) -> Iterator[Scenario]:
    try:
        records = json.loads(path.read_text("utf-8"))
        if not isinstance(records, list):
            raise ScenarioError("not a JSON array")
        for record in records:
            yield parse_scenario(record)
    except (ValueError, OSError, ScenarioError) as error:
        raise ScenarioError(f"{path}: {error}") from error
