"""What a run is to show of itself, from the command line's options to the `Reporter` that shows it; and its failure.

`OutputOptions` is cheap; other modules are loaded only if something is shown.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from cfcat.errors import CommandError, LostError, StdoutError, UsageError, reason_of
from cfcat.report.status import ExitStatus

if TYPE_CHECKING:
    from cfcat.record.capture import Capture
    from cfcat.record.events import Scribe
    from cfcat.record.journal import Journal
    from cfcat.record.recording import Conversation, Recorder
    from cfcat.record.stream import EventFile
    from cfcat.record.subscribers import Subscriber
    from cfcat.record.transcript import Transcript
    from cfcat.report.color import ColorChoice
    from cfcat.report.progress import Progress
    from cfcat.report.reporter import Reporter

__all__ = [
    "NO_OUTPUT",
    "OutputOptions",
    "captured",
    "end_events",
    "make_recorder",
    "make_reporter",
    "open_events",
    "open_transcript",
    "put",
    "save_export",
    "say",
    "tell_failure",
    "tell_out_of_memory",
    "writer",
]


class OutputOptions(NamedTuple):
    """`verbose`: 1 events, 2 bytes, 3 hexdump. `log`: the file of the transcript. `events`: of the events, or "-".
    `pcap`: of the capture.
    """

    verbose: int = 0
    hexdump: bool = False
    log: str | None = None
    log_secrets: bool = False
    json: bool = False
    progress: bool = False
    color: ColorChoice = "auto"
    events: str | None = None
    pcap: str | None = None

    @property
    def wants_hexdump(self) -> bool:
        """Are bytes to be shown in hexadecimal?"""
        return self.hexdump or self.verbose >= 3

    def colored(self, fd: int) -> bool:
        """May what is written to this descriptor be coloured?"""
        from cfcat.report.color import use_color  # lazy: most runs show nothing

        return use_color(self.color, os.environ, is_terminal=os.isatty(fd))


NO_OUTPUT = OutputOptions()


def say(text: str) -> None:
    """Print one line of ours on standard error."""
    from cfcat.edges import console  # lazy: most runs have nothing to say

    console.say(text)


def put(text: str) -> None:
    """Print text on standard error as it is."""
    from cfcat.edges import console  # lazy: as above

    console.put(text)


def writer(output: OutputOptions) -> Callable[[str], None]:
    """Who writes on standard error what is for people: nobody, where that has events for programs."""
    return put if output.events != "-" else lambda text: None


def make_reporter(
    output: OutputOptions,
    target: str,
    mode: str,
    *,
    handshake_next: bool = False,
    offered: Sequence[str] = (),
    recorder: Recorder | None = None,
    events: EventFile | None = None,
    by: Scribe = "client",
) -> Reporter | None:
    """Make the Reporter that the options ask for; None if they ask for no output.

    `mode`: "pipe", "check", "replay", "script" or "repl". `handshake_next`: TLS begins with the first byte.
    `offered`: of ALPN. `recorder`: for the export of pipe mode. `events`: where the events go. `by`: which side of the
    connection we are.

    Raises:
        StdoutError: the transcript cannot be written (status 23).
    """
    if output == OutputOptions(color=output.color, pcap=output.pcap) and recorder is None:
        return None
    from cfcat.report.hexdump import row_bytes_for  # lazy: most runs show nothing
    from cfcat.report.reporter import Reporter
    from cfcat.report.run_report import RunReport

    own = mode in ("pipe", "check", "replay")  # a session has its own
    transcript = open_transcript(output, target, offered, by) if own else None
    return Reporter(
        RunReport(target, mode, handshake_next),
        writer(output),
        verbose=output.verbose,
        hexdump=output.wants_hexdump and mode != "repl",  # which draws what it receives in its own way
        json=output.json,
        color=output.colored(2),
        row_bytes=row_bytes_for(_columns()),
        offered=offered,
        progress=_progress(output),
        others=_others(output, recorder, transcript, events),
        transcript=transcript,
    )


def make_recorder(export: str) -> Recorder:
    """Make the recorder for --export; first check that its file can be written. Raises StdoutError."""
    from cfcat.export.files import check_folder  # lazy: an export only
    from cfcat.record.recording import Recorder

    try:
        check_folder(export)
    except CommandError as error:
        raise StdoutError(error.message) from error
    return Recorder()


def save_export(export: str, conversations: Callable[[], list[Conversation]]) -> None:
    """Raises StdoutError: there is nothing to export, or it cannot be written."""
    from cfcat.export.files import write_export

    try:
        write_export(export, conversations())
    except CommandError as error:
        raise StdoutError(error.message) from error


def tell_failure(
    error: BaseException, target: str, reporter: Reporter | None = None, *, output: OutputOptions = NO_OUTPUT
) -> int:
    """Say what went wrong, in one line or as `output` has it for programs; returns the exit status."""
    try:
        return _tell_failure(error, target, reporter, output)
    except MemoryError:
        return tell_out_of_memory(error, target)


def tell_out_of_memory(error: BaseException, target: str = "") -> int:
    """Say it where not even a module can be loaded any more; returns the exit status."""
    what, status = "out of memory", ExitStatus.INTERNAL
    if isinstance(error, LostError):
        what += " while sending" if error.sending else " while receiving"
        status = ExitStatus.SEND if error.sending else ExitStatus.RECEIVE
    with contextlib.suppress(OSError):
        os.write(2, f"cfcat: {ascii(target)[1:-1]}{': ' if target else ''}{what}\n".encode())
    return status


def _tell_failure(error: BaseException, target: str, reporter: Reporter | None, output: OutputOptions) -> int:
    if os.environ.get("CFCAT_DEBUG") == "1":
        import traceback

        from cfcat.report.render import escape  # lazy: a failure only

        lines = "".join(traceback.format_exception(error)).split("\n")
        put("\n".join(map(escape, lines)))  # a name in it may be a peer's
    from cfcat.report.messages import explain, status_of  # lazy: a failure only

    message, status = explain(error, getattr(error, "client", "") or target), status_of(error)
    if reporter is None:
        reporter = _reporter_of_failure(output, target)
    if reporter is None:
        put(str(message))
    else:
        reporter.finish(error, status, message)
    return status


def _reporter_of_failure(output: OutputOptions, target: str) -> Reporter | None:
    """For what goes wrong before there is a reporter."""
    if output.events != "-":  # a file that cannot be written, or that nobody has opened
        return make_reporter(OutputOptions(json=output.json), target, "pipe")
    return make_reporter(OutputOptions(events="-"), target, "pipe", events=open_events(output))


def _others(
    output: OutputOptions, recorder: Recorder | None, transcript: Transcript | None, events: EventFile | None
) -> list[Subscriber]:
    """Who keeps what happens."""
    masks = not output.log_secrets
    others: list[Subscriber] = [*_journals(recorder, transcript, masks=masks)]
    if events is not None:
        from cfcat.record.stream import Stream  # lazy: most runs have none

        others.append(Stream(events, masks=masks))
    return others


def _journals(recorder: Recorder | None, transcript: Transcript | None, *, masks: bool) -> list[Journal]:
    """One journal for recorder and transcript; two with --log-secrets. Secrets of any protocol are masked."""
    if recorder is None and transcript is None:
        return []
    from cfcat.record.journal import Journal  # lazy: most runs keep nothing

    if masks or transcript is None:
        return [Journal(*(writer for writer in (recorder, transcript) if writer is not None))]
    return [Journal(transcript, masks=False), *_journals(recorder, None, masks=True)]


@contextlib.contextmanager
def captured(output: OutputOptions, note: Callable[[str], object]) -> Iterator[Capture | None]:
    """The capture that is asked for, while the block runs. Raises StdoutError: it cannot be written (status 23)."""
    if output.pcap is None:
        yield None
        return
    from cfcat.record.capture import Capture  # lazy: most runs keep none
    from cfcat.report.notes import capture_note, pcap_note
    from cfcat.report.render import escape

    try:
        capture = Capture(output.pcap)
    except (OSError, ValueError) as error:
        raise StdoutError(f"cannot write {escape(output.pcap)}", escape(reason_of(error))) from error
    note(pcap_note(output.pcap))
    try:
        yield capture
    finally:
        capture.close()
        if capture.problem:
            note(capture_note(capture.problem))


def open_transcript(output: OutputOptions, target: str, offered: Sequence[str], by: Scribe) -> Transcript | None:
    """Begin the transcript that is asked for. Raises StdoutError: it cannot be written (status 23)."""
    if output.log is None:
        return None
    from cfcat.record.transcript import Transcript
    from cfcat.report.lines import describe

    try:
        lines = partial(describe, offered=offered)
        return Transcript.open(output.log, target=target, by=by, lines=lines)
    except (OSError, ValueError) as error:
        raise _cannot_write(output.log, error) from error


def open_events(output: OutputOptions, *, on_screen: bool = False) -> EventFile | None:
    """Open the file of events, where one is asked for. `on_screen`: a session is on the terminal.

    Raises:
        StdoutError: it cannot be written (status 23).
        UsageError: the events would be written over the session.
    """
    if output.events is None:
        return None
    if on_screen and output.events == "-" and os.isatty(2):
        raise UsageError("--events - would write over the session on this terminal", "--events FILE")
    from cfcat.record.stream import EventFile

    try:
        return EventFile(output.events)
    except (OSError, ValueError) as error:
        raise _cannot_write(output.events, error) from error


def end_events(
    events: EventFile | None, note: Callable[[str], None], *, status: int = 0, error: Exception | None = None
) -> None:
    """The run is over, with this status or error.

    Raises:
        StdoutError: it has gone well, but for the file of events, which is not complete.
    """
    if events is None or not events.problem or isinstance(error, StdoutError):
        return
    if status == 0 and error is None:
        raise _cannot_write(events.path, events.problem)
    from cfcat.report.render import escape  # lazy: a failure only

    note(f"warning: the events are not complete: {escape(events.problem)}")


def _cannot_write(path: str, problem: Exception | str) -> StdoutError:
    from cfcat.report.render import escape  # lazy: a failure only

    reason = problem if isinstance(problem, str) else reason_of(problem)
    return StdoutError(f"cannot write {escape(path)}", escape(reason))


def _progress(output: OutputOptions) -> Progress | None:
    """Only on a terminal, and one that can go back to the beginning of a line."""
    if not output.progress or not os.isatty(2) or os.environ.get("TERM") == "dumb":
        return None
    from cfcat.report.progress import Progress  # lazy: rich, 60 ms

    return Progress(_columns, total=_stdin_bytes(), color=output.colored(2), shares_terminal=os.isatty(1))


def _stdin_bytes() -> int | None:
    """How much is left of stdin, where that is a regular file."""
    import stat

    status = os.fstat(0)
    return status.st_size - os.lseek(0, 0, os.SEEK_CUR) if stat.S_ISREG(status.st_mode) else None


def _columns() -> int:
    """The width of stderr's terminal, or that of a usual one."""
    try:
        return os.get_terminal_size(2).columns or 80
    except OSError:
        return 80
