"""Whether to use colour: decided once, from the option, the environment and the terminal.

Pure. Source: no-color.org, force-color.org, bixense.com/clicolors; where they differ, as CPython 3.13 decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

__all__ = ["ColorChoice", "use_color"]

ColorChoice = Literal["auto", "always", "never"]


def use_color(choice: ColorChoice, environment: Mapping[str, str], *, is_terminal: bool) -> bool:
    """May what goes there be coloured? The first of these that is not None decides; an empty variable is None."""
    opinions = (
        {"always": True, "never": False}.get(choice),
        False if environment.get("NO_COLOR") else None,
        _switch(environment.get("FORCE_COLOR")),
        True if _switch(environment.get("CLICOLOR_FORCE")) else None,
        False if environment.get("TERM") == "dumb" else None,
        None if is_terminal else False,
        _switch(environment.get("CLICOLOR")),
    )
    return next((opinion for opinion in opinions if opinion is not None), True)


def _switch(value: str | None) -> bool | None:
    """0 is off, anything else on."""
    return value != "0" if value else None
