"""Socket lifecycle: two halves and one phase.

Pure: no I/O, no clock. Events go in (what the application called, what the wire saw), effects come out (what
`sockets` and `wire` carry out). Everything that decides a state lives in this file; the questions "may I read?"
and "may I write?" are answered here too (`reading`, `writing`).

Source: RULES.md, H, C, D, S, N and W, with the differences V2, V5-V8, V12 and V16. A connection that was accepted is
always half-open, and `closed` goes by the connection (I10, I22, V23, V25).

| | states |
|---|---|
| read half  | OPEN · EOF (read) · PIPED (EOF seen by a pipe, API-R10) · CANCELLED |
| write half | OPEN · CLOSING (flushing, then our EOF) · CLOSED · ABORTED |
| phase      | OPENING · OPEN · CLOSING (`close()`) · UPGRADING (flushing clear text) · then, for good: |
|            | ENDED (both sides ended in order) · CLOSED · FAILED · UPGRADED |
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from cfcat.errors import UpgradeError

__all__ = [
    "Action",
    "Effect",
    "Event",
    "Lifecycle",
    "Phase",
    "ReadHalf",
    "Reading",
    "Reason",
    "WriteHalf",
    "Writing",
]


class _Name(Enum):
    """Hashed by identity, as it is compared: Enum's own hash is a call in Python, and each event asks thirty times."""

    __hash__ = object.__hash__


class Event(_Name):
    """What happened. The first group comes from the wire, the second from the application."""

    CONNECTED = auto()  # the connection is up; under TLS: the handshake is done (N1)
    CONNECT_FAILED = auto()  # it will never be (N4)
    PEER_EOF = auto()  # a reader has read EOF (H2); a FIN that nobody reads is no event
    PIPED_EOF = auto()  # a pipe has read EOF (API-R10)
    LOST = auto()  # a read or a write found the connection broken (API-R9, W10, T7)
    FLUSHED = auto()  # what an effect FLUSH_… asked for is done
    GONE = auto()  # both ends have ended on the wire, read or not; told of accepted connections (I22)

    END = auto()  # writer.close() (W6)
    FIN = auto()  # a relay passes TCP's FIN on: under TLS behind close_notify, or without one, which cuts TLS short
    ABORT = auto()  # writer.abort() (W8)
    SOURCE_FAILED = auto()  # what a pipe reads from broke: here it stops in the middle (V25)
    CANCEL = auto()  # reader.cancel() (API-R7)
    CLOSE = auto()  # socket.close() (C1)
    DROP = auto()  # socket.abort(): now, without order; nothing was queued
    DROP_QUEUED = auto()  # the same, and bytes for the peer are lost by it
    START_TLS = auto()  # socket.start_tls() (S2)


class Action(_Name):
    """What is to be done. FLUSH_… end with the event FLUSHED; the last one asked for counts."""

    RESOLVE_OPENED = auto()
    REJECT_OPENED = auto()
    FLUSH_THEN_END = auto()  # send what is queued, then our EOF: FIN, or close_notify
    FLUSH_THEN_FIN = auto()  # send what is queued, then TCP's FIN and nothing before it
    FLUSH_THEN_CLOSE = auto()  # from the next turn on: send what is queued, under TLS then close_notify
    FLUSH_THEN_UPGRADE = auto()  # from the next turn on: send what is queued
    WRITING_ENDED = auto()  # our EOF has been sent
    DROP_WRITES = auto()  # forget what is queued; each write fails with the reason
    STOP_READS = auto()  # a read that waits fails
    RELEASE_STREAMS = auto()  # readers and writers lose their locks to the upgrade (V8)
    END_STREAMS = auto()  # readers and writers learn that the socket was closed (C5), or of the reason
    CLOSE_WIRE = auto()
    RESET_WIRE = auto()
    HAND_OVER = auto()  # the wire belongs to the upgraded socket from here on (S5)
    FAIL_UPGRADE = auto()  # the upgraded socket fails with the same error (V12)
    RESOLVE_CLOSED = auto()
    REJECT_CLOSED = auto()  # with the reason


