"""From the arguments to the exit status: what they ask for is carried out, or it is said what is wrong.

Library code raises; here it is printed, in one line. `cfcat HOST PORT` and `cfcat HOST:PORT` without options, where
there is nothing to parse, never load the parser: it takes longer than all the rest of a start.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cfcat.errors import CommandError, SocketError, StdoutError, UsageError, reason_of
from cfcat.program.output import NO_OUTPUT, OutputOptions, tell_failure, tell_out_of_memory
from cfcat.program.process import die_of_sigpipe, guard_standard_descriptors
from cfcat.program.request import CheckRequest, ExportRequest, ReplayRequest, Request, TapRequest, plain_request

if TYPE_CHECKING:
    from cfcat.report.status import ExitStatus

__all__ = ["run"]

MOST_PLAIN_ARGUMENTS = 2


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; return its exit status."""
    closed = guard_standard_descriptors()
    given = list(sys.argv[1:] if arguments is None else arguments)
    output = _for_programs(given)
    try:
        if 1 in closed:
            raise StdoutError("standard output is closed")
        status = _carry_out(_plain(given, closed) or _parsed(given, closed))
        sys.stdout.flush()  # --help and --version are written by Python's own stream
        if not status:
            os.close(os.dup(1))  # some file systems report ENOSPC at close()
    except SocketError as error:
        return _tell(error, output=output)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python tries once more at its exit
        return _tell(StdoutError("cannot write standard output", reason_of(error)), output=output)
    except MemoryError as error:
        return tell_out_of_memory(error)
    except SystemExit:  # the parser's answer to EPIPE, and to nothing else
        die_of_sigpipe()
    return status


def _plain(arguments: list[str], closed: list[int]) -> Request | None:
    """The request of a command line without options; None for any other, and for a session."""
    if not 0 < len(arguments) <= MOST_PLAIN_ARGUMENTS or any(each.startswith("-") for each in arguments):
        return None
    return plain_request(*arguments, closed=closed)


def _parsed(
    arguments: list[str], closed: list[int]
) -> Request | CheckRequest | ExportRequest | TapRequest | ReplayRequest | ExitStatus:
    from cfcat.program.cli import parse  # lazy: Typer, 50 ms

    return parse(arguments, closed)


def _carry_out(asked: Request | CheckRequest | ExportRequest | TapRequest | ReplayRequest | ExitStatus) -> int:
    """Returns the exit status. Raises UsageError, StdoutError: there is nothing to export, or the file cannot be
    written."""
    if isinstance(asked, Request):
        from cfcat.program.run import perform  # lazy: the core

        return perform(asked)
    if isinstance(asked, CheckRequest):
        return _check(asked)
    if isinstance(asked, TapRequest):
        from cfcat.program.tapping import perform_tap  # lazy: most runs are no tap

        return perform_tap(asked)
    if isinstance(asked, ReplayRequest):
        from cfcat.program.replaying import perform_replay  # lazy: most runs replay nothing

        return perform_replay(asked)
    if isinstance(asked, ExportRequest):
        return _export(asked)
    return asked


def _check(asked: CheckRequest) -> int:
    from cfcat.program.check import run_check  # lazy: the core, and the addresses that a Worker may not connect to

    try:
        return run_check(asked.target, family=asked.family, timeout_s=asked.timeout_s, json=asked.json)
    except Exception as error:
        return _tell(error, asked.target.text)


def _export(asked: ExportRequest) -> int:
    from cfcat.export.files import open_transcript  # lazy: an export only
    from cfcat.program.output import save_export
    from cfcat.report.status import ExitStatus

    try:
        conversations = open_transcript(asked.transcript)
    except CommandError as error:
        raise UsageError(error.message, error.hint) from error
    save_export(asked.export, lambda: conversations)
    return ExitStatus.OK


def _for_programs(arguments: list[str]) -> OutputOptions:
    """How a program wants to be told what is wrong with the options."""
    behind = arguments.index("--events") + 1 if "--events" in arguments else len(arguments)
    events = "-" if "--events=-" in arguments or arguments[behind : behind + 1] == ["-"] else None
    return OutputOptions(json="--json" in arguments, events=events)


def _tell(error: Exception, target: str = "", *, output: OutputOptions = NO_OUTPUT) -> int:
    return tell_failure(error, target, output=output)
