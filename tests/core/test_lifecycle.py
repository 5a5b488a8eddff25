"""The state machine: what holds over every sequence of events, and each rule by its number.

The machine is small and finite, and so is what the invariants have to remember of the past. So the walk goes
through the product of both, once through each edge: that covers every legal sequence of any length, in
milliseconds, where listing the sequences one by one ends at five or six events.
"""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from cfcat.core.lifecycle import (
    DROPS,
    FINAL,
    FROM_WIRE,
    Action,
    Effect,
    Event,
    Lifecycle,
    Phase,
    ReadHalf,
    Reading,
    Reason,
    WriteHalf,
    Writing,
)
from cfcat.errors import UpgradeError

FROM_APPLICATION = frozenset(Event) - FROM_WIRE
ABORTS = frozenset({Event.ABORT, Event.SOURCE_FAILED})
FLUSHES = frozenset({Action.FLUSH_THEN_END, Action.FLUSH_THEN_FIN, Action.FLUSH_THEN_CLOSE, Action.FLUSH_THEN_UPGRADE})
SETTLE_OPENED = frozenset({Action.RESOLVE_OPENED, Action.REJECT_OPENED})
SETTLE_CLOSED = frozenset({Action.RESOLVE_CLOSED, Action.REJECT_CLOSED})
END_OF_WIRE = frozenset({Action.CLOSE_WIRE, Action.RESET_WIRE})
# What may still be let go of once the socket has come to its end.
LETTING_GO = frozenset({Action.STOP_READS, Action.DROP_WRITES, Action.END_STREAMS}) | END_OF_WIRE
# A half never goes back.
AFTER_READ = {
    ReadHalf.OPEN: frozenset(ReadHalf),
    ReadHalf.EOF: frozenset({ReadHalf.EOF}),
    ReadHalf.PIPED: frozenset({ReadHalf.PIPED}),
    ReadHalf.CANCELLED: frozenset({ReadHalf.CANCELLED}),
}
AFTER_WRITE = {
    WriteHalf.OPEN: frozenset(WriteHalf) - {WriteHalf.CLOSED},
    WriteHalf.CLOSING: frozenset({WriteHalf.CLOSING, WriteHalf.CLOSED, WriteHalf.ABORTED}),
    WriteHalf.CLOSED: frozenset({WriteHalf.CLOSED}),
    WriteHalf.ABORTED: frozenset({WriteHalf.ABORTED}),
}


def named(value: object) -> str:
    """The name of a test's parameter."""
    if isinstance(value, Event):
        return value.name
    return "+".join(map(named, value)) or "nothing" if isinstance(value, tuple) else str(value)


def machine(*events: Event, half_open: bool = False, transport: str = "starttls", accepted: bool = False) -> Lifecycle:
    """A machine to which these events have happened."""
    made = Lifecycle(secure_transport=transport, allow_half_open=half_open, accepted=accepted)
    for event in events:
        made.on(event)
    return made


# ------------------------------------------------------------------------------------- every sequence


@dataclass(frozen=True)
class Past:
    """What the invariants remember of a sequence."""

    opened: int = 0  # how often it was settled
    closed: int = 0
    end_asked: int = 0  # our EOF
    end_sent: int = 0
    handed_over: int = 0
    upgrades_failed: int = 0
    flushing: bool = False  # a flush was asked for, and FLUSHED has not come

    def after(self, event: Event, effects: list[Effect]) -> Past:
        actions = [effect.action for effect in effects]
        count = actions.count
        flushing = self.flushing and event is not Event.FLUSHED
        return replace(
            self,
            opened=self.opened + sum(map(count, SETTLE_OPENED)),
            closed=self.closed + sum(map(count, SETTLE_CLOSED)),
            end_asked=self.end_asked
            + count(Action.FLUSH_THEN_END)
            + (not self.end_sent and count(Action.FLUSH_THEN_FIN)),
            end_sent=self.end_sent + count(Action.WRITING_ENDED),
            handed_over=self.handed_over + count(Action.HAND_OVER),
            upgrades_failed=self.upgrades_failed + count(Action.FAIL_UPGRADE),
            flushing=flushing or bool(FLUSHES & set(actions)),
        )


@dataclass(frozen=True)
class Step:
    """One edge of the walk: an event, the machine before and after it, and what it asked for."""

    path: tuple[Event, ...]  # one of the ways that lead here, this event included
    before: Lifecycle
    after: Lifecycle
    effects: list[Effect]
    past: Past  # this event included

    @property
    def event(self) -> Event:
        return self.path[-1]

    @property
    def actions(self) -> list[Action]:
        return [effect.action for effect in self.effects]

    def __str__(self) -> str:
        names = ", ".join(event.name for event in self.path)
        return f"after {names}: {[action.name for action in self.actions]} in {vars(self.after)}"


