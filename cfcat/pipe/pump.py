"""Pipe mode's two directions, and who ends when.

stdin to writable, readable to stdout, each a `Flow`. The directions never wait for each other; each moves one chunk at
a time, so a slow stdout slows the peer, a slow peer slows stdin, and memory is bounded. Where nobody wants to see the
bytes and both descriptors allow it, they are joined in the kernel. The ends follow nc's rule of four ends:

| event | default | `half_open` |
|---|---|---|
| stdin ends | our EOF is sent as soon as that cannot cost the answer (`ending`), reading goes on | same |
| the same with `shutdown` "now", "never" | our EOF is sent at once, is not sent | same |
| stdin fails | nothing more is sent; what comes until the peer ends, or is silent, then the error | same |
| the peer ends first | what was read from stdin is sent, then it is over | stdout closes, sending goes on |
| `quit_after` | so long after stdin's end it is over | same |
| what came matches `until` | it is over; any other end before that is an error | same |
| stdout's reader is gone | it is over (BrokenPipeError) | same |
| reset, truncation | what came is delivered, then the error | same |
"""

from __future__ import annotations

import re
from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from cfcat.core.choices import Shutdown
from cfcat.core.codec import TLS_ALERT, TLS_HELLO, Buffer
from cfcat.core.job import Job
from cfcat.core.loop import running_loop
from cfcat.core.promise import Promise
from cfcat.core.sockets import Socket
from cfcat.core.waiting import STALL_S, settled, sleep, until_idle, while_moving
from cfcat.edges.stdin import Input
from cfcat.edges.stdout import Output
from cfcat.errors import (
    ClosedError,
    CrossedWiresError,
    IdleTimeout,
    LostError,
    SocketError,
    StdinError,
    TlsError,
    UnmatchedError,
)
from cfcat.pipe.ending import STDIN_LOST_S, least_s
from cfcat.pipe.flow import Flow, PeerSink, PeerSource
from cfcat.pipe.hold import HeldEnd
from cfcat.pipe.newlines import CrlfEncoder
from cfcat.record.events import Moved, OurSideEnded, PeerEnded, SpeaksTls, StdinEnded
from cfcat.record.subscribers import Subscribers

if TYPE_CHECKING:
    from cfcat.pipe.matching import Matching

__all__ = ["Pump", "PumpOptions"]

FIRST_TEXT_BYTES = 16 * 1024  # a server that waits for TLS goes at the first of them


class PumpOptions(NamedTuple):
    """The ends, as the command line asks for them. Times are seconds; None: wait for ever."""

    half_open: bool = False
    shutdown: Shutdown = "auto"
    quit_after: float | None = None
    idle_timeout: float | None = None
    crlf: bool = False  # a bare LF of stdin is sent as CRLF
    after: re.Pattern[bytes] | None = None  # stdin is not read before what came matches,
    after_s: float | None = None  # which it must do in time
    until: re.Pattern[bytes] | None = None  # it is over when what came matches


