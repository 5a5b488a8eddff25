"""Where cfcat differs from the reference on purpose in accepting: V21 to V26, and those of the socket that apply here.

`expect_inbound` turns the events that the reference showed into those that cfcat must show. A rule is about events and
the facts of a scenario, so it holds for scenarios that nobody has seen yet; where it applies, what the reference shows
is wrong. Source: inbound rules I1 to I51.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.conformance.data import Event, Json, data_size, decode
from tests.conformance.inbound.scenario import Inbound
from tests.conformance.patterns import AnyOf, Chunk, ErrorOf

__all__ = ["INBOUND_RULES", "KINDS", "Expected", "expect_inbound"]

KINDS = ("trace", "trace_2", "peer_saw", "origin_saw")
LOST: Event = {"name": "Error", "message": "Network connection lost."}
AFTER_RETURN = "Can't read from request stream because client disconnected."
INTERNAL = "internal error; reference ="
JSG = "jsg.Error: "
CANCELLED = "Stream was cancelled."
NOT_STARTTLS = "must be set to 'starttls'"
ON_TLS: Event = {"name": "TypeError", "message": "Cannot startTls on a TLS socket."}
REFERENCE_CHUNK_BYTES = 4096
HEAD = ("op", "on", "what")
END_OPS = ("return", "throw", "never")


@dataclass(frozen=True)
class Act:
    """One op of a program with the event it is expected to show; `socket`: that which it is about, by its name."""

    kind: str
    at: int
    op: Event  # for `await` the op whose promise it is
    socket: str
    behind: bool  # it is behind the end of the handler


@dataclass
class Expected:
    """The events to come, in the making; `by` names the rule that changed an event last."""

    scenario: Inbound
    events: dict[str, list[Event] | None] = field(init=False)
    acts: list[Act] = field(init=False)
    by: dict[tuple[str, int], str] = field(default_factory=dict)
    rule: str = ""  # which is at work

    def __post_init__(self) -> None:
        self.events = {kind: copy.deepcopy(getattr(self.scenario, kind)) for kind in KINDS}
        self.acts = [*_acts("trace", self.scenario.handler), *_acts("trace_2", self.scenario.handler_2)]

    # ---- the programs

    def outcome(self, act: Act) -> Event:
        """What is expected of an op, without op, on and what; nothing where it is not reached."""
        events = self.events[act.kind] or []
        return {} if act.at >= len(events) else {k: v for k, v in events[act.at].items() if k not in HEAD}

    def settle(self, act: Act, **outcome: Json) -> None:
        """Expect another outcome."""
        events = self.events[act.kind]
        if events is None or act.at >= len(events) or outcome == self.outcome(act):
            return
        events[act.at] = {**{k: v for k, v in events[act.at].items() if k in HEAD}, **outcome}
        self.by[act.kind, act.at] = self.rule

    def of(self, *names: str) -> Iterator[Act]:
        return (act for act in self.acts if act.op["op"] in names)

    def has(self, name: str) -> bool:
        """Is this op in a handler, before its end or as its end?"""
        return any(True for act in self.of(name) if not act.behind)

    # ---- the scripts

    def entries(self, kind: str) -> Iterator[tuple[int, Event, bool]]:
        """What a script saw: where, the entry, and whether it is under TLS by then."""
        secure = False
        for at, entry in enumerate(self.events[kind] or []):
            yield at, entry, secure
            secure |= entry["do"] == "tls_handshake" and entry.get("result") == "ok"

    def see(self, kind: str, at: int, **members: Json) -> None:
        events = self.events[kind]
        assert events is not None
        if {**events[at], **members} != events[at]:
            events[at] = {**events[at], **members}
            self.by[kind, at] = self.rule

    def does(self, script: str, step: str) -> bool:
        steps = self.scenario.peer if script == "peer" else self.scenario.origin
        return any(each["do"] == step for each in steps or [])


def _acts(kind: str, program: list[Event] | None) -> list[Act]:
    owners = {"s": "s"}
    promises: dict[str, Event] = {}
    acts: list[Act] = []
    behind = False
    for at, op in enumerate(program or []):
        told = op
        if op["op"] == "await":
            told = promises.get(op["what"], op)
        elif "nowait" in op:
            promises[op["nowait"]] = op
        socket = owners.get(told.get("on", ""), "")
        if "as" in op:
            owners[op["as"]] = op["as"] if op["op"] in ("connect", "start_tls") else socket
        acts.append(Act(kind, at, told, socket, behind))
        behind |= op["op"] in END_OPS
    return acts


@dataclass(frozen=True)
class InboundRule:
    """One difference on purpose: `apply` finds the events of any scenario that it is about."""

    number: str
    apply: Callable[[Expected], None]


def _own_texts(expected: Expected) -> None:
    """V3: no internal text of the runtime's."""
    for act, error in _errors(expected, JSG):
        expected.settle(act, rejected={**error, "message": error["message"].removeprefix(JSG)})


