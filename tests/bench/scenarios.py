"""What is measured. Each scenario runs one tool once, and says whether all bytes were there.

Bulk is measured at two sizes and compared by the cost of a GiB more, so that start-up, a scenario of its own, does not
blur it. The tools run in turns, each in another order, and of each tool's runs the median counts. The least would not
be fairer: a run can cost half of another, by where the system happens to put the three programs.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from tests.bench.contenders import CFCAT, commands, listeners
from tests.bench.measure import Cost, Drain, Server, feeder, free_port, reap, timed
from tests.bench.server import MIB

__all__ = ["SCENARIOS", "Result", "measure"]

ROUNDS = 3000
MESSAGE = b"x" * 63 + b"\n"

# A run: the tool's command, the server, the bytes to move, a folder; the cost, or None when bytes were lost or added.
Run = Callable[[list[str], Server, int, Path], Cost | None]


@dataclass(frozen=True)
class Scenario:
    """What the server does, how a tool is run, whether there are sizes to compare, and the aims for wall and CPU."""

    role: str
    run: Run
    tls: bool = False
    bulk: bool = True
    aim: tuple[float | None, float | None] = (None, None)
    best_of: tuple[str, ...] = ()  # the peers that count; none: all of them
    accepts: bool = False  # the tool listens, and what plays the role dials

    @property
    def down(self) -> bool:
        """Do the bytes come from the server only?"""
        return self.role == "source"


@dataclass(frozen=True)
class Result:
    """A scenario's outcome: each tool's cost (bulk: of a GiB more), None where bytes were wrong."""

    name: str
    costs: Mapping[str, Cost | None]
    missing: list[str]

    def best(self, figure: str) -> tuple[str, float] | None:
        """The best peer in `wall` or `cpu`, and cfcat's ratio to it."""
        ours = self.costs.get(CFCAT)
        counted = SCENARIOS[self.name].best_of
        peers = {
            name: getattr(cost, figure)
            for name, cost in self.costs.items()
            if cost is not None and name != CFCAT and (not counted or name in counted)
        }
        if ours is None or not peers:
            return None
        best = min(peers, key=lambda name: peers[name])
        return best, getattr(ours, figure) / peers[best]


def _up(command: list[str], server: Server, count: int, _: Path) -> Cost | None:
    with feeder(count) as stdin:
        return _sent(command, server, count, stdin.fileno())


