"""The client program of a scenario: JavaScript's calls in Python's spelling, and what became of each.

The driver judges nothing. Where Python has no word for a JavaScript value it takes the nearest: a record becomes
a `SocketAddress`, `undefined` as a member is left out and as an argument is None, and a value of a wrong type is
passed on as it is.
"""

from __future__ import annotations

import array
import asyncio
import gc
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cfcat import Socket, SocketAddress, SocketInfo, connect
from tests.conformance.data import (
    Event,
    Json,
    ScenarioError,
    decode,
    encode,
    given_members,
    hide_port,
    is_undefined,
    put_port,
)
from tests.conformance.names import SeenError, record_error
from tests.conformance.network import PublicOnly
from tests.conformance.patience import settles
from tests.conformance.signals import Signals

__all__ = ["Driver"]

Op = Mapping[str, Json]

WITHIN_MS = 5000
WAIT_S = 10.0
# JavaScript's continuations run before the next op; what start_tls() does by "the next turn of the event loop"
# takes cfcat a few. No other plain call is given a turn: a write that was just queued must still be queued.
TURNS_AFTER_START_TLS = 5
TURNS_AFTER_DISPOSAL = 10

OPTION_NAMES = {
    "secureTransport": "secure_transport",
    "allowHalfOpen": "allow_half_open",
    "highWaterMark": "high_water_mark",
}
PROPERTY_NAMES = {
    "secureTransport": "secure_transport",
    "upgraded": "upgraded",
    "readable": "readable",
    "writable": "writable",
    "locked": "locked",
    "desiredSize": "desired_size",
}


@dataclass(frozen=True)
class Promise:
    """A call that was made and takes time: the future gives the event's outcome."""

    outcome: asyncio.Future[Event]


class Program(Protocol):
    """What the driver asks of a scenario."""

    @property
    def connect(self) -> Mapping[str, Json]: ...
    @property
    def client(self) -> Sequence[Op]: ...
    @property
    def network(self) -> str | None: ...