def _failed_handshakes_say_why(expected: Expected) -> None:
    """V13, with V3: the error is cfcat's own, and counts clear text that was unread."""
    for act, _ in _errors(expected, INTERNAL):
        kinds = ("InjectionError", "TlsError", "CertificateError", "ConnectTimeout")
        expected.settle(act, **{**expected.outcome(act), "rejected": ErrorOf("Error", kinds)})


def _errors(expected: Expected, begin: str) -> Iterator[tuple[Act, Event]]:
    """The ops that reject with a text that begins so, and their errors."""
    for act in expected.acts:
        error = expected.outcome(act).get("rejected")
        if isinstance(error, dict) and str(error.get("message", "")).startswith(begin):
            yield act, error


def _abort_has_its_reason(expected: Expected) -> None:
    """V7: `closed` rejects with the reason itself."""
    reasons = [act.op.get("reason") for act in expected.of("writer_abort", "writable_abort")]
    for act in expected.of("closed"):
        error = expected.outcome(act).get("rejected")
        if isinstance(error, dict) and error.get("message") in reasons:
            expected.settle(act, rejected={"value": error["message"]})


def _upgrades_with_locks(expected: Expected) -> None:
    """V8: a reader or writer that is held is released by the upgrade."""
    held: set[str] = set()
    upgraded: dict[str, str] = {}
    for act in expected.acts:
        op, outcome = act.op, expected.outcome(act)
        if op["op"] in ("get_reader", "get_writer"):
            held.add(op["as"])
        elif op["op"] == "release_lock":
            held.discard(op["on"])
        elif op["op"] == "start_tls" and held and "returned" in outcome:
            upgraded[act.socket] = op["as"]
            _handshakes(expected)
        elif op["op"] == "opened" and act.socket in upgraded.values() and outcome == {"pending": True}:
            expected.settle(act, resolved={"remoteAddress": "127.0.0.1:{peer}", "localAddress": "127.0.0.1:{listen}"})
        elif op["op"] == "closed" and act.socket in upgraded.values() and "rejected" in outcome:
            expected.settle(act, pending=True)
        elif op["op"] == "get" and op["prop"] == "upgraded" and act.socket in upgraded:
            expected.settle(act, returned=True)
        elif op["op"] in ("read", "write") and act.socket in upgraded and op["on"] in held:
            expected.settle(act, rejected=ErrorOf("TypeError", ("ClosedError",)))


def _handshakes(expected: Expected) -> None:
    for at, entry, _ in list(expected.entries("peer_saw")):
        if entry["do"] == "tls_handshake":
            expected.see("peer_saw", at, result="ok")


def _truncation_is_an_error(expected: Expected) -> None:
    """V9: after an upgrade as well."""
    for at, _, secure in expected.entries("peer_saw"):
        if secure and at:
            break
    else:
        if not any(entry.get("result") == "ok" for _, entry, _ in expected.entries("peer_saw")):
            return
    cuts = any(step["do"] in ("shutdown_write", "close") for step in expected.scenario.peer)
    ends = any(step["do"] == "tls_close_notify" for step in expected.scenario.peer)
    if not cuts or ends:
        return
    for act in expected.of("read_all", "read"):
        outcome = expected.outcome(act)
        if outcome.get("done") is True:
            data = {"data": outcome["data"]} if "data" in outcome else {}
            expected.settle(act, rejected=LOST, **data)


