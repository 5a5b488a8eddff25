"""How a session behaves, as the command line begins it and `:set`, `:view` and `:eol` change it.

Pure. What `:set` knows is written here once, as fields of `Settings`: parser, help, completion and the list of all
settings are made of `SETTINGS`, and that is made of the fields.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from cfcat.protocols import PROFILES

__all__ = ["EOLS", "SETTINGS", "VIEWS", "Settings"]

# Text in each of them may have ASCII in it, and line ends.
ENCODINGS = ("utf-8", "latin-1", "cp1252", "cp437", "koi8-r", "shift_jis", "euc-jp", "euc-kr", "gb18030", "big5")
EOLS: Mapping[str, bytes] = {"crlf": b"\r\n", "lf": b"\n", "cr": b"\r", "none": b""}
VIEWS = ("text", "hex", "raw")


def _one_of(*values: str) -> Any:
    """A field that `:set` changes to one of these values; a session begins with the first."""
    return dataclasses.field(default=values[0], metadata={"values": values})


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """First the fields that `:set` changes, then fixed ones from the command line.

    `view`: how received bytes are drawn. `eol`: what Enter sends. `proto`: whose verbs and secrets count; "auto" is by
    the port. `clear_secrets`: "on" sends secrets in clear text without asking. `workers`: "on" connects only where a
    Worker could. `expand`: "on" puts values in place of `${NAME}`. `encoding`: of text, both ways.
    `starttls`: the protocol whose dialog is run whenever a connection opens, or None. `helo`: the name that EHLO says
    in a dialog, or None for ours. `log`: the file of the transcript, or None; `log_secrets`: with the secrets in it.
    `insecure`: certificates are not checked.
    `history`: lines may be stored.
    """

    view: str = _one_of(*VIEWS)
    eol: str = _one_of(*EOLS)
    proto: str = _one_of("auto", *PROFILES)
    clear_secrets: str = _one_of("off", "on")
    workers: str = _one_of("off", "on")
    expand: str = _one_of("off", "on")
    encoding: str = _one_of(*ENCODINGS)
    starttls: str | None = None
    helo: str | None = None
    log: str | None = None
    log_secrets: bool = False
    insecure: bool = False
    history: bool = True

    def changed(self, name: str, value: str) -> Settings:
        """The same with another value for what SETTINGS has by this name."""
        change: dict[str, Any] = {_field(name): value}
        return dataclasses.replace(self, **change)

    def lines(self) -> list[str]:
        """Every name with its value, as `:set` alone shows them."""
        return [f"{name} {getattr(self, _field(name))}" for name in SETTINGS]


def _field(name: str) -> str:
    return name.replace("-", "_")


# What `:set` changes, as it is typed, and the values that it may have: `clear-secrets` is the field `clear_secrets`.
SETTINGS: Mapping[str, tuple[str, ...]] = {
    field.name.replace("_", "-"): field.metadata["values"]
    for field in dataclasses.fields(Settings)
    if "values" in field.metadata
}