def refused_by_contract(state: Lifecycle, past: Past, event: Event) -> bool:
    """Would neither the wire nor `Socket` ever send this event here, whatever the machine says?"""
    if event is Event.START_TLS:
        try:
            state.check_start_tls()
        except UpgradeError:
            return True
    return event is Event.FLUSHED and not past.flushing


@functools.cache
def walk(transport: str, half_open: bool, accepted: bool) -> tuple[Step, ...]:
    """Every edge that a legal sequence of events can take, each once."""
    return tuple(_walk(transport, half_open, accepted))


def _walk(transport: str, half_open: bool, accepted: bool) -> Iterator[Step]:
    start = machine(half_open=half_open, transport=transport, accepted=accepted)
    waiting: list[tuple[tuple[Event, ...], Lifecycle, Past]] = [((), start, Past())]
    seen = set()
    while waiting:
        path, state, past = waiting.pop(0)
        for event in Event:
            if refused_by_contract(state, past, event):
                continue
            after = copy.copy(state)
            try:
                effects = after.on(event)
            except RuntimeError:
                continue
            step = Step((*path, event), state, after, effects, past.after(event, effects))
            yield step
            key = (*vars(after).values(), step.past)
            if key not in seen:
                seen.add(key)
                waiting.append((step.path, after, step.past))


every_socket = pytest.mark.parametrize(
    ("transport", "half_open", "accepted"),
    list(itertools.product(("off", "on", "starttls"), (False, True), (False, True))),
    ids=lambda value: str(value),
)


@every_socket
def test_every_sequence_settles_opened_and_closed_once(transport: str, half_open: bool, accepted: bool) -> None:
    """At most once each; both have settled in a final phase; the flags say what was done."""
    for step in walk(transport, half_open, accepted):
        assert (step.past.opened, step.past.closed) == (step.after.opened, step.after.closed), str(step)
        if step.after.phase in FINAL:
            assert step.past.opened == step.past.closed == 1, str(step)
        if Action.RESOLVE_OPENED in step.actions:
            assert step.event is Event.CONNECTED, str(step)
            assert step.actions[0] is Action.RESOLVE_OPENED, str(step)


@every_socket
def test_every_sequence_sends_our_eof_once_at_most(transport: str, half_open: bool, accepted: bool) -> None:
    """Asked for once, sent once and only when asked for; the write half says that it is sent."""
    for step in walk(transport, half_open, accepted):
        assert step.past.end_sent <= step.past.end_asked <= 1, str(step)
        assert (step.after.write is WriteHalf.CLOSED) == bool(step.past.end_sent), str(step)


@every_socket
def test_every_sequence_ends_for_good(transport: str, half_open: bool, accepted: bool) -> None:
    """A final phase stays, but for close() of a socket that has ended; late news asks for nothing."""
    for step in walk(transport, half_open, accepted):
        if step.before.phase not in FINAL:
            continue
        assert set(step.actions) <= LETTING_GO, str(step)
        if step.event in FROM_WIRE:
            assert step.effects == [], str(step)
            assert vars(step.after) == vars(step.before), str(step)
        if step.before.phase is Phase.ENDED and step.event in (Event.CLOSE, *DROPS):
            assert step.after.phase is Phase.CLOSED, str(step)
        else:
            assert step.after.phase is step.before.phase, str(step)


@every_socket
def test_every_sequence_takes_the_wire_down_when_it_ends(transport: str, half_open: bool, accepted: bool) -> None:
    """Entering a final phase closes or resets the wire, once, or hands it over."""
    for step in walk(transport, half_open, accepted):
        if step.after.phase in FINAL and step.before.phase not in FINAL:
            ways = [action for action in step.actions if action in END_OF_WIRE | {Action.HAND_OVER}]
            assert len(ways) == 1, str(step)
            assert (ways == [Action.HAND_OVER]) == (step.after.phase is Phase.UPGRADED), str(step)
            is_cut = step.event in {*DROPS, Event.SOURCE_FAILED}
            is_hidden = accepted and step.after.phase is Phase.CLOSED and step.after.write is WriteHalf.ABORTED
            assert (ways == [Action.RESET_WIRE]) == (is_cut or is_hidden), str(step)
        elif step.after.phase not in FINAL:
            assert not END_OF_WIRE & set(step.actions), str(step)


@every_socket
def test_every_sequence_settles_the_upgrade_once(transport: str, half_open: bool, accepted: bool) -> None:
    """V12: leaving UPGRADING either hands the wire over or fails the new socket, and nothing else does."""
    for step in walk(transport, half_open, accepted):
        told = [action for action in step.actions if action in (Action.HAND_OVER, Action.FAIL_UPGRADE)]
        left = step.before.phase is Phase.UPGRADING and step.after.phase is not Phase.UPGRADING
        assert len(told) == left, str(step)
        assert (Action.HAND_OVER in told) == (left and step.after.phase is Phase.UPGRADED), str(step)
        assert step.past.handed_over + step.past.upgrades_failed <= 1, str(step)
        if transport != "starttls":
            assert step.after.phase not in (Phase.UPGRADING, Phase.UPGRADED), str(step)


