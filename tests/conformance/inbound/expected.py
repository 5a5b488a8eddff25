"""The events that cfcat is expected to show, in the making, and the facts of a scenario that the rules ask for.

Each program has the client's connection of its number. A rule is told of one program at a time: `kind` is its trace,
and `acts`, `looks` and `steps` are of it and of its connection.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from tests.conformance.data import Event, Json, decode
from tests.conformance.inbound.scenario import Inbound
from tests.conformance.patterns import AnyOf

__all__ = ["ENDING", "KINDS", "PROGRAMS", "READS", "RECEIVING", "Act", "Expected", "Look", "Step", "one_of"]

PROGRAMS = ("trace", "trace_2")
KINDS = (*PROGRAMS, "peer_saw", "origin_saw")
HEAD = ("op", "on", "what")
END_OPS = ("return", "throw", "never")
READS = ("read", "read_byob", "read_n", "read_all")
RECEIVING = ("recv", "recv_until_eof")
PROBES = ("probe", "probe_raw")
ENDING = ("shutdown_write", "close", "reset")


@dataclass(frozen=True)
class Act:
    """One op of a program with the event it is expected to show.

    `op` is the call: for `await` the one whose promise it is, made at `called`. `socket` names the socket that it is
    about, `latest` says that this one was not upgraded before. `behind`: it is behind the end of the handler.
    """

    kind: str
    at: int
    called: int
    op: Event
    socket: str
    latest: bool
    behind: bool

    @property
    def name(self) -> str:
        return str(self.op["op"])


@dataclass(frozen=True)
class Step:
    """One step of the client, `at` its entry in peer_saw; `on` names its connection."""

    number: int
    step: Event
    at: int | None

    @property
    def do(self) -> str:
        return str(self.step["do"])

    @property
    def on(self) -> str | None:
        return self.step.get("on")


@dataclass(frozen=True)
class Look:
    """A step of the client that sees how the connection ends, its entry as expected so far, and whether it is TLS."""

    step: Step
    at: int
    entry: Event
    secure: bool

    @property
    def key(self) -> str:
        return "saw" if self.step.do in PROBES else "ended"

    @property
    def end(self) -> Json:
        return self.entry.get(self.key)

    @property
    def waits(self) -> bool:
        """Has it seen no end?"""
        return self.end in ("nothing", "still_waiting")


@dataclass
class Expected:
    """`by` names the rule that changed an event last; `recorded` are the events that it is compared with."""

    scenario: Inbound
    events: dict[str, list[Event] | None] = field(init=False)
    recorded: dict[str, list[Event] | None] = field(init=False)
    by: dict[tuple[str, int], str] = field(default_factory=dict)
    rule: str = ""  # which is at work
    kind: str = "trace"  # and on which program

    def __post_init__(self) -> None:
        self.events = {kind: copy.deepcopy(getattr(self.scenario, kind)) for kind in KINDS}
        self.recorded = copy.deepcopy(self.events)
        self._acts = {
            "trace": list(_acts("trace", self.scenario.handler)),
            "trace_2": list(_acts("trace_2", self.scenario.handler_2)),
        }
        self._steps = list(_steps(self.scenario))
        connects = [step.on for step in self._steps if step.do == "connect"]
        self._connections = dict(zip(PROGRAMS, connects, strict=False))

    # ---- the program

    @property
    def acts(self) -> list[Act]:
        return self._acts[self.kind]

    @property
    def is_there(self) -> bool:
        """Has the program a connection?"""
        return self.kind in self._connections

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

    def normalise(self, act: Act, **outcome: Json) -> None:
        """Say the same of an event in another way: no difference."""
        self.settle(act, **outcome)
        events, recorded = self.events[act.kind], self.recorded[act.kind]
        if events is not None and recorded is not None and act.at < len(events):
            recorded[act.at] = events[act.at]
            self.by.pop((act.kind, act.at), None)

    def of(self, *names: str) -> Iterator[Act]:
        return (act for act in self.acts if act.name in names)

    def done(self, *names: str) -> Act | None:
        """The first of these ops that is about the connection as it is then, in the handler, and is let happen."""
        for act in self.of(*names):
            if act.latest and not act.behind and not {"pending", "rejected", "threw"} & set(self.outcome(act)):
                return act
        return None

    @property
    def end(self) -> Act | None:
        """The `return` or `throw` of the handler."""
        return next(self.of("return", "throw"), None)

    @property
    def breaks(self) -> bool:
        """Does it end by an exception, or has it aborted what it writes?"""
        return self.done("throw", "writer_abort", "writable_abort") is not None

    # ---- the client

    @property
    def peer(self) -> str:
        """The client's address, as it is recorded."""
        name = self._connections.get(self.kind)
        return f"127.0.0.1:{{peer:{name}}}" if name else "127.0.0.1:{peer}"

    @property
    def steps(self) -> list[Step]:
        """Those of the connection."""
        return [step for step in self._steps if self.is_there and step.on == self._connections[self.kind]]

    def does(self, *steps: str) -> bool:
        return any(step.do in steps for step in self.steps)

    def entry(self, step: Step) -> Event:
        """What is expected of a step of the client; empty where it has no entry."""
        return {} if step.at is None else (self.events["peer_saw"] or [])[step.at]

    def looks(self) -> Iterator[Look]:
        """The entries that may tell of an end of the connection."""
        secure = False
        for step in self.steps:
            entry = self.entry(step)
            secure = secure or (step.do == "tls_handshake" and entry.get("result") == "ok")
            if step.at is not None and (step.do in (*RECEIVING, *PROBES, "drain")):
                yield Look(step, step.at, entry, secure)

    def see(self, at: int | None, **members: Json) -> None:
        """Expect other members in an entry of the client."""
        self.see_in("peer_saw", at, members)

    def see_in(self, kind: str, at: int | None, members: Event) -> None:
        """As `see`, of either peer."""
        events = self.events[kind]
        if events is not None and at is not None and {**events[at], **members} != events[at]:
            events[at] = {**events[at], **members}
            self.by[kind, at] = self.rule

    def was_over(self, step: Step, act: Act) -> bool:
        """Had the client got past a step before the program made a call? It said so, and the program waited."""
        said = {each.step["name"] for each in self._steps if each.do == "signal" and each.number > step.number}
        return any(other.op["name"] in said for other in self.of("wait") if other.at < act.called)

    def is_behind(self, step: Step, act: Act) -> bool:
        """Does the client get to a step only after a call? The program said so, and the client waited."""
        said = {other.op["name"] for other in self.of("signal") if other.at > act.called}
        return any(each.do == "wait" and each.step["name"] in said for each in self._steps[: step.number])

    def go_on(self, end: Json) -> None:
        """The script waited in vain for the end of this connection, and does not: expect of its later steps."""
        events = self.events["peer_saw"]
        assert events is not None
        for step in self._steps:
            if step.at is not None or step.do not in (*RECEIVING, *PROBES):
                continue
            on = {} if step.on is None else {"on": step.on}
            ours = step.on == self._connections[self.kind]
            if step.do in PROBES:
                entry = {"saw": end if ours else "nothing"}
            else:
                entry = {"data": "", "ended": end if ours else "still_waiting"}
            events.append({"do": step.do, **on, **entry})
            self.by["peer_saw", len(events) - 1] = self.rule
            self._steps[step.number] = replace(step, at=len(events) - 1)
            if entry.get("ended") == "still_waiting":
                return

    # ---- clear text before an upgrade

    def unread_before(self, upgrade: Act) -> tuple[int, int]:
        """How many bytes of the client's were surely unread when the program last wrote before it, and at most."""
        writes = [act for act in self.of("write", "write_many") if act.called < upgrade.called]
        if not writes:
            return 0, 0
        written = sum(len(decode(act.op["data"])) for act in writes if act.at == act.called)
        sent = sure = 0
        for step in self.steps:
            if step.do == "recv":
                written -= step.step["n"]
            if step.do == "tls_handshake" or written <= 0:
                break  # it has seen all that was written
            if step.do == "send":
                sent += len(decode(step.step["data"]))
                sure = sent if self.was_over(step, writes[-1]) else sure
        read = sum(_size(self.outcome(act)) for act in self.of(*READS) if act.at < upgrade.called)
        return max(0, sure - read), max(0, sent - read)