def _closed_rejects(expected: Expected) -> None:
    """V5: when the connection was reset or broke."""
    broken: set[tuple[str, str]] = set()
    left: set[tuple[str, str]] = set()
    for act in expected.acts:
        outcome, socket = expected.outcome(act), (act.kind, act.socket)
        if act.op["op"] == "close":
            left.add(socket)
        elif act.op["op"] == "closed" and not act.behind:
            by_reset = expected.does("peer", "reset") and act.socket == "s" and socket not in left
            settled = outcome == {"resolved": None}
            if (settled or outcome == {"pending": True}) and (socket in broken or (by_reset and settled)):
                expected.settle(act, rejected=LOST)
                broken.add(socket)
        elif outcome.get("rejected") == LOST and act.op["op"] != "pipe":
            broken.add(socket)
        elif outcome.get("rejected") == LOST and expected.does("peer", "reset") and expected.scenario.origin is None:
            broken.add(socket)


def _tls_says_on(expected: Expected) -> None:
    """V21: a socket of a TLS listener."""
    if expected.scenario.listener != "on":
        return
    for act in expected.acts:
        outcome = expected.outcome(act)
        if act.op.get("prop") == "secureTransport" and outcome == {"returned": "off"}:
            expected.settle(act, returned="on")
        elif act.op["op"] == "start_tls" and NOT_STARTTLS in str(outcome.get("threw")):
            expected.settle(act, threw=ON_TLS)


def _close_ends(expected: Expected) -> None:
    """V22: `close()` sends FIN, under TLS close_notify, and so does the end of the handler."""
    closes = expected.has("close")
    for at, entry, secure in list(expected.entries("peer_saw")):
        if entry["do"] not in ("recv_until_eof", "probe", "drain"):
            continue
        key = "saw" if entry["do"] == "probe" else "ended"
        if closes and entry.get(key) in ("still_waiting", "nothing") and not expected.has("start_tls"):
            expected.see("peer_saw", at, **{key: "eof"})
            entry = {**entry, key: "eof"}
        if secure and entry.get(key) == "eof":
            expected.see("peer_saw", at, **{key: "close_notify"})


def _the_end_of_a_handler(expected: Expected) -> None:
    """V23: in order it loses nothing; by an exception, and after an abort, it resets."""
    cut = expected.has("throw") or expected.has("writer_abort") or expected.has("writable_abort")
    ends = expected.has("throw") or expected.has("return") or expected.has("close")
    pipes = any(act.op["op"] == "pipe" and "nowait" in act.op for act in expected.acts)
    for at, entry, _ in list(expected.entries("peer_saw")):
        key = "saw" if entry["do"] == "probe" else "ended"
        if cut and ends and entry.get(key) in ("eof", "close_notify"):
            expected.see("peer_saw", at, **{key: "reset"})
        elif entry.get("complete") is False and expected.has("return"):
            expected.see("peer_saw", at, complete=True)
        elif pipes and expected.has("return") and entry.get("saw") == "eof":
            expected.see("peer_saw", at, saw="nothing")
    for act in expected.acts:
        if act.behind and AFTER_RETURN in str(expected.outcome(act).get("rejected")):
            if act.op["op"] == "closed":
                expected.settle(act, resolved=None)
            else:
                expected.settle(act, rejected=ErrorOf("TypeError", ("ClosedError",)))


def _unread_is_no_reset(expected: Expected) -> None:
    """V24: at an end in order."""
    if expected.has("throw") or expected.has("writer_abort") or expected.scenario.origin is not None:
        return
    for at, entry, secure in list(expected.entries("peer_saw")):
        key = "saw" if entry["do"] == "probe" else "ended"
        if entry.get(key) == "reset":
            expected.see("peer_saw", at, **{key: "close_notify" if secure else "eof"})


