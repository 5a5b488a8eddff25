"""Everything that a run shows of itself besides its data: `-v`, `-x`, `--json`, `--progress`; and closes the --log
transcript.

A `Reporter` is made where one of these, or an export, is asked for, and only then. It is a subscriber, and has the list
of all subscribers of its run:

    reporter.events.tell(event)                 what happens: to the reporter, and to who writes a transcript
    reporter.note(text)                         a warning, or what else was noticed
    reporter.finish(error, status, message)     at last, once

A session calls `show_lines_by(face.show_notice)` too. All of it is called from the event loop and never raises; `write`
must not wait for a slow reader of standard error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cfcat.core.loop import Handle, running_loop
from cfcat.errors import CertificateError
from cfcat.record.events import (
    MARKS,
    Accepted,
    Broke,
    Connecting,
    Counters,
    Dialog,
    Entered,
    Exited,
    LineFailed,
    Moved,
    Moving,
    NotReady,
    OurSideEnded,
    Over,
    PeerEnded,
    Phase,
    Said,
    StdinEnded,
    Stopped,
)
from cfcat.record.kept import Event
from cfcat.record.making import TraceEvent
from cfcat.record.sides import ClientCame, ClientTls, SideEnded
from cfcat.record.subscribers import Subscriber, Subscribers
from cfcat.record.words import plural
from cfcat.report.hexdump import ROW_BYTES, HexDump
from cfcat.report.lines import describe, dialog_lines, untrusted_lines
from cfcat.report.messages import Message
from cfcat.report.notes import log_note
from cfcat.report.render import escape
from cfcat.report.run_report import RunReport

if TYPE_CHECKING:
    from cfcat.record.transcript import Transcript
    from cfcat.report.progress import Progress

__all__ = ["Reporter"]

TICK_S = 0.25  # as often as anybody reads a number that changes
# What -v tells. A session shows the rest itself.
SHOWN = TraceEvent | NotReady | Accepted | ClientCame | ClientTls | SideEnded | StdinEnded | PeerEnded | Over
SHOWN_IN_PIPES = SHOWN | OurSideEnded


class Reporter:
    """What one run shows.

    `write` puts text on standard error. `verbose`: 1 events, 2 bytes. `color`, `row_bytes`: of the hexdump. `offered`:
    ALPN protocols. `label`: the beginning of each line, such as "#1 ". `others`: who else wants to know. `transcript`:
    to be closed at the end; a journal among the others writes it.
    """

    def __init__(
        self,
        report: RunReport,
        write: Callable[[str], None],
        *,
        verbose: int = 0,
        hexdump: bool = False,
        json: bool = False,
        color: bool = False,
        row_bytes: int = ROW_BYTES,
        offered: Sequence[str] = (),
        label: str = "",
        progress: Progress | None = None,
        others: Sequence[Subscriber] = (),
        transcript: Transcript | None = None,
    ) -> None:
        self.report = report
        self.events = Subscribers([self, *others])
        self._write = write
        self._verbose = verbose
        self._json = json
        self._offered = offered
        self._label = label
        self._transcript = transcript
        self._progress = progress
        self._timer: Handle | None = None
        self._counters: Counters = report
        self._shown = SHOWN_IN_PIPES if report.mode == "pipe" else SHOWN
        self._show: Callable[[str], None] | None = None
        self._began_s = self._phase_began_s = time.monotonic()
        dumps = {way: HexDump(mark, row_bytes=row_bytes, color=color) for way, mark in MARKS.items()}
        self._dumps = dumps if hexdump else {}
        self._only_json = json and not (verbose or hexdump)

    # ---- what happens

    @property
    def wants_bytes(self) -> bool:
        progress = self._progress is not None and self._progress.shares_terminal
        return self._verbose >= 2 or bool(self._dumps) or self._json or progress

    def take(self, event: Event) -> None:
        self.report.take(event)
        if isinstance(event, Connecting):
            self._enter("resolve", None)
        elif isinstance(event, Entered):
            self._enter(*event)
        elif isinstance(event, Dialog) and self._verbose:
            self._say(dialog_lines(event))
        elif isinstance(event, (Broke, LineFailed)) and isinstance(event.error, CertificateError) and self._verbose:
            self._say(untrusted_lines(event.error))
        elif isinstance(event, Moving):
            self._counters = event.counters
            if self._progress is not None:
                self._tick()
        elif isinstance(event, Moved):
            self._moved(event)
        elif isinstance(event, Stopped):
            self._stop(event)
        elif self._verbose and (
            isinstance(event, SHOWN) or (isinstance(event, OurSideEnded) and self.report.mode == "pipe")
        ):
            self._say(list(map(escape, describe(event, offered=self._offered))))  # the tap's client chooses words

    def _enter(self, phase: Phase, at_s: float | None) -> None:
        """A part begins that the socket does not tell of; `at_s`: as in `Entered`."""
        now = time.monotonic() if at_s is None else at_s
        if self.report.phase == "starttls":
            self.report.starttls_s = now - self._phase_began_s
        self.report.phase = phase
        self._phase_began_s = now

    def _moved(self, event: Moved) -> None:
        direction, chunk, _ = event
        if direction == "received" and self.report.first_byte_s is None:
            self.report.first_byte_s = time.monotonic() - self._began_s
        if self._verbose >= 2:
            self._say([f"{MARKS[direction]} {plural(len(chunk), 'byte')}"])
        if self._dumps:
            dump = self._dumps[direction]
            self._print("".join(f"{self._label}{row}\n" for row in (*dump.feed(chunk), *dump.flush())))
        if direction == "received" and self._progress is not None:
            self._write(self._progress.make_way(chunk))

    def _tick(self) -> None:
        assert self._progress is not None
        self._write(self._progress.draw(self._counters.sent_bytes, self._counters.received_bytes))
        self._timer = running_loop().call_later(TICK_S, self._tick)

    def _stop(self, event: Stopped) -> None:
        if self._timer is not None and self._progress is not None:
            self._timer.cancel()
            self._write(self._progress.last(event.sent_bytes, event.received_bytes))

    # ---- notes and the end

    def show_lines_by(self, show: Callable[[str], None]) -> None:
        """From now on pass lines to `show`, without prefix: a screen draws them in its own way."""
        self._show = show

    def put(self, text: str) -> None:
        """Write what somebody else has to say, as it is."""
        if not self._only_json:
            self._print(text)

    def note(self, text: str) -> None:
        """Tell a warning, or what else was noticed."""
        self.report.notes.append(text)
        self.events.tell(Said(text))
        if not self._only_json:
            self._say([text])

    def finish(self, error: BaseException | None, status: int, message: Message | None = None) -> None:
        """The run is over; `message` is what is to be said of the error, None where that is nothing."""
        report = self.report
        report.total_s = time.monotonic() - self._began_s
        report.status = status
        report.sent_bytes, report.received_bytes = self._counters.sent_bytes, self._counters.received_bytes
        self._show = None
        if error is not None or status == 0:
            report.error, report.message = error, message
        self.events.tell(Over(report.total_s, report.sent_bytes, report.received_bytes))
        if error is not None and message is not None:
            self.events.tell(Broke(error, *message))
        self._close_transcript()
        if message is not None and not self._only_json:
            self._print(str(message._replace(text=self._label + message.text)))
        if self._json:
            self._print(f"{report.as_json()}\n")
        self.events.tell(Exited(status))

    def _close_transcript(self) -> None:
        if self._transcript is None:
            return
        self._transcript.close()
        if self._transcript.problem:
            self.note(log_note(self._transcript.problem))

    # ---- the ways out

    def _say(self, lines: Sequence[str]) -> None:
        if lines and self._show is not None:
            self._show("\n".join(lines))
        else:
            self._print("".join(str(Message(self._label + line)) for line in lines))

    def _print(self, text: str) -> None:
        if self._progress is not None:
            text = self._progress.erase() + text
        if text:
            self._write(text)