class Driver:
    """Runs one client program in the running event loop. `trace` is what was seen so far."""

    def __init__(self, scenario: Program, port: int, tls: ssl.SSLContext, signals: Signals) -> None:
        self._scenario = scenario
        self._port = port
        self._tls = tls
        self._signals = signals
        self._things: dict[str, Any] = {}
        self._promises: dict[str, Promise] = {}
        self._made: list[Promise] = []
        self._sockets: list[Socket] = []
        self.trace: list[Event] = []

    async def run(self) -> None:
        """Connect, and run the ops in order, unless connect throws."""
        first = {"op": "connect", "as": "s", **self._scenario.connect}
        self._note({"op": "connect"}, await self._perform(first))
        if "threw" in self.trace[0]:
            return
        await self.play(self._scenario.client)

    async def play(self, ops: Iterable[Op]) -> None:
        """Run these in order."""
        for op in ops:
            subject: Event = {key: op[key] for key in ("on", "what") if key in op}
            self._note({"op": op["op"], **subject}, await self._perform(op))

    async def dispose(self) -> list[str]:
        """Drop the sockets, and return what is left of them: there should be nothing."""
        for socket in self._sockets:
            socket.abort()
        for promise in self._made:
            promise.outcome.cancel()
        for _ in range(TURNS_AFTER_DISPOSAL):
            if not _other_tasks():
                break
            await asyncio.sleep(0)
        left = [f"task left pending: {task.get_coro()!r}" for task in _other_tasks()]
        # "Exception was never retrieved" is said by destructors; drop what they wait for.
        self._things.clear()
        self._sockets.clear()
        self._made.clear()
        self._promises.clear()
        gc.collect()
        return left

    # ---- one op

    def _note(self, head: Event, outcome: Event) -> None:
        self.trace.append({**head, **outcome})

    async def _perform(self, op: Op) -> Event:
        """Make the call, wait for its promise unless told not to, and return the outcome."""
        match op["op"]:
            case "await":
                return await self._settle(self._promise(op["what"]), op)
            case "sleep_ms":
                await asyncio.sleep(op["ms"] / 1000)
                return {}
            case "signal":
                self._signals.set(op["name"])
                return {}
            case "wait":
                return {} if await self._signals.wait_async(op["name"], WAIT_S) else {"timeout": True}
        for name in (op[key] for key in ("on", "to") if key in op):
            if name not in self._things:
                return {"missing": name}  # the call that makes it threw
        call = CALLS.get(op["op"])
        if call is None:
            raise ScenarioError(f"unknown client op {op['op']!r}")
        try:
            result = call(self, op)
        except ScenarioError:
            raise
        except Exception as error:
            return {"threw": self._error(error)}
        if not isinstance(result, Promise):
            if op["op"] == "start_tls":
                await _turns(TURNS_AFTER_START_TLS)
            return {"returned": result}
        self._made.append(result)
        if "nowait" in op:
            self._promises[op["nowait"]] = result
            return {"started": op["nowait"]}
        return await self._settle(result, op)

    async def _settle(self, promise: Promise, op: Op) -> Event:
        if await settles(promise.outcome, op.get("within_ms", WITHIN_MS)):
            return promise.outcome.result()
        return {"pending": True}

    def _promise(self, name: str) -> Promise:
        try:
            return self._promises[name]
        except KeyError:
            raise ScenarioError(f"no promise is called {name!r}") from None

    # ---- promises

    def _begin(self, outcome: Coroutine[Any, Any, Event]) -> Promise:
        """Wrap an outcome so that an exception of the call becomes `rejected`."""
        return Promise(asyncio.ensure_future(self._rejections(outcome)))

    async def _rejections(self, outcome: Coroutine[Any, Any, Event]) -> Event:
        try:
            return await outcome
        except Exception as error:
            return {"rejected": self._error(error)}

    def _error(self, error: Exception) -> SeenError:
        return SeenError(self.hide(record_error(error)), error)

    def hide(self, value: Json) -> Json:
        """Put the placeholders back for what was chosen at run time."""
        return hide_port(value, self._port)

    def _value(self, operation: Awaitable[Any]) -> Promise:
        """A promise whose value is recorded as it is."""

        async def outcome() -> Event:
            value = await operation
            return {"resolved": self._info(value) if isinstance(value, SocketInfo) else value}

        return self._begin(outcome())

    def _info(self, info: SocketInfo) -> Event:
        ends = {"remoteAddress": info.remote_address or None, "localAddress": info.local_address}
        hidden: Event = self.hide({key: value for key, value in ends.items() if value is not None})
        return hidden

    # ---- sockets

    def _make(self, op: Op, thing: Any) -> None:
        """Give an object the name that later ops use; it is not shown."""
        self._things[op["as"]] = thing

    def _connect(self, op: Op) -> None:
        arguments = [_address(put_port(op["address"], self._port))]
        if "options" in op or self._scenario.network is not None:
            arguments.append(self._options(put_port(op.get("options", {}), self._port)))
        socket = connect(*arguments)
        self._sockets.append(socket)
        self._make(op, socket)

    def _options(self, options: Json) -> Json:
        if is_undefined(options):
            options = {}
        if not isinstance(options, Mapping):
            return options
        spelled = {OPTION_NAMES.get(key, key): value for key, value in given_members(options).items()}
        if spelled.get("secure_transport") in ("on", "starttls"):
            spelled["tls"] = self._tls
        if self._scenario.network == "public-only":
            spelled["policy"] = PublicOnly()
        return spelled

    def _start_tls(self, op: Op) -> None:
        socket: Socket = self._things[op["on"]]
        options = op.get("options")
        if options is None or is_undefined(options):
            upgraded = socket.start_tls()
        elif isinstance(options, Mapping):
            upgraded = socket.start_tls(given_members(options).get("expectedServerHostname"))
        else:
            upgraded = socket.start_tls(options)
        self._sockets.append(upgraded)
        self._make(op, upgraded)

    def _get(self, op: Op) -> Json:
        value = self._things[op["on"]]
        for name in op["prop"].split("."):
            if name not in PROPERTY_NAMES:
                raise ScenarioError(f"unknown property {op['prop']!r}")
            value = getattr(value, PROPERTY_NAMES[name])
        return value

    def _pipe(self, op: Op) -> Promise:
        options = given_members(op.get("options") or {})
        keywords = {"prevent_close": options["preventClose"]} if "preventClose" in options else {}
        return self._value(self._things[op["on"]].readable.pipe_to(self._things[op["to"]].writable, **keywords))

    # ---- reading

    def _get_reader(self, op: Op) -> None:
        readable = self._things[op["on"]].readable
        self._make(op, readable.get_reader(op["mode"]) if "mode" in op else readable.get_reader())

    def _read(self, op: Op) -> Promise:
        operation = self._things[op["on"]].read()

        async def outcome() -> Event:
            chunk = await operation
            return {"done": False, "data": encode(chunk)} if chunk else {"done": True}

        return self._begin(outcome())

    def _read_byob(self, op: Op) -> Promise:
        buffer = bytearray(op["size"])
        operation = self._things[op["on"]].read_into(buffer)

        async def outcome() -> Event:
            size = await operation
            return {"done": False, "data": encode(bytes(buffer[:size]))} if size else {"done": True}

        return self._begin(outcome())

    def _read_many(self, op: Op, count: int | None) -> Promise:
        """Read until `count` bytes have come (None: to the end); the first read is made at once."""
        reader = self._things[op["on"]]
        first = reader.read()

        async def outcome() -> Event:
            collected = bytearray()
            operation = first
            try:
                while chunk := await operation:
                    collected += chunk
                    if count is not None and len(collected) >= count:
                        return {"done": False, "data": encode(bytes(collected))}
                    operation = reader.read()
            except Exception as error:
                return {"rejected": self._error(error), "data": encode(bytes(collected))}
            return {"done": True, "data": encode(bytes(collected))}

        return self._begin(outcome())

    # ---- writing

    def _write(self, op: Op) -> Promise:
        return self._value(self._things[op["on"]].write(_chunk(op)))

    def _write_many(self, op: Op) -> Promise:
        """Write chunk by chunk, awaiting each; the first write is made at once."""
        writer = self._things[op["on"]]
        data, size = decode(op["data"]), op["chunk"]
        first = writer.write(data[:size])

        async def outcome() -> Event:
            await first
            for start in range(size, len(data), size):
                await writer.write(data[start : start + size])
            return {"resolved": None}

        return self._begin(outcome())

    def _with_reason(self, call: Callable[..., Awaitable[None]], op: Op) -> Promise:
        given = "reason" in op and not is_undefined(op["reason"])
        return self._value(call(op["reason"]) if given else call())