@every_socket
def test_every_sequence_moves_the_halves_forwards(transport: str, half_open: bool, accepted: bool) -> None:
    """No half comes back to life, and each answers a read or a write by the state that it is in."""
    for step in walk(transport, half_open, accepted):
        assert step.after.read in AFTER_READ[step.before.read], str(step)
        assert step.after.write in AFTER_WRITE[step.before.write] | {step.before.write}, str(step)
        if step.after.phase in FINAL:
            assert step.after.reading is not Reading.FLOWING, str(step)
            assert step.after.writing is not Writing.FLOWING, str(step)


@every_socket
def test_no_sequence_hangs_on_close(transport: str, half_open: bool, accepted: bool) -> None:
    """C2: from anywhere, close() and a wire that does its part lead to a final phase."""
    for step in walk(transport, half_open, accepted):
        state, past = copy.copy(step.after), step.past
        past = past.after(Event.CLOSE, state.on(Event.CLOSE))
        if not state.opened:
            past = past.after(Event.CONNECTED, state.on(Event.CONNECTED))
        while state.phase not in FINAL:
            assert past.flushing, str(step)
            past = past.after(Event.FLUSHED, state.on(Event.FLUSHED))
        assert past.closed == 1, str(step)


@every_socket
def test_no_sequence_survives_abort(transport: str, half_open: bool, accepted: bool) -> None:
    """DROP ends everything at once, wherever it comes."""
    for step in walk(transport, half_open, accepted):
        for event in DROPS:
            state = copy.copy(step.after)
            state.on(event)
            assert state.phase in FINAL, str(step)


@every_socket
def test_impossible_events_raise_and_change_nothing(transport: str, half_open: bool, accepted: bool) -> None:
    """An impossible event is a bug in cfcat: it is said, and the state is as before."""
    refused = set()
    for step in walk(transport, half_open, accepted):
        for event in Event:
            state = copy.copy(step.after)
            try:
                state.on(event)
            except RuntimeError as error:
                refused.add(event)
                named = str(error)
            else:
                continue
            assert vars(state) == vars(step.after), f"{step}, then {event.name}"
            assert event.name in named
    assert refused >= FROM_WIRE | {Event.END, Event.START_TLS}
    assert not refused & {Event.CLOSE, *DROPS, Event.ABORT, Event.CANCEL}


@every_socket
def test_the_walk_gets_everywhere(transport: str, half_open: bool, accepted: bool) -> None:
    """A walk that misses half of the machine proves nothing: every phase, half and event is in it."""
    steps = walk(transport, half_open, accepted)
    upgrade = {Phase.UPGRADING, Phase.UPGRADED} if transport != "starttls" else set()
    ended = {Phase.ENDED} if half_open and not accepted else set()
    refused = {Event.GONE} if not accepted else set()
    assert {step.after.phase for step in steps} >= set(Phase) - {Phase.OPENING} - upgrade - ended
    assert {step.after.read for step in steps} == set(ReadHalf)
    assert {step.after.write for step in steps} == set(WriteHalf)
    assert {step.event for step in steps} >= set(Event) - ({Event.START_TLS} if upgrade else set()) - refused
    assert max(len(step.path) for step in steps) >= 6


@every_socket
def test_every_effect_has_its_reason(transport: str, half_open: bool, accepted: bool) -> None:
    """What fails says why: the failure, the abort, or the close; what does not fail says nothing."""
    reasons = set()
    for step in walk(transport, half_open, accepted):
        failed = step.after.phase is Phase.FAILED
        reason_of = {
            Action.DROP_WRITES: Reason.ABORT if step.event in ABORTS else Reason.CLOSED,
            Action.REJECT_CLOSED: Reason.DROPPED if step.event is Event.DROP_QUEUED else Reason.ABORT,
        }
        if step.event is Event.SOURCE_FAILED:
            reason_of[Action.END_STREAMS] = Reason.ABORT
        if failed and step.event not in ABORTS:
            reason_of = dict.fromkeys((Action.DROP_WRITES, Action.REJECT_CLOSED, Action.END_STREAMS), Reason.FAILURE)
        for action, reason in step.effects:
            assert reason is reason_of.get(action), str(step)
            reasons.add((action, reason))
    assert {reason for action, reason in reasons if action is Action.DROP_WRITES} == set(Reason) - {Reason.DROPPED}
    ended = {reason for action, reason in reasons if action is Action.END_STREAMS}
    assert ended == {None, Reason.FAILURE, Reason.ABORT}


# -------------------------------------------------------------------------------- opening: N4, V2, C2


def test_n1_connected_resolves_opened() -> None:
    """N1: and nothing else."""
    assert machine().on(Event.CONNECTED) == [Effect(Action.RESOLVE_OPENED)]


