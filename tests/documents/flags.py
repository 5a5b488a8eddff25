"""The flags of the command line, as Typer's own command has them, in the words of documents."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

import typer

from cfcat.program.cli import app
from cfcat.program.help import GROUPS
from cfcat.protocols import PROFILES, PROTOCOLS, TABLE

__all__ = ["Flag", "described", "flags", "params", "ports", "profiles"]

# Other services that are met, beside those of the table: DNS and MQTT under TLS, MQTT.
MORE_PORTS = (853, 1883, 8883)
# By parameter: what its value is, where neither choices nor the metavar tell.
KINDS = {"starttls": "protocol", "proto": "profile", "sni": "host"}


class Flag(NamedTuple):
    """A flag with all its names, the short one first.

    `opposites`: names that turn it off. `metavar`: of its value, or "". `values`: all that it may have, where they are
    few. `kind` of the value: "choice", "file", "host", "protocol", "profile", "text", or "" where it takes none.
    """

    names: tuple[str, ...]
    opposites: tuple[str, ...]
    metavar: str
    kind: str
    values: tuple[str, ...]
    text: str
    group: str
    repeatable: bool

    @property
    def takes_value(self) -> bool:
        return bool(self.kind)


@cache
def params() -> list[Any]:
    """What Typer makes of the flags, `--help` among them."""
    command = typer.main.get_command(app)
    return list(command.get_params(command.make_context("cfcat", ["host:1"], resilient_parsing=True)))


@cache
def flags() -> tuple[Flag, ...]:
    """All flags, in the order of their declaration."""
    found, group = [], ""
    for param in params():
        group = GROUPS.get(param.name, group)
        if param.opts[0].startswith("-"):
            found.append(_flag(param, group))
    return tuple(found)


def _flag(param: Any, group: str) -> Flag:
    count = bool(getattr(param, "count", False))
    plain = count or bool(getattr(param, "is_flag", False))
    choices = tuple(str(getattr(choice, "value", choice)) for choice in getattr(param.type, "choices", None) or ())
    kind = "" if plain else KINDS.get(param.name) or ("choice" if choices else _kind_of(param.metavar))
    values = {"protocol": tuple(PROTOCOLS), "profile": ("auto", "none", *profiles())}.get(kind, choices)
    metavar = "" if plain else (param.metavar or "")
    names = tuple(sorted(param.opts, key=len))
    repeatable = count or bool(getattr(param, "multiple", False))
    return Flag(names, tuple(param.secondary_opts), metavar, kind, values, param.help or "", group, repeatable)


def _kind_of(metavar: str | None) -> str:
    return "file" if metavar == "FILE" else "text"


def described(flag: Flag) -> str:
    """The first thing that its help says, without a full stop: what fits beside a completion."""
    text = re.split(r"\. |  \[", flag.text)[0].rstrip(".")
    before, brace, _ = text.partition("{")  # a list of names
    return before.rpartition(": ")[0] if brace else text


def profiles() -> tuple[str, ...]:
    """The names of `--proto` that are protocols."""
    return tuple(name for name in PROFILES if name != "none")


def ports() -> list[int]:
    """Those that shells complete."""
    return sorted({*MORE_PORTS, *(port for row in TABLE for port in (row.port, *row.tls_ports, *row.more_ports))})