def _up_file(command: list[str], server: Server, count: int, folder: Path) -> Cost | None:
    file = folder / f"{count}"
    if not file.exists():
        with file.open("wb") as output:
            for _ in range(count // MIB):
                output.write(bytes(MIB))
    with file.open("rb") as stdin:
        return _sent(command, server, count, stdin.fileno())


def _sent(command: list[str], server: Server, count: int, stdin: int) -> Cost | None:
    drain = Drain()
    cost = timed(command, stdin, drain.fd)
    drain.finish()
    # Some peers under TLS lose the server's answer behind their own end: what has arrived decides.
    return cost if int(server.said()) == count else None


def _down(command: list[str], _: Server, count: int, __: Path) -> Cost | None:
    drain = Drain()
    silent, held = os.pipe()  # stdin stays open, with nothing in it: the server's end must end the run
    cost = timed(command, silent, drain.fd)
    drain.finish()
    os.close(silent)
    os.close(held)
    return cost if drain.count == count else None


def _accept(command: list[str], _: Server, count: int, __: Path) -> Cost | None:
    """As `_down`, but the end of stdin is there: a tool that is not told otherwise would wait for it."""
    drain = Drain()
    cost = timed(command, subprocess.DEVNULL, drain.fd)
    drain.finish()
    return cost if drain.count == count else None


def _echo(command: list[str], _: Server, count: int, __: Path) -> Cost | None:
    drain = Drain()
    with feeder(count) as stdin:
        cost = timed(command, stdin, drain.fd)
    drain.finish()
    return cost if drain.count == count else None


def _pingpong(command: list[str], _: Server, __: int, ___: Path) -> Cost | None:
    """64 bytes there and back, strictly in turn; the time is that of the rounds alone."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, bufsize=0)
    assert process.stdin is not None
    assert process.stdout is not None
    there, back = process.stdin.fileno(), process.stdout.fileno()
    same = _round(there, back)
    began = time.perf_counter()
    for _round_number in range(ROUNDS):
        same = same and _round(there, back)
    wall = time.perf_counter() - began
    process.stdin.close()
    cost = reap(process, began)
    process.stdout.close()
    return replace(cost, wall=wall) if same else None


def _round(there: int, back: int) -> bool:
    os.write(there, MESSAGE)
    answer = b""
    while len(answer) < len(MESSAGE):
        piece = os.read(back, len(MESSAGE))
        if not piece:
            return False
        answer += piece
    return answer == MESSAGE


def _startup(command: list[str], server: Server, _: int, __: Path) -> Cost | None:
    """From the call to the first byte of stdin at the server."""
    null = subprocess.DEVNULL
    began = time.monotonic_ns()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=null, stderr=null)
    assert process.stdin is not None
    process.stdin.write(b"x\n")
    process.stdin.close()
    cost = reap(process, time.perf_counter())
    return replace(cost, wall=(int(server.said()) - began) / 1e9)


SCENARIOS: Mapping[str, Scenario] = {
    "up_pipe": Scenario("sink", _up, aim=(0.6, 0.6)),
    "up_file": Scenario("sink", _up_file, aim=(0.6, 0.6)),
    "down_pipe": Scenario("source", _down, aim=(0.6, 0.6)),
    "echo": Scenario("echo", _echo, aim=(0.6, 0.6)),
    "tls_up": Scenario("sink", _up, tls=True, aim=(0.85, 0.85)),
    "tls_down": Scenario("source", _down, tls=True, aim=(0.85, 0.85)),
    "accept_up": Scenario("sink", _up, accepts=True, aim=(1.0, 1.0)),
    "accept_down": Scenario("source", _accept, accepts=True, aim=(1.0, 1.0)),
    "accept_tls_up": Scenario("sink", _up, tls=True, accepts=True, aim=(1.0, 1.0)),
    "accept_tls_down": Scenario("source", _accept, tls=True, accepts=True, aim=(1.0, 1.0)),
    "pingpong": Scenario("echo", _pingpong, bulk=False, aim=(1.2, 1.3), best_of=("nc",)),
    "startup": Scenario("stamp", _startup, bulk=False, aim=(0.8, 0.8), best_of=("ncat",)),
    "tls_startup": Scenario("stamp", _startup, tls=True, bulk=False, aim=(1.6, None), best_of=("ncat",)),
}


def measure(name: str, mib: int, runs: int, folder: Path, ca: Path, certificate: Path) -> Result:
    """Run a scenario with every tool that is installed, in turn."""
    scenario = SCENARIOS[name]
    sizes = [mib, max(mib // 16, 1)] if scenario.bulk else [mib]
    measured = []
    missing: list[str] = []
    for size in sizes:
        theirs = None if not scenario.tls else ca if scenario.accepts else certificate
        listener = free_port() if scenario.accepts else None
        with Server(scenario.role, size * MIB, theirs, listener) as server:
            if scenario.accepts:
                tools, missing = listeners(server.port, certificate, tls=scenario.tls, down=scenario.down)
            else:
                tools, missing = commands(server.port, ca, tls=scenario.tls, down=scenario.down)
            measured.append(_in_turn(scenario.run, tools, server, size * MIB, runs, folder))
    costs = measured[0]
    if scenario.bulk:
        gib = (sizes[0] - sizes[1]) / 1024
        costs = {tool: _per_gib(costs[tool], measured[1][tool], gib) for tool in costs}
    for tool in missing:
        print(f"# {name}: {tool} is not installed, left out", file=sys.stderr)
    return Result(name, costs, missing)


def _in_turn(
    run: Run, tools: Mapping[str, list[str]], server: Server, count: int, runs: int, folder: Path
) -> dict[str, Cost | None]:
    seen: dict[str, list[Cost | None]] = {tool: [] for tool in tools}
    for _ in range(runs):
        for tool in random.sample(list(tools), len(tools)):
            seen[tool].append(run(tools[tool], server, count, folder))
    return {tool: _median(costs) for tool, costs in seen.items()}


def _median(costs: list[Cost | None]) -> Cost | None:
    good = [cost for cost in costs if cost is not None]
    if len(good) < len(costs):
        return None  # wrong once is wrong
    return Cost(median(c.wall for c in good), median(c.cpu for c in good), max(c.peak for c in good))


def _per_gib(large: Cost | None, small: Cost | None, gib: float) -> Cost | None:
    if large is None or small is None:
        return None
    return Cost(max(large.wall - small.wall, 1e-6) / gib, max(large.cpu - small.cpu, 1e-6) / gib, large.peak)