@pytest.mark.parametrize("before", [(), (Event.CLOSE,), (Event.END,), (Event.START_TLS,)], ids=named)
def test_n4_a_failure_to_connect_rejects_opened_and_closed(before: tuple[Event, ...]) -> None:
    """N4: whatever was asked for meanwhile."""
    state = machine(*before)
    effects = state.on(Event.CONNECT_FAILED)
    assert effects[0] == Effect(Action.REJECT_OPENED)
    assert [effect.action for effect in effects if effect.reason is Reason.FAILURE] == [
        Action.DROP_WRITES,
        Action.REJECT_CLOSED,
    ]
    assert state.phase is Phase.FAILED


def test_v2_n7_reads_and_writes_fail_after_a_failure_to_connect() -> None:
    """V2, N7: the error is not mistaken for the end of the data."""
    state = machine(Event.CONNECT_FAILED)
    assert (state.reading, state.writing) == (Reading.FAILED, Writing.FAILED)


# ------------------------------------------------------------------------------- EOF: H1 to H5, API-R7, API-R10


def test_h1_reading_eof_ends_our_side_and_then_the_socket() -> None:
    """H1: queued writes, our EOF, and `closed` resolves."""
    state = machine(Event.CONNECTED)
    assert state.on(Event.PEER_EOF) == [Effect(Action.FLUSH_THEN_END)]
    assert state.on(Event.FLUSHED) == [
        Effect(Action.WRITING_ENDED),
        Effect(Action.CLOSE_WIRE),
        Effect(Action.RESOLVE_CLOSED),
    ]
    assert state.phase is Phase.ENDED


def test_h1_eof_while_our_end_is_under_way_asks_for_no_second_one() -> None:
    """H1, W6: the end that the writer asked for will do."""
    state = machine(Event.CONNECTED, Event.END)
    assert state.on(Event.PEER_EOF) == []
    assert state.on(Event.FLUSHED) == [
        Effect(Action.WRITING_ENDED),
        Effect(Action.CLOSE_WIRE),
        Effect(Action.RESOLVE_CLOSED),
    ]


def test_h2_only_the_reading_of_eof_counts() -> None:
    """H2: as long as nobody has read it there is no event, and everything works."""
    state = machine(Event.CONNECTED)
    assert (state.reading, state.writing, state.closed) == (Reading.FLOWING, Writing.FLOWING, False)


def test_h3_from_the_moment_of_eof_writes_are_refused() -> None:
    """H3: though the queue is still being sent."""
    state = machine(Event.CONNECTED, Event.PEER_EOF)
    assert (state.reading, state.writing) == (Reading.DONE, Writing.ENDED)
    with pytest.raises(RuntimeError):
        state.on(Event.END)


def test_h4_half_open_writing_goes_on_after_eof() -> None:
    """H4: until the writer ends."""
    state = machine(Event.CONNECTED, half_open=True)
    assert state.on(Event.PEER_EOF) == []
    assert state.writing is Writing.FLOWING
    assert state.on(Event.END) == [Effect(Action.FLUSH_THEN_END)]


@pytest.mark.parametrize(
    "order", [(Event.PEER_EOF, Event.END, Event.FLUSHED), (Event.END, Event.FLUSHED, Event.PEER_EOF)], ids=named
)
def test_h5_half_open_eof_never_settles_closed(order: tuple[Event, ...]) -> None:
    """H5: in whichever order the sides finish, only close() does."""
    state = machine(Event.CONNECTED, *order, half_open=True)
    assert (state.phase, state.closed) == (Phase.OPEN, False)
    assert state.on(Event.CLOSE) == [Effect(Action.FLUSH_THEN_CLOSE)]
    assert state.on(Event.FLUSHED)[-1] == Effect(Action.RESOLVE_CLOSED)


def test_api_r7_cancel_ends_reading_and_nothing_else() -> None:
    """API-R7: reads are done, writing goes on, and there is no automatic close."""
    state = machine(Event.CONNECTED)
    assert state.on(Event.CANCEL) == [Effect(Action.STOP_READS)]
    assert (state.reading, state.writing, state.closed) == (Reading.DONE, Writing.FLOWING, False)


def test_api_r10_eof_seen_by_a_pipe_ends_nothing() -> None:
    """API-R10: no H1, and `closed` is not settled, not even when our side has ended as well."""
    state = machine(Event.CONNECTED)
    assert state.on(Event.PIPED_EOF) == []
    assert (state.reading, state.writing) == (Reading.DONE, Writing.FLOWING)
    state.on(Event.END)
    assert state.on(Event.FLUSHED) == [Effect(Action.WRITING_ENDED)]
    assert (state.phase, state.closed) == (Phase.OPEN, False)


# ------------------------------------------------------------------------------------ writing: W6 to W9


def test_w6_end_is_a_half_close() -> None:
    """W6: the queue, our EOF, and reading goes on."""
    state = machine(Event.CONNECTED)
    assert state.on(Event.END) == [Effect(Action.FLUSH_THEN_END)]
    assert state.on(Event.FLUSHED) == [Effect(Action.WRITING_ENDED)]
    assert (state.reading, state.phase) == (Reading.FLOWING, Phase.OPEN)


