"""What a run is to show of itself, from the command line's options to the `Reporter` that shows it; and its failure.

`OutputOptions` is cheap; other modules are loaded only if something is shown.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from cfcat.errors import CommandError, StdoutError, reason_of

if TYPE_CHECKING:
    from cfcat.record.capture import Capture
    from cfcat.record.journal import Journal
    from cfcat.record.recording import Conversation, Recorder
    from cfcat.record.transcript import Transcript
    from cfcat.report.color import ColorChoice
    from cfcat.report.progress import Progress
    from cfcat.report.reporter import Reporter

__all__ = [
    "OutputOptions",
    "captured",
    "make_recorder",
    "make_reporter",
    "open_transcript",
    "put",
    "save_export",
    "say",
    "tell_failure",
]


class OutputOptions(NamedTuple):
    """`verbose`: 1 events, 2 bytes, 3 hexdump. `log`: the file of the transcript. `pcap`: that of the capture."""

    verbose: int = 0
    hexdump: bool = False
    log: str | None = None
    log_secrets: bool = False
    pcap: str | None = None
    json: bool = False
    progress: bool = False
    color: ColorChoice = "auto"

    @property
    def wants_hexdump(self) -> bool:
        """Are bytes to be shown in hexadecimal?"""
        return self.hexdump or self.verbose >= 3

    def colored(self, fd: int) -> bool:
        """May what is written to this descriptor be coloured?"""
        from cfcat.report.color import use_color  # lazy: most runs show nothing

        return use_color(self.color, os.environ, is_terminal=os.isatty(fd))


def say(text: str) -> None:
    """Print one line of ours on standard error."""
    from cfcat.edges import console  # lazy: most runs have nothing to say

    console.say(text)


def put(text: str) -> None:
    """Print text on standard error as it is."""
    from cfcat.edges import console  # lazy: as above

    console.put(text)


def make_reporter(
    output: OutputOptions,
    target: str,
    mode: str,
    *,
    handshake_next: bool = False,
    offered: Sequence[str] = (),
    recorder: Recorder | None = None,
) -> Reporter | None:
    """Make the Reporter that the options ask for; None if they ask for no output.

    `mode`: "pipe", "check", "script" or "repl". `handshake_next`: TLS begins with the first byte. `offered`: of ALPN.
    `recorder`: for the export of pipe mode.

    Raises:
        StdoutError: the transcript cannot be written (status 23).
    """
    if output == OutputOptions(color=output.color, pcap=output.pcap) and recorder is None:
        return None
    from cfcat.report.hexdump import row_bytes_for  # lazy: most runs show nothing
    from cfcat.report.reporter import Reporter
    from cfcat.report.run_report import RunReport

    own = mode in ("pipe", "check")  # a session has its own
    transcript = open_transcript(output, target, offered) if own else None
    return Reporter(
        RunReport(target, mode, handshake_next),
        put,
        verbose=output.verbose,
        hexdump=output.wants_hexdump and mode != "repl",  # which draws what it receives in its own way
        json=output.json,
        color=output.colored(2),
        row_bytes=row_bytes_for(_columns()),
        offered=offered,
        progress=_progress(output),
        others=_journals(recorder, transcript, masks=not output.log_secrets),
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


def tell_failure(error: BaseException, target: str, reporter: Reporter | None = None, *, json: bool = False) -> int:
    """Say what went wrong, in one line or in the object of `--json`; returns the exit status."""
    if os.environ.get("CFCAT_DEBUG") == "1":
        import traceback

        from cfcat.report.render import escape  # lazy: a failure only

        lines = "".join(traceback.format_exception(error)).split("\n")
        put("\n".join(map(escape, lines)))  # a name in it may be a peer's
    from cfcat.report.messages import explain, status_of  # lazy: a failure only

    message, status = explain(error, getattr(error, "client", "") or target), status_of(error)
    if reporter is None and json:
        reporter = make_reporter(OutputOptions(json=True), target, "pipe")
    if reporter is None:
        put(str(message))
    else:
        reporter.finish(error, status, message)
    return status


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


def open_transcript(output: OutputOptions, target: str, offered: Sequence[str]) -> Transcript | None:
    """Begin the transcript that is asked for. Raises StdoutError: it cannot be written (status 23)."""
    if output.log is None:
        return None
    from cfcat.record.transcript import Transcript
    from cfcat.report.lines import describe

    try:
        lines = partial(describe, offered=offered)
        return Transcript.open(output.log, target=target, lines=lines)
    except (OSError, ValueError) as error:
        from cfcat.report.render import escape  # lazy: a failure only

        raise StdoutError(f"cannot write {escape(output.log)}", escape(reason_of(error))) from error


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
