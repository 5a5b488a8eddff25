"""Play a scenario with cfcat: server, client, comparison."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from tests.conformance.compare import Verdict, compare
from tests.conformance.data import ScenarioError
from tests.conformance.driver import Driver
from tests.conformance.patience import turns_true
from tests.conformance.patterns import Run
from tests.conformance.rules import Expectation, expect
from tests.conformance.scenario import Scenario
from tests.conformance.server import Server
from tests.conformance.signals import Signals
from tests.helpers.certs import CertSet, make_certs

__all__ = ["GRACE_MS", "JOBS", "Certificates", "complaint", "judge", "judge_all"]

# Most of a scenario is waiting; its heavy moments (16 MiB under TLS) must not starve the others of time.
JOBS = 4
Kind = TypeVar("Kind")
# A script that comes to its end when the reference runs it may take longer on a busy machine.
GRACE_MS = 5000


class Certificates:
    """The test CA and what it has signed, for server and client; made at run time. Use it in a `with` block."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="cfcat-conformance-")
        self._certs: CertSet = make_certs(Path(self._folder.name))

    def __enter__(self) -> Certificates:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def server_context(self, name: str) -> ssl.SSLContext:
        """A new context that presents a certificate by its name in the format."""
        if name not in ("good", "wrong_host", "untrusted", "expired"):
            raise ScenarioError(f"unknown certificate {name!r}")
        context = self._certs.server_context(name)  # type: ignore[arg-type]
        # A session ticket is never read by a client that reads nothing, and makes its close() a reset (C9).
        context.num_tickets = 0
        return context

    def client_context(self, trust: bool = True) -> ssl.SSLContext:
        """A new context that trusts the test CA and nothing else; without `trust` not even that."""
        return self._certs.client_context() if trust else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def judge(scenario: Scenario, certificates: Certificates) -> Verdict:
    """Run a scenario and compare. May be called in any thread; makes an event loop of its own."""
    try:
        expectation = expect(scenario)
        return compare(expectation, _play(expectation, certificates))
    except ScenarioError as error:
        return Verdict(scenario.name, "FAIL", problem=f"the scenario cannot be run: {error}")
    except Exception as error:  # a fault of the runner fails one scenario, not all
        return Verdict(scenario.name, "FAIL", problem=f"the runner failed: {error!r}")


def judge_all(
    scenarios: Sequence[Kind],
    certificates: Certificates,
    jobs: int,
    judge_one: Callable[[Kind, Certificates], Verdict],
) -> Iterator[Verdict]:
    """Run scenarios of one kind, `jobs` at a time, and yield the verdicts in the order of the scenarios."""
    with ThreadPoolExecutor(jobs, thread_name_prefix="scenario") as pool:
        yield from pool.map(lambda scenario: judge_one(scenario, certificates), scenarios)


def _play(expectation: Expectation, certificates: Certificates) -> Run:
    scenario = expectation.scenario
    signals = Signals()
    server = Server(scenario.server, certificates.server_context, signals)
    complaints: list[str] = []
    try:
        driver = Driver(scenario, server.port, certificates.client_context(), signals)
        server.start()
        with asyncio.Runner() as loop:
            loop.get_loop().set_exception_handler(lambda _, context: complaints.append(complaint(context)))
            try:
                loop.run(_run_program(driver, server, scenario, _runs_to_its_end(expectation)))
            finally:
                server.stop()
                complaints += loop.run(driver.dispose())
    finally:
        server.stop()
        server.close()
    if isinstance(server.error, ScenarioError):
        raise server.error
    if server.error is not None:
        complaints.append(f"the server failed: {server.error!r}")
    return Run(server.port, driver.trace, server.saw, complaints)


async def _run_program(driver: Driver, server: Server, scenario: Scenario, to_its_end: bool) -> None:
    await driver.run()
    settled = await turns_true(server.finished.is_set, scenario.settle_ms)
    if not settled and to_its_end:
        await turns_true(server.finished.is_set, GRACE_MS)


def _runs_to_its_end(expectation: Expectation) -> bool:
    """Is the server expected to finish its script? Waiting longer for that can only hide a slow machine."""
    waits = ("still_waiting", "none")
    return not any(entry.get("ended") in waits or entry.get("result") in waits for entry in expectation.saw)


def complaint(context: dict[str, Any]) -> str:
    """What the event loop tells its exception handler, on one line."""
    cause = context.get("exception")
    return f"the event loop reported: {context.get('message')}" + (f": {cause!r}" if cause else "")