def test_w6_end_may_come_before_opened() -> None:
    """W4, W6: it is kept until the connection is up."""
    state = machine()
    assert state.on(Event.END) == [Effect(Action.FLUSH_THEN_END)]
    assert state.on(Event.CONNECTED) == [Effect(Action.RESOLVE_OPENED)]
    assert state.on(Event.FLUSHED) == [Effect(Action.WRITING_ENDED)]


@pytest.mark.parametrize("after", [(), (Event.FLUSHED,)], ids=["under way", "done"])
def test_w7_after_the_end_writes_and_ends_are_refused(after: tuple[Event, ...]) -> None:
    """W7: a write also while the end is under way."""
    state = machine(Event.CONNECTED, Event.END, *after)
    assert state.writing is Writing.ENDED
    with pytest.raises(RuntimeError):
        state.on(Event.END)


@pytest.mark.parametrize("opened", [True, False])
def test_w8_abort_drops_the_queue_and_the_peer_sees_nothing(opened: bool) -> None:
    """W8: neither our EOF nor an end of the wire; reading goes on."""
    state = machine(*[Event.CONNECTED] * opened)
    assert state.on(Event.ABORT) == [Effect(Action.DROP_WRITES, Reason.ABORT)]
    assert (state.reading, state.writing, state.closed) == (Reading.FLOWING, Writing.ENDED, False)


def test_w8_abort_while_the_end_is_under_way_takes_the_end_back() -> None:
    """W8: the write half is aborted, and no flush that comes in late ends it in order."""
    state = machine(Event.CONNECTED, Event.END)
    assert state.on(Event.ABORT) == [Effect(Action.DROP_WRITES, Reason.ABORT)]
    assert state.on(Event.FLUSHED) == []
    assert state.write is WriteHalf.ABORTED


def test_w8_abort_after_the_end_changes_nothing() -> None:
    """W8: what has been sent in order stays so."""
    state = machine(Event.CONNECTED, Event.END, Event.FLUSHED)
    assert state.on(Event.ABORT) == []
    assert state.write is WriteHalf.CLOSED


def test_w9_v7_close_after_abort_closes_and_closed_rejects() -> None:
    """W9, V7: unlike the reference the connection does not leak; the reason is on `closed`."""
    state = machine(Event.CONNECTED, Event.ABORT)
    assert state.on(Event.CLOSE) == [Effect(Action.FLUSH_THEN_CLOSE)]
    effects = state.on(Event.FLUSHED)
    assert Effect(Action.CLOSE_WIRE) in effects
    assert effects[-1] == Effect(Action.REJECT_CLOSED, Reason.ABORT)


def test_w9_eof_after_abort_rejects_closed_and_leaves_the_wire() -> None:
    """W9, D2: the peer hears nothing."""
    state = machine(Event.CONNECTED, Event.ABORT)
    assert state.on(Event.PEER_EOF) == [Effect(Action.REJECT_CLOSED, Reason.ABORT)]
    assert state.phase is Phase.OPEN


def test_w10_a_lost_connection_fails_reads_and_writes() -> None:
    """W10, API-R9, V5: what was queued is dropped, and `closed` rejects."""
    state = machine(Event.CONNECTED)
    assert state.on(Event.LOST) == [
        Effect(Action.DROP_WRITES, Reason.FAILURE),
        Effect(Action.CLOSE_WIRE),
        Effect(Action.REJECT_CLOSED, Reason.FAILURE),
    ]
    assert (state.reading, state.writing) == (Reading.FAILED, Writing.FAILED)


def test_row_59_abort_after_a_failure_ends_the_streams() -> None:
    """Nobody reads what is left: `closed` of a reader does not wait for that any more."""
    state = machine(Event.CONNECTED, Event.LOST)
    assert state.on(Event.DROP) == [Effect(Action.END_STREAMS, Reason.FAILURE)]
    assert state.phase is Phase.FAILED


# --------------------------------------------------------------------------------- close(): C1 to C7, V6


def test_c1_close_flushes_and_then_ends_both_directions() -> None:
    """C1, C5, C6: reads stop, streams learn of it, the wire is closed, `closed` resolves."""
    state = machine(Event.CONNECTED)
    assert state.on(Event.CLOSE) == [Effect(Action.FLUSH_THEN_CLOSE)]
    assert state.on(Event.FLUSHED) == [
        Effect(Action.STOP_READS),
        Effect(Action.END_STREAMS),
        Effect(Action.CLOSE_WIRE),
        Effect(Action.RESOLVE_CLOSED),
    ]
    assert state.phase is Phase.CLOSED


def test_c2_close_waits_for_opened_and_for_the_flush() -> None:
    """C2: it is not abrupt."""
    state = machine(Event.CLOSE)
    with pytest.raises(RuntimeError):
        state.on(Event.FLUSHED)
    assert state.on(Event.CONNECTED) == [Effect(Action.RESOLVE_OPENED)]
    assert (state.phase, state.closed) == (Phase.CLOSING, False)
    state.on(Event.FLUSHED)
    assert state.phase is Phase.CLOSED


