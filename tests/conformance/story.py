"""What happens in a scenario, as its script and its recorded trace tell it: who acts on which connection, and when.

Pure. The rules ask their questions here, so that a condition is a fact of any scenario and never a name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.conformance.data import Event, Json, ScenarioError, data_size, decode, is_undefined
from tests.conformance.scenario import Scenario

__all__ = ["ENDING", "READS", "RECEIVING", "SENDS", "Act", "Moment", "SocketStory", "Step", "Story", "written_bytes"]

READS = ("read", "read_byob", "read_n", "read_all")
SENDS = ("send", "send_raw")
RECEIVING = ("recv", "recv_until_eof", "echo")
ENDING = ("shutdown_write", "close", "reset")

Moment = int  # an index of the trace


@dataclass
class SocketStory:
    """One socket of the client program.

    `text` is its address as `opened` tells it in the reference, `connection` the number of its connection.
    `origin` is the socket that this one is the upgrade of, `held` the readers and writers of that one which were
    held when `start_tls()` was called.
    """

    name: str
    made: Moment
    text: str
    connection: int
    secure: str
    half_open: bool
    origin: SocketStory | None = None
    expected_host: str | None = None
    held: tuple[str, ...] = ()
    upgrade: SocketStory | None = None

    @property
    def host(self) -> str:
        """The host of the address, without brackets."""
        return self.text.rpartition(":")[0].strip("[]")

    @property
    def is_ipv6(self) -> bool:
        return self.text.startswith("[")

    @property
    def tls(self) -> bool:
        return self.secure == "on"


@dataclass(frozen=True)
class Act:
    """One event of the trace: `op` is the call that it tells of, made at `called` (an `await` is later).

    `thing` names what it was called on, `socket` is that, or the socket that the reader or writer belongs to.
    """

    at: Moment
    called: Moment
    op: dict[str, Json]
    thing: str
    socket: SocketStory
    event: Event

    @property
    def name(self) -> str:
        return str(self.op["op"])


@dataclass(frozen=True)
class Step:
    """One step of the server's script: on connection number `connection`; `saw` is its entry in server_saw."""

    number: int
    step: dict[str, Json]
    connection: int | None
    saw: int | None

    @property
    def do(self) -> str:
        return str(self.step["do"])


@dataclass
class Story:
    """A scenario, told."""

    scenario: Scenario
    sockets: dict[str, SocketStory] = field(default_factory=dict)
    acts: list[Act] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        _Teller(self).tell()
        self.steps = list(_align(self.scenario))

    # ---- the client program

    @property
    def refuses(self) -> bool:
        """Does nobody listen?"""
        return bool(self.scenario.server) and self.scenario.server[0]["do"] == "refuse"

    def of(self, socket: SocketStory, *names: str, since: Moment = 0) -> Iterator[Act]:
        """The acts on a socket, its readers and its writers, called after `since`."""
        for act in self.acts:
            if act.socket is socket and act.called > since and (not names or act.name in names):
                yield act

    def first(self, socket: SocketStory, *names: str, since: Moment = 0) -> Act | None:
        return next(self.of(socket, *names, since=since), None)

    def waited_for(self, name: str, before: Moment) -> bool:
        """Has the client waited for this signal before a moment?"""
        ops = self.scenario.client[: before - 1]
        return any(op["op"] == "wait" and op["name"] == name for op in ops)

    def signalled(self, name: str) -> Moment | None:
        """When does the client set this signal?"""
        for at, op in enumerate(self.scenario.client, start=1):
            if op["op"] == "signal" and op["name"] == name:
                return at
        return None

    def failed(self, socket: SocketStory) -> bool:
        """Did its connection never come about?"""
        root = socket.origin or socket
        return self.refuses or any("proxy request failed" in _error_text(act.event) for act in self.of(root))

    def eof_read(self, socket: SocketStory) -> Moment | None:
        """When did a reader of the socket read the peer's EOF?"""
        for act in self.of(socket, *READS):
            if act.event.get("done") is True and not self.cancelled(socket, act.called):
                return act.at
        return None

    def cancelled(self, socket: SocketStory, before: Moment) -> bool:
        act = self.first(socket, "cancel", "readable_cancel")
        return act is not None and act.called < before and "rejected" not in act.event

    def aborted(self, socket: SocketStory) -> Act | None:
        """The first abort of the writing side that was let happen."""
        acts = self.of(socket, "writer_abort", "writable_abort")
        return next((act for act in acts if "rejected" not in act.event), None)

    def closing(self, socket: SocketStory) -> Moment | None:
        """When was the socket's `close()` called?"""
        act = self.first(socket, "close")
        return None if act is None else act.called

    def ended_before(self, socket: SocketStory, moment: Moment) -> bool:
        """Had its writing side been ended, by hand or by reading EOF, before a moment?"""
        ends = self.first(socket, "writer_close", "writable_close")
        eof = self.eof_read(socket)
        by_eof = eof is not None and eof < moment and not socket.half_open
        return by_eof or (ends is not None and ends.called < moment)

    # ---- the server's script

    def on_connection(self, socket: SocketStory) -> list[Step]:
        return [step for step in self.steps if step.connection == socket.connection]

    def clear_steps(self, socket: SocketStory) -> list[Step]:
        """The steps of its connection before the first TLS handshake."""
        steps = self.on_connection(socket)
        numbers = [step.number for step in steps if step.do == "tls_handshake"]
        return [step for step in steps if not numbers or step.number < numbers[0]]

    def tls_steps(self, socket: SocketStory) -> list[Step]:
        """The steps of its connection after the first TLS handshake."""
        steps = self.on_connection(socket)
        numbers = [step.number for step in steps if step.do == "tls_handshake"]
        return [step for step in steps if numbers and step.number > numbers[0]]

    def written(self, socket: SocketStory, before: Moment | None = None) -> bytes:
        """What the program writes to the socket, of what is not refused at once."""
        acts = [act for act in self.of(socket, "write", "write_many") if before is None or act.called < before]
        return b"".join(written_bytes(act.op) for act in acts if "rejected" not in act.event)

    def read_size(self, socket: SocketStory, before: Moment) -> int:
        """How many bytes the program had read from the socket when it made the call at `before`."""
        acts = [act for act in self.of(socket, *READS) if act.at < before]
        return sum(data_size(act.event.get("data", "")) for act in acts)


