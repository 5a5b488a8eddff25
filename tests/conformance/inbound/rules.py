"""Where cfcat differs from the reference on purpose in accepting: V21 to V26, and those of the socket that apply here.

`expect_inbound` turns the events that the reference showed into those that cfcat must show. A rule is about events and
the facts of a scenario, so it holds for scenarios that nobody has seen yet; where it applies, what the reference shows
is wrong. It is told of each program with its connection. Source: inbound rules I1 to I51.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.conformance.data import Event, data_size, decode, encode
from tests.conformance.inbound.expected import ENDING, PROGRAMS, READS, RECEIVING, Act, Expected, one_of
from tests.conformance.inbound.scenario import Inbound
from tests.conformance.patterns import AnyOf, Chunk, ErrorOf, Info, Pattern
from tests.conformance.rules.texts import (
    CLOSED_BEFORE_START_TLS,
    CONNECT_FAILED,
    JSG_PREFIX,
    LOST,
    NOT_BYTES,
    READER_RELEASED,
    START_TLS_TWICE,
    STREAM_CANCELLED,
    WRITABLE_CLOSED,
    WRITER_RELEASED,
    plain_error,
    type_error,
)

__all__ = ["INBOUND_RULES", "expect_inbound"]

LOST_ERROR = plain_error(LOST)
AFTER_RETURN = "Can't read from request stream because client disconnected."
INTERNAL = "internal error; reference ="
NOT_STARTTLS = "must be set to 'starttls'"
ON_TLS = type_error("Cannot startTls on a TLS socket.")
REFERENCE_CHUNK_BYTES = 4096
READER_OPS = (*READS, "cancel", "reader_closed")
WRITER_OPS = ("write", "write_many", "writer_close", "writer_abort", "writer_closed")


@dataclass(frozen=True)
class InboundRule:
    """One difference on purpose: `apply` finds the events of any program that it is about.

    A `normalisation` says the same thing in another way, and alone leaves a scenario passed.
    """

    number: str
    apply: Callable[[Expected], None]
    normalisation: bool = False


# ---------------------------------------------------------------- values


def _real_ends(expected: Expected) -> None:
    """V1: of a connection that the handler makes."""
    for act in expected.of("opened"):
        match expected.outcome(act):
            case {"resolved": {"remoteAddress": str(text), **others}} if not others:
                expected.normalise(act, resolved=Info(text))


def _strings_are_refused(expected: Expected) -> None:
    """V4: and the client receives the other chunks only."""
    writes = [act for act in expected.of("write") if act.at == act.called and "rejected" not in expected.outcome(act)]
    kept = [act for act in writes if act.op.get("type") != "string"]
    if len(kept) == len(writes):
        return
    for act in expected.of("write"):
        if act.op.get("type") == "string" and expected.outcome(act) == {"resolved": None}:
            expected.settle(act, rejected=type_error(NOT_BYTES))
    data = b"".join(decode(act.op["data"]) for act in kept)
    for step in expected.steps:
        if step.do in RECEIVING and step.at is not None:
            size = step.step.get("n", len(data))
            piece, data = data[:size], data[size:]
            short = {"ended": "still_waiting"} if step.do == "recv" and len(piece) < size else {}
            expected.see(step.at, data=encode(piece), **short)


def _chunks_may_be_larger(expected: Expected) -> None:
    """V14: a read may give more than 4096 bytes."""
    stream = b"".join(decode(step.step["data"]) for step in expected.steps if step.do == "send")
    reads = list(expected.of(*READS))
    for act in reads:
        outcome = expected.outcome(act)
        if act.name == "read" and "data" in outcome and data_size(outcome["data"]) == REFERENCE_CHUNK_BYTES:
            before = tuple(other.at for other in reads if other.at < act.at)
            expected.settle(act, done=False, data=Chunk(stream, REFERENCE_CHUNK_BYTES, before))


# ---------------------------------------------------------------- errors


def _errors(expected: Expected, begin: str) -> Iterator[tuple[Act, Event]]:
    """The ops that reject with a text that begins so, and their errors."""
    for act in expected.acts:
        error = expected.outcome(act).get("rejected")
        if isinstance(error, dict) and str(error.get("message", "")).startswith(begin):
            yield act, error


def _own_texts(expected: Expected) -> None:
    """V3: no internal text of the runtime's; a failed handshake says why."""
    for act, error in _errors(expected, JSG_PREFIX):
        expected.settle(act, rejected={**error, "message": error["message"].removeprefix(JSG_PREFIX)})
    # A reset may be noticed before the handshake, whose error it is not then.
    failures = (ErrorOf("Error", ("TlsError",)), *([LOST_ERROR] if expected.does("reset") else []))
    for act, _ in _errors(expected, INTERNAL):
        if act.name in ("write", "write_many", "writer_close"):
            expected.settle(act, rejected=AnyOf((*failures, type_error(WRITABLE_CLOSED))))
        else:
            expected.settle(act, **{**expected.outcome(act), "rejected": one_of(*failures)})