def _pipes_pass_on_resets(expected: Expected) -> None:
    """V25: both pipes of a proxy reject, and the far side sees a reset."""
    if expected.scenario.origin is None:
        return
    refused = expected.does("origin", "refuse")
    by_origin = refused or expected.does("origin", "reset")
    if not by_origin and not expected.does("peer", "reset"):
        return
    failure = {"name": "Error", "message": "proxy request failed, cannot connect to the specified address"}
    for act in expected.of("pipe"):
        outcome = expected.outcome(act)
        if outcome == {"resolved": None} or CANCELLED in str(outcome.get("rejected")):
            expected.settle(act, rejected=failure if refused else LOST)
    kind = "peer_saw" if by_origin else "origin_saw"
    for at, entry, _ in list(expected.entries(kind)):
        if entry.get("ended") == "eof":
            expected.see(kind, at, ended="reset")


def _counts_and_names(expected: Expected) -> None:
    """V26: `desired_size` and `ready` count, a path is a path, a handshake that failed is the end."""
    queued = 0
    waiting: dict[str, int] = {}
    for act in expected.acts:
        outcome = expected.outcome(act)
        if act.op["op"] == "write" and "nowait" in act.op and outcome == {"started": act.op["nowait"]}:
            waiting[act.op["nowait"]] = len(decode(act.op["data"]))
        elif act.op["op"] == "write" and "nowait" in act.op and "resolved" in outcome:
            waiting.pop(act.op["nowait"], None)
        queued = sum(waiting.values())
        if act.op.get("prop") == "desiredSize" and outcome == {"returned": 1}:
            expected.settle(act, returned=1 - queued)
        elif act.op["op"] == "writer_ready" and outcome == {"resolved": None} and queued:
            expected.settle(act, pending=True)
        elif act.op["op"] == "opened" and "unix:{path}:0" in str(outcome):
            expected.settle(act, resolved={"localAddress": "unix:{path}"})
    failed = any(isinstance(expected.outcome(act).get("rejected"), ErrorOf) for act in expected.of("opened"))
    for at, entry, _ in list(expected.entries("peer_saw")):
        if failed and entry.get("ended") == "still_waiting":
            expected.see("peer_saw", at, ended=AnyOf(("reset", "eof")))


def _chunks_may_be_larger(expected: Expected) -> None:
    """V14: a read may give more than 4096 bytes."""
    stream = b"".join(decode(step["data"]) for step in expected.scenario.peer if step["do"] == "send")
    reads = [act for act in expected.of("read", "read_n", "read_byob", "read_all") if act.kind == "trace"]
    for act in reads:
        outcome = expected.outcome(act)
        if act.op["op"] == "read" and data_size(outcome.get("data", "")) == REFERENCE_CHUNK_BYTES:
            before = tuple(other.at for other in reads if other.at < act.at)
            expected.settle(act, done=False, data=Chunk(stream, REFERENCE_CHUNK_BYTES, before))


# In the order in which they are applied: a later rule sees what the earlier ones made of an event.
INBOUND_RULES = (
    InboundRule("V3", _own_texts),
    InboundRule("V13", _failed_handshakes_say_why),
    InboundRule("V7", _abort_has_its_reason),
    InboundRule("V8", _upgrades_with_locks),
    InboundRule("V9", _truncation_is_an_error),
    InboundRule("V25", _pipes_pass_on_resets),
    InboundRule("V5", _closed_rejects),
    InboundRule("V21", _tls_says_on),
    InboundRule("V24", _unread_is_no_reset),
    InboundRule("V22", _close_ends),
    InboundRule("V23", _the_end_of_a_handler),
    InboundRule("V26", _counts_and_names),
    InboundRule("V14", _chunks_may_be_larger),
)


def expect_inbound(scenario: Inbound) -> Expected:
    """What cfcat must show."""
    expected = Expected(scenario)
    for rule in INBOUND_RULES:
        expected.rule = rule.number
        rule.apply(expected)
    return expected
