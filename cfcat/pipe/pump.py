"""Pipe mode's two directions, and who ends when.

stdin to writable, readable to stdout, each a `Flow`. The directions never wait for each other; each moves one chunk at
a time, so a slow stdout slows the peer, a slow peer slows stdin, and memory is bounded. Where nobody wants to see the
bytes and both descriptors allow it, they are joined in the kernel. The ends follow nc's rule of four ends:

| event | default | `half_open` |
|---|---|---|
| stdin ends | our EOF is sent (not with `no_shutdown`), reading goes on | same |
| the peer ends first | what was read from stdin is sent, then it is over | stdout closes, sending goes on |
| `quit_after` | so long after stdin's end it is over | same |
| stdout's reader is gone | it is over (BrokenPipeError) | same |
| reset, truncation | what came is delivered, then the error | same |
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Coroutine
from functools import partial
from typing import Any

from cfcat.core.codec import Buffer
from cfcat.core.sockets import Socket
from cfcat.edges.stdin import Input
from cfcat.edges.stdout import Output
from cfcat.errors import ClosedError, CrossedWiresError, IdleTimeout, LostError, SocketError
from cfcat.pipe.flow import Flow, PeerSink, PeerSource
from cfcat.pipe.newlines import CrlfEncoder
from cfcat.record.events import Moved, PeerEnded, StdinEnded, Subscribers

__all__ = ["Pump", "PumpOptions"]

# What was read from stdin before the peer's end may still be taken by it: give up when nothing moves for so long.
STALL_S = 1.0
# How often the idle clock looks: fine enough to end within a tenth of what was asked for.
IDLE_LOOKS = 10
TLS_ALERT = b"\x15\x03"  # content type alert, major version 3 (RFC 5246 §6.2.1)


@dataclasses.dataclass(frozen=True, slots=True)
class PumpOptions:
    """The ends, as the command line asks for them. Times are seconds; None: wait for ever."""

    half_open: bool = False
    no_shutdown: bool = False
    quit_after: float | None = None
    idle_timeout: float | None = None
    crlf: bool = False  # a bare LF of stdin is sent as CRLF


class Pump:
    """One run of pipe mode over an opened socket. `events` are told of the ends, and of each chunk if one wants it."""

    def __init__(self, socket: Socket, stdin: Input, stdout: Output, options: PumpOptions, events: Subscribers) -> None:
        self._events = events
        self._wants_bytes = events.wants_bytes
        self._socket = socket
        self._stdout = stdout
        self._options = options
        self._encoder = CrlfEncoder() if options.crlf else None
        self._first_bytes = b""
        self._send_error: SocketError | None = None
        self._up = Flow(stdin, PeerSink(socket.writable), self._to_send)
        self._down = Flow(PeerSource(socket.readable), stdout, self._to_write)
        if stdin.joined is not None and not self._wants_bytes and self._encoder is None:
            self._up.joined = partial(socket.writable.send_by, stdin.joined)

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
        """
        tasks = _Tasks()
        up = tasks.start(self._send())
        down = tasks.start(self._receive())
        tasks.start(self._watch_stdout())
        if self._options.idle_timeout is not None:
            tasks.start(self._watch_idle(self._options.idle_timeout))
        try:
            await self._until_over(tasks, up, down)
            await self._finish()
        except BaseException:
            self._socket.abort()
            raise
        finally:
            await tasks.stop()

    async def _until_over(self, tasks: _Tasks, up: asyncio.Task[None], down: asyncio.Task[None]) -> None:
        """Wait for the ends that end the run; raise what went wrong first."""
        deadline: float | None = None
        while not (down.done() and (up.done() or not self._options.half_open)):
            if up.done() and deadline is None and self._options.quit_after is not None:
                deadline = time.monotonic() + self._options.quit_after
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not await tasks.wait(left):
                break  # quit_after
        if self._send_error is not None:
            raise self._send_error

    async def _finish(self) -> None:
        """Close in order; what is queued for a peer that takes nothing more is given up."""
        closing = asyncio.ensure_future(self._socket.close())
        moved = -1
        while not closing.done():
            if moved == self._socket.moved_bytes:
                closing.cancel()
                raise LostError(detail=f"the peer ended, and took nothing more for {STALL_S:g} s", sending=True)
            moved = self._socket.moved_bytes
            await asyncio.wait({closing}, timeout=STALL_S)
        await self._socket.closed  # rejects when what was queued could not be sent

    async def _send(self) -> None:
        writer = self._socket.writable.get_writer()
        try:
            await self._up.run()
            self._events.tell(StdinEnded(self.sent_bytes))
            if not self._options.no_shutdown:
                await writer.close()
        except ClosedError:
            pass  # the peer's EOF has been read: what was queued before it is on its way (H3)
        except SocketError as error:
            if not isinstance(error, LostError):
                raise
            # The answer that came before may still be unread: reading goes on to its end, and this error counts.
            self._send_error = error

    async def _receive(self) -> None:
        reader = self._socket.readable.get_reader()
        try:
            await self._down.run()
        except SocketError:
            self._check_crossed_wires()
            if self._send_error is None:
                raise
        else:
            self._events.tell(PeerEnded(self.received_bytes))
        self._check_crossed_wires()
        reader.release_lock()
        if self._options.half_open:
            self._stdout.end()

    def _to_send(self, chunk: memoryview) -> Buffer:
        data = chunk if self._encoder is None else self._encoder.feed(chunk)
        if self._wants_bytes:
            self._events.tell(Moved("sent", bytes(data), self._is_secure))
        return data

    def _to_write(self, chunk: memoryview) -> Buffer:
        if len(self._first_bytes) < len(TLS_ALERT):
            self._first_bytes += bytes(chunk[: len(TLS_ALERT)])
            if len(self._first_bytes) >= len(TLS_ALERT) and self._stdout.joined is not None and not self._wants_bytes:
                # They are known now: the rest need not be seen.
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

    async def _watch_stdout(self) -> None:
        await self._stdout.reader_gone()
        raise BrokenPipeError

    async def _watch_idle(self, limit_s: float) -> None:
        moved, since = self._socket.moved_bytes, time.monotonic()
        while (still := time.monotonic() - since) < limit_s:
            await asyncio.sleep(min(limit_s / IDLE_LOOKS, limit_s - still))
            if moved != self._socket.moved_bytes:
                moved, since = self._socket.moved_bytes, time.monotonic()
        raise IdleTimeout(f"nothing moved for {limit_s:g} s")


class _Tasks:
    """Tasks that run side by side; the first failure is the failure of all."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._seen: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    async def wait(self, timeout: float | None) -> bool:
        """Wait for one more task to end, and raise its error; False when the time is up."""
        running = [task for task in self._tasks if task not in self._seen]
        done, _ = await asyncio.wait(running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        self._seen |= done
        for task in done:
            task.result()
        return bool(done)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks, return_exceptions=True)
