"""The stream of `--events`, read as a program reads it: each line is checked against the schema of the package."""

from __future__ import annotations

import base64
import json
from importlib.resources import files
from typing import Any

from tests.helpers.json_schema import violations

__all__ = ["SCHEMA", "Told", "joined", "names", "read_events"]

SCHEMA: dict[str, Any] = json.loads(files("cfcat.record").joinpath("events.schema.json").read_text())
Told = dict[str, Any]


def read_events(text: str) -> list[Told]:
    """The events of a stream, in their order: printable ASCII, of the schema, no earlier than the one before."""
    events = []
    for line in text.splitlines():
        assert line.isascii(), ascii(line)
        assert line.isprintable(), ascii(line)
        event: Told = json.loads(line)
        assert list(violations(event, SCHEMA)) == []
        events.append(event)
    times = [event["time"] for event in events]
    assert times == sorted(times)
    return events


def names(events: list[Told]) -> list[str]:
    """What they are called, those of bytes once where several follow each other."""
    told = [event["event"] for event in events]
    return [name for before, name in zip(["", *told], told, strict=False) if name != before or name == "attempt"]


def joined(events: list[Told], name: str, connection: int = 1) -> bytes:
    """The bytes of `sent`, `received` or `dialog` events; offsets say where they belong."""
    data = b""
    for event in events:
        if (event["event"], event["connection"]) == (name, connection):
            assert event.get("offset", len(data)) == len(data)
            data += event["text"].encode() if "text" in event else base64.b64decode(event["base64"], validate=True)
    return data
