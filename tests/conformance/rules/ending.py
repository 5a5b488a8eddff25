"""Rules about how a connection ends: broken, closed, aborted, cut short."""

from __future__ import annotations

from tests.conformance.data import Event, Json, decode, encode, is_undefined
from tests.conformance.patterns import AnyOf, ErrorOf
from tests.conformance.rules.expectation import Expectation, Rule
from tests.conformance.rules.texts import LOST, SOCKET_CLOSED, WRITABLE_CLOSED, plain_error, type_error
from tests.conformance.story import ENDING, READS, RECEIVING, SENDS, Act, Moment, SocketStory, Story, written_bytes

__all__ = ["V5", "V6", "V7", "V9", "V11"]

WRITES = ("write", "write_many", "writer_close")
USES = (*READS, *WRITES)  # what finds out that a connection is broken


def _broken(story: Story, expectation: Expectation, socket: SocketStory) -> tuple[Moment, Json] | None:
    """When a read or a write was called that found the connection broken, and its error."""
    for act in story.acts:
        if not (act.socket is socket and act.name in USES) and not _pipes(story, act, socket):
            continue
        error = expectation.outcome(act.at).get("rejected")
        lost = error == plain_error(LOST)
        no_tls = isinstance(error, ErrorOf) and error.classes == ("TlsError",) and _opened(story, expectation, socket)
        if lost or no_tls:
            return act.called, error
    return None


def _pipes(story: Story, act: Act, socket: SocketStory) -> bool:
    """Does a pipe use this socket, and is it this end of it that the server breaks?"""
    uses = act.name == "pipe" and (act.socket is socket or act.op["to"] == socket.name)
    return uses and any(step.do in ENDING for step in story.on_connection(socket))


def _opened(story: Story, expectation: Expectation, socket: SocketStory) -> bool:
    """Was the connection up, as far as the trace tells?"""
    return not any("rejected" in expectation.outcome(act.at) for act in story.of(socket, "opened"))


# ---------------------------------------------------------------- V5


def _closed_tells_of_a_loss(story: Story, expectation: Expectation) -> None:
    for socket in story.sockets.values():
        broken = _broken(story, expectation, socket)
        if broken is None:
            continue
        moment, error = broken
        closing = story.closing(socket)
        if closing is not None and closing < moment:
            continue
        for act in story.of(socket, "closed"):
            if act.at > moment and expectation.outcome(act.at) == {"resolved": None}:
                expectation.settle(act.at, rejected=error)


V5 = Rule(
    "V5",
    "`closed` resolves when a read or a write has found the connection reset or broken",
    "it rejects with the error that the read or the write had",
    "documented that way",
    _closed_tells_of_a_loss,
)


# ---------------------------------------------------------------- V6


def _close_after_eof(story: Story, expectation: Expectation) -> None:
    for socket in story.sockets.values():
        eof, closing = story.eof_read(socket), story.closing(socket)
        if eof is None or closing is None or closing < eof or socket.half_open:
            continue
        for act in story.of(socket, "closed"):
            if act.at > closing and expectation.outcome(act.at) == {"rejected": type_error(SOCKET_CLOSED)}:
                expectation.settle(act.at, resolved=None)


V6 = Rule(
    "V6",
    "close() right after EOF was read overtakes the automatic close: `closed` rejects",
    "`closed` resolves",
    "accident of the runtime",
    _close_after_eof,
)


# ---------------------------------------------------------------- V7


def _close_after_abort(story: Story, expectation: Expectation) -> None:
    for socket in story.sockets.values():
        abort, closing = story.aborted(socket), story.closing(socket)
        if abort is None or closing is None or closing < abort.called:
            continue
        reason = abort.op.get("reason")
        reason = None if is_undefined(reason) else reason
        for act in story.of(socket, "closed"):
            if act.at > closing and isinstance(expectation.outcome(act.at).get("rejected"), dict):
                expectation.settle(act.at, rejected={"value": reason})
        _server_sees_the_end(story, expectation, socket, closing)


def _server_sees_the_end(story: Story, expectation: Expectation, socket: SocketStory, closing: Moment) -> None:
    """The steps where the server was waiting, and the later steps it now reaches."""
    end = _end_of(story, socket)
    entries, ended = list(expectation.saw), False
    for step in story.on_connection(socket):
        if _over_before(story, step.number, closing):
            continue
        entry = expectation.entry(step)
        if entry.get("ended") == "still_waiting" and step.do in RECEIVING:
            entries[step.saw or 0] = {**entry, "ended": end}
            ended = True
        elif entry.get("saw") == "nothing":
            entries[step.saw or 0] = {**entry, "saw": end}
        elif not entry and ended:
            head: Event = {"do": step.do, **({"on": step.step["on"]} if "on" in step.step else {})}
            if step.do in RECEIVING:
                entries.append({**head, "data": "", "ended": end})
            elif step.do == "probe":
                entries.append({**head, "saw": end})
    expectation.replace_saw(entries)


def _over_before(story: Story, number: int, moment: Moment) -> bool:
    """Did the server get past a step before the client made a call? It said so, and the client waited for it."""
    signals = [step for step in story.steps if step.do == "signal" and step.number > number]
    return any(story.waited_for(step.step["name"], moment) for step in signals)


