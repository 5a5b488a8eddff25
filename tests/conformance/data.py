"""The format's notations: bytes as data, the port's placeholder, JavaScript's `undefined`.

Pure; see "Values" in scenarios/README.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

__all__ = [
    "Event",
    "Json",
    "ScenarioError",
    "data_size",
    "decode",
    "encode",
    "given_members",
    "hide_port",
    "is_undefined",
    "put_port",
]

Json = Any
Event = dict[str, Any]  # what a scenario records: one event of the trace, or one entry of server_saw

PATTERN = bytes(range(251))
LONGEST_SHOWN = 512
PRINTABLE = frozenset({0x09, 0x0A, 0x0D, *range(0x20, 0x7F)})
# Members whose text is the application's own bytes: digits in them are no port.
DATA_MEMBERS = ("data",)


class ScenarioError(Exception):
    """A scenario does not follow the format, or uses what the runner does not know."""


def decode(data: Json) -> bytes:
    """Return the bytes that a DATA stands for."""
    match data:
        case str():
            return data.encode()
        case {"hex": str(digits)}:
            return bytes.fromhex(digits)
        case {"pattern": int(size)}:
            return (PATTERN * (size // len(PATTERN) + 1))[:size]
    raise ScenarioError(f"no data: {data!r}")


def encode(data: bytes) -> Json:
    """Return how bytes are recorded: as text or hex, when longer as their length and hash."""
    if len(data) > LONGEST_SHOWN:
        return {"len": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    if PRINTABLE.issuperset(data):
        return data.decode("ascii")
    return {"hex": data.hex()}


def data_size(data: Json) -> int:
    """Return how many bytes are recorded."""
    return int(data["len"]) if isinstance(data, dict) and "len" in data else len(decode(data))


def is_undefined(value: Json) -> bool:
    """Is it the notation for JavaScript's `undefined`?"""
    return isinstance(value, dict) and value.get("$undefined") is True


def given_members(record: Mapping[str, Json]) -> dict[str, Json]:
    """Return the members that are there: one that is `undefined` is not."""
    return {key: value for key, value in record.items() if not is_undefined(value)}


def put_port(value: Json, port: int) -> Json:
    """Replace the port's placeholders, at any depth."""
    match value:
        case "{port}":
            return port
        case "{port:str}":
            return str(port)
        case str():
            return value.replace("{port}", str(port))
        case list():
            return [put_port(member, port) for member in value]
        case dict():
            return {key: put_port(member, port) for key, member in value.items()}
    return value


def hide_port(value: Json, port: int) -> Json:
    """Put the placeholder back for the port's digits, at any depth, but not in data."""
    match value:
        case str():
            return value.replace(str(port), "{port}")
        case list():
            return [hide_port(member, port) for member in value]
        case dict():
            return {key: v if key in DATA_MEMBERS else hide_port(v, port) for key, v in value.items()}
    return value
