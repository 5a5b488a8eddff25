"""How a session behaves, as the command line begins it and `:set`, `:view` and `:eol` change it.

Pure. The tables are what parser, help, completion and command line are made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from cfcat.protocols import PROFILES

__all__ = ["EOLS", "SETTINGS", "VIEWS", "Setting", "Settings"]

EOLS: Mapping[str, bytes] = {"crlf": b"\r\n", "lf": b"\n", "cr": b"\r", "none": b""}
VIEWS = ("text", "hex", "raw")


class Setting(NamedTuple):
    """What `:set` can change: the field of `Settings`, and all the values that it can have."""

    field: str
    values: tuple[str, ...]


SETTINGS: Mapping[str, Setting] = {
    "view": Setting("view", VIEWS),
    "eol": Setting("eol", tuple(EOLS)),
    "proto": Setting("protocol", ("auto", *PROFILES)),
    "clear-secrets": Setting("clear_secrets", ("off", "on")),
    "workers": Setting("workers", ("off", "on")),
}


@dataclass(slots=True)
class Settings:
    """The first five change while the session runs, the others do not.

    `view`: how received bytes are drawn. `eol`: what Enter sends. `protocol`: whose verbs and secrets count; "auto" is
    by the port. `clear_secrets`: "on" sends secrets in clear text without asking. `workers`: "on" connects only where a
    Worker could.
    `starttls`: the protocol whose dialog is run whenever a connection opens, or None. `log`: the file of the
    transcript, or None; `log_secrets`: with the secrets in it. `insecure`: certificates are not checked.
    `typed`: lines are typed by a person, who marks one as private with a blank before it. `history`: lines may be
    stored.
    """

    view: str = "text"
    eol: str = "crlf"
    protocol: str = "auto"
    clear_secrets: str = "off"
    workers: str = "off"
    starttls: str | None = None
    log: str | None = None
    log_secrets: bool = False
    insecure: bool = False
    typed: bool = False
    history: bool = True

    def set(self, name: str, value: str) -> None:
        """Change what SETTINGS has by this name to one of its values."""
        setattr(self, SETTINGS[name].field, value)

    def lines(self) -> list[str]:
        """Every name with its value, as `:set` alone shows them."""
        return [f"{name} {getattr(self, setting.field)}" for name, setting in SETTINGS.items()]