def _unread_clear_text_is_counted(expected: Expected) -> None:
    """V13: what was unread when the program last wrote in clear text is no handshake."""
    for upgrade in expected.of("start_tls"):
        surely, at_most = expected.unread_before(upgrade)
        if not at_most:
            continue
        injected = ErrorOf("Error", ("InjectionError",), count=surely if surely == at_most else None)
        for act in expected.acts:
            error = expected.outcome(act).get("rejected")
            if act.socket == upgrade.op["as"] and isinstance(error, Pattern):
                why = injected if surely else AnyOf((injected, error))
                expected.settle(act, **{**expected.outcome(act), "rejected": why})


def _abort_has_its_reason(expected: Expected) -> None:
    """V7: `closed` rejects with the reason itself."""
    reasons = [act.op.get("reason") for act in expected.of("writer_abort", "writable_abort")]
    for act in expected.of("closed"):
        error = expected.outcome(act).get("rejected")
        if isinstance(error, dict) and error.get("message") in [
            reason for reason in reasons if isinstance(reason, str)
        ]:
            expected.settle(act, rejected={"value": error["message"]})


def _closed_rejects(expected: Expected) -> None:
    """V5: when the connection was reset or broke."""
    broken: set[str] = set()
    left: set[str] = set()
    for act in expected.acts:
        outcome = expected.outcome(act)
        if act.name == "close":
            left.add(act.socket)
        elif act.name == "closed" and not act.behind:
            by_reset = (
                expected.does("reset") and act.socket not in left and act.latest and outcome == {"resolved": None}
            )
            if outcome in ({"resolved": None}, {"pending": True}) and (act.socket in broken or by_reset):
                expected.settle(act, rejected=LOST_ERROR)
        elif outcome.get("rejected") == LOST_ERROR and (act.name != "pipe" or expected.does("reset")):
            broken.add(act.socket)


# ---------------------------------------------------------------- TLS


def _upgrades_with_locks(expected: Expected) -> None:
    """V8: a reader or writer that is held is released by the upgrade."""
    held: dict[str, str] = {}
    for act in expected.acts:
        if act.name in ("get_reader", "get_writer") and "returned" in expected.outcome(act):
            held[act.op["as"]] = act.socket
        elif act.name == "release_lock":
            held.pop(act.op["on"], None)
        elif act.name == "start_tls" and act.socket in held.values() and "returned" in expected.outcome(act):
            names = {name for name, socket in held.items() if socket == act.socket}
            _upgraded(expected, act, names)


def _upgraded(expected: Expected, upgrade: Act, held: set[str]) -> None:
    shaken = _shakes_hands(expected)
    ends = {"remoteAddress": expected.peer, "localAddress": "127.0.0.1:{listen}"}
    for act in expected.acts:
        if act.at <= upgrade.at:
            continue
        if act.name == "opened" and act.socket == upgrade.op["as"] and shaken:
            expected.settle(act, resolved=ends)
        elif act.name == "closed" and act.socket == upgrade.op["as"]:
            expected.settle(act, pending=True)
        elif act.op.get("prop") == "upgraded" and act.socket == upgrade.socket:
            expected.settle(act, returned=True)
        elif act.op.get("on") in held and act.name in READER_OPS:
            expected.settle(act, **{**expected.outcome(act), "rejected": type_error(READER_RELEASED)})
        elif act.op.get("on") in held and act.name in WRITER_OPS and act.called > upgrade.at:
            expected.settle(act, rejected=type_error(WRITER_RELEASED))