def _address(address: Json) -> Any:
    if isinstance(address, Mapping) and not is_undefined(address):
        members = given_members(address)
        return SocketAddress(**{name: members[name] for name in ("hostname", "port") if name in members})
    return None if is_undefined(address) else address


def _chunk(op: Op) -> Any:
    """The chunk of a `write` as the nearest of Python's types."""
    kind = op.get("type", "bytes")
    if kind == "json":
        return op["data"]
    if kind == "undefined":
        return None
    data = decode(op["data"])
    match kind:
        case "bytes":
            return data
        case "string":
            return data.decode()
        case "arraybuffer":
            return bytearray(data)
        case "dataview":
            return memoryview(data)
        case "uint16array":
            return array.array("H", data)
        case "subarray":
            return memoryview(b"<<<" + data + b">>>")[3:-3]
    raise ScenarioError(f"unknown chunk type {kind!r}")


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def _other_tasks() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


CALLS: dict[str, Callable[[Driver, Op], Any]] = {
    "connect": Driver._connect,
    "opened": lambda self, op: self._value(self._things[op["on"]].opened),
    "closed": lambda self, op: self._value(self._things[op["on"]].closed),
    "close": lambda self, op: self._value(self._things[op["on"]].close()),
    "start_tls": Driver._start_tls,
    "get": Driver._get,
    "get_reader": Driver._get_reader,
    "get_writer": lambda self, op: self._make(op, self._things[op["on"]].writable.get_writer()),
    "release_lock": lambda self, op: self._things[op["on"]].release_lock(),
    "readable_cancel": lambda self, op: self._with_reason(self._things[op["on"]].readable.cancel, op),
    "writable_close": lambda self, op: self._value(self._things[op["on"]].writable.close()),
    "writable_abort": lambda self, op: self._with_reason(self._things[op["on"]].writable.abort, op),
    "pipe": Driver._pipe,
    "read": Driver._read,
    "read_byob": Driver._read_byob,
    "read_n": lambda self, op: self._read_many(op, op["n"]),
    "read_all": lambda self, op: self._read_many(op, None),
    "cancel": lambda self, op: self._with_reason(self._things[op["on"]].cancel, op),
    "reader_closed": lambda self, op: self._value(self._things[op["on"]].closed),
    "write": Driver._write,
    "write_many": Driver._write_many,
    "writer_close": lambda self, op: self._value(self._things[op["on"]].close()),
    "writer_abort": lambda self, op: self._with_reason(self._things[op["on"]].abort, op),
    "writer_ready": lambda self, op: self._value(self._things[op["on"]].ready),
    "writer_closed": lambda self, op: self._value(self._things[op["on"]].closed),
}
