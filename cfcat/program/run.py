"""The three modes, from a request to an exit status.

Imported when a run is certain. Pipes have a loop of our own; scripts load asyncio, the interactive mode prompt_toolkit.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from cfcat.core.address import parse_address
from cfcat.core.options import SocketOptions
from cfcat.edges.poll_loop import PollLoop
from cfcat.errors import StdinError, reason_of
from cfcat.pipe.run import PipeEnd, Upgrading, run_accepted, run_pipe
from cfcat.program.modes import Mode
from cfcat.program.output import (
    captured,
    end_events,
    make_recorder,
    make_reporter,
    open_events,
    put,
    save_export,
    say,
    tell_failure,
)
from cfcat.program.process import check_descriptors, die_of_sigpipe
from cfcat.program.request import Request
from cfcat.record.subscribers import Subscribers
from cfcat.report.status import ExitStatus

if TYPE_CHECKING:
    from cfcat.program.proxies import Proxies
    from cfcat.record.recording import Recorder
    from cfcat.repl.session import Face, Session
    from cfcat.report.render import TerminalFilter
    from cfcat.report.reporter import Reporter

__all__ = ["perform"]

Note = Callable[[str], None]
IN_ASYNCIO = (Mode.REPL, Mode.SCRIPT)


def perform(request: Request) -> int:
    """Carry out a request; returns the exit status, or dies of SIGPIPE. What goes wrong has been told then.

    Raises:
        StdoutError: there is no place for the export. Nothing has been connected to.
    """
    recorder = None if request.export is None else make_recorder(request.export)
    reporter = events = None
    note = say
    exits = contextlib.ExitStack()  # what is to go at the end
    try:
        events = open_events(request.output, on_screen=request.mode is Mode.REPL)
        reporter = make_reporter(
            request.output,
            request.target,
            request.mode.name.lower(),
            handshake_next=request.options.secure_transport == "on",
            offered=() if request.tls is None else request.tls.alpn,
            by="client" if request.listen is None else "server",
            recorder=recorder if request.mode is Mode.PIPE else None,  # a session tells it itself
            events=events,
        )
        if reporter is not None:
            note = reporter.note
        proxies = None
        if request.proxy is not None:
            from cfcat.program.proxies import Proxies  # lazy: most runs connect directly

            proxies = Proxies(request.proxy, note)
        capture = exits.enter_context(captured(request.output, note))
        request = request._replace(options=request.options._replace(capture=capture))
        request = request._replace(options=_complete(request, note, exits, proxies))
        if request.mode in IN_ASYNCIO:
            check_descriptors()  # its loop needs some
        status = _run(request, reporter, recorder, exits, proxies)
        if recorder is not None and request.export is not None and status == ExitStatus.OK:
            save_export(request.export, recorder.conversations)
        end_events(events, note, status=status)
        if reporter is not None:
            reporter.finish(None, status)
    except BrokenPipeError as error:
        if reporter is not None:
            reporter.finish(error, 128 + signal.SIGPIPE)
        die_of_sigpipe()
    except Exception as error:
        end_events(events, note, error=error)
        return tell_failure(error, request.target, reporter, output=request.output)
    finally:
        exits.close()
        if events is not None:
            events.close()
    return status


def _complete(request: Request, note: Note, exits: contextlib.ExitStack, proxies: Proxies | None) -> SocketOptions:
    """The options, with what may fail or has something to say: the TLS context, the proxy, in pipe mode the policy."""
    options = request.options
    if proxies is not None:
        tls = options.secure_transport == "on"
        options = options._replace(via=proxies.choose(parse_address(request.target), tls=tls))
    if request.listen is not None and request.tls is not None:
        from cfcat.program.listening import server_context  # lazy: most runs dial

        options = options._replace(tls=server_context(request.tls, request.listen, note, exits))
    elif request.tls is not None:
        from cfcat.program.tls import client_context  # lazy: ssl, 15 ms

        options = options._replace(tls=client_context(request.tls, note))
    if request.mode in IN_ASYNCIO:
        return options  # a session has its own policy
    if options.secure_transport == "starttls" and request.protocol is None:
        from cfcat.report.notes import CLEAR_TEXT_NOTE  # lazy: most runs have nothing to say

        note(CLEAR_TEXT_NOTE)
    if request.workers:
        from cfcat.report.verdict import workers_policy  # lazy: most runs may connect to anything

        options = options._replace(policy=workers_policy(note))
    return options


def _run(
    request: Request,
    reporter: Reporter | None,
    recorder: Recorder | None,
    exits: contextlib.ExitStack,
    proxies: Proxies | None,
) -> int:
    if request.mode is Mode.PIPE:
        return _run_in_pipe(request, reporter, exits)
    if request.mode is Mode.CHECK:
        return _run_check(request, reporter)
    make_session = _session_maker(request, reporter, recorder, exits, proxies)
    if request.mode is Mode.SCRIPT:
        return _run_script_file(request, make_session, reporter)
    return _run_on_terminal(request, make_session)


def _run_in_pipe(request: Request, reporter: Reporter | None, exits: contextlib.ExitStack) -> int:
    """stdin to the socket, the socket to stdout. Raises as `run_pipe`."""
    note = say if reporter is None else reporter.note
    events = Subscribers() if reporter is None else reporter.events
    with _filter(request.raw, note) as shown:
        work = _pipe(request, events, note, shown, exits)
        end = PollLoop().run(work())
    if end.ignored_bytes:
        from cfcat.report.notes import ignored_note  # lazy: most runs have nothing to say

        note(ignored_note(end.ignored_bytes, end.peer))
    if end.is_silent and request.listen is None:
        from cfcat.report.notes import silent_note  # lazy: as above

        if text := silent_note(request.target):
            note(text)
    return ExitStatus.OK


def _run_check(request: Request, reporter: Reporter | None) -> int:
    """Is the server there? Raises as `check`."""
    from cfcat.pipe.ready import check  # lazy: most runs move data

    events = Subscribers() if reporter is None else reporter.events
    upgrading = Upgrading(request.protocol, request.helo)
    PollLoop().run(check(request.target, request.options, events, upgrading, request.wait_s))
    return ExitStatus.OK


def _pipe(
    request: Request, events: Subscribers, note: Note, shown: TerminalFilter | None, exits: contextlib.ExitStack
) -> Callable[[], Coroutine[Any, Any, PipeEnd]]:
    """What connects stdin and stdout, dialing or listening. All is loaded: the loop may take the last descriptors."""
    upgrading = Upgrading(request.protocol, request.helo)
    if request.listen is None:
        target, options = request.target, request.options
        open_by = None
        if request.wait_s is not None:
            from cfcat.pipe.ready import open_ready  # lazy: most runs try once

            open_by = partial(open_ready, target, options, events, upgrading, request.wait_s)
        return partial(
            run_pipe, target, options, request.pump, events, upgrading=upgrading, shown=shown, open_by=open_by
        )
    from cfcat.program.listening import ListenNotes, make_clients  # lazy: most runs dial
    from cfcat.report.messages import explain

    events.add(ListenNotes(say, note, says_address=_says_address(request)))
    return partial(
        run_accepted,
        make_clients(request, events, exits),
        request.options,
        request.pump,
        events,
        upgrading=upgrading,
        shown=shown,
        failed=lambda error: note(explain(error, error.client).text),
    )


def _says_address(request: Request) -> bool:
    """Would anybody miss the line that says where we listen?"""
    assert request.listen is not None
    to = request.listen.to.target
    if request.output.events == "-":
        return False  # an event says it
    return (to.port == 0 and bool(to.host)) or request.output.verbose > 0 or os.isatty(2)


def _run_script_file(request: Request, make_session: Callable[[Face], Session], reporter: Reporter | None) -> int:
    """stdin, or a file, has the lines of a session. Raises as `run_script`."""
    from cfcat.edges.asyncio_loop import run_in_asyncio  # lazy: asyncio, 50 ms
    from cfcat.repl.script import run_script

    write, note = (put, say) if reporter is None else (reporter.put, reporter.note)
    with _lines(request.script) as source, _filter(request.raw, note) as shown:
        return run_in_asyncio(run_script(make_session, request.pump, write, shown=shown, source=source))


@contextlib.contextmanager
def _lines(path: str | None) -> Iterator[int]:
    """The descriptor that a script is read from. Raises StdinError: the file cannot be read."""
    if path is None:
        yield 0
        return
    from cfcat.report.render import escape  # lazy: a script only

    source = -1
    try:
        source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        os.read(source, 0)  # a folder cannot be read
    except (OSError, ValueError) as error:
        if source >= 0:
            os.close(source)
        raise StdinError(f"cannot read {escape(path)}", escape(reason_of(error))) from error
    try:
        yield source
    finally:
        os.close(source)


def _run_on_terminal(request: Request, make_session: Callable[[Face], Session]) -> int:
    """A session on the terminal. Raises as `run_screen`."""
    import asyncio  # lazy: as prompt_toolkit, 130 ms

    from cfcat.repl.screen.start import run_screen

    return asyncio.run(run_screen(make_session, color=request.output.colored(1)))


def _session_maker(
    request: Request,
    reporter: Reporter | None,
    recorder: Recorder | None,
    exits: contextlib.ExitStack,
    proxies: Proxies | None,
) -> Callable[[Face], Session]:
    from cfcat.repl.session import Session  # lazy: it knows all commands

    settings = request.settings
    assert settings is not None, "a session has settings"

    def make_session(face: Face) -> Session:
        if reporter is not None:
            reporter.show_lines_by(face.show_notice)
        events = Subscribers() if reporter is None else reporter.events
        clients = None
        if request.listen is not None:
            from cfcat.program.listening import ListenNotes, make_clients  # lazy: most runs dial

            says_address = request.mode is Mode.REPL or _says_address(request)
            note = face.show_notice if reporter is None else reporter.note
            events.add(ListenNotes(face.show_notice, note, says_address=says_address))
            clients = make_clients(request, events, exits)
        return Session(
            request.target,
            request.options,
            face,
            settings,
            events=events,
            recorder=recorder,
            clients=clients,
            choose_proxy=proxies.choose if proxies is not None and proxies.follow_environment else None,
            wait_s=request.wait_s,
            variables=request.variables,
        )

    return make_session


@contextlib.contextmanager
def _filter(raw: bool, note: Note) -> Iterator[TerminalFilter | None]:
    """The filter for stdout on a terminal; the run reports at the end what it escaped. None: no filter."""
    if raw or not os.isatty(1):
        yield None
        return
    from cfcat.report.notes import escaped_note  # lazy: a terminal only
    from cfcat.report.render import TerminalFilter

    shown = TerminalFilter()
    try:
        yield shown
    finally:
        if shown.escaped:
            note(escaped_note(shown.escaped))
