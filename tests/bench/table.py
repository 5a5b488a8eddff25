"""The outcome, for people: each scenario as text, all of them as the README's table."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict

from tests.bench.contenders import CFCAT
from tests.bench.scenarios import SCENARIOS, Result

__all__ = ["as_data", "markdown", "text"]


def text(result: Result) -> Iterator[str]:
    """A scenario's lines: every tool, then cfcat's ratio to the best peer, beside its aim."""
    unit = "s/GiB" if SCENARIOS[result.name].bulk else "s"
    yield f"\n{result.name:<18}{'wall ' + unit:>12}{'cpu ' + unit:>12}{'peak MiB':>10}"
    for tool, cost in result.costs.items():
        if cost is None:
            yield f"  {tool:<16}   WRONG: bytes lost or added"
        else:
            yield f"  {tool:<16}{cost.wall:>12.3f}{cost.cpu:>12.3f}{cost.peak:>10.1f}"
    for figure, aim in zip(("wall", "cpu"), SCENARIOS[result.name].aim, strict=True):
        if best := result.best(figure):
            tool, ratio = best
            yield f"  {figure}: {ratio:.2f} x {tool}" + ("" if aim is None else f" (aim: {aim:g})")


def markdown(results: list[Result]) -> Iterator[str]:
    """The README's table: ratios to the best peer of each figure, and cfcat's peak memory."""
    yield "| scenario | wall | CPU | peak memory |"
    yield "|---|---|---|---|"
    for result in results:
        ours = result.costs[CFCAT]
        peak = "wrong" if ours is None else f"{ours.peak:.0f} MiB"
        yield f"| {result.name} | {_ratio(result, 'wall')} | {_ratio(result, 'cpu')} | {peak} |"


def _ratio(result: Result, figure: str) -> str:
    best = result.best(figure)
    return "-" if best is None else f"{best[1]:.2f} x {best[0]}"


def as_data(results: list[Result]) -> dict[str, object]:
    """For `--json`: seconds (bulk: for a GiB more), MiB, the load of the machine at the end."""
    return {
        "load": os.getloadavg()[0],
        "scenarios": {
            result.name: {
                "tools": {tool: None if cost is None else asdict(cost) for tool, cost in result.costs.items()},
                "missing": result.missing,
                "ratios": {figure: best for figure in ("wall", "cpu") if (best := result.best(figure))},
            }
            for result in results
        },
    }
