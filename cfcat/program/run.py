"""The three modes, from checked options to an exit status.

Imported when a run is certain: this is where the event loop is loaded, and prompt_toolkit for the interactive mode.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from cfcat.core.options import SocketOptions
from cfcat.edges.console import put, say
from cfcat.pipe.pump import PumpOptions
from cfcat.pipe.run import run_pipe
from cfcat.record.events import Subscribers
from cfcat.report.messages import escaped_note, ignored_note
from cfcat.report.render import TerminalFilter

if TYPE_CHECKING:
    from cfcat.protocols import Protocol
    from cfcat.record.recording import Recorder
    from cfcat.repl.session import Face, Session
    from cfcat.repl.settings import Settings
    from cfcat.report.reporter import Reporter

__all__ = ["run_in_pipe", "run_on_terminal", "run_script_file"]

T = TypeVar("T")


def run_in_pipe(
    target: str,
    options: SocketOptions,
    ends: PumpOptions,
    *,
    protocol: Protocol | None,
    raw: bool,
    reporter: Reporter | None = None,
) -> int:
    """stdin to the socket, the socket to stdout. Raises as `run_pipe`."""
    note = say if reporter is None else reporter.note
    with _filter(raw, note) as shown:
        events = Subscribers() if reporter is None else reporter.events
        run = run_pipe(target, options, ends, events, protocol=protocol, shown=shown)
        ignored = asyncio.run(_until_a_bug(run))
    if ignored:
        note(ignored_note(target, ignored))
    return 0


def run_script_file(
    target: str,
    options: SocketOptions,
    ends: PumpOptions,
    settings: Settings,
    *,
    raw: bool,
    reporter: Reporter | None = None,
    recorder: Recorder | None = None,
) -> int:
    """stdin has the lines of a session. Raises as `run_script`."""
    from cfcat.repl.script import run_script  # lazy: so are the commands

    make_session = _session_maker(target, options, settings, reporter, recorder)
    write, note = (put, say) if reporter is None else (reporter.put, reporter.note)
    with _filter(raw, note) as shown:
        return asyncio.run(_until_a_bug(run_script(make_session, ends, write, shown=shown)))


def run_on_terminal(
    target: str,
    options: SocketOptions,
    settings: Settings,
    *,
    color: bool = False,
    reporter: Reporter | None = None,
    recorder: Recorder | None = None,
) -> int:
    """A session on the terminal. Raises as `run_screen`."""
    from cfcat.repl.screen.start import run_screen  # lazy: prompt_toolkit, 130 ms

    return asyncio.run(run_screen(_session_maker(target, options, settings, reporter, recorder), color=color))


def _session_maker(
    target: str, options: SocketOptions, settings: Settings, reporter: Reporter | None, recorder: Recorder | None
) -> Callable[[Face], Session]:
    from cfcat.repl.session import Session  # lazy: it knows all commands

    def make_session(face: Face) -> Session:
        if reporter is not None:
            reporter.show_lines_by(face.show_notice)
        events = None if reporter is None else reporter.events
        return Session(target, options, face, settings, events=events, recorder=recorder)

    return make_session


@contextlib.contextmanager
def _filter(raw: bool, note: Callable[[str], None]) -> Iterator[TerminalFilter | None]:
    """What stdout gets where that is a terminal (R22), told of at the end; None: everything."""
    shown = TerminalFilter() if os.isatty(1) and not raw else None
    try:
        yield shown
    finally:
        if shown is not None and shown.escaped:
            note(escaped_note(shown.escaped))


async def _until_a_bug(run: Coroutine[Any, Any, T]) -> T:
    """Do what a run does; a bug in a callback of the loop ends it, as one elsewhere does. The screen has its own."""
    task, bugs = asyncio.ensure_future(run), list[BaseException]()

    def on_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if "handle" in context:
            bugs.append(context["exception"])
            task.cancel()
        else:
            loop.default_exception_handler(context)

    asyncio.get_running_loop().set_exception_handler(on_error)
    try:
        return await task
    except asyncio.CancelledError:
        if bugs:
            raise bugs[0] from None
        raise
