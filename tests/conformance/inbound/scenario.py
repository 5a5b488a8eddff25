"""Scenario files of inbound connections to `Inbound` values. Pure but for reading the files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.conformance.data import Event, Json, ScenarioError
from tests.conformance.scenario import DEFAULT_SETTLE_MS, load_records, make_scenario

__all__ = ["INBOUND", "LISTENERS", "Inbound", "is_inbound", "load_inbound", "parse_inbound"]

INBOUND = Path(__file__).parents[1] / "inbound_scenarios"
LISTENERS = ("off", "ipv6", "unix", "on", "starttls", "starttls-no-flag", "no-handler")
REQUIRED = {"name": str, "peer": list, "peer_saw": list}


@dataclass(frozen=True)
class Inbound:
    """One scenario; the members are the fields of the format."""

    name: str
    peer: list[dict[str, Json]]
    peer_saw: list[Event]
    handler: list[dict[str, Json]] | None = None
    handler_2: list[dict[str, Json]] | None = None
    trace: list[Event] | None = None
    trace_2: list[Event] | None = None
    origin: list[dict[str, Json]] | None = None
    origin_saw: list[Event] | None = None
    listener: str = "off"
    settle_ms: int = DEFAULT_SETTLE_MS
    why: str = ""
    tags: tuple[str, ...] = ()


def is_inbound(record: Json) -> bool:
    """Is this record of the inbound kind?"""
    return isinstance(record, dict) and "peer" in record


def parse_inbound(record: dict[str, Json]) -> Inbound:
    """Check one record of a file.

    Raises:
        ScenarioError: a field is missing, unknown or of the wrong kind.
    """
    scenario = make_scenario(Inbound, record, REQUIRED)
    if scenario.listener not in LISTENERS:
        raise ScenarioError(f"scenario {scenario.name!r}: unknown listener {scenario.listener!r}")
    return scenario


def load_inbound(folder: Path) -> list[Inbound]:
    """Read all inbound scenarios of a folder, in the order of file names.

    Raises:
        ScenarioError: as `load_folder`.
    """
    return [parse_inbound(record) for record in load_records(folder) if is_inbound(record)]
