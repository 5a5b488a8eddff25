"""Everything that a run shows of itself besides its data: `-v`, `-x`, `--log`, `--json`, `--progress`.

A `Reporter` is made where one of these is asked for, and only then. It is what a run tells:

    options = SocketOptions(..., trace=reporter.trace)      how the connection is made
    reporter.enter("starttls"); reporter.heard(...)         the dialog, then reporter.enter("tls")
    with reporter.watching(pump):                           whoever has `sent_bytes` and `received_bytes`
        reporter.sent(chunk); reporter.received(chunk)      where `wants_bytes`
        reporter.ended("received")                          each direction's end
    reporter.finish(error, status, message)                 at last, once

It is a `cfcat.pipe.observer.Observer`. A session, which has connections one after the other and keeps its transcript
itself, calls `count(session)` and `show_lines_by(face.show_notice)` instead, and `broke()` when a connection breaks.
All of it is called from the event loop and never raises; `write` must not wait for whoever reads standard error.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from cfcat.core.codec import Buffer
from cfcat.core.trace import TlsEstablished, TraceEvent
from cfcat.report.hexdump import ROW_BYTES, HexDump
from cfcat.report.lines import MARKS, dialog_lines, duration, trace_lines
from cfcat.report.messages import Message, log_note, plural
from cfcat.report.run_report import Phase, RunReport

if TYPE_CHECKING:
    from cfcat.record.transcript import Journal, Transcript
    from cfcat.report.progress import Progress

__all__ = ["Counters", "Reporter"]

Direction = Literal["sent", "received"]

TICK_S = 0.25  # as often as anybody reads a number that changes


class Counters(Protocol):
    """Who moves the bytes."""

    @property
    def sent_bytes(self) -> int: ...

    @property
    def received_bytes(self) -> int: ...


class Reporter:
    """The faces of one run.

    `write` puts text on standard error. `verbose`: 1 events, 2 bytes. `color`, `row_bytes`: of the hexdump. `offered`:
    ALPN protocols. `transcript`, `recorder` (for an export), `progress`: where they are wanted.
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
        transcript: Transcript | None = None,
        recorder: Journal | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.report = report
        self._write = write
        self._verbose = verbose
        self._json = json
        self._offered = offered
        self._transcript = transcript
        self._journals: list[Journal] = [journal for journal in (transcript, recorder) if journal is not None]
        self._progress = progress
        self._timer: asyncio.TimerHandle | None = None
        self._counters: Counters = report
        self._show: Callable[[str], None] | None = None
        self._began_s = self._phase_began_s = time.monotonic()
        self._secure = False
        self._held = False  # our end waits, or has waited
        dumps = {name: HexDump(mark, row_bytes=row_bytes, color=color) for name, mark in MARKS.items()}
        self._dumps = dumps if hexdump else {}
        self._only_json = json and not (verbose or hexdump)

    # ---- how the connection is made

    def trace(self, event: TraceEvent) -> None:
        """Take what the socket tells."""
        self.report.take(event)
        self._secure = self._secure or isinstance(event, TlsEstablished)
        self._event(*trace_lines(event, self.report.target, now_s=time.time(), offered=self._offered))

    def connecting(self, text: str) -> None:
        """Begin: `text` is for those who keep what happens."""
        for journal in self._journals:
            journal.event(text)

    def enter(self, phase: Phase) -> None:
        """A part begins that the socket knows nothing of: the dialog, or the handshake after it."""
        now = time.monotonic()
        if self.report.phase == "starttls":
            self.report.starttls_s = now - self._phase_began_s
        self.report.phase = phase
        self._phase_began_s = now

    def heard(self, direction: str, data: bytes) -> None:
        """Take a message of the dialog."""
        if self._verbose:
            self._say(dialog_lines(direction, data))
        self._record(direction, data)

    # ---- the session

    @property
    def wants_bytes(self) -> bool:
        """Must the data pass through here? Otherwise the counters are enough, and cost nothing."""
        progress = self._progress is not None and self._progress.shares_terminal
        return self._verbose >= 2 or bool(self._dumps or self._journals) or self._json or progress

    @contextlib.contextmanager
    def watching(self, counters: Counters) -> Iterator[None]:
        """For the time of the session, in a running loop: `counters` tells how much has moved."""
        self.count(counters)
        if self._progress is not None:
            self._tick()
        try:
            yield
        finally:
            if self._timer is not None and self._progress is not None:
                self._timer.cancel()
                self._write(self._progress.last(counters.sent_bytes, counters.received_bytes))

    def count(self, counters: Counters) -> None:
        """Ask this one from now on how much has moved."""
        self._counters = counters

    def sent(self, chunk: Buffer) -> None:
        """Take a chunk on its way to the peer."""
        self._moved("sent", bytes(chunk))

    def received(self, chunk: Buffer) -> None:
        """Take a chunk from the peer, before it is shown."""
        if self.report.first_byte_s is None:
            self.report.first_byte_s = time.monotonic() - self._began_s
        self._moved("received", bytes(chunk))
        if self._progress is not None:
            self._write(self._progress.make_way(bytes(chunk)))

    def held(self) -> None:
        """Stdin has ended, and all of it was sent; our end follows later, or the run is over before."""
        self._held = True
        self._event(f"stdin ended: {plural(self._counters.sent_bytes, 'byte')} sent, our end is held")

    def ended(self, direction: Direction) -> None:
        """A direction has come to its end in order."""
        self.report.last_end = direction
        if direction == "sent" and self._held:
            self._event("our side ended")
            return
        moved = self._counters.sent_bytes if direction == "sent" else self._counters.received_bytes
        who = "peer" if direction == "received" else "stdin" if self.report.mode == "pipe" else "our side"
        self._event(f"{who} ended: {plural(moved, 'byte')} {direction}")

    def _moved(self, direction: Direction, chunk: bytes) -> None:
        if self._verbose >= 2:
            self._say([f"{MARKS[direction]} {plural(len(chunk), 'byte')}"])
        if self._dumps:
            dump = self._dumps[direction]
            self._print("".join(f"{row}\n" for row in (*dump.feed(chunk), *dump.flush())))
        self._record(direction, chunk)

    def _tick(self) -> None:
        assert self._progress is not None
        self._write(self._progress.draw(self._counters.sent_bytes, self._counters.received_bytes))
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    # ---- notes and the end

    def show_lines_by(self, show: Callable[[str], None]) -> None:
        """Until the end give lines to this one, without their prefix: a screen draws them in its own way."""
        self._show = show

    def put(self, text: str) -> None:
        """Write what somebody else has to say, as it is."""
        if not self._only_json:
            self._print(text)

    def note(self, text: str) -> None:
        """Tell a warning, or what else was noticed."""
        self.report.notes.append(text)
        if not self._only_json:
            self._say([text])

    def broke(self, error: BaseException, message: Message) -> None:
        """A connection of a session broke, and somebody has said so."""
        self.report.error, self.report.message = error, message

    def finish(self, error: BaseException | None, status: int, message: Message | None = None) -> None:
        """The run is over; `message` is what is to be said of the error, None where that is nothing."""
        report = self.report
        report.total_s = time.monotonic() - self._began_s
        report.status = status
        report.sent_bytes, report.received_bytes = self._counters.sent_bytes, self._counters.received_bytes
        self._show = None
        if error is not None or status == 0:
            report.error, report.message = error, message
        self._event(
            f"over after {duration(report.total_s)}: "
            f"{plural(report.sent_bytes, 'byte')} sent, {plural(report.received_bytes, 'byte')} received"
        )
        self._close_transcript(message)
        if message is not None and not self._only_json:
            self._print(str(message))
        if self._json:
            self._print(f"{report.as_json()}\n")

    def _close_transcript(self, message: Message | None) -> None:
        if self._transcript is None:
            return
        if message is not None:
            self._transcript.event(message.text)
        self._transcript.close()
        if self._transcript.problem:
            self.note(log_note(self._transcript.problem))

    # ---- the ways out

    def _event(self, *lines: str) -> None:
        if self._verbose:
            self._say(lines)
        for journal in self._journals:
            for line in lines:
                journal.event(line)

    def _record(self, direction: str, data: bytes) -> None:
        for journal in self._journals:
            record = journal.sent if direction == "sent" else journal.received
            record(data, tls=self._secure)

    def _say(self, lines: Sequence[str]) -> None:
        if lines and self._show is not None:
            self._show("\n".join(lines))
        else:
            self._print("".join(str(Message(line)) for line in lines))

    def _print(self, text: str) -> None:
        if self._progress is not None:
            text = self._progress.erase() + text
        if text:
            self._write(text)