def _size(outcome: Event) -> int:
    data = outcome.get("data", "")
    return int(data["len"]) if isinstance(data, dict) and "len" in data else len(decode(data))


def _acts(kind: str, program: list[Event] | None) -> Iterator[Act]:
    owners = {"s": "s"}
    promises: dict[str, tuple[int, Event]] = {}
    upgraded: set[str] = set()
    behind = False
    for at, op in enumerate(program or []):
        called, told = promises.get(op["what"], (at, op)) if op["op"] == "await" else (at, op)
        if "nowait" in op:
            promises[op["nowait"]] = at, op
        socket = owners.get(told.get("on", "s"), "s")
        yield Act(kind, at, called, told, socket, socket not in upgraded, behind)
        if op["op"] == "start_tls":
            upgraded.add(socket)
        if "as" in op:
            owners[op["as"]] = op["as"] if op["op"] in ("connect", "start_tls") else socket
        behind |= op["op"] in END_OPS


def _steps(scenario: Inbound) -> Iterator[Step]:
    """Join the steps with their entries; a step that was stopped may have one, or none."""
    at = 0
    for number, step in enumerate(scenario.peer):
        if at < len(scenario.peer_saw) and scenario.peer_saw[at]["do"] == step["do"]:
            yield Step(number, step, at)
            at += 1
        else:
            yield Step(number, step, None)


def one_of(*values: Json) -> Json:
    """One of these; where there is but one, that one."""
    different = [value for at, value in enumerate(values) if value not in values[:at]]
    return different[0] if len(different) == 1 else AnyOf(tuple(different))
