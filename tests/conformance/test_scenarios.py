"""Every recorded scenario, a test each. They run beside each other, as most of their time is waiting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.conformance.compare import Verdict
from tests.conformance.runner import JOBS, Certificates, judge
from tests.conformance.scenario import SCENARIOS, load_folder

RECORDED = {scenario.name: scenario for scenario in load_folder(SCENARIOS)}


@pytest.fixture(scope="session")
def verdicts(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[Mapping[str, Future[Verdict]]]:
    """The verdicts to come of all scenarios that this session has selected."""
    callspecs = [item.callspec for item in request.session.items if hasattr(item, "callspec")]
    names = [spec.params["name"] for spec in callspecs if spec.params.get("name") in RECORDED]
    with ThreadPoolExecutor(JOBS) as pool:
        yield {name: pool.submit(judge, RECORDED[name], certificates) for name in dict.fromkeys(names)}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", RECORDED)
def test_scenario(name: str, verdicts: Mapping[str, Future[Verdict]]) -> None:
    """cfcat shows what the reference showed, or what a rule puts in its place."""
    verdict = verdicts[name].result()
    assert verdict.result != "FAIL", str(verdict)
