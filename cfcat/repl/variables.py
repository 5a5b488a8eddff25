"""`${NAME}` in lines and arguments: a group of a match, a variable of the command line, or the environment's.

Pure. A value is put in as it is: it is not expanded again, and neither escapes nor patterns are read in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from cfcat.errors import CommandError
from cfcat.repl.arguments import clip
from cfcat.repl.commands import Call, Line
from cfcat.report.render import escape

__all__ = ["NAME", "Variables", "in_a_pattern", "in_escapes"]

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# `$${` is `${`; a `${` that is not closed is text.
REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}")


class Variables:
    """What the names stand for: of groups the last match that had one counts, before `given`, before `environment`."""

    def __init__(self, given: Mapping[str, str], environment: Mapping[str, str]) -> None:
        self._given = given
        self._environment = environment
        self._groups: dict[str, str] = {}

    def match(self, groups: Mapping[str, str]) -> None:
        """A match had these groups."""
        self._groups.update(groups)

    def known(self, text: str) -> str | None:
        """Return the first name in this text that has a value; None where no name has one."""
        names = (found[1] for found in REFERENCE.finditer(text))
        return next((name for name in names if name in {**self._environment, **self._given, **self._groups}), None)

    def expand(self, text: str, quote: Callable[[str], str] = str) -> str:
        """The text with the values in place of their names; `quote`: what makes a value stand for itself in it.

        Raises:
            CommandError: there is no such name, or its value has more than one line.
        """
        return REFERENCE.sub(lambda found: "${" if found[1] is None else quote(self._value(found[1])), text)

    def expand_line(self, wanted: Line | Call) -> Line | Call:
        """What a line asks for, expanded; what the line is does not change by that. Raises as `expand`."""
        if isinstance(wanted, Line):
            return Line(self.expand(wanted.text))
        if wanted.command.name == "#":
            return wanted
        return wanted._replace(argument=self.expand(wanted.argument, QUOTES.get(wanted.command.name, str)))

    def _value(self, name: str) -> str:
        for values in (self._groups, self._given, self._environment):
            if name in values:
                if "\r" in values[name] or "\n" in values[name]:
                    raise CommandError(f"${{{name}}} has a line end in it; nothing was sent")
                return values[name]
        hint = "--var NAME=VALUE, (?P<NAME>...) in :expect or :reply, or the environment sets it; $${ is ${"
        raise CommandError(f"${{{escape(clip(name))}}} is not set; nothing was sent", hint)


def in_escapes(value: str) -> str:
    """A value for `:send`, which reads escapes."""
    return value.replace("\\", "\\\\")


def in_a_pattern(value: str) -> str:
    """A value for a regular expression."""
    return re.escape(value)


# What makes a value stand for itself in the argument of a command.
QUOTES: Mapping[str, Callable[[str], str]] = {"send": in_escapes, "expect": in_a_pattern, "reply": in_a_pattern}
