"""Scenario files to `Scenario` values. Pure but for reading the files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.conformance.data import Event, Json, ScenarioError

__all__ = [
    "DEFAULT_SETTLE_MS",
    "SCENARIOS",
    "Scenario",
    "load_folder",
    "load_records",
    "make_scenario",
    "parse_scenario",
]

SCENARIOS = Path(__file__).parent / "scenarios"

Kind = TypeVar("Kind")

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
    scenario = make_scenario(Scenario, record, REQUIRED)
    if not scenario.trace:
        raise ScenarioError(f"scenario {scenario.name!r}: the trace has no event for connect")
    if "address" not in scenario.connect:
        raise ScenarioError(f"scenario {scenario.name!r}: connect has no address")
    if scenario.network not in NETWORKS:
        raise ScenarioError(f"scenario {scenario.name!r}: unknown network {scenario.network!r}")
    return scenario


def make_scenario(kind: Callable[..., Kind], record: Json, required: Mapping[str, type]) -> Kind:
    """Make a scenario of a kind; `required`: the fields that it must have, and of which type.

    Raises:
        ScenarioError: a field is missing, unknown or of the wrong type, or this is no record.
    """
    if not isinstance(record, dict):
        raise ScenarioError(f"a scenario is an object, not {record!r:.80}")
    name = record.get("name")
    for field, type_ in required.items():
        if not isinstance(record.get(field), type_):
            raise ScenarioError(f"scenario {name!r}: {field!r} is missing or no {type_.__name__}")
    fields: dict[str, Any] = {**record, "tags": tuple(record.get("tags", ()))}
    try:
        return kind(**fields)
    except TypeError as error:
        raise ScenarioError(f"scenario {name!r}: {error}") from error


def load_folder(folder: Path) -> list[Scenario]:
    """Read all scenarios of the `*.json` files of a folder, in the order of file names.

    Raises:
        ScenarioError: there are none, a file is no JSON array of scenarios, or a name occurs twice.
    """
    return [parse_scenario(record) for record in load_records(folder)]


def load_records(folder: Path) -> list[Json]:
    """Read all records of the `*.json` files of a folder, in the order of file names.

    Raises:
        ScenarioError: there are none, a file is no JSON array, or a name occurs twice.
    """
    records = [record for path in sorted(folder.glob("*.json")) for record in _load_file(path)]
    if not records:
        raise ScenarioError(f"no scenario files in {folder}")
    names = Counter(record.get("name") for record in records if isinstance(record, dict))
    if twice := [name for name, count in names.items() if count > 1]:
        raise ScenarioError(f"the name {twice[0]!r} occurs twice")
    return records


def _load_file(path: Path) -> list[Json]:
    try:
        records = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise ScenarioError(f"{path}: {error}") from error
    if not isinstance(records, list):
        raise ScenarioError(f"{path}: not a JSON array")
    return records