def written_bytes(op: dict[str, Json]) -> bytes:
    """The bytes of one write, by its type."""
    if op.get("type") == "json":
        return str(op["data"]).encode() if isinstance(op["data"], str) else b""
    return b"" if op.get("type") == "undefined" else decode(op["data"])


def _error_text(event: Event) -> str:
    error = event.get("rejected") or {}
    return str(error.get("message", ""))


class _Teller:
    """Walks through ops and trace together."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._owners: dict[str, SocketStory] = {}  # of sockets, readers and writers, by their names
        self._promises: dict[str, tuple[Moment, dict[str, Json]]] = {}
        self._held: list[str] = []

    def tell(self) -> None:
        scenario = self._story.scenario
        self._connected({"as": "s", **scenario.connect}, 0)
        for at, (op, event) in enumerate(zip(scenario.client, scenario.trace[1:], strict=False), start=1):
            self._act(at, op, event)

    def _act(self, at: Moment, op: dict[str, Json], event: Event) -> None:
        called = at
        if op["op"] == "await":
            if op["what"] not in self._promises:
                raise ScenarioError(f"no promise is called {op['what']!r}")
            called, op = self._promises[op["what"]]
        elif "nowait" in op:
            self._promises[op["nowait"]] = (at, op)
        if "returned" in event and op["op"] == "connect":
            self._connected(op, at)
        if "on" not in op or op["on"] not in self._owners:
            return
        socket = self._owners[op["on"]]
        self._story.acts.append(Act(at, called, op, op["on"], socket, event))
        if "returned" in event:
            self._returned(at, op, socket)

    def _returned(self, at: Moment, op: dict[str, Json], socket: SocketStory) -> None:
        match op["op"]:
            case "get_reader" | "get_writer":
                self._owners[op["as"]] = socket
                self._held.append(op["as"])
            case "release_lock":
                self._held = [name for name in self._held if name != op["on"]]
            case "start_tls":
                self._upgraded(at, op, socket)

    def _connected(self, op: dict[str, Json], at: Moment) -> None:
        address, options = op["address"], op.get("options")
        options = options if isinstance(options, dict) else {}
        text = address if isinstance(address, str) else ""
        if isinstance(address, dict):
            text = f"{address.get('hostname')}:{address.get('port')}".replace("{port:str}", "{port}")
        secure = options.get("secureTransport")
        half_open = options.get("allowHalfOpen")
        self._made(
            SocketStory(
                name=op["as"],
                made=at,
                text=text,
                connection=sum(socket.origin is None for socket in self._story.sockets.values()),
                secure=secure if isinstance(secure, str) else "off",
                half_open=bool(half_open) and not is_undefined(half_open),
            )
        )

    def _upgraded(self, at: Moment, op: dict[str, Json], socket: SocketStory) -> None:
        options = op.get("options")
        expected = options.get("expectedServerHostname") if isinstance(options, dict) else None
        socket.upgrade = SocketStory(
            name=op["as"],
            made=at,
            text=socket.text,
            connection=socket.connection,
            secure="on",
            half_open=socket.half_open,
            origin=socket,
            expected_host=expected or None if isinstance(expected, str) else None,
            held=tuple(name for name in self._held if self._owners[name] is socket),
        )
        self._made(socket.upgrade)

    def _made(self, socket: SocketStory) -> None:
        self._story.sockets[socket.name] = socket
        self._owners[socket.name] = socket


def _align(scenario: Scenario) -> Iterator[Step]:
    """Join the steps with their entries in server_saw; a step that was stopped may have one, or none."""
    connections: dict[str | None, int] = {}
    entry = 0
    for number, step in enumerate(scenario.server):
        name = step.get("on")
        if step["do"] == "accept":
            connections[name] = len(connections)
        saw = None
        if entry < len(scenario.server_saw) and scenario.server_saw[entry]["do"] == step["do"]:
            saw, entry = entry, entry + 1
        yield Step(number, step, connections.get(name), saw)
