"""Every recorded scenario, a test each. They run beside each other, as most of their time is waiting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future

import pytest

from tests.conformance.compare import Verdict
from tests.conformance.conftest import side_by_side
from tests.conformance.runner import Certificates, judge
from tests.conformance.scenario import SCENARIOS, load_folder

RECORDED = {scenario.name: scenario for scenario in load_folder(SCENARIOS)}


@pytest.fixture(scope="session")
def verdicts(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[Mapping[str, Future[Verdict]]]:
    """The verdicts to come of all scenarios that this session has selected."""
    with side_by_side(request, "name", RECORDED, judge, certificates) as verdicts_to_come:
        yield verdicts_to_come


@pytest.mark.parametrize("name", RECORDED)
def test_scenario(name: str, verdicts: Mapping[str, Future[Verdict]]) -> None:
    """cfcat shows what the reference showed, or what a rule puts in its place."""
    verdict = verdicts[name].result()
    assert verdict.result != "FAIL", str(verdict)