class Reason(_Name):
    """Why writes, streams or `closed` fail. `sockets` has the exception for each."""

    FAILURE = auto()  # what broke the connection, or kept it from coming about
    ABORT = auto()  # what `writer.abort()` was given
    CLOSED = auto()  # the socket was closed
    DROPPED = auto()  # it was dropped, and what was queued with it


class Effect(NamedTuple):
    """One effect with all the data it needs: the code that carries it out does not read the state."""

    action: Action
    reason: Reason | None = None


class Phase(_Name):
    OPENING = auto()
    OPEN = auto()
    CLOSING = auto()
    UPGRADING = auto()
    ENDED = auto()
    CLOSED = auto()
    FAILED = auto()
    UPGRADED = auto()


class ReadHalf(_Name):
    OPEN = auto()
    EOF = auto()
    PIPED = auto()
    CANCELLED = auto()


class WriteHalf(_Name):
    OPEN = auto()
    CLOSING = auto()
    CLOSED = auto()
    ABORTED = auto()


class Reading(_Name):
    """What a read meets."""

    FLOWING = auto()  # chunks, sooner or later
    DONE = auto()  # EOF
    FAILED = auto()  # what is left, then the error (V2)
    CLOSING = auto()  # C7
    RELEASED = auto()  # the upgrade took the streams (S6, V8)


class Writing(_Name):
    """What a write meets."""

    FLOWING = auto()
    ENDED = auto()  # W7, H3
    FAILED = auto()  # the first write gets the error, later ones 'has been closed' (N7, W10, W7)
    CLOSING = auto()  # C7
    RELEASED = auto()  # S6, V8


FINAL = frozenset({Phase.ENDED, Phase.CLOSED, Phase.FAILED, Phase.UPGRADED})
DROPS = frozenset({Event.DROP, Event.DROP_QUEUED})
FROM_WIRE = frozenset(
    {
        Event.CONNECTED,
        Event.CONNECT_FAILED,
        Event.PEER_EOF,
        Event.PIPED_EOF,
        Event.LOST,
        Event.FLUSHED,
        Event.GONE,
    }
)

