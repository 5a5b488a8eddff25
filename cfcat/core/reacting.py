"""The body of a socket: its parts, and the one place where lifecycle, streams and wire meet.

What the application calls and what the wire sees become events; the lifecycle answers with effects; each action is
carried out by one method here, which is given the reason and does not look at the state. `opening` makes the
connection, `sockets` has the API. Source: connect-semantics rules C, D, S; differences V2, V5-V8, V12, V13.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from cfcat.core.address import Target
from cfcat.core.job import Job
from cfcat.core.lifecycle import FINAL, Action, Event, Lifecycle, Phase, Reason
from cfcat.core.loop import running_loop
from cfcat.core.options import SocketOptions
from cfcat.core.promise import Promise
from cfcat.core.readable import ReadableStream
from cfcat.core.receiving import Receiving
from cfcat.core.sending import Sending
from cfcat.core.streams import READER_RELEASED, SOCKET_CLOSED, WRITER_RELEASED, Ended
from cfcat.core.wire import HandshakeWrapper, Wire
from cfcat.core.writable import WritableStream
from cfcat.errors import AbortError, ClosedError, InjectionError, SocketError, without_frames

if TYPE_CHECKING:
    from cfcat.core.tls import TlsCodec

__all__ = ["Reacting", "SocketInfo"]


class SocketInfo(NamedTuple):
    """What `opened` resolves with: both ends as `ip:port`, IPv6 in brackets (V1, not N2)."""

    remote_address: str
    local_address: str


class Reacting(ABC):
    """One connection, or its part before or after an upgrade, as streams and wire know it.

    Invariants:
        - Whatever happens comes in by `on()`, and nothing but `on()` carries out effects.
        - `opened` and `closed` settle once each; the connection counts for the policy until the last phase.
        - Once all is over and read, the streams know a snapshot (`streams.Ended`) in place of the socket.

    The streams and the wire call `on()` and `drained()`; the other parts of the socket call the rest.
    """

    readable: ReadableStream
    writable: WritableStream
    _wire: Wire

    # What most sockets never have is the class's until then: an attribute of its own costs each socket memory.
    round_trip_s = 0.0  # how long the TCP connect took; about one round trip
    _error: BaseException | None = None  # why it failed; None: it was closed
    _upgrade: Reacting | None = None
    _upgraded = False
    _has_aborted = False  # by the caller
    _dropped_bytes = 0  # by that
    _is_letting_go = False
    _wrapper: HandshakeWrapper | None = None
    _secured: TlsCodec | None = None  # after the handshake
    _turn: Promise[None] | None = None  # starts the connection once the policy has a free place
    _leave: Callable[[], None] | None = None  # frees this connection's slot

    def __init__(
        self,
        target: Target,
        options: SocketOptions,
        *,
        origin: Reacting | None = None,
        accepted: bool = False,
        relays: bool = False,
    ) -> None:
        self.loop = running_loop()
        self._relays = relays
        self._target = target
        self._options = options
        self._accepted = accepted
        self._lifecycle = Lifecycle(
            secure_transport=options.secure_transport, allow_half_open=options.allow_half_open, accepted=accepted
        )
        self._opened: Promise[SocketInfo] = Promise(self.loop)
        self._closed: Promise[None] = Promise(self.loop)
        self._over: Promise[None] = Promise(self.loop)
        self._info: SocketInfo | None = None
        self._origin = origin  # the socket that this one is the upgrade of
        self._opening: Job[None] | None = None
        self.readable = ReadableStream(self)
        self.writable = WritableStream(self, options.high_water_mark)
        self._wire = Wire(self.readable, self.writable, self.on, accepted=accepted, relays=relays)
        self._wire.notes_arrivals = accepted and options.secure_transport == "starttls"
        # For the streams, which ask for each chunk: what a read and a write meet, where bytes come from and go to.
        self.reading, self.writing = self._lifecycle.reading, self._lifecycle.writing
        self.receiving: Receiving | None = self._wire.receiving  # None: all is over
        self.sending: Sending | None = self._wire.sending

    @abstractmethod
    def abort(self) -> None:
        """Drop everything now."""

    @abstractmethod
    def _begin_upgraded(self) -> None:
        """The wire is ours, after the socket before us: begin the handshake."""

    @property
    def error(self) -> BaseException:
        """For the streams: why the socket failed."""
        if self._error is None:
            self._error = ClosedError(SOCKET_CLOSED)
        return self._error

    def on(self, event: Event, error: BaseException | None = None) -> None:
        """Take an event and carry out what follows from it."""
        if error is not None and self._lifecycle.phase not in FINAL:
            if isinstance(error, SocketError):
                without_frames(error)
            self._error = error
        effects = self._lifecycle.on(event)
        self.reading, self.writing = self._lifecycle.reading, self._lifecycle.writing
        for effect in effects:
            CARRY_OUT[effect.action](self, effect.reason)
        if self._lifecycle.phase in FINAL:
            self._over.resolve(None)
            if self._leave is not None:
                self._leave()
            self.drained()

    def drained(self) -> None:
        """For `readable`: nothing may be left to read.

        When all is over, nothing that we have refers to us any more, so that we go with our last user. That comes in
        the next turn: whoever has found the end goes on with the wire until it returns.
        """
        phase = self._lifecycle.phase
        if phase not in FINAL or (phase is Phase.FAILED and not self.readable.outcome.settled):
            return
        if self.receiving is None:
            self.readable.owner = self.writable.owner = Ended(self)  # something has changed since
        elif not self._is_letting_go:
            self._is_letting_go = True
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self.loop.call_soon(self._let_go)

    def _let_go(self) -> None:
        self._wire.let_go()
        self.receiving = self.sending = None
        self._origin = None
        self.readable.owner = self.writable.owner = Ended(self)

    # ---- effects, a method for each action

    def _exception(self, reason: Reason | None) -> BaseException:
        if reason is Reason.FAILURE:
            return self.error
        if reason is Reason.DROPPED:
            return ClosedError(SOCKET_CLOSED, f"{self._dropped_bytes} bytes were not sent")
        if reason is Reason.ABORT:
            return self.writable.abort_reason or AbortError(None)
        return ClosedError(SOCKET_CLOSED)

    def _resolve_opened(self, _: Reason | None) -> None:
        assert self._info is not None
        self._opened.resolve(self._info)
        self._wire.open()

    def _reject_opened(self, _: Reason | None) -> None:
        self._opened.reject(self.error)
        self.readable.fail(self.error)  # V2, not N6: an error must not look like the end of data

    def _drop_writes(self, reason: Reason | None) -> None:
        if self.sending is None:
            return  # nothing is queued
        self.sending.settle_writes()
        self.writable.drop(self._exception(reason))
        if reason is Reason.FAILURE:
            self._wire.lost = self.error
        self.sending.drop_unsent()

    def _stop_reads(self, _: Reason | None) -> None:
        if self.readable.read is not None:
            self.readable.stop(ClosedError(SOCKET_CLOSED))

    def _release_streams(self, _: Reason | None) -> None:
        self.readable.fail(ClosedError(READER_RELEASED))
        self.writable.released(ClosedError(WRITER_RELEASED))

    def _end_streams(self, reason: Reason | None) -> None:
        self.readable.outcome.end(None if reason is None else self._exception(reason))
        self.writable.socket_closed()

    def _hand_over(self, _: Reason | None) -> None:
        """The flush is done: the old socket ends, the new one takes the wire (S5, S6)."""
        upgraded = self._upgrade
        assert upgraded is not None
        self._upgraded = True
        upgraded._info = self._info
        upgraded.round_trip_s = self.round_trip_s
        upgraded._leave, self._leave = self._leave, None
        early = b""
        if self._accepted:
            early = self.readable.take_returned()
            unread = self._wire.injected_bytes(len(early))
        else:
            unread = self.readable.returned_bytes + self._wire.unread_bytes()
        self._wire.move_to(upgraded._wire, early)
        upgraded._origin = None
        if unread:
            text = f"{unread} bytes of clear text were unread at the upgrade to TLS (possible injection)"
            upgraded.on(Event.CONNECT_FAILED, InjectionError(text, unread))
        else:
            upgraded._begin_upgraded()

    def _reset_wire(self, _: Reason | None) -> None:
        if self._origin is not None and not self._wire.is_attached:
            self._origin.abort()  # the connection still belongs to the old socket
        if self._opening is not None:
            self._opening.cancel()
        if self.receiving is not None:
            self._wire.reset()

    def _close_wire(self, _: Reason | None) -> None:
        if self.receiving is not None:
            self._wire.close()

    def _fail_upgrade(self, _: Reason | None) -> None:
        assert self._upgrade is not None
        self._upgrade.on(Event.CONNECT_FAILED, self.error)

    def _reject_closed(self, reason: Reason | None) -> None:
        self._closed.reject(self._exception(reason))


CARRY_OUT: dict[Action, Callable[[Reacting, Reason | None], None]] = {
    Action.RESOLVE_OPENED: Reacting._resolve_opened,
    Action.REJECT_OPENED: Reacting._reject_opened,
    Action.FLUSH_THEN_END: lambda socket, _: socket._wire.sending.flush_then_end(),
    Action.FLUSH_THEN_FIN: lambda socket, _: socket._wire.sending.flush_then_fin(),
    Action.FLUSH_THEN_CLOSE: lambda socket, _: socket._wire.sending.flush_then_close_notify(),
    Action.FLUSH_THEN_UPGRADE: lambda socket, _: socket._wire.sending.flush(),
    Action.WRITING_ENDED: lambda socket, _: socket.writable.ended(),
    Action.DROP_WRITES: Reacting._drop_writes,
    Action.STOP_READS: Reacting._stop_reads,
    Action.RELEASE_STREAMS: Reacting._release_streams,
    Action.END_STREAMS: Reacting._end_streams,
    Action.CLOSE_WIRE: Reacting._close_wire,
    Action.RESET_WIRE: Reacting._reset_wire,
    Action.HAND_OVER: Reacting._hand_over,
    Action.FAIL_UPGRADE: Reacting._fail_upgrade,
    Action.RESOLVE_CLOSED: lambda socket, _: socket._closed.resolve(None),
    Action.REJECT_CLOSED: Reacting._reject_closed,
}