@pytest.mark.parametrize("after", [(), (Event.FLUSHED,)], ids=["under way", "done"])
def test_c3_close_may_be_called_again(after: tuple[Event, ...]) -> None:
    """C3: and asks for nothing then."""
    state = machine(Event.CONNECTED, Event.CLOSE, *after)
    assert state.on(Event.CLOSE) == []


@pytest.mark.parametrize(
    "past",
    [
        (Event.CONNECT_FAILED,),
        (Event.CONNECTED, Event.LOST),
        (Event.CONNECTED, Event.ABORT, Event.PEER_EOF),
        (Event.CONNECTED, Event.START_TLS, Event.FLUSHED),
        (Event.DROP,),
    ],
    ids=named,
)
def test_c4_close_is_never_refused(past: tuple[Event, ...]) -> None:
    """C4: not after a failed connection, a reset, an abort or an upgrade either."""
    state = machine(*past)
    settled = state.closed
    assert not SETTLE_CLOSED & set(state.on(Event.CLOSE))
    assert settled


@pytest.mark.parametrize("past", [(), (Event.CONNECTED,), (Event.CONNECTED, Event.ABORT)], ids=named)
def test_c7_reads_and_writes_are_refused_from_the_call_on(past: tuple[Event, ...]) -> None:
    """C7: not only when the closing is done."""
    state = machine(*past, Event.CLOSE)
    assert (state.reading, state.writing) == (Reading.CLOSING, Writing.CLOSING)


def test_c7_eof_or_abort_meanwhile_does_not_hold_up_close() -> None:
    """A read that waits may still see EOF; the flush that close() asked for is the one that counts."""
    state = machine(Event.CONNECTED, Event.CLOSE)
    assert state.on(Event.PEER_EOF) == []
    assert state.on(Event.FLUSHED)[-1] == Effect(Action.RESOLVE_CLOSED)


@pytest.mark.parametrize("half_open", [False, True])
def test_v6_close_right_after_eof_resolves_closed(half_open: bool) -> None:
    """V6: the automatic close (H1) may be overtaken, and `closed` resolves all the same."""
    state = machine(Event.CONNECTED, Event.PEER_EOF, half_open=half_open)
    assert state.on(Event.CLOSE) == [Effect(Action.FLUSH_THEN_CLOSE)]
    assert state.on(Event.FLUSHED)[-1] == Effect(Action.RESOLVE_CLOSED)


def test_v6_close_of_a_socket_that_has_ended_settles_nothing_twice() -> None:
    """V6, C3: after EOF both ways; from then on the streams say that it is closed (C7)."""
    state = machine(Event.CONNECTED, Event.PEER_EOF, Event.FLUSHED)
    assert not SETTLE_CLOSED & set(state.on(Event.CLOSE))
    assert (state.reading, state.writing) == (Reading.CLOSING, Writing.CLOSING)


# --------------------------------------------------------------------------------------- closed: D1 to D4


@pytest.mark.parametrize(
    "last_two",
    [(Event.CLOSE, Event.FLUSHED), (Event.PEER_EOF, Event.FLUSHED), (Event.START_TLS, Event.FLUSHED)],
    ids=named,
)
def test_d1_closed_resolves(last_two: tuple[Event, Event]) -> None:
    """D1: by close(), by EOF, by an upgrade."""
    state = machine(Event.CONNECTED, last_two[0])
    assert Effect(Action.RESOLVE_CLOSED) in state.on(last_two[1])


@pytest.mark.parametrize(
    "past",
    [
        (Event.CONNECT_FAILED,),
        (Event.CONNECTED, Event.ABORT, Event.CLOSE, Event.FLUSHED),
        (Event.CONNECTED, Event.ABORT, Event.PEER_EOF),
        (Event.CONNECTED, Event.LOST),
        (Event.CONNECTED, Event.CLOSE, Event.LOST),
    ],
    ids=named,
)
def test_d2_v5_closed_rejects(past: tuple[Event, ...]) -> None:
    """D2: failure to connect, abort and then close() or EOF; V5: a broken connection."""
    state = machine(*past[:-1])
    reason = Reason.ABORT if Event.ABORT in past else Reason.FAILURE
    assert Effect(Action.REJECT_CLOSED, reason) in state.on(past[-1])


def test_d3_closed_is_pending_while_nobody_reads_or_writes() -> None:
    """D3: what the connection does is news only when a read or a write finds it."""
    assert machine(Event.CONNECTED).closed is False


def test_d4_both_sides_finished_by_hand_leave_closed_pending() -> None:
    """D4: `cancel()` and `writer.close()` are no close()."""
    state = machine(Event.CONNECTED, Event.CANCEL, Event.END, Event.FLUSHED)
    assert (state.phase, state.closed) == (Phase.OPEN, False)


