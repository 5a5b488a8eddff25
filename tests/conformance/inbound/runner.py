"""Play an inbound scenario with cfcat: listener, handler, scripted client, comparison."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from cfcat import Socket, serve
from cfcat.core.choices import SecureTransport
from tests.conformance.compare import Verdict, agree, line
from tests.conformance.data import DATA_MEMBERS, Event, Json, ScenarioError
from tests.conformance.inbound.client import Client
from tests.conformance.inbound.expected import KINDS, Expected
from tests.conformance.inbound.handler import Handler, Thrown
from tests.conformance.inbound.rules import expect_inbound
from tests.conformance.inbound.scenario import Inbound
from tests.conformance.names import SeenError
from tests.conformance.patience import turns_true
from tests.conformance.patterns import Run
from tests.conformance.runner import GRACE_MS, Certificates, complaint
from tests.conformance.server import Server
from tests.conformance.signals import Signals

__all__ = ["judge_inbound"]

LONGEST_MS = 20_000  # for a program of a scenario
NEVER_CALLED_MS = 500  # after the client's script has ended: then no handler will be called any more
ADDRESSES = {"ipv6": "[::1]:0"}
TCP = "127.0.0.1:0"
MODES: dict[str, SecureTransport] = {"on": "on", "starttls": "starttls"}


@dataclass
class Seen:
    """What a scenario showed; a trace is None where the handler was never called."""

    trace: list[Event] | None = None
    trace_2: list[Event] | None = None
    peer_saw: list[Event] = field(default_factory=list)
    origin_saw: list[Event] | None = None
    complaints: list[str] = field(default_factory=list)
    port: int = 0  # of the scripted server
    reported: int = 0  # exceptions of handlers, to the event loop


def judge_inbound(scenario: Inbound, certificates: Certificates) -> Verdict:
    """Run a scenario and compare. May be called in any thread; makes an event loop of its own."""
    try:
        expected = expect_inbound(scenario)
        with tempfile.TemporaryDirectory(prefix="cfcat-inbound-") as folder:
            seen = _Play(expected, certificates, Path(folder)).run()
    except ScenarioError as error:
        return Verdict(scenario.name, "FAIL", problem=f"the scenario cannot be run: {error}")
    except Exception as error:  # a fault of the runner fails one scenario, not all
        return Verdict(scenario.name, "FAIL", problem=f"the runner failed: {error!r}")
    return _compare(expected, seen)


def _compare(expected: Expected, seen: Seen) -> Verdict:
    """Judge by what was expected. The first event that is wrong is the one reported."""
    scenario = expected.scenario
    rules: set[str] = set()
    for kind in KINDS:
        wanted, got, recorded = expected.events[kind], getattr(seen, kind), expected.recorded[kind]
        run = Run(seen.port, got or [], [], seen.complaints)
        if (wanted is None) is not (got is None):
            return Verdict(scenario.name, "FAIL", problem=f"{kind}: expected {wanted!r:.60}, seen {got!r:.200}")
        for at in range(max(len(wanted or []), len(got or []))):
            want, saw, reference = (each[at] if each and at < len(each) else None for each in (wanted, got, recorded))
            if want is None or saw is None or not agree(want, saw, run):
                by = expected.by.get((kind, at), "")
                problem = f"{kind}[{at}]: expected{f' ({by})' if by else ''} {line(want)}, seen {line(saw)}"
                return Verdict(scenario.name, "FAIL", problem=" ".join([problem, *seen.complaints]))
            if reference is None or not agree(reference, saw, run):
                rules.add(expected.by.get((kind, at), "?"))
    if seen.complaints:
        return Verdict(scenario.name, "FAIL", problem=" ".join(["all events as expected, but", *seen.complaints]))
    numbers = tuple(sorted(rules, key=lambda number: int(number[1:])))
    return Verdict(scenario.name, "differs" if numbers else "pass", numbers)


def any_set(*events: asyncio.Event | threading.Event) -> bool:
    return any(event.is_set() for event in events)


class _Play:
    """One run of one scenario."""

    def __init__(self, expected: Expected, certificates: Certificates, folder: Path) -> None:
        scenario = expected.scenario
        self._scenario = scenario
        self._expected = expected
        self._certificates = certificates
        self._path = str(folder / "socket")
        self._port = 0  # the listener's
        self._seen = Seen()
        self._signals = Signals()
        self._client = Client(scenario.peer, certificates.client_context, self._signals)
        self._origin: Server | None = None
        if scenario.origin is not None:
            self._origin = Server(scenario.origin, certificates.server_context, self._signals)
            self._seen.port = self._origin.port

    def run(self) -> Seen:
        scripts = [each for each in (self._client, self._origin) if each is not None]
        try:
            if self._origin is not None:
                self._origin.start()
            with asyncio.Runner() as loop:
                loop.get_loop().set_exception_handler(self._complain)
                loop.run(self._run())
        finally:
            for script in scripts:
                if script.has_begun:
                    script.stop()
                script.close()
        for script in scripts:
            if isinstance(script.error, ScenarioError):
                raise script.error
            if script.error is not None:
                self._seen.complaints.append(f"a script failed: {script.error!r}")
        return self._seen

    def _complain(self, _: object, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), Thrown):
            self._seen.reported += 1
        else:
            self._seen.complaints.append(complaint(context))

    async def _run(self) -> None:
        go = asyncio.Event()
        programs = (self._scenario.handler, self._scenario.handler_2)
        handlers = [None if program is None else Handler(program, self._driver(), go) for program in programs]
        serving = asyncio.create_task(self._serve(handlers))
        try:
            await turns_true(lambda: self._client.has_begun or serving.done(), GRACE_MS)
            if serving.done():
                serving.result()
            await self._watch([each for each in handlers if each is not None])
            self._note(handlers)
            for handler in handlers:
                if handler is not None and handler.error is not None:
                    raise handler.error
        finally:
            go.set()
            serving.cancel()
            await asyncio.wait([serving])
            for handler in handlers:
                if handler is not None:
                    self._seen.complaints += await handler.dispose()

    def _driver(self) -> dict[str, Any]:
        port = 0 if self._origin is None else self._origin.port
        return {"port": port, "tls": self._certificates.client_context(), "signals": self._signals}

    async def _serve(self, handlers: list[Handler | None]) -> None:
        waiting = list(handlers)

        async def handle(socket: Socket) -> None:
            handler = waiting.pop(0) if waiting else None
            if handler is not None:
                await handler(socket)

        listener = self._scenario.listener
        mode: SecureTransport = MODES.get(listener, "off")
        address = f"unix:{self._path}" if listener == "unix" else ADDRESSES.get(listener, TCP)
        tls = None if mode == "off" else self._certificates.server_context("good")
        await serve(handle, address, ready=self._begin, secure_transport=mode, tls=tls)

    def _begin(self, address: str) -> None:
        if address.startswith("unix:"):
            self._client.connect_to(address.removeprefix("unix:"))
            return
        host, _, port = address.rpartition(":")
        self._port = int(port)
        self._client.connect_to((host.strip("[]"), self._port))

    async def _watch(self, handlers: list[Handler]) -> None:
        """Wait for the programs, then for the scripts; then stop these."""
        client = self._client
        for handler in handlers:
            await turns_true(partial(any_set, handler.called, client.finished), LONGEST_MS)
            await turns_true(handler.called.is_set, NEVER_CALLED_MS)
            if handler.called.is_set():
                await turns_true(handler.over.is_set, LONGEST_MS)
        scripts = [each for each in (self._client, self._origin) if each is not None]

        def finished() -> bool:
            return all(script.finished.is_set() for script in scripts)

        settled = await turns_true(finished, self._scenario.settle_ms)
        if not settled and self._ends():
            await turns_true(finished, GRACE_MS)
        for script in scripts:
            await asyncio.to_thread(script.stop)

    def _ends(self) -> bool:
        """Do the scripts come to their end? Waiting longer for that can only hide a slow machine."""
        events = self._expected.events
        entries = [*(events["peer_saw"] or []), *(events["origin_saw"] or [])]
        waits = ("still_waiting", "none")
        return not any(entry.get("ended") in waits or entry.get("result") in waits for entry in entries)

    def _note(self, handlers: list[Handler | None]) -> None:
        first, second = handlers
        seen = self._seen
        seen.trace, seen.trace_2 = (
            None if handler is None or not handler.called.is_set() else [self._hide(event) for event in handler.trace]
            for handler in (first, second)
        )
        thrown = sum(event["op"] == "throw" for event in [*(seen.trace or []), *(seen.trace_2 or [])])
        if thrown != seen.reported:
            seen.complaints.append(f"handlers threw {thrown} exceptions, the event loop was told of {seen.reported}")
        seen.peer_saw = [self._hide(entry) for entry in self._client.saw]
        seen.origin_saw = None if self._origin is None else [self._hide(entry) for entry in self._origin.saw]

    def _hide(self, value: Json) -> Json:
        """Put the placeholders back for ports and the path, at any depth, but not in data."""
        match value:
            case str():
                return self._hide_text(value)
            case list():
                return [self._hide(member) for member in value]
            case SeenError():
                return SeenError({key: self._hide(member) for key, member in value.items()}, value.exception)
            case dict():
                return {key: v if key in DATA_MEMBERS else self._hide(v) for key, v in value.items()}
        return value

    def _hide_text(self, text: str) -> str:
        names = {f"{{peer:{name}}}" if name else "{peer}": port for name, port in self._client.ports.items()}
        names["{listen}"] = self._port
        if self._origin is not None:
            names["{port}"] = self._origin.port
        for placeholder, port in names.items():
            if port:
                text = text.replace(str(port), placeholder)
        return text.replace(self._path, "{path}")