def _shakes_hands(expected: Expected) -> bool:
    """The client does its part, and trusts the certificate or not."""
    for step in expected.steps:
        if step.do == "tls_handshake":
            trusts = bool(step.step.get("trust", True))
            expected.see(step.at, result="ok" if trusts else "failed")
            return trusts
    return False


def _truncation_is_an_error(expected: Expected) -> None:
    """V9: after an upgrade as well."""
    upgraded = {act.op["as"] for act in expected.of("start_tls")}
    shaken = any(expected.entry(step).get("result") == "ok" for step in expected.steps)
    cut = expected.does("shutdown_write", "close") and not expected.does("tls_close_notify")
    for act in expected.of(*READS, "pipe"):
        outcome = expected.outcome(act)
        ended = outcome.get("done") is True or (act.name == "pipe" and outcome == {"resolved": None})
        if shaken and cut and act.socket in upgraded and ended:
            data = {"data": outcome["data"]} if "data" in outcome else {}
            expected.settle(act, rejected=LOST_ERROR, **data)


def _second_upgrade(expected: Expected) -> None:
    """V16: it was already called."""
    for act in expected.of("start_tls"):
        threw = expected.outcome(act).get("threw")
        if threw == type_error(CLOSED_BEFORE_START_TLS) and not act.latest:
            expected.settle(act, threw=type_error(START_TLS_TWICE))


def _tls_says_on(expected: Expected) -> None:
    """V21: a socket of a TLS listener."""
    for act in expected.acts if expected.scenario.listener == "on" else ():
        outcome = expected.outcome(act)
        if act.op.get("prop") == "secureTransport" and outcome == {"returned": "off"}:
            expected.settle(act, returned="on")
        elif act.name == "start_tls" and NOT_STARTTLS in str(outcome.get("threw")):
            expected.settle(act, threw=ON_TLS)


# ---------------------------------------------------------------- ends


def _unread_is_no_reset(expected: Expected) -> None:
    """V24: at an end in order."""
    ends = expected.done("return", "close")
    for look in expected.looks():
        if ends and not expected.breaks and look.end == "reset":
            expected.see(look.at, **{look.key: "close_notify" if look.secure else "eof"})


def _close_ends(expected: Expected) -> None:
    """V22: `close()` sends FIN, under TLS close_notify, and so does the end of the handler."""
    close = expected.done("close")
    reached = False
    for look in expected.looks():
        end = "close_notify" if look.secure else "eof"
        if look.end == "eof" and look.step.do != "probe_raw":
            expected.see(look.at, **{look.key: end})
        elif close is not None and look.waits and not expected.was_over(look.step, close):
            sure = look.end == "still_waiting" or expected.is_behind(look.step, close)
            expected.see(look.at, **{look.key: end if sure else AnyOf(("nothing", end))})
            reached = reached or look.end == "still_waiting"
    if reached:
        expected.go_on(end)


def _the_end_of_a_handler(expected: Expected) -> None:
    """V23: in order it loses nothing; by an exception, and after an abort, it resets."""
    ends = expected.done("return", "throw", "close")
    finished = expected.done("writer_close", "writable_close")
    for look in expected.looks():
        if expected.breaks and ends and look.end in ("eof", "close_notify"):
            if not expected.was_over(look.step, ends):
                expected.see(look.at, **{look.key: "reset" if finished is None else one_of(look.end, "reset")})
        elif look.entry.get("complete") is False and expected.done("return"):
            expected.see(look.at, complete=True)
        elif _goes_on(expected) and look.end == "eof":
            expected.see(look.at, **{look.key: "nothing" if look.key == "saw" else "still_waiting"})
    for act in expected.acts:
        if act.behind and AFTER_RETURN in str(expected.outcome(act).get("rejected")):
            _behind(expected, act)


def _goes_on(expected: Expected) -> bool:
    """Is a pipe from the client to the client under way at the return, that the client does not end?"""
    pipes = [act for act in expected.of("pipe") if act.op["on"] == act.op["to"]]
    under_way = bool(pipes) and all({"started", "pending"} & set(expected.outcome(act)) for act in pipes)
    return under_way and expected.done("return") is not None and not expected.does(*ENDING, "tls_close_notify")


