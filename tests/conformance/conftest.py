"""Certificates for the scenarios, made once; and the scenarios of a session, run beside each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import pytest

from tests.conformance.compare import Verdict
from tests.conformance.runner import JOBS, Certificates

Kind = TypeVar("Kind")


@pytest.fixture(scope="session")
def certificates() -> Iterator[Certificates]:
    with Certificates() as made:
        yield made


@contextmanager
def side_by_side(
    request: pytest.FixtureRequest,
    parameter: str,
    scenarios: Mapping[str, Kind],
    judge_one: Callable[[Kind, Certificates], Verdict],
    certificates: Certificates,
) -> Iterator[Mapping[str, Future[Verdict]]]:
    """Run those scenarios that this session has selected, by a test's parameter; yield their verdicts to come."""
    callspecs = [item.callspec for item in request.session.items if hasattr(item, "callspec")]
    names = [spec.params[parameter] for spec in callspecs if spec.params.get(parameter) in scenarios]
    with ThreadPoolExecutor(JOBS) as pool:
        yield {name: pool.submit(judge_one, scenarios[name], certificates) for name in dict.fromkeys(names)}
        pool.shutdown(cancel_futures=True)