def test_d4_eof_after_our_end_settles_closed() -> None:
    """D4: without allow_half_open."""
    state = machine(Event.CONNECTED, Event.END, Event.FLUSHED)
    assert state.on(Event.PEER_EOF) == [Effect(Action.CLOSE_WIRE), Effect(Action.RESOLVE_CLOSED)]


# --------------------------------------------------------------- start_tls(): S1, S3, S5, S6, S14, V12, V16

ON_TLS = "Cannot startTls on a TLS socket."
CLOSED_BEFORE = "The connection was closed before startTls could be started."
TWICE = "startTls has already been called on this socket."
NOT_STARTTLS = "The `secureTransport` socket option must be set to 'starttls' for startTls to be used."
CLOSED = (Event.CONNECTED, Event.CLOSE, Event.FLUSHED)


@pytest.mark.parametrize(
    ("transport", "past", "text"),
    [
        ("on", (), ON_TLS),
        ("on", CLOSED, ON_TLS),
        ("off", CLOSED, CLOSED_BEFORE),
        ("starttls", CLOSED, CLOSED_BEFORE),
        ("starttls", (Event.DROP,), CLOSED_BEFORE),
        ("off", (), NOT_STARTTLS),
        ("off", (Event.CONNECTED, Event.CLOSE), NOT_STARTTLS),
        ("off", (Event.CONNECT_FAILED,), NOT_STARTTLS),
    ],
    ids=named,
)
def test_s1_what_start_tls_throws_and_in_which_order(transport: str, past: tuple[Event, ...], text: str) -> None:
    """S1: a TLS socket, a closed one, the wrong mode; the socket is as it was."""
    state = machine(*past, transport=transport)
    before = dict(vars(state))
    with pytest.raises(UpgradeError) as caught:
        state.check_start_tls()
    assert caught.value.message == text
    assert vars(state) == before


@pytest.mark.parametrize("after", [(), (Event.CONNECTED,), (Event.CONNECTED, Event.FLUSHED)], ids=named)
def test_v16_a_second_start_tls_says_so(after: tuple[Event, ...]) -> None:
    """V16: unlike the reference, which says that the connection was closed."""
    state = machine(Event.START_TLS, *after)
    with pytest.raises(UpgradeError) as caught:
        state.check_start_tls()
    assert caught.value.message == TWICE


def test_s3_v8_streams_are_released_from_the_call_on() -> None:
    """S3, V8: who holds them or not: a waiting read stops, later ones and writes fail."""
    state = machine(Event.CONNECTED)
    assert state.on(Event.START_TLS) == [Effect(Action.RELEASE_STREAMS), Effect(Action.FLUSH_THEN_UPGRADE)]
    assert (state.reading, state.writing) == (Reading.RELEASED, Writing.RELEASED)


def test_s5_s6_s7_the_flush_hands_the_wire_over_and_resolves_closed() -> None:
    """S5, S6, S7: at one moment, and not before the clear text is sent."""
    state = machine(Event.CONNECTED, Event.START_TLS)
    assert state.on(Event.FLUSHED) == [Effect(Action.HAND_OVER), Effect(Action.RESOLVE_CLOSED)]
    assert state.phase is Phase.UPGRADED


def test_s2_start_tls_may_come_before_opened() -> None:
    """S2: the flush is asked for at once, and ends after the connection is up."""
    state = machine()
    assert state.on(Event.START_TLS) == [Effect(Action.RELEASE_STREAMS), Effect(Action.FLUSH_THEN_UPGRADE)]
    assert state.on(Event.CONNECTED) == [Effect(Action.RESOLVE_OPENED)]
    assert state.on(Event.FLUSHED) == [Effect(Action.HAND_OVER), Effect(Action.RESOLVE_CLOSED)]


@pytest.mark.parametrize(
    "after", [(Event.CLOSE,), (Event.FLUSHED, Event.CLOSE), (Event.FLUSHED, Event.DROP)], ids=named
)
def test_s6_the_old_socket_cannot_close_the_new_one(after: tuple[Event, ...]) -> None:
    """S6: close() of the old one touches nothing; abort() neither, once the wire is handed over."""
    state = machine(Event.CONNECTED, Event.START_TLS, *after[:-1])
    assert state.on(after[-1]) == []


@pytest.mark.parametrize("event", [Event.DROP, Event.LOST, Event.CONNECT_FAILED])
def test_v12_the_upgrade_fails_with_the_old_socket(event: Event) -> None:
    """V12: before the wire is handed over, what ends the old socket fails the new one too."""
    state = machine(*[Event.CONNECTED] * (event is Event.LOST), Event.START_TLS)
    assert Effect(Action.FAIL_UPGRADE) in state.on(event)


@pytest.mark.parametrize("past", [(), (Event.CONNECTED,)], ids=named)
def test_s14_the_upgrade_wins_over_a_close_under_way(past: tuple[Event, ...]) -> None:
    """S14: right after an un-awaited close()."""
    state = machine(*past, Event.CLOSE)
    assert state.can_upgrade
    assert Effect(Action.FLUSH_THEN_UPGRADE) in state.on(Event.START_TLS)
    assert state.phase is Phase.UPGRADING