# The phase after an event, where the event alone decides it. What is not in a table leaves the state as it is.
PHASE = {
    (Phase.OPENING, Event.CONNECTED): Phase.OPEN,
    (Phase.OPENING, Event.CONNECT_FAILED): Phase.FAILED,
    (Phase.CLOSING, Event.CONNECT_FAILED): Phase.FAILED,
    (Phase.UPGRADING, Event.CONNECT_FAILED): Phase.FAILED,
    (Phase.OPEN, Event.LOST): Phase.FAILED,
    (Phase.CLOSING, Event.LOST): Phase.FAILED,
    (Phase.UPGRADING, Event.LOST): Phase.FAILED,
    (Phase.OPENING, Event.CLOSE): Phase.CLOSING,
    (Phase.OPEN, Event.CLOSE): Phase.CLOSING,
    (Phase.ENDED, Event.CLOSE): Phase.CLOSED,
    (Phase.OPENING, Event.START_TLS): Phase.UPGRADING,
    (Phase.OPEN, Event.START_TLS): Phase.UPGRADING,
    (Phase.CLOSING, Event.START_TLS): Phase.UPGRADING,  # S14: the upgrade wins over an un-awaited close()
    (Phase.CLOSING, Event.FLUSHED): Phase.CLOSED,
    (Phase.UPGRADING, Event.FLUSHED): Phase.UPGRADED,
    (Phase.OPENING, Event.SOURCE_FAILED): Phase.CLOSED,
    (Phase.OPEN, Event.SOURCE_FAILED): Phase.CLOSED,
    (Phase.OPENING, Event.DROP): Phase.CLOSED,
    (Phase.OPENING, Event.DROP_QUEUED): Phase.CLOSED,
    (Phase.OPEN, Event.DROP): Phase.CLOSED,
    (Phase.OPEN, Event.DROP_QUEUED): Phase.CLOSED,
    (Phase.CLOSING, Event.DROP): Phase.CLOSED,
    (Phase.CLOSING, Event.DROP_QUEUED): Phase.CLOSED,
    (Phase.UPGRADING, Event.DROP): Phase.CLOSED,
    (Phase.UPGRADING, Event.DROP_QUEUED): Phase.CLOSED,
    (Phase.ENDED, Event.DROP): Phase.CLOSED,
    (Phase.ENDED, Event.DROP_QUEUED): Phase.CLOSED,
}
READ = {
    (ReadHalf.OPEN, Event.PEER_EOF): ReadHalf.EOF,
    (ReadHalf.OPEN, Event.PIPED_EOF): ReadHalf.PIPED,
    (ReadHalf.OPEN, Event.CANCEL): ReadHalf.CANCELLED,
}
WRITE = {
    (WriteHalf.OPEN, Event.END): WriteHalf.CLOSING,
    (WriteHalf.OPEN, Event.FIN): WriteHalf.CLOSING,
    (WriteHalf.CLOSING, Event.FLUSHED): WriteHalf.CLOSED,
    (WriteHalf.OPEN, Event.ABORT): WriteHalf.ABORTED,
    (WriteHalf.CLOSING, Event.ABORT): WriteHalf.ABORTED,
    (WriteHalf.OPEN, Event.SOURCE_FAILED): WriteHalf.ABORTED,
    (WriteHalf.CLOSING, Event.SOURCE_FAILED): WriteHalf.ABORTED,
}
# The effects of an event in every state in which it is possible, and those of a write half that has changed.
ALWAYS: dict[Event, tuple[Effect, ...]] = {
    Event.CONNECTED: (Effect(Action.RESOLVE_OPENED),),
    Event.CANCEL: (Effect(Action.STOP_READS),),
    Event.END: (Effect(Action.FLUSH_THEN_END),),
    Event.FIN: (Effect(Action.FLUSH_THEN_FIN),),
}
WRITE_HALF: dict[WriteHalf, tuple[Effect, ...]] = {
    WriteHalf.CLOSED: (Effect(Action.WRITING_ENDED),),
    WriteHalf.ABORTED: (Effect(Action.DROP_WRITES, Reason.ABORT),),
}
# The effects of entering a phase, after `_enter` has settled `opened` and `closed`.
ENTER: dict[Phase, tuple[Effect, ...]] = {
    Phase.CLOSING: (Effect(Action.FLUSH_THEN_CLOSE),),
    Phase.UPGRADING: (Effect(Action.RELEASE_STREAMS), Effect(Action.FLUSH_THEN_UPGRADE)),
    Phase.ENDED: (Effect(Action.CLOSE_WIRE),),
    Phase.CLOSED: (Effect(Action.STOP_READS), Effect(Action.END_STREAMS), Effect(Action.CLOSE_WIRE)),
    Phase.FAILED: (Effect(Action.DROP_WRITES, Reason.FAILURE), Effect(Action.CLOSE_WIRE)),
    Phase.UPGRADED: (Effect(Action.HAND_OVER),),
}
# What `abort()` brings with it instead, whatever was under way.
DROPPED = (
    Effect(Action.DROP_WRITES, Reason.CLOSED),
    Effect(Action.STOP_READS),
    Effect(Action.END_STREAMS),
    Effect(Action.RESET_WIRE),
)
# What a pipe brings with it whose source broke: the peer must not take the part for the whole.
CUT = (Effect(Action.STOP_READS), Effect(Action.END_STREAMS, Reason.ABORT), Effect(Action.RESET_WIRE))
# S1's texts, in the order in which the reference checks.
ON_TLS = "Cannot startTls on a TLS socket."
CLOSED_BEFORE = "The connection was closed before startTls could be started."
TWICE = "startTls has already been called on this socket."
NOT_STARTTLS = "The `secureTransport` socket option must be set to 'starttls' for startTls to be used."

