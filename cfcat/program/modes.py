"""Which mode a run has, by what stdin and stdout are and what is asked for; and which options are for which mode.

Pure. Source: design 2.1; an option in the wrong mode is an error, never ignored.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from cfcat.errors import UsageError

__all__ = ["Mode", "Stdin", "check_options", "choose_mode"]


class Mode(Enum):
    """The value is what the mode is called in messages."""

    PIPE = "pipe mode"
    REPL = "the interactive mode"
    SCRIPT = "a script"


class Stdin(Enum):
    """What standard input is."""

    TERMINAL = "terminal"
    OTHER = "other"  # a file, a pipe, a socket, a null device
    CLOSED = "closed"


class _Row(NamedTuple):
    """The mode when nothing is asked for, with --pipe and with --repl; a text with its hint is an error."""

    default: Mode
    pipe: Mode
    repl: Mode | tuple[str, str]


_NO_SCREEN = "--repl needs a terminal for standard output too", "--log FILE keeps a transcript"
_NO_LINES = "--repl needs standard input, which is closed", ""

# By what stdin is, and whether stdout is a terminal.
TABLE: dict[tuple[Stdin, bool], _Row] = {
    (Stdin.TERMINAL, True): _Row(Mode.REPL, Mode.PIPE, Mode.REPL),
    (Stdin.TERMINAL, False): _Row(Mode.PIPE, Mode.PIPE, _NO_SCREEN),
    (Stdin.OTHER, True): _Row(Mode.PIPE, Mode.PIPE, Mode.SCRIPT),
    (Stdin.OTHER, False): _Row(Mode.PIPE, Mode.PIPE, Mode.SCRIPT),
    (Stdin.CLOSED, True): _Row(Mode.PIPE, Mode.PIPE, _NO_LINES),
    (Stdin.CLOSED, False): _Row(Mode.PIPE, Mode.PIPE, _NO_LINES),
}
# Options that are not for every mode, and the modes that they are for.
OPTIONS: dict[str, tuple[Mode, ...]] = {
    "-w": (Mode.PIPE, Mode.SCRIPT),
    "--shutdown": (Mode.PIPE, Mode.SCRIPT),
    "--no-shutdown": (Mode.PIPE, Mode.SCRIPT),
    "-q": (Mode.PIPE, Mode.SCRIPT),
    "--crlf": (Mode.PIPE,),
    "--eol": (Mode.REPL, Mode.SCRIPT),
    "--proto": (Mode.REPL, Mode.SCRIPT),
    "--no-history": (Mode.REPL,),
    "--progress": (Mode.PIPE,),
}


def choose_mode(stdin: Stdin, stdout_is_terminal: bool, *, pipe: bool, repl: bool) -> Mode:
    """The mode of a run. `pipe`, `repl`: is it asked for?

    Raises:
        UsageError: both are, or what is asked for cannot be had with these descriptors.
    """
    if pipe and repl:
        raise UsageError("--pipe and --repl exclude each other")
    row = TABLE[stdin, stdout_is_terminal]
    chosen = row.pipe if pipe else row.repl if repl else row.default
    if isinstance(chosen, Mode):
        return chosen
    raise UsageError(*chosen)


def check_options(mode: Mode, given: Iterable[str]) -> None:
    """Raise UsageError for an option that is not for this mode; `given` are names of OPTIONS."""
    for option in given:
        modes = OPTIONS[option]
        if mode not in modes:
            meant = " and ".join(other.value for other in modes)
            way = "" if Mode.REPL in modes and len(modes) == 1 else " (--pipe)" if Mode.PIPE in modes else " (--repl)"
            raise UsageError(f"{option} is not for {mode.value}", f"it is for {meant}{way}")