def _behind(expected: Expected, act: Act) -> None:
    """The socket was closed in order."""
    if act.name == "closed":
        expected.settle(act, resolved=None)
    elif act.name in WRITER_OPS:
        expected.settle(act, rejected=type_error(WRITABLE_CLOSED))
    else:
        expected.settle(act, **{**expected.outcome(act), "rejected": ErrorOf("TypeError", ("ClosedError",))})


def _pipes_pass_on_resets(expected: Expected) -> None:
    """V25: both pipes of a proxy reject, and the far side sees a reset."""
    pipes = [act for act in expected.of("pipe") if act.op["on"] != act.op["to"]]
    origin = {step["do"] for step in expected.scenario.origin or ()}
    by_origin = bool({"reset", "refuse"} & origin)
    if not pipes or not (by_origin or expected.does("reset")):
        return
    for act in pipes:
        outcome = expected.outcome(act)
        if outcome == {"resolved": None} or STREAM_CANCELLED in str(outcome.get("rejected")):
            expected.settle(act, rejected=plain_error(CONNECT_FAILED) if "refuse" in origin else LOST_ERROR)
    if by_origin:
        for look in expected.looks():
            if look.end == "eof":
                expected.see(look.at, **{look.key: "reset"})
        return
    for at, entry in enumerate(expected.events["origin_saw"] or []):
        if entry.get("ended") == "eof":
            expected.see_in("origin_saw", at, {"ended": "reset"})


# ---------------------------------------------------------------- V26


def _counts_and_names(expected: Expected) -> None:
    """V26: `desired_size` and `ready` count, a path is a path."""
    waiting: dict[str, int] = {}
    for act in expected.acts:
        outcome = expected.outcome(act)
        if act.name == "write" and "started" in outcome:
            waiting[act.op["nowait"]] = len(decode(act.op["data"]))
        elif act.name == "write" and "nowait" in act.op and "resolved" in outcome:
            waiting.pop(act.op["nowait"], None)
        queued = sum(waiting.values())
        if act.op.get("prop") == "desiredSize" and outcome == {"returned": 1}:
            expected.settle(act, returned=1 - queued)
        elif act.name == "writer_ready" and outcome == {"resolved": None} and queued:
            expected.settle(act, pending=True)
        elif act.name == "opened" and "unix:{path}:0" in str(outcome):
            expected.settle(act, resolved={"localAddress": "unix:{path}"})


def _a_failed_handshake_is_the_end(expected: Expected) -> None:
    """V26: an alert, and the connection is closed, whether the handler goes on or not."""
    upgraded = {act.op["as"] for act in expected.of("start_tls")}
    failed = any("rejected" in expected.outcome(act) for act in expected.of("opened") if act.socket in upgraded)
    for look in expected.looks():
        if failed and look.waits:
            expected.see(look.at, **{look.key: "eof"})


# In the order in which they are applied: a later rule sees what the earlier ones made of an event.
INBOUND_RULES = (
    InboundRule("V1", _real_ends, normalisation=True),
    InboundRule("V4", _strings_are_refused),
    InboundRule("V3", _own_texts),
    InboundRule("V13", _unread_clear_text_is_counted),
    InboundRule("V7", _abort_has_its_reason),
    InboundRule("V16", _second_upgrade),
    InboundRule("V8", _upgrades_with_locks),
    InboundRule("V9", _truncation_is_an_error),
    InboundRule("V24", _unread_is_no_reset),
    InboundRule("V25", _pipes_pass_on_resets),
    InboundRule("V5", _closed_rejects),
    InboundRule("V21", _tls_says_on),
    InboundRule("V26", _counts_and_names),
    InboundRule("V26", _a_failed_handshake_is_the_end),
    InboundRule("V22", _close_ends),
    InboundRule("V23", _the_end_of_a_handler),
    InboundRule("V14", _chunks_may_be_larger),
)


def expect_inbound(scenario: Inbound) -> Expected:
    """What cfcat must show."""
    expected = Expected(scenario)
    for expected.kind in PROGRAMS:
        for rule in INBOUND_RULES if expected.is_there else ():
            expected.rule = rule.number
            rule.apply(expected)
    return expected