READING = {
    Phase.CLOSING: Reading.CLOSING,
    Phase.CLOSED: Reading.CLOSING,
    Phase.UPGRADING: Reading.RELEASED,
    Phase.UPGRADED: Reading.RELEASED,
}
WRITING = {
    Phase.CLOSING: Writing.CLOSING,
    Phase.CLOSED: Writing.CLOSING,
    Phase.UPGRADING: Writing.RELEASED,
    Phase.UPGRADED: Writing.RELEASED,
    Phase.FAILED: Writing.FAILED,
}


class Lifecycle:
    """The state of one socket.

    Invariants, over every sequence of events: `opened` settles once at most; `closed` settles once at most, and
    always on entering a final phase; our EOF is asked for once at most.
    """

    def __init__(self, *, secure_transport: str, allow_half_open: bool, accepted: bool = False) -> None:
        self.secure_transport = secure_transport
        self.allow_half_open = allow_half_open
        self.accepted = accepted
        self.gone = False  # both ends have ended on the wire, read or not
        self.phase = Phase.OPENING
        self.read = ReadHalf.OPEN
        self.write = WriteHalf.OPEN
        self.opened = False  # has `opened` settled?
        self.closed = False  # has `closed` settled?

    @property
    def reading(self) -> Reading:
        """What a read meets now."""
        # Asked for every chunk, mostly in this phase: to look an Enum up costs two calls in Python.
        if self.phase is not Phase.OPEN and self.phase in READING:
            return READING[self.phase]
        if self.read is not ReadHalf.OPEN:
            return Reading.DONE
        return Reading.FAILED if self.phase is Phase.FAILED else Reading.FLOWING

    @property
    def writing(self) -> Writing:
        """What a write meets now."""
        if self.phase is not Phase.OPEN and self.phase in WRITING:
            return WRITING[self.phase]
        return Writing.FLOWING if self.write is WriteHalf.OPEN else Writing.ENDED

    @property
    def can_upgrade(self) -> bool:
        """Will START_TLS upgrade? On a finished or failed socket, start_tls() returns a new socket that fails (S14,
        V12)."""
        return self.phase not in FINAL and self.write is WriteHalf.OPEN

    def check_start_tls(self) -> None:
        """Raise the error of `start_tls()`, if it must fail (S1, V16). Nothing has changed by then."""
        if self.secure_transport == "on":
            raise UpgradeError(ON_TLS)
        if self.phase is Phase.CLOSED:
            raise UpgradeError(CLOSED_BEFORE)
        if self.phase in (Phase.UPGRADING, Phase.UPGRADED):
            raise UpgradeError(TWICE)
        if self.secure_transport != "starttls":
            raise UpgradeError(NOT_STARTTLS)

    def on(self, event: Event) -> list[Effect]:
        """Take one event; return what is to be done, in order.

        News from the wire in a final phase is late, and ignored. An event that the application could not have
        caused in this state is a bug.

        Raises:
            RuntimeError: the event is impossible here.
        """
        if event in FROM_WIRE and self.phase in FINAL:
            return []
        is_impossible = IMPOSSIBLE.get(event)
        if is_impossible is not None and is_impossible(self):
            raise RuntimeError(f"{event.name} in {self.phase.name}, {self.read.name}, {self.write.name}")
        upgrading = self.phase is Phase.UPGRADING
        self.read = READ.get((self.read, event), self.read)
        before, self.write = self.write, WRITE.get((self.write, event), self.write)
        effects = list(ALWAYS.get(event, ()))
        if self.write is not before:
            effects += WRITE_HALF.get(self.write, ())
        if event is Event.CONNECTED:
            self.opened = True
        if event is Event.GONE:
            self.gone = True
            effects += self._resolve_closed()
        if event in DROPS and self.phase is Phase.FAILED:
            effects.append(Effect(Action.END_STREAMS, Reason.FAILURE))  # what is left will not be read
        phase = PHASE.get((self.phase, event), self.phase)
        if phase is not self.phase:
            effects += self._enter(phase, event)
            if upgrading and phase in (Phase.FAILED, Phase.CLOSED):
                effects.append(Effect(Action.FAIL_UPGRADE))
        return effects + self._join()

    def _resolve_closed(self) -> list[Effect]:
        was_closed, self.closed = self.closed, True
        return [] if was_closed else [Effect(Action.RESOLVE_CLOSED)]

    def _join(self) -> list[Effect]:
        """The rules that look at both halves (H1, H5, D4, W9; I22)."""
        if self.accepted and self.allow_half_open:
            return self._enter(Phase.ENDED, None) if self._accepted_is_over() and self.phase is Phase.OPEN else []
        if self.read is not ReadHalf.EOF or self.allow_half_open or self.phase is not Phase.OPEN:
            return []
        if self.write is WriteHalf.OPEN:
            self.write = WriteHalf.CLOSING
            return [Effect(Action.FLUSH_THEN_END)]
        if self.write is WriteHalf.CLOSED:
            return self._enter(Phase.ENDED, None)
        if self.write is WriteHalf.ABORTED and not self.closed:
            self.closed = True  # W9: `closed` rejects with the reason, and the peer hears nothing
            return [Effect(Action.REJECT_CLOSED, Reason.ABORT)]
        return []

    def _accepted_is_over(self) -> bool:
        """Nothing can come or go any more. Under TLS the two close_notify do not end the connection (I38)."""
        both_ended = self.read in (ReadHalf.EOF, ReadHalf.PIPED) and self.write is WriteHalf.CLOSED
        return both_ended and (self.gone or self.secure_transport != "on")

    def _enter(self, phase: Phase, event: Event | None) -> list[Effect]:
        self.phase = phase
        effects = list(ENTER.get(phase, ()))
        if phase not in FINAL:
            return effects
        if event in DROPS:
            effects = list(DROPPED)
        elif event is Event.SOURCE_FAILED:
            effects = list(CUT)
        elif phase is Phase.CLOSED and self.accepted and self.write is WriteHalf.ABORTED:
            effects[-1] = Effect(Action.RESET_WIRE)  # V23: an end in order would hide what was dropped
        if not self.opened:
            self.opened = True
            effects.insert(0, Effect(Action.REJECT_OPENED))
        if not self.closed:
            self.closed = True
            effects.append(self._settle_closed(phase, event))
        return effects

    def _settle_closed(self, phase: Phase, event: Event | None) -> Effect:
        if phase is Phase.FAILED:
            return Effect(Action.REJECT_CLOSED, Reason.FAILURE)
        if event is Event.DROP_QUEUED:
            return Effect(Action.REJECT_CLOSED, Reason.DROPPED)
        # V7: after an abort, close() closes the connection and `closed` rejects with the reason.
        if phase is Phase.CLOSED and self.write is WriteHalf.ABORTED and event is not Event.DROP:
            return Effect(Action.REJECT_CLOSED, Reason.ABORT)
        return Effect(Action.RESOLVE_CLOSED)


# What the application cannot have caused, and the wire cannot have seen.
IMPOSSIBLE: dict[Event, Callable[[Lifecycle], bool]] = {
    Event.CONNECTED: lambda state: state.opened,
    Event.CONNECT_FAILED: lambda state: state.opened,
    Event.PEER_EOF: lambda state: not state.opened or state.read is not ReadHalf.OPEN,
    Event.PIPED_EOF: lambda state: not state.opened or state.read is not ReadHalf.OPEN,
    Event.LOST: lambda state: not state.opened,
    Event.FLUSHED: lambda state: not state.opened,
    Event.GONE: lambda state: not (state.opened and state.accepted),
    Event.END: lambda state: state.writing is not Writing.FLOWING,
    Event.FIN: lambda state: state.phase is not Phase.OPEN or state.write not in (WriteHalf.OPEN, WriteHalf.CLOSED),
    Event.START_TLS: lambda state: not state.can_upgrade,
}