def _end_of(story: Story, socket: SocketStory) -> Json:
    """How the peer sees a close without order: bytes of its own that nobody has read make it a reset (C9)."""
    sent = sum(len(decode(step.step["data"])) for step in story.on_connection(socket) if step.do in SENDS)
    unread = sent > sum(story.read_size(one, len(story.scenario.trace)) for one in _family(socket))
    if socket.tls:  # an abort may have cut a record: then close_notify cannot follow
        return AnyOf(("close_notify", "eof", "reset") if unread else ("close_notify", "eof"))
    return "reset" if unread else "eof"


def _family(socket: SocketStory) -> list[SocketStory]:
    return [socket] if socket.origin is None else [socket, socket.origin]


V7 = Rule(
    "V7",
    "close() after an abort leaves the connection open, and `closed` rejects with an Error made of the reason",
    "it closes the connection, and `closed` rejects with the reason as it is",
    "a leak",
    _close_after_abort,
)


# ---------------------------------------------------------------- V9


def _truncation_is_an_error(story: Story, expectation: Expectation) -> None:
    for socket in story.sockets.values():
        cut = _cut_at(story, socket)
        if cut is None or not _opened(story, expectation, socket):
            continue
        found: Moment | None = None
        refused = b""
        for act in story.of(socket):
            if story.cancelled(socket, act.called):
                break
            outcome = expectation.outcome(act.at)
            if (act.name in READS and outcome.get("done") is True) or (act.name == "pipe" and "resolved" in outcome):
                found = act.at if found is None else found
                data = {"data": outcome["data"]} if act.name in ("read_n", "read_all") else {}
                expectation.settle(act.at, rejected=plain_error(LOST), **data)
            elif found is not None:
                if _after_the_cut(act, outcome, expectation):
                    refused += written_bytes(act.op)
        if found is not None:
            _server_sees_no_close_notify(story, expectation, socket, cut, refused)


def _cut_at(story: Story, socket: SocketStory) -> int | None:
    """The step that ends the server's side of an upgraded connection without close_notify."""
    if socket.origin is None:
        return None
    for step in story.tls_steps(socket):
        if step.do == "tls_close_notify":
            return None
        if step.do in ENDING and step.do != "reset":
            return step.number
    return None


def _after_the_cut(act: Act, outcome: Event, expectation: Expectation) -> bool:
    """As for any connection that was lost; True for a write that is refused."""
    match act.name:
        case "closed" if outcome in ({"pending": True}, {"resolved": None}):
            # D1; and V5 makes a rejection of it, as of every loss.
            expectation.settle(act.at, resolved=None)
        case "reader_closed" | "writer_closed" if "started" not in outcome:
            expectation.settle(act.at, rejected=plain_error(LOST))
        case "write" | "write_many" | "writer_close" if outcome == {"resolved": None}:
            refused = AnyOf((plain_error(LOST), type_error(WRITABLE_CLOSED)))
            expectation.settle(act.at, rejected=refused)
            return act.name != "writer_close"
    return False


def _server_sees_no_close_notify(
    story: Story, expectation: Expectation, socket: SocketStory, cut: int, refused: bytes
) -> None:
    """The connection is broken for us: it is closed, and nothing more can be said under TLS, no `refused` write."""
    for step in story.on_connection(socket):
        if step.number > cut:
            entry = expectation.entry(step)
            if step.do in RECEIVING and entry.get("ended") in ("close_notify", "still_waiting"):
                expectation.see(step, ended="eof")
                if refused and isinstance(entry["data"], str) and decode(entry["data"]).endswith(refused):
                    expectation.see(step, data=encode(decode(entry["data"]).removesuffix(refused)))
            elif entry.get("saw") == "close_notify":
                expectation.see(step, saw="eof")


V9 = Rule(
    "V9",
    "after start_tls(), a FIN without close_notify is a clean EOF",
    "it is an error, as with secure_transport on: what came before it is delivered, then reads reject, `closed` "
    "knows of the loss, and the server sees our FIN without close_notify",
    "security: what was cut short must not be taken for the whole",
    _truncation_is_an_error,
)


# ---------------------------------------------------------------- V11


def _close_says_goodbye(story: Story, expectation: Expectation) -> None:
    for socket in story.sockets.values():
        closing = story.closing(socket)
        if not socket.tls or closing is None or not _opened(story, expectation, socket):
            continue
        broken, abort = _broken(story, expectation, socket), story.aborted(socket)
        if (broken is not None and broken[0] < closing) or (abort is not None and abort.called < closing):
            continue
        for step in story.tls_steps(socket):
            for member in ("ended", "saw"):
                seen = expectation.entry(step).get(member)
                if seen == "eof":
                    expectation.see(step, **{member: "close_notify"})
                elif seen == "reset":  # for bytes that nobody has read (C9): before or after the goodbye is read
                    expectation.see(step, **{member: AnyOf(("close_notify", "reset"))})


V11 = Rule(
    "V11",
    "close() under TLS sends a FIN only",
    "it sends close_notify first",
    "a FIN alone is a truncation for the peer",
    _close_says_goodbye,
)
