"""One connection of a session, from its opening over its upgrade to its end.

It holds *the current* socket (`start_tls()` makes a new one), the one task that reads from it, and what came. It
tells its watcher of all that moves. It decides nothing about states: those are the socket's.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any
from typing import Protocol as Interface

from cfcat.core.choices import Shutdown
from cfcat.core.codec import TLS_HELLO
from cfcat.core.lifecycle import Reading, Writing
from cfcat.core.options import SocketOptions
from cfcat.core.ready import stay
from cfcat.core.sockets import Socket
from cfcat.core.waiting import STALL_S, while_moving
from cfcat.errors import CommandError, CrossedWiresError, InjectionError, LostError, SocketError
from cfcat.pipe.hold import HeldEnd
from cfcat.protocols import Protocol
from cfcat.protocols.by_hand import check_go_ahead
from cfcat.protocols.upgrade import Earlier, UpgradeStep, open_upgraded, upgrade
from cfcat.record.events import Direction
from cfcat.repl.memory import Memory
from cfcat.repl.receiver import Receiver

__all__ = ["Connection", "Watcher"]


class Watcher(Interface):
    """Who is told of what happens on a connection."""

    def on_sent(self, data: bytes) -> None:
        """Data was given to the socket."""

    async def on_received(self, data: bytes) -> None:
        """It came; nothing more is read before this returns."""

    def on_held(self, count: int) -> None:
        """A client has begun TLS before we have; so many bytes of it are kept."""

    def on_speaks_tls(self) -> None:
        """A client began with TLS, and was shown as clear text."""

    def on_dialog(self, direction: Direction, data: bytes) -> None:
        """A piece of a STARTTLS dialog."""

    def on_sending_ended(self) -> None:
        """Our side ended, while the peer's had not."""

    def on_end(self, error: BaseException | None, told: bool) -> None:
        """The peer's end was read, or the connection broke; `told`: a command will report the error, so do not show it.

        Not called for an end that we made.
        """