@pytest.mark.parametrize(
    "past",
    [
        (Event.CONNECTED, Event.END),
        (Event.CONNECTED, Event.END, Event.FLUSHED),
        (Event.CONNECTED, Event.PEER_EOF),
        (Event.CONNECTED, Event.PEER_EOF, Event.FLUSHED),
        (Event.CONNECTED, Event.ABORT),
        (Event.CONNECTED, Event.LOST),
        (Event.CONNECT_FAILED,),
    ],
    ids=named,
)
def test_s14_v12_a_socket_that_cannot_send_is_not_upgraded(past: tuple[Event, ...]) -> None:
    """S14, V12: start_tls() does not throw there, it makes a socket that fails."""
    state = machine(*past)
    state.check_start_tls()
    assert not state.can_upgrade
    with pytest.raises(RuntimeError):
        state.on(Event.START_TLS)


@pytest.mark.parametrize("past", [(Event.CANCEL,), (Event.PIPED_EOF,)], ids=named)
def test_s14_a_socket_that_no_longer_reads_can_be_upgraded(past: tuple[Event, ...]) -> None:
    """S14: after `readable.cancel()` it works."""
    assert machine(Event.CONNECTED, *past).can_upgrade


def test_s15_a_starttls_socket_that_is_never_upgraded_is_a_plain_one() -> None:
    """S15: EOF ends it like any other."""
    state = machine(Event.CONNECTED, Event.PEER_EOF, transport="starttls")
    state.on(Event.FLUSHED)
    assert state.phase is Phase.ENDED


# ----------------------------------------------------------------------------------------------- abort()


@pytest.mark.parametrize("past", [(), (Event.CONNECTED,), (Event.CONNECTED, Event.CLOSE)], ids=named)
def test_abort_drops_everything_and_resets_the_wire(past: tuple[Event, ...]) -> None:
    """Writes and reads fail before the wire goes; `closed` resolves, for the caller wanted it so."""
    state = machine(*past)
    effects = state.on(Event.DROP)
    if not past:
        assert effects.pop(0) == Effect(Action.REJECT_OPENED)
    assert effects == [
        Effect(Action.DROP_WRITES, Reason.CLOSED),
        Effect(Action.STOP_READS),
        Effect(Action.END_STREAMS),
        Effect(Action.RESET_WIRE),
        Effect(Action.RESOLVE_CLOSED),
    ]


# --------------------------------------------------------------- accepted connections: I10, I22, V23, V25


@pytest.mark.parametrize("eof", [Event.PEER_EOF, Event.PIPED_EOF], ids=named)
def test_i10_i22_an_accepted_socket_ends_when_both_sides_have(eof: Event) -> None:
    """Its EOF changes nothing by itself; with our end sent as well all is over, read by a pipe or by hand."""
    state = machine(Event.CONNECTED, eof, half_open=True, accepted=True)
    assert (state.phase, state.writing) == (Phase.OPEN, Writing.FLOWING)
    state.on(Event.END)
    assert state.on(Event.FLUSHED)[-2:] == [Effect(Action.CLOSE_WIRE), Effect(Action.RESOLVE_CLOSED)]
    assert (state.phase, state.writing) == (Phase.ENDED, Writing.ENDED)


def test_i22_a_connection_that_is_gone_resolves_closed_and_can_still_be_read() -> None:
    """Nothing else changes; what comes later settles `closed` no more."""
    state = machine(Event.CONNECTED, half_open=True, accepted=True)
    assert state.on(Event.GONE) == [Effect(Action.RESOLVE_CLOSED)]
    assert state.on(Event.GONE) == []
    assert (state.phase, state.reading) == (Phase.OPEN, Reading.FLOWING)
    assert Action.REJECT_CLOSED not in [effect.action for effect in state.on(Event.LOST)]


def test_v23_close_after_abort_resets_an_accepted_connection() -> None:
    """A clean end would hide what was dropped; one that was dialed is closed (V7)."""
    for accepted, way in ((True, Action.RESET_WIRE), (False, Action.CLOSE_WIRE)):
        state = machine(Event.CONNECTED, Event.ABORT, Event.CLOSE, half_open=True, accepted=accepted)
        assert way in [effect.action for effect in state.on(Event.FLUSHED)]
        assert state.closed


@pytest.mark.parametrize("before", [(), (Event.CONNECTED,)], ids=named)
def test_v25_a_pipe_whose_source_failed_resets_its_destination(before: tuple[Event, ...]) -> None:
    """`closed` has the reason, and writes that wait have it too."""
    effects = machine(*before).on(Event.SOURCE_FAILED)
    assert Effect(Action.RESET_WIRE) in effects
    assert Effect(Action.DROP_WRITES, Reason.ABORT) in effects
    assert Effect(Action.REJECT_CLOSED, Reason.ABORT) in effects
