"""A validator for the part of JSON Schema that our own schema uses; any other keyword is an error, not a pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["violations"]

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}
KEYWORDS = frozenset(
    {
        *("$schema", "$defs", "$ref", "title", "description", "type", "enum", "minimum", "items", "oneOf"),
        *("properties", "required", "additionalProperties"),
    }
)


def violations(value: Any, schema: dict[str, Any], root: dict[str, Any] | None = None, at: str = "$") -> Iterator[str]:
    """Everything in which `value` is not what `schema` says, as `$.path: what`."""
    root = schema if root is None else root
    assert schema.keys() <= KEYWORDS, f"{at}: keywords that nobody looks at: {schema.keys() - KEYWORDS}"
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        yield from violations(value, root["$defs"][name], root, at)
    if not _is(value, schema.get("type", list(TYPES))):
        yield f"{at}: {value!r} is no {schema['type']}"
        return
    if value not in schema.get("enum", [value]):
        yield f"{at}: {value!r} is none of {schema['enum']}"
    if "oneOf" in schema:
        fits = sum(not any(violations(value, part, root, at)) for part in schema["oneOf"])
        if fits != 1:
            yield f"{at}: fits {fits} of {len(schema['oneOf'])} forms: {value!r}"
    if "minimum" in schema and value is not None and value < schema["minimum"]:
        yield f"{at}: {value} is less than {schema['minimum']}"
    if isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            yield from violations(item, schema["items"], root, f"{at}[{number}]")
    if isinstance(value, dict):
        yield from _in_object(value, schema, root, at)


def _in_object(value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], at: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{at}: {name} is missing"
    for name, part in value.items():
        if name in properties:
            yield from violations(part, properties[name], root, f"{at}.{name}")
        elif schema.get("additionalProperties") is False:
            yield f"{at}: {name} is not in the schema"


def _is(value: Any, types: str | list[str]) -> bool:
    names = [types] if isinstance(types, str) else types
    if isinstance(value, bool):
        return "boolean" in names
    return isinstance(value, tuple(kind for name in names for kind in TYPES[name]))