class Connection:
    """A connection, dialed or accepted: `socket`, which is opening or open. `target`: what messages call it. `helo`:
    as for `open_upgraded`.

    `error`: what broke it, or None. `opened`: did it come about? `opening_s`, `tls_s`: how long that took, and how
    long its upgrade. `spoken`: the protocol of that upgrade's dialog. `over` is set when nothing more is read.
    """

    def __init__(
        self, socket: Socket, target: str, options: SocketOptions, watcher: Watcher, *, helo: str | None = None
    ) -> None:
        self.target = target
        self.options = options
        self.socket = socket
        self.memory = Memory()
        self.sent_bytes = 0
        self.received_bytes = 0
        self.remote_address = ""
        self.local_address = ""
        self.error: BaseException | None = None
        self.opened = False
        self.opening_s: float | None = None
        self.tls_s: float | None = None
        self.spoken: str | None = None
        self.over = asyncio.Event()
        self._watcher = watcher
        self._helo = helo
        self._begun_s = self._handshake_begun_s = time.monotonic()
        self._receiver: Receiver | None = None
        self._script_end = HeldEnd()
        self._quiet = asyncio.Event()  # no command in flight will report the failure
        self._quiet.set()
        self._told: BaseException | None = None  # the error that a command has raised
        self._held = bytearray()  # a client's hello, which came before `:starttls` was typed

    # ---- the beginning

    async def open(self, starttls: Protocol | None = None, *, stays: bool = False) -> None:
        """Wait for the connection; with a protocol run its dialog and upgrade, all under one deadline.

        `stays`: wait, too, until it has lasted for a moment. Nothing is read before `listen()`.

        Raises:
            ConnectError, TlsError, DialogError, InjectionError: as `Socket.opened` and `open_upgraded()`.
            EarlyEndError: it did not last.
        """
        try:
            if starttls is not None:
                await open_upgraded(
                    self.socket,
                    self.target,
                    self.options,
                    starttls,
                    helo=self._helo,
                    heard=self._heard,
                    entered=self._entered,
                )
                self._has_tls(starttls)
            self.remote_address, self.local_address = await self.socket.opened
            if self.opening_s is None:
                self.opening_s = self.age_s
            if stays:
                await stay(self.socket)
        except BaseException:
            self.socket.abort()
            self._finish()
            raise

    def listen(self) -> None:
        """Begin to read, once it is open."""
        self.opened = True
        self._listen()

    @property
    def age_s(self) -> float:
        """How long it has been there."""
        return time.monotonic() - self._begun_s

    @property
    def is_secure(self) -> bool:
        """Does what is sent go through TLS?"""
        return self.socket.secure_transport == "on"

    # ---- sending

    def need_writing(self) -> None:
        """Raises CommandError where nothing can be sent."""
        if self.socket.writing is not Writing.FLOWING:
            if self.socket.reading is Reading.FLOWING:
                raise CommandError("our side of the connection has ended", ":open begins a new one")
            raise CommandError("the connection is closed", ":open connects again")

    async def send(self, data: bytes) -> None:
        """Send it; returns when the kernel has it. Cancelling does not take it back.

        Raises:
            CommandError: the connection cannot be sent on.
            LostError: it broke.
        """
        self.need_writing()
        await self._let_go()
        self.sent_bytes += len(data)
        self._script_end.opening.feed(data)
        self.memory.ask(data)
        self._watcher.on_sent(data)
        writer = self.socket.writable.get_writer()
        try:
            with self._telling():
                await self._until_sent(asyncio.ensure_future(writer.write(data)))
        finally:
            writer.release_lock()

    async def _until_sent(self, sending: asyncio.Future[None]) -> None:
        """Wait for it; after the peer's end has ended our side too, only while bytes still move."""
        over = asyncio.ensure_future(self.over.wait())
        either: set[asyncio.Future[Any]] = {sending, over}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done() and self.socket.writing is not Writing.FLOWING:
                await self._while_moving(sending)
            await sending
        finally:
            over.cancel()
            sending.cancel()

    async def _while_moving(self, operation: asyncio.Future[None]) -> None:
        """Wait for it as long as bytes move; drop the connection when none do for STALL_S. Raises LostError."""
        if not await while_moving(operation, lambda: self.socket.moved_bytes):
            self.socket.abort()
            raise LostError(detail=f"the peer took nothing more for {STALL_S:g} s", sending=True)

    async def end_of_script(self, shutdown: Shutdown) -> None:
        """Nothing more will be sent: end our side, as soon as that cannot cost the answer, where it has not ended.

        Raises:
            ClosedError: the peer's end was read meanwhile.
            LostError: the connection broke.
        """
        if self.socket.writing is not Writing.FLOWING:
            return
        due = self._script_end.is_due(
            shutdown, self.socket, self.sent_bytes, is_stalled=self._is_stalled, held=lambda: None
        )
        if await due and self.socket.writing is Writing.FLOWING:
            await self.end()

    def check_answered(self) -> None:
        """Raises UnansweredError where an HTTP request was sent, and the peer has ended without a byte."""
        self._script_end.check_answered(self.socket)

    def _is_stalled(self) -> bool:
        return self._receiver is not None and self._receiver.is_stalled

    async def end(self) -> None:
        """End our side: FIN, or under TLS close_notify alone.

        Raises:
            CommandError: it has ended already.
            LostError: the connection broke.
        """
        self.need_writing()
        with self._telling():
            await self.socket.writable.close()
        self._watcher.on_sending_ended()
        self._close_if_done()

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """An error inside this block is reported by the command, so the watcher does not get it."""
        self._quiet.clear()
        try:
            yield
        except SocketError as error:
            self._told = error
            raise
        finally:
            self._quiet.set()

    # ---- receiving

    def _listen(self) -> None:
        self._receiver = Receiver(self.socket.readable, self._take, self._end, self._receiver)

    async def _take(self, chunk: bytes) -> None:
        if self._is_hello(chunk):
            self._held += chunk
            self._watcher.on_held(len(self._held))
            return
        await self._show(chunk)

    def _is_hello(self, chunk: bytes) -> bool:
        """Is this a client's TLS, right behind the go-ahead that was typed, or more of it?"""
        if not self.socket.accepted or self.socket.secure_transport != "starttls":
            return False
        is_first_answer = bool(self.sent_bytes) and not self.memory.answer
        return bool(self._held) or (is_first_answer and chunk.startswith(TLS_HELLO))

    async def _let_go(self) -> None:
        """Show what was held as a client's hello: nobody has upgraded, so it is data."""
        held, self._held = bytes(self._held), bytearray()
        if held:
            await self._show(held)

    async def _show(self, chunk: bytes) -> None:
        self._script_end.answer()
        await self._watcher.on_received(chunk)  # show first, so that `:expect` never matches bytes that were not shown
        self.received_bytes += len(chunk)
        self.memory.feed_first(chunk, unasked=not self.sent_bytes)
        was_known = self.memory.begins_with_tls_hello
        self.memory.feed(chunk)
        speaks_tls = self.memory.begins_with_tls_hello and not was_known
        if speaks_tls and self.socket.accepted and not self.is_secure:
            self._watcher.on_speaks_tls()

    async def _end(self, error: BaseException | None) -> None:
        """The peer's end has been read, or an error."""
        await self._let_go()
        if self.memory.begins_with_tls_alert and not self.is_secure:
            error = CrossedWiresError("the peer answered clear text with a TLS alert")
        self.error = error
        if error is None:
            self._script_end.peer_ended()
        else:
            self._script_end.note_failure(error)
        self._close_if_done()
        self._finish()
        await self._quiet.wait()
        self._watcher.on_end(error, error is not None and error is self._told)

    def _close_if_done(self) -> None:
        """With half-open, both ends alone leave a socket open."""
        if self.socket.reading is not Reading.FLOWING and self.socket.writing is not Writing.FLOWING:
            self.socket.close()

    def _finish(self) -> None:
        self.memory.end()
        self.over.set()

    # ---- the upgrade

    async def start_tls(self, protocol: Protocol | None) -> None:
        """Upgrade in place: at once, or after the dialog of a protocol.

        Whatever fails before the ClientHello leaves the session in clear text, but for injected bytes; whatever fails
        after it is the end of the connection.

        Raises:
            CommandError: it cannot be upgraded.
            DialogError, InjectionError, TlsError, ConnectTimeout: the peer, or an attacker, is at fault.
        """
        self._need_upgrade()
        try:
            if self._receiver is not None:
                await self._receiver.stop()
            if self._held:
                self.socket.readable.give_back(bytes(self._held))
                self._held.clear()
            if protocol is None and not self.socket.accepted:
                last = self.memory.asked.rstrip(b"\r\n").rpartition(b"\n")[2]
                check_go_ahead(last, self.memory.answer)
            await upgrade(
                self.socket,
                self.target,
                self.options,
                protocol,
                earlier=Earlier(self.memory.first, self.memory.unasked),
                helo=self._helo,
                heard=self._heard,
                entered=self._entered,
            )
            self._has_tls(protocol)
        except BaseException as error:
            if self.is_secure or isinstance(error, InjectionError):
                self.error = error
                self.socket.abort()
                self._finish()
            raise
        finally:
            if not self.over.is_set():
                self._listen()

    def _need_upgrade(self) -> None:
        self.need_writing()
        if self.tls_s is not None:
            raise CommandError("TLS is up already; a connection is upgraded once", ":tls shows it")
        if self.is_secure:
            raise CommandError("the connection was opened with --tls on: TLS is up already", ":tls shows it")
        if self.socket.secure_transport == "off":
            text = "the connection was opened with --tls off, so it cannot be upgraded"
            hint = "reconnect with :open --tls starttls (on the command line: cfcat --tls starttls)"
            raise CommandError(text, hint)
        if self.socket.reading is not Reading.FLOWING:
            raise CommandError("the peer has ended; there is nobody to start TLS with", ":open connects again")

    def _entered(self, step: UpgradeStep, socket: Socket) -> None:
        """A step of opening or upgrading begins, on this socket."""
        self.socket = socket
        if step == "tls":
            self._handshake_begun_s = time.monotonic()
        elif self.opening_s is None:
            self.opening_s = self.age_s

    def _has_tls(self, protocol: Protocol | None) -> None:
        self.tls_s = time.monotonic() - self._handshake_begun_s
        self.spoken = None if protocol is None else protocol.name
        # What was said in clear text counts for nothing any more.
        self.memory.forget()
        self._script_end = HeldEnd()

    def _heard(self, direction: Direction, data: bytes) -> None:
        if direction == "sent":
            self.sent_bytes += len(data)
        else:
            self.memory.feed_first(data, unasked=not self.sent_bytes)
            self.received_bytes += len(data)
        self._watcher.on_dialog(direction, data)

    # ---- the end

    async def close(self) -> None:
        """Close in order: what is queued goes out first, as long as the peer takes it.

        Raises:
            LostError: it took nothing for STALL_S, or the connection broke before all was sent.
        """
        await self._stop()
        closing = asyncio.ensure_future(self.socket.close())
        try:
            await self._while_moving(closing)
            if self.opened and self.error is None:
                await self.socket.closed
        except BaseException:
            closing.cancel()
            self.socket.abort()
            raise

    async def _stop(self) -> None:
        """Stop reading for good; what is being shown may end, unless it takes too long."""
        if self._receiver is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STALL_S):
                    await self._receiver.stop()
            await self._receiver.drop()
        self._finish()