class Pump:
    """One run of pipe mode over an opened socket.

    `events` are told of the ends, and of each chunk if a subscriber wants that.
    """

    def __init__(self, socket: Socket, stdin: Input, stdout: Output, options: PumpOptions, events: Subscribers) -> None:
        self._events = events
        self._wants_bytes = events.wants_bytes
        self._socket = socket
        self._matching: Matching | None = None
        if options.after is not None or options.until is not None:
            from cfcat.pipe.matching import Matching  # lazy: most runs deliver unseen

            stdout = self._matching = Matching(stdout, options.after, options.until, events)
        self._stdout = stdout
        self._options = options
        self._encoder = CrlfEncoder() if options.crlf else None
        self._first_bytes = b""
        self._send_error: SocketError | None = None
        self._end = HeldEnd()
        self._is_held = False  # has our end had to wait?
        self._stdin_over: Promise[None] = Promise(running_loop())
        self._up = Flow(stdin, PeerSink(socket.writable), self._to_send)
        self._down = Flow(PeerSource(socket.readable), stdout, self._to_write)
        # To be joined when the first bytes have told whether they are an HTTP request.
        joins = stdin.joined is not None and not self._wants_bytes and self._encoder is None
        self._stdin_joined = stdin.joined if joins else None

    @property
    def sent_bytes(self) -> int:
        """Bytes of the application for the peer so far: of stdin, after `crlf`."""
        return self._up.moved_bytes

    @property
    def received_bytes(self) -> int:
        """Bytes of the application from the peer so far."""
        return self._down.moved_bytes

    async def run(self) -> None:
        """Move everything, end in order.

        Raises:
            LostError, TruncatedError, TlsError: the connection broke; all that came has been written.
            StdinError, StdoutError: an edge of the process failed.
            BrokenPipeError: the reader of stdout is gone.
            IdleTimeout: nothing moved for `idle_timeout`.
            UnansweredError: the peer ended without a byte, and it had been sent an HTTP request.
            UnmatchedError: what came did not match `after` or `until`.
        """
        jobs = _Jobs()
        up = jobs.start(self._send())
        down = jobs.start(self._receive())
        jobs.start(self._watch_stdout())
        if self._options.idle_timeout is not None:
            jobs.start(self._watch_idle(self._options.idle_timeout))
        over = [] if self._matching is None else [jobs.start(self._watch_matches(self._matching))]
        try:
            await self._until_over(jobs, up, down, over)
            if self._matching is not None:
                if self._matching.is_over:
                    await while_moving(self._socket.close(), lambda: self._socket.moved_bytes)
                    return
                self._matching.check(
                    f"no match within {self._options.quit_after or 0:g} s after the end of standard input"
                )
            await self._finish()
            self._end.check_answered(self._socket)
        except BaseException:
            self._socket.abort()
            raise
        finally:
            jobs.stop()

    async def _until_over(self, jobs: _Jobs, up: Job[None], down: Job[None], quits: list[Job[None]]) -> None:
        """Wait until the run is over, as it is when one of `quits` has ended; raise the first error."""
        limit_s = self._options.quit_after
        if limit_s is not None:
            quits.append(jobs.start(self._quit_after(limit_s)))
        while not (down.done() and (up.done() or not self._options.half_open)):
            if any(each.done() for each in quits):
                break
            await jobs.wait()
            if up.done() and isinstance(self._send_error, StdinError):
                quits.append(jobs.start(until_idle(STDIN_LOST_S, lambda: self.received_bytes)))
        if self._send_error is not None:
            raise self._send_error

    async def _finish(self) -> None:
        """Close in order; what is queued for a peer that takes nothing more is given up."""
        if not await while_moving(self._socket.close(), lambda: self._socket.moved_bytes):
            raise LostError(detail=f"the peer ended, and took nothing more for {STALL_S:g} s", sending=True)
        await self._socket.closed  # rejects when what was queued could not be sent

    async def _send(self) -> None:
        writer = self._socket.writable.get_writer()
        try:
            if self._matching is not None:
                await self._matching.began
            await self._up.run()
            self._stdin_over.resolve(None)
            is_due = await self._end.is_due(
                self._options.shutdown,
                self._socket,
                self.sent_bytes,
                is_stalled=lambda: self._down.is_stalled,
                held=self._tell_held,
                least_s=least_s(
                    receives_on=self._socket.accepted and self._options.half_open,
                    sent_bytes=self.sent_bytes,
                    until=self._options.until is not None,
                ),
            )
            if self._is_held:
                if is_due:
                    self._events.tell(OurSideEnded(self.sent_bytes))
            elif is_due or self._options.shutdown == "never":
                self._events.tell(StdinEnded(self.sent_bytes))
            if is_due:
                await writer.close()
        except ClosedError:
            pass  # the peer's EOF has been read: what was queued before it is on its way (H3)
        except SocketError as error:
            if not isinstance(error, (LostError, StdinError, TlsError)):
                raise
            self._note_silence(error)
            # What the peer has to say comes before the error: reading goes on to its end, and this error counts.
            self._send_error = error
        finally:
            self._stdin_over.resolve(None)

    def _tell_held(self) -> None:
        self._is_held = True
        self._events.tell(StdinEnded(self.sent_bytes, is_held=True))

    async def _receive(self) -> None:
        reader = self._socket.readable.get_reader()
        try:
            await self._down.run()
        except SocketError as error:
            self._check_crossed_wires()
            if self._send_error is None:
                self._end.note_failure(error)
                self._note_silence(error)
                raise
        else:
            self._end.peer_ended()
            self._events.tell(PeerEnded(self.received_bytes))
        self._check_crossed_wires()
        if self._matching is not None:
            try:
                self._matching.check("the peer ended before a match")
            except UnmatchedError as error:
                self._end.note_failure(error)
                raise
        reader.release_lock()
        if self._options.half_open:
            self._stdout.end()

    def _to_send(self, chunk: memoryview) -> Buffer:
        data = chunk if self._encoder is None else self._encoder.feed(chunk)
        if self._end.opening.is_http is None:
            self._end.opening.feed(data)
            if self._end.opening.is_http is not None and self._stdin_joined is not None:
                self._up.joined = partial(self._socket.writable.send_by, self._stdin_joined)
        if self._wants_bytes:
            self._events.tell(Moved("sent", bytes(data), self._is_secure))
        return data

    def _to_write(self, chunk: memoryview) -> Buffer:
        if len(self._first_bytes) < len(TLS_ALERT):
            self._end.answer()
            self._first_bytes += bytes(chunk[: len(TLS_ALERT) - len(self._first_bytes)])
            if self._first_bytes == TLS_HELLO and self._socket.accepted and not self._is_secure:
                self._events.tell(SpeaksTls())
            if len(self._first_bytes) >= len(TLS_ALERT) and self._stdout.joined is not None and not self._wants_bytes:
                # The first bytes have been checked for a TLS alert; later ones may bypass this process.
                self._down.joined = partial(self._socket.readable.receive_by, self._stdout.joined)
        if self._wants_bytes:
            self._events.tell(Moved("received", bytes(chunk), self._is_secure))
        return chunk

    @property
    def _is_secure(self) -> bool:
        return self._socket.secure_transport == "on"

    def _check_crossed_wires(self) -> None:
        if self._first_bytes.startswith(TLS_ALERT) and not self._is_secure:
            raise CrossedWiresError("the peer answered clear text with a TLS alert")

    def _note_silence(self, error: SocketError) -> None:
        """A server that breaks the connection at the first clear text that it gets may want TLS."""
        was_told = isinstance(error, LostError) and 0 < self.sent_bytes <= FIRST_TEXT_BYTES
        if was_told and not (self.received_bytes or self._is_secure or self._socket.accepted):
            error.silent_in = "clear text"

    async def _quit_after(self, limit_s: float) -> None:
        """Return so long after stdin's end."""
        await self._stdin_over
        await sleep(limit_s)

    async def _watch_matches(self, matching: Matching) -> None:
        """Return when all has matched that is to end the run."""
        await settled([matching.began], self._options.after_s)
        matching.check_began(self._options.after_s or 0.0)
        await matching.over

    async def _watch_stdout(self) -> None:
        await self._stdout.reader_gone()
        raise BrokenPipeError

    async def _watch_idle(self, limit_s: float) -> None:
        await until_idle(limit_s, lambda: self._socket.moved_bytes)
        raise IdleTimeout(f"nothing moved for {limit_s:g} s")


class _Jobs:
    """Jobs that run side by side; the first failure is the failure of all."""

    def __init__(self) -> None:
        self._loop = running_loop()
        self._running: list[Job[None]] = []

    def start(self, work: Coroutine[Any, Any, None]) -> Job[None]:
        job = Job(self._loop, work)
        self._running.append(job)
        return job

    async def wait(self) -> None:
        """Wait for one more to end, and raise its error."""
        await settled(self._running)
        done = [job for job in self._running if job.done()]
        self._running = [job for job in self._running if job not in done]
        for job in done:
            job.result()

    def stop(self) -> None:
        for job in self._running:
            job.cancel()
